"""What `energy-etl outbox` shows: rows for --json, and tables that fit on 80 columns."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table as ScreenTable

    from energy_etl.delivery.outbox import Outbox
    from energy_etl.delivery.plan import StreamPlan

_TIME: Final = "%m-%d %H:%M"
_COUNTS: Final = ("confirmed", "pending", "held", "rejected", "holes")
_ALL_PACKETS: Final = tuple(
    f"n_{state}"
    for state in ("sent", "confirmed", "pending", "held", "rejected", "superseded", "dropped")
)


def status_rows(
    outbox: "Outbox", plans: "Sequence[StreamPlan]", only: list[str] | None, now: datetime
) -> list[dict[str, Any]]:
    """Return one row per stream: who pushes it, its condition, and `push.stream_status` as of now.

    Condition: stopped (parked or refused packets: somebody has to act), failing (the last send
    failed, it is tried again), lagging, waiting (packets are held), sending, empty (no packet was
    made yet) or ok.
    """
    import polars as pl

    from energy_etl.delivery.mirror import status_frame
    from energy_etl.transform.delivery import is_lagging, is_stopped

    from_files = [plan.stream_id for plan in plans if not plan.register_ids]
    condition = (
        pl.when(is_stopped())
        .then(pl.lit("stopped"))
        .when(pl.col("failure").is_not_null())
        .then(pl.lit("failing"))
        .when(is_lagging() & ~pl.col("stream_id").is_in(from_files))
        .then(pl.lit("lagging"))
        .when(pl.col("n_pending") > 0)
        .then(pl.lit("sending"))
        .when(pl.col("n_held") > 0)
        .then(pl.lit("waiting"))
        .when(pl.sum_horizontal(_ALL_PACKETS) == 0)
        .then(pl.lit("empty"))
        .otherwise(pl.lit("ok"))
    )
    credentials = {plan.stream_id: plan.credential for plan in plans}
    credentials |= {each.stream_id: each.credential for each in outbox.streams()}
    frame = status_frame(outbox, plans, now).with_columns(condition=condition)
    return [
        {
            "stream_id": row["stream_id"],
            "credential": credentials.get(row["stream_id"]),
            "condition": row["condition"],
            **plain_row(row),
        }
        for row in frame.iter_rows(named=True)
        if not only or row["stream_id"] in only
    ]


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON knows it: instants as text."""
    return {name: _plain(cell) for name, cell in row.items()}


def print_status(rows: list[dict[str, Any]], handlers: Sequence[str]) -> None:
    """Print one line per stream, and below it what is to be said of those that are not well."""
    from energy_etl.transform.delivery import told_together

    if not rows:
        print("There is no stream: streams.csv names none, and the outbox is empty.")
        return
    headers = ("stream", "by", "is", "sent", "conf.", "pend.", "held", "rej.", "holes")
    screen = _screen((*headers, "last (UTC)", "lag"), n_text=3)
    for row in rows:
        screen.add_row(
            row["stream_id"],
            row["credential"] or "-",
            row["condition"],
            str(row["n_sent"] + row["n_confirmed"] + row["n_superseded"]),
            *(str(row[f"n_{what}"]) for what in _COUNTS),
            _time(row["last_sent_at"]),
            lag_text(row["lag_minutes"]),
        )
    _print(screen)
    print()
    for line in told_together((row["stream_id"], said) for row in rows for said in _sentences(row)):
        print(line)
    if handlers:
        print(f"Handlers of responses: {', '.join(handlers)}.")


def _sentences(row: dict[str, Any]) -> Iterable[str]:
    command = f"`energy-etl outbox retry --stream {row['stream_id']}`"
    reason = row["parked_reason"]
    if reason:
        # Most reasons say it themselves.
        retry = "" if "energy-etl outbox retry" in reason else f" Mend it, then {command}."
        yield f"parked since {_time(row['parked_at'])}. {reason}{retry}"
    if row["n_rejected"]:
        yield (
            f"refused packets: {row['n_rejected']} (`energy-etl outbox list`). Mend it, then "
            f"{command}; or give them up with `energy-etl outbox drop`."
        )
    if row["failure"] and row["failure"] != reason:
        again = f" Tried again at {_time(row['retry_at'])}." if row["retry_at"] else ""
        yield f"{row['failure']}{again}"
    if row["hold_reason"]:
        held = f"held packets: {row['n_held']}; the oldest: " if row["n_held"] else ""
        yield f"{held}{row['hold_reason']}."
    if row["n_holes"]:
        yield f"holes: {row['n_holes']}, missing packets: {row['n_missing']} (see push.hole)."


def print_packets(rows: list[dict[str, Any]], *, is_default: bool) -> None:
    """Print packets: what it was, what became of it, and its body."""
    if not rows:
        told = "No packet needs a person: none was refused, none is behind a later one."
        print(told if is_default else "There is no such packet.")
        return
    for row in rows:
        status = f", HTTP {row['status']}" if row["status"] is not None else ""
        tries = f", attempts: {row['n_attempts']}" if row["n_attempts"] else ""
        print(f"{row['stream_id']} {row['stamped_at']} {row['state']}{status}{tries}")
        for why in filter(None, (row["error"], row["hold_reason"])):
            print(f"  {why}")
        print(f"  {row['body']}")


def print_responses(rows: list[dict[str, Any]], stream_id: str) -> None:
    """Print what was answered, oldest first."""
    if not rows:
        print(f"No packet of stream {stream_id} was posted yet.")
        return
    for row in rows:
        status = "no answer" if row["status"] is None else f"HTTP {row['status']}"
        text = f"  {row['text']}" if row["text"] else ""
        print(
            f"{row['posted_at']} packet {row['stamped_at']}: {status} after "
            f"{row['seconds'] * 1000:.0f} ms{text}"
        )


def lag_text(lag_minutes: float | None) -> str:
    """Return how long a packet is overdue, in the unit that people would use."""
    if lag_minutes is None:
        return "-"
    if lag_minutes < 120:
        return f"{lag_minutes:.0f} min"
    return f"{lag_minutes / 60:.0f} h" if lag_minutes < 4320 else f"{lag_minutes / 1440:.0f} d"


def _screen(headers: Sequence[str], n_text: int) -> "ScreenTable":
    from rich import box
    from rich.table import Table as ScreenTable

    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for number, name in enumerate(headers):
        is_text = number < n_text
        screen.add_column(
            name,
            justify="left" if is_text else "right",
            overflow="fold",
            no_wrap=not is_text,
        )
    return screen


def _print(screen: "ScreenTable") -> None:
    from rich.console import Console

    Console(file=sys.stdout).print(screen)


def _plain(cell: Any) -> Any:
    if not isinstance(cell, datetime):
        return cell
    return cell.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str | None) -> str:
    return "-" if text is None else datetime.fromisoformat(text).strftime(_TIME)
