"""Wattics: the only vendor that data is sent to.

Document: Wattics' API page ("Wattics Energy Management Software API"); what it leaves open is taken
from the vendor's public clients (Ruby, Java, Swarm), and of the read and management API, to which
the page only refers, from public clients of the developer pages.

| | |
|---|---|
| production | https://web-collector.wattics.com/measurements/v2/unifiedjson/ |
| development | another host, which has changed before: set `collector_url` |
| auth | HTTP Basic over https; credentials per meter, end-user, site or partner: several at once |
| push | POST, one packet per request, one line of JSON, strictly by time per stream |
| session | cookies and connections are kept; one session per credential |
| last packet | GET with `?stream=ID` |
| read and management API | https://api.wattics.com/api/v1, `Authorization: <API token>` as it is |
| its limits | raw data in windows of at most 90 days; `calls_per_minute` is ours |
| interval | agreed per stream; a packet that does not come raises a notification there |
| files | CSV and ini of the vendor's app Swarm, JSON lines: `files.py`, `energy-etl push csv` |

Open in the document, and what is done: the statuses beside 200 and 401 (`ON_REFUSAL` in
`settings.py`); the shape of the last packet (read as the packet that was pushed; 404, an empty
answer, 1970 and `Invalid Date` are "none yet"); what happens to packets out of order (never sent,
but for streams that are historical by agreement, and there the oldest first).
What the read API leaves open is listed in `api_wire.py`. Its consumptions say "Watt" for an energy:
they are stored as Wh. Beside what it lists and holds (`tables.py`), `holdings.py` compares what was
pushed with what Wattics says it holds.
"""

from typing import Final

from energy_etl.vendors import Vendor
from energy_etl.vendors.wattics.holdings import FINDINGS, MART
from energy_etl.vendors.wattics.preview import preview_past
from energy_etl.vendors.wattics.reach import REACH
from energy_etl.vendors.wattics.rows import to_batch
from energy_etl.vendors.wattics.settings import WatticsSettings, sandbox_section
from energy_etl.vendors.wattics.tables import WATTICS_TABLES

VENDOR: Final = Vendor(
    name="wattics",
    title="Wattics",
    document="Wattics Energy Management Software API",
    tables=WATTICS_TABLES,
    settings=WatticsSettings,
    to_batch=to_batch,
    sandbox=sandbox_section,
    marts=(MART,),
    findings=FINDINGS,
    preview=preview_past,
    reach=REACH,
)
