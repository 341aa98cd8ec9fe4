"""The licence mart: status, end, site, capacity against what is installed, findings, check."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from energy_etl.tables import core
from energy_etl.tables.mart import FINDING
from energy_etl.vendors.smartgridone.change_tables import CHANGE, LICENCE_MART
from energy_etl.vendors.smartgridone.licence_mart import (
    compute_licences,
    find_licences,
    judge_licences,
)
from energy_etl.vendors.smartgridone.tables import COMPANY, DEVICE, LICENCE

NOW = datetime(2025, 4, 16, 9, 0, tzinfo=UTC)
BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
BOX, OTHER = "SGO-1", "SGO-2"
_BROUGHT = {
    "listed_in": "device/query",
    "valid_from_at": BEGAN,
    "valid_to_at": None,
    "request_id": "r",
    "received_at": BEGAN,
}


def licence(name: str, listed_for: str | None = BOX, **changes: Any) -> dict[str, Any]:
    """Return a version of a licence as a controller's list (or, with None, a customer's) has it."""
    is_controller = listed_for is not None
    row: dict[str, Any] = dict.fromkeys(LICENCE.polars_schema.names()) | _BROUGHT
    row |= {
        "licence_id_smartgridone": name,
        "listed_in": "license/controller" if is_controller else "license/customer",
        "listed_for": listed_for or "uuid-1",
        "licence_key": f"ABCDE-{name.upper()}",
        "activated_at": BEGAN,
        "duration_native": 365,
        "datalink_ids": [],
    }
    return row | changes


def device(node_id: str, node_type: str, controller: str | None, kw: float | None) -> dict:
    row: dict[str, Any] = dict.fromkeys(DEVICE.polars_schema.names()) | _BROUGHT
    return row | {
        "device_id_smartgridone": sum(map(ord, node_id)),
        "node_id_smartgridone": node_id,
        "node_type": node_type,
        "is_controller": node_type == "smartgridController",
        "controller_node_id_smartgridone": controller,
        "parent_node_ids": [],
        "child_node_ids": [],
        "name": f"name of {node_id}",
        "installed_kw": kw,
        "editable_properties": [],
    }


def frames(
    licences: list[dict], devices: list[dict] | None = None, **others: list[dict]
) -> Mapping[str, pl.DataFrame]:
    """Return the input frames by full name."""
    rows = {
        LICENCE: licences,
        DEVICE: devices or [device(BOX, "smartgridController", BOX, None)],
        COMPANY: others.get("companies", []),
        core.ALIAS: others.get("alias", []),
        core.REGISTER: others.get("registers", []),
        CHANGE: others.get("changes", []),
    }
    return {t.full_name: pl.DataFrame(r, schema=t.polars_schema) for t, r in rows.items()}


def computed(licences: list[dict], *args: Any, **others: Any) -> dict[str, dict[str, Any]]:
    """Return the mart's rows by licence; each licence has one row here."""
    mart = compute_licences(frames(licences, *args, **others), NOW)
    assert mart.schema == LICENCE_MART.polars_schema
    return {row["licence_id_smartgridone"]: row for row in mart.iter_rows(named=True)}


@pytest.mark.parametrize(
    ("changes", "status", "ends_on", "days_left"),
    [
        ({}, "active", date(2026, 1, 1), 260),
        ({"activated_at": None}, "inactive", None, None),
        ({"activated_at": NOW + timedelta(days=1)}, "inactive", date(2026, 4, 17), 366),
        ({"duration_native": 0}, "active", None, None),
        ({"duration_native": None}, "active", None, None),
        # A year in seconds, and for ever: taken as days they lie beyond every calendar.
        ({"duration_native": 31_536_000}, "active", None, None),
        ({"duration_native": 2**63 - 1}, "active", None, None),
        ({"duration_native": 105 + 90}, "ending", date(2025, 7, 15), 90),
        ({"duration_native": 105 + 91}, "active", date(2025, 7, 16), 91),
        ({"duration_native": 106}, "ending", date(2025, 4, 17), 1),
        ({"duration_native": 105}, "ended", date(2025, 4, 16), 0),
        ({"deactivated_at": NOW}, "ended", date(2025, 4, 16), 0),
        ({"deactivated_at": NOW + timedelta(days=9)}, "ending", date(2025, 4, 25), 9),
        ({"listed_for": None}, "unclaimed", date(2026, 1, 1), 260),
        ({"listed_for": None, "datalink_ids": ["x"]}, "active", date(2026, 1, 1), 260),
        ({"listed_for": None, "duration_native": 5}, "ended", date(2025, 1, 6), -100),
    ],
)
def test_status_and_end_follow_from_activation_duration_and_claim(
    changes: dict, status: str, ends_on: date | None, days_left: int | None
) -> None:
    listed_for = changes.pop("listed_for", BOX)
    row = computed([licence("l1", listed_for, **changes)])["l1"]
    assert (row["licence_status"], row["ends_on"], row["days_left"]) == (
        status,
        ends_on,
        days_left,
    )


