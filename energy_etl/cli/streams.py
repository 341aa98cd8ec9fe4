"""`energy-etl streams`: the stream map beside what Wattics lists, new meters, one register."""

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_etl.cli.values import typed_instant
from energy_etl.errors import ConfigurationError, MalformedError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from energy_etl.portfolio import Portfolio
    from energy_etl.settings import Settings
    from energy_etl.vendors.wattics.api_client import WatticsApiClient
    from energy_etl.vendors.wattics.provisioning import Listed, NewStream, Plan

app = typer.Typer(no_args_is_help=True, help="Which register feeds which stream at Wattics.")

PushFromOption = Annotated[
    str,
    typer.Option(
        help="No packet is stamped before this instant; default: the start of today in UTC. What "
        "is older must be agreed with Wattics."
    ),
]


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the stream map beside what Wattics lists now."""
    from energy_etl.cli.project import command_settings
    from energy_etl.portfolio import Portfolio
    from energy_etl.tables import push
    from energy_etl.vendors.wattics.api_client import NO_TOKEN
    from energy_etl.vendors.wattics.provisioning import list_streams
    from energy_etl.vendors.wattics.settings import WatticsSettings
    from energy_etl.vendors.wattics.wire import field_problem

    settings = command_settings()
    portfolio, meters = Portfolio.load(settings.portfolio_dir, field_problem), None
    for problem in portfolio.problems:
        print(f"energy-etl: {problem.message}", file=sys.stderr)
    if settings.section(WatticsSettings).api_token.get_secret_value():
        with _client(settings) as client:
            meters = _listed(client).meter
    else:
        print(f"energy-etl: {NO_TOKEN}", file=sys.stderr)
    frames = portfolio.frames
    rows = list_streams(frames[push.STREAM], frames[push.STREAM_FIELD], meters)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from energy_etl.cli.streams_view import print_streams

    print_streams(rows)


@app.command()
def create(
    registers: Annotated[
        list[str] | None,
        typer.Argument(help="Registers of the portfolio; default: every primary one."),
    ] = None,
    credential: Annotated[
        str,
        typer.Option(help="Who pushes them; default: who pushes the site's other streams."),
    ] = "",
    organization: Annotated[
        str, typer.Option(help="Wattics' id of the organization that new sites go to.")
    ] = "",
    push_from: PushFromOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it without a question.")] = False,
) -> None:
    """Create meters at Wattics for registers without a stream.

    Shows the plan, asks, and writes streams.csv.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.portfolio import Portfolio
    from energy_etl.vendors.golive import require_consent
    from energy_etl.vendors.wattics.provisioning import plan_streams
    from energy_etl.vendors.wattics.reach import API_LOGIN
    from energy_etl.vendors.wattics.settings import WatticsSettings
    from energy_etl.vendors.wattics.wire import field_problem

    settings, push_from_at = command_settings(), _instant(push_from)
    portfolio = Portfolio.load_strictly(settings.portfolio_dir, field_problem)
    if credential:
        _check_credential(settings, credential)
    require_consent(settings, "wattics", (API_LOGIN,))
    with _client(settings) as client:
        plan = plan_streams(
            portfolio.frames,
            _listed(client),
            only=registers or (),
            credentials=sorted(settings.section(WatticsSettings).credentials),
            credential=credential or None,
            organization_id=organization or None,
        )
        for sentence in plan.refused:
            print(f"energy-etl: {sentence}", file=sys.stderr)
        if not plan.streams:
            if plan.refused:
                raise typer.Exit(1)
            print("There is nothing to create: every primary register has a stream.")
            return
        for site in plan.sites:
            print(f"- create site {site.name!r} in organization {site.organization_id}.")
        for stream in plan.streams:
            print(f"- {stream.sentence()}")
        if not yes:
            typer.confirm("Do this at Wattics and in streams.csv?", abort=True)
        _provision(settings, client, plan, push_from_at)
    if plan.refused:
        raise typer.Exit(1)


