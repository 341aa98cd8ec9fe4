"""Digiwatt over real HTTP: token, ids, units, trends, the planted contradiction, known scores."""

from datetime import UTC, date, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import numpy as np
import pytest

from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.calendar import local_time
from energy_etl.sandbox.digiwatt import (
    PERIODS,
    PLANTED_APPLIANCE,
    PLANTED_FACTOR,
    PLANTED_MONTHS_BACK,
    PLANTED_SITE_ID,
    Digiwatt,
)
from energy_etl.sandbox.estimates import Estimates, parameters_of
from energy_etl.sandbox.model import id_digiwatt
from energy_etl_tests.sandbox.conftest import NOW_AT, Caller


def _path(site_id: str) -> str:
    return quote(id_digiwatt(site_id), safe="").replace(".", "%2E")


def _kwh(world: World, register_id: str, start: datetime, end: datetime) -> float:
    """Sum the truth over local wall-clock times, by datetime arithmetic alone."""
    origin = datetime(2024, 1, 1, tzinfo=UTC)
    zone = ZoneInfo(world.sites[register_id.split(".")[0]].zone)
    slots = [
        int((at.replace(tzinfo=zone).astimezone(UTC) - origin).total_seconds() // 900)
        for at in (start, end)
    ]
    edges = world.edges(register_id)
    return float(edges[slots[1]] - edges[slots[0]])


def _day(on: date) -> datetime:
    return datetime(on.year, on.month, on.day)


def test_token_is_given_for_the_right_client_only(caller):
    good = caller.token()
    assert good.status_code == 200
    assert good.json()["token_type"] == "Bearer"
    assert good.json()["expires_in"] == 36_000
    wrong = caller.token(client_secret="wrong")
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    unknown = caller.token(client_id="nobody")
    assert (unknown.status_code, unknown.json()["error"]) == (401, "invalid_client")
    grant = caller.token(grant_type="password")
    assert (grant.status_code, grant.json()["error"]) == (400, "unsupported_grant_type")
    as_json = caller.http.post("/digiwatt/auth/token", json={"client_id": "sandbox-digiwatt"})
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")
    assert caller.http.get("/digiwatt/auth/token").status_code == 405


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "bearer {token}", "{token}"]
)
def test_call_with_a_wrong_token_is_answered_401(caller, authorization):
    token = caller.token().json()["access_token"]
    headers = {"Authorization": authorization.format(token=token)}
    answer = caller.http.get(f"/digiwatt/smartmeters/{_path('rome-a')}/savings", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_token_expires(world):
    with SandboxServer(world, digiwatt_options={"token_lifetime_s": 0.0}) as sandbox:
        caller = Caller(sandbox)
        status = caller.digiwatt(f"{_path('rome-a')}/savings").status_code
        caller.close()
    assert status == 401


def test_every_meter_is_found_by_its_encoded_id(caller, world):
    for site_id in world.sites:
        assert caller.digiwatt(f"{_path(site_id)}/consumption/yesterday").status_code == 200


def test_odd_id_pasted_into_the_path_is_not_found(caller):
    assert caller.digiwatt("a/b?c#..1/consumption/yesterday").status_code == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("nobody/consumption/yesterday", 404),
        ("{meter}/consumption/today", 400),
        ("{meter}/consumption", 400),
        ("{meter}/savings/yesterday", 404),
        ("{meter}/nothing", 404),
        ("{meter}", 404),
    ],
)
def test_unknown_meter_endpoint_or_period_is_an_error(caller, target, status):
    answer = caller.digiwatt(target.format(meter=_path("rome-b")))
    assert answer.status_code == status
    assert "error" in answer.json()


def test_consumption_is_the_mains_in_kwh_over_local_days(caller, world):
    today = NOW_AT.date()
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    spans = {
        "yesterday": (today - timedelta(days=1), today),
        "last-seven-days": (today - timedelta(days=7), today),
        "this-week": (monday, today),
        "last-week": (monday - timedelta(days=7), monday),
        "this-month": (first, today),
        "last-month": (date(2025, 3, 1), date(2025, 4, 1)),  # the clocks change in it
    }
    for site_id in ("rome-b", "newyork-a", "lordhowe-a"):
        for period, (start, end) in spans.items():
            answer = caller.digiwatt(f"{_path(site_id)}/consumption/{period}").json()
            truth = _kwh(world, f"{site_id}.grid_import", _day(start), _day(end))
            assert answer["value"] == pytest.approx(truth, abs=0.006), (site_id, period)
            assert isinstance(answer["previousPeriodValueTrend"], int)


