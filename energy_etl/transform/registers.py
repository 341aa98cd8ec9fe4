"""Readings of registers -> `core.interval`, `core.edit` and `core.sample`.

Here: which register is computed how, units, and the columns of the three tables. Judging readings
is in `cleaning.py`, arithmetic on the grid in `registers_grid.py`, registers that do not count up
in `registers_totals.py` and `registers_samples.py`. What changed since the last time is the
warehouse's to find, days and periods are `calendar.py`'s and `trends.py`'s.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.tables.core import EDIT, INTERVAL, MANUAL_EDIT, SAMPLE
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.exchanges import accepted_exchanges
from energy_etl.transform.manual_edits import (
    apply_manual_edits,
    flag_manual,
    trusted_places,
)
from energy_etl.transform.registers_cumulative import Counter, Exchange, compute_totals
from energy_etl.transform.registers_flags import (
    Quality,
    flag_lists,
    hold_reasons,
    quality_names,
)
from energy_etl.transform.registers_grid import (
    GAP_STEPS,
    US_PER_MINUTE,
    Grid,
    GridTotals,
    register_grid,
)
from energy_etl.transform.registers_mains import watch_mains
from energy_etl.transform.registers_power import (
    compare_neighbours,
    compute_power_totals,
    count_own_direction,
)
from energy_etl.transform.registers_readings import order_readings
from energy_etl.transform.registers_samples import compute_samples
from energy_etl.transform.registers_totals import (
    compute_interval_totals,
    compute_means,
    flag_suspects,
)
from energy_etl.transform.registers_values import (
    Meter,
    highest_values,
    named_values,
    value_edits,
)
from energy_etl.units import (
    KW_PER_UNIT,
    KWH_PER_UNIT,
    M3_PER_UNIT,
    MEAN_UNITS,
    SECONDS_PER_HOUR,
)

_EPOCH_US: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """What the readings of some registers amount to.

    Attributes:
        intervals: rows of `core.interval`.
        edits: rows of `core.edit`.
        samples: rows of `core.sample`.
    """

    intervals: pl.DataFrame
    edits: pl.DataFrame
    samples: pl.DataFrame


@dataclass(frozen=True, slots=True)
class _Way:
    """What registers have in common that are computed in one go."""

    kind: str
    grid: Grid
    gap_us: float
    is_end_stamped: bool
    is_watched: bool
    is_mean: bool
    is_integrated: bool
    kwh_per_unit: float | None
    m3_per_unit: float | None


@dataclass(frozen=True, slots=True)
class _Piece:
    """One register's rows within the frame of its chunk."""

    frame: pl.DataFrame
    start: int
    stop: int


@dataclass(slots=True)
class _Parts:
    """Rows found so far: a piece per register, by its place, so that no big frame is sorted."""

    interval: dict[int, _Piece] = field(default_factory=dict)
    sample: dict[int, _Piece] = field(default_factory=dict)
    edit: list[pl.DataFrame] = field(default_factory=list)


def compute_intervals(
    readings: pl.DataFrame,
    registers: pl.DataFrame,
    exchanges: pl.DataFrame,
    manual_edits: pl.DataFrame | None = None,
    *,
    left_out: pl.DataFrame | None = None,
    now: datetime,
    hold_for: timedelta,
) -> IntervalResult:
    """Compute the intervals of registers from all their readings.

    Cumulative registers: see `clean_readings` for what counts and `lay_on_grid` for the split.
    Rows run from the first edge at or after a register's first kept reading to the last edge at
    or before its last. An interval within a step of more than 1.5 grid steps is `estimated`,
    one touched by an unexplained change of level `implausible` and null. A counter that stands
    still was measured: 0 is its energy (mains without production beside them get the flag `stuck`
    after three hours); only totals of `kind` interval can be `zero_filled`. `register_end_native`
    is the counter as the meter shows it: between unflagged intervals its difference is the energy.

    Electric power (W or kW; `kind` instant, or `kind` interval: the mean of its interval) of a
    meter without an energy register in the same role becomes energy too, quality `integrated`
    (`registers_power.py`); beside a counter it stays a sample. Other means per interval (V, degC,
    ...) are samples.

    What a person decided (`manual_edits.py`) counts before anything is judged, and is named in the
    edits. An interval that leans on a replaced value has the flag `manual`: the one it falls into,
    and for counters and power all between the readings before and after it. `core.sample` has no
    flags; there the edit alone says so.

    An interval is provisional until two kept readings exist at or after its end, or `hold_for`
    has passed since. It is pushable with a value, measured or estimated, and not provisional.

    Args:
        readings: `core.reading` (register_id, read_at, reading_native, version) in any order; the
            WHOLE history of each register in it. Null, NaN, negative or impossible values become
            edits. Readings of registers that are not in `registers` are left out.
        registers: `core.register`, all of a site's (what a meter has beside a register counts);
            one without readings gives no row.
        exchanges: `core.exchange`; those after `now` do not count yet, nor one that contradicts an
            earlier one (`exchanges.py`).
        manual_edits: `core.manual_edit`; None: nobody decided anything.
        left_out: registers that are not to be computed and stand beside the others all the same,
            columns as in `compare_neighbours`; None: there are none.
        now: the instant of the computation.
        hold_for: after this long an interval is no longer provisional.

    Returns:
        The three frames, each in its table's columns and sorted by its key. The result is a
        function of the set of readings; each register's rows do not depend on the others.

    Raises:
        TransformError: a column is missing, an id is repeated, an instant is naive.
    """
    if now.tzinfo is None:
        raise TransformError(f"now is {now} without a time zone; hand over an aware instant.")
    ids = registers["register_id"].unique().sort().to_list()
    if len(ids) != registers.height:
        raise TransformError(
            "A register_id occurs twice in the registers; mend registers.csv in the portfolio."
        )
    rows = {str(row["register_id"]): row for row in registers.iter_rows(named=True)}
    now_us = _microseconds(now)
    hold_us = hold_for // _EPOCH_US
    declared = accepted_exchanges(exchanges, registers, now=now)
    decided = MANUAL_EDIT.empty_frame() if manual_edits is None else manual_edits
    exchanged_us = {
        register_id: [exchange.at_us for exchange in some]
        for register_id, some in declared.items()
        if rows[register_id]["kind"] == "cumulative"
    }
    ordered, by_hand = apply_manual_edits(order_readings(readings, ids), ids, decided, exchanged_us)
    beside = compare_neighbours(registers, left_out).rows_by_key("register_id", named=True)
    ways: defaultdict[_Way, list[int]] = defaultdict(list)
    for code, register_id in enumerate(ids):
        ways[_way(rows[register_id], **beside[register_id][0])].append(code)
    parts = _Parts()
    for way, codes in ways.items():
        for group, chunk in ordered.chunks(codes):
            members = [rows[ids[code]] for code in group]
            _compute_chunk(way, group, members, chunk, declared, parts, now_us, hold_us)
    return IntervalResult(
        _in_order(parts.interval, INTERVAL.empty_frame()),
        pl.concat([by_hand, *parts.edit]).sort(EDIT.key),
        _in_order(parts.sample, SAMPLE.empty_frame()),
    )


