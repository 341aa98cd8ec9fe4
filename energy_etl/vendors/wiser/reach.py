"""How Wiser is reached; the call is GET /locations, one page where a customer has few."""

from datetime import datetime

from energy_etl.errors import AuthenticationError
from energy_etl.rest import RequestLog
from energy_etl.settings import Settings
from energy_etl.vendors.reach import (
    QUICKLY,
    Budget,
    Known,
    Login,
    Reach,
    Scheduled,
    Trial,
    date_of,
)
from energy_etl.vendors.wiser.client import PATHS, QUOTA_WINDOW_S, WiserClient, quota_name
from energy_etl.vendors.wiser.consent import read_consent
from energy_etl.vendors.wiser.settings import WiserSettings


def _budgets(section: WiserSettings) -> list[Budget]:
    return [Budget(quota_name(section), "calls", section.calls_per_minute, QUOTA_WINDOW_S)]


def _trials(settings: Settings, known: Known) -> list[Trial]:
    del known

    def ask() -> datetime | None:
        section = settings.section(WiserSettings)
        client = WiserClient(
            section.model_copy(update=QUICKLY),
            log=RequestLog("wiser"),
            state_path=settings.state_path,
            token_folder=settings.token_dir,
        )
        with client:
            return date_of(client.fetch_locations()[-1])

    return [Trial(f"GET {PATHS['locations']}", ask)]


def _check_consent(settings: Settings) -> None:
    consent = read_consent(settings.section(WiserSettings), settings.token_dir)
    if consent.state == "none":
        raise AuthenticationError(
            f"The Wiser account {consent.account} is not authorised: nobody gave the consent yet; "
            "run `energy-etl wiser authorize`."
        )
    if consent.state == "ended":
        since = f" on {consent.ended_at:%Y-%m-%d %H:%M} UTC" if consent.ended_at else ""
        raise AuthenticationError(
            f"The consent of the Wiser account {consent.account} has ended{since}: it was revoked "
            "or can be renewed no more; run `energy-etl wiser authorize`."
        )


def _count_calls(section: WiserSettings, run: Scheduled) -> int:
    del section
    # Locations and sites; rooms and devices of each site.
    return 2 + 2 * len(run.site_ids)


REACH = Reach(
    addresses=lambda section: (section.base_url,),
    logins=lambda section: [
        Login.of(
            section,
            "wiser",
            "client_id",
            "client_secret",
            account=f"client {section.client_id} for customer {section.account}"
            if section.client_id
            else "",
        )
    ],
    budgets=_budgets,
    trials=_trials,
    check_stored=_check_consent,
    reads="locations, sites, rooms and devices that the customer consented to",
    count_calls=_count_calls,
)
