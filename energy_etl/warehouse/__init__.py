"""The warehouse: one DuckDB file, frames in, frames out; the only importer of duckdb.

`sql.py` quotes names, `connection.py` opens the file and waits for its lock, `store.py` has
`Warehouse`, `writing.py` has `Writer` (`batch.py` checks its frames, `change.py` says what it did),
`listing.py` keeps versions in time; `publishing.py`, `generation.py` and `people.py` make what
people open. No vendor, no transform and no column is known here: tables come in as
`energy_etl.tables.Table`.
"""

from energy_etl.warehouse.batch import checked, without_repeats
from energy_etl.warehouse.change import Change, combined
from energy_etl.warehouse.listing import write_listing
from energy_etl.warehouse.people import count_published, read_published, reading_published
from energy_etl.warehouse.publishing import PublishReport, publish
from energy_etl.warehouse.store import Reader, Warehouse
from energy_etl.warehouse.writing import Writer

__all__ = [
    "Change",
    "PublishReport",
    "Reader",
    "Warehouse",
    "Writer",
    "checked",
    "combined",
    "count_published",
    "publish",
    "read_published",
    "reading_published",
    "without_repeats",
    "write_listing",
]
