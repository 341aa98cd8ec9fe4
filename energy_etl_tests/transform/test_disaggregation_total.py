"""All appliances of a meter together, against plain loops, by hand, and on a real house."""

import math
import os
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import APPLIANCE_INTERVAL, INTERVAL, METER, VENDOR_APPLIANCE_FIGURE
from energy_etl.tables.mart import DISAGGREGATION_TOTAL
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.disaggregation import compute_appliance_shares
from energy_etl.transform.disaggregation_scores import compute_disaggregation_scores
from energy_etl.transform.disaggregation_total import compute_disaggregation_totals
from energy_etl_tests.transform.builders import make_register, utc
from energy_etl_tests.transform.test_disaggregation_scores import (
    EV,
    FRIDGE,
    MAINS,
    SINCE,
    hourly_truth,
    make_estimate,
)

HOUR = timedelta(hours=1)


def total_of(
    estimates: dict[str, list[float]],
    truth: dict[str, list[float]],
    *registers: pl.DataFrame,
) -> dict[str, object]:
    """The one row of the totals; truth by register, estimates by appliance."""
    said = pl.concat(make_estimate(each, appliance=name) for name, each in estimates.items())
    measured = pl.concat(hourly_truth(values, name) for name, values in truth.items())
    frame = pl.concat(registers or (MAINS, EV, FRIDGE))
    totals = compute_disaggregation_totals(said, measured, frame)
    assert totals.schema == DISAGGREGATION_TOTAL.polars_schema
    assert totals.height == 1
    return totals.row(0, named=True)


def test_two_appliances_over_two_hours_score_as_worked_out_by_hand():
    # Errors 1 + 0.5 + 0.5 + 0.5 beside a mains of 8; shares 4/5, 1/5 against 3.5/4.5, 1/4.5.
    row = total_of(
        {"ev": [2.0, 1.5], "fridge": [0.5, 0.5]},
        {"mains": [5.0, 3.0], "ev": [3.0, 1.0], "fridge": [0.0, 1.0]},
    )
    assert row["total_energy_accuracy"] == pytest.approx(1 - (1 + 0.5 + 0.5 + 0.5) / 16)
    assert row["total_energy_accuracy_floor"] == pytest.approx(1 - 5 / 16)
    assert row["fraction_assigned_correctly"] == pytest.approx(3.5 / 4.5 + 1 / 5)
    assert (row["mains_kwh"], row["own_kwh"], row["vendor_kwh"]) == (8.0, 5.0, 4.5)
    assert (row["n_appliances"], row["n_intervals"]) == (2, 2)
    assert (row["from_at"], row["to_at"]) == (SINCE, SINCE + 2 * HOUR)
    assert (row["site_id"], row["meter_id"], row["vendor"]) == ("site", "m", "digiwatt")


def test_an_estimate_of_nothing_scores_the_floor_and_has_no_shares():
    truth = {"mains": [5.0, 3.0], "ev": [3.0, 1.0], "fridge": [0.0, 1.0]}
    row = total_of({"ev": [0.0, 0.0], "fridge": [0.0, 0.0]}, truth)
    assert row["total_energy_accuracy"] == row["total_energy_accuracy_floor"] == 1 - 5 / 16
    assert row["fraction_assigned_correctly"] is None
    perfect = total_of({name: truth[name] for name in ("ev", "fridge")}, truth)
    assert perfect["total_energy_accuracy"] == perfect["fraction_assigned_correctly"] == 1.0


def test_mains_is_what_the_site_used_not_what_the_grid_delivered():
    # Noon: 4 from the roof, 1 of it exported, nothing from the grid.
    registers = (
        MAINS,
        EV,
        make_register("pv", role="production"),
        make_register("export", role="export"),
    )
    truth = {"mains": [2.0, 0.0], "pv": [0.0, 4.0], "export": [0.0, 1.0], "ev": [2.0, 3.0]}
    row = total_of({"ev": [2.0, 0.0]}, truth, *registers)
    assert row["mains_kwh"] == 5.0
    assert row["total_energy_accuracy"] == pytest.approx(1 - 3 / 10)
    assert row["total_energy_accuracy_floor"] == pytest.approx(0.5)


