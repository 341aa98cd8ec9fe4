"""What the demo prints at its end: vendors, sites, streams, where the data is, what to try next."""

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table as ScreenTable

from energy_etl.cli.outbox_view import lag_text
from energy_etl.delivery.outbox import Outbox
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.transform.delivery import is_lagging
from energy_etl.vendors import discover_vendors
from energy_etl.warehouse import count_published, read_published

# Each fits on a line of 80 columns, and README explains it.
NEXT = (
    'energy-etl sql "SELECT site_id, energy_kwh, trend_pct FROM mart.site_last_week"',
    'energy-etl sql "SELECT kind, place, next_step FROM mart.finding"',
    "energy-etl report",
    "energy-etl up",
)


def is_delivered(settings: Settings) -> bool:
    """True when packets were confirmed and nothing that was due is left."""
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        left = sum(outbox.count(state) for state in ("pending", "sent", "rejected"))
        return left == 0 and outbox.count("confirmed") > 0


def print_summary(settings: Settings) -> None:
    """Print the tables on stdout."""
    console = Console()
    _print_vendors(console, settings)
    sites = read_published(
        settings.published_path, "SELECT * FROM mart.site_last_week ORDER BY site_id"
    )
    screen = ScreenTable(
        title="Last week per site (complete local days, mains)",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in ("site", "kWh", "trend", "Digiwatt kWh", "Digiwatt trend", "coverage"):
        screen.add_column(name, justify="left" if name == "site" else "right")
    for row in sites.iter_rows(named=True):
        screen.add_row(
            row["site_id"],
            _number(row["energy_kwh"], 1),
            _number(row["trend_pct"], 1, "%", sign="+"),
            _number(row["vendor_energy_kwh"], 1),
            _number(row["vendor_trend_pct"], 0, "%", sign="+"),
            _number(row["coverage_pct"], 1, "%"),
        )
    console.print(screen)
    _print_delivery(console, settings)
    console.print(f"The data is in [bold]{settings.published_path}[/] (open it read-only).")
    console.print("Next (`. .venv/bin/activate` puts energy-etl on your path):")
    for command in NEXT:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _print_vendors(console: Console, settings: Settings) -> None:
    """Print what was extracted from each vendor: the rows of its tables."""
    screen = ScreenTable(
        title="Extracted, rows per table",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    screen.add_column("vendor")
    screen.add_column("rows", justify="right")
    screen.add_column("of which", overflow="fold")
    for vendor in discover_vendors().values():
        counts = count_published(settings.published_path, vendor.tables)
        if counts:
            largest = sorted(counts.items(), key=lambda item: -item[1])
            shown = ", ".join(f"{table.name} {n:,}" for table, n in largest if n)
            screen.add_row(vendor.title, f"{sum(counts.values()):,}", shown or "nothing")
    console.print(screen)


def _print_delivery(console: Console, settings: Settings) -> None:
    """Print one line per stream, and one sentence about them all."""
    streams = read_published(
        settings.published_path,
        "SELECT s.*, s.n_sent + s.n_confirmed + s.n_superseded AS n_accepted, m.register_id "
        "FROM push.stream_status AS s LEFT JOIN push.stream AS m USING (stream_id) "
        "ORDER BY m.register_id, stream_id",
    )
    screen = ScreenTable(
        title="Delivery per stream (packets; last in UTC)",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        # A line per stream on 80 columns.
        padding=0,
    )
    for name in ("stream", "register"):
        screen.add_column(name, overflow="fold")
    for name in ("sent", "conf.", "ref.", "holes", "last", "lag"):
        screen.add_column(name, justify="right", no_wrap=True)
    for row in streams.iter_rows(named=True):
        last_at = row["last_sent_at"]
        screen.add_row(
            row["stream_id"],
            row["register_id"] or "(files)",
            # Sent: accepted by Wattics, whether confirmed since or not.
            *(str(row[f"n_{what}"]) for what in ("accepted", "confirmed", "rejected", "holes")),
            "-" if last_at is None else f"{last_at:%m-%d %H:%M}",
            lag_text(row["lag_minutes"]),
        )
    console.print(screen)
    console.print(f"{delivery_sentence(streams)}\n")


def delivery_sentence(streams: pl.DataFrame) -> str:
    """Return one sentence on the delivery of all streams.

    Args:
        streams: `push.stream_status` with `n_accepted`.
    """
    n = streams.select(pl.col("^n_.*$").sum()).row(0, named=True)
    n_streams = streams.filter(pl.col("n_accepted") > 0).height
    n_parked = streams["parked_reason"].count()
    # What changed since it was sent is confirmed as it was sent, and told in push.correction.
    is_all = not n["n_sent"]
    confirmed = "all confirmed" if is_all else f"{n['n_sent']:,} of them not confirmed"
    n_lagging = streams.filter(is_lagging()).height
    parts = [
        f"{n['n_accepted']:,} packets of {_streams(n_streams)} sent, {confirmed}",
        *([f"{n['n_rejected']:,} refused"] if n["n_rejected"] else []),
        *([f"{_streams(n_parked)} parked"] if n_parked else []),
        *([f"{_streams(n_lagging)} behind"] if n_lagging else []),
        f"{n['n_holes']:,} holes in what was sent",
    ]
    advice = " (`energy-etl outbox status`)" if len(parts) > 2 else ""
    return "; ".join(parts) + advice + "."


def _streams(number: int) -> str:
    return "1 stream" if number == 1 else f"{number} streams"


def _number(figure: float | None, digits: int, unit: str = "", sign: str = "") -> str:
    return "-" if figure is None else f"{figure:{sign},.{digits}f}{' ' + unit if unit else ''}"
