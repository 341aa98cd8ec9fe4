"""Readings in any order and any number of versions -> one sorted value per register and instant.

Nothing is judged here: nulls and impossible values pass, `cleaning.py` names them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from energy_etl.errors import TransformError
from energy_etl.transform.cleaning_story import Ints
from energy_etl.transform.runs import number_runs, spread

NEEDED_COLUMNS: Final = ("register_id", "read_at", "reading_native", "version")
# Readings worked on at once: what bounds the memory beside input and output.
CHUNK_READINGS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class OrderedReadings:
    """The newest version of each reading, sorted.

    Attributes:
        frame: `at_us` (Int64), `reading` (Float64), `is_corrected` (Boolean).
        start: first row of each register, in the order of the ids given.
        n_rows: rows of each register.
    """

    frame: pl.DataFrame
    start: Ints
    n_rows: Ints

    def chunks(self, codes: Sequence[int]) -> Iterator[tuple[list[int], pl.DataFrame]]:
        """Yield the registers of `codes` that have readings, in groups of bounded size.

        Yields:
            The codes of the group, and their readings with `register` (Int64, counted from 0
            within the group).
        """
        group: list[int] = []
        size = 0
        for code in codes:
            if not self.n_rows[code]:
                continue
            group.append(code)
            size += int(self.n_rows[code])
            if size >= CHUNK_READINGS:
                yield group, self._rows_of(group)
                group, size = [], 0
        if group:
            yield group, self._rows_of(group)

    def _rows_of(self, codes: list[int]) -> pl.DataFrame:
        slices: list[tuple[int, int]] = []
        for code in codes:
            start, n = int(self.start[code]), int(self.n_rows[code])
            if slices and sum(slices[-1]) == start:
                slices[-1] = (slices[-1][0], slices[-1][1] + n)
            else:
                slices.append((start, n))
        rows = pl.concat([self.frame.slice(start, n) for start, n in slices])
        register = pl.Series("register", np.repeat(np.arange(len(codes)), self.n_rows[codes]))
        return rows.hstack([register])


def order_readings(readings: pl.DataFrame, register_ids: Sequence[str]) -> OrderedReadings:
    """Sort readings by register and instant; of several versions the highest counts.

    Args:
        readings: `NEEDED_COLUMNS` of `core.reading`, in any order, repeated or not.
        register_ids: the registers wanted, unique; readings of others are left out.

    Returns:
        One value per register and instant; a function of the set of readings.

    Raises:
        TransformError: a column is missing, or `read_at` is no UTC instant.
    """
    missing = [name for name in NEEDED_COLUMNS if name not in readings.columns]
    if missing:
        raise TransformError(
            f"The readings lack the columns {', '.join(missing)}; hand over rows of core.reading."
        )
    zone = getattr(readings.schema["read_at"], "time_zone", None)
    if zone != "UTC":
        raise TransformError(
            f"read_at of the readings has the type {readings.schema['read_at']}; "
            "make it an instant in UTC before the registers are computed."
        )
    known = pl.DataFrame(
        {"register_id": register_ids, "number": np.arange(len(register_ids), dtype=np.int32)},
        schema_overrides={"register_id": pl.String},
    )
    first, codes = number_runs(readings, known)
    frame = readings.select(
        pl.col("read_at").dt.cast_time_unit("us").to_physical().alias("at_us"),
        pl.col("reading_native").cast(pl.Float64).alias("reading"),
        "version",
    )
    counts = np.zeros(len(register_ids), dtype=np.int64)
    if _is_ordered(frame["at_us"].to_numpy(), first, codes):
        counts[codes.to_numpy()] = np.diff(first, append=frame.height)
    else:
        frame = frame.with_columns(code=spread(codes, first, frame.height))
        frame = _sorted_unique(frame.drop_nulls("code"))
        np.add.at(counts, frame["code"].to_numpy(), 1)
    return OrderedReadings(
        frame.select("at_us", "reading", (pl.col("version") > 1).alias("is_corrected")),
        np.cumsum(counts) - counts,
        counts,
    )


def _is_ordered(at_us: Ints, first: Ints, codes: pl.Series) -> bool:
    """Say whether each register is one run, in the order of the codes, its instants ascending."""
    if codes.null_count() or not (np.diff(codes.to_numpy()) > 0).all():
        return False
    is_first = np.zeros(len(at_us), dtype=bool)
    is_first[first] = True
    return bool((is_first[1:] | (at_us[1:] > at_us[:-1])).all())


def _sorted_unique(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.sort("code", "at_us", "version", "reading")
    code, at = pl.col("code"), pl.col("at_us")
    is_newest = ((code != code.shift(-1)) | (at != at.shift(-1))).fill_null(True)
    return frame.filter(is_newest)
