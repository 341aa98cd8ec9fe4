"""`energy-etl license`: SmartgridOne's licences: list, activate, claim."""

import json
import sys
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="SmartgridOne's licences.")

YesOption = Annotated[bool, typer.Option("--yes", help="Do it without a question.")]
KeyArgument = Annotated[str, typer.Argument(help="The licence's key.")]
_SHOWN = (
    "licence_key_end",
    "licence_type",
    "licence_status",
    "site_id",
    "controller_node_id_smartgridone",
    "ends_on",
    "days_left",
    "grid_kw",
    "solar_kw",
    "battery_kw",
    "ev_kw",
    "has_capacity",
)


@app.command()
def activate(
    key: KeyArgument,
    at: Annotated[
        str, typer.Option(help="When it begins, with its offset; default: the call's instant.")
    ] = "",
    yes: YesOption = False,
) -> None:
    """Start a licence: show what would be called, ask, do it."""
    from energy_etl.cli.changing import show_ask_do
    from energy_etl.defs.changes import parse_instant
    from energy_etl.vendors.smartgridone.changes import ActivateLicense

    show_ask_do(ActivateLicense(key, parse_instant(at)), is_agreed=yes)


@app.command()
def claim(
    key: KeyArgument,
    node_id: Annotated[str, typer.Argument(help="The controller's node id.")],
    yes: YesOption = False,
) -> None:
    """Link a licence to a controller: show what would be called, ask, do it."""
    from energy_etl.cli.changing import show_ask_do
    from energy_etl.vendors.smartgridone.changes import ClaimLicense

    show_ask_do(ClaimLicense(key, node_id), is_agreed=yes)


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask SmartgridOne for the licences as they are now, beside what is installed."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable

    from energy_etl.defs.changes import list_licences
    from energy_etl.defs.resources import Etl

    licences = list_licences(Etl())
    if as_json:
        json.dump(licences.to_dicts(), sys.stdout, indent=2, default=str)
        print()
        return
    screen = ScreenTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in _SHOWN:
        screen.add_column(name, overflow="fold")
    for row in licences.select(_SHOWN).iter_rows():
        screen.add_row(*("-" if cell is None else str(cell) for cell in row))
    Console().print(screen)
