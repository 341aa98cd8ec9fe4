"""Marks around a step: read before the data, cleared after the commit, one step at a time.

A step reads its marks first and its rows second. Whoever wrote a mark held the warehouse's lock
until its rows were committed, so the rows of every mark that was read are there, and a mark that
comes later stays for the next run. Steps of one pool never overlap, so an older computation
cannot overwrite a newer one.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import polars as pl

from energy_etl.state import Mark, Marks, Window, open_state
from energy_etl.warehouse import Change

# One computation at a time.
POOL: Final = "compute"


@dataclass(frozen=True, slots=True)
class Step:
    """The marks of one stage that a step found."""

    found: list[Mark]

    @property
    def register_ids(self) -> set[str]:
        """The registers (or meters) that are marked."""
        return {mark.register_id for mark in self.found}


@contextmanager
def step_of(state_path: Path, stage: str) -> Iterator[Step]:
    """Hand out a stage's marks and clear them when the block ends well."""
    with open_state(state_path) as connection:
        step = Step(Marks(connection).windows(stage))
    yield step
    if step.found:
        with open_state(state_path) as connection:
            Marks(connection).clear(stage, step.found[-1].mark_id)


def mark_for(state_path: Path, stage: str, windows: Iterable[Window]) -> None:
    """Mark windows for a stage; to be called inside the warehouse's transaction."""
    with open_state(state_path) as connection:
        Marks(connection).mark(stage, windows)


def windows_of(change: Change, vendor: str = "") -> list[Window]:
    """Turn what a write changed per register into windows to mark (the end made exclusive)."""
    if change.windows.is_empty():
        return []
    merged = change.windows.group_by("register_id").agg(
        pl.col("from_at").min(), pl.col("to_at").max()
    )
    return [
        Window(register_id, from_at, to_at + timedelta(microseconds=1), vendor)
        for register_id, from_at, to_at in merged.sort("register_id").iter_rows()
    ]
