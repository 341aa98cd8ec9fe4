"""What others would take for intervals, days and trends: DuckDB's window functions, pandas.

Both take the difference of neighbouring readings, add it to the local day that it begins in, and
days to periods. They judge nothing: no reset, no gap, no doubtful reading, no grid. Zones are ICU's
and pandas' own, not ours.
"""

import contextlib
import importlib
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from energy_etl_tests.benchmarks.measure import Clock, Outcome, Task
from energy_etl_tests.benchmarks.transform_input import sound_total

_MEMORY_LIMIT: Final = "8GB"
_TEXTS: Final = ("register_id", "period")
# Each instant is converted once per zone and not once per register: a fifth of the CPU time.
_DAYS_STATEMENT = """
    CREATE TABLE daily AS
    WITH reading AS (
        SELECT register_id, zone, read_at, reading_native
        FROM read_parquet($readings) AS r JOIN read_parquet($registers) AS g USING (register_id)
    ),
    step AS (
        SELECT register_id, zone,
            lag(read_at) OVER w AS start_at,
            reading_native - lag(reading_native) OVER w AS energy_kwh
        FROM reading
        WINDOW w AS (PARTITION BY register_id ORDER BY read_at)
    ),
    local_day AS (
        SELECT zone, read_at AS start_at, CAST(read_at AT TIME ZONE zone AS DATE) AS local_on
        FROM (SELECT DISTINCT zone, read_at FROM reading)
    )
    SELECT register_id, zone, local_on, sum(energy_kwh) AS energy_kwh, count(*) AS n
    FROM step JOIN local_day USING (zone, start_at)
    GROUP BY ALL
"""
_TRENDS_STATEMENT = """
    WITH part_sum AS (
        SELECT register_id, period, part, sum(energy_kwh) AS kwh
        FROM daily JOIN read_parquet($windows) AS w
            ON daily.zone = w.zone AND local_on >= start_on AND local_on < end_on
        GROUP BY ALL
    )
    SELECT register_id, period,
        max(kwh) FILTER (part = 'current') AS energy_kwh,
        max(kwh) FILTER (part = 'previous') AS previous_energy_kwh,
        CASE WHEN previous_energy_kwh > 0
            THEN 100 * (energy_kwh - previous_energy_kwh) / previous_energy_kwh END AS trend_pct
    FROM part_sum GROUP BY ALL ORDER BY ALL
"""


def run_duckdb(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One statement over the Parquet files, one over its days."""
    files = {
        "readings": f"{task.source}/readings/*.parquet",
        "registers": f"{task.source}/registers.parquet",
    }
    with clock, contextlib.closing(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # What does not fit goes to the folder that is removed afterwards; without the bound 100 M
        # readings take four fifths of the machine's memory, which is not ours alone.
        connection.execute("SET temp_directory = $folder", {"folder": str(folder)})
        connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'")
        connection.execute(_DAYS_STATEMENT, files)
        days = pl.DataFrame(connection.sql("SELECT * FROM daily ORDER BY register_id, local_on"))
        windows = {"windows": f"{task.source}/windows.parquet"}
        trends = pl.DataFrame(connection.sql(_TRENDS_STATEMENT, params=windows))
    daily = days.select("register_id", "local_on", "energy_kwh")
    # The first reading of a register begins nothing.
    n_readings = int(days["n"].sum()) + task.n_groups
    return Outcome(n_readings, sound_total(task, daily), {"daily": daily, "trend": trends})


def run_pandas(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Differences per register, then one group per zone, register and local day, then periods."""
    del folder
    pandas: Any = importlib.import_module("pandas")
    with clock:
        readings = pandas.read_parquet(
            f"{task.source}/readings", columns=["register_id", "read_at", "reading_native"]
        )
        registers = pandas.read_parquet(f"{task.source}/registers.parquet")
        readings["register_id"] = readings["register_id"].astype("category")
        by_register = readings.groupby("register_id", observed=True, sort=False)
        readings["energy_kwh"] = by_register["reading_native"].diff()
        readings["start_at"] = by_register["read_at"].shift()
        zones = readings["register_id"].map(registers.set_index("register_id")["zone"])
        steps = readings.dropna(subset=["start_at"])
        days = []
        for zone, of_zone in steps.groupby(zones, observed=True):
            local_on = of_zone["start_at"].dt.tz_convert(zone).dt.tz_localize(None).dt.floor("D")
            groups = of_zone.groupby(["register_id", local_on.rename("local_on")], observed=True)
            days.append(groups["energy_kwh"].sum().reset_index().assign(zone=zone))
        daily = pandas.concat(days)
        windows = pandas.read_parquet(f"{task.source}/windows.parquet")
        trends = _pandas_trends(daily, windows)
    found = {
        "daily": pl.DataFrame(
            {
                "register_id": daily["register_id"].astype(str).tolist(),
                "local_on": pl.Series(daily["local_on"].to_numpy("datetime64[us]")).cast(pl.Date),
                "energy_kwh": daily["energy_kwh"].to_numpy(),
            }
        ),
        "trend": pl.DataFrame(
            {
                name: column.astype(str).tolist() if name in _TEXTS else column.to_numpy()
                for name, column in trends.items()
            }
        ),
    }
    return Outcome(len(readings), sound_total(task, found["daily"]), found)


def _pandas_trends(daily: Any, windows: Any) -> Any:
    for bound in ("start_on", "end_on"):
        windows[bound] = windows[bound].astype("datetime64[us]")
    recent = daily[daily["local_on"] >= windows["start_on"].min()]
    beside = recent.merge(windows, on="zone")
    is_within = (beside["local_on"] >= beside["start_on"]) & (beside["local_on"] < beside["end_on"])
    key = ["register_id", "period", "part"]
    sums = beside[is_within].groupby(key, observed=True)["energy_kwh"].sum().unstack("part")
    trend = 100 * (sums["current"] - sums["previous"]) / sums["previous"]
    names = {"current": "energy_kwh", "previous": "previous_energy_kwh"}
    return (
        sums.assign(trend_pct=trend.where(sums["previous"] > 0))
        .rename(columns=names)[["energy_kwh", "previous_energy_kwh", "trend_pct"]]
        .reset_index()
    )
