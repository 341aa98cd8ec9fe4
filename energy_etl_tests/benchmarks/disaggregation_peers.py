"""What others would take for the metrics: a join and sums in DuckDB, a merge and groups in pandas.

The same formulas: error in assigned energy, NEP, NDE with the root, F1 of on and off. Truth that
was not measured does not count.
"""

import contextlib
import importlib
from pathlib import Path
from typing import Any, Final

import duckdb
import polars as pl

from energy_etl_tests.benchmarks.measure import Clock, Outcome, Task

SCORES: Final = ("n_intervals", "own_kwh", "vendor_kwh", "error_kwh", "nep", "nde", "f1")
_STATEMENT = """
    WITH pair AS (
        SELECT mains.meter_id, own.appliance, own.register_id, on_threshold_w
        FROM read_parquet($registers) AS mains
        JOIN read_parquet($registers) AS own USING (site_id)
        JOIN read_parquet($thresholds) AS t ON own.appliance = t.appliance
        WHERE mains.role = 'mains' AND own.role = 'appliance'
    ),
    beside AS (
        SELECT e.meter_id, e.appliance, i.energy_kwh AS y, e.energy_kwh AS p,
            on_threshold_w * (epoch(e.end_at - e.start_at) / 3600) / 1000 AS on_kwh
        FROM read_parquet($estimates) AS e
        JOIN pair USING (meter_id, appliance)
        JOIN read_parquet($intervals) AS i ON i.register_id = pair.register_id
            AND i.start_at = e.start_at AND i.end_at = e.end_at
        WHERE i.quality = 'measured' AND NOT i.is_provisional
    )
    SELECT meter_id, appliance,
        count(*) AS n_intervals, sum(y) AS own_kwh, sum(p) AS vendor_kwh,
        abs(sum(y) - sum(p)) AS error_kwh,
        sum(abs(y - p)) / sum(y) AS nep,
        sqrt(sum((y - p) * (y - p)) / sum(y * y)) AS nde,
        2.0 * count(*) FILTER (y > on_kwh AND p > on_kwh)
            / (count(*) FILTER (y > on_kwh) + count(*) FILTER (p > on_kwh)) AS f1
    FROM beside GROUP BY ALL ORDER BY ALL
"""


def run_duckdb(task: Task, folder: Path, clock: Clock) -> Outcome:
    """One statement over the Parquet files."""
    files = {
        "estimates": f"{task.source}/estimates/*.parquet",
        "intervals": f"{task.source}/intervals/*.parquet",
        "registers": f"{task.source}/registers.parquet",
        "thresholds": f"{task.source}/thresholds.parquet",
    }
    with contextlib.closing(duckdb.connect()) as connection:
        # What does not fit into memory goes to the folder that is removed afterwards.
        connection.execute("SET temp_directory = $folder", {"folder": str(folder)})
        with clock:
            score = pl.DataFrame(connection.sql(_STATEMENT, params=files))
        counted = connection.sql(
            "SELECT count(*) FROM read_parquet($1)", params=[files["estimates"]]
        )
        ((n_items,),) = counted.fetchall()
    return Outcome(n_items, float(score["own_kwh"].sum()), {"score": score})


def run_pandas(task: Task, folder: Path, clock: Clock) -> Outcome:
    """Number the estimates, merge on number and times, group by number."""
    del folder
    pandas: Any = importlib.import_module("pandas")
    with clock:
        columns = ["meter_id", "appliance", "start_at", "end_at", "energy_kwh"]
        estimates = pandas.read_parquet(f"{task.source}/estimates", columns=columns)
        intervals = pandas.read_parquet(f"{task.source}/intervals")
        registers = pandas.read_parquet(f"{task.source}/registers.parquet")
        thresholds = pandas.read_parquet(f"{task.source}/thresholds.parquet")
        n_items = len(estimates)
        own = ["site_id", "appliance", "register_id"]
        pairs = (
            registers.loc[registers["role"] == "mains", ["meter_id", "site_id"]]
            .merge(registers.loc[registers["role"] == "appliance", own], on="site_id")
            .merge(thresholds, on="appliance")
        )
        # Categories instead of tuples as keys: half of the time.
        meters = estimates.pop("meter_id").astype("category").cat
        names = estimates.pop("appliance").astype("category").cat
        n_names = len(names.categories)
        code = meters.codes.astype("int64") * n_names + names.codes
        code_of_pair = meters.categories.get_indexer(pairs["meter_id"]) * n_names
        code_of_pair = code_of_pair + names.categories.get_indexer(pairs["appliance"])
        estimates["number"] = code.map(dict(zip(code_of_pair, pairs.index, strict=True)))
        registers_of = dict(zip(pairs["register_id"], pairs.index, strict=True))
        is_known = (intervals["quality"] == "measured") & ~intervals["is_provisional"]
        truth = intervals.loc[is_known, ["start_at", "end_at", "energy_kwh"]].assign(
            number=intervals["register_id"].astype("category").map(registers_of).astype("int64")
        )
        beside = estimates.merge(truth, on=["number", "start_at"], suffixes=("_p", "_y"))
        beside = beside[beside["end_at_p"] == beside["end_at_y"]]
        hours = (beside["end_at_p"] - beside["start_at"]).dt.total_seconds() / 3600
        on_kwh = beside["number"].map(pairs["on_threshold_w"]) * hours / 1000
        y, p = beside["energy_kwh_y"], beside["energy_kwh_p"]
        parts = pandas.DataFrame(
            {
                "number": beside["number"],
                "n_intervals": 1,
                "own_kwh": y,
                "vendor_kwh": p,
                "absolute": (y - p).abs(),
                "squared": (y - p) ** 2,
                "own_squared": y**2,
                "n_both": (y > on_kwh) & (p > on_kwh),
                "n_either": (y > on_kwh).astype(int) + (p > on_kwh),
            }
        )
        sums = parts.groupby("number").sum()
        found = sums.assign(
            error_kwh=(sums["own_kwh"] - sums["vendor_kwh"]).abs(),
            nep=sums["absolute"] / sums["own_kwh"],
            nde=(sums["squared"] / sums["own_squared"]) ** 0.5,
            f1=2 * sums["n_both"] / sums["n_either"],
        )
    score = pl.DataFrame(
        {
            "meter_id": pairs.loc[found.index, "meter_id"].astype(str).tolist(),
            "appliance": pairs.loc[found.index, "appliance"].astype(str).tolist(),
            **{name: found[name].to_numpy() for name in SCORES},
        }
    )
    return Outcome(n_items, float(score["own_kwh"].sum()), {"score": score})
