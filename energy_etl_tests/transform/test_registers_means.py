"""Mean powers per interval become energy; other means become samples."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables.core import METER, VENDOR_APPLIANCE_FIGURE
from energy_etl.transform.calendar import compute_daily
from energy_etl.transform.disaggregation import compute_appliance_shares
from energy_etl.transform.registers_power import has_intervals, is_integrated
from energy_etl.transform.windows import is_energy_register
from energy_etl_tests.transform.register_frames import (
    compute,
    minutes,
    readings,
    real_data,
    register,
    registers,
    series,
)

LOAD = register(kind="interval", unit="W", stamp="start", digits=None)
MAINS = LOAD | {"role": "mains"}


def test_mean_power_times_its_interval_is_energy_and_said_to_be_integrated() -> None:
    result = compute(readings(series([2000.0, 400.0, 0.0])), LOAD)
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.5, 0.1, 0.0])
    assert result.intervals["start_at"].to_list() == [minutes(0), minutes(15), minutes(30)]
    assert set(result.intervals["quality"]) == {"integrated"}
    assert result.intervals["is_pushable"].to_list() == [True] * 3
    assert result.samples["sample_native"].to_list() == [2000.0, 400.0, 0.0]


def test_end_stamped_mean_power_is_that_of_the_interval_before() -> None:
    result = compute(readings(series([2.0, 4.0])), LOAD | {"stamp": "end", "unit": "kW"})
    assert result.intervals["end_at"].to_list() == [minutes(0), minutes(15)]
    assert result.intervals["energy_kwh"].to_list() == pytest.approx([0.5, 1.0])
    assert result.samples["start_at"].to_list() == [minutes(-15), minutes(0)]


def test_minute_means_add_up_and_an_interval_with_one_lost_is_missing() -> None:
    rows = [(float(n), 60.0 * n) for n in range(60) if n != 20]
    result = compute(readings(rows), LOAD)
    sums = [sum(60.0 * n for n in range(15 * k, 15 * k + 15)) / 60e3 for k in range(4)]
    energy = result.intervals["energy_kwh"].to_list()
    assert energy == [pytest.approx(sums[0]), None, *(pytest.approx(x) for x in sums[2:])]
    assert result.intervals["quality"].to_list()[1] == "missing"
    assert result.intervals["flags"].to_list()[1] == ["gap"]
    assert result.samples["start_at"].to_list() == [minutes(0), minutes(30), minutes(45)]


def test_hourly_means_on_a_finer_grid_hold_for_each_quarter() -> None:
    result = compute(readings(series([1000.0, 3000.0, 2000.0], step=60)), LOAD)
    assert result.intervals["energy_kwh"].to_list() == pytest.approx(
        [0.25] * 4 + [0.75] * 4 + [0.5] * 4
    )
    assert set(result.intervals["quality"]) == {"estimated"}


def test_power_above_its_rating_or_without_a_value_is_named_and_null() -> None:
    rows = series([900.0, 5000.0, None, 950.0])
    result = compute(readings(rows), LOAD | {"rating_native_per_hour": 4000.0})
    assert result.intervals["energy_kwh"].to_list() == [0.225, None, None, pytest.approx(0.2375)]
    assert result.intervals["quality"].to_list()[1:3] == ["implausible", "missing"]
    assert result.edits["rule"].to_list() == ["false_high", "missing"]
    assert result.samples["sample_native"].to_list() == [900.0, 950.0]


def test_mean_power_against_the_registers_direction_counts_nothing_and_stays_visible() -> None:
    result = compute(readings(series([-500.0, 1000.0])), LOAD)
    assert result.intervals["energy_kwh"].to_list() == [0.0, 0.25]
    assert result.edits.is_empty()
    assert result.samples["sample_native"].to_list() == [-500.0, 1000.0]


def test_three_hours_of_zero_power_on_mains_are_missing() -> None:
    values = [300.0, 310.0, *[0.0] * 12, 290.0, *[0.0] * 11, 280.0]
    result = compute(readings(series(values)), MAINS)
    assert result.intervals["quality"].to_list() == (
        ["integrated"] * 2 + ["missing"] * 12 + ["integrated"] * 13
    )
    assert result.edits.select("rule", "from_at", "to_at", "n_readings").rows() == [
        ("zero_filled", minutes(30), minutes(13 * 15), 12)
    ]
    submeter = compute(readings(series(values)), LOAD).intervals
    assert set(submeter["quality"]) == {"integrated"}


def test_three_hours_of_zero_instantaneous_power_on_mains_are_missing() -> None:
    values = [300.0, 310.0, *[0.0] * 14, 290.0, 280.0]
    result = compute(readings(series(values)), MAINS | {"kind": "instant", "stamp": "instant"})
    zeros = result.intervals.filter(pl.col("flags").list.contains("zero_filled"))
    assert zeros["start_at"].to_list() == [minutes(30 + 15 * n) for n in range(13)]
    assert zeros["energy_kwh"].null_count() == 13
    assert result.edits["rule"].to_list() == ["zero_filled"]


def test_mains_that_feed_in_for_hours_are_no_outage() -> None:
    values = [300.0, *[-50.0] * 20, 280.0]
    for row in (MAINS, MAINS | {"kind": "instant", "stamp": "instant"}):
        intervals = compute(readings(series(values)), row).intervals
        assert set(intervals["quality"]) == {"integrated"}
        assert intervals.filter(pl.col("energy_kwh") == 0).height >= 18


def test_power_of_mains_that_does_not_move_is_flagged_stuck_and_kept() -> None:
    intervals = compute(readings(series([300.0, 250.0, 250.0, 250.0, 310.0])), MAINS).intervals
    assert intervals["flags"].to_list() == [[], ["stuck"], ["stuck"], ["stuck"], []]
    assert intervals["energy_kwh"].null_count() == 0


@pytest.mark.parametrize("unit", ["V", "A", "var", "VA", "degC"])
def test_other_means_per_interval_are_samples_and_never_sums(unit: str) -> None:
    row = register(kind="interval", unit=unit, stamp="end", role="sensor")
    result = compute(readings([(5, -2.0), (10, -4.0), (15, 0.0), (30, None)]), row)
    assert result.intervals.is_empty()
    assert result.samples.select("start_at", "sample_native", "n_readings").rows() == [
        (minutes(0), -2.0, 3)
    ]
    assert result.edits["rule"].to_list() == ["missing"]
    assert registers(row).filter(has_intervals()).is_empty()


def counted_once(*rows: dict[str, str]) -> list[str]:
    frame = registers(*(register(f"r{n}", **row) for n, row in enumerate(rows)))
    assert frame.filter(is_integrated() & ~is_energy_register()).is_empty()
    assert frame.filter(is_energy_register() & ~has_intervals()).is_empty()
    return frame.filter(is_energy_register())["register_id"].to_list()


def test_energy_of_a_meter_is_counted_once_whatever_shows_it() -> None:
    counter, instant = {"kind": "cumulative"}, {"kind": "instant", "unit": "W"}
    mean, litres = {"kind": "interval", "unit": "kW"}, {"kind": "cumulative", "unit": "m3"}
    phases = [{"phase": phase} for phase in ("L1", "L2", "L3")]
    assert counted_once(counter, instant, mean) == ["r0"]
    assert counted_once(instant, mean) == ["r1"]
    assert counted_once(litres, instant) == ["r1"]
    assert counted_once(instant, *(instant | phase for phase in phases)) == ["r0"]
    assert counted_once(instant, *(mean | phase for phase in phases)) == ["r0"]
    assert counted_once(*(instant | phase for phase in phases)) == ["r0", "r1", "r2"]
    assert counted_once(instant, instant | {"role": "export"}) == ["r0", "r1"]


def test_mean_power_beside_a_counter_stays_a_sample() -> None:
    counter = register("b", kind="cumulative")
    result = compute(readings(series([2000.0] * 4)), LOAD, counter)
    assert result.intervals.is_empty()
    assert result.samples["sample_native"].to_list() == [2000.0] * 4


@settings(max_examples=8, deadline=None)
@given(
    powers=st.lists(st.integers(0, 100_000), min_size=15, max_size=48),
    step=st.sampled_from([1, 5, 15]),
    stamp=st.sampled_from(["start", "end"]),
)
def test_energy_of_mean_powers_is_their_sum_times_their_length(
    powers: list[int], step: int, stamp: str
) -> None:
    per_interval = 15 // step
    powers = powers[: len(powers) // per_interval * per_interval]
    shift = 0 if stamp == "start" else step
    rows = [(float(step * n + shift), float(power)) for n, power in enumerate(powers)]
    intervals = compute(readings(rows), LOAD | {"stamp": stamp}).intervals
    assert intervals.height == len(powers) // per_interval
    assert intervals["energy_kwh"].sum() == pytest.approx(sum(powers) * step / 60e3)


@pytest.mark.real_data
def test_refit_outage_filled_with_zeros_is_missing_and_shares_over_it_are_null() -> None:
    now = datetime(2013, 12, 10, 9, tzinfo=UTC)
    names = {"Aggregate": "mains", "Kettle": "kettle"}
    source = (
        pl.scan_parquet(real_data() / "nilm_refit_house2_1min.parquet")
        .filter(pl.col("Time").is_between(datetime(2013, 10, 20), datetime(2013, 12, 10)))
        .select("Time", *names)
        .rename(names)
        .collect()
    )
    frame = source.unpivot(index="Time", variable_name="register_id").select(
        "register_id",
        read_at=pl.col("Time").dt.replace_time_zone("UTC"),
        reading_native="value",
        version=pl.lit(1, pl.Int64),
    )
    house = {"kind": "interval", "unit": "W", "stamp": "start", "zone": "Europe/London"}
    rows = [
        register("mains", meter_id="mains", role="mains", **house),
        register("kettle", meter_id="kettle", role="appliance", appliance="kettle", **house),
    ]
    result = compute(frame, *rows, now=now)
    daily = compute_daily(result.intervals, registers(*rows), now=now)
    of = {key[0]: part for key, part in daily.partition_by("register_id", as_dict=True).items()}
    # A day before the outage: what a sum over its 1440 minutes gives.
    midnight = datetime(2013, 10, 21, 23)
    watts = source.filter(
        pl.col("Time").is_between(midnight, midnight + timedelta(days=1), closed="left")
    )["mains"].to_list()
    day = of["mains"].row(by_predicate=pl.col("local_on") == date(2013, 10, 22), named=True)
    assert day["energy_kwh"] == pytest.approx(sum(watts) / 60e3)
    assert day["is_complete"]
    outage = of["mains"].filter(
        pl.col("local_on").is_between(date(2013, 10, 26), date(2013, 12, 9))
    )
    assert outage.height == 45
    assert outage["energy_kwh"].null_count() == 45
    assert outage["n_measured"].sum() == 0
    edit = result.edits.row(by_predicate=pl.col("n_readings") > 10_000, named=True)
    assert (edit["register_id"], edit["rule"]) == ("mains", "zero_filled")
    assert edit["from_at"] == datetime(2013, 10, 25, 12, 30, tzinfo=UTC)
    shares = compute_appliance_shares(
        daily,
        registers(*rows),
        VENDOR_APPLIANCE_FIGURE.empty_frame(),
        METER.empty_frame(),
        now=now,
    )
    inside = shares.filter(pl.col("period").is_in(["last-week", "last-month", "yesterday"]))
    assert inside.filter(pl.col("appliance") == "kettle").height == 3
    assert inside["share_pct"].null_count() == inside.height


@pytest.mark.real_data
def test_ampds2_register_grows_by_what_its_power_integrates_to() -> None:
    source = pl.read_parquet(
        real_data() / "ampds2_electricity_B1E_last51200min.parquet", columns=["unix_ts", "P", "Pt"]
    )
    frame = source.unpivot(index="unix_ts", variable_name="register_id").select(
        "register_id",
        read_at=pl.from_epoch("unix_ts").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        reading_native=pl.col("value").cast(pl.Float64),
        version=pl.lit(1, pl.Int64),
    )
    place = {"zone": "America/Vancouver", "resolution_native": 1.0}
    rows = [
        register("Pt", meter_id="a", unit="Wh", **place),
        register("P", meter_id="b", unit="W", kind="instant", **place),
    ]
    daily = compute_daily(
        compute(frame, *rows).intervals,
        registers(*rows),
        now=datetime(2014, 4, 2, tzinfo=UTC),
    ).filter("is_complete")
    both = daily.pivot("register_id", index="local_on", values="energy_kwh").drop_nulls()
    assert both.height == 34
    # P is whole watts, read once a minute: it misses and doubles short loads of some 300 W.
    assert both["P"].sum() == pytest.approx(both["Pt"].sum(), rel=0.02)
    assert (both["P"] - both["Pt"]).abs().max() == pytest.approx(0.0, abs=0.005)
