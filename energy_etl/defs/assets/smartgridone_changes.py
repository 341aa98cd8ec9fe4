"""Group `smartgridone`, the record of what was changed there; `defs/changes.py` writes it."""

import dagster as dg

from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.resources import Etl
from energy_etl.vendors.smartgridone.change_tables import CHANGE

_COUNTS = """
SELECT count(*) AS n_changes, count(*) FILTER (outcome = 'unknown') AS n_unknown,
    max(begun_at) AS last_at FROM smartgridone.change
"""


@dg.multi_asset(
    name="smartgridone_changes",
    pool="smartgridone",
    specs=[
        table_spec(
            CHANGE,
            note="Written at the moment of each change by the jobs activate_license, "
            "claim_license and update_device and by the command line; this step only counts.",
        )
    ],
)
@plainly
def recorded_changes(etl: Etl) -> dg.MaterializeResult:
    """How many changes are on record, and of how many nobody knows what became."""
    counts = etl.warehouse().read(_COUNTS).row(0, named=True)
    last_at = counts["last_at"]
    return materialized(
        CHANGE,
        rows=counts["n_changes"],
        unknown=counts["n_unknown"],
        last_change=last_at.isoformat() if last_at else None,
    )