def test_licence_of_two_lists_is_one_and_versions_of_the_past_are_none() -> None:
    rows = [
        licence("l1", BOX),
        licence("l1", None, datalink_ids=["x"]),
        licence("gone", BOX, valid_to_at=NOW),
    ]
    companies = [
        dict.fromkeys(COMPANY.polars_schema.names())
        | _BROUGHT
        | {"company_id_smartgridone": "1", "customer_id_smartgridone": "uuid-1", "name": "Leie"}
    ]
    found = computed(rows, companies=companies)
    assert set(found) == {"l1"}
    row = found["l1"]
    assert row["controller_node_id_smartgridone"] == BOX
    assert row["controller_name"] == f"name of {BOX}"
    assert row["customer_name"] == "Leie"
    assert row["licence_key_end"] == "DE-L1"


def test_licence_of_two_controllers_has_a_row_each() -> None:
    mart = compute_licences(frames([licence("l1", BOX), licence("l1", OTHER)]), NOW)
    assert mart["controller_node_id_smartgridone"].to_list() == [BOX, OTHER]


def test_site_is_where_the_devices_below_the_controller_are_mapped() -> None:
    devices = [
        device(BOX, "smartgridController", BOX, None),
        device("n/1", "gridMeter", BOX, None),
        device(OTHER, "smartgridController", OTHER, None),
        device("n2", "gridMeter", OTHER, None),
        device("n3", "gridMeter", OTHER, None),
    ]
    mapped = {"n/1": "site-a", "n2": "site-b", "n3": "site-c"}
    alias = [
        {
            "thing": "register",
            "thing_id": f"{site}.r",
            "vendor": "smartgridone",
            "vendor_id": f"{node}/importedAbsEnergyTot_Wh",
        }
        for node, site in mapped.items()
    ]
    registers = [
        dict.fromkeys(core.REGISTER.polars_schema.names())
        | {"register_id": f"{site}.r", "site_id": site}
        for site in mapped.values()
    ]
    found = computed(
        [licence("l1", BOX), licence("l2", OTHER)], devices, alias=alias, registers=registers
    )
    assert found["l1"]["site_id"] == "site-a"
    # Two sites below one controller: it belongs to neither.
    assert found["l2"]["site_id"] is None


@pytest.mark.parametrize(
    ("licences", "has_capacity"),
    [
        ([licence("l1", solar_kw=5.0)], True),
        ([licence("l1", solar_kw=4.9)], False),
        ([licence("l1", solar_kw=3.0), licence("l2", solar_kw=2.0)], True),
        # What has ended, has not begun, or is another controller's adds nothing.
        ([licence("l1", solar_kw=3.0), licence("l2", solar_kw=2.0, duration_native=1)], False),
        ([licence("l1", solar_kw=3.0), licence("l2", solar_kw=2.0, activated_at=None)], False),
        ([licence("l1", solar_kw=3.0), licence("l2", OTHER, solar_kw=2.0)], False),
        # A kind that one side does not tell is not compared.
        ([licence("l1")], None),
        ([licence("l1", grid_kw=25.0)], None),
        ([licence("l1", solar_kw=6.0, ev_kw=7.0)], False),
        ([licence("l1", solar_kw=6.0, battery_kw=1.0)], True),
        ([licence("l1", solar_kw=1.0, activated_at=None)], None),
    ],
)
def test_capacity_is_what_the_valid_licences_of_a_controller_allow_together(
    licences: list[dict], has_capacity: bool | None
) -> None:
    devices = [
        device(BOX, "smartgridController", BOX, 99.0),
        device("n1", "solarInverter", BOX, 2.0),
        device("n2", "hybridInverter", BOX, 3.0),
        device("n3", "evCharger", BOX, 7.4),
        device("n4", "solarInverter", None, 50.0),
        device("n5", "battery", BOX, None),
        device(OTHER, "smartgridController", OTHER, None),
    ]
    row = computed(licences, devices)["l1"]
    assert row["installed_solar_kw"] == 5.0
    assert row["installed_ev_kw"] == 7.4
    assert row["installed_grid_kw"] is None
    assert row["installed_battery_kw"] is None
    assert row["has_capacity"] is has_capacity


