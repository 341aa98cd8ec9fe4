"""How Wattics is reached: the API with its token, the collector with each credential.

The API is asked for its organizations, the collector for the last packet of one stream: neither
changes anything.
"""

import asyncio
import dataclasses
from datetime import datetime

from energy_etl.errors import BadRequestError
from energy_etl.rest import RequestLog
from energy_etl.settings import Settings
from energy_etl.vendors.reach import (
    QUICKLY,
    TRIAL_S,
    Budget,
    Known,
    Login,
    Reach,
    Scheduled,
    Trial,
    date_of,
)
from energy_etl.vendors.wattics.api_client import (
    PATHS,
    QUOTA_WINDOW_S,
    WatticsApiClient,
    quota_name,
)
from energy_etl.vendors.wattics.settings import WatticsCredential, WatticsSettings

API_LOGIN = "api"


def _logins(section: WatticsSettings) -> list[Login]:
    # A credential that stands in the settings is complete: the model refuses an empty user name.
    pushing = [
        dataclasses.replace(
            Login((f"wattics.credentials.{name}.password",), (), name)
            if each.password.get_secret_value()
            else Login.of(each, f"wattics.credentials.{name}", "username", "password", name=name),
            account=each.username,
            addresses=(section.collector_url,),
        )
        for name, each in section.credentials.items()
    ]
    none = Login(("wattics.credentials",), ("wattics.credentials",))
    api = Login.of(
        section,
        "wattics",
        "api_token",
        name=API_LOGIN,
        is_needed=False,
        account="API token",
        addresses=(section.api_url,),
    )
    return [*(pushing or [none]), api]


def _budgets(section: WatticsSettings) -> list[Budget]:
    # The collector has none.
    limit = section.calls_per_minute
    return [Budget(quota_name(section), "calls of the API", limit, QUOTA_WINDOW_S)]


def _trials(settings: Settings, known: Known) -> list[Trial]:
    section = settings.section(WatticsSettings)
    trials = [
        Trial(
            f"last packet of stream {known.streams[name]}",
            lambda name=name, each=each: _ask_collector(section, each, known.streams[name]),
            name,
        )
        for name, each in section.credentials.items()
        if name in known.streams
    ]
    if section.api_token.get_secret_value():
        trials.append(Trial(f"GET {PATHS['organizations']}", lambda: _ask_api(settings), API_LOGIN))
    return trials


def _ask_api(settings: Settings) -> datetime | None:
    section = settings.section(WatticsSettings)
    quick = section.model_copy(update=QUICKLY)
    log = RequestLog("wattics")
    with WatticsApiClient(quick, log=log, state_path=settings.state_path) as client:
        return date_of(client.fetch_organizations())


def _ask_collector(section: WatticsSettings, credential: WatticsCredential, stream: str) -> None:
    # Here: whoever looks at the vendors need not wait for the transport to be imported.
    from energy_etl.vendors.wattics.collector import WatticsCollector

    async def ask() -> None:
        collector = WatticsCollector(
            section.collector_url,
            credential,
            request_timeout_s=TRIAL_S,
            max_connections=1,
            ca_file=section.ca_file,
        )
        async with collector:
            try:
                await collector.last(stream)
            except BadRequestError:
                # The call is not offered; the login was let in to hear so.
                return

    asyncio.run(ask())


def _count_calls(section: WatticsSettings, run: Scheduled) -> int:
    if not section.api_token.get_secret_value():
        return 0
    # Organizations and their sites, meters of each site; months, by the daily run with costs; and
    # raw data of what is electrical.
    n_of_a_month = 1 if run.is_hourly else 2
    return 2 + len(run.site_ids) + n_of_a_month * run.n_streams + run.n_electrical


REACH = Reach(
    addresses=lambda section: (section.collector_url, section.api_url),
    logins=_logins,
    budgets=_budgets,
    trials=_trials,
    reads="with the API token: organizations, sites, meters, and what it holds of our streams",
    count_calls=_count_calls,
)
