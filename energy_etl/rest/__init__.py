"""HTTP for extraction: everything that is the same whichever vendor is called.

    client.py       RestClient: quotas, retries, auth flows, errors
    urls.py         ids in a path, and a vendor's base address
    failures.py     what a failed call means, as one error and one sentence
    transport.py    one deadline and one size for each exchange
    connections.py  connections kept open, with the exchange's seconds and bytes counted below them
    request_log.py  each call a row of raw.request, each answer one of raw.body
    redaction.py    what must not be stored or shown
    secrets.py      the values of a project that are secret
    webhook.py      the address that is told of failures; no vendor
    jobs.py         many calls at once
    closing.py      what is closed at the end of a `with`
    dates.py        instants in headers

What differs between vendors is in `vendors/`; delivery has a transport of its own.
"""

from energy_etl.rest.client import Answer, RestClient
from energy_etl.rest.closing import Closing
from energy_etl.rest.jobs import FetchReport, Job, Progress, fetch_all
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.request_log import RawCall, RequestLog
from energy_etl.rest.transport import Limits
from energy_etl.rest.urls import build_path

__all__ = [
    "Answer",
    "Closing",
    "FetchReport",
    "Job",
    "Limits",
    "Progress",
    "RawCall",
    "Redactor",
    "RequestLog",
    "RestClient",
    "build_path",
    "fetch_all",
]
