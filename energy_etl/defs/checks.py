"""Asset checks: from each table its unique key, for `core.interval` that energy is conserved, and
those that `defs/marts/` and the vendors declare.

A blocking check is for faults of a whole table and stops what is downstream in the same run;
the quality of single rows is a matter of the rows (`is_pushable`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

import dagster as dg
import polars as pl

from energy_etl.defs.assets.portfolio import PORTFOLIO_TABLES
from energy_etl.defs.failures import DATA_FAULTS, plainly, told_plainly
from energy_etl.defs.metadata import asset_key, read_input
from energy_etl.defs.resources import Etl
from energy_etl.errors import TransformError
from energy_etl.state import Marks, open_state
from energy_etl.tables import Check, Frames, Table, Verdict, core
from energy_etl.units import KWH_PER_UNIT, M3_PER_UNIT
from energy_etl.warehouse import Reader

BLOCKING_SCHEMA: Final = "core"
UNIQUE_KEY: Final = "unique_key"
# Readings are rounded to their resolution, sums of floats to the last digits.
TOLERANCE: Final = 1e-6

# Bounds of each register's growth between the first and the last edge of its intervals, from the
# readings that cleaning kept: an independent way to the same energy. Registers with an event
# that changes the counter (reset, rollover, exchange, level) have no such bounds.
_CONSERVATION: Final = """
WITH edges AS (
    SELECT register_id, min(start_at) AS first_at, max(end_at) AS last_at,
        sum(energy_kwh) AS energy_kwh, sum(volume_m3) AS volume_m3
    FROM core.interval GROUP BY register_id),
kept AS (
    SELECT register_id, read_at, arg_max(reading_native, version) AS native
    FROM core.reading AS r
    WHERE NOT EXISTS (SELECT 1 FROM core.edit AS e WHERE e.register_id = r.register_id
        AND e.rule <> 'manual_keep' AND r.read_at BETWEEN e.from_at AND e.to_at)
    GROUP BY register_id, read_at)
SELECT register_id, unit, energy_kwh, volume_m3,
    max(native) FILTER (read_at <= last_at) - min(native) FILTER (read_at >= first_at) AS low,
    min(native) FILTER (read_at >= last_at) - max(native) FILTER (read_at <= first_at) AS high
FROM edges JOIN core.register USING (register_id) JOIN kept USING (register_id)
WHERE kind = 'cumulative' AND register_id NOT IN (
    SELECT register_id FROM core.edit WHERE rule IN ('reset', 'rollover', 'exchange', 'level'))
