"""The portfolio as Wiser lists it: a tree, what changed in it, and what to look at; pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from energy_etl.tables import Findings, Mart, Plot, core
from energy_etl.tables.mart import FINDING
from energy_etl.vendors.wiser.mapping import NAME, in_force, is_zone
from energy_etl.vendors.wiser.tables import (
    DEVICE,
    LOCATION,
    PORTFOLIO_CHANGE,
    PORTFOLIO_TREE,
    ROOM,
    SITE,
    WISER_TABLES,
)

Frames = Mapping[str, pl.DataFrame]
Row = dict[str, Any]

_KINDS: Final = {"location": LOCATION, "site": SITE, "room": ROOM, "device": DEVICE}
_SEPARATOR: Final = " > "


@dataclass(frozen=True)
class _Listed:
    """The versions in force of each kind, by Wiser's id."""

    rows: Mapping[str, Mapping[str, Row]]
    location_of: Mapping[str, str]

    @classmethod
    def of(cls, frames: Frames) -> "_Listed":
        """Read the four tables."""
        rows = {
            kind: {
                row[f"{kind}_id_wiser"]: row
                for row in in_force(frames[table.full_name]).iter_rows(named=True)
            }
            for kind, table in _KINDS.items()
        }
        location_of = {
            site_id: location_id
            for location_id, location in rows["location"].items()
            for site_id in json.loads(location["site_ids_wiser"] or "[]")
        }
        return cls(rows, location_of)

    def parent(self, kind: str, row: Row) -> tuple[str, str] | None:
        """Return kind and id of what a thing is in; None when nothing of that is listed."""
        for above, its_id in _places(kind, row, self.location_of):
            if its_id in self.rows[above]:
                return above, its_id
        return None

    def lineage(self, kind: str, thing_id: str) -> list[tuple[str, str]]:
        """Return kind and id of all that a thing is in, from the location down, and itself."""
        above = self.parent(kind, self.rows[kind][thing_id])
        return [*(self.lineage(*above) if above else []), (kind, thing_id)]


