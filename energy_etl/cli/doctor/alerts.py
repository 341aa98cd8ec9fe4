"""The webhook that is told of failed runs: does anybody listen there. Nobody gets a message."""

from collections.abc import Iterator
from typing import Final

from energy_etl.cli.doctor.rows import Row, in_two, ok, warn
from energy_etl.cli.doctor.subject import Subject
from energy_etl.errors import VendorError
from energy_etl.rest.webhook import Webhook

WEBHOOK: Final = "webhook"


def check_webhook(subject: Subject) -> Iterator[Row]:
    """One row when a webhook is set; runs go on without it, so it never fails."""
    url = subject.settings.alerts.webhook_url.get_secret_value()
    if not url:
        return
    if subject.is_offline:
        yield ok(WEBHOOK, "It is set; not asked.")
        return
    try:
        with Webhook(url) as webhook:
            webhook.check_reachable()
    except VendorError as error:
        cause, next_step = in_two(str(error))
        yield warn(WEBHOOK, f"{cause} Failed runs are told in the log only.", next_step)
        return
    yield ok(WEBHOOK, "A connection to it was opened; it is told of each new failure of a run.")
