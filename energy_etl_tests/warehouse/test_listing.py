"""Versions in time of what was listed: what appears, changes, moves and vanishes, and when."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.errors import TransformError
from energy_etl.tables.core import SITE
from energy_etl.tables.model import Column, Table
from energy_etl.warehouse import Change, Warehouse, write_listing

THING = Table(
    schema="toy",
    name="thing",
    description="One thing, as it was listed for a time.",
    columns=(
        Column("thing_id", "text", "Its id.", is_nullable=False),
        Column("box", "text", "The box it is in."),
        Column("name", "text", "Its name."),
        Column("valid_from_at", "instant", "Since when.", is_nullable=False),
        Column("valid_to_at", "instant", "Until when; null: still so."),
        Column("request_id", "text", "The call.", is_bookkeeping=True),
    ),
    key=("thing_id", "valid_from_at"),
)
START_AT = datetime(2026, 1, 1, tzinfo=UTC)
Listed = dict[str, tuple[str | None, str | None]]


def at(hour: int) -> datetime:
    return START_AT + timedelta(hours=hour)


@pytest.fixture
def store(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", (THING, SITE))


def frame_of(things: Listed, request_id: str = "r") -> pl.DataFrame:
    """Things as id -> (box, name)."""
    return pl.DataFrame(
        [(thing_id, box, name, request_id) for thing_id, (box, name) in things.items()],
        schema=dict.fromkeys(("thing_id", "box", "name", "request_id"), pl.String),
        orient="row",
    )


def boxes(*names: str | None) -> pl.DataFrame:
    return pl.DataFrame({"box": list(names)}, schema={"box": pl.String})


def listed(store: Warehouse, things: Listed, *complete: str | None, hour: int) -> Change:
    """Bring in a listing that was complete for some boxes."""
    with store.write() as writer:
        frame = frame_of(things, f"r{hour}")
        return write_listing(writer, THING, frame, scopes=boxes(*complete), at=at(hour))


def versions(store: Warehouse) -> list[tuple[Any, ...]]:
    """Id, box, name, and the hours from and to of every version."""

    def hour(instant: datetime | None) -> int | None:
        return None if instant is None else int((instant - START_AT) / timedelta(hours=1))

    rows = store.read_table(THING).sort(THING.key).iter_rows()
    return [(i, box, name, hour(start), hour(end)) for i, box, name, start, end, _ in rows]


def test_first_listing_begins_a_version_of_everything(store: Warehouse) -> None:
    change = listed(store, {"a": ("x", "A"), "b": (None, None)}, "x", hour=0)
    assert change.n_added == 2
    assert versions(store) == [("a", "x", "A", 0, None), ("b", None, None, 0, None)]


def test_same_listing_again_writes_nothing_and_keeps_the_call_that_brought_it(
    store: Warehouse,
) -> None:
    listed(store, {"a": ("x", "A"), "b": (None, None)}, "x", hour=0)
    assert not listed(store, {"a": ("x", "A"), "b": (None, None)}, "x", hour=1).is_change
    assert set(store.read_table(THING)["request_id"]) == {"r0"}


def test_changed_thing_ends_its_version_where_the_next_begins(store: Warehouse) -> None:
    listed(store, {"a": ("x", "A")}, "x", hour=0)
    listed(store, {"a": ("x", "B")}, hour=1)
    listed(store, {"a": ("y", "B")}, "x", hour=2)
    assert versions(store) == [
        ("a", "x", "A", 0, 1),
        ("a", "x", "B", 1, 2),
        ("a", "y", "B", 2, None),
    ]


def test_thing_vanishes_only_within_a_complete_listing_and_can_come_back(
    store: Warehouse,
) -> None:
    listed(store, {"a": ("x", "A"), "b": ("y", "B"), "c": (None, "C")}, "x", "y", hour=0)
    assert not listed(store, {}, hour=1).is_change
    listed(store, {}, "x", hour=2)
    assert versions(store)[0] == ("a", "x", "A", 0, 2)
    assert [row[4] for row in versions(store)[1:]] == [None, None]
    # A scope may be of things that are in no box.
    listed(store, {"a": ("x", "A")}, None, hour=3)
    assert versions(store) == [
        ("a", "x", "A", 0, 2),
        ("a", "x", "A", 3, None),
        ("b", "y", "B", 0, None),
        ("c", None, "C", 0, 3),
    ]


def test_two_listings_of_one_instant_leave_no_version_without_length(store: Warehouse) -> None:
    listed(store, {"a": ("x", "A")}, "x", hour=0)
    listed(store, {"a": ("x", "B")}, "x", hour=0)
    assert versions(store) == [("a", "x", "B", 0, None)]


def test_listing_older_than_what_stands_changes_nothing(store: Warehouse) -> None:
    listed(store, {"a": ("x", "A")}, "x", hour=5)
    assert not listed(store, {"a": ("x", "old")}, "x", hour=3).is_change
    assert not listed(store, {}, "x", hour=4).is_change
    assert versions(store) == [("a", "x", "A", 5, None)]


def test_thing_that_had_vanished_came_back_with_an_older_listing(store: Warehouse) -> None:
    listed(store, {"a": ("x", "A")}, "x", hour=0)
    listed(store, {}, "x", hour=5)
    assert not listed(store, {"a": ("x", "A")}, "x", hour=3).is_change
    assert versions(store) == [("a", "x", "A", 0, 5)]


def test_last_of_two_rows_of_a_thing_counts(store: Warehouse) -> None:
    frame = pl.concat([frame_of({"a": ("x", "A")}), frame_of({"a": ("y", "A")})])
    with store.write() as writer:
        write_listing(writer, THING, frame, scopes=boxes("x"), at=at(0))
    assert versions(store) == [("a", "y", "A", 0, None)]


def test_table_without_versions_and_frame_without_a_column_are_refused(store: Warehouse) -> None:
    nameless = frame_of({"a": ("x", "A")}).drop("name")
    with store.write() as writer:
        with pytest.raises(TransformError, match="keeps no versions"):
            write_listing(writer, SITE, SITE.empty_frame(), scopes=boxes(), at=at(0))
        with pytest.raises(TransformError, match="lacks name"):
            write_listing(writer, THING, nameless, scopes=boxes(), at=at(0))


THINGS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["A", None])),
    max_size=6,
)
LISTINGS = st.lists(st.tuples(THINGS, st.sets(st.sampled_from(["x", "y"]))), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse(tmp_path_factory.mktemp("listing") / "warehouse.duckdb", (THING,))


@settings(max_examples=6, deadline=None)
@given(given_listings=LISTINGS)
def test_at_each_instant_stands_what_was_last_seen(
    shared: Warehouse, given_listings: list[tuple[Listed, set[str]]]
) -> None:
    known: Listed = {}
    states: list[Listed] = []
    for things, complete in given_listings:
        known = {i: seen for i, seen in known.items() if i in things or seen[0] not in complete}
        known |= things
        states.append(dict(known))
    # One transaction for all of them: opening the file takes longer than the writes.
    with shared.write() as writer:
        writer.replace_all(THING, THING.empty_frame())
        for hour, (things, complete) in enumerate(given_listings):
            scopes = boxes(*sorted(complete))
            write_listing(writer, THING, frame_of(things), scopes=scopes, at=at(hour))
    found = versions(shared)
    for hour, expected in enumerate(states):
        standing = [v for v in found if v[3] <= hour and (v[4] is None or hour < v[4])]
        assert len(standing) == len({version[0] for version in standing})
        assert {i: (box, name) for i, box, name, _, _ in standing} == expected
    # No version goes on where the one before it ended alike: that is one version.
    for before in found:
        assert (*before[:3], before[4]) not in [version[:4] for version in found]
