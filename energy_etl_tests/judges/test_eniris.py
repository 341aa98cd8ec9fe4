"""The vendor's own Python driver (`eniris`) against the sandbox: a second reading of the pages.

The driver logs in, renews and retries by itself; what it accepts, our client's counterpart may
answer. It takes both hosts with a path prefix.
"""

import time
from collections.abc import Callable, Iterator

import pytest
from eniris import ApiDriver
from eniris.driver import AuthenticationFailure

from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl_tests.sandbox.conftest import NOW_AT
from energy_etl_tests.sandbox.smartgridone_caller import (
    CONTROLLER,
    GRID,
    OTHER_GRID,
    PASSWORD,
    PV,
    USER,
)

MakeDriver = Callable[..., ApiDriver]


@pytest.fixture(scope="module")
def world() -> World:
    return World(now=fixed_clock(NOW_AT))


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[SandboxServer]:
    options = {"budget": {"tiers": {"free": 100, "basic": 2}, "minute_s": 2.0}}
    with SandboxServer(world, smartgridone_options=options) as sandbox:
        yield sandbox


@pytest.fixture
def make_driver(sandbox: SandboxServer) -> Iterator[MakeDriver]:
    """Return what makes drivers; their sessions are closed and the faults removed afterwards."""
    drivers: list[ApiDriver] = []

    def make(username: str = USER, password: str = PASSWORD) -> ApiDriver:
        url = f"{sandbox.url}/smartgridone"
        driver = ApiDriver(
            username,
            password,
            authUrl=url,
            apiUrl=url,
            timeoutS=5,
            maximumRetries=2,
            maximumRetryDelayS=1,
        )
        drivers.append(driver)
        return driver

    yield make
    sandbox.app.faults.clear()
    for driver in drivers:
        driver.session.close()


@pytest.fixture
def driver(make_driver: MakeDriver) -> ApiDriver:
    return make_driver()


def _paths(sandbox: SandboxServer, since: int) -> list[str]:
    """Return the paths of the calls after the first `since` ones, without the prefix."""
    return [each.path.removeprefix("/smartgridone") for each in list(sandbox.app.log)[since:]]


def _fail(sandbox: SandboxServer, **wish: object) -> None:
    sandbox.app.faults.add({"vendor": "smartgridone", **wish})


def _device(driver: ApiDriver, node_id: str) -> dict:
    (device,) = driver.post("/v1/device/query", {"filter": {"nodeId": [node_id]}}).json()["device"]
    return device


def _statement(device: dict, field: str, **bounds: int) -> dict:
    series = device["properties"]["nodeInfluxSeries"][-1]
    source = {key: series[key] for key in ("measurement", "database", "retentionPolicy")}
    times = [
        {"operator": ">=", "value": bounds["first"]},
        {"operator": "<", "value": bounds["last"]},
    ]
    return {"select": [field], "from": source, "where": {"time": times, "tags": series["tags"]}}


def test_driver_logs_in_once_and_out(driver, sandbox):
    start = len(sandbox.app.log)
    assert driver.get("/v1/company").status_code == 200
    assert driver.get("/v1/company").status_code == 200
    expected = ["/auth/login", "/auth/accesstoken", "/v1/company", "/v1/company"]
    assert _paths(sandbox, start) == expected
    refresh = driver.refreshtoken()
    driver.close()
    answer = driver.session.get(
        f"{sandbox.url}/smartgridone/auth/refreshtoken/validate", headers={"Authorization": refresh}
    )
    assert answer.status_code == 401


def test_driver_renews_an_old_refresh_token(driver, sandbox):
    driver.refreshtoken()
    seen_at, token = driver.refreshDtAndToken
    driver.refreshDtAndToken = (seen_at.replace(year=seen_at.year - 1), token)
    start = len(sandbox.app.log)
    assert driver.refreshtoken() != f"Bearer {token}"
    assert _paths(sandbox, start) == ["/auth/login"]
    seen_at, token = driver.refreshDtAndToken
    week_s = 8 * 86_400
    driver.refreshDtAndToken = (seen_at.fromtimestamp(seen_at.timestamp() - week_s), token)
    assert driver.refreshtoken() != f"Bearer {token}"
    assert _paths(sandbox, start) == ["/auth/login", "/auth/refreshtoken"]


def test_driver_with_a_wrong_password_says_so(make_driver):
    with pytest.raises(AuthenticationFailure, match="PASSWORD_INCORRECT"):
        make_driver("nobody", "wrong").get("/v1/company")