@pytest.mark.parametrize(
    ("variant", "has_today", "period", "current", "previous"),
    [
        ("elapsed", False, "this-week", ("04-14", "04-16"), ("04-07", "04-09")),
        ("whole", False, "this-week", ("04-14", "04-16"), ("04-07", "04-14")),
        ("elapsed", False, "this-month", ("04-01", "04-16"), ("03-01", "03-16")),
        ("whole", False, "this-month", ("04-01", "04-16"), ("03-01", "04-01")),
        ("elapsed", False, "last-month", ("03-01", "04-01"), ("02-01", "03-01")),
        ("elapsed", True, "this-week", ("04-14", "04-16T11"), ("04-07", "04-09T11")),
        ("whole", True, "this-week", ("04-14", "04-16T11"), ("04-07", "04-14")),
        ("elapsed", True, "last-seven-days", ("04-10", "04-16T11"), ("04-03", "04-09T11")),
        ("whole", True, "last-seven-days", ("04-10", "04-16T11"), ("04-03", "04-10")),
        ("elapsed", True, "yesterday", ("04-15", "04-16"), ("04-14", "04-15")),
    ],
)
def test_trend_is_of_the_variant_that_was_set(world, variant, has_today, period, current, previous):
    vendor = Digiwatt(world, Credentials(), trend_variant=variant, has_today=has_today)
    now, before = (
        _kwh(world, "rome-b.grid_import", *(datetime.fromisoformat(f"2025-{at}") for at in span))
        for span in (current, previous)
    )
    body = vendor._consumption("rome-b", period)
    assert body["value"] == pytest.approx(now, abs=0.006)
    assert body["previousPeriodValueTrend"] == round(100 * (now - before) / before)


def test_months_of_unequal_length_are_compared_up_to_the_month_end():
    world = World(now=fixed_clock(datetime(2025, 3, 31, 9, tzinfo=UTC)))
    windows = Estimates(world, "elapsed", False).windows("rome-b", "this-month")
    assert windows.previous.length_ms == 28 * 86_400_000  # February ends before 30 days are over


def test_empty_week_on_a_monday_has_value_zero_and_no_trend():
    world = World(now=fixed_clock(datetime(2025, 4, 14, 9, tzinfo=UTC)))
    body = Digiwatt(world, Credentials())._consumption("rome-b", "this-week")
    assert body == {"value": 0.0, "previousPeriodValueTrend": None}


def test_costs_follow_the_tariff_of_each_hour(caller, world):
    consumption = caller.digiwatt(f"{_path('berlin-a')}/consumption/last-week").json()
    costs = caller.digiwatt(f"{_path('berlin-a')}/estimated-costs/last-week").json()
    assert costs["value"] == pytest.approx(consumption["value"] * 0.402, abs=0.02)
    rome = caller.digiwatt(f"{_path('rome-a')}/estimated-costs/last-week").json()["value"]
    kwh = caller.digiwatt(f"{_path('rome-a')}/consumption/last-week").json()["value"]
    assert 0.25 < rome / kwh < 0.31


def test_savings_are_in_wh_where_consumption_is_in_kwh(caller, world):
    for site_id in ("rome-a", "rome-b"):
        savings = caller.digiwatt(f"{_path(site_id)}/savings").json()
        today = _day(NOW_AT.date())
        truth = _kwh(world, f"{site_id}.grid_import", today - timedelta(days=30), today)
        assert savings["estimatedConsumption"] == pytest.approx(truth * 1000, abs=1)
        assert savings["performance"]["userConsumption"] == savings["estimatedConsumption"]
        price = savings["estimatedCost"] / (savings["estimatedConsumption"] / 1000)
        assert 0.2 < price < 0.45
        for appliance in ("washingMachine", "dishwasher", "fridge", "standby"):
            part = savings[appliance]
            assert set(part) == {"estimatedConsumption", "estimatedCost"}
            assert 100 < part["estimatedConsumption"] < savings["estimatedConsumption"]


