"""`Problem`: one fault of the portfolio's files, where it is and what to write instead."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SHOWN: Final = 50


@dataclass(frozen=True)
class Problem:
    """One fault.

    Attributes:
        file: the file's name.
        line: its line; 1 is the header, 0 stands for the file as a whole.
        columns: the column or columns, separated by `+` or a comma; empty: the whole line.
        message: a sentence that names file, line, column and value, and what to write instead.
    """

    file: str
    line: int
    columns: str
    message: str

    @property
    def place(self) -> str:
        """Where it is, for people: `sites.csv line 3, column zone`."""
        return place_of(self.file, self.line, self.columns)


def place_of(file: str, line: int, columns: str) -> str:
    """Return a place in a file as people read it."""
    at_line = f"{file} line {line}" if line else file
    return f"{at_line}, column {columns}" if columns else at_line


def list_of(folder: Path, problems: Iterable[Problem]) -> str:
    """Return the text of an error that lists the problems of a folder, one per line."""
    messages = [problem.message for problem in problems]
    noun = "problem" if len(messages) == 1 else "problems"
    more = len(messages) - _SHOWN
    return "\n".join(
        [
            f"The portfolio in {folder} has {len(messages)} {noun}:",
            *(f"- {message}" for message in messages[:_SHOWN]),
            *([f"- and {more} more."] if more > 0 else []),
        ]
    )
