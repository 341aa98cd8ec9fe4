"""Who is who at Wiser: what nobody has mapped, and a proposal for the portfolio; pure.

Nothing of Wiser's goes to layer core: it lists things and measures nothing. A site's vendor id is
Wiser's site id (portfolio column `site_id_wiser`), a meter's is the device id (`meter_id_wiser`).
"""

from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from energy_etl.units import COMMODITIES
from energy_etl.vendors import UNMAPPED_SCHEMA, Proposal, VendorBatch
from energy_etl.vendors.naming import slug
from energy_etl.vendors.wiser.tables import DEVICE, SITE

NAME: Final = "wiser"


def in_force(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the versions that still hold."""
    return frame.filter(pl.col("valid_to_at").is_null())


def meters_among(devices: pl.DataFrame) -> pl.DataFrame:
    """Return the devices that are meters: all but those that others speak through.

    Everything but the id may be missing, so a device without a commodity may well be a meter.
    """
    gateways = devices.select(device_id_wiser="gateway_id_wiser").drop_nulls().unique()
    is_silent = pl.col("commodity").is_null()
    silent_gateways = devices.filter(is_silent).join(gateways, on="device_id_wiser", how="semi")
    return devices.join(silent_gateways, on="device_id_wiser", how="anti")


def is_zone(text: str | None) -> bool:
    """Return True for the IANA name of a region.

    Abbreviations are none, though some are in the database: EST is a region without daylight
    saving there, and a whole coast to whoever wrote it.
    """
    if not text or ("/" not in text and text != "UTC"):
        return False
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        return False
    return True


def find_unmapped(frames: Mapping[str, pl.DataFrame], alias: pl.DataFrame) -> pl.DataFrame:
    """Return vendor, thing, vendor_id of each site and meter that is listed and not mapped.

    Args:
        frames: wiser.site and wiser.device by full name.
        alias: core.alias.
    """
    sites = in_force(frames[SITE.full_name])
    meters = meters_among(in_force(frames[DEVICE.full_name]))
    listed = pl.concat(
        [
            sites.select(thing=pl.lit("site"), vendor_id="site_id_wiser"),
            meters.select(thing=pl.lit("meter"), vendor_id="device_id_wiser"),
        ]
    )
    known = alias.filter(pl.col("vendor") == NAME)
    return (
        listed.join(known, on=["thing", "vendor_id"], how="anti")
        .select(pl.lit(NAME).alias("vendor"), "thing", "vendor_id")
        .cast(UNMAPPED_SCHEMA)
        .sort("thing", "vendor_id")
    )


def propose(batch: VendorBatch) -> Proposal:
    """Propose one site per site and one meter per metering device, with ids made of their names.

    A time zone that is no IANA name, the currency and an unknown commodity are left for a person.
    """
    proposal = Proposal()
    devices = meters_among(batch.frame(DEVICE)).sort("device_id_wiser")
    for site in batch.frame(SITE).sort("site_id_wiser").iter_rows(named=True):
        site_id = slug(site["name"] or site["site_id_wiser"])
        proposal.sites.append(
            {
                "site_id": site_id,
                "name": site["name"] or site["site_id_wiser"],
                "zone": site["zone_text"] if is_zone(site["zone_text"]) else "",
                "site_id_wiser": site["site_id_wiser"],
            }
        )
        mine = devices.filter(pl.col("site_id_wiser") == site["site_id_wiser"])
        for device in mine.iter_rows(named=True):
            name = device["name"] or device["device_id_wiser"]
            commodity = (device["commodity"] or "").lower()
            proposal.meters.append(
                {
                    "meter_id": f"{site_id}.{slug(name)}",
                    "site_id": site_id,
                    "name": name,
                    "commodity": commodity if commodity in COMMODITIES else "",
                    "meter_id_wiser": device["device_id_wiser"],
                }
            )
    return proposal
