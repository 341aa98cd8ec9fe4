"""What SmartgridOne holds of a truth: companies, roles, monitors, controllers and their devices.

One controller per site with registers of this vendor; below it a switchboard (where the site has
more than one meter) and one device per meter. The account is an owner at the first company and has
two narrow roles at the second, so that rights differ between devices. Modelled, not verified: which
properties name the installed power (`nominalPower_W`), all names, and what each role may read.
A truth without such registers has no companies, no devices, nothing.
"""

import hashlib
import uuid
from dataclasses import dataclass, field

from energy_etl.sandbox.calendar import from_ms
from energy_etl.sandbox.fleet import LOADS
from energy_etl.sandbox.model import (
    FIELDS_SMARTGRIDONE,
    Register,
    Truth,
    controller_id_smartgridone,
    node_id_smartgridone,
)

RIGHTS = (
    "roleManagement",
    "userManagement",
    "viewManagement",
    "deviceManagement",
    "reportManagement",
    "alarmManagement",
)
CONTROLLER_TYPE = "smartgridController"
_NODE_TYPES = {
    "gridMetrics": "powerMeter",
    "solarInverterMetrics": "solarInverter",
    "evChargerMetrics": "evCharger",
}
_MODELS = {
    "powerMeter": ("Fluvius", "P1 port"),
    "solarInverter": ("SMA", "Sunny Boy 5.0"),
    "evCharger": ("Alfen", "Eve Single"),
}
# Beside what the portfolio maps; the solar inverter tells its power and nothing else.
_MORE_FIELDS = {
    "gridMetrics": ("actualPowerTot_W", "voltageL1N_V", "currentL1_A", "frequency_Hz"),
    "evChargerMetrics": ("actualPowerTot_W",),
}
# The coarse one first: whoever takes the first series of a device reads every second row only.
POLICIES = {"rp_ten_m": 600_000, "rp_one_m": 300_000}
FINE_POLICY = {"rp_one_s": 10_000}
_CREATED_MS = 3 * 86_400_000


@dataclass(frozen=True)
class Company:
    """A customer of the vendor; only some companies tell their uuid."""

    company_id: int
    uuid: str
    name: str
    database: str
    is_uuid_told: bool


@dataclass(frozen=True)
class Role:
    """A role of which the account is a member, and what it may do with its company's devices."""

    role_id: int
    name: str
    company_id: int
    is_manager: bool
    edits: tuple[str, ...] = ()


@dataclass
class Device:
    """A device with its properties as they are now."""

    device_id: int
    company: Company
    properties: dict
    updated_ms: int

    @property
    def node_id(self) -> str:
        """Its node id."""
        return str(self.properties.get("nodeId", ""))


@dataclass(frozen=True)
class Channel:
    """What one device measures, under one measurement of its customer's database."""

    node_id: str
    site_id: str
    database: str
    measurement: str
    fields: tuple[str, ...]
    registers: tuple[Register, ...]


@dataclass
class Fleet:
    """All of it, by id; `devices` is what PUT and PATCH change."""

    companies: dict[int, Company] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict)
    devices: dict[int, Device] = field(default_factory=dict)
    channels: list[Channel] = field(default_factory=list)
    controllers: dict[str, str] = field(default_factory=dict)  # node id -> site

    def roles_of(self, device: Device) -> list[Role]:
        """Return the account's roles that monitor a device."""
        company_id = device.company.company_id
        return [role for role in self.roles.values() if role.company_id == company_id]


def uuid_of(*name: object) -> str:
    """Return the uuid that belongs to a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(["smartgridone", *map(str, name)])))


def iso(at_ms: int) -> str:
    """Return an instant as the metadata API spells it."""
    return from_ms(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(node_id: str) -> int:
    """Return a device's number of four digits: the same whatever else is in the fleet."""
    digest = hashlib.sha1(node_id.encode(), usedforsecurity=False).digest()
    return 1_000 + int.from_bytes(digest[:4], "big") % 9_000


_OWNED = Company(31, uuid_of("company", 31), "Leie Energie", "leie_telemetry", True)
_SERVED = Company(47, uuid_of("company", 47), "Spree Kraft", "spreekraft", False)
# Nobody here may see it: what belongs to it is refused.
FOREIGN = Company(58, uuid_of("company", 58), "Somebody Else", "elsewhere", False)
_ROLES = (
    Role(210, "Owner", 31, is_manager=True),
    Role(344, "Installer", 47, is_manager=False, edits=("name", "location")),
    Role(345, "Service desk", 47, is_manager=False, edits=("info",)),
)
# What only a manager of the monitors sees.
HIDDEN = frozenset({"internalNotes"})


