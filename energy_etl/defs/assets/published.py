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
    """`data/energy.duckdb`: what people open while runs write, with every table but raw.

    Big tables are views on the Parquet files in `data/published/`. A reader sees one generation of
    all of them, never a mixture. Ask it with `energy-etl sql`, or open it read-only.
    """
    report = publish(etl.warehouse(), data_dir=etl.settings().data_dir)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(report.energy_path)),
            "generation": report.generation,
            "is_changed": report.is_changed,
            "files_written": report.n_files_written,
            "files_deleted": report.n_files_deleted,
        }
    )
