"""What a stream's delivery says of it: stopped, lagging, irregular, with holes (`mart.finding`).

Frames of layer push come in. Nothing is sent or mended here; numbers per stream are counted in
`delivery/watching.py`.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from energy_etl.tables.mart import FINDING

# Vendors are asked each hour; computing and sending take minutes.
LAG_GRACE_MINUTES: Final = 90
# A stream that is new waits for its first load, and that for its gateway.
NEW_GRACE_MINUTES: Final = 24 * 60
MAX_SPACING_OFF: Final = 0.05
_SHOWN: Final = 3
_INSTANT_FORMAT: Final = "%Y-%m-%d %H:%M"
_MESSAGE_TO_VENDOR: Final = (
    "Dear Wattics team, the following data points were agreed at one packet every {agreed} "
    "minutes and are pushed every {actual} minutes{since}: {streams}. Could you please set their "
    "interval to {actual} minutes, so that no communication failure is reported? Kind regards"
)


def is_lagging() -> pl.Expr:
    """Whether a stream's next packet is overdue by more than one interval and 90 minutes.

    The first packet of a stream may be late by a day more. Over `push.stream_status`:
    `lag_minutes`, `interval_minutes` and `last_sent_at`. False where no packet is awaited.
    """
    new = pl.when(pl.col("last_sent_at").is_null()).then(NEW_GRACE_MINUTES).otherwise(0)
    allowed = pl.col("interval_minutes") + LAG_GRACE_MINUTES + new
    return (pl.col("lag_minutes") > allowed).fill_null(False)


def is_irregular() -> pl.Expr:
    """Whether a stream's median spacing is more than 5 % off the agreed interval."""
    off = (pl.col("spacing_minutes") - pl.col("interval_minutes")).abs()
    return (off > MAX_SPACING_OFF * pl.col("interval_minutes")).fill_null(False)


def is_stopped() -> pl.Expr:
    """Whether a stream waits for a person: it is parked, or has packets that were refused."""
    return pl.col("parked_reason").is_not_null() | (pl.col("n_rejected") > 0)


def only_fed_by_registers(status: pl.DataFrame, streams: pl.DataFrame) -> pl.DataFrame:
    """Leave out streams that files feed: when the next file comes is nobody's promise.

    Args:
        status: `push.stream_status`.
        streams: `push.stream`.
    """
    from_files = streams.filter(pl.col("register_id").is_null())
    return status.join(from_files, on="stream_id", how="anti")


def compute_delivery_findings(
    status: pl.DataFrame, holes: pl.DataFrame, since: pl.DataFrame
) -> pl.DataFrame:
    """List what somebody should look at in the delivery.

    Kinds: `stream_stopped` (parked, or packets refused), `stream_never_sent` (its first packet is
    long overdue), `stream_spacing` (the actual spacing is
    not the agreed one; the next step holds the message to send to the vendor, with all streams of
    the same two intervals), `stream_holes` (undeclared stretches without packets).

    Args:
        status: `push.stream_status`.
        holes: `push.hole`.
        since: stream_id, since_at: from when on a stream's spacing is what it is now.

    Returns:
        `mart.finding`, sorted by its key; empty when all is well.
    """
    found = [
        *_stopped(status.filter(is_stopped())),
        *_never_sent(status.filter(is_lagging() & pl.col("last_sent_at").is_null(), ~is_stopped())),
        *_irregular(status.filter(is_irregular()).join(since, on="stream_id", how="left")),
        *_holes(holes.filter(~pl.col("is_declared")), status),
    ]
    frame = pl.DataFrame(found, schema=FINDING.polars_schema, orient="row")
    return frame.sort(FINDING.key)


def why_stopped(row: dict) -> str:
    """Return why a stream is stopped in one or two sentences, from its `push.stream_status`."""
    rejected = f"Refused packets: {row['n_rejected']}." if row["n_rejected"] else None
    return " ".join(filter(None, (row["parked_reason"], rejected)))


def why_late(row: dict) -> str:
    """Return why a stream's next packet is overdue, without a full stop."""
    for name in ("parked_reason", "failure", "hold_reason"):
        if row[name]:
            return str(row[name]).rstrip(".")
    return "its packets wait to be sent" if row["n_pending"] else "no newer readings have come"


