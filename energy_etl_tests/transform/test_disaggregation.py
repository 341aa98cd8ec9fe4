"""Appliance shares and scores, against numbers worked out by hand."""

import math
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import (
    APPLIANCE_INTERVAL,
    METER,
    REGISTER,
    VENDOR_APPLIANCE_FIGURE,
)
from energy_etl.tables.mart import APPLIANCE_SHARE, DAILY_ENERGY, DISAGGREGATION_SCORE
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.disaggregation import (
    compute_appliance_shares,
    compute_disaggregation_scores,
)
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register, utc

NOW = utc("2026-05-20T09:00")  # a Wednesday
SINCE = utc("2026-05-09T22:00")
NO_FIGURES = VENDOR_APPLIANCE_FIGURE.empty_frame()
METERS = pl.DataFrame(
    [("m", "site", "Main meter", "electricity"), ("m2", "site", "Second", "electricity")],
    schema=METER.polars_schema,
    orient="row",
)
MAINS = make_register("mains", meter_id="m")
EV = make_register("ev", role="submeter", appliance="ev")
FRIDGE = make_register("fridge", role="appliance", appliance="fridge")


def shares_of(
    loads: dict[str, float | None],
    *registers: pl.DataFrame,
    figures: pl.DataFrame = NO_FIGURES,
    now: datetime = NOW,
    period: str = "yesterday",
) -> dict[tuple[str, str], dict]:
    """Rows of one period by (source, appliance); loads are kWh a day, None for nothing at all."""
    frame = pl.concat(registers)
    frames = [
        make_flat_load(name, SINCE, now, kwh=kwh / 96)
        for name, kwh in loads.items()
        if kwh is not None
    ]
    intervals = pl.concat([make_flat_load("unknown", SINCE, now), *frames])
    daily = compute_daily(intervals, frame, now=now)
    shares = compute_appliance_shares(daily, frame, figures, METERS, now=now)
    assert shares.schema == APPLIANCE_SHARE.polars_schema
    assert shares.equals(shares.sort(APPLIANCE_SHARE.key))
    rows = shares.filter(pl.col("period") == period).iter_rows(named=True)
    return {(row["source"], row["appliance"]): row for row in rows}


def figures_of(**energy_kwh: float) -> pl.DataFrame:
    rows = [
        ("m", "digiwatt", "yesterday", date(2026, 5, 20), name, kwh)
        for name, kwh in energy_kwh.items()
    ]
    return pl.DataFrame(rows, schema=VENDOR_APPLIANCE_FIGURE.polars_schema, orient="row")


def test_shares_are_of_import_plus_production_minus_export():
    rows = shares_of(
        {"mains": 12.0, "pv": 18.0, "export": 10.0, "ev": 8.0, "fridge": 2.0},
        MAINS,
        EV,
        FRIDGE,
        make_register("pv", role="production"),
        make_register("export", role="export"),
    )
    assert {key: row["energy_kwh"] for key, row in rows.items()} == pytest.approx(
        {("own", "ev"): 8.0, ("own", "fridge"): 2.0, ("own", "unattributed"): 10.0}
    )
    assert {key[1]: row["share_pct"] for key, row in rows.items()} == pytest.approx(
        {"ev": 40.0, "fridge": 10.0, "unattributed": 50.0}
    )
    assert {row["coverage_pct"] for row in rows.values()} == {100.0}
    assert rows["own", "ev"]["computed_on"] == date(2026, 5, 20)


@given(
    st.floats(min_value=0.1, max_value=1e4),
    st.floats(min_value=0, max_value=1e4),
    st.floats(min_value=0, max_value=1e4),
)
@settings(max_examples=12, deadline=None)
def test_own_shares_sum_to_100_whatever_the_submeters_say(mains: float, ev: float, fridge: float):
    rows = shares_of({"mains": mains, "ev": ev, "fridge": fridge}, MAINS, EV, FRIDGE)
    largest = max(abs(row["share_pct"]) for row in rows.values())
    total = math.fsum(row["share_pct"] for row in rows.values())
    assert total == pytest.approx(100.0, abs=1e-9 * largest)


def test_unattributed_may_be_negative():
    rows = shares_of({"mains": 10.0, "ev": 11.0}, MAINS, EV)
    assert rows["own", "unattributed"]["energy_kwh"] == pytest.approx(-1.0)
    assert rows["own", "unattributed"]["share_pct"] == pytest.approx(-10.0)


@pytest.mark.parametrize(
    "loads",
    [
        {"mains": None, "export": 1.0, "ev": 8.0},
        {"mains": 12.0, "export": None, "ev": 8.0},
    ],
)
def test_without_mains_or_export_readings_consumption_is_unknown(loads: dict):
    rows = shares_of(loads, MAINS, EV, make_register("export", role="export"))
    assert rows["own", "unattributed"]["energy_kwh"] is None
    assert rows["own", "ev"]["energy_kwh"] == pytest.approx(8.0)
    assert rows["own", "ev"]["share_pct"] is None
    assert rows["own", "unattributed"]["coverage_pct"] == pytest.approx(200 / 3)


