"""Showing what would be changed at a vendor, asking, doing it: the same for every such command."""

import getpass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from energy_etl.vendors.smartgridone.changes import Wish


def show_ask_do(wish: "Wish", *, is_agreed: bool) -> None:
    """Print the plan, ask unless `--yes` was given, do it, and print what was done.

    Raises:
        typer.Exit: the answer was no; nothing was changed.
        EnergyEtlError: it could not be planned, was refused, or its outcome is not as asked.
    """
    from energy_etl.cli.project import command_etl
    from energy_etl.defs.changes import do_change, plan_change

    etl = command_etl()
    plan = plan_change(etl, wish)
    for line in plan.lines():
        print(line)
    if plan.objection is not None:
        print("Nothing was changed.")
        raise typer.Exit(1)
    if not is_agreed and not typer.confirm("Do it?", default=False):
        print("Nothing was changed.")
        raise typer.Exit(1)
    # Planned once more: what was agreed to must still be what is done.
    done = do_change(etl, wish, confirm=plan.plan_hash, asked_by=f"cli {getpass.getuser()}")
    print(done.sentence)
