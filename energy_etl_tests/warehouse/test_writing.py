"""What each write leaves in the table, and what it reports."""

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from energy_etl.errors import TransformError
from energy_etl.tables.core import INTERVAL, READING, SITE
from energy_etl.tables.mart import FINDING
from energy_etl.tables.raw import BODY, REQUEST
from energy_etl.warehouse import Change, Warehouse
from energy_etl_tests.warehouse.frames import START, STEP, at, intervals, readings, sites

DAY = timedelta(days=1)


@pytest.fixture
def warehouse(made_warehouse: Warehouse) -> Warehouse:
    """A warehouse that has its tables: how they are made is shown in test_store."""
    return made_warehouse


def replaced(
    warehouse: Warehouse,
    frame: pl.DataFrame,
    ids: list[str],
    from_at: datetime = START,
    to_at: datetime = START + DAY,
    **options: bool,
) -> Change:
    with warehouse.write() as writer:
        return writer.replace_window(
            INTERVAL, frame, ids={"register_id": ids}, from_at=from_at, to_at=to_at, **options
        )


def recorded(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read("SELECT * FROM bookkeeping.change ORDER BY ALL")


def test_append_then_read_table_gives_the_same_frame(warehouse: Warehouse) -> None:
    frame = intervals("r1", 10)
    with warehouse.write() as writer:
        change = writer.append(INTERVAL, frame.select(reversed(frame.columns)))
    assert change.n_added == 10
    assert change.months == (date(2024, 1, 1),)
    assert_frame_equal(warehouse.read_table(INTERVAL), frame, check_row_order=False)


def test_replace_window_touches_only_its_ids_and_its_half_open_window(
    warehouse: Warehouse,
) -> None:
    with warehouse.write() as writer:
        writer.append(INTERVAL, pl.concat([intervals("r1", 5), intervals("r2", 5)]))
    change = replaced(warehouse, intervals("r1", 2, first=1, energy_kwh=9.0), ["r1"], at(1), at(4))
    assert (change.n_added, change.n_removed) == (2, 3)
    rows = warehouse.read("SELECT start_at, energy_kwh FROM core.interval WHERE register_id = 'r1'")
    assert dict(rows.sort("start_at").iter_rows()) == {at(0): 1, at(1): 9, at(2): 9, at(4): 1}
    assert warehouse.read("SELECT 1 FROM core.interval WHERE register_id = 'r2'").height == 5


def test_window_with_equal_content_writes_and_records_nothing(warehouse: Warehouse) -> None:
    frame = intervals("r1", 96)
    replaced(warehouse, frame, ["r1"])
    before = recorded(warehouse)
    change = replaced(warehouse, frame.sample(fraction=1, shuffle=True, seed=1), ["r1"])
    assert not change.is_change
    assert change.windows.is_empty()
    assert_frame_equal(recorded(warehouse), before)


def test_window_with_one_different_row_writes_that_row_and_names_its_span(
    warehouse: Warehouse,
) -> None:
    frame = pl.concat([intervals("r1", 96), intervals("r2", 96)])
    replaced(warehouse, frame, ["r1", "r2"])
    corrected = frame.with_columns(
        energy_kwh=pl.when((pl.col("register_id") == "r2") & (pl.col("start_at") == at(40)))
        .then(5.0)
        .otherwise("energy_kwh")
    )
    change = replaced(warehouse, corrected, ["r1", "r2"])
    assert (change.n_added, change.n_removed) == (1, 1)
    assert change.windows.rows() == [("r2", at(40), at(40))]


def test_id_with_an_empty_answer_keeps_its_rows_and_is_reported(warehouse: Warehouse) -> None:
    replaced(warehouse, pl.concat([intervals("r1", 3), intervals("r2", 3)]), ["r1", "r2"])
    change = replaced(warehouse, intervals("r2", 1), ["r1", "r2", "never-seen"])
    assert change.kept_ids.rows() == [("r1",)]
    counts = warehouse.read(
        "SELECT register_id, count(*) FROM core.interval GROUP BY ALL ORDER BY ALL"
    )
    assert counts.rows() == [("r1", 3), ("r2", 1)]


def test_id_with_an_empty_answer_loses_its_rows_where_empty_is_meant(warehouse: Warehouse) -> None:
    replaced(warehouse, intervals("r1", 3), ["r1"])
    change = replaced(warehouse, INTERVAL.empty_frame(), ["r1"], is_empty_kept=False)
    assert (change.n_added, change.n_removed) == (0, 3)
    assert warehouse.read_table(INTERVAL).is_empty()


def test_windows_per_id_replace_each_its_own_span(warehouse: Warehouse) -> None:
    replaced(warehouse, pl.concat([intervals("r1", 6), intervals("r2", 6)]), ["r1", "r2"])
    windows = pl.DataFrame(
        {"register_id": ["r1", "r2", "r2"], "from_at": [at(0), at(2), at(4)]}
    ).with_columns(to_at=pl.col("from_at") + STEP)
    batch = pl.concat(
        [
            intervals("r1", 1, energy_kwh=7.0),
            intervals("r2", 1, first=2, energy_kwh=8.0),
            intervals("r2", 1, first=4, energy_kwh=9.0),
        ]
    )
    with warehouse.write() as writer:
        change = writer.replace_window(INTERVAL, batch, ids=windows)
    assert change.n_added == 3
    assert change.windows.rows() == [("r1", at(0), at(0)), ("r2", at(2), at(4))]
    changed = warehouse.read(
        "SELECT register_id, start_at, energy_kwh FROM core.interval"
        " WHERE energy_kwh > 1 ORDER BY ALL"
    )
    assert changed.rows() == [("r1", at(0), 7.0), ("r2", at(2), 8.0), ("r2", at(4), 9.0)]


@pytest.mark.parametrize(
    "frame",
    [intervals("r1", 1, first=96), intervals("r1", 1, first=-1), intervals("another", 1)],
    ids=["at the end", "before the start", "another id"],
)
def test_row_outside_the_window_is_refused_and_nothing_written(
    warehouse: Warehouse, frame: pl.DataFrame
) -> None:
    with pytest.raises(TransformError, match=r"1 rows for core\.interval lie outside"):
        replaced(warehouse, frame, ["r1"])
    assert warehouse.read_table(INTERVAL).is_empty()


def test_batch_with_a_key_twice_keeps_the_last(warehouse: Warehouse) -> None:
    batch = pl.concat([intervals("r1", 1, energy_kwh=1.0), intervals("r1", 1, energy_kwh=2.0)])
    replaced(warehouse, batch, ["r1"])
    with warehouse.write() as writer:
        writer.merge(SITE, pl.concat([sites("a"), sites("a").with_columns(name=pl.lit("new"))]))
    assert warehouse.read_table(INTERVAL)["energy_kwh"].to_list() == [2.0]
    assert warehouse.read_table(SITE)["name"].to_list() == ["new"]


def test_key_that_stands_twice_in_the_table_is_mended(warehouse: Warehouse) -> None:
    frame = intervals("r1", 4)
    with warehouse.write() as writer:
        writer.append(INTERVAL, pl.concat([frame, frame.head(1)]))
    replaced(warehouse, frame, ["r1"])
    assert_frame_equal(warehouse.read_table(INTERVAL), frame, check_row_order=False)


def test_nan_equals_nan_and_differs_from_null(warehouse: Warehouse) -> None:
    with_nan = intervals("r1", 3, energy_kwh=math.nan)
    replaced(warehouse, with_nan, ["r1"])
    assert not replaced(warehouse, with_nan, ["r1"]).is_change
    nulls = with_nan.with_columns(energy_kwh=pl.lit(None, pl.Float64))
    assert replaced(warehouse, nulls, ["r1"]).n_added == 3


def test_ids_that_no_window_can_have_are_refused(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        with pytest.raises(TransformError, match="no time zone"):
            writer.replace_window(
                INTERVAL,
                intervals("r1", 1),
                ids={"register_id": ["r1"]},
                from_at=datetime(2024, 1, 1),
                to_at=at(9),
            )
        with pytest.raises(TransformError, match="has no to_at"):
            writer.replace_window(
                INTERVAL, intervals("r1", 1), ids={"register_id": ["r1"]}, from_at=START
            )
        with pytest.raises(TransformError, match=r"columns \['meter'\]"):
            writer.replace_window(
                INTERVAL, intervals("r1", 1), ids={"meter": ["r1"]}, from_at=START, to_at=at(9)
            )
        with pytest.raises(TransformError, match="no time column in its key"):
            writer.replace_window(
                SITE, sites("a"), ids={"site_id": ["a"]}, from_at=START, to_at=at(9)
            )


def test_empty_list_of_ids_replaces_nothing(warehouse: Warehouse) -> None:
    replaced(warehouse, intervals("r1", 3), ["r1"])
    assert not replaced(warehouse, INTERVAL.empty_frame(), []).is_change
    assert warehouse.read_table(INTERVAL).height == 3


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (sites("a").drop("zone"), r"lacks the columns \['zone'\]"),
        (sites("a").with_columns(extra=1), r"unknown columns \['extra'\]"),
        (sites("a").with_columns(area_m2=pl.lit("12")), "area_m2 is String instead of Float64"),
        (sites("a").with_columns(zone=pl.lit(None, pl.String)), r"zone \(1 rows\)"),
    ],
)
def test_frame_that_does_not_fit_is_refused_in_one_sentence(
    warehouse: Warehouse, frame: pl.DataFrame, message: str
) -> None:
    with warehouse.write() as writer, pytest.raises(TransformError, match=message):
        writer.merge(SITE, frame)


