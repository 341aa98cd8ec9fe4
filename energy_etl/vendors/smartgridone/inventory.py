"""What SmartgridOne lists: devices, roles, monitors, companies, and the licences of each."""

from collections.abc import Sequence
from typing import Any

from energy_etl.rest import FetchReport, Job, Progress, RawCall, RequestLog, fetch_all
from energy_etl.settings import Settings
from energy_etl.vendors.page_rows import read_objects
from energy_etl.vendors.smartgridone.client import SmartgridOneClient
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings
from energy_etl.vendors.smartgridone.wire import Company, Device, list_of


def fetch_inventory(
    client: SmartgridOneClient,
    *,
    skip_hash: str | None = None,
    controllers: Sequence[str] = (),
    with_licences: bool = True,
    progress: Progress | None = None,
) -> FetchReport:
    """Fetch devices, roles, monitors and companies, then the licences of each.

    Args:
        client: asked with `max_parallel` calls at once.
        skip_hash: `rows.skip_hash_of` of what is stored: devices are sent only if one has changed.
        controllers: node ids of the controllers stored, for when no device has changed.
        with_licences: False leaves out one call per controller and customer.
        progress: called with (finished, all) of the licence calls.
    """
    jobs = [
        Job("devices", lambda: client.fetch_devices(skip_hash=skip_hash)),
        Job("roles", client.fetch_roles),
        Job("monitors", client.fetch_monitors),
        Job("companies", client.fetch_companies),
    ]
    report = fetch_all(jobs, max_parallel=client.settings.max_parallel)
    if report.stopped_by is not None or not with_licences:
        return report
    answered = client.log.calls()
    jobs = [
        Job(f"licences of controller {n}", lambda n=n: client.fetch_controller_licenses(n))
        for n in _controllers(answered) or controllers
    ]
    jobs += [
        Job(f"licences of customer {c}", lambda c=c: client.fetch_customer_licenses(c))
        for c in _customers(answered)
    ]
    report.merge(fetch_all(jobs, max_parallel=client.settings.max_parallel, progress=progress))
    return report


def _controllers(calls: Sequence[RawCall]) -> list[str]:
    """Return the controllers of the device lists; what cannot be read is told by `rows.py`."""
    devices: list[Device] = _objects(calls, "device/query", "device", Device)
    nodes = {each.properties.node_id for each in devices if each.properties.is_controller}
    return sorted(node for node in nodes if node)


def _customers(calls: Sequence[RawCall]) -> list[str]:
    companies: list[Company] = _objects(calls, "company", "company", Company)
    return sorted({company.uuid for company in companies if company.uuid})


def _objects(calls: Sequence[RawCall], endpoint: str, member: str, model: Any) -> list[Any]:
    mine = [call for call in calls if call.endpoint == endpoint]
    found = read_objects(mine, model, lambda answer: list_of(answer, member))
    return [sent for _, _, sent in found.good]


def fetch_listing(settings: Settings) -> list[RawCall]:
    """Fetch what a portfolio can be proposed from: the devices.

    Raises:
        VendorError: SmartgridOne could not be asked.
    """
    log = RequestLog("smartgridone")
    with open_client(settings, log) as client:
        client.fetch_devices()
    return log.calls()


def open_client(settings: Settings, log: RequestLog) -> SmartgridOneClient:
    """Return a client of the project's settings; close it, or use it in a `with`.

    Raises:
        ConfigurationError: a credential is missing, or the token folder is open to others.
    """
    return SmartgridOneClient(
        settings.section(SmartgridOneSettings),
        log=log,
        state_path=settings.state_path,
        token_folder=settings.token_dir,
    )
