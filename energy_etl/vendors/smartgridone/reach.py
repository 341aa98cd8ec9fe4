"""How SmartgridOne is reached; the call is GET /v1/company, the cheapest of the document."""

import math
from datetime import datetime
from typing import Final

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
from energy_etl.vendors.smartgridone.client import (
    PATHS,
    QUOTA_WINDOW_S,
    SmartgridOneClient,
    quota_name,
)
from energy_etl.vendors.smartgridone.settings import SmartgridOneSettings

# Devices, roles, monitors, companies; licences are a call each of what those bring.
_N_LISTS: Final = 4


def _budgets(section: SmartgridOneSettings) -> list[Budget]:
    return [Budget(quota_name(section), "calls", section.calls_per_minute, QUOTA_WINDOW_S)]


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


def _count_calls(section: SmartgridOneSettings, run: Scheduled) -> int:
    # Of a row per minute, the finest policy that is read by default.
    n_rows = 1440 * run.n_days
    n_at_once = max(1, min(section.statements_per_call, section.rows_per_call // n_rows))
    return _N_LISTS + 1 + math.ceil(len(run.register_ids) / n_at_once)


REACH = Reach(
    addresses=lambda section: tuple(dict.fromkeys((section.base_url, section.auth_url))),
    logins=lambda section: [
        Login.of(section, "smartgridone", "username", "password", account=section.username)
    ],
    budgets=_budgets,
    trials=_trials,
    reads="devices, roles, monitors, companies and licences; telemetry of every mapped register",
    count_calls=_count_calls,
)