def test_narrow_numbers_and_null_columns_are_widened(warehouse: Warehouse) -> None:
    frame = readings([1.0]).with_columns(
        pl.col("version").cast(pl.Int32), pl.col("read_at").cast(pl.Datetime("ms", "UTC"))
    )
    with warehouse.write() as writer:
        writer.append(READING, frame)
        writer.append(SITE, sites("a").with_columns(area_m2=None))
    assert warehouse.read_table(READING).schema == READING.polars_schema


def test_naive_instants_are_refused(warehouse: Warehouse) -> None:
    naive = intervals("r1", 1).with_columns(pl.col("start_at").dt.replace_time_zone(None))
    with warehouse.write() as writer, pytest.raises(TransformError, match="start_at is Datetime"):
        writer.append(INTERVAL, naive)


def test_merge_with_a_null_in_the_key_replaces_the_row(warehouse: Warehouse) -> None:
    finding = pl.DataFrame(
        {"kind": ["stuck"], "place": ["r1"], "message": ["one"], "next_step": ["look"]}
    ).with_columns(from_at=None, to_at=None)
    with warehouse.write() as writer:
        writer.merge(FINDING, finding)
        change = writer.merge(FINDING, finding.with_columns(message=pl.lit("two")))
    assert (change.n_added, change.n_removed) == (1, 1)
    assert warehouse.read_table(FINDING)["message"].to_list() == ["two"]