def test_distribution_adds_up_to_consumption_exactly(caller, world):
    for site_id in world.sites:
        for period in PERIODS:
            total = caller.digiwatt(f"{_path(site_id)}/consumption/{period}").json()["value"]
            parts = caller.digiwatt(f"{_path(site_id)}/consumption-distribution/{period}").json()
            assert sum(part["value"] for part in parts) == pytest.approx(total, abs=1e-6)
            assert [part["appliance"] for part in parts].count("other") == 1
            assert min(part["value"] for part in parts) > -0.05


def test_disaggregation_is_hourly_and_adds_up_to_the_distribution(caller):
    for site_id, zone in (("rome-a", "Europe/Rome"), ("lordhowe-a", "Australia/Lord_Howe")):
        series = caller.digiwatt(f"{_path(site_id)}/disaggregation/last-month").json()
        parts = caller.digiwatt(f"{_path(site_id)}/consumption-distribution/last-month").json()
        by_appliance = {part["appliance"]: part["value"] for part in parts}
        for each in series:
            total = sum(value["value"] for value in each["values"])
            assert total == pytest.approx(by_appliance[each["appliance"]], abs=0.08)
        starts = [datetime.fromisoformat(value["start"]) for value in series[0]["values"]]
        assert starts[0] == datetime(2025, 3, 1, tzinfo=ZoneInfo(zone))
        assert len(starts) == (743 if site_id == "rome-a" else 744)  # Rome loses an hour
        assert len({start.astimezone(UTC) for start in starts}) == len(starts)


def test_day_of_24_and_a_half_hours_ends_with_half_an_hour():
    world = World(now=fixed_clock(datetime(2025, 4, 7, 3, tzinfo=UTC)))
    estimates = Estimates(world, "elapsed", False)
    edges = estimates.hours("lordhowe-a", estimates.windows("lordhowe-a", "yesterday").current)
    assert len(edges) == 26
    assert set(np.diff(edges)[:-1]) == {3_600_000}
    assert np.diff(edges)[-1] == 1_800_000


def test_performance_lies_between_its_bounds(caller, world):
    for site_id in world.sites:
        body = caller.digiwatt(f"{_path(site_id)}/performance/last-week").json()
        consumption = caller.digiwatt(f"{_path(site_id)}/consumption/last-week").json()["value"]
        assert body["minConsumption"] <= body["userConsumption"] <= body["maxConsumption"]
        assert body["minConsumption"] < body["maxConsumption"]
        assert body["userConsumption"] == consumption


def test_histories_hold_the_last_twelve_complete_months(caller):
    months = [f"2024-{month:02d}" for month in range(4, 13)] + ["2025-01", "2025-02", "2025-03"]
    meter = _path("newyork-a")
    history = caller.digiwatt(f"{meter}/consumption-history").json()
    assert [row["month"] for row in history] == months
    last = caller.digiwatt(f"{meter}/consumption/last-month").json()["value"]
    assert history[-1]["value"] == last
    costs = caller.digiwatt(f"{meter}/costs-history").json()
    assert [row["month"] for row in costs["costs"]] == months
    assert costs["forecast"]["month"] == "2025-04"
    so_far = caller.digiwatt(f"{meter}/estimated-costs/this-month").json()["value"]
    assert costs["forecast"]["value"] == pytest.approx(so_far * 30 / 15, rel=0.01)
    compound = caller.digiwatt(f"{meter}/yearly-compound-consumption").json()
    for row, known in zip(compound, history, strict=True):
        assert row["total"] == known["value"]
        assert sum(part["value"] for part in row["parts"]) == pytest.approx(row["total"], abs=0.02)