def told_together(said: Iterable[tuple[str, str]]) -> list[str]:
    """Return each sentence once, behind the streams that it is said of.

    A credential that is refused stops all its streams: told of each, it would hide all else.

    Args:
        said: a stream and what is said of it.
    """
    streams: dict[str, list[str]] = {}
    for stream_id, sentence in said:
        streams.setdefault(sentence, []).append(stream_id)
    return [
        # What the sender says of one stream begins with it.
        sentence if sentence.startswith(f"Stream {ids[0]}:") else f"{_named(ids)}: {sentence}"
        for sentence, ids in streams.items()
    ]


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more streams" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more


def _stopped(status: pl.DataFrame) -> list[tuple]:
    return [
        (
            "stream_stopped",
            row["stream_id"],
            row["parked_at"],
            None,
            f"Stream {row['stream_id']} waits for somebody to act: {why_stopped(row)}",
            "Mend the cause (`energy-etl outbox list` shows the refused packets), then run "
            f"`energy-etl outbox retry --stream {row['stream_id']}` or launch `retry_deliveries`.",
        )
        for row in status.iter_rows(named=True)
    ]


def _never_sent(status: pl.DataFrame) -> list[tuple]:
    return [
        (
            "stream_never_sent",
            row["stream_id"],
            None,
            None,
            f"Of stream {row['stream_id']} nothing was ever sent, and its first packet is overdue "
            f"by {row['lag_minutes'] / 1440:.1f} days: {why_late(row)}.",
            "See in mart.coverage whether its register (streams.csv) has readings, and in "
            "`energy-etl outbox status` what holds its packets; where its meter comes later, set "
            "push_from_at in streams.csv to that day.",
        )
        for row in status.iter_rows(named=True)
    ]


def _irregular(status: pl.DataFrame) -> list[tuple]:
    found = []
    for (agreed, actual), group in status.group_by("interval_minutes", "spacing_minutes"):
        begun = group["since_at"].min()
        asked = _MESSAGE_TO_VENDOR.format(
            agreed=agreed,
            actual=f"{actual:g}",
            since="" if begun is None else f" since {begun:%Y-%m-%d} (UTC)",
            streams=", ".join(group["stream_id"].sort()),
        )
        for row in group.iter_rows(named=True):
            found.append(
                (
                    "stream_spacing",
                    row["stream_id"],
                    row["since_at"],
                    row["last_sent_at"],
                    f"Stream {row['stream_id']} was agreed at one packet every {agreed} minutes, "
                    f"but its packets are {actual:g} minutes apart: Wattics takes that for broken "
                    "communication.",
                    "See why readings come so (the register's grid in registers.csv, its gateway); "
                    "if the spacing is right, set interval_minutes in streams.csv and send "
                    f'Wattics this message: "{asked}"',
                )
            )
    return found


def _holes(holes: pl.DataFrame, status: pl.DataFrame) -> list[tuple]:
    behind = dict(status.select("stream_id", "hold_reason").iter_rows())
    found = []
    for (stream_id,), group in holes.sort("after_at").group_by("stream_id", maintain_order=True):
        stretches = group.select("after_at", "before_at", "n_missing").rows()
        told = ", ".join(
            f"{after_at:{_INSTANT_FORMAT}} to {before_at:{_INSTANT_FORMAT}} ({n})"
            for after_at, before_at, n in stretches[-_SHOWN:]
        )
        more = f", and {len(stretches) - _SHOWN} earlier" if len(stretches) > _SHOWN else ""
        reason = behind.get(stream_id)
        waiting = f" Its oldest held packet waits: {reason}." if reason else ""
        found.append(
            (
                "stream_holes",
                stream_id,
                stretches[0][0],
                stretches[-1][1],
                f"Stream {stream_id} has holes between accepted packets; in all "
                f"{group['n_missing'].sum()} are missing (UTC, packets): {told}{more}.{waiting}",
                "Where nothing was measured declare the stretch in gaps.csv; else load it with "
                "`energy-etl backfill`. What comes behind a later packet is held: Wattics takes "
                "it only when historical data was agreed (`is_historical` in streams.csv).",
            )
        )
    return found
