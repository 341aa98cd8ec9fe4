"""Wattsense: boxes whose properties are read at irregular instants.

Document: "Wattsense API Version 2019-04.300", the vendor's API pages, release 2020-12-16.03.
Base URL: https://api.wattsense.com, resources under /v1; bare JSON lists, 204 when there is none.
Auth: HMAC-SHA512 over method, path, query, body and time stamp with an API key, or Basic of a user
or of a service account for which it was switched on (`energy_etl/auth`).
Limits: 2500 calls in 5 minutes, 100 of them on configurations.
Names of three API versions are read into the same columns (`names.py`).
Left open by the document, modelled and not verified: error bodies, whether `until` includes its
instant (taken as not), `scaling` as a*x+b; paths (`client.py`) and members (`wire_access.py`) of
organizations, users, service accounts, keys and roles; the spelling of privileges (`names.py`).
"""

from energy_etl.tables.core import READING
from energy_etl.vendors import Vendor
from energy_etl.vendors.wattsense.access import ACCESS_FINDINGS, ACCESS_MART
from energy_etl.vendors.wattsense.client import fetch_listing
from energy_etl.vendors.wattsense.preview import preview_past
from energy_etl.vendors.wattsense.reach import REACH
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
    marts=(ACCESS_MART,),
    findings=ACCESS_FINDINGS,
    preview=preview_past,
    reach=REACH,
)
