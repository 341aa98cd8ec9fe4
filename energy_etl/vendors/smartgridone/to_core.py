"""SmartgridOne's tables -> readings of our registers, and a proposal of who is who; pure.

A register's vendor id is `<nodeId>/<field>` (portfolio column `register_id_smartgridone`): readings
belong to a device and its field and are never summed over devices or controllers. What nobody has
mapped stays in SmartgridOne's tables and is told as a finding, never guessed.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from energy_etl.tables.core import READING
from energy_etl.vendors import UNMAPPED_SCHEMA, Proposal, VendorBatch, WhoIsWho, Write
from energy_etl.vendors.naming import mapped_registers, slug
from energy_etl.vendors.smartgridone.tables import DEVICE, SERIES, TELEMETRY

NAME: Final = "smartgridone"
_NODE: Final = "node_id_smartgridone"
_IDS: Final = [_NODE, "field"]
_POWER_SUFFIX: Final = "_W"
# Positive power is import, so what such a register counts comes with a minus.
_GIVING_ROLES: Final = ("production", "export")
# What a device may show of each direction, the best first: a counter survives gaps, a sum per
# interval tells energy, power has to be integrated (field, kind, unit).
_IMPORT: Final = (
    ("importedAbsEnergyTot_Wh", "cumulative", "Wh"),
    ("importedEnergyDeltaTot_Wh", "interval", "Wh"),
    ("actualPowerTot_W", "instant", "W"),
)
_EXPORT: Final = (
    ("exportedAbsEnergyTot_Wh", "cumulative", "Wh"),
    ("exportedEnergyDeltaTot_Wh", "interval", "Wh"),
)
_POWER: Final = _IMPORT[-1:]


@dataclass(frozen=True)
class _Direction:
    """One register that a measurement suggests: its role, appliance, and fields, best first."""

    name: str
    role: str
    fields: tuple[tuple[str, str, str], ...]
    appliance: str = ""


_AS_PRODUCER: Final = (_Direction("production", "production", _EXPORT + _POWER),)
_AS_CONSUMER: Final = (_Direction("import", "submeter", _IMPORT),)
# By measurement; of what is not named here nothing is proposed.
_DIRECTIONS: Final[Mapping[str, tuple[_Direction, ...]]] = {
    "gridMetrics": (
        _Direction("import", "mains", _IMPORT),
        _Direction("export", "export", _EXPORT),
    ),
    "submeteringMetrics": _AS_CONSUMER,
    "solarInverterMetrics": _AS_PRODUCER,
    "hybridInverterMetrics": _AS_PRODUCER,
    "evChargerMetrics": (_Direction("import", "submeter", _IMPORT, "ev"),),
    "heatPumpMetrics": (_Direction("import", "submeter", _IMPORT, "heatPump"),),
    "boilerMetrics": _AS_CONSUMER,
    "batteryMetrics": (
        _Direction("charged", "submeter", _IMPORT),
        _Direction("discharged", "submeter", _EXPORT),
    ),
}


def to_core(batch: VendorBatch, who: WhoIsWho) -> list[Write]:
    """Turn the telemetry of a batch into versions of `core.reading`."""
    frame = to_readings(batch.frame(TELEMETRY), who.alias, who.register)
    return [Write(READING, frame, "append_versions")] if frame.height else []


def to_readings(
    telemetry: pl.DataFrame, alias: pl.DataFrame, register: pl.DataFrame
) -> pl.DataFrame:
    """Turn rows of smartgridone.telemetry into rows of `core.reading`, by register and instant.

    Power of registers that produce or export changes its sign, so that it counts up what they give.
    Fields that are not mapped are left out; the warehouse counts the versions, so `version` is 1
    throughout.

    Args:
        telemetry: rows of smartgridone.telemetry.
        alias: core.alias.
        register: core.register (register_id, role).
    """
    gives = register.select("register_id", gives=pl.col("role").is_in(_GIVING_ROLES))
    mapped = mapped_registers(telemetry, _IDS, alias, NAME).join(
        gives, on="register_id", how="left"
    )
    is_turned = pl.col("field").str.ends_with(_POWER_SUFFIX) & pl.col("gives").fill_null(
        value=False
    )
    sent = pl.col("reading_native")
    return (
        telemetry.join(mapped, on=_IDS)
        .select(
            "register_id",
            pl.col("measured_at").alias("read_at"),
            # No power stays 0.0: a minus would make -0.0 of it.
            pl.when(is_turned & (sent != 0)).then(-sent).otherwise(sent).alias("reading_native"),
            pl.lit(1, pl.Int64).alias("version"),
            pl.lit(NAME).alias("vendor"),
            "received_at",
        )
        .sort("register_id", "read_at")
    )


@dataclass(frozen=True)
class _Suggested:
    """A register that a device suggests, and all fields that would do for it."""

    node_id: str
    measurement: str
    direction: _Direction
    field: str
    kind: str
    unit: str
    all_fields: tuple[str, ...]


def _suggested(series: pl.DataFrame) -> Iterator[_Suggested]:
    """Yield per device, measurement and direction the best field that the device has."""
    has: dict[tuple[str, str], set[str]] = {}
    for row in series.sort(_NODE, "measurement").iter_rows(named=True):
        has.setdefault((row[_NODE], row["measurement"]), set()).update(row["fields"])
    for (node_id, measurement), fields in has.items():
        for direction in _DIRECTIONS.get(measurement, ()):
            found = [each for each in direction.fields if each[0] in fields]
            if found:
                names = tuple(name for name, _, _ in found)
                yield _Suggested(node_id, measurement, direction, *found[0], names)


def find_unmapped(frames: Mapping[str, pl.DataFrame], alias: pl.DataFrame) -> pl.DataFrame:
    """Return vendor, thing, vendor_id of each register that a device suggests and nobody mapped.

    A register that is mapped to another field of the same direction (power instead of a counter)
    counts as mapped; voltages, currents and the like are no registers of energy.

    Args:
        frames: smartgridone.series by full name, when it is there.
        alias: core.alias.
    """
    if SERIES.full_name not in frames:
        return pl.DataFrame(schema=UNMAPPED_SCHEMA)
    known = set(
        alias.filter((pl.col("thing") == "register") & (pl.col("vendor") == NAME))["vendor_id"]
    )
    found = [
        (NAME, "register", f"{each.node_id}/{each.field}")
        for each in _suggested(in_force(frames[SERIES.full_name]))
        if known.isdisjoint(f"{each.node_id}/{name}" for name in each.all_fields)
    ]
    return pl.DataFrame(found, schema=UNMAPPED_SCHEMA, orient="row").unique().sort("vendor_id")


def in_force(versions: pl.DataFrame) -> pl.DataFrame:
    """Return the versions that hold now; a fresh listing, which has no instants yet, is whole."""
    if "valid_to_at" not in versions.columns:
        return versions
    return versions.filter(pl.col("valid_to_at").is_null())


def propose(batch: VendorBatch) -> Proposal:
    """Propose a site per controller, a meter per device, and its registers of energy.

    Needs the answer of the device query. Of each direction the cumulative counter is taken where
    the device has one, else the energy per interval, else power. Ids are made of SmartgridOne's
    names; zone and rating are for a person to fill in, roles to correct.
    """
    proposal = Proposal()
    devices = {
        row[_NODE]: row
        for row in batch.frame(DEVICE).sort("device_id_smartgridone").iter_rows(named=True)
        if row[_NODE]
    }
    sites: dict[str | None, str] = {}
    for node_id, row in devices.items():
        if row["is_controller"]:
            sites[node_id] = _free(slug(row["name"] or node_id), sites.values())
            proposal.sites.append(
                {
                    "site_id": sites[node_id],
                    "name": row["name"] or node_id,
                    "zone": "",
                    "currency": "EUR",
                }
            )
    meters: dict[str, str] = {}
    for each in _suggested(batch.frame(SERIES)):
        device = devices.get(each.node_id)
        site_id = sites.get(device["controller_node_id_smartgridone"]) if device else None
        # Without a controller it is nobody's: a person has to say where it is.
        if device is None or site_id is None:
            continue
        if each.node_id not in meters:
            name = device["name"] or each.node_id
            meters[each.node_id] = _free(f"{site_id}.{slug(name)}", meters.values())
            proposal.meters.append(
                {
                    "meter_id": meters[each.node_id],
                    "site_id": site_id,
                    "name": name,
                    "commodity": "electricity",
                }
            )
        register = _register(each, meters[each.node_id])
        # A device that measures the same under two names is one register.
        if all(known["register_id"] != register["register_id"] for known in proposal.registers):
            proposal.registers.append(register)
    return proposal


def _register(each: _Suggested, meter_id: str) -> dict[str, str]:
    return {
        "register_id": f"{meter_id}.{each.direction.name}",
        "meter_id": meter_id,
        "role": each.direction.role,
        "appliance": each.direction.appliance,
        "kind": each.kind,
        "unit": each.unit,
        "grid_minutes": "15",
        "resolution_native": "1",
        # Sums per interval carry the instant at which they were complete.
        "stamp": "end" if each.kind == "interval" else "instant",
        "is_primary": "true",
        "register_id_smartgridone": f"{each.node_id}/{each.field}",
    }


def _free(wanted: str, taken: Collection[str]) -> str:
    """Return a name that is not taken yet: two devices may be called the same."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
