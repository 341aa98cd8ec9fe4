"""The sandbox's read and management API of Wattics: shapes, strictness, what it holds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.model import id_wattics
from energy_etl_tests.sandbox.conftest import COLLECTOR, MAIN

TOKEN = "sandbox-wattics-token"
MAINS = id_wattics("rome-a.grid_import")
PV = id_wattics("rome-a.pv")
DUBLIN = id_wattics("dublin-a.grid_import")


class Api:
    """Calls the API as its clients do."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=10.0)

    def get(self, path: str, token: str = TOKEN) -> httpx.Response:
        return self._http.get(f"/wattics/api/v1{path}", headers={"Authorization": token})

    def post(self, path: str, body: Any, token: str = TOKEN) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": token, "Content-Type": "application/json"}
        return self._http.post(f"/wattics/api/v1{path}", content=content, headers=headers)

    def push(self, stream_id: str, stamp: str, **fields: float) -> int:
        packet = {"id": stream_id, "tsISO8601": stamp, **fields}
        return self._http.post(COLLECTOR, json=packet, auth=MAIN).status_code

    def meter(self, reference: str) -> dict[str, Any]:
        for organization in self.get("/organizations").json():
            query = f"organization_id={organization['id']}"
            for site in self.get(f"/sites?{query}").json():
                for meter in self.get(f"/meters?{query}&site_id={site['id']}").json():
                    if meter["reference"] == reference:
                        return meter
        raise AssertionError(f"no meter {reference}")

    def month(self, reference: str, month: str, what: str = "consumptions") -> dict[str, Any]:
        """Return what it holds of a month, by date."""
        path = f"/meters/{self.meter(reference)['id']}/{what}?{month}&detailed=true"
        return {day["date"]: day for day in self.get(path).json()}

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def api(world: World) -> Iterator[Api]:
    with SandboxServer(world) as sandbox:
        api = Api(sandbox.url)
        yield api
        api.close()


@pytest.mark.parametrize("token", ["", "wrong", f"Bearer {TOKEN}"])
def test_token_is_taken_bare_and_no_other(api: Api, token: str) -> None:
    answer = api.get("/organizations", token)
    assert answer.status_code == 401
    assert "token" in answer.json()["error"]