def test_a_submeter_without_readings_is_null_and_uncovered():
    rows = shares_of({"mains": 10.0, "ev": 4.0, "fridge": None}, MAINS, EV, FRIDGE)
    fridge = rows["own", "fridge"]
    assert (fridge["energy_kwh"], fridge["share_pct"], fridge["coverage_pct"]) == (None, None, 0.0)
    assert rows["own", "unattributed"]["energy_kwh"] == pytest.approx(6.0)
    assert rows["own", "unattributed"]["coverage_pct"] == pytest.approx(200 / 3)


def test_nothing_used_has_no_shares():
    rows = shares_of({"mains": 0.0, "ev": 0.0}, MAINS, EV)
    assert rows["own", "ev"]["energy_kwh"] == 0.0
    assert rows["own", "ev"]["share_pct"] is None


def test_second_views_heat_and_sites_without_submeters_are_left_out():
    rows = shares_of(
        {"mains": 10.0, "copy": 10.0, "heat": 5.0, "ev": 4.0, "ev-copy": 4.0},
        MAINS,
        EV,
        make_register("copy", is_primary=False),
        make_register("ev-copy", role="submeter", appliance="ev", is_primary=False),
        make_register("heat", role="submeter", appliance="heating", commodity="heat"),
        make_register("elsewhere", site_id="other-site"),
    )
    assert rows.keys() == {("own", "ev"), ("own", "unattributed")}
    assert rows["own", "ev"]["share_pct"] == pytest.approx(40.0)


def test_submeters_of_one_name_are_added_and_one_without_a_name_goes_by_its_id():
    rows = shares_of(
        {"mains": 10.0, "ev": 4.0, "ev2": 1.0, "sub": 2.0},
        MAINS,
        EV,
        make_register("ev2", role="submeter", appliance="ev"),
        make_register("sub", role="submeter"),
    )
    assert rows["own", "ev"]["energy_kwh"] == pytest.approx(5.0)
    assert rows["own", "sub"]["energy_kwh"] == pytest.approx(2.0)


def test_on_a_monday_this_week_has_null_shares():
    monday = utc("2026-05-18T09:00")
    rows = shares_of({"mains": 10.0, "ev": 4.0}, MAINS, EV, now=monday, period="this-week")
    for row in rows.values():
        assert (row["energy_kwh"], row["share_pct"], row["coverage_pct"]) == (None, None, None)
    assert len(rows) == 2


def test_a_vendors_shares_are_of_its_own_sum_with_other():
    second = figures_of(ev=2.0).with_columns(meter_id=pl.lit("m2"))
    rows = shares_of(
        {"mains": 10.0},
        MAINS,
        figures=pl.concat([figures_of(ev=4.0, fridge=1.0, other=3.0), second]),
    )
    assert rows.keys() == {("digiwatt", name) for name in ("ev", "fridge", "other")}
    assert rows["digiwatt", "ev"]["energy_kwh"] == 6.0
    assert rows["digiwatt", "ev"]["share_pct"] == 60.0
    assert sum(row["share_pct"] for row in rows.values()) == pytest.approx(100.0)
    assert rows["digiwatt", "ev"]["coverage_pct"] is None


def test_a_vendors_figures_of_another_day_or_an_unknown_meter_are_left_out():
    old = figures_of(ev=4.0).with_columns(fetched_on=pl.lit(date(2026, 5, 19)))
    unknown = figures_of(ev=4.0).with_columns(meter_id=pl.lit("not-ours"))
    assert shares_of({"mains": 10.0}, MAINS, figures=pl.concat([old, unknown])) == {}


def test_no_registers_give_no_shares():
    shares = compute_appliance_shares(
        DAILY_ENERGY.empty_frame(), REGISTER.empty_frame(), figures_of(ev=1.0), METERS, now=NOW
    )
    assert shares.is_empty()
    assert shares.schema == APPLIANCE_SHARE.polars_schema


# Scores -----------------------------------------------------------------------------------------


def make_estimate(
    values: list[float], *, appliance: str = "ev", start_at: datetime = SINCE, minutes: int = 60
) -> pl.DataFrame:
    step = timedelta(minutes=minutes)
    rows = [
        ("m", "digiwatt", appliance, start_at + n * step, start_at + (n + 1) * step, value)
        for n, value in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=APPLIANCE_INTERVAL.polars_schema, orient="row")


