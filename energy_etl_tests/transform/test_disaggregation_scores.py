"""Scores of a vendor's disaggregation, against numbers worked out by hand."""

import math
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.tables.core import APPLIANCE_INTERVAL
from energy_etl.tables.mart import DISAGGREGATION_SCORE
from energy_etl.transform import disaggregation_beside
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl_tests.transform.builders import make_flat_load, make_intervals, make_register, utc

SINCE = utc("2026-05-09T22:00")
MAINS = make_register("mains", meter_id="m")
EV = make_register("ev", role="submeter", appliance="ev")
FRIDGE = make_register("fridge", role="appliance", appliance="fridge")


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
    assert (row["nep_floor"], row["nde_floor"]) == (1.0, 1.0)
    assert (row["best_shift_minutes"], row["nep_aligned"]) == (0, 1.0)


def test_a_perfect_estimate_scores_0_0_1():
    values = [1.0, 0.0, 2.0, 0.5, 0.0, 0.25]
    row = score_of(make_estimate(values), hourly_truth(values))
    assert (row["nep"], row["nde"], row["f1"], row["best_shift_minutes"]) == (0.0, 0.0, 1.0, 0)


def test_no_truth_and_never_on_leave_ratios_null():
    row = score_of(make_estimate([0.0, 0.0]), hourly_truth([0.0, 0.0]))
    assert (row["nep"], row["nde"], row["f1"], row["best_shift_minutes"]) == (None,) * 4
    assert (row["nep_aligned"], row["nep_floor"], row["nde_floor"]) == (None,) * 3
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
    assert row["nep_aligned"] == pytest.approx(0.0, abs=1e-12)
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


def test_a_flat_load_that_fits_a_little_better_elsewhere_is_not_called_shifted():
    truth = [1.0 + 0.01 * (n % 2) for n in range(24)]
    row = score_of(
        make_estimate([0.5 + 0.01 * ((n + 1) % 2) for n in range(24)]), hourly_truth(truth)
    )
    assert row["best_shift_minutes"] == 0
    assert row["nep_aligned"] == row["nep"]


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
@settings(max_examples=15, deadline=None)
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


@pytest.mark.parametrize("n_rows", [1, 5, 8, 9])
def test_estimates_looked_at_a_few_at_a_time_have_the_same_scores(
    monkeypatch: pytest.MonkeyPatch, n_rows: int
):
    truth, said = [1.0, 0.0, 2.0, 0.5], [0.0, 1.0, 0.0, 2.5]
    estimates = pl.concat([make_estimate(said), make_estimate(truth, appliance="fridge")])
    intervals = pl.concat([hourly_truth(truth), hourly_truth(said, "fridge")])
    registers = pl.concat([MAINS, EV, FRIDGE])
    scores = compute_disaggregation_scores(estimates, intervals, registers)
    monkeypatch.setattr(disaggregation_beside, "_ROWS_PER_BLOCK", n_rows)
    assert compute_disaggregation_scores(estimates, intervals, registers).equals(scores)


def test_two_vendors_are_judged_by_one_submeter_each_for_itself():
    truth = [1.0, 0.0, 2.0, 0.5]
    other = make_estimate([1.0, 0.0, 2.0, 1.5]).with_columns(vendor=pl.lit("another"))
    estimates = pl.concat([make_estimate(truth), other])
    scores = compute_disaggregation_scores(estimates, hourly_truth(truth), pl.concat([MAINS, EV]))
    assert scores.select("vendor", "own_kwh", "nep").rows() == [
        ("another", 3.5, pytest.approx(1.0 / 3.5)),
        ("digiwatt", 3.5, 0.0),
    ]


def test_estimates_of_several_lengths_are_each_compared_with_their_own_time():
    quarters = make_estimate([0.25] * 4, start_at=SINCE + timedelta(hours=2), minutes=15)
    estimate = pl.concat([make_estimate([1.0, 2.0]), quarters])
    row = score_of(estimate, hourly_truth([1.0, 2.0, 1.0]))
    assert (row["n_intervals"], row["own_kwh"], row["nep"]) == (6, 4.0, 0.0)


def test_an_estimate_that_is_no_number_is_left_out():
    row = score_of(make_estimate([1.0, math.nan, math.inf, 3.0]), hourly_truth([1.0] * 4))
    assert (row["n_intervals"], row["own_kwh"], row["vendor_kwh"]) == (2, 2.0, 4.0)


def test_estimates_that_are_all_no_numbers_have_no_score():
    nothing = make_estimate([math.nan] * 4)
    assert compute_disaggregation_scores(
        nothing, hourly_truth([1.0] * 4), pl.concat([MAINS, EV])
    ).is_empty()


def test_more_submeters_and_time_than_fit_one_axis_are_refused():
    names = [f"a{n:02}" for n in range(40)]
    estimates = pl.concat(
        make_estimate([1.0], appliance=name, start_at=utc(f"{year}-01-01T00:00"))
        for name in names
        for year in ("0001", "9998")
    )
    registers = [make_register(name, role="appliance", appliance=name) for name in names]
    with pytest.raises(TransformError, match=r"40 submeters and .* fewer sites"):
        compute_disaggregation_scores(
            estimates, hourly_truth([1.0], "a00"), pl.concat([MAINS, *registers])
        )
