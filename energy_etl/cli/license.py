"""`energy-etl license`: SmartgridOne's licences: list, activate, claim."""

import json
import sys
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="SmartgridOne's licences.")

YesOption = Annotated[bool, typer.Option("--yes", help="Do it without a question.")]
KeyArgument = Annotated[str, typer.Argument(help="The licence's key.")]
# Heading: column of mart.licence. A key is a claim, so only its end is shown: whole keys stand in
# smartgridone.licence.
_SHOWN = {
    "key": "licence_key_end",
    "status": "licence_status",
    "site": "site_id",
    "controller": "controller_node_id_smartgridone",
    "ends on": "ends_on",
    "days": "days_left",
    "enough": "has_capacity",
}
_CAPACITIES = ("grid_kw", "solar_kw", "battery_kw", "ev_kw")


@app.command()
def activate(
    key: KeyArgument,
    at: Annotated[
        str, typer.Option(help="When it begins, with its offset; default: the call's instant.")
    ] = "",
    yes: YesOption = False,
) -> None:
    """Start a licence: shows the plan, asks, does it."""
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
    """Link a licence to a controller: shows the plan, asks."""
    from energy_etl.cli.changing import show_ask_do
    from energy_etl.vendors.smartgridone.changes import ClaimLicense

    show_ask_do(ClaimLicense(key, node_id), is_agreed=yes)


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask SmartgridOne for the licences as they are now.

    Capacity is grid/solar/battery/ev in kW; it is enough when it covers what is installed.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable
    from rich.text import Text

    from energy_etl.cli.project import command_etl
    from energy_etl.defs.changes import list_licences

    licences, failures = list_licences(command_etl())
    for failure in failures:
        print(f"energy-etl: {failure}", file=sys.stderr)
    if as_json:
        json.dump(licences.to_dicts(), sys.stdout, indent=2, default=str)
        print()
        return
    screen = ScreenTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    for heading in _SHOWN:
        screen.add_column(heading, overflow="fold")
    screen.add_column("capacity kW", overflow="fold")
    for row in licences.iter_rows(named=True):
        cells = [_cell(row[name]) for name in _SHOWN.values()]
        cells.append("/".join(_cell(row[name]) for name in _CAPACITIES))
        # As text: brackets in a name are no markup.
        screen.add_row(*map(Text, cells))
    Console().print(screen)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
