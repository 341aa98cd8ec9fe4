"""What must hold between the cells of a row, the rows of a file, and the files.

Each rule notes its faults and leaves the faulty rows out; `_pass_on` leaves out what depends on
them. Where two rows claim one id neither is used: which of them is meant would be a guess.
"""

from typing import Any, Final

from energy_etl.portfolio.layout import (
    EXCHANGES,
    FILES,
    GAPS,
    MANUAL_EDITS,
    MEASURES,
    METERS,
    REGISTERS,
    SITES,
    TARIFFS,
)
from energy_etl.portfolio.rows import Row, Rows
from energy_etl.portfolio.stream_rules import FieldProblem, check_streams
from energy_etl.units import KWH_PER_UNIT, M3_PER_UNIT

# Units of what has no phase: that of everything else is electrical.
_WITHOUT_PHASE: Final = frozenset({*M3_PER_UNIT, "degC", "EUR"})
# (file, first, second, may they be equal): the second cell must not be before the first.
_IN_ORDER: Final = (
    (GAPS, "from_at", "to_at", False),
    (MANUAL_EDITS, "from_at", "to_at", True),
    (MEASURES, "baseline_start_on", "baseline_end_on", False),
    (MEASURES, "baseline_end_on", "reporting_start_on", True),
    (MEASURES, "reporting_start_on", "reporting_end_on", False),
    (TARIFFS, "valid_from_on", "valid_to_on", False),
    (TARIFFS, "from_local_time", "to_local_time", False),
)
# What the figures of a register are made with: while a row of it is faulty, they may be wrong.
DECIDING: Final = (EXCHANGES, MANUAL_EDITS)


def check_rows(rows: Rows, field_problem: FieldProblem | None = None) -> None:
    """Check everything, leave out what is faulty and what depends on it, complete the rest.

    Args:
        rows: of all files; what is found is noted there.
        field_problem: what the vendor of the streams takes in a field; None: not checked.
    """
    _check_keys(rows)
    _check_vendor_ids(rows)
    _check_order(rows)
    _check_registers(rows)
    _check_phases(rows)
    _check_manual_edits(rows)
    _pass_on(rows)
    _complete(rows)
    check_streams(rows, doubtful_registers(rows), field_problem)


def doubtful_registers(rows: Rows) -> dict[str, str]:
    """Return the registers whose figures may be wrong: each with the place of the fault."""
    return {
        row.values["register_id"]: row.because
        for layout in DECIDING
        for row in rows.of[layout.file]
        if row.because is not None
    }


def _check_keys(rows: Rows) -> None:
    for layout in FILES:
        seen: dict[tuple[Any, ...], Row] = {}
        for row in rows.of[layout.file]:
            key = tuple(row.values[name] for name in layout.table.key)
            if None in key:
                continue
            if key in seen:
                shown = ", ".join(str(value) for value in key)
                _refuse_second(
                    rows,
                    seen[key],
                    row,
                    "+".join(layout.table.key),
                    f"{shown!r} stands in line {seen[key].line} already: keep one of the two",
                )
            seen.setdefault(key, row)


def _check_vendor_ids(rows: Rows) -> None:
    for layout in FILES:
        seen: dict[tuple[str, str], Row] = {}
        for row in rows.of[layout.file]:
            for vendor, vendor_id in row.vendor_ids.items():
                first = seen.setdefault((vendor, vendor_id), row)
                if first is not row:
                    _refuse_second(
                        rows,
                        first,
                        row,
                        f"{layout.thing}_id_{vendor}",
                        f"{vendor_id!r} stands in line {first.line} already: give it to the one"
                        f" {layout.thing} it is",
                    )


def _refuse_second(rows: Rows, first: Row, second: Row, columns: str, message: str) -> None:
    """Note the fault at the second row, and use neither."""
    rows.refuse(second, columns, message)
    first.leave_out(rows.problems[-1].place)
    first.is_ambiguous = second.is_ambiguous = True


def _check_order(rows: Rows) -> None:
    for layout, first, second, may_be_equal in _IN_ORDER:
        for row in rows.of[layout.file]:
            start, end = row.values[first], row.values[second]
            if start is None or end is None or end > start or (may_be_equal and end == start):
                continue
            relation = "before" if may_be_equal else "not after"
            rows.refuse(row, second, f"{end} is {relation} {first} {start}: correct one of them")


def _check_registers(rows: Rows) -> None:
    for row in rows.of[REGISTERS.file]:
        phase, unit = row.values["phase"], row.values["unit"]
        if phase is not None and unit in _WITHOUT_PHASE:
            rows.refuse(
                row,
                "phase",
                f"{phase!r} does not fit the unit {unit}, only electrical quantities have a"
                " phase: leave the cell empty, or correct the unit",
            )


def _check_phases(rows: Rows) -> None:
    """Refuse what would count twice: a phase's energy beside the energy of all phases."""
    counters = [
        row
        for row in rows.of[REGISTERS.file]
        if row.values["is_primary"]
        and row.values["kind"] in ("cumulative", "interval")
        and row.values["unit"] in KWH_PER_UNIT
    ]
    totals = {
        (row.values["meter_id"], row.values["role"]): row
        for row in counters
        if row.values["phase"] is None and row.because is None
    }
    for row in counters:
        phase = row.values["phase"]
        if phase is not None and (
            total := totals.get((row.values["meter_id"], row.values["role"]))
        ):
            rows.refuse(
                row,
                "is_primary",
                f"the energy of {phase} is within that of {total.values['register_id']} in line"
                f" {total.line} and would count twice: write false",
            )


def _check_manual_edits(rows: Rows) -> None:
    for row in rows.of[MANUAL_EDITS.file]:
        # A value that could not be read is a fault already.
        is_replacing = row.values["action"] == "replace" and row.because is None
        if is_replacing and row.values["reading_native"] is None:
            rows.refuse(
                row, "reading_native", "the action replace needs a value: write what it shows"
            )


def _pass_on(rows: Rows) -> None:
    """Leave out rows that name what is not there, or what is left out; parents come first."""
    for layout in FILES:
        for column, file in layout.refers_to.items():
            parents = {row.values[column]: row for row in rows.of[file]}
            # Of rows with one id both are left out, so any of them will do.
            for row in rows.of[layout.file]:
                named = row.values[column]
                if named is None:
                    continue
                if named in parents:
                    if because := parents[named].because:
                        row.leave_out(because)
                elif because := rows.partly_read.get(file):
                    # The id may stand in a row that could not be read; that is reported already.
                    row.leave_out(because)
                else:
                    rows.refuse(
                        row, column, f"{named!r} is not in {file}: add it there, or correct it here"
                    )


def _complete(rows: Rows) -> None:
    """Add what a register has from its meter and its site, and a tariff from its site."""
    sites = {row.values["site_id"]: row.values for row in rows.used(SITES)}
    for row in rows.used(TARIFFS):
        row.values["currency"] = row.values["currency"] or sites[row.values["site_id"]]["currency"]
    meters = {row.values["meter_id"]: row.values for row in rows.used(METERS)}
    for row in rows.used(REGISTERS):
        meter = meters[row.values["meter_id"]]
        site = sites[meter["site_id"]]
        row.values |= {
            "site_id": site["site_id"],
            "zone": site["zone"],
            "commodity": meter["commodity"],
        }
