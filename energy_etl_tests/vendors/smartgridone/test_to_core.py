"""Telemetry as readings of registers, and what a listing proposes."""

from datetime import UTC, datetime
from typing import Any

import polars as pl

from energy_etl.tables.core import REGISTER
from energy_etl.vendors.smartgridone.rows import to_batch
from energy_etl.vendors.smartgridone.tables import SERIES, TELEMETRY
from energy_etl.vendors.smartgridone.to_core import find_unmapped, propose, to_readings
from energy_etl_tests.vendors.extracting import alias_frame
from energy_etl_tests.vendors.smartgridone.answers import raw_call

AT = datetime(2025, 4, 14, 12, tzinfo=UTC)


def telemetry(*rows: tuple[str, str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "node_id_smartgridone": node_id,
                "field": field,
                "measured_at": AT,
                "reading_native": reading,
                "request_id": "r1",
                "received_at": AT,
            }
            for node_id, field, reading in rows
        ],
        schema=TELEMETRY.polars_schema,
    )


def registers(**roles: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"register_id": list(roles), "role": list(roles.values())},
        schema={name: REGISTER.polars_schema[name] for name in ("register_id", "role")},
    )


def readings(frame: pl.DataFrame) -> dict[str, float]:
    return dict(frame.select("register_id", "reading_native").rows())


def test_power_of_what_gives_is_turned_and_nothing_else() -> None:
    frame = telemetry(
        ("n1", "actualPowerTot_W", -1500.0),
        ("n2", "actualPowerTot_W", 0.0),
        ("n3", "actualPowerTot_W", 900.0),
        ("n4", "exportedAbsEnergyTot_Wh", 7.0),
        ("n5", "exportedEnergyDeltaTot_Wh", 3.0),
    )
    roles = registers(pv="production", back="export", ev="submeter", out="export", sun="production")
    fields = frame.select("node_id_smartgridone", "field").rows()
    ours = ("pv", "back", "ev", "out", "sun")
    pairs = [(mine, "/".join(ids)) for mine, ids in zip(ours, fields, strict=True)]
    found = to_readings(frame, alias_frame("register", "smartgridone", pairs), roles)
    assert readings(found) == {"pv": 1500.0, "back": 0.0, "ev": 900.0, "out": 7.0, "sun": 3.0}
    assert str(readings(found)["back"]) == "0.0"
    assert found["register_id"].to_list() == sorted(ours)


def test_same_field_of_two_devices_stays_two_registers_and_the_unmapped_is_left_out() -> None:
    field = "importedAbsEnergyTot_Wh"
    frame = telemetry(("n1", field, 1.0), ("n2", field, 2.0), ("n3", field, 4.0))
    pairs = [("a", f"n1/{field}"), ("b", f"n2/{field}")]
    alias = pl.concat(
        [
            alias_frame("register", "smartgridone", pairs),
            alias_frame("register", "wattsense", [("c", f"n3/{field}")]),
            alias_frame("meter", "smartgridone", [("c", f"n3/{field}")]),
        ]
    )
    found = to_readings(frame, alias, registers(a="mains", b="mains", c="mains"))
    assert readings(found) == {"a": 1.0, "b": 2.0}


def listing(*devices: dict[str, Any]) -> Any:
    return raw_call("device/query", {"device": list(devices)}, is_complete=True)


def device(number: int, node_id: str, node_type: str, **properties: Any) -> dict[str, Any]:
    told = {"nodeId": node_id, "nodeType": node_type, **properties}
    return {"id": number, "lastUpdate": "2024-01-01T00:00:00Z", "properties": told}


def kept(measurement: str, *fields: str, policy: str = "rp_one_m") -> dict[str, Any]:
    return {
        "database": "db",
        "measurement": measurement,
        "retentionPolicy": policy,
        "fields": list(fields),
    }