def test_replace_all_leaves_exactly_the_frame_and_records_only_a_change(
    warehouse: Warehouse,
) -> None:
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("a", "b", "c"))
    before = recorded(warehouse)
    with warehouse.write() as writer:
        assert not writer.replace_all(SITE, sites("c", "b", "a")).is_change
    assert_frame_equal(recorded(warehouse), before)
    with warehouse.write() as writer:
        change = writer.replace_all(SITE, sites("b", "d"))
    assert (change.n_added, change.n_removed) == (1, 2)
    assert sorted(warehouse.read_table(SITE)["site_id"]) == ["b", "d"]
    with warehouse.write() as writer:
        writer.replace_all(SITE, SITE.empty_frame())
    assert warehouse.read_table(SITE).is_empty()


def test_equal_content_keeps_the_bookkeeping_of_its_first_arrival(warehouse: Warehouse) -> None:
    for hours in (0, 1):
        with warehouse.write() as writer:
            writer.merge(
                READING,
                readings([1.0, 2.0], received_at=START + timedelta(hours=hours)).with_columns(
                    version=1
                ),
            )
    assert warehouse.read_table(READING)["received_at"].unique().to_list() == [START]


def test_unpublished_tables_record_no_change(warehouse: Warehouse) -> None:
    body = pl.DataFrame({"body_sha256": ["x"], "body_zlib": [b"\x00\xff"], "n_bytes": [2]})
    with warehouse.write() as writer:
        assert writer.merge(BODY, body).n_added == 1
        assert not writer.merge(BODY, body).is_change
        assert not writer.append(REQUEST, REQUEST.empty_frame()).is_change
    assert recorded(warehouse).is_empty()
    assert warehouse.read_table(BODY)["body_zlib"].to_list() == [b"\x00\xff"]


