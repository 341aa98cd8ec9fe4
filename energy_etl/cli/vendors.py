"""`energy-etl vendors`: what is configured, how calls went, and what is left of the quotas."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_etl.cli.values import iso_text

if TYPE_CHECKING:
    from energy_etl.cli.standing import VendorStanding


def vendors(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is configured, and how much quota is left.

    Per vendor, with its last success, its calls and until when its readings reach. Nobody is
    called; `energy-etl doctor` tries the logins.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.standing import look_at_vendors, now, refuse_no_project

    settings = command_settings()
    refuse_no_project(settings)
    standing = look_at_vendors(settings, now())
    for note in standing.notes:
        print(f"energy-etl: {note}", file=sys.stderr)
    if as_json:
        rows = {"target": settings.target, "vendors": [_plain(each) for each in standing.vendors]}
        print(json.dumps({**rows, "notes": standing.notes}, indent=2))
        return
    _print(standing.vendors)


def _plain(each: "VendorStanding") -> dict[str, Any]:
    calls = each.calls
    return {
        "vendor": each.vendor.name,
        "title": each.vendor.title,
        "document": each.vendor.document,
        "configured": each.configured,
        "addresses": each.addresses,
        "last_success_at": iso_text(each.last_success_at),
        "last_failure_at": iso_text(each.last_failure_at),
        "last_error": calls["last_error"] if calls else None,
        "n_calls_last_hour": calls["n_calls"] if calls else None,
        "n_failed_last_hour": calls["n_failed"] if calls else None,
        "readings_until_at": iso_text(each.until_at),
        "quotas": [budget.plain() for budget in each.budgets],
    }


def _print(found: "tuple[VendorStanding, ...]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable

    from energy_etl.cli.standing import shown

    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    screen.add_column("vendor", no_wrap=True)
    screen.add_column("configured", overflow="fold")
    for name in ("last success", "data until"):
        screen.add_column(name, no_wrap=True)
    screen.add_column("calls 1 h", justify="right", overflow="fold")
    for each in found:
        calls = each.calls
        told = "?" if calls is None else f"{calls['n_calls']}"
        if calls and calls["n_failed"]:
            told += f", {calls['n_failed']} failed"
        screen.add_row(
            each.vendor.title,
            each.configured,
            shown(each.last_success_at) if calls is not None else "?",
            shown(each.until_at),
            told,
        )
    Console().print(screen)
    for each in found:
        # Below the table: beside it there is no room for them on 80 columns.
        left = [
            f"pause of {budget.pause_s:.0f} s"
            if budget.pause_s
            else f"{budget.n_left}/{budget.limit} {budget.what} in {budget.window_s:g} s"
            for budget in each.budgets
        ]
        if left:
            print(f"Quota left of {each.vendor.title}: {', '.join(left)}")
    print("Times are UTC.")
    for each in found:
        if each.is_failing and each.calls:
            # One sentence, as it was stored: redacted.
            print(f"{each.vendor.title}: {each.calls['last_error']}")