def test_without_a_mains_register_there_is_no_accuracy_but_shares():
    truth = {"ev": [3.0, 1.0], "fridge": [1.0, 1.0]}
    registers = (make_register("sub", meter_id="m", role="submeter"), EV, FRIDGE)
    row = total_of({"ev": [3.0, 1.0], "fridge": [0.0, 0.0]}, truth, *registers)
    assert (row["mains_kwh"], row["total_energy_accuracy"]) == (None, None)
    assert row["total_energy_accuracy_floor"] is None
    assert row["fraction_assigned_correctly"] == pytest.approx(4 / 6)


def test_an_hour_counts_only_when_all_appliances_and_the_mains_are_known():
    truth = {"mains": [5.0] * 4, "ev": [1.0] * 4, "fridge": [1.0] * 4}
    estimates = pl.concat(
        [
            make_estimate([1.0, 9.0, 9.0, 2.0]),
            make_estimate([1.0, 1.0, 1.0, 1.0], appliance="fridge").filter(
                pl.col("start_at") != SINCE + HOUR
            ),
        ]
    )
    at = SINCE + 2 * HOUR
    measured = pl.concat(hourly_truth(values, name) for name, values in truth.items()).filter(
        ~((pl.col("register_id") == "mains") & (pl.col("start_at") == at))
    )
    row = compute_disaggregation_totals(estimates, measured, pl.concat([MAINS, EV, FRIDGE])).row(
        0, named=True
    )
    assert (row["n_intervals"], row["mains_kwh"], row["own_kwh"]) == (2, 10.0, 4.0)
    assert row["total_energy_accuracy"] == pytest.approx(1 - 1 / 20)


@pytest.mark.parametrize("hours_late", [-2, 1, 3])
def test_a_shift_of_all_estimates_is_told_before_the_vendor_is_blamed(hours_late: int):
    ev = [0.0] * 8 + [3.0, 1.0, 0.0, 2.0] + [0.0] * 12
    fridge = [0.1 * (n % 3) for n in range(24)]
    said = {
        name: [values[(n - hours_late) % 24] for n in range(24)]
        for name, values in (("ev", ev), ("fridge", fridge))
    }
    row = total_of(said, {"mains": [6.0] * 24, "ev": ev, "fridge": fridge})
    assert row["best_shift_minutes"] == -60 * hours_late
    assert row["total_energy_accuracy_aligned"] == pytest.approx(1.0)
    assert row["total_energy_accuracy"] < 1.0  # pyright: ignore[reportOperatorIssue]


def test_meters_of_two_sites_and_two_vendors_are_judged_each_for_itself():
    far = [
        make_register("mains2", meter_id="m2", site_id="far"),
        make_register("ev2", site_id="far", role="submeter", appliance="ev"),
    ]
    near = make_estimate([1.0, 2.0])
    other = near.with_columns(vendor=pl.lit("another"), energy_kwh=pl.lit(0.0))
    third = near.with_columns(meter_id=pl.lit("m2"))
    values = {"mains": [5.0, 5.0], "ev": [1.0, 2.0], "mains2": [10.0, 10.0], "ev2": [4.0, 4.0]}
    measured = pl.concat(hourly_truth(each, name) for name, each in values.items())
    totals = compute_disaggregation_totals(
        pl.concat([near, other, third]), measured, pl.concat([MAINS, EV, *far])
    )
    assert totals.select("meter_id", "vendor", "mains_kwh", "total_energy_accuracy").rows() == [
        ("m", "another", 10.0, pytest.approx(1 - 3 / 20)),
        ("m", "digiwatt", 10.0, 1.0),
        ("m2", "digiwatt", 20.0, pytest.approx(1 - 5 / 40)),
    ]


