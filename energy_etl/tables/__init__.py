"""Every column once: from these come the DDL, the comments, the Polars schemas and the dictionary.

`model.py` has the two classes, `derived.py` those of what is computed from tables, `dictionary.py`
the page `data/README.md`; one module per layer (`raw`, `core`, `mart`, `push`) holds the tables.
A vendor's own tables live in `vendors/<vendor>/tables.py` and are handed in by whoever needs all of
them. No SQL is run here.
"""

from energy_etl.tables.core import CORE_TABLES
from energy_etl.tables.derived import (
    Check,
    Findings,
    Frames,
    Input,
    Mart,
    Plot,
    Query,
    Verdict,
)
from energy_etl.tables.mart import MART_TABLES
from energy_etl.tables.model import Column, Table
from energy_etl.tables.push import MIRROR, PUSH_TABLES
from energy_etl.tables.raw import RAW_TABLES

SHARED_TABLES: tuple[Table, ...] = (*RAW_TABLES, *CORE_TABLES, *MART_TABLES, *PUSH_TABLES, MIRROR)

__all__ = [
    "CORE_TABLES",
    "MART_TABLES",
    "PUSH_TABLES",
    "RAW_TABLES",
    "SHARED_TABLES",
    "Check",
    "Column",
    "Findings",
    "Frames",
    "Input",
    "Mart",
    "Plot",
    "Query",
    "Table",
    "Verdict",
]
