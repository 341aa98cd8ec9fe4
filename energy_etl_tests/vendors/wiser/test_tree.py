"""The tree of what is listed, what changed in it, and findings about time zones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from energy_etl.tables import core
from energy_etl.tables.model import Table
from energy_etl.vendors.wiser.mapping import find_unmapped
from energy_etl.vendors.wiser.tables import DEVICE, LOCATION, ROOM, SITE, WISER_TABLES
from energy_etl.vendors.wiser.tree import compute_changes, compute_tree, find
from energy_etl_tests.vendors.extracting import alias_frame

START_AT = datetime(2026, 3, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return START_AT + timedelta(days=day)


def version(thing_id: str, first: int = 0, last: int | None = None, **columns: Any) -> Any:
    """A version of anything from one day to another."""
    end = {"valid_to_at": None if last is None else at(last)}
    return {"id": thing_id, "account": "main", "valid_from_at": at(first), **end, **columns}


def frames(
    *,
    locations: Any = (),
    sites: Any = (),
    rooms: Any = (),
    devices: Any = (),
    alias: pl.DataFrame | None = None,
    zones: dict[str, str] | None = None,
) -> dict[str, pl.DataFrame]:
    """All inputs of the marts; things as versions, `site` and `room` for the long names."""
    long_names = {name: f"{name}_id_wiser" for name in ("location", "site", "room", "gateway")}
    found: dict[str, pl.DataFrame] = {}
    for table, things in zip(WISER_TABLES, (locations, sites, rooms, devices), strict=True):
        records = [
            {long_names.get(k, k if k != "id" else table.key[0]): v for k, v in each.items()}
            for each in things
        ]
        found[table.full_name] = pl.DataFrame(records, schema=table.polars_schema)
    none = alias_frame("site", "wiser", [])
    found[core.ALIAS.full_name] = none if alias is None else alias
    records = [{"site_id": site_id, "zone": zone} for site_id, zone in (zones or {}).items()]
    found[core.SITE.full_name] = pl.DataFrame(records, schema=core.SITE.polars_schema)
    return found


def tree(**things: Any) -> dict[str, dict[str, Any]]:
    return {row["node_id_wiser"]: row for row in compute_tree(frames(**things), at(9)).to_dicts()}


def changes(**things: Any) -> list[tuple[Any, ...]]:
    frame = compute_changes(frames(**things), at(9))
    wanted = ("changed_at", "node_id_wiser", "change", "before", "after")
    return [
        ((row[0] - START_AT).days, *row[1:])
        for row in frame.select(wanted).sort(wanted[:3]).iter_rows()
    ]


def test_path_leads_from_the_location_to_the_device() -> None:
    found = tree(
        locations=[version("l1", name="Rome")],
        sites=[version("s1", name="Villa", location="l1", zone_text="CST")],
        rooms=[version("r1", name="Kitchen", site="s1")],
        devices=[
            version("d1", name="Fridge", site="s1", room="r1", usage="SubMeter", is_online=True),
            version("d2", site="s1"),
        ],
        alias=pl.concat(
            [
                alias_frame("site", "wiser", [("villa", "s1")]),
                alias_frame("meter", "wiser", [("villa.fridge", "d1")]),
                alias_frame("meter", "acme", [("other", "d2")]),
            ]
        ),
        zones={"villa": "Europe/Rome"},
    )
    assert [(row["path"], row["depth"]) for row in found.values()] == [
        ("Rome", 0),
        ("Rome > Villa", 1),
        ("Rome > Villa > Kitchen", 2),
        ("Rome > Villa > Kitchen > Fridge", 3),
        ("Rome > Villa > d2", 2),
    ]
    fridge = found["d1"]
    assert (fridge["kind"], fridge["parent_id_wiser"]) == ("device", "r1")
    assert (fridge["site_id"], fridge["meter_id"]) == ("villa", "villa.fridge")
    assert (fridge["usage"], fridge["is_online"], fridge["zone"]) == (
        "SubMeter",
        True,
        "Europe/Rome",
    )
    assert found["s1"]["zone_text"] == "CST"
    assert found["d2"]["meter_id"] is None
    assert (found["l1"]["site_id"], found["l1"]["parent_id_wiser"]) == (None, None)


def test_what_is_not_listed_any_more_is_not_in_the_tree() -> None:
    found = tree(
        sites=[version("s1", name="Old", last=2), version("s1", first=2, name="New")],
        rooms=[version("r1", name="Gone", site="s1", last=3)],
        devices=[version("d1", name="Fridge", site="s1", room="r1")],
    )
    assert [row["path"] for row in found.values()] == ["New", "New > Fridge"]
    assert found["s1"]["valid_from_at"] == at(2)
    assert found["d1"]["parent_id_wiser"] == "s1"


def test_site_that_does_not_say_where_it_is_hangs_below_the_location_that_names_it() -> None:
    found = tree(
        locations=[version("l1", name="Rome", site_ids_wiser='["s1"]')],
        sites=[version("s1", name="Villa"), version("s2", name="Flat", location="unknown")],
    )
    assert found["s1"]["path"] == "Rome > Villa"
    assert (found["s2"]["path"], found["s2"]["parent_id_wiser"]) == ("Flat", None)


def test_nothing_listed_gives_empty_tables_in_their_schema() -> None:
    for compute in (compute_tree, compute_changes, find):
        assert compute(frames(), at(9)).is_empty()


def test_appeared_moved_renamed_and_vanished_are_told_with_what_it_was() -> None:
    found = changes(
        sites=[version("s1", name="Villa")],
        rooms=[
            version("r1", name="Kitchen", site="s1"),
            version("r2", name="Garage", site="s1"),
        ],
        devices=[
            version("d1", 0, 1, name="Fridge", site="s1", room="r1"),
            version("d1", 1, 2, name="Fridge", site="s1", room="r2"),
            version("d1", 2, 3, name="Freezer", site="s1", room="r2"),
            version("d1", 3, 4, name="Freezer", site="s1", room="r2", is_online=False),
        ],
    )
    assert [row for row in found if row[1] == "d1"] == [
        (0, "d1", "appeared", None, "Villa > Kitchen"),
        (1, "d1", "moved", "Villa > Kitchen", "Villa > Garage"),
        (2, "d1", "renamed", "Fridge", "Freezer"),
        (4, "d1", "vanished", "Villa > Garage", None),
    ]
    assert (0, "s1", "appeared", None, None) in found
    assert len(found) == 7


def test_thing_that_comes_back_appears_again_and_both_changes_of_a_day_are_told() -> None:
    found = changes(
        rooms=[
            version("r1", 0, 1, name="Attic", site="s1"),
            version("r1", 3, 4, name="Attic", site="s1"),
            version("r1", 4, None, name="Loft", site="s2"),
        ]
    )
    assert [row[:3] for row in found] == [
        (0, "r1", "appeared"),
        (1, "r1", "vanished"),
        (3, "r1", "appeared"),
        (4, "r1", "moved"),
        (4, "r1", "renamed"),
    ]


def findings(zone_text: str | None, zone: str | None) -> list[str]:
    known = {"villa": zone} if zone else {}
    alias = alias_frame("site", "wiser", [("villa", "s1")] if zone else [])
    site = version("s1", name="Villa", zone_text=zone_text)
    gone = version("s2", last=1, zone_text="CST")
    found = find(frames(sites=[site, gone], alias=alias, zones=known), at(9))
    assert found["place"].to_list() in ([], ["wiser: site s1"])
    return found["kind"].to_list()


def test_zone_that_is_no_name_is_found_until_the_portfolio_says_which() -> None:
    assert findings("CST", None) == ["zone_unknown"]
    assert findings("CST", "America/Chicago") == []
    assert findings("Europe/Rome", None) == []
    assert findings(None, None) == []


def test_zone_that_keeps_another_time_than_ours_is_found() -> None:
    assert findings("Europe/Rome", "Europe/Berlin") == []
    assert findings("Europe/Rome", "Europe/Dublin") == ["zone_differs"]
    # The same in winter, not in summer.
    assert findings("Africa/Lagos", "Europe/Rome") == ["zone_differs"]


def test_sites_and_meters_that_nobody_mapped_are_found_and_gateways_are_none() -> None:
    given = frames(
        locations=[version("l1")],
        sites=[version("s1"), version("s2"), version("s3", last=1)],
        rooms=[version("r1", site="s1")],
        devices=[
            version("d1", site="s1", gateway="g1"),
            version("d2", site="s1", gateway="d1", commodity="Electricity"),
            version("g1", site="s1"),
        ],
    )
    nobody = alias_frame("site", "wiser", [])
    found = find_unmapped(given, nobody)
    # d1 says nothing of what it measures, and d2 speaks through it: no more than a gateway.
    assert found.rows() == [
        ("wiser", "meter", "d2"),
        ("wiser", "site", "s1"),
        ("wiser", "site", "s2"),
    ]
    alias = pl.concat(
        [
            alias_frame("site", "wiser", [("villa", "s1")]),
            alias_frame("site", "acme", [("flat", "s2")]),
            alias_frame("meter", "wiser", [("villa.d2", "d2")]),
        ]
    )
    assert find_unmapped(given, alias).rows() == [("wiser", "site", "s2")]


def test_every_table_keeps_versions() -> None:
    def keeps_versions(table: Table) -> bool:
        return table.key[-1] == "valid_from_at" and "valid_to_at" in table.polars_schema

    assert all(keeps_versions(table) for table in (LOCATION, SITE, ROOM, DEVICE))