def _compute_chunk(
    way: _Way,
    group: list[int],
    members: list[dict[str, Any]],
    chunk: pl.DataFrame,
    declared: dict[str, tuple[Exchange, ...]],
    parts: _Parts,
    now_us: int,
    hold_us: int,
) -> None:
    ids = pl.Series([row["register_id"] for row in members], dtype=pl.String)
    if way.kind == "cumulative":
        counters = [_counter(row, declared.get(row["register_id"], ())) for row in members]
        totals, edits = compute_totals(
            chunk, counters, way.grid, gap_us=way.gap_us, watch_stuck=way.is_watched
        )
    elif way.kind == "interval":
        meters = [_meter(row) for row in members]
        if way.is_mean:
            samples, edits = compute_means(
                chunk, meters, way.grid, is_end_stamped=way.is_end_stamped
            )
            numbers = samples["register"].to_numpy()
            _keep_pieces(parts.sample, group, numbers, _sample_frame(samples, ids))
            if not way.is_integrated:
                parts.edit.append(edits)
                return
        totals, edits = compute_interval_totals(
            chunk,
            meters,
            way.grid,
            is_end_stamped=way.is_end_stamped,
            is_watched=way.is_watched,
            gap_us=way.gap_us,
            is_power=way.is_integrated,
        )
    else:
        meters = [_meter(row) for row in members]
        samples, edits = compute_samples(
            chunk,
            meters,
            way.grid,
            gap_us=way.gap_us,
            now_us=now_us,
            hold_us=hold_us,
        )
        numbers = samples["register"].to_numpy()
        _keep_pieces(parts.sample, group, numbers, _sample_frame(samples, ids))
        if not way.is_integrated:
            parts.edit.append(edits)
            return
        own, _ = compute_samples(
            count_own_direction(chunk, meters),
            meters,
            way.grid,
            gap_us=way.gap_us,
            now_us=now_us,
            hold_us=hold_us,
        )
        totals = compute_power_totals(own, way.grid)
        named = named_values(chunk, highest_values(meters)).with_columns(
            edge=pl.Series(way.grid.edge_before(chunk["at_us"].to_numpy()))
        )
        trusted = trusted_places(totals, way.grid, chunk)
        suspects = flag_suspects(totals, meters, named, way.grid, trusted)
        parts.edit.append(value_edits(suspects, meters))
        if way.is_watched:
            zeros = watch_mains(totals, named, way.grid, trusted)
            parts.edit.append(value_edits(zeros, meters))
        flag_manual(totals, way.grid, chunk)
    parts.edit.append(edits)
    frame = _interval_frame(totals, way, ids, now_us, hold_us)
    _keep_pieces(parts.interval, group, totals.register, frame)