@app.command(name="map")
def map_(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="REGISTER STREAM",
            help="A register of the portfolio and the id agreed with Wattics; with --files the id "
            "alone.",
        ),
    ],
    field: Annotated[str, typer.Option(help="Field of the packet: pC_1, aP_1, value, ...")],
    content: Annotated[
        str, typer.Option(help="cumulative_wh, interval or sample; with --files nothing.")
    ] = "",
    files: Annotated[
        bool, typer.Option("--files", help="Files feed the stream (`energy-etl push csv`).")
    ] = False,
    zone: Annotated[str, typer.Option(help="Time zone of the local times in its files.")] = "",
    interval: Annotated[
        int | None, typer.Option(help="Agreed minutes between packets; of a new stream 15.")
    ] = None,
    credential: Annotated[
        str, typer.Option(help="Name of the credential in the settings; of a new stream main.")
    ] = "",
    push_from: PushFromOption = "",
) -> None:
    """Write a register's stream into streams.csv, or change it.

    Another register in another field of a stream that is there becomes a further field of the same
    packets, in stream_fields.csv. With --files the stream is fed by files, whatever their age.
    A stream that has sent and moves to another register needs --push-from: what it sent before then
    stays, and what the new register says of that time is told as corrections otherwise.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.portfolio import Portfolio, set_stream, set_stream_field
    from energy_etl.tables import push
    from energy_etl.vendors.wattics.wire import field_problem

    settings = command_settings()
    portfolio = Portfolio.load_strictly(settings.portfolio_dir, field_problem)
    register, stream_id = _names(names, files=files)
    is_content_fit = bool(content) != files
    if bool(zone) != files or not is_content_fit:
        raise UsageError(
            "A stream that files feed is mapped with --files and --zone, and one that a register "
            "feeds with --content: write either."
        )
    if register is not None:
        _check_register(portfolio, register, field, content)
    if credential:
        _check_credential(settings, credential)
    there = portfolio.frames[push.STREAM].filter(stream_id=stream_id)
    cells = {"stream_id": stream_id, "register_id": register or "", "field": field}
    cells["content"] = content or "file"
    fed_by = "files" if register is None else register
    if register is not None and _is_further(there, register, field):
        if interval is not None or credential or push_from:
            raise UsageError(
                f"{field} is a further field of {stream_id}: its interval, credential and start "
                "are those of the stream, so leave --interval, --credential and --push-from out."
            )
        with _typed_cells():
            is_new = set_stream_field(settings.portfolio_dir, cells, field_problem)
        verb = "Added" if is_new else "Changed"
        print(f"{verb} field {field} of stream {stream_id}: {fed_by}.")
        return
    if there.is_empty():
        credential = credential or "main"
        _check_credential(settings, credential)
        interval = 15 if interval is None else interval
    if interval is not None:
        cells["interval_minutes"] = str(interval)
    if credential:
        cells["credential"] = credential
    if files or there["zone"].drop_nulls().len():
        cells["zone"] = zone
    # Where a register feeds a stream already its start stays; a file is older than today.
    if push_from or not (files or there["register_id"].count()):
        cells["push_from_at"] = _text(_instant(push_from))
    with _typed_cells():
        is_new = set_stream(settings.portfolio_dir, cells, field_problem)
    print(f"{'Added' if is_new else 'Changed'} stream {stream_id}: {fed_by} in {field}.")


@contextlib.contextmanager
def _typed_cells() -> Iterator[None]:
    """Tell a row that does not fit as a usage error: the files were right before it was typed."""
    try:
        yield
    except ConfigurationError as error:
        raise UsageError(str(error)) from error


def _names(names: list[str], *, files: bool) -> tuple[str | None, str]:
    """Return the register, None with --files, and the stream."""
    if len(names) != (1 if files else 2):
        wanted = "with --files the stream alone" if files else "a register and a stream"
        raise UsageError(f"{len(names)} names were given ({' '.join(names)}): name {wanted}.")
    return (None, names[0]) if files else (names[0], names[1])


def _is_further(there: "pl.DataFrame", register: str, field: str) -> bool:
    """True when another register is to feed another field of a stream that registers feed."""
    # With the same register or in the same field it is the stream's own row that changes.
    return any(
        row["register_id"] not in (None, register) and row["field"] != field
        for row in there.iter_rows(named=True)
    )


def _check_register(portfolio: "Portfolio", register: str, field: str, content: str) -> None:
    from energy_etl.tables import core
    from energy_etl.vendors.wattics.wire import field_problem

    found = portfolio.frames[core.REGISTER].filter(register_id=register)
    if found.is_empty():
        raise UsageError(f"{register} is not in registers.csv: correct its name.")
    row = found.row(0, named=True)
    problem = field_problem(field, content, row["commodity"], row["unit"])
    if problem is not None:
        raise UsageError(f"{register} cannot be mapped: {problem}")


def _check_credential(settings: "Settings", credential: str) -> None:
    from energy_etl.vendors.wattics.settings import WatticsSettings

    known = sorted(settings.section(WatticsSettings).credentials)
    if credential not in known:
        raise UsageError(
            f"The credential {credential} is not in the settings ({', '.join(known) or 'none'}): "
            "correct --credential, or add it as ENERGY_ETL_WATTICS__CREDENTIALS."
        )


def _client(settings: "Settings") -> "WatticsApiClient":
    from energy_etl.rest import RequestLog
    from energy_etl.vendors.wattics.api_client import WatticsApiClient
    from energy_etl.vendors.wattics.settings import WatticsSettings

    return WatticsApiClient(
        settings.section(WatticsSettings),
        log=RequestLog("wattics"),
        state_path=settings.state_path,
    )


def _listed(client: "WatticsApiClient") -> "Listed":
    """Ask Wattics what it lists; a part that is missing would look like something to create."""
    from energy_etl.vendors.wattics import tables
    from energy_etl.vendors.wattics.provisioning import Listed
    from energy_etl.vendors.wattics.rows import to_batch

    report = client.fetch_listing()
    batch = to_batch(client.log.calls())
    for error in (*report.failures.values(), *(problem.error for problem in batch.problems)):
        raise error
    for row in batch.quarantine.head(1).iter_rows(named=True):
        raise MalformedError(
            f"wattics {row['endpoint']} lists an item that cannot be read ({row['reasons']}), so "
            "it is not known what is there: nothing was created, report it to Wattics."
        )
    return Listed(
        batch.frame(tables.ORGANIZATION), batch.frame(tables.SITE), batch.frame(tables.METER)
    )


def _provision(
    settings: "Settings", client: "WatticsApiClient", plan: "Plan", push_from_at: datetime
) -> None:
    """Create and map, one by one: what was done stays done when a later one fails."""
    new_sites: dict[str, str] = {}
    for site in plan.sites:
        new_sites[site.site_id] = client.create_site(site.organization_id, site.name)
        print(f"Created site {new_sites[site.site_id]}: {site.name}.")
    for stream in plan.streams:
        if stream.meter_id is None:
            site_id = stream.site_id_wattics or new_sites[stream.site_id]
            meter_id = _create_meter(client, stream, site_id)
            print(f"Created meter {meter_id}: {stream.name}.")
        _map(settings, stream, push_from_at)
        print(f"Mapped {stream.register_id} to stream {stream.stream_id}.")


def _create_meter(client: "WatticsApiClient", stream: "NewStream", site_id: str) -> str:
    return client.create_meter(
        site_id,
        name=stream.name,
        commodity=stream.commodity,
        stream_id=stream.stream_id,
        content=stream.content,
        is_electrical=stream.is_electrical,
        interval_minutes=stream.interval_minutes,
    )


def _map(settings: "Settings", stream: "NewStream", push_from_at: datetime) -> None:
    from energy_etl.portfolio import set_stream

    set_stream(
        settings.portfolio_dir,
        {
            "stream_id": stream.stream_id,
            "register_id": stream.register_id,
            "field": stream.field,
            "content": stream.content,
            "interval_minutes": str(stream.interval_minutes),
            "credential": stream.credential,
            "push_from_at": _text(push_from_at),
        },
    )


def _instant(text: str) -> datetime:
    if not text:
        return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return typed_instant(text, "--push-from")


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
