"""How Digiwatt is reached; the call is Savings of one mapped smart meter, after the token's."""

from datetime import UTC, datetime

from energy_etl.rest import RequestLog
from energy_etl.settings import Settings
from energy_etl.vendors.digiwatt.client import (
    DISAGGREGATION_PERIODS,
    ENDPOINTS,
    PERIODS,
    QUOTA_WINDOW_S,
    DigiwattClient,
    SmartMeter,
    quota_name,
)
from energy_etl.vendors.digiwatt.settings import DigiwattSettings
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


def _budgets(section: DigiwattSettings) -> list[Budget]:
    return [Budget(quota_name(section), "calls", section.calls_per_minute, QUOTA_WINDOW_S)]


def _trials(settings: Settings, known: Known) -> list[Trial]:
    """Return one call; none when no meter is mapped: every endpoint is about a meter."""

    def ask() -> datetime | None:
        section = settings.section(DigiwattSettings)
        quick = section.model_copy(update=QUICKLY)
        client = DigiwattClient(
            quick,
            log=RequestLog("digiwatt"),
            state_path=settings.state_path,
            token_folder=settings.token_dir,
        )
        meter_id = known.meter_ids[0]
        with client:
            meter = SmartMeter(meter_id, datetime.now(UTC).date(), meter_id)
            return date_of(client.fetch_savings(meter))

    return [Trial("GET Savings of a meter", ask)] if known.meter_ids else []


def _count_calls(section: DigiwattSettings, run: Scheduled) -> int:
    del section
    n_per_meter = 0
    for name, template in ENDPOINTS.items():
        periods = DISAGGREGATION_PERIODS if name == "disaggregation" else PERIODS
        n_per_meter += len(periods) if "{period}" in template else 1
    return n_per_meter * len(run.meter_ids)


REACH = Reach(
    addresses=lambda section: (section.base_url,) if section.base_url else (),
    logins=lambda section: [
        Login.of(
            section,
            "digiwatt",
            "base_url",
            "client_id",
            "client_secret",
            account=f"client {section.client_id}" if section.client_id else "",
        )
    ],
    budgets=_budgets,
    trials=_trials,
    reads="consumption, costs, appliances and savings of every mapped smart meter, as of each run",
    count_calls=_count_calls,
)