def test_months_before_the_truth_are_left_out():
    world = World(now=fixed_clock(datetime(2024, 4, 10, tzinfo=UTC)))
    rows = Digiwatt(world, Credentials())._consumption_history("berlin-a")
    # January began in Berlin an hour before the truth did.
    assert [row["month"] for row in rows] == ["2024-02", "2024-03"]


def test_exactly_one_month_of_one_meter_contradicts_its_history(caller, world):
    contradictions = []
    for site_id in world.sites:
        history = caller.digiwatt(f"{_path(site_id)}/consumption-history").json()
        yearly = caller.digiwatt(f"{_path(site_id)}/yearly-consumption-distribution").json()
        for index, (known, row) in enumerate(zip(history, yearly, strict=True)):
            difference = sum(part["value"] for part in row["appliances"]) - known["value"]
            if abs(difference) > 0.05:
                part = next(p for p in row["appliances"] if p["appliance"] == PLANTED_APPLIANCE)
                added = part["value"] * (1 - 1 / PLANTED_FACTOR)
                assert difference == pytest.approx(added, abs=0.02)
                contradictions.append((site_id, index - len(history)))
    assert contradictions == [(PLANTED_SITE_ID, -PLANTED_MONTHS_BACK)]


def test_estimates_miss_the_truth_by_their_known_parameters(world):
    estimates = Estimates(world, "elapsed", False)
    for appliance, purpose in (("washingMachine", "washing_machine"), ("dishwasher", "dishwasher")):
        register = world.registers[f"newyork-a.{purpose}"]  # no PV: all of it comes from the grid
        true_use = world.steps(register.register_id)
        known = parameters_of(appliance)
        estimate = estimates.appliances("newyork-a")[appliance]
        first_day = (datetime(2024, 1, 1) - datetime(1970, 1, 1)).days
        missed = [estimates.is_missed(register, first_day + n) for n in range(400)]
        assert np.mean(missed) == pytest.approx(known.missed_days, abs=0.05)
        # Energy is lost on missed days alone, and where an hour's estimate exceeds its mains.
        lost = 1.0 - estimate.sum() / true_use.sum()
        assert 0.5 * known.missed_days < lost < known.missed_days + 0.1
        scores = [
            np.corrcoef(true_use[10:-10], np.roll(estimate, -shift)[10:-10])[0, 1]
            for shift in range(4)
        ]
        assert int(np.argmax(scores)) == known.shift_slots
        assert max(scores) < 0.999


def test_estimates_at_a_site_with_pv_never_exceed_the_grid_drawn_part(world):
    estimates = Estimates(world, "elapsed", False)
    for site_id in ("rome-a", "lordhowe-a", "dublin-a"):
        local = local_time(world.sites[site_id].zone, world.origin_ms + np.arange(9600) * 900_000)
        hour = (local.day - local.day[0]) * 24 + local.minute // 60
        claimed = np.sum(list(estimates.appliances(site_id).values()), axis=0)[:9600]
        mains = estimates.mains(site_id)[:9600]
        # The last hour is left out: it may be cut by the end of this sample.
        assert np.all((np.bincount(hour, claimed) <= np.bincount(hour, mains) + 1e-9)[:-1])
    import_share = estimates.mains("rome-a").sum() / world.consumption("rome-a").sum()
    fridge = estimates.appliances("rome-a")["fridge"].sum() / world.steps("rome-a.fridge").sum()
    assert fridge < 1.0
    assert import_share < 1.0


def test_wrapped_answers_hold_status_and_data(world):
    with SandboxServer(world, digiwatt_options={"wraps_answers": True}) as sandbox:
        caller = Caller(sandbox)
        body = caller.digiwatt(f"{_path('rome-b')}/consumption/yesterday").json()
        caller.close()
    assert body["status"] == "success"
    assert set(body["data"]) == {"value", "previousPeriodValueTrend"}


def test_post_to_a_reading_endpoint_is_refused(caller):
    token = caller.token().json()["access_token"]
    answer = httpx.post(
        f"{caller.sandbox.url}/digiwatt/smartmeters/x/savings",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.status_code == 405


def test_unknown_trend_variant_is_refused(world):
    with pytest.raises(ValueError, match="elapsed or whole"):
        Digiwatt(world, Credentials(), trend_variant="some")
