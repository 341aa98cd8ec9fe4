"""One way to send: collectors and limits as the settings say, for runs and for the command line.

No Dagster in here, so that `energy-etl push` begins at once.
"""

from collections.abc import Callable, Iterable

from energy_etl.delivery.limits import DrainLimits, DrainReport
from energy_etl.delivery.outbox import Outbox
from energy_etl.delivery.sender import drain
from energy_etl.vendors.wattics.collector import open_collectors
from energy_etl.vendors.wattics.settings import WatticsSettings


async def send_outbox(
    section: WatticsSettings,
    outbox: Outbox,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    stream_ids: Iterable[str] | None = None,
) -> DrainReport:
    """Send what is released, of some streams or of all, and report (`delivery.sender.drain`).

    Raises:
        DeliveryError: another process is sending.
        WarehouseError: the state file could not be written.
    """
    async with open_collectors(section) as collectors:
        return await drain(
            outbox,
            collectors,
            limits=DrainLimits.from_settings(section),
            on_progress=on_progress,
            on_wait=on_wait,
            stream_ids=stream_ids,
        )