def _places(kind: str, row: Row, location_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return kind and id of what a version says it is in, the nearest first."""
    if kind == "site":
        # Some sites do not say; then their location does.
        location_id = row["location_id_wiser"] or location_of.get(row["site_id_wiser"])
        return [("location", location_id)] if location_id else []
    if kind == "room":
        return [("site", row["site_id_wiser"])]
    if kind == "device":
        room = [("room", row["room_id_wiser"])] if row["room_id_wiser"] else []
        return [*room, ("site", row["site_id_wiser"])]
    return []


def compute_tree(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return `mart.portfolio_tree`, one row per thing that is listed now, sorted by path.

    Args:
        frames: Wiser's four tables, `core.alias` and `core.site`, by full name.
        now: not used: what is listed now is what has no end.
    """
    del now
    listed = _Listed.of(frames)
    ours = _ours(frames)
    zones = dict(frames[core.SITE.full_name].select("site_id", "zone").iter_rows())
    nodes: list[Row] = []
    for kind, things in listed.rows.items():
        for thing_id, row in things.items():
            lineage = listed.lineage(kind, thing_id)
            site_id = next((ours.get(("site", i)) for above, i in lineage if above == "site"), None)
            names = [listed.rows[above][its_id]["name"] or its_id for above, its_id in lineage]
            nodes.append(
                {
                    **{name: row.get(name) for name in PORTFOLIO_TREE.polars_schema},
                    "kind": kind,
                    "node_id_wiser": thing_id,
                    "parent_id_wiser": lineage[-2][1] if len(lineage) > 1 else None,
                    "depth": len(lineage) - 1,
                    "path": _SEPARATOR.join(names),
                    "name": names[-1],
                    "site_id": site_id,
                    "meter_id": ours.get(("meter", thing_id)) if kind == "device" else None,
                    "zone": zones.get(site_id) if site_id else None,
                }
            )
    frame = pl.DataFrame(nodes, schema=PORTFOLIO_TREE.polars_schema)
    return frame.sort("path", *PORTFOLIO_TREE.key)


def compute_changes(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return `mart.portfolio_change`: what the versions say between them, sorted by its key.

    A thing that comes back after it had vanished appears again. A change of other facts (online,
    model, time zone) is a version and no change of the portfolio. Places are written with the names
    they had last, so that a room that was renamed is one room.

    Args:
        frames: Wiser's four tables by full name.
        now: not used.
    """
    del now
    names: dict[tuple[str, str], str] = {}
    histories: dict[tuple[str, str], list[Row]] = {}
    for kind, table in _KINDS.items():
        for row in frames[table.full_name].sort("valid_from_at").iter_rows(named=True):
            thing = kind, row[f"{kind}_id_wiser"]
            names[thing] = row["name"] or thing[1]
            histories.setdefault(thing, []).append(row)
    changes = [
        {"kind": thing[0], "node_id_wiser": thing[1], **change}
        for thing, versions in histories.items()
        for change in _changes(thing, versions, names)
    ]
    frame = pl.DataFrame(changes, schema=PORTFOLIO_CHANGE.polars_schema)
    return frame.sort(PORTFOLIO_CHANGE.key)


def _changes(
    thing: tuple[str, str], versions: list[Row], names: Mapping[tuple[str, str], str]
) -> Iterator[Row]:
    kind, thing_id = thing

    def place(row: Row) -> str | None:
        # The farthest first, as in a path.
        above = reversed(_places(kind, row, {}))
        return _SEPARATOR.join(names.get(each, each[1]) for each in above) or None

    previous: Row | None = None
    for row, following in zip_longest(versions, versions[1:]):
        at, name = row["valid_from_at"], row["name"] or thing_id
        if previous is None or previous["valid_to_at"] < at:
            yield _change(at, "appeared", name, None, place(row))
        else:
            old_name = previous["name"] or thing_id
            if old_name != name:
                yield _change(at, "renamed", old_name, old_name, name)
            if _places(kind, previous, {}) != _places(kind, row, {}):
                yield _change(at, "moved", name, place(previous), place(row))
        ended_at = row["valid_to_at"]
        if ended_at is not None and (following is None or following["valid_from_at"] > ended_at):
            yield _change(ended_at, "vanished", name, place(row), None)
        previous = row


def _change(at: datetime, change: str, name: str, before: str | None, after: str | None) -> Row:
    return {"changed_at": at, "change": change, "name": name, "before": before, "after": after}


def find(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return rows of `mart.finding` about the time zones of Wiser's sites.

    Kinds: `zone_unknown` (a zone that is no IANA name, of a site that the portfolio does not map:
    nothing is guessed), `zone_differs` (the portfolio's zone keeps another time this year).

    Args:
        frames: wiser.site, `core.alias` and `core.site` by full name.
        now: the year that zones are compared in.
    """
    ours = _ours(frames)
    zones = dict(frames[core.SITE.full_name].select("site_id", "zone").iter_rows())
    found: list[Row] = []
    for site in in_force(frames[SITE.full_name]).iter_rows(named=True):
        wiser_id, written = site["site_id_wiser"], site["zone_text"]
        site_id = ours.get(("site", wiser_id))
        zone = zones.get(site_id) if site_id else None
        who = f"Wiser's site {wiser_id} ({site['name'] or 'without a name'})"
        if zone is None and written and not is_zone(written):
            finding = {
                "kind": "zone_unknown",
                "message": f"{who} has the time zone {written!r}, which is no IANA name, and the "
                "portfolio does not say which one is meant.",
                "next_step": "Enter the site in sites.csv with its zone, and its id as "
                "site_id_wiser.",
            }
        elif zone is not None and is_zone(written) and not _keep_same_time(zone, written, now):
            finding = {
                "kind": "zone_differs",
                "message": f"{who} has the time zone {written}, and our site {site_id} has {zone}, "
                "which keeps another time.",
                "next_step": "Correct the zone in sites.csv, or ask the customer to correct it at "
                "Wiser; the one in sites.csv counts.",
            }
        else:
            continue
        found.append({"place": f"wiser: site {wiser_id}", "from_at": site["valid_from_at"]})
        found[-1] |= finding
    return pl.DataFrame(found, schema=FINDING.polars_schema)


def _keep_same_time(one: str, other: str, now: datetime) -> bool:
    """Return True when both zones have the same offset in the weeks of a year from now."""
    weeks = [now + timedelta(weeks=n) for n in range(52)]
    first, second = ZoneInfo(one), ZoneInfo(other)
    return all(
        at.astimezone(first).utcoffset() == at.astimezone(second).utcoffset() for at in weeks
    )


def _ours(frames: Frames) -> dict[tuple[str, str], str]:
    """Return our id of each (thing, Wiser's id)."""
    alias = frames[core.ALIAS.full_name].filter(pl.col("vendor") == NAME)
    rows = alias.select("thing", "vendor_id", "thing_id").iter_rows()
    return {(thing, vendor_id): thing_id for thing, vendor_id, thing_id in rows}


MARTS: Final = (
    Mart(
        PORTFOLIO_TREE,
        (*WISER_TABLES, core.ALIAS, core.SITE),
        compute_tree,
        "Location > site > room > device as listed last; our ids where the portfolio maps them.",
        Plot("kind", "n"),
    ),
    Mart(
        PORTFOLIO_CHANGE,
        WISER_TABLES,
        compute_changes,
        "From the versions of Wiser's tables; a thing vanishes only by a complete listing.",
        Plot("change", "n"),
    ),
)
FINDINGS: Final = Findings((SITE, core.ALIAS, core.SITE), find)
