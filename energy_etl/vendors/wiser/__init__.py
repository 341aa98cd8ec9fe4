"""Wiser Energy Monitoring (Schneider Electric): what a customer has, from location to device.

Document: "Wiser Energy Monitoring Cloud API", the overview in the vendor's developer portal.
Base URL: https://api.exchange.se.com; only metadata is offered, no readings.
Auth: OAuth2 authorisation code of the customer's consent (`energy-etl wiser authorize`), client id
and secret in the form; the access token lasts an hour and is renewed by the refresh token.
Limits: none is documented; `wiser.calls_per_minute` is ours, one call per second.
Left open by the document, modelled after the vendor's sibling APIs and not verified: host, paths
(`settings.py`, `client.py`), fields (`wire.py`), rotation of the refresh token, PKCE, both forms of
lists, error bodies.
"""

from energy_etl.vendors import Vendor
from energy_etl.vendors.wiser.client import fetch_listing
from energy_etl.vendors.wiser.mapping import NAME, find_unmapped, propose
from energy_etl.vendors.wiser.preview import preview_past
from energy_etl.vendors.wiser.reach import REACH
from energy_etl.vendors.wiser.rows import to_batch
from energy_etl.vendors.wiser.settings import WiserSettings, sandbox_section
from energy_etl.vendors.wiser.tables import WISER_TABLES
from energy_etl.vendors.wiser.tree import FINDINGS, MARTS

VENDOR = Vendor(
    name=NAME,
    title="Wiser",
    document="Wiser Energy Monitoring Cloud API",
    tables=WISER_TABLES,
    settings=WiserSettings,
    to_batch=to_batch,
    propose=propose,
    unmapped=find_unmapped,
    sandbox=sandbox_section,
    fetch_listing=fetch_listing,
    marts=MARTS,
    findings=FINDINGS,
    preview=preview_past,
    reach=REACH,
)