def test_reader_may_read_and_create_nothing(api: Api) -> None:
    reader = "sandbox-wattics-reader-token"
    assert api.get("/organizations", reader).status_code == 200
    answer = api.post("/organizations", {"organization": {"name": "x"}}, reader)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/organizations/99", 404),
        ("/sites/1", 404),
        ("/meters/x", 404),
        ("/meters/1001/waste", 404),
        ("/users", 404),
        # Each of these was answered with 500.
        (f"/meters/{'1' * 5000}", 404),
        ("/meters/1001/consumptions?month=²&year=2025", 400),
        ("/meters/1001/consumptions?month=1&year=0000", 400),
        ("/meters/1001/costs?month=12&year=9999", 400),
        ("/sites", 400),
        ("/sites?organization_id=99", 404),
        ("/meters?organization_id=1&site_id=99", 404),
        ("/meters/1001/consumptions?month=13&year=2025", 400),
        ("/meters/1001/consumptions?month=4", 400),
        ("/meters/1001/raw_data?from=2025-04-01 00:00:00", 400),
        ("/meters/1001/raw_data?from=2025-04-02&to=2025-04-03", 400),
        ("/meters/1001/raw_data?from=01/04/2025&to=01/04/2025", 400),
        ("/meters/1001/raw_data?from=01/04/2025&to=02/04/2025&data_type=current", 400),
        ("/meters/1001/raw_data?from=01/01/2025&to=01/04/2025", 200),
        ("/meters/1001/raw_data?from=01/01/2025&to=02/04/2025", 400),
        ("/meters/1001/raw_data?from=2025-01-01 00:00:00&to=2025-04-01 00:00:01", 400),
    ],
)
def test_unknown_ids_and_long_windows_are_refused(api: Api, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert (status == 200) == isinstance(answer.json(), list)


def test_lists_are_bare_and_hold_a_meter_per_stream(api: Api, world: World) -> None:
    assert api.get("/organizations").json() == [
        {"id": 1, "name": "north"},
        {"id": 2, "name": "south"},
    ]
    meters = (
        api.get("/meters?organization_id=1").json() + api.get("/meters?organization_id=2").json()
    )
    assert {meter["reference"] for meter in meters} >= set(world.streams)
    meter = api.meter(MAINS)
    assert api.get(f"/meters/{meter['id']}").json() == meter
    assert (meter["type"], meter["unit"], meter["reading"]) == ("electricity", "Watt", "cum")
    assert meter["process_sampling_rate_minutes"] == 15
    site = api.get(f"/sites/{meter['site_id']}").json()
    assert site["name"] == "Villa Appia"
    metadata = api.get(f"/sites/{site['id']}/metadata").json()
    assert metadata["timezone"] == "Europe/Rome"
    assert len(api.get(f"/sites/{site['id']}/tariffs").json()) == 4
    assert api.get("/appliances?organization_id=1").json() == []


def test_counter_becomes_consumption_by_its_growth_and_a_fall_counts_nothing(api: Api) -> None:
    for stamp, wh in (
        ("2025-03-01T00:00:00.000+01:00", 100.0),
        ("2025-03-01T00:15:00.000+01:00", 350.25),
        ("2025-03-01T00:45:00.000+01:00", 400.25),
        ("2025-03-01T00:30:00.000+01:00", 380.0),
        ("2025-03-02T00:00:00.000+01:00", 500.25),
    ):
        assert api.push(MAINS, stamp, pC_1=wh) == 200
    assert api.month(MAINS, "month=3&year=2025") == {
        "2025-03-01": {
            "date": "2025-03-01",
            "weekday": "Saturday",
            "total_consumption": "420.5 Watt",
            "consumption_by_time": {
                "00h00m": "250.25 Watt",
                "00h15m": "0.0 Watt",
                "00h30m": "50.0 Watt",
                "23h45m": "120.25 Watt",
            },
        }
    }
    meter_id = api.meter(MAINS)["id"]
    query = "from=2025-02-28 23:00:00&to=2025-03-01 00:00:00&data_type=active_power"
    rows = api.get(f"/meters/{meter_id}/raw_data?{query}").json()
    assert rows[:2] == [
        {"timestamp": "2025-02-28 23:15:00", "total": 1001.0},
        {"timestamp": "2025-02-28 23:45:00", "total": 100.0},
    ]
    plain = api.get(f"/meters/{meter_id}/consumptions?month=3&year=2025").json()
    assert [sorted(day) for day in plain] == [["date", "total_consumption", "weekday"]]


def test_values_are_added_up_in_the_streams_unit_with_what_came_twice(api: Api) -> None:
    for stamp, kwh in (("12:15", 0.5), ("12:30", 0.75), ("12:30", 0.75)):
        assert api.push(PV, f"2025-03-03T{stamp}:00.000+01:00", value=kwh) == 200
    day = api.month(PV, "month=3&year=2025")["2025-03-03"]
    assert day["total_consumption"] == "2.0 kWh"
    assert day["consumption_by_time"] == {"12h00m": "0.5 kWh", "12h15m": "1.5 kWh"}
    cost = api.month(PV, "month=3&year=2025", "costs")["2025-03-03"]
    assert cost["total_cost"] == "0.62 EUR"


def test_days_are_the_sites_whatever_offset_the_stamp_has(api: Api) -> None:
    # The night in which Dublin's clocks go forward, stamped in UTC: an hour of local time is none.
    for minute, wh in enumerate((0.0, 10.0, 30.0, 60.0)):
        api.push(DUBLIN, f"2025-03-30T{minute:02d}:00:00.000+00:00", pC_1=wh)
    api.push(DUBLIN, "2025-03-30T23:00:00.000+00:00", pC_1=100.0)
    api.push(DUBLIN, "2025-03-30T23:15:00.000+00:00", pC_1=105.0)
    days = api.month(DUBLIN, "month=3&year=2025")
    assert days["2025-03-30"]["consumption_by_time"] == {
        "00h45m": "10.0 Watt",
        "02h45m": "20.0 Watt",
        "03h45m": "30.0 Watt",
        "23h45m": "40.0 Watt",
    }
    assert days["2025-03-31"]["total_consumption"] == "5.0 Watt"


NEW_METER: dict[str, Any] = {
    "name": "n",
    "site_id": 101,
    "type": "electricity",
    "reference": "dp-new",
    "process_sampling_rate": 15,
}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/meters", b"no json", 400),
        ("/meters", {"meter": {"name": "x"}}, 422),
        ("/meters", {"site": {}}, 400),
        # Each of these was answered with 500, or broke a later answer.
        ("/organizations", b"[" * 100_000, 400),
        ("/organizations", {"organization": {"name": [1]}}, 422),
        ("/meters", {"meter": NEW_METER | {"reference": ["x"]}}, 422),
        ("/meters", {"meter": NEW_METER | {"process_sampling_rate": "five"}}, 422),
        ("/sites", {"site": {"organization_id": 99, "name": "x"}}, 404),
        ("/appliances", {"appliance": {}}, 404),
        ("/meters/1001", {"meter": {}}, 404),
    ],
)
def test_what_cannot_be_created_is_refused(api: Api, path: str, body: Any, status: int) -> None:
    answer = api.post(path, body)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_id_that_was_wished_for_ended_all_later_creations(api: Api) -> None:
    for name in ("first", "second"):
        created = api.post("/organizations", {"organization": {"id": "zz", "name": name}})
        assert created.status_code == 201
        assert type(created.json()["id"]) is int