def test_error_inside_the_block_undoes_every_write_of_it(warehouse: Warehouse) -> None:
    def fail_after_writing() -> None:
        with warehouse.write() as writer:
            writer.replace_all(SITE, sites("a"))
            writer.append(INTERVAL, intervals("r1", 5))
            raise LookupError

    with pytest.raises(LookupError):
        fail_after_writing()
    assert warehouse.read_table(SITE).is_empty()
    assert warehouse.read_table(INTERVAL).is_empty()
    assert recorded(warehouse).is_empty()


def versions(warehouse: Warehouse) -> list[tuple[int, int, float | None]]:
    rows = warehouse.read_table(READING).sort("read_at", "version")
    return [
        ((row["read_at"] - START) // STEP, row["version"], row["reading_native"])
        for row in rows.iter_rows(named=True)
    ]


def append_versions(warehouse: Warehouse, frame: pl.DataFrame) -> Change:
    with warehouse.write() as writer:
        return writer.append_versions(READING, frame)


def test_corrected_reading_becomes_a_second_version_and_the_first_stays(
    warehouse: Warehouse,
) -> None:
    append_versions(warehouse, readings([1.0, 2.0, 3.0]))
    later = START + timedelta(hours=1)
    change = append_versions(warehouse, readings([1.0, 2.5, 3.0, 4.0], received_at=later))
    assert change.n_added == 2
    assert change.windows.rows() == [("r1", at(1), at(3))]
    assert versions(warehouse) == [(0, 1, 1.0), (1, 1, 2.0), (1, 2, 2.5), (2, 1, 3.0), (3, 1, 4.0)]


def test_equal_readings_add_nothing_also_nan_and_null(warehouse: Warehouse) -> None:
    frame = readings([1.0, math.nan, None])
    append_versions(warehouse, frame)
    again = frame.with_columns(received_at=pl.lit(START + DAY))
    assert not append_versions(warehouse, again).is_change
    assert append_versions(warehouse, readings([None, None, 0.0])).n_added == 3


def test_value_received_before_the_newest_version_adds_nothing(warehouse: Warehouse) -> None:
    append_versions(warehouse, readings([1.0]))
    append_versions(warehouse, readings([2.0], received_at=START + DAY))
    assert not append_versions(warehouse, readings([1.0])).is_change
    assert versions(warehouse) == [(0, 1, 1.0), (0, 2, 2.0)]


def test_answers_in_one_batch_give_the_versions_of_answers_one_by_one(
    warehouse: Warehouse, tmp_path
) -> None:
    answers = [
        readings(values, received_at=START + timedelta(hours=hours))
        for hours, values in enumerate(([1.0, 2.0], [1.0, 3.0], [1.5, 3.0, 4.0], [1.5, 2.0]))
    ]
    other = Warehouse(tmp_path / "other.duckdb", warehouse.tables)
    for answer in answers:
        append_versions(warehouse, answer)
    change = append_versions(other, pl.concat(reversed(answers)))
    assert versions(other) == versions(warehouse)
    assert other.table_hash(READING) == warehouse.table_hash(READING)
    assert change.windows.rows() == [("r1", at(0), at(2))]


def test_hash_depends_on_content_not_on_order_or_bookkeeping(
    warehouse: Warehouse, tmp_path
) -> None:
    other = Warehouse(tmp_path / "other.duckdb", warehouse.tables)
    append_versions(warehouse, readings([1.0, 2.0]))
    append_versions(other, readings([2.0], first=1, received_at=START + DAY))
    assert other.table_hash(READING) != warehouse.table_hash(READING)
    append_versions(other, readings([1.0], received_at=START + DAY))
    assert other.table_hash(READING) == warehouse.table_hash(READING)


@pytest.fixture(scope="module")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    path = tmp_path_factory.mktemp("shared") / "warehouse.duckdb"
    return Warehouse(path, (INTERVAL, SITE))


HOSTILE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)


