"""What must hold between a stream, its further fields and the registers that feed them.

A stream of which any row is faulty waits as a whole: a packet without one of its fields, once
sent, could not be taken back. Which fields a packet can have is the vendor's to say
(`FieldProblem`): it is handed in by whoever loads a portfolio to push from it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from energy_etl.portfolio.layout import FROM_FILES, REGISTERS, STREAM_FIELDS, STREAMS
from energy_etl.portfolio.rows import Row, Rows
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT

# (field, content, commodity, unit, number of fields of the packet) -> why it cannot be, or None.
FieldProblem = Callable[[str, str, str | None, str | None, int], str | None]


def check_streams(
    rows: Rows, doubtful: Mapping[str, str], field_problem: FieldProblem | None
) -> None:
    """Check that each stream's registers can give what it carries, and give it right.

    Args:
        rows: of all files, checked and completed but for the streams.
        doubtful: registers whose figures may be wrong -> the place of the fault.
        field_problem: see `check_rows`.
    """
    registers = {row.values["register_id"]: row.values for row in rows.used(REGISTERS)}
    streams = {row.values["stream_id"]: row for row in rows.used(STREAMS)}
    n_further = Counter(row.values["stream_id"] for row in rows.of[STREAM_FIELDS.file])
    for row in streams.values():
        register = registers.get(row.values["register_id"])
        if register is None or row.values["content"] == FROM_FILES:
            _check_fed_by_files(rows, row)
        elif row.values["zone"] is not None:
            rows.refuse(
                row,
                "zone",
                "the times of a register are those of its site: leave the cell empty",
            )
        _check_feed(rows, row, row, register, 1 + n_further[row.values["stream_id"]], field_problem)
    for row in rows.used(STREAM_FIELDS):
        stream = streams[row.values["stream_id"]]
        if stream.because is not None:
            # What is wrong with the stream comes first; the row is left out with it.
            continue
        register = registers[row.values["register_id"]]
        if stream.values["register_id"] is None:
            rows.refuse(
                row,
                "stream_id",
                "files feed this stream, and bring all its fields: take the row out, or name the"
                " register of its own field in streams.csv",
            )
        elif stream.values["field"] == row.values["field"]:
            rows.refuse(
                row,
                "field",
                f"{row.values['field']!r} is the stream's own field in streams.csv: keep one of"
                " the two",
            )
        _check_feed(
            rows, row, stream, register, 1 + n_further[row.values["stream_id"]], field_problem
        )
    for row in (*rows.used(STREAMS), *rows.used(STREAM_FIELDS)):
        if because := doubtful.get(row.values["register_id"]):
            row.leave_out(because)
    _wait_together(rows)


def _check_fed_by_files(rows: Rows, row: Row) -> None:
    if row.values["content"] != FROM_FILES:
        rows.refuse(
            row,
            "register_id",
            f"the cell is empty: name the register, or write content {FROM_FILES} for a stream that"
            " files feed",
        )
    elif row.values["register_id"] is not None:
        rows.refuse(
            row,
            "content",
            f"{FROM_FILES!r} is for a stream that files feed: leave register_id empty, or write"
            " what the register gives",
        )
    elif row.values["zone"] is None:
        rows.refuse(
            row,
            "zone",
            "the cell is empty: write the zone of the local times in its files, such as"
            " Europe/Berlin",
        )


def _check_feed(
    rows: Rows,
    row: Row,
    stream: Row,
    register: Mapping[str, Any] | None,
    n_fields: int,
    field_problem: FieldProblem | None,
) -> None:
    """Check that a register can give what a field carries; `row` says which, of its stream."""
    content = row.values["content"]
    if row.because is None and register is not None:
        _check_register(rows, row, stream, register)
    if row.because is None and field_problem is not None:
        given = register or {"commodity": None, "unit": None}
        problem = field_problem(
            row.values["field"], content, given["commodity"], given["unit"], n_fields
        )
        if problem is not None:
            rows.refuse(row, "field", problem.removesuffix("."))


def _check_register(rows: Rows, row: Row, stream: Row, register: Mapping[str, Any]) -> None:
    content, grid = row.values["content"], register["grid_minutes"]
    interval = stream.values["interval_minutes"]
    if interval % grid:
        rows.refuse(
            row,
            "interval_minutes" if row is stream else "register_id",
            f"{interval} is no multiple of the register's grid of {grid} minutes, and a stream"
            " cannot be finer than what is measured: write a multiple of it",
        )
    is_counter = register["kind"] == "cumulative" and register["unit"] in KWH_PER_UNIT
    if content == "cumulative_wh" and not is_counter:
        rows.refuse(
            row,
            "content",
            "'cumulative_wh' needs a cumulative energy register: write interval, or name another"
            " register",
        )
    # The energy of a power register can be pushed as its power can.
    is_power = register["unit"] in KW_PER_UNIT and content == "interval"
    if (content == "sample") != (register["kind"] == "instant") and not is_power:
        rows.refuse(
            row,
            "content",
            f"{content!r} does not fit a register of kind {register['kind']}: write sample"
            " for instant ones, interval or cumulative_wh for others",
        )


def _wait_together(rows: Rows) -> None:
    """Leave out every row of a stream of which one is left out."""
    of_stream = {row.values["stream_id"]: row for row in rows.of[STREAMS.file]}
    if because := rows.partly_read.get(STREAM_FIELDS.file):
        # A field of any stream may stand in a line that could not be read.
        for row in rows.used(STREAMS):
            if row.values["register_id"] is not None:
                row.leave_out(because)
    for row in rows.of[STREAM_FIELDS.file]:
        stream = of_stream.get(row.values["stream_id"])
        if stream is not None and row.because is not None:
            stream.leave_out(row.because)
    for row in rows.of[STREAM_FIELDS.file]:
        stream = of_stream.get(row.values["stream_id"])
        if stream is not None and stream.because is not None:
            row.leave_out(stream.because)
