"""Frames of the report as a small or a large project would have them, made without a database."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from energy_etl.periods import local_day_bounds
from energy_etl.report import SOURCES

ZONE = "Europe/Rome"
# A Saturday: 2026-10-25, a day of 25 hours, is among the last 28.
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
_BY_NAME = {source.name: source for source in SOURCES}

# What a name may be at its worst.
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(2)>",
    "]]></style></svg><svg onload=alert(3)>",
    "\u202egnirts desrever\u202c \u05e9\u05dc\u05d5\u05dd",
    "x\x00\x07\x1b[31my",
    "W" * 200,
)


def frame(name: str, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Return a source's frame; columns that a row does not name are null."""
    schema = _BY_NAME[name].schema
    whole = [dict.fromkeys(schema) | row for row in rows]
    assert all(set(row) == set(schema) for row in whole), name
    return pl.DataFrame(whole, schema=dict(schema))


def empty() -> dict[str, pl.DataFrame]:
    """Return what a project has before anything was computed."""
    return {source.name: source.empty() for source in SOURCES}


def day_hours(on: date, zone: str = ZONE) -> float:
    """Return the length of a local day."""
    start_at, end_at = local_day_bounds(zone, on)
    return (end_at - start_at).total_seconds() / 3600


def make(
    names: Sequence[str] = ("Mill", "Harbour"),
    *,
    n_submeters: int = 2,
    n_days: int = 90,
    with_energy: bool = True,
) -> dict[str, pl.DataFrame]:
    """Return frames of sites of which everything is known, each with a stream and a finding."""
    frames = empty()
    site_ids = [f"site-{place}" for place in range(len(names))]
    days = [TODAY - timedelta(days=n) for n in range(n_days, -1, -1)]
    registers = [
        {
            "register_id": f"{site_id}.{what}",
            "meter_id": f"{site_id}.{what}",
            "site_id": site_id,
            "meter_name": f"{label} {what}",
            "commodity": "electricity",
            "role": "mains" if what == "mains" else "appliance",
            "appliance": None if what == "mains" else what,
            "is_primary": True,
        }
        for site_id, label in zip(site_ids, names, strict=True)
        for what in ("mains", *(f"washingMachine{n}" for n in range(n_submeters)))
    ]
    frames["publication"] = frame(
        "publication", [{"generation": "1", "published_at": NOW - timedelta(hours=1)}]
    )
    frames["site"] = frame(
        "site",
        [
            {"site_id": site_id, "name": label, "zone": ZONE, "currency": "EUR"}
            for site_id, label in zip(site_ids, names, strict=True)
        ],
    )
    frames["register"] = frame("register", registers)
    frames["coverage"] = frame(
        "coverage",
        [
            {
                "register_id": row["register_id"],
                "site_id": row["site_id"],
                "computed_on": TODAY,
                "n_expected": 672,
                "n_measured": 672 - place % 40,
                "coverage_pct": 100 * (672 - place % 40) / 672,
                "last_read_at": NOW - timedelta(minutes=30),
            }
            for place, row in enumerate(registers)
        ],
    )
    if with_energy:
        frames["site_daily"] = _site_daily(site_ids, days)
        frames["daily"] = _daily(registers, days[-65:])
        frames["trend"] = _trend(site_ids)
        frames["cost"] = _cost(site_ids)
    frames["tariff"] = frame(
        "tariff",
        [{"site_id": site_id, "commodity": "electricity", "role": "mains"} for site_id in site_ids],
    )
    frames["stream"] = _streams(registers)
    frames["finding"] = frame(
        "finding",
        [
            {
                "kind": "reset",
                "place": f"{site_id}.mains",
                "from_at": NOW,
                "message": f"The counter of {label} starts again.",
                "next_step": "Declare the exchange.",
            }
            for site_id, label in zip(site_ids, names, strict=True)
        ],
    )
    return frames


def _site_daily(site_ids: Sequence[str], days: Sequence[date]) -> pl.DataFrame:
    return frame(
        "site_daily",
        [
            {
                "site_id": site_id,
                "commodity": "electricity",
                "local_on": on,
                "hours": day_hours(on),
                "consumption_kwh": 10.0 + on.weekday(),
                "coverage_pct": 100.0,
                "is_complete": True,
            }
            for site_id in site_ids
            for on in days
        ],
    )


def _daily(registers: Sequence[dict[str, Any]], days: Sequence[date]) -> pl.DataFrame:
    return frame(
        "daily",
        [
            {
                "register_id": row["register_id"],
                "site_id": row["site_id"],
                "local_on": on,
                "hours": day_hours(on),
                "energy_kwh": 10.0 + on.weekday() if row["role"] == "mains" else 3.0,
                "n_expected": int(4 * day_hours(on)),
                # Every register has some bad days, none on the same ones.
                "n_measured": int(4 * day_hours(on)) - (90 if (on.day + place) % 29 == 0 else 0),
            }
            for place, row in enumerate(registers)
            for on in days
        ],
    )


def _trend(site_ids: Sequence[str]) -> pl.DataFrame:
    return frame(
        "trend",
        [
            {
                "register_id": f"{site_id}.mains",
                "site_id": site_id,
                "period": period,
                "computed_on": TODAY,
                "energy_kwh": 100.0,
                "vendor": "digiwatt",
                "vendor_energy_kwh": 100.0 + difference,
                "vendor_difference_pct": difference,
                "coverage_pct": 100.0,
            }
            for site_id in site_ids
            for period, difference in (
                ("last-week", 0.4),
                ("last-month", -7.0),
                ("yesterday", None),
            )
            if difference is not None
        ],
    )


def _cost(site_ids: Sequence[str]) -> pl.DataFrame:
    return frame(
        "cost",
        [
            {
                "register_id": f"{site_id}.mains",
                "site_id": site_id,
                "commodity": "electricity",
                "period": period,
                "currency": "EUR",
                "cost": 21.5,
            }
            for site_id in site_ids
            for period in ("last-week", "last-month")
        ],
    )


def _streams(registers: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return frame(
        "stream",
        [
            {
                "stream_id": f"dp-{row['register_id']}",
                "register_id": row["register_id"],
                "interval_minutes": 15,
                "n_sent": 0,
                "n_confirmed": 600,
                "n_pending": 0,
                "n_held": 0,
                "n_rejected": 0,
                "n_superseded": 0,
                "first_sent_at": NOW - timedelta(days=10),
                "last_sent_at": NOW - timedelta(minutes=30),
                "n_holes": 0,
                "n_missing": 0,
                "lag_minutes": 15.0,
            }
            for row in registers
        ],
    )
