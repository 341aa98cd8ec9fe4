"""Every command of `energy-etl`: its options, its help, and a call of the module that does it."""

import inspect
from pathlib import Path
from typing import Annotated, Final

import typer

from energy_etl.cli import device, license, outbox, push, streams
from energy_etl.cli.backfill import backfill
from energy_etl.cli.dictionary import dictionary
from energy_etl.cli.doctor import doctor
from energy_etl.cli.golive import golive
from energy_etl.cli.keeping import forget, prune
from energy_etl.cli.report import report
from energy_etl.cli.sql import QueryCommand, sql
from energy_etl.cli.status import status
from energy_etl.cli.support import support_bundle
from energy_etl.cli.transfer import export, import_
from energy_etl.cli.values import existing_path, typed_instant
from energy_etl.cli.vendors import vendors
from energy_etl.cli.wiser import app as wiser_app

# The panels of `energy-etl --help`, in their order there.
_START: Final = "Start"
_LOOK: Final = "Look"
_LOAD: Final = "Load and compute"
_DELIVER: Final = "Deliver to Wattics"
_VENDOR: Final = "Set up a vendor"
_KEEP: Final = "Keep"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Energy readings from vendor clouds into DuckDB, and in order to Wattics.",
)

ReplayOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of real registers to serve instead of the seeded world.",
        callback=existing_path,
    ),
]


@app.command(rich_help_panel=_START)
def init(
    discover: Annotated[
        bool, typer.Option(help="Ask the vendors what they list and propose portfolio rows.")
    ] = False,
) -> None:
    """Make what a project folder needs: data/ and a portfolio.

    That is state.sqlite, the warehouse, the Dagster instance, and on the sandbox the example
    portfolio. What is there is left alone. --discover asks the vendors what they list and proposes
    rows; a house that two vendors see is proposed twice: merge the rows.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.setup import discover_portfolio, prepare, today_at

    settings = command_settings()
    prepare(settings, push_from_at=today_at())
    if discover:
        n_rows = discover_portfolio(settings)
        told = "complete the empty cells" if n_rows else "nothing of what was listed is new"
        print(f"{n_rows} rows proposed in {settings.portfolio_dir}: {told}.")
    else:
        print(f"Ready in {settings.data_dir}.")


@app.command(rich_help_panel=_START)
def demo(
    replay: ReplayOption = None,
    days: Annotated[int | None, typer.Option(min=15, help="Days to load.")] = None,
    push_days: Annotated[int | None, typer.Option(min=1, help="Days to push.")] = None,
) -> None:
    """Run all of it once against the sandbox, and end.

    Readings of 100 days in, marts, the last days out to Wattics. What came out is printed; nothing
    stays running.
    """
    from energy_etl.cli.demo import run_demo
    from energy_etl.vendors import project_settings

    if not run_demo(project_settings(), replay=replay, n_days=days, n_push_days=push_days):
        raise typer.Exit(1)


@app.command(rich_help_panel=_START)
def up(
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, help="Port of the UI; another one when it is taken."),
    ] = 3000,
    replay: ReplayOption = None,
) -> None:
    """Run it: Dagster's UI, schedules, sensors; Ctrl-C stops all.

    With the sandbox beside it on the target sandbox. Everything listens on 127.0.0.1 only. SIGTERM
    stops it as well, active runs included.
    """
    from energy_etl.cli.up import run_up
    from energy_etl.vendors import project_settings

    run_up(project_settings(), port=port, replay=replay)


@app.command(rich_help_panel=_START)
def sandbox(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8080,
    replay: ReplayOption = None,
    now: Annotated[
        str | None, typer.Option(help="Instant that the vendors take for now, with its offset.")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder in which the collector keeps what it was sent.")
    ] = None,
) -> None:
    """Run the five vendors of the sandbox alone, on 127.0.0.1."""
    from energy_etl.sandbox.server import serve

    at = None if now is None else typed_instant(now, "--now")
    serve(port=port, replay=replay, now=at, state_dir=state_dir)


app.command(rich_help_panel=_LOOK)(status)
app.command(rich_help_panel=_LOOK)(vendors)
app.command(rich_help_panel=_LOOK)(doctor)
app.command(rich_help_panel=_LOOK, cls=QueryCommand)(sql)
app.command(rich_help_panel=_LOOK)(report)
app.command(rich_help_panel=_LOAD)(backfill)


@app.command(rich_help_panel=_LOAD)
def rebuild(
    lose_older: Annotated[
        bool, typer.Option(help="Do it after raw was pruned too: what is older is lost.")
    ] = False,
) -> None:
    """Make every table but raw again, without calling a vendor.

    From the answers that are kept in raw: after a fault in how they were read, or a lost warehouse.
    """
    from energy_etl.cli.rebuild import rebuild_from_raw
    from energy_etl.vendors import project_settings

    for line in rebuild_from_raw(project_settings(), loses_older=lose_older):
        print(line)


app.command(rich_help_panel=_START)(golive)
app.add_typer(streams.app, name="streams", rich_help_panel=_DELIVER)
app.add_typer(push.app, name="push", rich_help_panel=_DELIVER)
app.add_typer(outbox.app, name="outbox", rich_help_panel=_DELIVER)
app.add_typer(wiser_app, name="wiser", rich_help_panel=_VENDOR)
app.add_typer(license.app, name="license", rich_help_panel=_VENDOR)
app.add_typer(device.app, name="device", rich_help_panel=_VENDOR)
app.command(rich_help_panel=_KEEP)(prune)
app.command(rich_help_panel=_KEEP)(forget)
app.command(rich_help_panel=_KEEP)(export)
app.command(name="import", rich_help_panel=_KEEP)(import_)
app.command(name="support-bundle", rich_help_panel=_KEEP)(support_bundle)
app.command(rich_help_panel=_KEEP)(dictionary)


def _unwrap_helps(group: typer.Typer) -> None:
    """Let a terminal wrap the paragraphs of each help; else lines end where the source's do."""
    for command in group.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(lines.split()) for lines in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _unwrap_helps(inner.typer_instance)


_unwrap_helps(app)
