"""Cumulative registers: declared exchanges, cleaning, the grid and the edits, put together.

`cleaning.py` decides which readings count and `registers_grid.py` computes totals; here a register
is cut at its declared exchanges before, and joined again after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from energy_etl.transform.cleaning import Cleaned, Limits, clean_readings
from energy_etl.transform.cleaning_edits import EVENT_SCHEMA, edit_rows
from energy_etl.transform.cleaning_story import Floats, Ints, Kind
from energy_etl.transform.manual_edits import flag_manual
from energy_etl.transform.registers_grid import Grid, GridTotals, lay_on_grid


@dataclass(frozen=True, slots=True)
class Exchange:
    """One declared exchange: the old counter's last value and the new one's first."""

    at_us: int
    final_native: float
    initial_native: float


@dataclass(frozen=True, slots=True)
class Counter:
    """What a cumulative register can do.

    Attributes:
        register_id: our id.
        rate_per_s: declared rating per second (inf: none).
        resolution: smallest step.
        modulus: 10 to the integer digits (nan: unknown).
        exchanges: declared exchanges, sorted by instant.
    """

    register_id: str
    rate_per_s: float
    resolution: float
    modulus: float
    exchanges: tuple[Exchange, ...]


def compute_totals(
    readings: pl.DataFrame,
    counters: Sequence[Counter],
    grid: Grid,
    *,
    gap_us: float,
    watch_stuck: bool,
) -> tuple[GridTotals, pl.DataFrame]:
    """Return the totals on the grid and the rows of `core.edit`.

    Args:
        readings: `register` (place in `counters`), `at_us`, `reading`, `is_corrected`, and where a
            person decided something `is_trusted`, `is_replaced`; sorted and unique by the first
            two.
        counters: the registers.
        grid: the grid of all of them.
        gap_us: kept readings further apart make estimates.
        watch_stuck: flag counters that stand still.

    Returns:
        Totals sorted by register and end; edits sorted by their key.
    """
    exchanges = {k: c.exchanges for k, c in enumerate(counters) if c.exchanges}
    n_segments = np.asarray([1 + len(c.exchanges) for c in counters])
    counter_of = np.repeat(np.arange(len(counters)), n_segments)
    if exchanges:
        readings = _cut_at_exchanges(readings, exchanges, np.cumsum(n_segments) - n_segments)
    else:
        readings = readings.hstack([readings["register"].alias("segment")])
    limits = Limits(
        rate_per_s=_per_segment([c.rate_per_s for c in counters], counter_of),
        resolution=_per_segment([c.resolution for c in counters], counter_of),
        modulus=_per_segment([c.modulus for c in counters], counter_of),
    )
    cleaned = clean_readings(readings, limits)
    if exchanges:
        cleaned = _join_exchanges(cleaned)
    totals = lay_on_grid(cleaned, limits.modulus, grid, gap_us=gap_us, watch_stuck=watch_stuck)
    flag_manual(totals, grid, cleaned.kept)
    ids = [counters[k].register_id for k in counter_of.tolist()]
    return totals, edit_rows(cleaned.dropped, _event_rows(cleaned), ids)


def _per_segment(values: list[float], counter_of: Ints) -> Floats:
    return np.asarray(values, dtype=np.float64)[counter_of]


def _cut_at_exchanges(
    readings: pl.DataFrame, exchanges: Mapping[int, Sequence[Exchange]], first_segment: Ints
) -> pl.DataFrame:
    """Number the segments and add the declared values as readings at the exchange's instant.

    The declared values replace a reading at that very instant (nobody can say which counter it
    belongs to). A side without any reading of its own gets no declared value: it would make
    intervals that nothing measured. They are no trusted readings: a typing error must not stand.
    """
    register = readings["register"].to_numpy()
    at_us = readings["at_us"].to_numpy()
    segment = first_segment[register]
    is_replaced = np.zeros(len(register), dtype=bool)
    added: list[tuple[int, int, float, int]] = []
    for k, declared in exchanges.items():
        lo, hi = np.searchsorted(register, k), np.searchsorted(register, k, "right")
        cuts = np.asarray([exchange.at_us for exchange in declared])
        here = at_us[lo:hi]
        is_replaced[lo:hi] = np.isin(here, cuts)
        part = np.searchsorted(cuts, here, "left")
        segment[lo:hi] += part
        n_readings = np.bincount(part[~is_replaced[lo:hi]], minlength=len(cuts) + 1)
        base = int(first_segment[k])
        for n, exchange in enumerate(declared):
            if n_readings[n]:
                added.append((k, exchange.at_us, exchange.final_native, base + n))
            if n_readings[n + 1]:
                added.append((k, exchange.at_us, exchange.initial_native, base + n + 1))
    extra = pl.DataFrame(
        added,
        schema={
            "register": pl.Int64,
            "at_us": pl.Int64,
            "reading": pl.Float64,
            "segment": pl.Int64,
        },
        orient="row",
    )
    marks = [name for name in readings.columns if name.startswith("is_")]
    extra = extra.with_columns(pl.lit(False).alias(name) for name in marks)
    cut = readings.with_columns(pl.Series("segment", segment)).filter(pl.Series(~is_replaced))
    return pl.concat([cut, extra.select(cut.columns)]).sort("segment", "at_us")


def _join_exchanges(cleaned: Cleaned) -> Cleaned:
    """Name the steps from one side of a declared exchange to the other.

    Such a step holds no energy. When a declared value was itself contradicted and dropped, the
    step takes time and what flowed in it is unknown: a change of level.
    """
    kept = cleaned.kept
    t = kept["at_us"].to_numpy()
    is_cut = np.diff(kept["segment"].to_numpy()) != 0
    is_cut &= np.diff(kept["register"].to_numpy()) == 0
    cuts = np.flatnonzero(is_cut) + 1
    is_joined = t[cuts] == t[cuts - 1]
    kinds = np.where(is_joined, Kind.EXCHANGE, Kind.LEVEL).astype(np.int64)
    energies = np.where(is_joined, 0.0, np.nan)
    rows = np.concatenate((cleaned.event_row, cuts))
    order = np.argsort(rows, kind="stable")
    return replace(
        cleaned,
        event_row=rows[order],
        event_kind=np.concatenate((cleaned.event_kind, kinds))[order],
        event_energy=np.concatenate((cleaned.event_energy, energies))[order],
    )


def _event_rows(cleaned: Cleaned) -> pl.DataFrame:
    """Describe each step that is no plain growth."""
    rows = np.concatenate((cleaned.event_row, cleaned.suspect_row))
    if not rows.size:
        return EVENT_SCHEMA.to_frame()
    names = [Kind(code).name.lower() for code in cleaned.event_kind.tolist()]
    names += ["suspect"] * len(cleaned.suspect_row)
    kept = cleaned.kept
    t = kept["at_us"].to_numpy()
    return pl.DataFrame(
        {
            "segment": kept["segment"].gather(rows),
            "at_us": t[rows],
            "rule": names,
            "before": kept["reading"].gather(rows - 1),
            "after": kept["reading"].gather(rows),
            "minutes": (t[rows] - t[rows - 1]) / 60e6,
        }
    ).select(
        pl.col("segment", "at_us").cast(pl.Int64),
        "rule",
        pl.format("from {} to {} within {} min", "before", "after", "minutes").alias("evidence"),
    )
