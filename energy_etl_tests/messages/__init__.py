"""The table of every message that a user can meet: what, where, next, and what shows it.

`source.py` reads the package's syntax trees, `sites.py` finds the messages in them; `messages.csv`
has one row for each; `walk.py` holds the cases that provoke them through the command line;
`page.py` writes docs/messages.md: `python -m energy_etl_tests.messages`.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("messages.csv")
# `shown_by` of what a case of `walk.py` provokes.
WALK = "walk"


@dataclass(frozen=True)
class Row:
    """One message.

    Attributes:
        module: where it is made, below `energy_etl/`.
        starts: what its text begins with, enough to tell it from the others of the module.
        next_step: what its advice begins with, which goes on to the end of the text; empty where
            the advice stands apart (rows of `doctor`, findings). Behind a `=` stands what to do in
            words of this table, where a message passes on another one; `{@rest/webhook.py}` stands
            for the next steps of that module's messages.
        shown_by: the id of a test that provokes it, or `WALK`.
        apart: why nobody meets it as a message of its own: it is a part of another one, or only a
            programmer meets it; then it needs no next step and no test.
    """

    module: str
    starts: str
    next_step: str = ""
    shown_by: str = ""
    apart: str = ""


def read_rows() -> tuple[Row, ...]:
    """Return the rows of the table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(Row(**row) for row in csv.DictReader(file))
