"""SmartgridOne's telemetry over real HTTP: values against the truth, statements, cost, the ban."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.calendar import DAY_MS, from_ms, to_ms
from energy_etl.sandbox.smartgridone_answers import RefusedError
from energy_etl.sandbox.smartgridone_budget import TIERS, Budget, cost_of
from energy_etl.sandbox.smartgridone_telemetry import GROUPED_FAILURE
from energy_etl_tests.sandbox.conftest import NOW_AT
from energy_etl_tests.sandbox.smartgridone_caller import (
    EV,
    GRID,
    OTHER_GRID,
    PV,
    MovedClock,
    SmartgridOneCaller,
    is_error,
)

NOW_MS = to_ms(NOW_AT)
FROM_MS, TO_MS = NOW_MS - 6 * DAY_MS, NOW_MS - 2 * DAY_MS
STEP_MS = 300_000
IMPORT, POWER, DELTA = "importedAbsEnergyTot_Wh", "actualPowerTot_W", "importedEnergyDeltaTot_Wh"


@pytest.fixture(scope="module")
def sandbox(world: World) -> Iterator[SandboxServer]:
    options = {"budget": {"tiers": {"free": 1_000, "basic": 5}}}
    with SandboxServer(world, smartgridone_options=options) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def caller(sandbox: SandboxServer) -> Iterator[SmartgridOneCaller]:
    with SmartgridOneCaller(sandbox) as caller:
        yield caller


@pytest.fixture(scope="module")
def sources(caller: SmartgridOneCaller) -> dict[str, dict]:
    """Return the 5-minute series of each device that measures."""
    found = {}
    for device in caller.devices():
        for series in device["properties"].get("nodeInfluxSeries", []):
            if series["retentionPolicy"] == "rp_one_m":
                found[device["properties"]["nodeId"]] = series
    return found


def _asked(series: dict, *select, first=FROM_MS, last=TO_MS, policy="rp_one_m", **more) -> dict:
    bounds = [{"operator": ">=", "value": first}, {"operator": "<", "value": last}]
    return {
        "select": list(select),
        "from": {
            "measurement": series["measurement"],
            "database": series["database"],
            "retentionPolicy": policy,
        },
        "where": {"time": bounds, "tags": series["tags"]},
    } | more


def _rows(caller: SmartgridOneCaller, asked: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the instants (ms) and the values of the first column of a statement."""
    answer = caller.telemetry(asked)
    assert answer.status_code == 200, answer.text
    (series,) = answer.json()["series"]
    at_ms = [to_ms(datetime.fromisoformat(row[0])) for row in series["values"]]
    return np.array(at_ms), np.array([row[1] for row in series["values"]])


def _true_wh(world: World, register_id: str, at_ms: np.ndarray) -> np.ndarray:
    """Return the true counter by a plain linear interpolation over the slots' edges."""
    edges = world.edges(register_id)
    edge_ms = world.origin_ms + np.arange(len(edges)) * world.slot_ms
    return np.interp(at_ms, edge_ms, edges) * 1000.0


# -- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node_id", "field", "register_id"),
    [
        (GRID, IMPORT, "ghent-a.grid_import"),
        (GRID, GROUPED_FAILURE, "ghent-a.grid_export"),
        (OTHER_GRID, IMPORT, "berlin-a.grid_import"),
    ],
)
def test_counters_are_the_true_register_in_whole_wh(
    caller, sources, world, node_id, field, register_id
):
    at_ms, value_wh = _rows(caller, _asked(sources[node_id], field))
    assert value_wh.dtype == np.int64
    assert np.abs(value_wh - _true_wh(world, register_id, at_ms)).max() <= 0.5 + 1e-6
    assert (np.diff(value_wh) >= 0).all()


