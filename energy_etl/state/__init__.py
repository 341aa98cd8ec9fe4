"""`state.sqlite`: what processes must agree on. Changed windows, facts; the outbox stands here too.

`file.py` opens the file and guards its transactions, `marks.py` keeps the changed windows,
`facts.py` single facts, `care.py` gives back space, copies files and looks for damage.

Not here: energy data (`warehouse/`), packets (`delivery/outbox.py` makes its own tables through
`connect`).
"""

from energy_etl.state.care import (
    copy_state,
    find_damage,
    give_back_space,
    restore_state,
    rows_as_text,
)
from energy_etl.state.facts import get_fact, set_fact
from energy_etl.state.file import (
    BUSY_TIMEOUT_S,
    connect,
    instant_to_us,
    open_state,
    path_of,
    transaction,
    us_to_instant,
    writer_pid,
)
from energy_etl.state.marks import Mark, Marks, MarkSummary, Waiting, Window

__all__ = [
    "BUSY_TIMEOUT_S",
    "Mark",
    "MarkSummary",
    "Marks",
    "Waiting",
    "Window",
    "connect",
    "copy_state",
    "find_damage",
    "get_fact",
    "give_back_space",
    "instant_to_us",
    "open_state",
    "path_of",
    "restore_state",
    "rows_as_text",
    "set_fact",
    "transaction",
    "us_to_instant",
    "writer_pid",
]
