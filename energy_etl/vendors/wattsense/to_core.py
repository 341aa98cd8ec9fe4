"""Wattsense's tables -> readings of our registers, and a proposal of who is who; pure.

A register's vendor id is `<deviceId>/<propertyId>` (portfolio column `register_id_wattsense`). What
nobody has mapped stays in Wattsense's tables and is told as a finding, never guessed.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from energy_etl.tables.core import READING
from energy_etl.vendors import UNMAPPED_SCHEMA, Proposal, VendorBatch, WhoIsWho, Write
from energy_etl.vendors.naming import mapped_registers, slug
from energy_etl.vendors.wattsense.tables import DEVICE, HISTORY, LATEST, PROPERTY

NAME: Final = "wattsense"
_IDS: Final = ["device_id_wattsense", "property_id_wattsense"]
# Wattsense's free text -> (our unit, commodity, kind). An energy unit does not tell electricity
# from heat; electricity is the commoner, and a person reads the proposal before it counts.
_UNITS: Final[Mapping[str, tuple[str, str, str]]] = {
    "wh": ("Wh", "electricity", "cumulative"),
    "kwh": ("kWh", "electricity", "cumulative"),
    "mwh": ("MWh", "electricity", "cumulative"),
    "m³": ("m3", "water", "cumulative"),
    "m3": ("m3", "water", "cumulative"),
    "l": ("l", "water", "cumulative"),
    "°c": ("degC", "temperature", "instant"),
    "degc": ("degC", "temperature", "instant"),
    "c": ("degC", "temperature", "instant"),
}


def to_core(batch: VendorBatch, who: WhoIsWho) -> list[Write]:
    """Turn the history of a batch into versions of `core.reading`."""
    frame = to_readings(batch.frame(HISTORY), who.alias)
    return [Write(READING, frame, "append_versions")] if frame.height else []


def to_readings(history: pl.DataFrame, alias: pl.DataFrame) -> pl.DataFrame:
    """Turn rows of wattsense.history into rows of `core.reading`, sorted by register and instant.

    Rows without a number (a text such as `on`) and of properties that are not mapped are left out;
    the warehouse counts the versions, so `version` is 1 throughout.
    """
    mapped = mapped_registers(history, _IDS, alias, NAME)
    return (
        history.filter(pl.col("reading_native").is_not_null())
        .join(mapped, on=_IDS)
        .select(
            "register_id",
            pl.col("measured_at").alias("read_at"),
            "reading_native",
            pl.lit(1, pl.Int64).alias("version"),
            pl.lit(NAME).alias("vendor"),
            "received_at",
        )
        .sort("register_id", "read_at")
    )


def find_unmapped(frames: Mapping[str, pl.DataFrame], alias: pl.DataFrame) -> pl.DataFrame:
    """Return vendor, thing, vendor_id of each property that Wattsense lists and nobody mapped.

    Args:
        frames: wattsense.latest and wattsense.property by full name, as far as they are there.
        alias: core.alias.
    """
    listed = [
        frames[table.full_name].select(vendor_id=pl.concat_str(_IDS, separator="/"))
        for table in (LATEST, PROPERTY)
        if table.full_name in frames
    ]
    if not listed:
        return pl.DataFrame(schema=UNMAPPED_SCHEMA)
    known = alias.filter((pl.col("thing") == "register") & (pl.col("vendor") == NAME))
    return (
        pl.concat(listed)
        .unique()
        .join(known, on="vendor_id", how="anti")
        .select(pl.lit(NAME).alias("vendor"), pl.lit("register").alias("thing"), "vendor_id")
        .sort("vendor_id")
    )


def propose(batch: VendorBatch) -> Proposal:
    """Propose one site per box, and one meter with one register per property with a known unit.

    Needs the answers of `devices` and of the properties (configuration, else latest values). Ids
    are made of Wattsense's names; zone, role and rating are for a person to fill in or correct.
    """
    proposal = Proposal()
    properties = _properties(batch)
    for device in batch.frame(DEVICE).sort("device_id_wattsense").iter_rows(named=True):
        device_id = device["device_id_wattsense"]
        site_id = slug(device["name"] or device_id)
        proposal.sites.append(
            {
                "site_id": site_id,
                "name": device["name"] or device_id,
                "zone": device["zone"] or "",
                "currency": "EUR",
            }
        )
        mine = properties.filter(pl.col("device_id_wattsense") == device_id)
        for row in mine.iter_rows(named=True):
            unit = _UNITS.get((row["unit_text"] or "").strip().lower())
            if unit is not None:
                _propose_register(proposal, site_id, row, unit)
    return proposal


def _propose_register(
    proposal: Proposal, site_id: str, row: Mapping[str, str | None], unit: tuple[str, str, str]
) -> None:
    device_id, property_id = row["device_id_wattsense"], row["property_id_wattsense"]
    name = row["name"] or row["slug"] or str(property_id)
    our_id = f"{site_id}.{slug(row['slug'] or name)}"
    our_unit, commodity, kind = unit
    proposal.meters.append(
        {"meter_id": our_id, "site_id": site_id, "name": name, "commodity": commodity}
    )
    proposal.registers.append(
        {
            "register_id": our_id,
            "meter_id": our_id,
            "role": "sensor" if kind == "instant" else "submeter",
            "kind": kind,
            "unit": our_unit,
            "grid_minutes": "15",
            "resolution_native": "1" if our_unit in ("Wh", "l") else "0.001",
            "stamp": "instant",
            "is_primary": "true",
            "register_id_wattsense": f"{device_id}/{property_id}",
        }
    )


def _properties(batch: VendorBatch) -> pl.DataFrame:
    wanted = [*_IDS, "name", "slug", "unit_text"]
    found = pl.concat([batch.frame(PROPERTY).select(wanted), batch.frame(LATEST).select(wanted)])
    return found.unique(subset=_IDS, keep="first", maintain_order=True).sort(_IDS)
