"""SmartgridOne: controllers at sites, the devices under them, their telemetry and licences.

Document: the vendor's API page "SmartgridOne Api, License" and its OpenAPI document "Eniris
Metadata & Telemetry Query API" 1.0.0.
Base URL: https://api.eniris.be; login at https://authentication.eniris.be.
Auth: username and password for a refresh token (14 days), that for an access token (10 minutes).
Limits: cost per minute of telemetry, told in each answer; the formula is not public. An overdrawn
budget is answered 429, ignoring that ten times in a minute ends in a ban of 300 s.
Left open by the documents, modelled and not verified: which property tells installed power, the
unit of a licence's duration, how a second factor is told, that a customer is a company by its uuid.
Known from public clients only: names of properties and fields, tags of `nodeInfluxSeries`.
"""

from energy_etl.tables.core import READING
from energy_etl.vendors import Vendor
from energy_etl.vendors.smartgridone.change_rows import to_batch
from energy_etl.vendors.smartgridone.change_tables import CHANGE
from energy_etl.vendors.smartgridone.inventory import fetch_listing
from energy_etl.vendors.smartgridone.licence_mart import CHECK, FINDINGS, MART
from energy_etl.vendors.smartgridone.preview import preview_past
from energy_etl.vendors.smartgridone.reach import REACH
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings, sandbox_section
from energy_etl.vendors.smartgridone.tables import SMARTGRIDONE_TABLES
from energy_etl.vendors.smartgridone.to_core import NAME, find_unmapped, propose, to_core

VENDOR = Vendor(
    name=NAME,
    title="SmartgridOne",
    document="SmartgridOne Api, License, and Eniris Metadata & Telemetry Query API 1.0.0",
    tables=(*SMARTGRIDONE_TABLES, CHANGE),
    settings=SmartgridOneSettings,
    to_batch=to_batch,
    to_core=to_core,
    propose=propose,
    unmapped=find_unmapped,
    feeds=(READING,),
    sandbox=sandbox_section,
    fetch_listing=fetch_listing,
    marts=(MART,),
    findings=FINDINGS,
    checks=(CHECK,),
    preview=preview_past,
    reach=REACH,
)
