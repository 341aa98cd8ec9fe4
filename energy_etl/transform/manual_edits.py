"""A person's decisions about readings (`core.manual_edit`), applied before cleaning.

Readings stay as they are in `core.reading`; what comes in here is their newest version, and what
goes out is judged by `cleaning.py` and `registers_totals.py`. Each application is a row of
`core.edit`. What a decision could not be applied to is a finding, made here too.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from energy_etl.tables.core import EDIT
from energy_etl.tables.mart import FINDING
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.cleaning_story import Ints
from energy_etl.transform.registers_flags import Flag
from energy_etl.transform.registers_grid import Grid, GridTotals, ranges
from energy_etl.transform.registers_readings import OrderedReadings

# Of two decisions about one reading the more particular counts: a value written down by hand before
# a reading that is declared right, and that before a stretch that is declared wrong.
_PRECEDENCE: Final = {"drop": 0, "keep": 1, "replace": 2}
_INSTANT_FORMAT: Final = "%Y-%m-%d %H:%M:%S UTC"


def apply_manual_edits(
    ordered: OrderedReadings,
    register_ids: Sequence[str],
    manual_edits: pl.DataFrame,
    exchanged_us: Mapping[str, Sequence[int]] | None = None,
) -> tuple[OrderedReadings, pl.DataFrame]:
    """Leave out, trust or replace readings as somebody decided.

    `drop` leaves out the readings within [from_at, to_at]. `keep` makes those that have a value
    trusted: cleaning may neither drop them nor call them suspect, nor take zeros for an outage; a
    null, NaN or infinite reading has nothing to trust. `replace` gives the reading at exactly
    `from_at` another value and trusts it; it makes no reading where there is none. Of several
    decisions about one reading replace counts before keep before drop, and of one action the one
    that begins last. A replace without a finite value is not applied, nor anything to a reading at
    the very instant of a declared exchange: there the declared values count, and no reading.

    Args:
        ordered: the newest version of each reading.
        register_ids: the register of each code in `ordered`.
        manual_edits: `core.manual_edit`; those of other registers are left out.
        exchanged_us: instants of the exchanges that count, by register; None: there are none.

    Returns:
        The readings, with the columns `is_trusted` and `is_replaced` (Boolean) where any decision
        applies; and a row of `core.edit` (rules `manual_drop`, `manual_keep`, `manual_replace`) per
        decision that applied: first and last reading it counted for, how many, their values and
        the reason.
    """
    code_of = {register_id: code for code, register_id in enumerate(register_ids)}
    decisions = _by_code(manual_edits, code_of)
    if not decisions:
        return ordered, EDIT.empty_frame()
    at_us = ordered.frame["at_us"].to_numpy()
    n = len(at_us)
    is_dropped, is_trusted, is_replaced = (np.zeros(n, dtype=bool) for _ in range(3))
    replaced: dict[int, float] = {}
    rows: list[dict[str, Any]] = []
    for code, decided in decisions.items():
        lo = int(ordered.start[code])
        here = slice(lo, lo + int(ordered.n_rows[code]))
        at, values = at_us[here], ordered.frame["reading"][here].to_numpy()
        owner = _owners(decided, at, values)
        owner[np.isin(at, (exchanged_us or {}).get(register_ids[code], ()))] = -1
        for k, decision in enumerate(decided):
            where = np.flatnonzero(owner == k)
            if not where.size:
                continue
            rows.append(_edit_row(decision, at[where], values[where]))
            action = decision["action"]
            is_dropped[where + lo] = action == "drop"
            is_trusted[where + lo] = action != "drop"
            if action == "replace":
                is_replaced[where + lo] = True
                replaced[int(where[0]) + lo] = float(decision["reading_native"])
    if not rows:
        return ordered, EDIT.empty_frame()
    reading = ordered.frame["reading"].scatter(list(replaced), list(replaced.values()))
    frame = ordered.frame.with_columns(
        reading,
        pl.Series("is_trusted", is_trusted),
        pl.Series("is_replaced", is_replaced),
    )
    n_rows = ordered.n_rows
    if is_dropped.any():
        code_of_row = np.searchsorted(ordered.start, np.flatnonzero(is_dropped), "right") - 1
        # Codes without readings share their start with the next one: the last of them is meant.
        n_rows = n_rows - np.bincount(code_of_row, minlength=len(n_rows))
        frame = frame.filter(pl.Series(~is_dropped))
    edits = pl.DataFrame(rows, schema=EDIT.polars_schema).sort(EDIT.key)
    return OrderedReadings(frame, np.cumsum(n_rows) - n_rows, n_rows), edits


def flag_manual(totals: GridTotals, grid: Grid, readings: pl.DataFrame) -> None:
    """Flag what leans on a replaced reading: each interval that the steps to and from it touch.

    Args:
        totals: sorted by register and end; its flags are changed.
        grid: the grid of all of them.
        readings: those that count: `register`, `at_us`, `is_replaced` (may be missing: none),
            sorted by the first two.
    """
    if "is_replaced" not in readings.columns:
        return
    register, at_us = readings["register"].to_numpy(), readings["at_us"].to_numpy()
    for i in np.flatnonzero(readings["is_replaced"].to_numpy()).tolist():
        has_before = i > 0 and register[i - 1] == register[i]
        has_after = i + 1 < len(register) and register[i + 1] == register[i]
        lo = int(np.searchsorted(totals.register, register[i]))
        hi = int(np.searchsorted(totals.register, register[i], "right"))
        ends = totals.end_us[lo:hi]
        first = int(np.searchsorted(ends, at_us[i - has_before], "right"))
        stop = int(np.searchsorted(ends, at_us[i + has_after] + grid.step_us))
        totals.flags[lo + first : lo + stop] |= Flag.MANUAL


def trusted_places(totals: GridTotals, grid: Grid, readings: pl.DataFrame) -> Ints:
    """Return the rows of the intervals that hold, or end at, a trusted reading.

    Args:
        totals: sorted by register and end.
        grid: the grid of all of them.
        readings: `register`, `at_us`, `is_trusted` (may be missing: none).
    """
    if "is_trusted" not in readings.columns:
        return np.empty(0, np.int64)
    trusted = readings.filter("is_trusted")
    found = [np.empty(0, np.int64)]
    for (register,), rows in trusted.group_by("register"):
        lo = int(np.searchsorted(totals.register, register))
        hi = int(np.searchsorted(totals.register, register, "right"))
        ends, at_us = totals.end_us[lo:hi], rows["at_us"].to_numpy()
        first = np.searchsorted(ends, at_us)
        stop = np.searchsorted(ends, at_us + grid.step_us, "right")
        found.append(lo + ranges(first, stop))
    return np.unique(np.concatenate(found))


def compute_edit_findings(
    manual_edits: pl.DataFrame, applied: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """List the decisions that nothing came of.

    Kinds: `manual_edit_without_value` (replace without reading_native) and
    `manual_edit_without_reading` (no reading of the register lies where it points, or another
    decision counts before it); the latter only once its stretch is over, since readings may still
    come.

    Args:
        manual_edits: `core.manual_edit`.
        applied: `core.edit`, of which register_id, rule and from_at of the manual rules are read.
        now: the instant of the computation.

    Returns:
        `mart.finding`, sorted by its key; empty when all is well.
    """
    is_without_value = (pl.col("action") == "replace") & ~pl.col("reading_native").is_finite()
    numbered = manual_edits.with_row_index("n").with_columns(
        rule=pl.format("manual_{}", "action"), is_without_value=is_without_value.fill_null(True)
    )
    matched = numbered.join(
        applied.select("register_id", "rule", applied_at="from_at"), on=["register_id", "rule"]
    ).filter(pl.col("applied_at").is_between("from_at", "to_at"))
    is_replace = pl.col("action") == "replace"
    lost = numbered.join(matched, on="n", how="anti").filter(
        (pl.col("is_without_value") & is_replace) | (pl.col("to_at") < now)
    )
    found = [_finding(row) for row in lost.iter_rows(named=True)]
    return pl.DataFrame(found, schema=FINDING.polars_schema, orient="row").sort(FINDING.key)


def _finding(row: dict[str, Any]) -> tuple[str, str, datetime, datetime, str, str]:
    what = (
        f"The manual edit {row['action']} of register {row['register_id']} from "
        f"{row['from_at']:{_INSTANT_FORMAT}} to {row['to_at']:{_INSTANT_FORMAT}}"
    )
    if row["action"] == "replace" and row["is_without_value"]:
        return (
            "manual_edit_without_value",
            row["register_id"],
            row["from_at"],
            row["to_at"],
            f"{what} says no value, so it was not applied.",
            "Enter reading_native in manual_edits.csv, or make it a drop.",
        )
    return (
        "manual_edit_without_reading",
        row["register_id"],
        row["from_at"],
        row["to_at"],
        f"{what} applies to no reading.",
        "Compare its instants with core.reading (both ends count; replace needs the exact instant "
        "of a reading), with the register's other rows in manual_edits.csv and with exchanges.csv "
        "(at the instant of an exchange its values count), or delete it.",
    )


def _by_code(
    manual_edits: pl.DataFrame, code_of: dict[str, int]
) -> defaultdict[int, list[dict[str, Any]]]:
    """Group the decisions that can be applied by register, the one that counts before others last.

    Of two with one key the order of their other columns decides, so that the order of rows never
    does.
    """
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    ordered = manual_edits.sort(
        pl.col("action").replace_strict(_PRECEDENCE, default=0, return_dtype=pl.Int64),
        "from_at",
        pl.col("to_at"),
        "reading_native",
        "reason",
    )
    for row in ordered.iter_rows(named=True):
        code = code_of.get(row["register_id"])
        value = row["reading_native"]
        is_empty = row["action"] == "replace" and (value is None or not np.isfinite(value))
        if code is not None and not is_empty:
            found[code].append(row)
    return found


def _owners(
    decided: list[dict[str, Any]], at: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return which decision counts for each reading of a register; -1: none."""
    owner = np.full(len(at), -1, dtype=np.int64)
    has_value = np.isfinite(values)
    for k, decision in enumerate(decided):
        from_us, to_us = _micros(decision["from_at"]), _micros(decision["to_at"])
        if decision["action"] == "replace":
            to_us = from_us
        lo, hi = int(np.searchsorted(at, from_us)), int(np.searchsorted(at, to_us, "right"))
        where = np.arange(lo, hi)
        owner[where[has_value[lo:hi]] if decision["action"] == "keep" else where] = k
    return owner


def _edit_row(
    decision: dict[str, Any], at: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    shown = "no value"
    if known.size:
        low, high = float(known.min()), float(known.max())
        shown = str(low) if low == high else f"{low} to {high}"
    if decision["action"] == "replace":
        shown = f"{shown} replaced by {decision['reading_native']}"
    instants = pl.Series([int(at[0]), int(at[-1])]).cast(UTC_INSTANT)
    return {
        "register_id": decision["register_id"],
        "rule": f"manual_{decision['action']}",
        "from_at": instants[0],
        "to_at": instants[1],
        "n_readings": len(at),
        "evidence": f"{shown}: {decision['reason']}",
    }


def _micros(instant: datetime) -> int:
    return int(pl.Series([instant], dtype=UTC_INSTANT).to_physical()[0])