def test_delta_is_the_energy_of_the_step_that_ends_at_its_stamp(caller, sources, world):
    at_ms, delta_wh = _rows(caller, _asked(sources[EV], DELTA))
    true_wh = _true_wh(world, "ghent-a.ev", at_ms) - _true_wh(world, "ghent-a.ev", at_ms - STEP_MS)
    assert np.abs(delta_wh - true_wh).max() <= 1.0 + 1e-6
    assert delta_wh.max() > 100
    # Rounding never adds up: the sum of the day is the day's energy to 1 Wh.
    whole = _asked(sources[EV], {"field": DELTA, "function": "sum"})
    (row,) = caller.telemetry(whole).json()["series"][0]["values"]
    assert row[1] == delta_wh.sum()
    complete = at_ms[np.concatenate([[False], np.diff(at_ms) == STEP_MS])]
    grown = true_wh[np.isin(at_ms, complete)].sum()
    assert abs(delta_wh[np.isin(at_ms, complete)].sum() - grown) < 30


def test_power_is_below_zero_for_a_producing_inverter(caller, sources, world):
    at_ms, power_w = _rows(caller, _asked(sources[PV], POWER))
    slot = (at_ms - world.origin_ms) // world.slot_ms
    true_w = np.diff(world.edges("ghent-a.pv"))[slot] * 4_000.0
    assert np.abs(power_w + true_w).max() <= 0.5 + 1e-6
    assert power_w.min() < -1_000
    assert power_w.max() == 0


def test_power_at_the_grid_is_import_less_export(caller, sources, world):
    at_ms, power_w = _rows(caller, _asked(sources[GRID], POWER))
    slot = (at_ms - world.origin_ms) // world.slot_ms
    steps = np.diff(world.edges("ghent-a.grid_import")) - np.diff(
        world.edges("ghent-a.grid_export")
    )
    assert np.abs(power_w - steps[slot] * 4_000.0).max() <= 0.5 + 1e-6
    assert power_w.min() < 0 < power_w.max()


def test_other_fields_of_the_grid_look_like_a_grid(caller, sources):
    fields = ("voltageL1N_V", "currentL1_A", "frequency_Hz")
    answer = caller.telemetry(_asked(sources[GRID], *fields)).json()
    (series,) = answer["series"]
    assert series["columns"] == ["time", *fields]
    volt, ampere, hertz = np.array([row[1:] for row in series["values"]]).T
    assert ((volt > 220) & (volt < 240)).all()
    assert ((hertz > 49.9) & (hertz < 50.1)).all()
    assert ampere.min() >= 0


