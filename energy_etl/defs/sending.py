"""One way to send: collectors and limits as the settings say, for runs and for the command line.

On target live only what somebody agreed to (`vendors/golive.py`).

No Dagster in here, so that `energy-etl push` begins at once.
"""

from collections.abc import Callable, Iterable
from typing import Final

from energy_etl.delivery.limits import DrainLimits, DrainReport
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.sender import drain
from energy_etl.settings import Settings
from energy_etl.vendors.golive import require_consent
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings

COLLECTOR: Final = "wattics"


async def send_outbox(
    settings: Settings,
    outbox: Outbox,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    stream_ids: Iterable[str] | None = None,
) -> DrainReport:
    """Send what is released, of some streams or of all, and report (`delivery.sender.drain`).

    Raises:
        ConfigurationError: nobody agreed to send.
        DeliveryError: another process is sending.
        WarehouseError: the state file could not be written.
    """
    require_consent_to_send(settings)
    section = settings.section(WatticsSettings)
    async with open_collectors(section) as collectors:
        return await drain(
            outbox,
            collectors,
            limits=DrainLimits.from_settings(section),
            on_progress=on_progress,
            on_wait=on_wait,
            stream_ids=stream_ids,
        )


def require_consent_to_send(settings: Settings) -> None:
    """Refuse to send while somebody has to agree first.

    Raises:
        ConfigurationError: nobody agreed, or a credential or the collector is another one now.
    """
    require_consent(settings, COLLECTOR, settings.section(WatticsSettings).credentials)