def hourly_truth(values: list[float], register_id: str = "ev") -> pl.DataFrame:
    """Quarter hours that add up to the values."""
    quarters: list[float | None] = [value / 4 for value in values for _ in range(4)]
    return make_intervals(register_id, SINCE, quarters)


def score_of(
    estimate: pl.DataFrame, truth: pl.DataFrame, *registers: pl.DataFrame
) -> dict[str, object]:
    frame = pl.concat(registers or (MAINS, EV))
    scores = compute_disaggregation_scores(estimate, truth, frame)
    assert scores.schema == DISAGGREGATION_SCORE.polars_schema
    assert scores.height == 1
    return scores.row(0, named=True)


def test_scores_of_four_hours_are_those_worked_out_by_hand():
    # y = 1, 0, 2, 0.5; p = 0.5, 0.25, 2, 0: errors 0.5, 0.25, 0, 0.5.
    row = score_of(make_estimate([0.5, 0.25, 2.0, 0.0]), hourly_truth([1.0, 0.0, 2.0, 0.5]))
    assert (row["own_kwh"], row["vendor_kwh"]) == (3.5, 2.75)
    assert row["error_in_assigned_energy_kwh"] == 0.75
    assert row["nep"] == pytest.approx(1.25 / 3.5)
    assert row["nde"] == pytest.approx(math.sqrt(0.5625 / 5.25))
    assert row["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert row["on_threshold_w"] == 10.0
    assert row["n_intervals"] == 4
    assert (row["from_at"], row["to_at"]) == (SINCE, SINCE + timedelta(hours=4))
    assert (row["site_id"], row["meter_id"], row["register_id"]) == ("site", "m", "ev")
    assert (row["vendor"], row["appliance"]) == ("digiwatt", "ev")


def test_the_floor_is_what_the_estimate_of_nothing_scores():
    row = score_of(make_estimate([0.0] * 8), hourly_truth([1.0, 0, 2.0, 0, 0, 3.0, 0, 0.5]))
    assert (row["nep"], row["nde"], row["f1"]) == (1.0, 1.0, 0.0)
    assert row["best_shift_minutes"] == 0


def test_a_perfect_estimate_scores_0_0_1():
    values = [1.0, 0.0, 2.0, 0.5, 0.0, 0.25]
    row = score_of(make_estimate(values), hourly_truth(values))
    assert (row["nep"], row["nde"], row["f1"], row["best_shift_minutes"]) == (0.0, 0.0, 1.0, 0)


def test_no_truth_and_never_on_leave_ratios_null():
    row = score_of(make_estimate([0.0, 0.0]), hourly_truth([0.0, 0.0]))
    assert (row["nep"], row["nde"], row["f1"], row["best_shift_minutes"]) == (None,) * 4
    assert row["error_in_assigned_energy_kwh"] == 0.0


def test_on_and_off_are_split_at_the_appliances_threshold():
    # 40 W is off for a fridge (50 W) and on for anything without a threshold of its own (10 W).
    values = [0.040, 0.060, 0.0, 0.060]
    estimate = make_estimate([0.060, 0.060, 0.0, 0.0], appliance="fridge")
    row = score_of(estimate, hourly_truth(values, "fridge"), MAINS, FRIDGE)
    assert row["on_threshold_w"] == 50.0
    assert row["f1"] == pytest.approx(0.5)
    other = score_of(make_estimate([0.060, 0.060, 0.0, 0.0]), hourly_truth(values))
    assert other["f1"] == pytest.approx(2 * 2 / (2 + 3))


@pytest.mark.parametrize("hours_late", [-4, -1, 2, 3])
def test_a_shifted_estimate_is_told_by_the_shift_that_mends_it(hours_late: int):
    truth = [0.0] * 6 + [3.0, 1.0, 0.0, 2.0] + [0.0] * 14
    said = [truth[(n - hours_late) % 24] for n in range(24)]
    row = score_of(make_estimate(said), hourly_truth(truth))
    assert row["best_shift_minutes"] == -60 * hours_late
    assert row["nep"] == pytest.approx(
        sum(abs(y - p) for y, p in zip(truth, said, strict=True)) / 6.0
    )


def test_a_hole_in_the_estimate_does_not_shift_what_follows():
    truth = [0.0, 3.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 4.0]
    estimate = make_estimate(truth).filter(pl.col("start_at") != SINCE + timedelta(hours=5))
    row = score_of(estimate, hourly_truth(truth))
    assert (row["n_intervals"], row["nep"], row["best_shift_minutes"]) == (11, 0.0, 0)


def test_neighbouring_rows_that_are_not_an_hour_apart_are_not_taken_for_a_shift_of_one():
    truth = [float(n % 7 + n % 3) for n in range(24)]
    two_hours_late = make_estimate([truth[n - 2] for n in range(24)])
    every_other = two_hours_late.filter(pl.col("start_at").dt.hour() % 2 == 0)
    row = score_of(every_other, hourly_truth(truth))
    assert (row["n_intervals"], row["best_shift_minutes"]) == (12, 0)


def test_a_fit_of_one_interval_at_the_edge_is_no_shift():
    # Moved by four hours, the one interval left would fit exactly.
    row = score_of(make_estimate([9.0, 0, 0, 0, 0]), hourly_truth([1.0, 2.0, 3.0, 4.0, 9.0]))
    assert row["best_shift_minutes"] == -60


@pytest.mark.parametrize(
    "spoil",
    [
        pl.col("quality").replace("measured", "estimated").alias("quality"),
        pl.lit(True).alias("is_provisional"),
        pl.lit(None, pl.Float64).alias("energy_kwh"),
    ],
)
def test_an_hour_counts_only_when_each_of_its_quarters_was_measured_and_confirmed(spoil: pl.Expr):
    truth = hourly_truth([1.0, 1.0, 1.0])
    quarter_at = pl.col("start_at") == SINCE + timedelta(minutes=75)
    spoiled = pl.concat([truth.filter(~quarter_at), truth.filter(quarter_at).with_columns(spoil)])
    row = score_of(make_estimate([1.0, 9.0, 1.0]), spoiled)
    assert (row["n_intervals"], row["own_kwh"], row["vendor_kwh"]) == (2, 2.0, 2.0)


def test_truth_coarser_than_the_estimate_is_no_truth_for_it():
    hourly = make_flat_load("ev", SINCE, SINCE + timedelta(days=1), minutes=60)
    registers = pl.concat(
        [MAINS, make_register("ev", role="submeter", appliance="ev", grid_minutes=60)]
    )
    estimate = make_estimate([0.25] * 96, minutes=15)
    assert compute_disaggregation_scores(estimate, hourly, registers).is_empty()


def test_an_estimate_across_the_truths_grid_shares_no_interval():
    hourly = make_flat_load("ev", SINCE, SINCE + timedelta(days=1), minutes=60)
    ev = make_register("ev", role="submeter", appliance="ev", grid_minutes=60)
    estimate = make_estimate([1.0] * 24, start_at=SINCE + timedelta(minutes=30))
    assert compute_disaggregation_scores(estimate, hourly, pl.concat([MAINS, ev])).is_empty()


def test_without_a_shared_interval_there_is_no_score():
    later = make_estimate([1.0], start_at=SINCE + timedelta(days=30))
    scores = compute_disaggregation_scores(later, hourly_truth([1.0]), pl.concat([MAINS, EV]))
    assert scores.is_empty()
    assert scores.schema == DISAGGREGATION_SCORE.polars_schema


@pytest.mark.parametrize(
    "registers",
    [
        (MAINS,),
        (MAINS, FRIDGE),
        (MAINS, EV, make_register("ev2", role="submeter", appliance="ev")),
        (MAINS, make_register("ev", role="submeter", appliance="ev", site_id="other-site")),
        (MAINS, make_register("ev", role="submeter", appliance="ev", commodity="heat")),
        (EV,),
    ],
)
def test_without_one_submeter_of_that_name_at_the_meters_site_there_is_no_score(
    registers: tuple[pl.DataFrame, ...],
):
    scores = compute_disaggregation_scores(
        make_estimate([1.0]), hourly_truth([1.0]), pl.concat(registers)
    )
    assert scores.is_empty()


@given(
    st.lists(
        st.tuples(st.floats(min_value=0, max_value=10), st.floats(min_value=0, max_value=10)),
        min_size=1,
        max_size=40,
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_scores_of_any_two_appliances_are_those_of_the_formulas_in_any_order(
    pairs: list[tuple[float, float]], random
):
    truth, said = [y for y, _ in pairs], [p for _, p in pairs]
    estimates = pl.concat([make_estimate(said), make_estimate(truth, appliance="fridge")])
    intervals = pl.concat([hourly_truth(truth), hourly_truth(said, "fridge")])
    registers = pl.concat([MAINS, EV, FRIDGE])
    scores = compute_disaggregation_scores(estimates, intervals, registers)
    ev, fridge = scores.iter_rows(named=True)
    assert ev["own_kwh"] == pytest.approx(fridge["vendor_kwh"], abs=1e-12)
    errors = math.fsum(abs(y - p) for y, p in pairs)
    for row, true in ((ev, truth), (fridge, said)):
        if math.fsum(true) > 1e-6:
            assert row["nep"] == pytest.approx(errors / math.fsum(true), rel=1e-6, abs=1e-6)
        assert row["n_intervals"] == len(pairs)
    order = list(range(intervals.height))
    random.shuffle(order)
    again = compute_disaggregation_scores(estimates.reverse(), intervals[order].lazy(), registers)
    assert again.equals(scores)
