"""`energy-etl push`: files of measurements to Wattics, and one packet to try a stream out."""

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from energy_etl.errors import DeliveryError, UsageError

if TYPE_CHECKING:
    from energy_etl.cli.push_files import Progress, Pushed, Target
    from energy_etl.vendors.wattics.files import FileFormat, FilePackets

app = typer.Typer(no_args_is_help=True, help="Files of measurements to Wattics; try a stream out.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TITLES = {"read": "Reading", "outbox": "Into the outbox", "sent": "Sending"}
_FORMATS = ("csv", "ini", "jsonl")


@app.command()
def csv(
    file: Annotated[Path, typer.Argument(help="A CSV, an ini of Swarm, or JSON lines.")],
    stream: Annotated[
        str | None,
        typer.Option(help="The stream that a CSV is for; it has content file in streams.csv."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="csv, ini or jsonl; default: by the file's name."),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Send the good lines of a bad file.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check the file, send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send a file's measurements, in order and verified.

    The same file again sends nothing.

    CSV: local time, then measurements, no header: 2024-05-31 14:00:00,12.5. The zone is the
    stream's in streams.csv. Lines that cannot be sent are listed with their numbers, and then
    nothing is sent.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.push_files import Target, deliver
    from energy_etl.vendors.wattics.files import read_packets

    target = Target.of(command_settings())
    _tell_problems(target)
    if stream is not None:
        target.plan(stream)
    with _progress() as show:
        packets = read_packets(
            file,
            target.streams,
            now=datetime.now(UTC),
            stream_id=stream,
            file_format=_format(file_format),
            on_progress=lambda n_done, n_bytes: show("read", n_done, n_bytes),
        )
        _check(file, packets, skip_bad_lines)
        if dry_run:
            pushed, sentences = [], []
        else:
            pushed, sentences = deliver(target, packets, show, _tell)
    if as_json:
        print(json.dumps(_as_json(packets, pushed, sentences, is_dry_run=dry_run), indent=2))
    elif dry_run:
        _print_preview(packets)
    else:
        for each in pushed:
            print(each.sentence)
    _end(pushed, sentences)


@app.command(name="test")
def try_out(
    stream: Annotated[str, typer.Argument(help="The stream.")],
    value: Annotated[float, typer.Option(help="The number in the packet.")] = 1.0,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Send nothing: ask for the last packet alone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Try a stream out: one packet there and back.

    Of a stream that files feed; the packet is stamped now.

    First the last packet is asked for: a wrong URL, user or password shows, and nothing is sent.
    For a stream that a register feeds only --read-only: a packet of now would stand before the
    readings that are still to come.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.push_files import Target, deliver, read_back
    from energy_etl.vendors.wattics.files import one_packet

    target = Target.of(command_settings())
    _tell_problems(target)
    plan, now = target.plan(stream), datetime.now(UTC)
    if plan.register_ids and not read_only:
        raise UsageError(
            f"Stream {stream} is fed by a register: a packet of now would bar the way of its "
            "readings. Give --read-only, or try a stream that files feed (Wattics gives three "
            "for tests)."
        )
    if not abs(value) < float("inf"):
        raise UsageError(f"--value {value} is no number that can be sent: give 1.0.")
    is_offered, last_at = read_back(target, stream)
    if not read_only:
        file_stream = target.streams.get(stream)
        if last_at is not None and last_at >= now:
            raise DeliveryError(
                f"The last packet of stream {stream} at Wattics is of {last_at.isoformat()}, which "
                "is still to come: nothing was sent, ask Wattics to reset the stream."
            )
        with _progress() as show:
            packets = one_packet(file_stream, now, value)
            pushed, sentences = deliver(target, packets, show, _tell)
        if not as_json:
            print(f"Sent {file_stream.field} = {value}: {pushed[0].sentence}")
        is_offered, last_at = read_back(target, stream)
    else:
        pushed, sentences = [], []
    if as_json:
        row = {
            "stream_id": stream,
            "credential": plan.credential,
            "is_last_packet_offered": is_offered,
            "last_at": None if last_at is None else last_at.isoformat(),
            "pushed": pushed[0].row() if pushed else None,
            "problems": sentences,
        }
        print(json.dumps(row, indent=2))
    elif not is_offered:
        print(f"Wattics does not offer the last packet of stream {stream}.")
    else:
        shown = "none yet" if last_at is None else last_at.isoformat()
        print(f"Last packet of stream {stream} at Wattics: {shown}.")
    _end(pushed, sentences)


@app.command(name="dry-run")
def dry_run(
    out: Annotated[
        Path, typer.Option(help="The file to write, a line of JSON per packet; - is stdout.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Write what a send run would send now to a file, and send nothing.

    Each line has the stream, the credential, the URL and the very body. No packet's state changes,
    nobody is called, and no consent is needed. What is due and what waits for what is printed.
    """
    from energy_etl.cli.project import command_etl
    from energy_etl.defs.dry_run import look_ahead, write_lines
    from energy_etl.defs.instance import open_instance

    etl, is_stdout = command_etl(), str(out) == "-"
    home = etl.settings().dagster_home
    with contextlib.ExitStack() as stack:
        instance = None
        if (home / "dagster.yaml").exists():
            instance = stack.enter_context(open_instance(home))
        ahead = stack.enter_context(look_ahead(etl, instance))
        if is_stdout:
            for line in ahead.lines():
                print(line)
        else:
            write_lines(out, ahead.lines())
        if as_json:
            told = json.dumps(
                {
                    "file": None if is_stdout else str(out.resolve()),
                    "url": ahead.url,
                    "n_due": ahead.n_due,
                    "n_waiting": ahead.n_waiting,
                    "streams": [each.row() for each in ahead.streams],
                },
                indent=2,
            )
        else:
            lines = [each.sentence for each in ahead.streams]
            told = "\n".join([*lines, f"{ahead.headline} Nothing was sent."])
    print(told, file=sys.stderr if is_stdout else sys.stdout)


def _format(text: str | None) -> "FileFormat | None":
    if text is None:
        return None
    if text not in _FORMATS:
        raise UsageError(f"{text!r} is none of {', '.join(_FORMATS)}: take one of them.")
    return text  # pyright: ignore[reportReturnType]


def _check(file: Path, packets: "FilePackets", skip_bad_lines: bool) -> None:
    """Tell what was decided; refuse a bad file."""
    for note in packets.notes:
        _tell(note)
    if packets.bad.n:
        listed = "".join(f"\n  {sentence}" for sentence in packets.bad.sentences)
        if not skip_bad_lines:
            raise DeliveryError(
                f"{file} has {packets.bad.n} bad lines and nothing was sent: mend them, or give "
                f"--skip-bad-lines.{listed}"
            )
        _tell(f"{file} has {packets.bad.n} bad lines, which are skipped:{listed}")
    if packets.rows.is_empty():
        raise DeliveryError(
            f"{file} has no measurement that can be sent: give a file with at least one good line."
        )


def _as_json(
    packets: "FilePackets", pushed: "list[Pushed]", sentences: list[str], *, is_dry_run: bool
) -> dict:
    return {
        "is_dry_run": is_dry_run,
        "n_packets": packets.rows.height,
        "fields": packets.fields,
        "n_bad_lines": packets.bad.n,
        "bad_lines": packets.bad.sentences,
        "notes": list(packets.notes),
        "streams": [each.row() for each in pushed],
        "problems": sentences,
    }


def _print_preview(packets: "FilePackets") -> None:
    first = next(packets.batches()).row(0, named=True)
    n_streams = packets.rows["stream_id"].n_unique()
    print(f"{packets.rows.height} packets of {n_streams} streams, none sent. The first one is:")
    print(first["body"])


def _end(pushed: "list[Pushed]", sentences: list[str]) -> None:
    for sentence in sentences:
        _tell(sentence)
    if sentences or not all(each.is_delivered for each in pushed):
        raise typer.Exit(1)


def _tell_problems(target: "Target") -> None:
    for problem in target.portfolio.problems:
        _tell(problem.message)


def _tell(sentence: str) -> None:
    print(f"energy-etl: {sentence}", file=sys.stderr)


@contextlib.contextmanager
def _progress() -> "Iterator[Progress]":
    """Bars on stderr, on a screen only: in a log each step of them would be a line."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

    tasks: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bars:

        def show(step: str, n_done: int, n_all: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(_TITLES[step], total=n_all)
            bars.update(tasks[step], completed=n_done, total=n_all)

        yield show
