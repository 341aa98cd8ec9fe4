"""How Wattsense is reached; the call is GET /v1/user, which the document names."""

from datetime import datetime

from energy_etl.rest import RequestLog
from energy_etl.settings import Settings
from energy_etl.vendors.reach import QUICKLY, Budget, Known, Login, Reach, Trial, date_of
from energy_etl.vendors.wattsense.client import PATHS, WattsenseClient
from energy_etl.vendors.wattsense.settings import WattsenseSettings

_WINDOW_S = 300.0


def _logins(section: WattsenseSettings) -> list[Login]:
    fields = ("username", "password") if section.auth == "basic" else ("api_key", "api_secret")
    return [Login.of(section, "wattsense", *fields)]


def _budgets(section: WattsenseSettings) -> list[Budget]:
    # The names under which the client counts; a test holds the two together.
    calls, configurations = section.calls_per_5_minutes, section.configuration_calls_per_5_minutes
    return [
        Budget(f"wattsense at {section.base_url}", "calls", calls, _WINDOW_S),
        Budget(
            f"wattsense configurations at {section.base_url}",
            "calls on configurations",
            configurations,
            _WINDOW_S,
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


REACH = Reach(
    addresses=lambda section: (section.base_url,),
    logins=_logins,
    budgets=_budgets,
    trials=_trials,
)
