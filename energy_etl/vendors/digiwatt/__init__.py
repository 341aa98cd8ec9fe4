"""Digiwatt: figures and appliance estimates per smart meter, relative to the day of the call.

Document: "Digiwatt Services API documentation (1.0)".
Base URL: none is documented; target live needs `digiwatt.base_url`.
Auth: OAuth2 client credentials at POST /auth/token, `Authorization: {token_type} {access_token}`.
Limits: none is documented; `digiwatt.calls_per_minute` is ours.
Left open by the document, modelled and not verified: all paths but the token's, the inner objects
of lists, the currency (EUR by the settings), error bodies, whether a trend compares with the same
elapsed part of the previous period. Units follow from the document's own samples: kWh, but Wh in
savings.
"""

from energy_etl.tables.core import (
    APPLIANCE_INTERVAL,
    VENDOR_APPLIANCE_FIGURE,
    VENDOR_FIGURE,
    VENDOR_MONTH,
)
from energy_etl.vendors import Vendor
from energy_etl.vendors.digiwatt.drift import SCHEMA_DRIFT_CHECK
from energy_etl.vendors.digiwatt.preview import preview_past
from energy_etl.vendors.digiwatt.reach import REACH
from energy_etl.vendors.digiwatt.reconciliation import MART
from energy_etl.vendors.digiwatt.reconciliation_report import CHECKS, FINDINGS
from energy_etl.vendors.digiwatt.rows import to_batch
from energy_etl.vendors.digiwatt.settings import DigiwattSettings, sandbox_section
from energy_etl.vendors.digiwatt.tables import DIGIWATT_TABLES
from energy_etl.vendors.digiwatt.to_core import NAME, find_unmapped, to_core

VENDOR = Vendor(
    name=NAME,
    title="Digiwatt",
    document="Digiwatt Services API documentation (1.0)",
    tables=DIGIWATT_TABLES,
    settings=DigiwattSettings,
    to_batch=to_batch,
    to_core=to_core,
    unmapped=find_unmapped,
    feeds=(VENDOR_FIGURE, VENDOR_APPLIANCE_FIGURE, APPLIANCE_INTERVAL, VENDOR_MONTH),
    sandbox=sandbox_section,
    marts=(MART,),
    findings=FINDINGS,
    checks=(SCHEMA_DRIFT_CHECK, *CHECKS),
    preview=preview_past,
    reach=REACH,
)