GROUP BY register_id, unit, energy_kwh, volume_m3
"""


def build_checks(
    steps: Mapping[Table, str], checks: Iterable[Check]
) -> list[dg.AssetChecksDefinition]:
    """Return one definition per schema: the unique key of its tables, and their declared checks.

    Tables that are written whole have no check of their key: the write refuses a frame in which one
    stands twice, and each check is three events in Dagster's storage (10 ms each on disk).

    One step for a schema, because each costs more than most checks do. Blocking ones stand apart
    by the step that makes their table: what waits for one of a step would wait for them all, in a
    circle, and Dagster then cuts every step of the job to pieces.

    Args:
        steps: each table that has an asset, with the name of the step that makes it.
        checks: those that are declared, of any of these tables.
    """
    groups: dict[str, list[Table]] = {}
    for table, step in steps.items():
        group = f"{table.schema}_{step}" if table.schema == BLOCKING_SCHEMA else table.schema
        groups.setdefault(group, []).append(table)
    wanted = list(checks)
    return [
        _group_checks(group, tables, declared)
        for group, tables in sorted(groups.items())
        if (declared := [each for each in wanted if each.table in tables])
        or not all(map(is_written_whole, tables))
    ]


def is_written_whole(table: Table) -> bool:
    """Return whether a table is always written by `Writer.replace_all`."""
    return table.schema in ("mart", "push") or table in PORTFOLIO_TABLES


def _group_checks(
    group: str, tables: list[Table], declared: list[Check]
) -> dg.AssetChecksDefinition:
    is_blocking = tables[0].schema == BLOCKING_SCHEMA
    by_key = {asset_key(table): table for table in tables}
    specs = [
        dg.AssetCheckSpec(
            UNIQUE_KEY,
            asset=key,
            blocking=is_blocking,
            description=f"No two rows of {table.full_name} share {', '.join(table.key)}.",
        )
        for key, table in by_key.items()
        if not is_written_whole(table)
    ]
    extra = {name: each for name, each in _EXTRA_CHECKS.items() if each[0] in tables}
    specs += [
        dg.AssetCheckSpec(name, asset=asset_key(table), blocking=True, description=why)
        for name, (table, why, _) in extra.items()
    ]
    by_check = {dg.AssetCheckKey(asset_key(each.table), each.name): each for each in declared}
    specs += [
        dg.AssetCheckSpec(
            each.name,
            asset=asset_key(each.table),
            blocking=each.is_blocking,
            description=each.description,
        )
        for each in declared
    ]

    blocking = {dg.AssetCheckKey(spec.asset_key, spec.name) for spec in specs if spec.blocking}

    @dg.multi_asset_check(name=f"check_{group}", specs=specs, can_subset=True)
    @plainly
    def check(context: dg.AssetCheckExecutionContext, etl: Etl) -> Iterator[dg.AssetCheckResult]:
        keys = sorted(context.selected_asset_check_keys, key=str)
        inputs = dict.fromkeys(i for key in keys if key in by_check for i in by_check[key].inputs)
        results: dict[dg.AssetCheckKey, dg.AssetCheckResult] = {}
        with etl.warehouse().reading() as reader:
            frames = {each.full_name: read_input(reader, each) for each in inputs}
            for key in keys:
                if key.name == UNIQUE_KEY:
                    results[key] = _unique_key(reader, by_key[key.asset_key])
                elif key not in by_check:
                    results[key] = extra[key.name][2](reader, etl)
        for key in keys:
            if key in by_check:
                results[key] = judged(by_check[key], frames, etl.now())
            is_error = by_check[key].is_blocking if key in by_check else is_blocking
            severity = dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN
            yield results[key]._replace(
                asset_key=key.asset_key, check_name=key.name, severity=severity
            )
        refused = [key for key in keys if key in blocking and not results[key].passed]
        if refused:
            # Dagster would fail the step too, and say no more than the checks' names.
            raise TransformError(_stopped_sentence(refused, results))

    return check


def _stopped_sentence(
    refused: Sequence[dg.AssetCheckKey], results: Mapping[dg.AssetCheckKey, dg.AssetCheckResult]
) -> str:
    """Say which blocking checks failed, why, and what waits for them."""
    told = " ".join(
        f"The check {key.name} of {'.'.join(key.asset_key.path)} failed: "
        f"{results[key].description or 'see its result on the page of the asset.'}"
        for key in refused
    )
    return f"{told} What is made of it was not computed in this run and keeps what it held."


def judged(wanted: Check, frames: Frames, now: datetime) -> dg.AssetCheckResult:
    """Return what a check says; one that cannot be judged fails and says why."""
    try:
        verdict = wanted.judge(frames, now)
    except DATA_FAULTS as error:
        verdict = Verdict(False, {}, f"It could not be judged: {told_plainly(error)}")
    return dg.AssetCheckResult(
        passed=verdict.passed,
        metadata=dict(verdict.numbers),
        description=verdict.message or None,
    )


def _unique_key(reader: Reader, table: Table) -> dg.AssetCheckResult:
    n = reader.read(table.duplicates_query())["n"].item()
    return dg.AssetCheckResult(
        passed=n == 0,
        metadata={"n_duplicate_keys": n},
        description=None
        if n == 0
        else f"{n} keys of {table.full_name} stand in several rows: "
        "run `energy-etl rebuild`, then look at what wrote them.",
    )


def _has_rows(reader: Reader, etl: Etl) -> dg.AssetCheckResult:
    del etl
    counts = reader.read(
        "SELECT (SELECT count(*) FROM core.reading) AS n_readings, "
        "(SELECT count(*) FROM core.interval) AS n_intervals"
    ).row(0, named=True)
    passed = counts["n_intervals"] > 0 or counts["n_readings"] == 0
    return dg.AssetCheckResult(
        passed=passed,
        metadata=counts,
        description=None
        if passed
        else "There are readings but no intervals: check registers.csv against core.reading.",
    )


def _energy_conserved(reader: Reader, etl: Etl) -> dg.AssetCheckResult:
    frame = reader.read(_CONSERVATION)
    # Marked before they were written: readings that came behind the intervals are no fault of them.
    with open_state(etl.settings().state_path) as connection:
        marked = {mark.register_id for mark in Marks(connection).windows("interval")}
    frame = frame.filter(~pl.col("register_id").is_in(sorted(marked))).with_columns(
        total=pl.coalesce(
            pl.col("energy_kwh") / pl.col("unit").replace_strict(KWH_PER_UNIT, default=None),
            pl.col("volume_m3") / pl.col("unit").replace_strict(M3_PER_UNIT, default=None),
        )
    )
    slack = TOLERANCE + TOLERANCE * pl.col("total").abs()
    wrong = frame.filter(
        (pl.col("total") < pl.col("low") - slack) | (pl.col("total") > pl.col("high") + slack)
    )
    names = ", ".join(wrong["register_id"].sort().head(5))
    return dg.AssetCheckResult(
        passed=wrong.is_empty(),
        metadata={"n_registers": frame.height, "n_wrong": wrong.height},
        description=None
        if wrong.is_empty()
        else f"The intervals of {wrong.height} registers do not add up to their growth ({names}): "
        "nothing is sent; run `energy-etl rebuild` and report it if it stays.",
    )


_EXTRA_CHECKS: Final[dict[str, tuple[Table, str, Callable[[Reader, Etl], dg.AssetCheckResult]]]] = {
    "has_rows": (core.INTERVAL, "Where there are readings there are intervals.", _has_rows),
    "energy_conserved": (
        core.INTERVAL,
        "Intervals add up to the growth of their register's kept readings.",
        _energy_conserved,
    ),
}
