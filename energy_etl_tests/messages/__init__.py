"""The table of every message that a user can meet: what, where, next, and what shows it.

`sites.py` finds the messages in the package's syntax trees; the tables (`TABLES` in `tables.py`)
have one row for each; `walk*.py` provoke them through the command line; `page.py` writes
docs/messages.md from all three.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One message.

    Attributes:
        module: where it is raised, below `energy_etl/`.
        starts: what its text begins with, enough to tell it from the others of the module.
        next_step: the part of the text that says what to do next; empty where the text has a place
            of its own for that (rows of `doctor`, findings).
        shown_by: the id of a test that provokes it, or `WALK`.
        apart: why no user meets it as a message of its own: it is a part of another one, or only
            a programmer meets it; then it needs no next step and no test.
    """

    module: str
    starts: str
    next_step: str = ""
    shown_by: str = ""
    apart: str = ""


# Provoked by a case of `walk.py`.
WALK = "walk"
