"""Local times of a file to instants: the nights when clocks change, in order and out of it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from energy_etl.vendors.wattics.files_lines import BadLines
from energy_etl.vendors.wattics.files_times import to_instants

ROME = "Europe/Rome"
# From before to after the night in which clocks go back, in UTC.
AUTUMN = {
    ROME: datetime(2024, 10, 26, 20, tzinfo=UTC),
    "America/New_York": datetime(2024, 11, 3, 1, tzinfo=UTC),
    # Half an hour back.
    "Australia/Lord_Howe": datetime(2024, 4, 6, 10, tzinfo=UTC),
    # Back over midnight, to the day before.
    "America/Havana": datetime(2024, 11, 3, 1, tzinfo=UTC),
}


def local_rows(instants: list[datetime], zone: str) -> pl.DataFrame:
    times = [at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in instants]
    return rows_of(times)


def rows_of(times: list[datetime]) -> pl.DataFrame:
    return pl.DataFrame(
        {"line": range(1, len(times) + 1), "local_at": times},
        schema={"line": pl.UInt32, "local_at": pl.Datetime("us")},
    )


@pytest.mark.parametrize("zone", AUTUMN)
@pytest.mark.parametrize("minutes", [10, 30])
@pytest.mark.parametrize("is_newest_first", [False, True])
def test_both_passes_of_an_autumn_night_get_their_own_instants(
    zone: str, minutes: int, is_newest_first: bool
) -> None:
    instants = [AUTUMN[zone] + n * timedelta(minutes=minutes) for n in range(12 * 60 // minutes)]
    if is_newest_first:
        instants.reverse()
    bad = BadLines()
    found = to_instants(local_rows(instants, zone), zone, bad)
    assert bad.n == 0
    assert found["stamped_at"].to_list() == instants


@pytest.mark.parametrize(
    "times",
    [
        # One pass alone, three passes, and passes in a file that is not in order.
        ["01:30", "02:00", "02:30", "03:00"],
        ["02:00", "02:30", "02:00", "02:30", "02:00"],
        ["02:00", "02:30", "02:00", "02:30", "05:00", "04:00"],
        ["01:00", "05:00", "02:00", "02:30", "02:00", "02:30"],
    ],
)
def test_order_that_does_not_tell_makes_the_twofold_lines_bad(times: list[str]) -> None:
    day = "2024-10-27 "
    rows = rows_of([datetime.fromisoformat(day + time) for time in times])
    bad = BadLines()
    found = to_instants(rows, ROME, bad)
    lines = [n for n, time in enumerate(times, 1) if time.startswith("02:")]
    assert bad.n == len(lines)
    assert bad.sentences[0].startswith(f"line {lines[0]}: 2024-10-27 02:00:00 happened twice")
    assert not set(found["line"]) & set(lines)


def test_two_nights_of_one_file_do_not_disturb_each_other() -> None:
    years = [2023, 2024]
    instants = [
        datetime(year, 10, 29 if year == 2023 else 27, tzinfo=UTC) + n * timedelta(minutes=30)
        for year in years
        for n in range(6)
    ]
    bad = BadLines()
    found = to_instants(local_rows(instants, ROME), ROME, bad)
    assert (bad.n, found["stamped_at"].to_list()) == (0, instants)


def test_time_that_clocks_skipped_is_bad() -> None:
    times = ["2024-03-31 01:59:00", "2024-03-31 02:30:00", "2024-03-31 03:00:00"]
    bad = BadLines()
    found = to_instants(rows_of([datetime.fromisoformat(t) for t in times]), ROME, bad)
    assert found["line"].to_list() == [1, 3]
    assert bad.sentences == [
        "line 2: 2024-03-31 02:30:00 did not happen in Europe/Rome: clocks went forward over it"
    ]