def test_rows_are_missing_exactly_while_the_controller_was_offline(caller, sources, sandbox):
    telemetry = sandbox.app.vendors["smartgridone"].telemetry  # type: ignore[attr-defined]
    first_ms, last_ms = NOW_MS - 50 * DAY_MS, NOW_MS
    for node_id, site_id in ((GRID, "ghent-a"), (OTHER_GRID, "berlin-a")):
        asked = _asked(sources[node_id], IMPORT, first=first_ms, last=last_ms, policy="rp_ten_m")
        at_ms, _ = _rows(caller, asked)
        grid_ms = np.arange(first_ms, last_ms, 2 * STEP_MS)
        windows = [
            telemetry.offline_ms(site_id, day)
            for day in range(first_ms // DAY_MS, last_ms // DAY_MS)
        ]
        gone = np.zeros(len(grid_ms), dtype=bool)
        for window in filter(None, windows):
            gone |= (grid_ms >= window[0]) & (grid_ms < window[1])
        assert 0.001 < gone.mean() < 0.03
        np.testing.assert_array_equal(at_ms, grid_ms[~gone])


def test_coarse_policy_holds_every_second_row(caller, sources):
    fine_ms, fine_wh = _rows(caller, _asked(sources[GRID], IMPORT))
    coarse_ms, coarse_wh = _rows(caller, _asked(sources[GRID], IMPORT, policy="rp_ten_m"))
    is_kept = fine_ms % (2 * STEP_MS) == 0
    np.testing.assert_array_equal(coarse_ms, fine_ms[is_kept])
    np.testing.assert_array_equal(coarse_wh, fine_wh[is_kept])


def test_fine_policy_and_other_spellings_of_time_are_options(world, sources):
    answers = {}
    for spelled in ("ms", "iso_ns"):
        options = {"time_format": spelled, "has_fine_policy": True}
        with (
            SandboxServer(world, smartgridone_options=options) as sandbox,
            SmartgridOneCaller(sandbox) as caller,
        ):
            asked = _asked(sources[GRID], IMPORT, first=0, last=NOW_MS + 1, policy="rp_one_s")
            answer = caller.telemetry(asked | {"limit": 2}, params={"apiTier": "premium"})
            answers[spelled] = answer.json()["series"][0]["values"]
    first_ms = NOW_MS - 7 * DAY_MS
    assert [row[0] for row in answers["ms"]] == [first_ms, first_ms + 10_000]
    assert [row[0] for row in answers["iso_ns"]] == [
        f"{from_ms(at):%Y-%m-%dT%H:%M:%S}.000000000Z" for at in (first_ms, first_ms + 10_000)
    ]
    with pytest.raises(ValueError, match="time_format is one of"):
        SandboxServer(world, smartgridone_options={"time_format": "epoch"})


# -- statements ------------------------------------------------------------------------------


def test_one_bad_field_fails_its_statement_and_no_other(caller, sources):
    grid = sources[GRID]
    asked = [
        _asked(grid, IMPORT, GROUPED_FAILURE),
        _asked(grid, GROUPED_FAILURE),
        _asked(grid, IMPORT, POWER),
        _asked(grid, "nothing_W"),
        _asked(grid, IMPORT, "nothing_W", limit=1),
        _asked(grid, IMPORT, first=NOW_MS + 1, last=NOW_MS + DAY_MS),
        _asked(grid | {"database": "beauvent"}, IMPORT),
        _asked(grid, IMPORT, policy="rp_one_s"),
        _asked(grid | {"tags": {"nodeId": PV}}, IMPORT),
        _asked(grid, IMPORT, {"field": POWER, "function": "mean"}),
    ]
    answer = caller.telemetry(asked)
    assert answer.status_code == 200
    outcomes = answer.json()
    assert [each["statement_id"] for each in outcomes] == list(range(len(asked)))
    kinds = [({*each} - {"statement_id"} or {"nothing"}).pop() for each in outcomes]
    assert kinds == [
        "error",
        "series",
        "series",
        "nothing",
        "series",
        "nothing",
        "error",
        "error",
        "nothing",
        "error",
    ]
    assert GROUPED_FAILURE in outcomes[0]["error"]
    assert outcomes[2]["series"][0]["columns"] == ["time", IMPORT, POWER]
    assert outcomes[4]["series"][0]["values"][0][2] is None


def test_single_statement_is_answered_by_a_single_object(caller, sources):
    asked = _asked(sources[GRID], IMPORT, limit=3)
    alone = caller.telemetry(asked).json()
    assert alone["statement_id"] == 0
    assert caller.telemetry([asked]).json() == [alone]
    assert alone["series"][0]["tags"] == {"nodeId": GRID}
    source = asked["from"]
    namespace = {"version": "1"} | {k: source[k] for k in ("database", "retentionPolicy")}
    named = {"measurement": source["measurement"], "namespace": namespace}
    assert caller.telemetry(asked | {"from": named}).json() == alone


def test_order_and_limit_give_the_latest_rows(caller, sources):
    at_ms, _ = _rows(caller, _asked(sources[GRID], IMPORT, first=NOW_MS - DAY_MS, last=NOW_MS + 1))
    latest = _asked(
        sources[GRID], IMPORT, first=NOW_MS - DAY_MS, last=NOW_MS + 1, orderBy="DESC", limit=2
    )
    last_ms, _ = _rows(caller, latest)
    assert last_ms.tolist() == at_ms[:-3:-1].tolist()


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ([(">=", 0), ("<", 2)], [0, 1]),
        ([(">", 0), ("<=", 2)], [1, 2]),
        ([("=", 1)], [1]),
    ],
)
def test_bounds_mean_what_their_operators_say(caller, sources, bounds, expected):
    start_ms = FROM_MS // STEP_MS * STEP_MS
    for spell in (lambda at: at, lambda at: from_ms(at).isoformat().replace("+00:00", ".000Z")):
        asked = _asked(sources[GRID], IMPORT)
        asked["where"]["time"] = [
            {"operator": operator, "value": spell(start_ms + steps * STEP_MS)}
            for operator, steps in bounds
        ]
        at_ms, _ = _rows(caller, asked)
        assert ((at_ms - start_ms) // STEP_MS).tolist() == expected


def test_functions_answer_one_row(caller, sources):
    _, power_w = _rows(caller, _asked(sources[GRID], POWER))
    functions = ("sum", "min", "max", "mean")
    asked = _asked(sources[GRID], *({"field": POWER, "function": each} for each in functions))
    (series,) = caller.telemetry(asked).json()["series"]
    assert series["columns"] == ["time", *(f"{each}_{POWER}" for each in functions)]
    (row,) = series["values"]
    assert row[1:] == [power_w.sum(), power_w.min(), power_w.max(), pytest.approx(power_w.mean())]


@pytest.mark.parametrize(
    "change",
    [
        {"select": []},
        {"select": ["a"] * 101},
        {"select": [{"field": "a", "function": "median"}]},
        {"select": [5]},
        {"from": {"measurement": "gridMetrics"}},
        {"from": {"measurement": "m", "database": "d", "retentionPolicy": "r", "namespace": {}}},
        {"where": {"time": [{"operator": ">=", "value": 1}] * 3}},
        {"where": {"time": [{"operator": "~", "value": 1}]}},
        {"where": {"time": [{"operator": ">", "value": "2025-04-01"}]}},
        {"where": {"time": [{"operator": ">", "value": "2025-04-01T00:00:00"}]}},
        {"where": {"time": [{"operator": ">", "value": "2025-13-01T00:00:00Z"}]}},
        {"where": {"tags": []}},
        {"groupBy": ["nodeId"]},
        {"orderBy": "UP"},
        {"limit": 0},
    ],
)
def test_misspelled_statement_is_answered_400(caller, sources, change):
    asked = _asked(sources[GRID], IMPORT)
    assert is_error(caller.telemetry([asked, asked | change]), 400)


def test_a_request_holds_one_to_a_thousand_statements(caller, sources):
    asked = _asked(sources[GRID], IMPORT, first=TO_MS - STEP_MS)
    assert len(caller.telemetry([asked] * 1_000).json()) == 1_000
    for body in ([asked] * 1_001, [], 5):
        assert is_error(caller.telemetry(body), 400)


def test_truth_without_its_registers_is_served_empty(world):
    bare = World(now=lambda: NOW_AT)
    bare.streams = {}
    bare.registers = {k: r for k, r in world.registers.items() if r.vendor == "wattsense"}
    with SandboxServer(bare) as sandbox, SmartgridOneCaller(sandbox) as caller:
        assert caller.devices() == []
        assert caller.call("POST", "role/query", json={}).json() == {"role": []}
        assert caller.call("GET", "company").json() == {"company": []}
        monitors = caller.call("POST", "role/*/monitors/query", json={})
        assert monitors.json() == {"monitors": []}
        assert is_error(caller.call("GET", "license/controller/x"), 404)
        series = {"measurement": "gridMetrics", "database": "d", "tags": {}}
        assert "error" in caller.telemetry(_asked(series, IMPORT)).json()


# -- what it costs ---------------------------------------------------------------------------


def test_answer_tells_what_it_cost_and_what_is_left(caller, sources):
    first, last = NOW_MS - DAY_MS, NOW_MS
    asked = [_asked(sources[GRID], IMPORT, POWER, first=first, last=last, limit=1)] * 30
    headers = caller.telemetry(asked).headers
    cost = int(headers["X-RateLimit-Cost"])
    assert cost == cost_of([2 * 288] * 30) == 5
    assert int(headers["X-RateLimit-Used"]) + int(headers["X-RateLimit-Remaining"]) == 1_000
    assert int(headers["X-RateLimit-Used"]) >= cost


def test_query_that_costs_more_than_the_bucket_is_answered_422(caller, sources):
    asked = [_asked(sources[GRID], IMPORT, first=0, last=NOW_MS)] * 5
    answer = caller.telemetry(asked, params={"apiTier": "basic"})
    assert is_error(answer, 422)
    assert "Retry-After" not in answer.headers
    assert is_error(caller.telemetry(asked, params={"apiTier": "gold"}), 400)
    unbounded = {key: value for key, value in asked[0].items() if key != "where"}
    assert is_error(caller.telemetry([unbounded] * 5, params={"apiTier": "basic"}), 422)


def test_emptied_budget_is_answered_429_and_ignoring_it_leads_to_a_ban(world, sources):
    clock = MovedClock()
    options = {"budget": {"tiers": {"free": 6}, "clock": clock}}
    asked = [_asked(sources[GRID], IMPORT, first=FROM_MS - 6 * DAY_MS, limit=1)] * 6  # costs 4
    with (
        SandboxServer(world, smartgridone_options=options) as sandbox,
        SmartgridOneCaller(sandbox) as caller,
    ):
        assert caller.telemetry(asked).headers["X-RateLimit-Cost"] == "4"
        told = caller.telemetry(asked)
        assert is_error(told, 429)
        assert int(told.headers["Retry-After"]) == told.json()["retryAfter"] == 20
        clock.pass_s(20.0)
        assert caller.telemetry(asked).status_code == 200
        assert is_error(caller.telemetry(asked), 429)
        for _ in range(9):
            assert is_error(caller.telemetry(asked[0]), 429, "Rate limit exceeded")
        assert caller.call("GET", "company").status_code == 200
        banned = caller.telemetry(asked[0])
        assert int(banned.headers["Retry-After"]) == 300
        clock.pass_s(299.0)
        assert caller.call("GET", "company").headers["Retry-After"] == "1"
        clock.pass_s(1.0)
        assert caller.telemetry(asked).status_code == 200


def _wait_s(budget: Budget, cost: int) -> tuple[int, float]:
    """Ask for a cost; return the status and what the answer says to wait."""
    try:
        budget.check_ban()
        budget.check_patience()
        budget.spend("free", cost)
    except RefusedError as refused:
        return refused.status, float(refused.wait_text())
    return 200, 0.0


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 90.0), st.integers(1, 120), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_nobody_gets_more_than_a_bucket_and_its_leak(calls):
    clock = MovedClock()
    budget = Budget(clock=clock)
    spent: list[tuple[float, int]] = []
    for pause_s, cost, is_patient in calls:
        clock.pass_s(pause_s)
        status, wait_s = _wait_s(budget, cost)
        assert status in ((422, 429) if cost > TIERS["free"] else (200, 429))
        if status == 200:
            spent.append((clock.now_s, cost))
        elif is_patient:
            clock.pass_s(wait_s)
    for at_s, _ in spent:
        within = sum(cost for other_s, cost in spent if at_s <= other_s < at_s + 60.0)
        assert within <= 2 * TIERS["free"]


def test_patient_caller_is_never_banned():
    clock = MovedClock()
    budget = Budget(clock=clock)
    statuses = []
    for _ in range(60):
        status, wait_s = _wait_s(budget, 70)
        assert wait_s <= 42.0
        clock.pass_s(wait_s)
        statuses.append(status)
    assert statuses.count(200) >= 30
    assert set(statuses) == {200, 429}