def test_without_a_shared_interval_there_is_no_total():
    later = make_estimate([1.0], start_at=SINCE + timedelta(days=30))
    registers = pl.concat([MAINS, EV])
    for measured in (hourly_truth([1.0]), INTERVAL.empty_frame()):
        assert compute_disaggregation_totals(later, measured, registers).is_empty()
    assert compute_disaggregation_totals(later, hourly_truth([1.0]), MAINS).is_empty()


ENERGY = st.floats(min_value=0, max_value=5)


@given(
    st.lists(st.tuples(ENERGY, ENERGY, ENERGY, ENERGY, ENERGY), min_size=1, max_size=24),
    st.randoms(use_true_random=False),
)
@settings(max_examples=8, deadline=None)
def test_any_disaggregation_scores_within_its_bounds_in_any_order_of_rows(
    hours: list[tuple[float, float, float, float, float]], random
):
    ev, fridge = [row[0] for row in hours], [row[1] for row in hours]
    # Neither the appliances nor their estimates exceed the mains.
    mains = [max(row[0] + row[1], row[2] + row[3]) + row[4] for row in hours]
    said = pl.concat(
        [
            make_estimate([row[2] for row in hours]),
            make_estimate([row[3] for row in hours], appliance="fridge"),
        ]
    )
    measured = pl.concat(
        [hourly_truth(mains, "mains"), hourly_truth(ev), hourly_truth(fridge, "fridge")]
    )
    registers = pl.concat([MAINS, EV, FRIDGE])
    totals = compute_disaggregation_totals(said, measured, registers)
    row = totals.row(0, named=True)
    slack = 1e-9
    for name in ("total_energy_accuracy", "total_energy_accuracy_aligned"):
        assert row[name] is None or -slack <= row[name] <= 1 + slack
    if row["total_energy_accuracy_floor"] is not None:
        assert 0.5 - slack <= row["total_energy_accuracy_floor"] <= 1 + slack
    if row["fraction_assigned_correctly"] is not None:
        assert 0 <= row["fraction_assigned_correctly"] <= 1 + slack
    for score in compute_disaggregation_scores(said, measured, registers).iter_rows(named=True):
        assert score["nep"] is None or score["nep"] >= 0
        assert score["nde"] is None or score["nde"] >= 0
        assert score["f1"] is None or 0 <= score["f1"] <= 1
        if score["nep_aligned"] is not None and score["best_shift_minutes"] == 0:
            assert score["nep_aligned"] == pytest.approx(score["nep"], rel=1e-12)
    nothing = said.with_columns(energy_kwh=pl.lit(0.0))
    empty = compute_disaggregation_totals(nothing, measured, registers).row(0, named=True)
    assert empty["total_energy_accuracy"] == empty["total_energy_accuracy_floor"]
    for score in compute_disaggregation_scores(nothing, measured, registers).iter_rows(named=True):
        assert (score["nep"], score["nde"]) == (score["nep_floor"], score["nde_floor"])
        assert score["f1"] in (0.0, None)
    order = list(range(measured.height))
    random.shuffle(order)
    again = compute_disaggregation_totals(said.reverse(), measured[order].lazy(), registers)
    assert again.equals(totals)


# -- a real house --------------------------------------------------------------------------------

APPLIANCES = {
    "Kettle": "kettle",
    "Dishwasher": "dishwasher",
    "WashingMachine": "washingMachine",
    "Microwave": "microwave",
}
THRESHOLD_W = {"kettle": 2000, "dishwasher": 10, "washingMachine": 20, "microwave": 200}
FROM_AT, TO_AT = datetime(2013, 10, 28), datetime(2014, 3, 10)


