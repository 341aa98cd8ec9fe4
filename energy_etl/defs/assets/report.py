"""Group `report`: one HTML file of what is published, for whoever opens no database."""

import dagster as dg

from energy_etl.defs.failures import plainly
from energy_etl.defs.metadata import OWNER
from energy_etl.defs.resources import Etl


@dg.asset(
    key=["report", "energy"],
    group_name="report",
    kinds={"altair", "html"},
    owners=[OWNER],
    deps=[dg.AssetKey(["published", "energy"])],
)
@plainly
def energy_report(etl: Etl) -> dg.MaterializeResult:
    """`data/reports/energy.html`: portfolio, sites, delivery, completeness, licences, findings.

    Made by `daily_report`, not with each computation: the chart library takes seconds to start.
    `energy-etl report` makes it at once.
    """
    # Here: every process that loads assets would pay a second of CPU time for the chart library.
    from energy_etl.defs.reporting import write_report

    written = write_report(etl.settings(), etl.now())
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(written.path)),
            **written.numbers,
            **({"not_read": ", ".join(written.not_read)} if written.not_read else {}),
        }
    )