def _interval_frame(
    totals: GridTotals, way: _Way, ids: pl.Series, now_us: int, hold_us: int
) -> pl.DataFrame:
    """Give totals the columns of `core.interval`."""
    is_provisional = totals.is_open & (now_us - totals.end_us < hold_us)
    native = pl.Series(totals.energy_native, nan_to_null=True)
    empty = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(native))
    has_value = way.kwh_per_unit is not None or way.m3_per_unit is not None
    reasons = hold_reasons(totals.quality, is_provisional, has_value)
    return pl.DataFrame(
        {
            "register_id": _ids_of(totals.register, ids),
            "start_at": _instants(totals.end_us - way.grid.step_us),
            "end_at": _instants(totals.end_us),
            "energy_kwh": empty if way.kwh_per_unit is None else native * way.kwh_per_unit,
            "volume_m3": empty if way.m3_per_unit is None else native * way.m3_per_unit,
            "register_end_native": pl.Series(totals.end_native, nan_to_null=True),
            "quality": quality_names(totals.quality),
            "flags": flag_lists(totals.flags),
            "is_provisional": is_provisional,
            "is_pushable": ~is_provisional & (totals.quality < Quality.MISSING) & has_value,
            "hold_reason": reasons,
        },
        schema=INTERVAL.polars_schema,
    )


def _ids_of(numbers: np.ndarray, ids: pl.Series) -> pl.Series:
    """Return the id of each number; a register's rows are neighbours and are filled at once."""
    n_rows = np.bincount(numbers, minlength=len(ids))
    return pl.concat([ids.new_from_index(k, int(n)) for k, n in enumerate(n_rows)], rechunk=True)


def _sample_frame(samples: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    return samples.select(
        pl.lit(ids).gather(pl.col("register")).alias("register_id"),
        pl.col("start_us").cast(UTC_INSTANT).alias("start_at"),
        pl.col("end_us").cast(UTC_INSTANT).alias("end_at"),
        "sample_native",
        "n_readings",
        "is_provisional",
    )


def _keep_pieces(
    kept: dict[int, _Piece], group: list[int], numbers: np.ndarray, frame: pl.DataFrame
) -> None:
    """Remember where each register's rows are, under its place among all registers."""
    start = np.searchsorted(numbers, np.arange(len(group) + 1)).tolist()
    for k, code in enumerate(group):
        if start[k + 1] > start[k]:
            kept[code] = _Piece(frame, start[k], start[k + 1])


def _in_order(kept: dict[int, _Piece], empty: pl.DataFrame) -> pl.DataFrame:
    """Put the pieces in the order of the registers; neighbours in one frame stay together."""
    joined: list[_Piece] = []
    for code in sorted(kept):
        piece = kept[code]
        if joined and joined[-1].frame is piece.frame and joined[-1].stop == piece.start:
            joined[-1] = _Piece(piece.frame, joined[-1].start, piece.stop)
        else:
            joined.append(piece)
    slices = [piece.frame.slice(piece.start, piece.stop - piece.start) for piece in joined]
    # No rechunk: copying 10 M rows once more takes as long as computing them.
    return pl.concat([empty, *slices], rechunk=False)


def _way(row: dict[str, Any], *, has_production: bool, is_integrated: bool) -> _Way:
    kind = str(row["kind"])
    if kind not in ("cumulative", "interval", "instant"):
        raise TransformError(
            f"Register {row['register_id']} has the kind {kind!r}; "
            "make it cumulative, interval or instant in registers.csv."
        )
    grid_minutes = int(row["grid_minutes"])
    kwh_per_unit = KW_PER_UNIT if is_integrated else KWH_PER_UNIT
    return _Way(
        kind=kind,
        grid=register_grid(str(row["zone"]), grid_minutes),
        gap_us=GAP_STEPS * grid_minutes * US_PER_MINUTE,
        is_end_stamped=row["stamp"] == "end" or (kind == "interval" and row["stamp"] != "start"),
        # Production behind the meter brings mains to zero in earnest; gas and water stand still
        # for whole nights.
        is_watched=row["role"] == "mains"
        and row["commodity"] == "electricity"
        and not has_production,
        is_mean=kind == "interval" and row["unit"] in MEAN_UNITS,
        is_integrated=is_integrated,
        kwh_per_unit=kwh_per_unit.get(str(row["unit"])),
        m3_per_unit=M3_PER_UNIT.get(str(row["unit"])),
    )


def _rate_per_s(row: dict[str, Any]) -> float:
    rating = row["rating_native_per_hour"]
    return np.inf if rating is None else float(rating) / SECONDS_PER_HOUR


def _counter(row: dict[str, Any], exchanges: tuple[Exchange, ...]) -> Counter:
    return Counter(
        register_id=str(row["register_id"]),
        rate_per_s=_rate_per_s(row),
        resolution=float(row["resolution_native"]),
        modulus=np.nan if row["digits"] is None else 10.0 ** int(row["digits"]),
        exchanges=exchanges,
    )


def _meter(row: dict[str, Any]) -> Meter:
    return Meter(str(row["register_id"]), _rate_per_s(row), float(row["resolution_native"]))


def _microseconds(instant: datetime) -> int:
    """Return the whole microseconds since 1970; a float would round."""
    return (instant - datetime.fromtimestamp(0, tz=instant.tzinfo)) // _EPOCH_US


def _instants(at_us: np.ndarray) -> pl.Series:
    return pl.Series(at_us, dtype=pl.Int64).cast(UTC_INSTANT)
