"""The portfolio files that describe the sandbox's truths, built from the truths themselves.

`python -m energy_etl_tests.sandbox.portfolio_rows` writes data/portfolio.example/; with the folder
of the OPSD file as its argument, data/portfolio.replay/ too. A test compares both with the files.
"""

import csv
import io
import sys
from pathlib import Path

from energy_etl.portfolio.layout import (
    EXCHANGES,
    GAPS,
    MANUAL_EDITS,
    MEASURES,
    STREAM_FIELDS,
    WEATHER,
)
from energy_etl.sandbox.model import (
    FIELDS_SMARTGRIDONE,
    Register,
    Tariff,
    Truth,
    device_id_wattsense,
    id_digiwatt,
    id_wiser,
    node_id_smartgridone,
    property_id_wattsense,
)
from energy_etl.sandbox.replay import Replay
from energy_etl.sandbox.world import World

DATA = Path(__file__).resolve().parents[2] / "data"
Rows = list[dict[str, object]]
# What people declare; about the sandbox there is nothing to say.
_DECLARED = (EXCHANGES, GAPS, MANUAL_EDITS, MEASURES, WEATHER, STREAM_FIELDS)
# What is paid for a kWh that is fed back, in the currency of the site; no vendor shows it.
_EXPORT_CREDITS = {"rome-a": 0.1}


def portfolio_files(truth: Truth) -> dict[str, str]:
    """Return the text of each file of the portfolio of a truth."""
    registers = list(truth.registers.values())
    at_wiser = {site_id for sites in truth.locations.values() for site_id in sites}
    tables: dict[str, Rows] = {
        "sites": [
            {
                "site_id": site.site_id,
                "name": site.name,
                "zone": site.zone,
                "currency": site.currency,
                "area_m2": site.area_m2,
                "site_id_wiser": id_wiser("site", site.site_id) if site.site_id in at_wiser else "",
                "use": "household",
            }
            for site in truth.sites.values()
        ],
        "meters": _meters(registers, at_wiser),
        "registers": [_register(register, truth.slot_ms // 60_000) for register in registers],
        "streams": [
            {
                "stream_id": stream.stream_id,
                "register_id": stream.register_id,
                "field": stream.field,
                "content": stream.content,
                "interval_minutes": truth.slot_ms // 60_000,
                "credential": stream.account,
                "push_from_at": "",
            }
            for stream in truth.streams.values()
        ],
        "tariffs": [
            row
            for site_id, site in truth.sites.items()
            for row in _tariffs(truth.tariffs(site_id), site.currency)
        ],
    }
    texts = {f"{name}.csv": _text(rows) for name, rows in tables.items()}
    return texts | {layout.file: f"{','.join(layout.cells)}\n" for layout in _DECLARED}


def _meters(registers: list[Register], at_wiser: set[str]) -> Rows:
    rows: dict[str, dict[str, object]] = {}
    for register in registers:
        is_mains = register.purpose == "grid_import" and register.vendor == "wattsense"
        is_at_wiser = register.site_id in at_wiser and register.commodity == "electricity"
        row: dict[str, object] = {
            "meter_id": register.meter_id,
            "site_id": register.site_id,
            "name": "Mains" if register.meter_id.endswith(".mains") else register.name,
            "commodity": register.commodity,
            "meter_id_digiwatt": id_digiwatt(register.site_id) if is_mains else "",
            "meter_id_wiser": id_wiser("device", register.meter_id) if is_at_wiser else "",
        }
        rows.setdefault(register.meter_id, row)
    return list(rows.values())


def _register(register: Register, grid_minutes: int) -> dict[str, object]:
    device_id = device_id_wattsense(register.site_id)
    id_of = {"wattsense": "", "smartgridone": ""}
    if register.vendor == "smartgridone":
        field = FIELDS_SMARTGRIDONE[register.purpose][1]
        id_of["smartgridone"] = f"{node_id_smartgridone(register.meter_id)}/{field}"
    else:
        id_of["wattsense"] = f"{device_id}/{property_id_wattsense(register.register_id)}"
    return {
        "register_id": register.register_id,
        "meter_id": register.meter_id,
        "role": register.role,
        "appliance": register.appliance or "",
        "kind": register.kind,
        "unit": register.unit,
        "grid_minutes": grid_minutes,
        "digits": register.digits or "",
        "rating_native_per_hour": register.rating_native_per_hour or "",
        "resolution_native": register.resolution_native,
        "stamp": "end" if register.kind == "interval" else "instant",
        "is_primary": "false" if register.same_as else "true",
        "register_id_wattsense": id_of["wattsense"],
        "register_id_smartgridone": id_of["smartgridone"],
    }


def _tariffs(tariffs: tuple[Tariff, ...], currency: str) -> Rows:
    rows: Rows = [
        {
            "site_id": tariff.site_id,
            "commodity": "electricity",
            "role": "mains",
            "valid_from_on": tariff.valid_from_on.isoformat(),
            "valid_to_on": tariff.valid_to_on.isoformat() if tariff.valid_to_on else "",
            "from_local_time": _clock(tariff.from_minute),
            "to_local_time": _clock(tariff.to_minute),
            "days": tariff.days,
            "price_per_kwh": tariff.price_eur_per_kwh,
            "currency": currency,
        }
        for tariff in tariffs
    ]
    credit = _EXPORT_CREDITS.get(tariffs[0].site_id) if tariffs else None
    if credit is not None:
        hours = {"from_local_time": "00:00", "to_local_time": "24:00", "days": "all"}
        rows.append({**rows[0], **hours, "role": "export", "price_per_kwh": credit})
    return rows


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _text(rows: Rows) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write(truth: Truth, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in portfolio_files(truth).items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    _write(World(), DATA / "portfolio.example")
    if len(sys.argv) > 1:
        _write(Replay(sys.argv[1]), DATA / "portfolio.replay")