def company_of(truth: Truth, site_id: str) -> Company:
    """Return whose site it is: one with meters of its own, or one that is seen a second time."""
    registers = [r for r in truth.registers.values() if r.site_id == site_id]
    is_own = any(r.vendor == "smartgridone" and r.same_as is None for r in registers)
    return _OWNED if is_own else _SERVED


def build_fleet(truth: Truth, *, has_fine_policy: bool = False) -> Fleet:
    """Return what the vendor holds of a truth."""
    fleet = Fleet()
    policies = POLICIES | (FINE_POLICY if has_fine_policy else {})
    for site_id in truth.sites:
        meters: dict[str, list[Register]] = {}
        for register in truth.registers.values():
            if register.vendor == "smartgridone" and register.site_id == site_id:
                meters.setdefault(register.meter_id, []).append(register)
        if meters:
            _add_site(fleet, truth, site_id, meters, policies)
    present = {device.company.company_id: device.company for device in fleet.devices.values()}
    fleet.companies = dict(sorted(present.items()))
    fleet.roles = {role.role_id: role for role in _ROLES if role.company_id in present}
    return fleet


def _add_site(
    fleet: Fleet,
    truth: Truth,
    site_id: str,
    meters: dict[str, list[Register]],
    policies: dict[str, int],
) -> None:
    company, site = company_of(truth, site_id), truth.sites[site_id]
    controller_id = controller_id_smartgridone(site_id)
    fleet.controllers[controller_id] = site_id
    node_ids = [node_id_smartgridone(meter_id) for meter_id in meters]
    has_board = len(meters) > 1
    board_id = controller_id + "-board"
    nodes = [
        {
            "nodeId": controller_id,
            "nodeType": CONTROLLER_TYPE,
            "name": site.name,
            "nodeParentsIds": [],
            "nodeChildrenIds": [board_id] if has_board else node_ids,
            "info": _info("Eniris", "SmartgridOne", controller_id),
            "location": {"timezone": site.zone},
            "nodeInfluxSeries": [],
        }
    ]
    if has_board:
        nodes.append(
            {
                "nodeId": board_id,
                "nodeType": "switchboard",
                "name": "Switchboard",
                "nodeParentsIds": [controller_id],
                "nodeChildrenIds": node_ids,
            }
        )
    for node_id, registers in zip(node_ids, meters.values(), strict=True):
        channel = _channel(node_id, company, registers)
        fleet.channels.append(channel)
        nodes.append(_metering(channel, board_id if has_board else controller_id, policies))
    for node in nodes:
        device_id = _number(node["nodeId"])
        while device_id in fleet.devices:
            device_id += 1
        properties = node | {"internalNotes": ""}
        updated_ms = truth.origin_ms + _CREATED_MS
        fleet.devices[device_id] = Device(device_id, company, properties, updated_ms)


def _metering(channel: Channel, above_id: str, policies: dict[str, int]) -> dict:
    """Return the properties of a device that measures."""
    node_type = _NODE_TYPES[channel.measurement]
    load = LOADS[channel.site_id]
    installed_kw = {"solarInverter": load.pv_kw, "evCharger": load.ev_kw}.get(node_type)
    is_meter = node_type == "powerMeter"
    node = {
        "nodeId": channel.node_id,
        "nodeType": node_type,
        "name": "Grid meter" if is_meter else channel.registers[0].name,
        "nodeParentsIds": [above_id],
        "nodeChildrenIds": [],
        "info": _info(*_MODELS[node_type], channel.node_id),
        "nodeInfluxSeries": [_series(channel, policy) for policy in policies],
    }
    if installed_kw is not None:
        node["nominalPower_W"] = round(installed_kw * 1000.0)
    return node


def _info(manufacturer: str, model: str, node_id: str) -> dict[str, str]:
    serial = node_id[4:].upper()
    return {"manufacturer": manufacturer, "model": model, "serialNumber": serial}


def _channel(node_id: str, company: Company, registers: list[Register]) -> Channel:
    shown = [FIELDS_SMARTGRIDONE[register.purpose] for register in registers]
    measurement = shown[0][0]
    fields = (*(name for _, name in shown), *_MORE_FIELDS.get(measurement, ()))
    return Channel(
        node_id, registers[0].site_id, company.database, measurement, fields, tuple(registers)
    )


def _series(channel: Channel, policy: str) -> dict:
    return {
        "database": channel.database,
        "retentionPolicy": policy,
        "measurement": channel.measurement,
        "fields": list(channel.fields),
        "tags": {"nodeId": channel.node_id},
    }
