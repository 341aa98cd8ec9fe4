"""`energy-etl outbox`: how delivery stands, which packets need a person, and what to do about them.

Only `state.sqlite` and the portfolio are read: no Dagster, no warehouse, also while a run writes.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from energy_etl.cli.outbox_view import (
    plain_row,
    print_packets,
    print_responses,
    print_status,
    status_rows,
)
from energy_etl.cli.values import typed_instant
from energy_etl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from energy_etl.delivery.outbox import Outbox
    from energy_etl.delivery.plan import StreamPlan
    from energy_etl.settings import Settings

_WHEN_SENT: Final = (
    "They are sent within a minute while `energy-etl up` runs; else when `send_outbox` runs."
)

app = typer.Typer(no_args_is_help=True, help="Packets for Wattics: how they stand, what to do.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StreamsOption = Annotated[
    list[str] | None, typer.Option("--stream", help="Only this stream; may be repeated.")
]
StatesOption = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only packets of this state; may be repeated."),
]


@app.command()
def status(stream: StreamsOption = None, as_json: JsonOption = False) -> None:
    """Show per stream what was sent, what waits and why.

    With lag, holes, and what needs you.
    """
    from energy_etl.delivery.handlers import discover_handlers

    settings = _settings()
    plans = _plans(settings)
    with _outbox(settings) as outbox:
        _known(outbox, stream, plans)
        rows = status_rows(outbox, plans, stream, datetime.now(UTC))
    handlers = list(discover_handlers())
    if as_json:
        print(json.dumps({"streams": rows, "handlers": handlers}, indent=2))
        return
    print_status(rows, handlers)


@app.command(name="list")
def list_(
    state: StatesOption = None,
    stream: StreamsOption = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many packets.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show packets; by default those that need a person.

    That is those that were refused, or that lie behind a later one.
    """
    with _outbox(_settings()) as outbox:
        _possible(outbox, state, stream)
        found = _packets(outbox, state, stream, is_for_people=True)
        rows = list(islice(found, limit + 1))
    is_cut = len(rows) > limit
    if as_json:
        print(json.dumps(rows[:limit], indent=2))
    else:
        print_packets(rows[:limit], is_default=not state)
    if is_cut:
        print(f"energy-etl: There are more than {limit}: give --limit.", file=sys.stderr)