@pytest.fixture(scope="module")
def house() -> tuple[pl.DataFrame, pl.DataFrame]:
    """REFIT house 2 in quarter hours of kWh around its outage, and its registers.

    Mains at exactly 0 for three hours or more is missing; the submeters' zeros stay.
    """
    folder = os.environ.get("ENERGY_ETL_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ETL_REAL_DATA names no folder with the REFIT house")
    wide = (
        pl.read_parquet(Path(folder) / "nilm_refit_house2_1min.parquet")
        .filter(pl.col("Time").is_between(FROM_AT, TO_AT, closed="left"))
        .group_by_dynamic("Time", every="15m")
        .agg(pl.exclude("Time").sum() / 60_000.0)
    )
    run = (pl.col("Aggregate") == 0).rle_id()
    is_outage = (pl.col("Aggregate") == 0) & (pl.len().over(run) >= 12)
    wide = wide.with_columns(Aggregate=pl.when(~is_outage).then("Aggregate"))
    start_at = pl.col("Time").dt.replace_time_zone("UTC")
    intervals = (
        wide.with_columns(start_at=start_at, end_at=start_at + timedelta(minutes=15))
        .unpivot(
            ["Aggregate", *APPLIANCES],
            index=["start_at", "end_at"],
            variable_name="register_id",
            value_name="energy_kwh",
        )
        .with_columns(
            volume_m3=pl.lit(None, pl.Float64),
            register_end_native=pl.lit(None, pl.Float64),
            quality=pl.when(pl.col("energy_kwh").is_null())
            .then(pl.lit("missing"))
            .otherwise(pl.lit("measured")),
            flags=pl.lit([], pl.List(pl.String)),
            is_provisional=pl.lit(value=False),
            is_pushable=pl.lit(value=True),
            hold_reason=pl.lit(None, pl.String),
        )
        .select(INTERVAL.polars_schema.names())
    )
    zone = {"zone": "Europe/London", "meter_id": "m"}
    registers = [make_register("Aggregate", **zone)]
    registers += [
        make_register(name, role="appliance", appliance=appliance, **zone)
        for name, appliance in APPLIANCES.items()
    ]
    return intervals, pl.concat(registers)