COUNTER, DELTA, POWER = "importedAbsEnergyTot_Wh", "importedEnergyDeltaTot_Wh", "actualPowerTot_W"
HOUSE = listing(
    device(1, "c1", "smartgridController", name="House"),
    device(2, "c2", "smartgridController", name="House"),
    device(3, "grid", "powerMeter", name="Grid", nodeParentsIds=["c1"], nodeInfluxSeries=[
        kept("gridMetrics", POWER, DELTA, policy="rp_ten_m"),
        kept("gridMetrics", POWER, COUNTER, "exportedEnergyDeltaTot_Wh", "voltageL1N_V"),
    ]),
    device(4, "ev", "evCharger", nodeParentsIds=["c1"], nodeInfluxSeries=[
        kept("evChargerMetrics", POWER, DELTA),
        kept("getMeasStats", "getMeasTime_s"),
    ]),
    device(5, "pv", "solarInverter", name="PV", nodeParentsIds=["c2"], nodeInfluxSeries=[
        kept("solarInverterMetrics", POWER, COUNTER),
    ]),
    device(6, "pv2", "solarInverter", name="PV", nodeParentsIds=["c2"], nodeInfluxSeries=[
        kept("solarInverterMetrics", POWER, "exportedAbsEnergyTot_Wh"),
    ]),
    device(7, "lost", "powerMeter", nodeInfluxSeries=[kept("gridMetrics", COUNTER)]),
)  # fmt: skip


def test_each_controller_is_a_site_and_each_register_has_its_best_field() -> None:
    proposal = propose(to_batch([HOUSE]))
    assert [site["site_id"] for site in proposal.sites] == ["house", "house-2"]
    assert [meter["meter_id"] for meter in proposal.meters] == [
        "house.ev",
        "house.grid",
        "house-2.pv",
        "house-2.pv-2",
    ]
    shown = ("register_id", "role", "kind", "unit", "stamp", "register_id_smartgridone")
    assert [
        tuple(row[name] for name in shown)
        for row in proposal.registers
    ] == [
        ("house.ev.import", "submeter", "interval", "Wh", "end", f"ev/{DELTA}"),
        ("house.grid.import", "mains", "cumulative", "Wh", "instant", f"grid/{COUNTER}"),
        ("house.grid.export", "export", "interval", "Wh", "end", "grid/exportedEnergyDeltaTot_Wh"),
        ("house-2.pv.production", "production", "instant", "W", "instant", f"pv/{POWER}"),
        ("house-2.pv-2.production", "production", "cumulative", "Wh", "instant",
         "pv2/exportedAbsEnergyTot_Wh"),
    ]  # fmt: skip


def test_device_that_measures_the_same_under_two_names_is_one_register() -> None:
    grid, sub = kept("gridMetrics", COUNTER), kept("submeteringMetrics", COUNTER)
    call = listing(
        device(1, "c1", "smartgridController", name="House"),
        device(2, "m", "powerMeter", nodeParentsIds=["c1"], nodeInfluxSeries=[grid, sub]),
    )
    assert [row["role"] for row in propose(to_batch([call])).registers] == ["mains"]


def test_register_that_is_mapped_to_any_field_of_its_direction_is_no_finding() -> None:
    series = to_batch([HOUSE]).frame(SERIES)
    frames = {SERIES.full_name: series}
    nobody = alias_frame("register", "smartgridone", [])
    assert find_unmapped(frames, nobody)["vendor_id"].to_list() == [
        f"ev/{DELTA}",
        "grid/exportedEnergyDeltaTot_Wh",
        f"grid/{COUNTER}",
        f"lost/{COUNTER}",
        f"pv/{POWER}",
        "pv2/exportedAbsEnergyTot_Wh",
    ]
    pairs = [("ev", f"ev/{POWER}"), ("grid", f"grid/{DELTA}"), ("x", f"lost/{COUNTER}")]
    some = alias_frame("register", "smartgridone", pairs)
    assert find_unmapped(frames, some)["vendor_id"].to_list() == [
        "grid/exportedEnergyDeltaTot_Wh",
        f"pv/{POWER}",
        "pv2/exportedAbsEnergyTot_Wh",
    ]
    assert find_unmapped({}, nobody).is_empty()


def test_series_that_is_listed_no_more_is_no_finding() -> None:
    instant = pl.lit(AT).dt.replace_time_zone(None).dt.replace_time_zone("UTC")
    gone = to_batch([HOUSE]).frame(SERIES).with_columns(valid_to_at=instant)
    nobody = alias_frame("register", "smartgridone", [])
    assert find_unmapped({SERIES.full_name: gone}, nobody).is_empty()