@app.command()
def responses(
    stream: Annotated[str, typer.Option(help="The stream.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show what Wattics answered to a stream's last packets."""
    from energy_etl.delivery.mirror import newest_responses

    with _outbox(_settings()) as outbox:
        _known(outbox, [stream])
        frame = newest_responses(outbox, stream, limit)
    rows = [plain_row(row) for row in frame.iter_rows(named=True)]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print_responses(rows, stream)


@app.command()
def retry(
    stream: StreamsOption = None,
    credential: Annotated[
        str | None, typer.Option(help="All streams that this credential pushes.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All streams.")] = False,
    resend: Annotated[
        bool,
        typer.Option("--resend", help="With --stream: send again what Wattics forgot of it."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Resend without a question.")] = False,
) -> None:
    """Unpark streams, when the cause is mended.

    Their refused packets get another chance. --resend is for a vendor that forgot packets and does
    not restore them.
    """
    if sum((bool(stream), bool(credential), every)) != 1:
        raise UsageError("Give one of --stream, --credential and --all.")
    if resend and not stream:
        raise UsageError("--resend is for single streams: name them with --stream.")
    with _outbox(_settings()) as outbox:
        _known(outbox, stream)
        if resend:
            for stream_id in stream or ():
                _resend(outbox, stream_id, is_sure=yes)
            print(_WHEN_SENT, file=sys.stderr)
            return
        chosen = [
            each
            for each in outbox.streams()
            if every or each.stream_id in (stream or ()) or each.credential == credential
        ]
        if credential and not chosen:
            raise UsageError(
                f"No stream in the outbox is pushed by the credential {credential}: "
                "`energy-etl outbox status` shows who pushes which."
            )
        parked = [each.stream_id for each in chosen if each.parked_reason is not None]
        n_packets = outbox.retry([each.stream_id for each in chosen])
    if not parked and not n_packets:
        print("There is nothing to retry: no stream is parked, no packet was refused.")
        return
    if parked:
        print(f"Unparked: {', '.join(parked)}.")
    if n_packets:
        print(
            f"Refused packets that go again, in order: {n_packets}. Those behind a packet that "
            "was accepted since are held (`energy-etl outbox list`)."
        )
    print(_WHEN_SENT, file=sys.stderr)


@app.command()
def drop(
    stream: Annotated[str, typer.Option(help="The stream.")],
    from_: Annotated[str, typer.Option("--from", help="Stamp of the first, with its offset.")],
    to: Annotated[str, typer.Option("--to", help="Stamp of the first one behind them.")],
    reason: Annotated[str, typer.Option(help="Why they are given up, for the record.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
) -> None:
    """Give up packets that were never accepted.

    They are never sent, and stay on record.
    """
    if not reason.strip():
        raise UsageError("--reason is empty: say why these packets are given up.")
    from_at, to_at = typed_instant(from_, "--from"), typed_instant(to, "--to")
    if from_at >= to_at:
        raise UsageError(
            f"--to {to} is not behind --from {from_}: give a later one, the stamp of the first "
            "packet that is not given up."
        )
    with _outbox(_settings()) as outbox:
        _known(outbox, [stream])
        found = _droppable(outbox, stream, from_at, to_at)
        if not found:
            print(
                f"There is nothing to drop: stream {stream} has no packet in that stretch that "
                "is held, pending or rejected."
            )
            return
        told = ", ".join(f"{n} {state}" for state, n in sorted(found.items()))
        print(f"Packets of stream {stream} to be given up, never to be sent: {told}.")
        if not yes:
            typer.confirm("Do it?", abort=True)
        # Those that were accepted while the question stood there are not dropped.
        n_dropped = outbox.drop(stream, _ms(from_at), _ms(to_at), reason.strip())
    print(f"Packets of stream {stream} given up: {n_dropped}.")


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The file to write; - is stdout.")] = Path("-"),
    state: StatesOption = None,
    stream: StreamsOption = None,
) -> None:
    """Write packets as JSON lines, for the vendor's support.

    Each with its state and its reason.
    """
    with _outbox(_settings()) as outbox:
        # Before the file is opened: a typing error must not empty the one that is there.
        _possible(outbox, state, stream)
        lines = (json.dumps(row) for row in _packets(outbox, state, stream, is_for_people=False))
        if str(out) == "-":
            n_lines = _write(lines, sys.stdout)
        else:
            with out.open("w", encoding="utf-8") as file:
                n_lines = _write(lines, file)
    print(f"Packets written: {n_lines}.", file=sys.stderr)


def _resend(outbox: "Outbox", stream_id: str, *, is_sure: bool) -> None:
    from energy_etl.delivery.account import stamp_text
    from energy_etl.delivery.resending import forgotten, resend

    found = forgotten(outbox, stream_id)
    print(
        f"Wattics' last packet of stream {stream_id} is {stamp_text(found.last_ms)}. Packets that "
        f"it forgot and that go again: {found.n_packets}, from {stamp_text(found.first_ms)} to "
        f"{stamp_text(found.newest_ms)}. What it has restored by then is found, and not doubled; "
        "what it restores after that would be there twice."
    )
    if not is_sure:
        typer.confirm("Send them again?", abort=True)
    print(f"Packets of stream {stream_id} that go again: {resend(outbox, stream_id)}.")


def _settings() -> "Settings":
    from energy_etl.cli.project import command_settings

    return command_settings()


@contextlib.contextmanager
def _outbox(settings: "Settings") -> "Iterator[Outbox]":
    from energy_etl.delivery.outbox import Outbox
    from energy_etl.state import open_state

    if not settings.state_path.exists():
        raise ConfigurationError(
            f"There is no outbox in {settings.state_path}: run `energy-etl init`, or set "
            "ENERGY_ETL_ROOT to the project's folder."
        )
    with open_state(settings.state_path) as connection:
        yield Outbox(connection)


def _plans(settings: "Settings") -> "list[StreamPlan]":
    """Return what was agreed; without a portfolio the streams are shown all the same."""
    from energy_etl.delivery.agreed import stream_plans
    from energy_etl.portfolio import Portfolio
    from energy_etl.vendors.wattics.wire import field_problem

    folder = settings.portfolio_dir
    if not folder.is_dir() and settings.target == "sandbox":
        folder = settings.data_dir / "portfolio.example"
    try:
        portfolio = Portfolio.load(folder, field_problem)
        for problem in portfolio.problems:
            print(f"energy-etl: {problem.message}", file=sys.stderr)
        return stream_plans(portfolio)
    except ConfigurationError as error:
        print(f"energy-etl: Lag and holes cannot be told: {error}", file=sys.stderr)
        return []


def _known(
    outbox: "Outbox", stream_ids: list[str] | None, plans: "Sequence[StreamPlan]" = ()
) -> None:
    known = {each.stream_id for each in (*outbox.streams(), *plans)}
    for stream_id in stream_ids or ():
        if stream_id not in known:
            raise UsageError(
                f"Stream {stream_id} has no packets in the outbox: `energy-etl outbox status` "
                "lists those that have."
            )


def _possible(outbox: "Outbox", states: list[str] | None, streams: list[str] | None) -> None:
    from typing import get_args

    from energy_etl.delivery.outbox import State

    for state in states or ():
        if state not in get_args(State):
            known = ", ".join(get_args(State))
            raise UsageError(f"{state!r} is none of {known}: take one of them.")
    _known(outbox, streams)


def _packets(
    outbox: "Outbox", states: list[str] | None, streams: list[str] | None, *, is_for_people: bool
) -> Iterator[dict[str, Any]]:
    """Yield packets by stream and stamp; one stream at a time is in memory."""
    import polars as pl

    from energy_etl.delivery.mirror import packet_frame
    from energy_etl.delivery.outbox import BEHIND

    wanted: list[Any] = [*(states or (("rejected", "held") if is_for_people else (None,)))]
    for stream_id in streams or [each.stream_id for each in outbox.streams()]:
        frame = pl.concat(
            packet_frame(outbox, state=state, stream_id=stream_id) for state in wanted
        )
        if is_for_people and not states:
            needs_person = (pl.col("state") == "rejected") | (pl.col("hold_reason") == BEHIND)
            frame = frame.filter(needs_person)
        yield from map(plain_row, frame.sort("stamped_at").iter_rows(named=True))


def _droppable(outbox: "Outbox", stream: str, from_at: datetime, to_at: datetime) -> dict[str, int]:
    """Count the packets of [from_at, to_at) that were never accepted, per state."""
    import polars as pl

    from energy_etl.delivery.mirror import packet_frame

    found = packet_frame(outbox, stream_id=stream).filter(
        pl.col("stamped_at").is_between(from_at, to_at, closed="left"),
        pl.col("state").is_in(["held", "pending", "rejected"]),
    )
    return dict(found.group_by("state").len().iter_rows())


def _ms(instant: datetime) -> int:
    from energy_etl.state import instant_to_us

    return instant_to_us(instant) // 1000


def _write(lines: Iterator[str], file: TextIO) -> int:
    n_lines = 0
    for line in lines:
        file.write(line + "\n")
        n_lines += 1
    return n_lines
