"""What every vendor's client makes of each way in which a call can fail: one meaning for all five.

Retries and their waits are shown in `energy_etl_tests/rest/`; here each call is tried once.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from energy_etl.cli.sandbox_consent import grant_sandbox_consent
from energy_etl.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    UnavailableError,
    VendorError,
)
from energy_etl.rest import RequestLog
from energy_etl.sandbox.model import id_digiwatt
from energy_etl.sandbox.server import SandboxServer
from energy_etl.settings import Settings
from energy_etl.vendors import project_settings
from energy_etl.vendors.digiwatt.client import DigiwattClient, SmartMeter
from energy_etl.vendors.digiwatt.settings import DigiwattSettings
from energy_etl.vendors.smartgridone.client import SmartgridOneClient
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings
from energy_etl.vendors.wattics.api_client import WatticsApiClient
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattsense.client import WattsenseClient
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wiser.client import WiserClient
from energy_etl.vendors.wiser.settings import WiserSettings
from energy_etl_tests.defs.project import NOW, world_of

# One exchange, and no time for a second attempt.
HASTE = {"answer_s": 0.5, "total_s": 0.2}
METER = SmartMeter(id_digiwatt("rome-b"), date(2026, 10, 28), "rome-b.mains")


class Asked(NamedTuple):
    """One call of a vendor: how it is made, and where it and its token go."""

    path: str
    token_path: str | None
    ask: Callable[[Settings, RequestLog], object]


def _wattsense(settings: Settings, log: RequestLog) -> object:
    section = settings.section(WattsenseSettings).model_copy(update=HASTE)
    with WattsenseClient(section, log=log, state_path=settings.state_path) as client:
        return client.fetch_devices()


def _digiwatt(settings: Settings, log: RequestLog) -> object:
    section = settings.section(DigiwattSettings).model_copy(update=HASTE)
    paths = {"state_path": settings.state_path, "token_folder": settings.token_dir}
    with DigiwattClient(section, log=log, **paths) as client:
        return client.fetch_consumption(METER, "yesterday")


def _wiser(settings: Settings, log: RequestLog) -> object:
    section = settings.section(WiserSettings).model_copy(update=HASTE)
    paths = {"state_path": settings.state_path, "token_folder": settings.token_dir}
    with WiserClient(section, log=log, **paths) as client:
        return client.fetch_locations()


def _smartgridone(settings: Settings, log: RequestLog) -> object:
    section = settings.section(SmartgridOneSettings)
    section = section.model_copy(update={**HASTE, "patience_s": 0.1})
    paths = {"state_path": settings.state_path, "token_folder": settings.token_dir}
    with SmartgridOneClient(section, log=log, **paths) as client:
        return client.fetch_roles()


def _wattics(settings: Settings, log: RequestLog) -> object:
    section = settings.section(WatticsSettings).model_copy(update=HASTE)
    with WatticsApiClient(section, log=log, state_path=settings.state_path) as client:
        return client.fetch_organizations()


VENDORS = {
    "wattsense": Asked("/v1/devices", None, _wattsense),
    "digiwatt": Asked("/smartmeters", "/auth/token", _digiwatt),
    "wiser": Asked("/locations", "/oauth/token", _wiser),
    "smartgridone": Asked("/v1/role", "/auth/", _smartgridone),
    "wattics": Asked("/organizations", None, _wattics),
}
FAULTS: dict[str, tuple[dict[str, Any], type[VendorError]]] = {
    "401": ({"kind": "status", "status": 401}, AuthenticationError),
    "403": ({"kind": "status", "status": 403}, PermissionDeniedError),
    "404": ({"kind": "status", "status": 404}, NotFoundError),
    "429": ({"kind": "status", "status": 429, "retry_after_s": 3600}, RateLimitedError),
    "500": ({"kind": "status", "status": 500}, UnavailableError),
    "503": ({"kind": "status", "status": 503}, UnavailableError),
    "slow": ({"kind": "slow", "delay_s": 1.0}, UnavailableError),
    "dropped": ({"kind": "drop_before"}, UnavailableError),
    "down": ({"kind": "down"}, UnavailableError),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(world_of(NOW)) as server:
        yield server


@pytest.fixture
def settings(sandbox: SandboxServer, tmp_path: Path) -> Iterator[Settings]:
    found = project_settings(tmp_path, sandbox_url=sandbox.url)
    grant_sandbox_consent(found)
    yield found
    sandbox.app.faults.clear()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("vendor", VENDORS)
def test_failed_call_is_one_error_of_its_kind_and_one_sentence(
    sandbox: SandboxServer, settings: Settings, vendor: str, fault: str
) -> None:
    asked, (wish, expected) = VENDORS[vendor], FAULTS[fault]
    path = {} if wish["kind"] == "down" else {"path_contains": asked.path}
    sandbox.app.faults.add({**wish, **path, "vendor": vendor, "times": None})
    log = RequestLog(vendor)
    with pytest.raises(expected) as caught:
        asked.ask(settings, log)
    assert vendor in str(caught.value)
    assert str(caught.value).endswith(".")
    assert not log.calls()


@pytest.mark.parametrize("fault", ["500", "503", "slow", "dropped", "429"])
@pytest.mark.parametrize("vendor", [name for name, asked in VENDORS.items() if asked.token_path])
def test_outage_of_the_token_endpoint_is_no_wrong_credential(
    sandbox: SandboxServer, settings: Settings, vendor: str, fault: str
) -> None:
    asked, (wish, expected) = VENDORS[vendor], FAULTS[fault]
    # A 401 makes the client renew what it has, or fetch a first token.
    once = {"kind": "status", "status": 401, "path_contains": asked.path, "vendor": vendor}
    sandbox.app.faults.add({**once, "times": 1})
    wish = {**wish, "path_contains": asked.token_path, "vendor": vendor, "times": None}
    sandbox.app.faults.add(wish)
    with pytest.raises(expected):
        asked.ask(settings, RequestLog(vendor))
    sandbox.app.faults.clear()


@pytest.mark.parametrize("vendor", VENDORS)
def test_call_without_a_fault_is_answered(settings: Settings, vendor: str) -> None:
    log = RequestLog(vendor)
    assert VENDORS[vendor].ask(settings, log)
    assert log.calls()
