"""Declared exchanges (`core.exchange`): which of them count, and which contradict another.

Where a counter is cut and joined is `registers_cumulative.py`'s. Exchanges are judged here by what
they say of each other alone, so that the computation and the finding never differ.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import numpy as np
import polars as pl

from energy_etl.tables.mart import FINDING
from energy_etl.transform.cleaning_story import GRACE_S
from energy_etl.transform.registers_cumulative import Exchange
from energy_etl.units import SECONDS_PER_HOUR

_INSTANT_FORMAT: Final = "%Y-%m-%d %H:%M:%S UTC"
_US_PER_S: Final = 1_000_000


def accepted_exchanges(
    exchanges: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> dict[str, tuple[Exchange, ...]]:
    """Return the exchanges that have happened and that count, by register, sorted by instant.

    Args:
        exchanges: `core.exchange`.
        registers: `core.register`; exchanges of other registers are left out.
        now: exchanges after it do not count yet.

    Returns:
        Exchanges per register_id; one that contradicts an earlier one is not among them.
    """
    chosen = exchanges.filter(pl.col("exchanged_at") <= now)
    accepted: dict[str, tuple[Exchange, ...]] = {}
    for register_id, (counted, _) in _judged(chosen, registers).items():
        accepted[register_id] = tuple(counted)
    return accepted


def compute_exchange_findings(
    exchanges: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """List the exchanges that are ignored (kind `overlapping_exchanges`).

    Two of one register at the same instant; or between two, the counter would have had to fall from
    the first one's initial value to the second one's final value (with known digits: without a
    rollover), or to grow beyond its declared rating. The earlier one counts.

    Args:
        exchanges: `core.exchange`.
        registers: `core.register`.
        now: exchanges after it are not looked at yet.

    Returns:
        `mart.finding`, sorted by its key.
    """
    chosen = exchanges.filter(pl.col("exchanged_at") <= now)
    found = [
        _finding(register_id, *pair)
        for register_id, (_, ignored) in _judged(chosen, registers).items()
        for pair in ignored
    ]
    # Three at one instant make two findings of one key: the first says it.
    return (
        pl.DataFrame(found, schema=FINDING.polars_schema, orient="row")
        .unique(FINDING.key, keep="first", maintain_order=True)
        .sort(FINDING.key)
    )


_Pair = tuple[Exchange, Exchange]


def _judged(
    exchanges: pl.DataFrame, registers: pl.DataFrame
) -> Mapping[str, tuple[list[Exchange], list[_Pair]]]:
    """Return, per register, what counts, and what is ignored beside the one it contradicts."""
    rows = {str(row["register_id"]): row for row in registers.iter_rows(named=True)}
    declared: defaultdict[str, list[Exchange]] = defaultdict(list)
    for register_id, at_us, final_native, initial_native in exchanges.select(
        "register_id",
        pl.col("exchanged_at").dt.cast_time_unit("us").to_physical(),
        "final_native",
        "initial_native",
    ).iter_rows():
        if register_id in rows:
            declared[register_id].append(Exchange(at_us, final_native, initial_native))
    judged: dict[str, tuple[list[Exchange], list[_Pair]]] = {}
    for register_id, some in declared.items():
        counted: list[Exchange] = []
        ignored: list[_Pair] = []
        for exchange in sorted(some, key=lambda e: (e.at_us, e.final_native, e.initial_native)):
            if counted and not _can_follow(counted[-1], exchange, rows[register_id]):
                ignored.append((counted[-1], exchange))
            else:
                counted.append(exchange)
        judged[register_id] = counted, ignored
    return judged


def _can_follow(first: Exchange, second: Exchange, row: dict[str, Any]) -> bool:
    """Say whether one counter can show the first's initial and later the second's final value."""
    if second.at_us == first.at_us:
        return False
    grown = second.final_native - first.initial_native
    if grown < 0 and row["digits"] is not None:
        grown += 10.0 ** int(row["digits"])
    if grown < 0:
        return False
    rating = row["rating_native_per_hour"]
    rate_per_s = np.inf if rating is None else float(rating) / SECONDS_PER_HOUR
    dt_s = (second.at_us - first.at_us) / _US_PER_S
    return grown <= rate_per_s * (dt_s + GRACE_S) + float(row["resolution_native"])


def _finding(
    register_id: str, first: Exchange, second: Exchange
) -> tuple[str, str, datetime, datetime, str, str]:
    from_at, to_at = (_instant(each.at_us) for each in (first, second))
    if first.at_us == second.at_us:
        message = (
            f"Register {register_id} has two exchanges at {to_at:{_INSTANT_FORMAT}}, so the one "
            f"with the final value {second.final_native} is ignored."
        )
    else:
        message = (
            f"The exchanges of register {register_id} contradict each other: a counter that began "
            f"at {first.initial_native} on {from_at:{_INSTANT_FORMAT}} cannot have shown "
            f"{second.final_native} on {to_at:{_INSTANT_FORMAT}}, so the later one is ignored."
        )
    return (
        "overlapping_exchanges",
        register_id,
        from_at,
        to_at,
        message,
        "Compare both rows in exchanges.csv with the record of the works; if the counter was reset "
        "in between, declare that as an exchange too; if it grew that much, raise "
        "rating_native_per_hour in registers.csv.",
    )


def _instant(at_us: int) -> datetime:
    return pl.Series([at_us]).cast(pl.Datetime("us", "UTC"))[0]