def test_what_is_created_outlives_a_restart(world: World, tmp_path: Path) -> None:
    wish = {"name": "New", "type": "electricity", "reference": "new-1", "param_type": "all"}
    wish |= {"reading": "cum", "process_sampling_rate": 30}
    with SandboxServer(world, state_dir=tmp_path) as sandbox:
        api = Api(sandbox.url)
        organization_id = api.post("/organizations", {"organization": {"name": "Acme"}}).json()[
            "id"
        ]
        site = {"organization_id": organization_id, "name": "Depot"}
        site_id = api.post("/sites", {"site": site}).json()["id"]
        created = api.post("/meters", {"meter": wish | {"site_id": site_id}})
        assert created.status_code == 201
        assert api.post("/meters", {"meter": wish | {"site_id": site_id}}).status_code == 422
        assert api.push("new-1", "2025-03-01T00:00:00.000+01:00", pC_1=0.0) == 200
        api.close()
    with SandboxServer(world, state_dir=tmp_path) as sandbox:
        api = Api(sandbox.url)
        assert api.meter("new-1") == created.json()
        assert api.push("new-1", "2025-03-01T00:30:00.000+01:00", pC_1=7.0) == 200
        # A site that was created has no zone: its packets' offset stands for it.
        days = api.month("new-1", "month=3&year=2025")
        api.close()
    assert days["2025-03-01"]["consumption_by_time"] == {"00h00m": "7.0 Watt"}


def test_faults_of_the_api_have_its_shape_and_spare_the_collector(api: Api) -> None:
    wish = {"vendor": "wattics", "kind": "status", "status": 429, "retry_after_s": 7}
    httpx.post(f"{api.url}/_sandbox/faults", json=wish | {"path_contains": "/api/v1/"})
    assert api.push(MAINS, "2025-03-05T00:00:00.000+01:00", pC_1=600.0) == 200
    answer = api.get("/organizations")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json() == {"error": "HTTP Status 429"}


def test_changed_token_is_the_only_one_accepted(world: World) -> None:
    with SandboxServer(world) as sandbox:
        api = Api(sandbox.url)
        change = {"account": "wattics-api", "password": "new"}
        assert httpx.post(f"{api.url}/_sandbox/passwords", json=change).status_code == 204
        statuses = [api.get("/organizations", token).status_code for token in (TOKEN, "new")]
        api.close()
        sandbox.app.credentials.change("wattics-api", TOKEN)
    assert statuses == [401, 200]