@given(ids=st.lists(HOSTILE | st.sampled_from(["'", '"; DROP TABLE', "$where", "?"]), unique=True))
@settings(max_examples=10, deadline=None)
def test_hostile_ids_are_only_ever_data(shared_file: Warehouse, ids: list[str]) -> None:
    with shared_file.write() as writer:
        writer.replace_all(INTERVAL, intervals("bystander", 1))
        batch = pl.concat([INTERVAL.empty_frame(), *(intervals(name, 1) for name in ids)])
        others = [name for name in ids if name != "bystander"]
        batch = batch.filter(pl.col("register_id") != "bystander")
        writer.replace_window(
            INTERVAL, batch, ids={"register_id": others}, from_at=START, to_at=at(2)
        )
        found = writer.read("SELECT register_id FROM core.interval")["register_id"]
    assert sorted(found) == sorted([*others, "bystander"])


# What a deterministic vendor says, whoever asks and when.
TRUTH = pl.concat([intervals("r1", 30), intervals("r2", 30)]).with_columns(
    energy_kwh=pl.col("register_end_native") * 0.1
)


WHOLE = [({"r1", "r2"}, first, 10) for first in (0, 10, 20)]
OVERLAPS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["r1", "r2"]), min_size=1),
        st.integers(0, 25),
        st.integers(1, 15),
    ),
    max_size=4,
)


@given(OVERLAPS.flatmap(lambda extra: st.permutations([*WHOLE, *WHOLE[:1], *extra])))
@settings(max_examples=6, deadline=None)
def test_windows_in_any_order_with_overlaps_and_repeats_give_one_hash(
    shared_file: Warehouse, windows: list[tuple[set[str], int, int]]
) -> None:
    with shared_file.write() as writer:
        writer.replace_all(INTERVAL, TRUTH)
    expected = shared_file.table_hash(INTERVAL)
    with shared_file.write() as writer:
        writer.replace_all(INTERVAL, INTERVAL.empty_frame())
        for ids, first, length in windows:
            window = (at(first), at(first + length))
            writer.replace_window(
                INTERVAL,
                TRUTH.filter(
                    pl.col("register_id").is_in(list(ids)),
                    pl.col("start_at").is_between(*window, closed="left"),
                ),
                ids={"register_id": sorted(ids)},
                from_at=window[0],
                to_at=window[1],
            )
    assert shared_file.table_hash(INTERVAL) == expected


def test_windows_of_a_rewrite_cover_months_that_lost_rows(warehouse: Warehouse) -> None:
    january, february = intervals("r1", 2), intervals("r1", 2, first=31 * 96)
    with warehouse.write() as writer:
        writer.append(INTERVAL, pl.concat([january, february]))
    change = replaced(warehouse, january, ["r1"], to_at=datetime(2024, 3, 1, tzinfo=UTC))
    assert change.months == (date(2024, 2, 1),)


def test_thing_that_came_whole_loses_what_it_no_longer_names(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(INTERVAL, pl.concat([intervals("r1", 3), intervals("r2", 3)]))
    with warehouse.write() as writer:
        ids = pl.DataFrame({"register_id": ["r1"]})
        change = writer.replace_whole(INTERVAL, intervals("r1", 2, first=1), ids=ids)
    assert (change.n_added, change.n_removed) == (0, 1)
    kept = warehouse.read_table(INTERVAL).group_by("register_id").len().sort("register_id")
    assert kept.rows() == [("r1", 2), ("r2", 3)]


def test_row_of_a_thing_that_was_not_named_whole_is_refused(warehouse: Warehouse) -> None:
    ids = pl.DataFrame({"register_id": ["r1"]})
    with (
        pytest.raises(TransformError, match="belong to none of the ids"),
        warehouse.write() as writer,
    ):
        writer.replace_whole(INTERVAL, intervals("r2", 1), ids=ids)
    assert warehouse.read_table(INTERVAL).is_empty()


def test_whole_table_with_a_key_that_stands_twice_is_refused_and_keeps_its_rows(
    tmp_path: Path,
) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", (SITE,))
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("a"))
    with (
        pytest.raises(TransformError, match=r"core\.site has several rows with the key \('b',\)"),
        warehouse.write() as writer,
    ):
        writer.replace_all(SITE, sites("b", "b"))
    assert warehouse.read_table(SITE)["site_id"].to_list() == ["a"]