def test_driver_lists_and_queries_devices(driver):
    listed = driver.get("/v1/device").json()["device"]
    queried = driver.post("/v1/device/query", json={}).json()["device"]
    assert listed == queried
    controllers = driver.get("/v1/device", params={"nodeType": "smartgridController"})
    assert CONTROLLER in {device["properties"]["nodeId"] for device in controllers.json()["device"]}


def test_driver_updates_a_device(driver):
    device = _device(driver, PV)
    path, update = f"/v1/device/{device['id']}", {"properties": {"info": {"model": "Judged"}}}
    unchanged = {"If-Unmodified-Since": device["lastUpdate"]}
    answer = driver.put(path, update, params={"mode": "merge"}, headers=unchanged)
    assert answer.status_code == 200
    info = device["properties"]["info"] | {"model": "Judged"}
    assert _device(driver, PV)["properties"]["info"] == info
    late = driver.put(path, update, headers={"If-Unmodified-Since": device["lastUpdate"]})
    assert late.status_code == 412
    forbidden = {"properties": {"nodeType": "x"}}
    assert (
        driver.put(f"/v1/device/{_device(driver, OTHER_GRID)['id']}", forbidden).status_code == 403
    )


def test_driver_reads_telemetry_with_an_error_in_one_statement(driver, world):
    device, now_ms = _device(driver, GRID), world.now_ms()
    good = _statement(device, "importedAbsEnergyTot_Wh", first=now_ms - 3_600_000, last=now_ms)
    bad = good | {"from": good["from"] | {"database": "nobody"}}
    answer = driver.post("/v1/telemetry/query", json=[good, bad])
    assert answer.status_code == 200
    (series,), error = answer.json()[0]["series"], answer.json()[1]["error"]
    assert series["columns"] == ["time", "importedAbsEnergyTot_Wh"]
    assert len(series["values"]) == 12
    assert "nobody" in error


def test_driver_waits_for_an_emptied_budget_and_gives_up_on_a_costly_query(driver, world, sandbox):
    device, now_ms = _device(driver, GRID), world.now_ms()
    asked = _statement(device, "frequency_Hz", first=now_ms - 3_600_000, last=now_ms)
    start, started_s = len(sandbox.app.log), time.monotonic()
    for _ in range(3):
        answer = driver.post("/v1/telemetry/query", json=asked, params={"apiTier": "basic"})
        assert answer.status_code == 200
    assert time.monotonic() - started_s > 0.9
    assert [each.status for each in list(sandbox.app.log)[start:]] == [200, 200, 429, 200]
    asked = _statement(device, "frequency_Hz", first=0, last=now_ms)
    start = len(sandbox.app.log)
    answer = driver.post("/v1/telemetry/query", json=asked, params={"apiTier": "basic"})
    assert answer.status_code == 422
    assert len(sandbox.app.log) == start + 1


def test_driver_reads_licences_and_activates_one(driver):
    company = driver.get("/v1/company").json()["company"][0]
    path = f"/v1/license/customer/{company['uuid']}"
    licences = driver.get(path, params={"includeDatalinks": "true"}).json()["licenses"]
    (free,) = [licence for licence in licences if not licence["datalinks"]]
    claim = {"licenseKey": free["key"], "nodeId": CONTROLLER}
    assert driver.post("/v1/license/claim", json=claim).json()["success"] is True
    held = driver.get(f"/v1/license/controller/{CONTROLLER}").json()["licenses"]
    assert free["key"] in {licence["key"] for licence in held}
    activated = driver.post("/v1/license/activate", json={"key": free["key"]}).json()
    assert activated["license"]["activationDate"] is not None
    assert driver.post("/v1/license/activate", json={"key": free["key"]}).status_code == 400
    assert driver.get("/v1/license/controller/nobody").status_code == 404


def test_driver_tries_again_after_a_dropped_connection_and_a_status(driver, sandbox):
    assert driver.get("/v1/company").status_code == 200
    _fail(sandbox, kind="drop_before", path_contains="/v1/company")
    assert driver.get("/v1/company").status_code == 200
    _fail(sandbox, kind="status", status=503, retry_after_s=1, path_contains="/v1/company")
    start = len(sandbox.app.log)
    assert driver.get("/v1/company").status_code == 200
    assert [each.status for each in list(sandbox.app.log)[start:]] == [503, 200]
    _fail(sandbox, kind="status", status=403, path_contains="/v1/company")
    answer = driver.get("/v1/company")
    assert set(answer.json()) == {"statusCode", "error", "message"}
    assert answer.status_code == 403
