"""`energy-etl doctor`: what does not work, why, and what to do next.

    rows.py           a row, and the exit code of a list of them
    running.py        checks side by side, each within its time
    subject.py        what the checks look at, read once
    holders.py        which processes hold a file
    machine.py        versions, zone data, disk, files
    configuration.py  settings and portfolio
    storage.py        warehouse, published file, state file, marks
    instance.py       Dagster
    vendors.py        logins, answers, clocks
    delivery.py       streams
    alerts.py         the webhook that is told of failed runs

Nothing is changed: a check reads, or makes one cheap call.
"""

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from energy_etl.cli.doctor.rows import Row

_FEW = 3


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Ask no vendor.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine everything that runs depend on; say what to do.

    Exit codes: 0 nothing fails, 3 configuration, 4 a login, 5 the network, 1 else; in this order.
    """
    from energy_etl.cli.doctor.examination import examine
    from energy_etl.cli.doctor.rows import worst_code

    rows, is_complete = examine(is_offline=offline)
    if as_json:
        print(json.dumps([row.plain() for row in rows], indent=2))
    else:
        _print(rows)
    code = worst_code(rows)
    if not is_complete:
        # A check that hangs keeps a thread, and Python would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _print(rows: "list[Row]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable
    from rich.text import Text

    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    screen.add_column("what", overflow="fold")
    screen.add_column("", no_wrap=True)
    screen.add_column("what was found, and what to do", overflow="fold")
    for row in _folded(rows):
        told = Text(row.cause)
        if row.next_step:
            told.append(f"\n-> {row.next_step}", style="bold")
        # As text: brackets in a name are no markup.
        screen.add_row(Text(row.what), Text(row.verdict, styles[row.verdict]), told)
    Console().print(screen)
    n = {verdict: sum(row.verdict == verdict for row in rows) for verdict in styles}
    print(f"\n{n['fail']} fail, {n['warn']} to look at, {n['ok']} ok.")


def _folded(rows: "list[Row]") -> "list[Row]":
    """Show streams that stand alike, of one cause, in one line when they are many."""
    from energy_etl.cli.doctor.delivery import STREAM
    from energy_etl.cli.doctor.rows import Row

    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.what.startswith(STREAM):
            alike.setdefault(_kind(row), []).append(row)
    shown = [row for row in rows if not row.what.startswith(STREAM)]
    for streams in alike.values():
        first = streams[0]
        if len(streams) <= _FEW:
            shown += streams
        elif first.verdict == "ok":
            shown.append(Row("streams", "ok", f"{len(streams)} are well."))
        else:
            cause = f"{first.what} and {len(streams) - 1} more stand like this: {first.cause}"
            stream = f" --stream {first.what.removeprefix(STREAM)}"
            next_step = first.next_step.replace(f"retry{stream}", "retry --all").replace(stream, "")
            shown.append(Row("streams", first.verdict, cause, next_step, first.code))
    return shown


def _kind(row: "Row") -> tuple[str, str]:
    """Return what streams that stand alike share: how it is and why, whatever their numbers."""
    from energy_etl.cli.doctor.delivery import LAST_PACKET, STREAM

    if row.verdict == "ok":
        return row.verdict, ""
    why = row.cause.partition(LAST_PACKET)[0].replace(row.what.removeprefix(STREAM), "")
    return row.verdict, re.sub(r"\d+ \w+", "", why)
