"""Group `published`: the files that people open while runs write."""

import dagster as dg

from energy_etl.defs.failures import plainly
from energy_etl.defs.marks import POOL
from energy_etl.defs.metadata import OWNER, asset_key
from energy_etl.defs.resources import Etl
from energy_etl.tables import MART_TABLES, PUSH_TABLES
from energy_etl.warehouse import publish


@dg.asset(
    key=["published", "energy"],
    group_name="published",
    kinds={"duckdb", "parquet"},
    owners=[OWNER],
    pool=POOL,
    deps=[asset_key(table) for table in (*MART_TABLES, *PUSH_TABLES)],
)
@plainly
def energy(etl: Etl) -> dg.MaterializeResult:
    """`data/energy.duckdb` and `data/published/`: every table but raw, one generation at a time."""
    report = publish(etl.warehouse(), data_dir=etl.settings().data_dir)
    return dg.MaterializeResult(metadata={"generation": report.generation})
