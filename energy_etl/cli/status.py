"""`energy-etl status`: how the project stands, on one screen."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from energy_etl.cli.values import iso_text
from energy_etl.errors import WarehouseError

if TYPE_CHECKING:
    from datetime import datetime

    from energy_etl.cli.standing import Standing
    from energy_etl.settings import Settings

_FINDINGS = "SELECT kind, count(*) AS n FROM mart.finding GROUP BY kind ORDER BY n DESC, kind"
_PUBLISHED = "SELECT published_at FROM main.publication"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how it stands, on one screen.

    When each vendor answered last, until when readings reach, what waits, when it was computed
    and sent last, and where the data is. Nobody is called and no run is disturbed; `energy-etl
    doctor` says what does not work.
    """
    from energy_etl.cli.project import command_settings
    from energy_etl.cli.standing import look_at_vendors, now, refuse_no_project

    settings = command_settings()
    refuse_no_project(settings)
    at = now()
    standing = look_at_vendors(settings, at)
    for note in standing.notes:
        print(f"energy-etl: {note}", file=sys.stderr)
    facts = _facts(settings, standing, at)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        _print(facts)


def _facts(settings: "Settings", standing: "Standing", at: "datetime") -> dict[str, Any]:
    from energy_etl.cli.doctor.holders import lock_holders

    holders = lock_holders(settings.dagster_home / "up.lock")
    published_at, findings = _published(settings)
    return {
        "target": settings.target,
        "root": str(settings.root),
        "data": str(settings.published_path),
        "is_up": bool(holders),
        "up": holders[0].told if holders else None,
        "vendors": [
            {
                "vendor": each.vendor.name,
                "title": each.vendor.title,
                "configured": each.configured,
                "is_failing": each.is_failing,
                "last_success_at": iso_text(each.last_success_at),
                "last_failure_at": iso_text(each.last_failure_at),
                "last_error": each.calls["last_error"] if each.calls else None,
                "readings_until_at": iso_text(each.until_at),
            }
            for each in standing.vendors
        ],
        **_waiting(settings, at),
        "computed_at": iso_text(published_at),
        "findings": findings,
        "notes": standing.notes,
    }


def _published(settings: "Settings") -> "tuple[datetime | None, dict[str, int] | None]":
    """Return when people's file was made, and its findings by kind."""
    from energy_etl.warehouse import read_published

    if not settings.published_path.exists():
        return None, None
    try:
        published_at = read_published(settings.published_path, _PUBLISHED).item()
        findings = read_published(settings.published_path, _FINDINGS)
    except WarehouseError as error:
        print(f"energy-etl: {error}", file=sys.stderr)
        return None, None
    return published_at, dict(findings.iter_rows())


def _waiting(settings: "Settings", at: "datetime") -> dict[str, Any]:
    """Return what the state file knows: marks, when packets were sent, how delivery stands."""
    import polars as pl

    from energy_etl.cli.summary import delivery_sentence
    from energy_etl.delivery.agreed import stream_plans
    from energy_etl.delivery.mirror import last_accepted, status_frame
    from energy_etl.delivery.outbox import Outbox
    from energy_etl.state import Marks, open_state

    if not settings.state_path.exists():
        return {"marks": [], "sent_at": None, "delivery": None, "n_parked": 0, "n_rejected": 0}
    portfolio = _portfolio(settings)
    with open_state(settings.state_path) as connection:
        marks = Marks(connection).waiting()
        outbox = Outbox(connection)
        streams = status_frame(outbox, stream_plans(portfolio) if portfolio else (), at)
        sent = last_accepted(outbox)
    accepted = streams.with_columns(
        n_accepted=pl.col("n_sent") + pl.col("n_confirmed") + pl.col("n_superseded")
    )
    # Each stream of streams.csv has a row, also before there is a packet.
    n_packets = sum(streams.select(pl.col("^n_.*$").sum()).row(0))
    return {
        "marks": [
            {
                "stage": each.stage,
                "n_marks": each.n_marks,
                "n_registers": each.n_registers,
                "oldest_at": iso_text(each.oldest_at),
            }
            for each in marks
        ],
        "sent_at": iso_text(max(sent.values(), default=None)),
        "delivery": delivery_sentence(accepted) if n_packets else None,
        "n_parked": streams["parked_reason"].count(),
        "n_rejected": int(streams["n_rejected"].sum()),
    }


def _portfolio(settings: "Settings") -> Any:
    from energy_etl.errors import ConfigurationError
    from energy_etl.portfolio import Portfolio

    folder = settings.portfolio_dir
    if not folder.is_dir() and settings.target == "sandbox":
        folder = settings.data_dir / "portfolio.example"
    try:
        return Portfolio.load(folder)
    except ConfigurationError as error:
        print(f"energy-etl: Lag and holes cannot be told: {error}", file=sys.stderr)
        return None


def _print(facts: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as ScreenTable
    from rich.text import Text

    screen = ScreenTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    screen.add_column("vendor", no_wrap=True)
    screen.add_column("configured", overflow="fold")
    for name in ("last success", "last failure", "data until"):
        screen.add_column(name, no_wrap=True)
    for row in facts["vendors"]:
        # Without the year: they fit on 80 columns.
        last, failed, until = (
            _time(row[f"{name}_at"])[-11:]
            for name in ("last_success", "last_failure", "readings_until")
        )
        style = "red" if row["is_failing"] else ""
        screen.add_row(row["title"], row["configured"], last, Text(failed, style), until)
    Console().print(screen)
    print()
    for row in facts["vendors"]:
        if row["last_error"]:
            # What was answered since may be over; a person decides that by its reason.
            since = "" if row["is_failing"] else ", answered since"
            print(f"{row['title']}{since}: {' '.join(row['last_error'].split())}")
    runs = facts["up"] or "nothing; `energy-etl up` computes and sends"
    findings = facts["findings"]
    lines = {
        "Running": runs,
        "Waiting": _marks(facts["marks"]),
        "Computed": f"{_time(facts['computed_at'])} (what people read)",
        "Sent": f"{_time(facts['sent_at'])} (last packet that Wattics accepted)",
        "Delivery": facts["delivery"] or "no packet yet",
        "Findings": "none yet" if findings is None else _findings(findings),
        "Data": f"{facts['data']} (open it read-only)",
        "Target": facts["target"],
    }
    for name, told in lines.items():
        print(f"{name + ':':<10}{told}")
    print("Times are UTC.")


def _marks(marks: list[dict[str, Any]]) -> str:
    told = [
        f"{mark['stage']} of {mark['n_registers']} registers since {_time(mark['oldest_at'])}"
        for mark in marks
    ]
    return "; ".join(told) or "no changed readings"


def _findings(findings: dict[str, int]) -> str:
    if not findings:
        return "none"
    most = ", ".join(f"{n} {kind}" for kind, n in list(findings.items())[:3])
    return f"{sum(findings.values())} ({most}{', ...' if len(findings) > 3 else ''}): mart.finding"


def _time(text: str | None) -> str:
    return "-" if text is None else text[:16].replace("T", " ")