@pytest.fixture(scope="module")
def estimate(house: tuple[pl.DataFrame, pl.DataFrame]) -> pl.DataFrame:
    """A made-up vendor's hours: an hour late, a fifth too low, every ninth hour forgotten."""
    hourly = (
        house[0]
        .filter(pl.col("register_id") != "Aggregate")
        .sort("register_id", "start_at")
        .group_by_dynamic("start_at", every="1h", group_by="register_id")
        .agg(pl.col("energy_kwh").sum())
    )
    is_kept = (pl.col("start_at").dt.epoch("s") // 3600) % 9 != 0
    return hourly.select(
        pl.lit("m").alias("meter_id"),
        pl.lit("made-up").alias("vendor"),
        pl.col("register_id").replace_strict(APPLIANCES).alias("appliance"),
        start_at=pl.col("start_at") + HOUR,
        end_at=pl.col("start_at") + 2 * HOUR,
        energy_kwh=pl.when(is_kept).then(0.8 * pl.col("energy_kwh")).otherwise(0.0),
    ).select(APPLIANCE_INTERVAL.polars_schema.names())


@pytest.mark.real_data
def test_a_real_house_scores_as_plain_loops_find(
    house: tuple[pl.DataFrame, pl.DataFrame], estimate: pl.DataFrame
):
    intervals, registers = house
    # Hours of each register by a dictionary; an hour with a missing quarter is none.
    hours: dict[str, dict[datetime, list[float]]] = {name: {} for name in registers["register_id"]}
    for name, start_at, energy in intervals.select(
        "register_id", "start_at", "energy_kwh"
    ).iter_rows():
        if energy is not None:
            hour = start_at.replace(minute=0)
            hours[name].setdefault(hour, []).append(energy)
    truth = {
        name: {at: math.fsum(parts) for at, parts in each.items() if len(parts) == 4}
        for name, each in hours.items()
    }
    said: dict[str, dict[datetime, float]] = {}
    for appliance, start_at, energy in estimate.select(
        "appliance", "start_at", "energy_kwh"
    ).iter_rows():
        said.setdefault(appliance, {})[start_at] = energy
    scores = compute_disaggregation_scores(estimate, intervals, registers)
    assert scores["appliance"].to_list() == sorted(APPLIANCES.values())
    for row in scores.iter_rows(named=True):
        own = truth[row["register_id"]]
        both = [(own[at], p) for at, p in said[row["appliance"]].items() if at in own]
        sum_y = math.fsum(y for y, _ in both)
        threshold = THRESHOLD_W[row["appliance"]] / 1000
        n_both = sum(y > threshold and p > threshold for y, p in both)
        n_either = sum((y > threshold) + (p > threshold) for y, p in both)
        expected = {
            "own_kwh": sum_y,
            "error_in_assigned_energy_kwh": abs(sum_y - math.fsum(p for _, p in both)),
            "nep": math.fsum(abs(y - p) for y, p in both) / sum_y,
            "nde": math.sqrt(
                math.fsum((y - p) ** 2 for y, p in both) / math.fsum(y * y for y, _ in both)
            ),
            "f1": None if n_either == 0 else 2 * n_both / n_either,
        }
        for name, value in expected.items():
            assert row[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name
        assert row["n_intervals"] == len(both)
        assert row["best_shift_minutes"] == -60
        assert row["nep_aligned"] < 0.35 < 0.9 < row["nep"]
    _check_total(
        compute_disaggregation_totals(estimate, intervals, registers).row(0, named=True),
        truth,
        said,
    )


def _check_total(
    row: dict, truth: dict[str, dict[datetime, float]], said: dict[str, dict[datetime, float]]
) -> None:
    """Compare with sums over the hours in which everything is known."""
    mains = truth["Aggregate"]
    shared = [
        at
        for at in mains
        if all(at in truth[name] and at in said[a] for name, a in APPLIANCES.items())
    ]
    own = {a: math.fsum(truth[name][at] for at in shared) for name, a in APPLIANCES.items()}
    vendor = {a: math.fsum(said[a][at] for at in shared) for a in APPLIANCES.values()}
    error = math.fsum(
        abs(truth[name][at] - said[a][at]) for name, a in APPLIANCES.items() for at in shared
    )
    mains_kwh, own_kwh = math.fsum(mains[at] for at in shared), math.fsum(own.values())
    shares = (
        min(own[a] / own_kwh, vendor[a] / math.fsum(vendor.values())) for a in APPLIANCES.values()
    )
    assert row["n_intervals"] == len(shared)
    assert row["mains_kwh"] == pytest.approx(mains_kwh, abs=1e-9)
    assert row["total_energy_accuracy"] == pytest.approx(1 - error / 2 / mains_kwh, abs=1e-9)
    assert row["total_energy_accuracy_floor"] == pytest.approx(
        1 - own_kwh / 2 / mains_kwh, abs=1e-9
    )
    assert row["fraction_assigned_correctly"] == pytest.approx(math.fsum(shares), abs=1e-9)
    assert row["best_shift_minutes"] == -60
    # An hour late it is worse than nothing, and aligned much better.
    assert row["total_energy_accuracy"] < row["total_energy_accuracy_floor"]
    assert row["total_energy_accuracy_aligned"] > row["total_energy_accuracy_floor"]


@pytest.mark.real_data
def test_shares_of_a_real_house_are_null_over_its_outage(
    house: tuple[pl.DataFrame, pl.DataFrame],
):
    intervals, registers = house
    meters = pl.DataFrame(
        [("m", "site", "Mains", "electricity")], METER.polars_schema, orient="row"
    )
    shares = {}
    for now in (utc("2014-01-08T12:00"), utc("2014-03-08T12:00")):
        daily = compute_daily(intervals, registers, now=now)
        rows = compute_appliance_shares(
            daily, registers, VENDOR_APPLIANCE_FIGURE.empty_frame(), meters, now=now
        )
        shares[now.month] = rows.filter(pl.col("period") == "last-week")
    assert shares[1]["share_pct"].null_count() == shares[1].height == 5
    unattributed = shares[1].filter(pl.col("appliance") == "unattributed")
    assert unattributed["energy_kwh"].to_list() == [None]
    assert shares[3]["share_pct"].null_count() == 0
    assert shares[3]["share_pct"].sum() == pytest.approx(100.0)
