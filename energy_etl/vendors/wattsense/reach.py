"""How Wattsense is reached; the call is GET /v1/user, which the document names."""

import math
from datetime import datetime
from typing import Final

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
from energy_etl.vendors.wattsense.client import (
    PATHS,
    QUOTA_WINDOW_S,
    WattsenseClient,
    configuration_quota_name,
    quota_name,
)
from energy_etl.vendors.wattsense.settings import WattsenseSettings

# A key is shown by its end, as a licence is; of a short one that would be too much of it.
_SHOWN_END: Final = 4
_SHOWN_FROM: Final = 12
# Organizations and devices; then of each box latest values, configurations and revisions.
_N_LISTS: Final = 2
_N_OF_A_BOX: Final = 3
_N_OF_ACCESS: Final = 6
# A value every 15 minutes.
_GUESSED_ROWS_PER_DAY: Final = 96


def _logins(section: WattsenseSettings) -> list[Login]:
    if section.auth == "basic":
        fields, account = ("username", "password"), section.username
    else:
        fields, key = ("api_key", "api_secret"), section.api_key
        shown = f" that ends in {key[-_SHOWN_END:]}" if len(key) >= _SHOWN_FROM else ""
        account = f"API key{shown}"
    return [Login.of(section, "wattsense", *fields, account=account)]


def _budgets(section: WattsenseSettings) -> list[Budget]:
    calls, configurations = section.calls_per_5_minutes, section.configuration_calls_per_5_minutes
    return [
        Budget(quota_name(section), "calls", calls, QUOTA_WINDOW_S),
        Budget(
            configuration_quota_name(section),
            "calls on configurations",
            configurations,
            QUOTA_WINDOW_S,
        ),
    ]


def _trials(settings: Settings, known: Known) -> list[Trial]:
    del known

    def ask() -> datetime | None:
        section = settings.section(WattsenseSettings)
        quick = section.model_copy(update=QUICKLY)
        log = RequestLog("wattsense")
        with WattsenseClient(quick, log=log, state_path=settings.state_path) as client:
            return date_of(client.fetch_user())

    return [Trial(f"GET {PATHS['user']}", ask)]


def _count_calls(section: WattsenseSettings, run: Scheduled) -> int:
    n_boxes = len({each.partition("/")[0] for each in run.register_ids})
    n_pages = max(1, math.ceil(_GUESSED_ROWS_PER_DAY * run.n_days / section.page_size))
    n_access = _N_OF_ACCESS if section.read_access else 0
    return _N_LISTS + _N_OF_A_BOX * n_boxes + n_access + n_pages * len(run.register_ids)


REACH = Reach(
    addresses=lambda section: (section.base_url,),
    logins=_logins,
    budgets=_budgets,
    trials=_trials,
    reads="organizations, boxes, configurations and who may do what; values of every mapped "
    "register",
    count_calls=_count_calls,
)