def test_findings_name_what_to_do_and_a_controller_once() -> None:
    devices = [
        device(BOX, "smartgridController", BOX, None),
        device("n1", "solarInverter", BOX, 5.0),
    ]
    rows = [
        licence("small", BOX, solar_kw=1.0),
        licence("second", BOX, solar_kw=1.0),
        licence("soon", OTHER, duration_native=120, licence_key=None),
        licence("loose", None),
        licence("fine", OTHER),
    ]
    lost = dict.fromkeys(CHANGE.polars_schema.names(), "x") | {
        "change_id": "c-1",
        "action": "claim_license",
        "subject": "SECRET-12345",
        "begun_at": NOW,
        "status": None,
        "outcome": "unknown",
    }
    changes = [lost, lost | {"change_id": "c-2", "outcome": "done"}]
    found = find_licences(frames(rows, devices, changes=changes), NOW)
    assert found.schema == FINDING.polars_schema
    assert not found.select(FINDING.key).is_duplicated().any()
    assert found.null_count().select("kind", "place", "message", "next_step").row(0) == (0,) * 4
    assert sorted(found["kind"]) == [
        "change_unknown",
        "licence_ending",
        "licence_too_small",
        "licence_unclaimed",
    ]
    by_kind = {row["kind"]: row for row in found.iter_rows(named=True)}
    assert "in 15 days" in by_kind["licence_ending"]["message"]
    assert "energy-etl license claim" in by_kind["licence_unclaimed"]["next_step"]
    assert "solar 5.0" in by_kind["licence_too_small"]["message"]
    told = by_kind["change_unknown"]["message"]
    assert "claim_license of the licence whose key ends in 12345" in told
    assert "SECRET" not in told


def test_unknown_outcome_is_a_finding_until_the_same_was_asked_again_and_answered() -> None:
    lost = dict.fromkeys(CHANGE.polars_schema.names(), "x") | {
        "change_id": "c-1",
        "action": "update_device",
        "subject": "n1",
        "begun_at": NOW,
        "status": None,
        "outcome": "unknown",
    }
    later = {"change_id": "c-2", "outcome": "done", "begun_at": NOW + timedelta(minutes=1)}
    other = lost | later | {"subject": "n2"}
    found = find_licences(frames([], changes=[lost, other]), NOW)
    assert "update_device of n1" in found["message"].item()
    assert find_licences(frames([], changes=[lost, other, lost | later]), NOW).is_empty()


def test_check_warns_about_the_same_and_passes_when_all_is_in_order() -> None:
    fine = compute_licences(frames([licence("fine")]), NOW)
    verdict = judge_licences({LICENCE_MART.full_name: fine}, NOW)
    assert (verdict.passed, verdict.message) == (True, "")
    assert verdict.numbers["n_active"] == 1
    rows = [licence("soon", OTHER, duration_native=120), licence("loose", None)]
    bad = compute_licences(frames(rows), NOW)
    verdict = judge_licences({LICENCE_MART.full_name: bad}, NOW)
    assert not verdict.passed
    assert (verdict.numbers["n_unclaimed"], verdict.numbers["n_ending"]) == (1, 1)
    assert "1 unclaimed, 1 ending within 90 days" in verdict.message


def test_nothing_listed_gives_an_empty_mart_without_findings() -> None:
    assert computed([]) == {}
    assert find_licences(frames([]), NOW).is_empty()
