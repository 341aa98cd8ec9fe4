"""Wattsense: boxes whose properties are read at irregular instants.

Document: "Wattsense API Version 2019-04.300", the vendor's API pages, release 2020-12-16.03.
Base URL: https://api.wattsense.com, resources under /v1; bare JSON lists, 204 when there is none.
Auth: HMAC-SHA512 over method, path, query, body and time stamp with an API key (`auth.py`).
Limits: 2500 calls in 5 minutes, 100 of them on configurations.
Left open by the document, modelled from public clients and not verified: error bodies, whether
`until` includes its instant (taken as not), the body of organizations, `scaling` as a*x+b.
"""

from energy_etl.tables.core import READING
from energy_etl.vendors import Vendor
from energy_etl.vendors.wattsense.client import fetch_listing
from energy_etl.vendors.wattsense.rows import to_batch
from energy_etl.vendors.wattsense.settings import WattsenseSettings, sandbox_section
from energy_etl.vendors.wattsense.tables import WATTSENSE_TABLES
from energy_etl.vendors.wattsense.to_core import NAME, find_unmapped, propose, to_core

VENDOR = Vendor(
    name=NAME,
    title="Wattsense",
    document="Wattsense API Version 2019-04.300 and docs.wattsense.com/api",
    tables=WATTSENSE_TABLES,
    settings=WattsenseSettings,
    to_batch=to_batch,
    to_core=to_core,
    propose=propose,
    unmapped=find_unmapped,
    feeds=(READING,),
    sandbox=sandbox_section,
    fetch_listing=fetch_listing,
)
