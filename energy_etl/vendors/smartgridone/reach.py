"""How SmartgridOne is reached; the call is GET /v1/company, the cheapest of the document."""

from datetime import datetime

from energy_etl.rest import RequestLog
from energy_etl.settings import Settings
from energy_etl.vendors.reach import QUICKLY, TRIAL_S, Budget, Known, Login, Reach, Trial, date_of
from energy_etl.vendors.smartgridone.client import PATHS, SmartgridOneClient, quota_name
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings


def _budgets(section: SmartgridOneSettings) -> list[Budget]:
    return [Budget(quota_name(section), "calls", section.calls_per_minute, 60.0)]


def _trials(settings: Settings, known: Known) -> list[Trial]:
    del known

    def ask() -> datetime | None:
        section = settings.section(SmartgridOneSettings)
        limits = {**QUICKLY, "patience_s": TRIAL_S}
        client = SmartgridOneClient(
            section.model_copy(update=limits),
            log=RequestLog("smartgridone"),
            state_path=settings.state_path,
            token_folder=settings.token_dir,
        )
        with client:
            return date_of(client.fetch_companies())

    return [Trial(f"GET {PATHS['company']}", ask)]


REACH = Reach(
    addresses=lambda section: tuple(dict.fromkeys((section.base_url, section.auth_url))),
    logins=lambda section: [Login.of(section, "smartgridone", "username", "password")],
    budgets=_budgets,
    trials=_trials,
)
