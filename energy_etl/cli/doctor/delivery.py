"""Delivery: where each stream stands."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from energy_etl.cli.doctor.rows import Row, fail, ok, warn
from energy_etl.cli.doctor.subject import Subject
from energy_etl.cli.outbox_view import lag_text, status_rows
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.outbox import Outbox
from energy_etl.state import open_state

STREAM: Final = "stream "
LAST_PACKET: Final = "Last packet"


def check_streams(subject: Subject) -> Iterator[Row]:
    """One row per stream of the outbox."""
    if not subject.settings.state_path.exists():
        return
    plans = stream_plans(subject.portfolio) if subject.portfolio is not None else []
    with open_state(subject.settings.state_path) as connection:
        rows = status_rows(Outbox(connection), plans, None, subject.now)
    # A stream without a packet is told when that is overdue (`lagging`).
    rows = [row for row in rows if row["condition"] != "empty"]
    if not rows:
        yield ok("delivery", "The outbox is empty: nothing was computed for a stream yet.")
    for row in rows:
        yield _row(row)


def _row(row: dict[str, Any]) -> Row:
    what, told = f"{STREAM}{row['stream_id']}", _told(row)
    retry = f"`energy-etl outbox retry --stream {row['stream_id']}`"
    if row["parked_reason"]:
        return fail(what, f"Parked: {row['parked_reason']} {told}", f"Mend it, then run {retry}.")
    if row["n_rejected"]:
        return fail(
            what,
            f"Wattics refused {row['n_rejected']} packets. {told}",
            f"See `energy-etl outbox list --stream {row['stream_id']}`, mend it, then run {retry}.",
        )
    if row["condition"] == "failing":
        return warn(
            what,
            f"{row['failure']} {told}",
            "It is tried again by itself; see `energy-etl outbox status`.",
        )
    if row["condition"] == "lagging":
        return warn(
            what,
            f"The next packet is overdue by {lag_text(row['lag_minutes'])}. {told}",
            "See `energy-etl outbox status`; packets are sent while `energy-etl up` runs.",
        )
    return ok(what, told)


def _told(row: dict[str, Any]) -> str:
    last = row["last_sent_at"]
    at = f"{datetime.fromisoformat(last):%Y-%m-%d %H:%M} UTC" if last else "none yet"
    held = f", held {row['n_held']} ({row['hold_reason']})" if row["n_held"] else ""
    return f"{LAST_PACKET} {at}; pending {row['n_pending']}, rejected {row['n_rejected']}{held}."
