"""HTTP for extraction: everything that is the same whichever vendor is called.

    client.py       RestClient: URLs, quotas, retries, errors; the only maker of httpx clients
    failures.py     what a failed call means, as one error and one sentence
    transport.py    one deadline and one size for each exchange
    request_log.py  each call a row of raw.request, each answer one of raw.body
    redaction.py    what must not be stored or shown
    jobs.py         many calls at once

What differs between vendors is in `vendors/`; delivery has a transport of its own.
"""

from energy_etl.rest.client import Answer, RestClient, build_path
from energy_etl.rest.jobs import FetchReport, Job, fetch_all
from energy_etl.rest.redaction import Redactor
from energy_etl.rest.request_log import RawCall, RequestLog
from energy_etl.rest.transport import Limits

__all__ = [
    "Answer",
    "FetchReport",
    "Job",
    "Limits",
    "RawCall",
    "Redactor",
    "RequestLog",
    "RestClient",
    "build_path",
    "fetch_all",
]
