"""Do all contenders of the benchmark `transform` find the same? Above all when the clock changes.

Only registers without faults are compared with the peers, since there a bare difference is right;
what ours finds of those with faults is held against the energy that was put in.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

from energy_etl.periods import ONE_DAY, local_day_bounds
from energy_etl_tests.benchmarks.measure import Answers, BenchmarkError, Task
from energy_etl_tests.benchmarks.transform_input import read_truth

TOLERANCE_KWH: Final = 1e-9
# A trend is a hundred times a ratio of sums that are each right to the tolerance.
TOLERANCE_PCT: Final = 1e-6
# The sum of a year's days, each within the tolerance.
_TOLERANCE_OF_TOTAL_KWH: Final = 1e-6
_DAY: Final = ("register_id", "local_on")
_PERIOD: Final = ("register_id", "period")


def agree(task: Task, answers: Mapping[str, Answers]) -> list[str]:
    """Compare what contenders found, and say what was compared.

    Args:
        task: what they did.
        answers: `daily` (register_id, local_on, energy_kwh) and `trend` (register_id, period,
            energy_kwh, previous_energy_kwh, trend_pct) of each contender that has them, ours first.

    Raises:
        BenchmarkError: two differ on a day, a period or a trend, one has what the other has not,
            ours misses the true energy of a register, or there is no change of the clock to
            compare in a zone that has them.
    """
    truth = read_truth(task)
    sound = truth.filter(~pl.col("has_faults"))
    (ours_name, ours), *peers = answers.items()
    changes = clock_changes(sound["zone"].unique().sort().to_list(), ours["daily"])
    own_days = _known(ours["daily"], sound)
    told = [_told_truth(truth, ours["daily"])]
    for name, found in peers:
        days = _beside(own_days, _known(found["daily"], sound), _DAY, f"{ours_name} and {name}")
        of_change = days.join(sound.select("register_id", "zone"), on="register_id").join(
            changes, on=["zone", "local_on"]
        )
        where = f"{ours_name} and {name}, days when the clock changes"
        _refuse_difference(of_change, "energy_kwh", _DAY, TOLERANCE_KWH, where)
        _refuse_difference(days, "energy_kwh", _DAY, TOLERANCE_KWH, f"{ours_name} and {name}")
        n_trends = _compare_trends(ours["trend"], found["trend"], sound, f"{ours_name} and {name}")
        told.append(
            f"{name}: {days.height:,} register-days equal within {TOLERANCE_KWH:g} kWh (at most "
            f"{_largest(days):.1e} apart), {of_change.height:,} of them on the "
            f"{changes.height} days of {changes['zone'].n_unique()} zones when the clock changes; "
            f"{n_trends:,} trends equal. {_faults_told(truth, found['daily'])}"
        )
    return told


def clock_changes(zones: list[str], daily: pl.DataFrame) -> pl.DataFrame:
    """List zone and local_on of the days in the data that do not have 24 hours.

    Raises:
        BenchmarkError: a zone that changes its clock does not do so both ways within the data.
    """
    first_on, last_on = (
        daily.drop_nulls("energy_kwh")
        .select(pl.col("local_on").min().alias("first"), pl.col("local_on").max().alias("last"))
        .row(0)
    )
    rows = []
    for zone in zones:
        lengths = {day: _length(zone, day) for day in _days(first_on, last_on)}
        changed = [(zone, day) for day, length in lengths.items() if length != ONE_DAY]
        has_summer = len({_length(zone, _days_later(first_on, n)) for n in range(366)}) > 1
        if has_summer and len({lengths[day] for _, day in changed}) < 2:
            raise BenchmarkError(
                f"The readings of {zone} from {first_on} to {last_on} do not have both changes of "
                "the clock: give each register more readings."
            )
        rows += changed
    return pl.DataFrame(rows, schema={"zone": pl.String, "local_on": pl.Date}, orient="row")


def _days(first_on: date, last_on: date) -> Iterator[date]:
    for n in range((last_on - first_on).days + 1):
        yield _days_later(first_on, n)


def _days_later(day: date, n: int) -> date:
    return day + timedelta(days=n)


def _length(zone: str, day: date) -> timedelta:
    start_at, end_at = local_day_bounds(zone, day)
    return end_at - start_at


def _known(frame: pl.DataFrame, sound: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of sound registers that have energy: ours also lists what is not there."""
    return frame.drop_nulls("energy_kwh").join(sound, on="register_id", how="semi")


def _beside(
    ours: pl.DataFrame, theirs: pl.DataFrame, key: tuple[str, ...], who: str
) -> pl.DataFrame:
    both = ours.join(theirs, on=key, how="full", suffix="_peer", coalesce=True, nulls_equal=True)
    lonely = both.filter(pl.col("energy_kwh").is_null() | pl.col("energy_kwh_peer").is_null())
    if lonely.height:
        raise BenchmarkError(
            f"{who}: {lonely.height} rows are with one of them only, such as {lonely.row(0)}."
        )
    return both


def _compare_trends(ours: pl.DataFrame, theirs: pl.DataFrame, sound: pl.DataFrame, who: str) -> int:
    both = _beside(_known(ours, sound), _known(theirs, sound), _PERIOD, who)
    for column in ("energy_kwh", "previous_energy_kwh"):
        # A month is a sum of 31 days.
        _refuse_difference(both, column, _PERIOD, 31 * TOLERANCE_KWH, who)
    # Ours has none where too little was measured; the peers do not know what was.
    trends = both.drop_nulls("trend_pct")
    _refuse_difference(trends, "trend_pct", _PERIOD, TOLERANCE_PCT, who)
    return trends.height


def _refuse_difference(
    both: pl.DataFrame, column: str, key: tuple[str, ...], tolerance: float, who: str
) -> None:
    apart = (pl.col(column) - pl.col(f"{column}_peer")).abs()
    is_same = (apart <= tolerance).fill_null(False)
    differing = both.filter(~is_same).sort(apart, descending=True)
    if differing.height:
        row = differing.row(0, named=True)
        raise BenchmarkError(
            f"{who}: {column} differs in {differing.height} of {both.height} rows, most at "
            f"{', '.join(str(row[name]) for name in key)}: {row[column]} against "
            f"{row[f'{column}_peer']}."
        )


def _largest(days: pl.DataFrame) -> float:
    return days.select((pl.col("energy_kwh") - pl.col("energy_kwh_peer")).abs().max()).item()


def _told_truth(truth: pl.DataFrame, daily: pl.DataFrame) -> str:
    """Hold the energy of every register against what was put in."""
    totals = daily.group_by("register_id").agg(pl.col("energy_kwh").sum())
    both = truth.join(totals, on="register_id", how="left", suffix="_peer")
    who = "truth and energy_etl"
    _refuse_difference(both, "energy_kwh", ("register_id",), _TOLERANCE_OF_TOTAL_KWH, who)
    n_faulty = int(truth["has_faults"].sum())
    return (
        f"energy_etl finds the true energy of all {truth.height:,} registers, {n_faulty:,} with "
        f"false readings and resets among them ({_largest(both):.1e} kWh apart at most)."
    )


def _faults_told(truth: pl.DataFrame, daily: pl.DataFrame) -> str:
    faulty = truth.filter("has_faults")
    if not faulty.height:
        return ""
    totals = daily.group_by("register_id").agg(found_kwh=pl.col("energy_kwh").sum())
    off_kwh = faulty.join(totals, on="register_id").select(
        (pl.col("found_kwh") - pl.col("energy_kwh")).abs().sum()
    )
    return f"Of the registers with faults its energy is {off_kwh.item():,.0f} kWh off."
