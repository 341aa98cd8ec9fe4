"""`energy-etl streams`: the stream map beside what Wattics lists, new meters, one register."""

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_etl.errors import ConfigurationError, MalformedError

if TYPE_CHECKING:
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
_SHOWN = ("stream_id", "state", "register_id", "field", "content", "meter_id_wattics", "meter_name")


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the stream map beside the meters that Wattics lists now."""
    from energy_etl.portfolio import Portfolio
    from energy_etl.tables import push
    from energy_etl.vendors import project_settings
    from energy_etl.vendors.wattics.api_client import NO_TOKEN
    from energy_etl.vendors.wattics.provisioning import list_streams
    from energy_etl.vendors.wattics.settings import WatticsSettings

    settings = project_settings()
    portfolio = Portfolio.load(settings.portfolio_dir)
    streams, meters = portfolio.frames[push.STREAM], None
    for problem in portfolio.problems:
        print(f"energy-etl: {problem.message}", file=sys.stderr)
    if settings.section(WatticsSettings).api_token.get_secret_value():
        with _client(settings) as client:
            meters = _listed(client).meter
    else:
        print(f"energy-etl: {NO_TOKEN}", file=sys.stderr)
    rows = list_streams(streams, meters)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable

    screen = ScreenTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in _SHOWN:
        screen.add_column(name, overflow="fold")
    for row in rows:
        screen.add_row(*("-" if row[name] is None else str(row[name]) for name in _SHOWN))
    Console().print(screen)


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
    """Create a meter at Wattics for each register without a stream, and map it."""
    from energy_etl.portfolio import Portfolio
    from energy_etl.vendors import project_settings
    from energy_etl.vendors.wattics.provisioning import plan_streams
    from energy_etl.vendors.wattics.settings import WatticsSettings

    settings, push_from_at = project_settings(), _instant(push_from)
    portfolio = Portfolio.load_strictly(settings.portfolio_dir)
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
    register: Annotated[str, typer.Argument(help="A register of the portfolio.")],
    stream_id: Annotated[str, typer.Argument(help="The id agreed with Wattics.")],
    field: Annotated[str, typer.Option(help="Field of the packet: pC_1, aP_1, value, ...")],
    content: Annotated[str, typer.Option(help="cumulative_wh, interval or sample.")],
    interval: Annotated[int, typer.Option(help="Agreed minutes between packets.")] = 15,
    credential: Annotated[
        str, typer.Option(help="Name of the credential in the settings.")
    ] = "main",
    push_from: PushFromOption = "",
) -> None:
    """Write a register's stream into streams.csv, or change the stream's row."""
    from energy_etl.portfolio import Portfolio, set_stream
    from energy_etl.tables import core, push
    from energy_etl.vendors import project_settings
    from energy_etl.vendors.wattics.settings import WatticsSettings
    from energy_etl.vendors.wattics.wire import field_problem

    settings = project_settings()
    frames = Portfolio.load_strictly(settings.portfolio_dir).frames
    found = frames[core.REGISTER].filter(register_id=register)
    if found.is_empty():
        raise ConfigurationError(f"{register} is not in registers.csv: correct its name.")
    row = found.row(0, named=True)
    problem = field_problem(field, content, row["commodity"], row["unit"])
    if problem is not None:
        raise ConfigurationError(f"{register} cannot be mapped: {problem}")
    known = sorted(settings.section(WatticsSettings).credentials)
    if credential not in known:
        raise ConfigurationError(
            f"The credential {credential} is not in the settings ({', '.join(known) or 'none'}): "
            "correct --credential, or add it as ENERGY_ETL_WATTICS__CREDENTIALS."
        )
    cells = {
        "stream_id": stream_id,
        "register_id": register,
        "field": field,
        "content": content,
        "interval_minutes": str(interval),
        "credential": credential,
    }
    # Of a stream that is there the start stays, unless it is given.
    if push_from or stream_id not in frames[push.STREAM]["stream_id"]:
        cells["push_from_at"] = _text(_instant(push_from))
    is_new = set_stream(settings.portfolio_dir, cells)
    print(f"{'Added' if is_new else 'Changed'} stream {stream_id}: {register} in {field}.")


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
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ConfigurationError(
            f"--push-from {text} is no instant: write it as 2026-10-28T00:00:00Z."
        )
    return instant


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
