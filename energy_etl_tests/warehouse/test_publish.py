"""What people open: complete, up to date, never blocked, never mixed, repaired when broken."""

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest

from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.tables import Column
from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.tables.raw import REQUEST
from energy_etl.warehouse import PublishReport, Warehouse, publish
from energy_etl_tests.warehouse.frames import START, intervals, other_process, sites

FEBRUARY = 31 * 96

HOLD_AND_READ_AGAIN = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("ready", flush=True)
for line in sys.stdin:
    print(connection.execute("SELECT count(*), sum(energy_kwh) FROM core.interval").fetchall(),
          flush=True)
"""

# Small tables and big ones are written with one number: a reader must never see two.
READ_FOUR_GENERATIONS = """
import sys, duckdb
seen = set()
print("ready", flush=True)
while len(seen) < 4:
    connection = duckdb.connect(sys.argv[1], read_only=True)
    inside, n_sites = connection.execute(
        "SELECT any_value(area_m2), count(DISTINCT area_m2) FROM core.site").fetchall()[0]
    low, high, n_rows = connection.execute(
        "SELECT min(energy_kwh), max(energy_kwh), count(*) FROM core.interval").fetchall()[0]
    connection.close()
    assert n_sites == 1 and low == high == inside and n_rows == 4, (inside, low, high, n_rows)
    seen.add(inside)
print("never mixed", flush=True)
"""


@pytest.fixture
def views_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "views"
    folder.mkdir()
    (folder / "site_energy.sql").write_text(
        "CREATE VIEW mart.site_energy AS SELECT s.site_id, sum(i.energy_kwh) AS energy_kwh"
        " FROM core.site AS s LEFT JOIN core.interval AS i ON i.register_id = s.site_id"
        " GROUP BY ALL;"
        " COMMENT ON VIEW mart.site_energy IS 'Energy per site; it''s all there is.';"
    )
    return folder


class Publisher:
    """A warehouse, its data folder, and the views of these tests."""

    def __init__(self, warehouse: Warehouse, views_folder: Path) -> None:
        self.warehouse = warehouse
        self.data_dir = warehouse.path.parent
        self.views_folder = views_folder
        self.energy_path = self.data_dir / "energy.duckdb"

    def publish(self, now: datetime | None = None) -> PublishReport:
        return publish(
            self.warehouse, data_dir=self.data_dir, views_folder=self.views_folder, now=now
        )

    def write(self, energy_kwh: float) -> None:
        """Two rows in each of two months and one site, all with one number."""
        with self.warehouse.write() as writer:
            writer.replace_all(SITE, sites("s1").with_columns(area_m2=pl.lit(energy_kwh)))
            frame = pl.concat([intervals("s1", 2), intervals("s1", 2, first=FEBRUARY)])
            writer.merge(INTERVAL, frame.with_columns(energy_kwh=pl.lit(energy_kwh)))

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.energy_path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def files(self) -> list[str]:
        published = self.data_dir / "published"
        return sorted(p.relative_to(published).as_posix() for p in published.rglob("*.parquet"))


@pytest.fixture
def publisher(made_warehouse: Warehouse, views_folder: Path) -> Publisher:
    return Publisher(made_warehouse, views_folder)


def test_first_publication_shows_tables_views_and_comments_but_not_raw(
    publisher: Publisher,
) -> None:
    publisher.write(2.0)
    report = publisher.publish()
    assert report.is_changed
    assert report.n_files_written == 2
    assert report.energy_path == publisher.energy_path.resolve()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
    names = {
        row[0]
        for row in publisher.query(
            "SELECT DISTINCT table_schema || '.' || table_name FROM information_schema.columns"
        )
    }
    published = {table.full_name for table in publisher.warehouse.tables if table.is_published}
    assert names == {*published, "mart.site_energy", "main.publication"}
    columns = publisher.query(
        "SELECT column_name, data_type, comment FROM duckdb_columns()"
        " WHERE schema_name = 'core' AND table_name = 'interval' ORDER BY column_index"
    )
    assert columns == [(c.name, c.duckdb_type, c.description) for c in INTERVAL.columns]
    comments = dict(
        publisher.query("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    )
    assert comments["interval"] == INTERVAL.description
    assert comments["site_energy"] == "Energy per site; it's all there is."
    assert publisher.query("SELECT comment FROM duckdb_tables() WHERE table_name = 'site'") == [
        (SITE.description,)
    ]
    assert publisher.query("SELECT generation FROM main.publication") == [(report.generation,)]


def test_publication_of_an_empty_warehouse_has_empty_tables_with_their_columns(
    publisher: Publisher,
) -> None:
    publisher.publish()
    assert publisher.query("SELECT * FROM core.interval") == []
    assert publisher.query("SELECT count(*) FROM mart.site_energy") == [(0,)]
    assert publisher.files() == []


def test_second_publication_without_a_change_leaves_every_file_alone(
    publisher: Publisher,
) -> None:
    publisher.write(2.0)
    first = publisher.publish()
    inode = publisher.energy_path.stat().st_ino
    publisher.write(2.0)
    with publisher.warehouse.write() as writer:
        request = {"request_id": "1", "vendor": "v", "endpoint": "e", "url": "u"}
        nulls = [c for c in REQUEST.polars_schema if c not in {*request, "requested_at"}]
        frame = pl.DataFrame([request]).with_columns(
            requested_at=pl.lit(START), **dict.fromkeys(nulls)
        )
        writer.append(REQUEST, frame)
    again = publisher.publish()
    assert not again.is_changed
    assert again.generation == first.generation
    assert publisher.energy_path.stat().st_ino == inode


def test_only_the_changed_month_is_written_anew(publisher: Publisher) -> None:
    publisher.write(2.0)
    publisher.publish()
    with publisher.warehouse.write() as writer:
        writer.merge(INTERVAL, intervals("s1", 1, first=FEBRUARY, energy_kwh=5.0))
    report = publisher.publish()
    assert report.n_files_written == 1
    assert publisher.query("SELECT sum(energy_kwh) FROM core.interval") == [(11.0,)]
    months = [name.split("/")[2] for name in publisher.files()]
    assert months == ["month=2024-01", "month=2024-02", "month=2024-02"]


def test_month_that_lost_all_rows_disappears(publisher: Publisher) -> None:
    publisher.write(2.0)
    publisher.publish()
    with publisher.warehouse.write() as writer:
        writer.replace_all(INTERVAL, intervals("s1", 2))
    publisher.publish()
    assert publisher.query("SELECT count(*) FROM core.interval") == [(2,)]
    assert not publisher.publish().is_changed


def test_small_table_alone_changes_only_the_energy_file(publisher: Publisher) -> None:
    publisher.write(2.0)
    publisher.publish()
    with publisher.warehouse.write() as writer:
        writer.merge(SITE, sites("s2"))
    report = publisher.publish()
    assert (report.is_changed, report.n_files_written) == (True, 0)
    assert publisher.query("SELECT site_id FROM core.site ORDER BY 1") == [("s1",), ("s2",)]


def test_open_reader_neither_blocks_publishing_nor_loses_its_generation(
    publisher: Publisher,
) -> None:
    publisher.write(1.0)
    publisher.publish()
    with other_process(HOLD_AND_READ_AGAIN, publisher.energy_path) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for energy_kwh in (2.0, 3.0, 4.0, 5.0):
            publisher.write(energy_kwh)
            assert publisher.publish().is_changed
            reader.stdin.write("again\n")
            reader.stdin.flush()
            assert reader.stdout.readline().strip() == "[(4, 4.0)]"
    assert publisher.query("SELECT sum(energy_kwh) FROM core.interval") == [(20.0,)]


def test_reader_in_another_process_never_sees_two_generations(publisher: Publisher) -> None:
    publisher.write(1.0)
    publisher.publish()
    with other_process(READ_FOUR_GENERATIONS, publisher.energy_path) as reader:
        for n in range(2, 200):
            publisher.write(float(n))
            publisher.publish()
            if reader.poll() is not None:
                break
        assert reader.stdout is not None
        # An assertion in the reader ends it without this line.
        assert reader.stdout.readline().strip() == "never mixed"


def test_old_files_go_when_three_generations_and_an_hour_have_passed(
    publisher: Publisher,
) -> None:
    now = datetime.now(UTC)
    for n in range(5):
        publisher.write(float(n))
        publisher.publish(now + timedelta(seconds=n))
    assert len(publisher.files()) == 10
    publisher.write(99.0)
    later = publisher.publish(now + timedelta(hours=2))
    # The last generation was the one to open until a moment ago.
    assert later.n_files_deleted == 6
    assert len(publisher.files()) == 6
    kept = sorted((publisher.data_dir / "published" / "generations").glob("*.json"))
    assert [int(path.name.split("-")[0]) for path in kept] == [4, 5, 6]
    assert publisher.query("SELECT max(energy_kwh) FROM core.interval") == [(99.0,)]


def test_moved_data_folder_is_repaired_by_the_next_publication(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.write(2.0)
    publisher.publish()
    moved = tmp_path / "moved"
    shutil.move(publisher.data_dir, moved)
    there = Publisher(
        Warehouse(moved / "warehouse.duckdb", publisher.warehouse.tables), publisher.views_folder
    )
    report = there.publish()
    assert (report.is_changed, report.n_files_written) == (True, 0)
    assert there.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]


@pytest.mark.parametrize("lost", ["parquet", "energy", "manifest"])
def test_lost_or_damaged_file_is_repaired_by_the_next_publication(
    publisher: Publisher, lost: str
) -> None:
    publisher.write(2.0)
    publisher.publish()
    if lost == "parquet":
        (publisher.data_dir / "published" / publisher.files()[0]).unlink()
    elif lost == "energy":
        publisher.energy_path.write_bytes(b"damaged")
    else:
        for manifest in (publisher.data_dir / "published" / "generations").glob("*.json"):
            manifest.write_text(manifest.read_text()[:100])
    assert publisher.publish().is_changed
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
    assert not publisher.publish().is_changed


def test_new_column_is_published_although_no_row_changed(publisher: Publisher) -> None:
    publisher.write(2.0)
    publisher.publish()
    wider = replace(INTERVAL, columns=(*INTERVAL.columns, Column("note", "text", "A note.")))
    tables = [wider if table is INTERVAL else table for table in publisher.warehouse.tables]
    newer = Publisher(Warehouse(publisher.warehouse.path, tables), publisher.views_folder)
    assert newer.publish().n_files_written == 2
    assert newer.query("SELECT count(*), count(note) FROM core.interval") == [(4, 0)]
    # That each publication begins by; the one with the tables of before is gone.
    (empty,) = (publisher.data_dir / "published").glob("empty-*")
    assert empty.suffix == ".duckdb"


def test_damaged_file_of_empty_tables_is_made_anew_after_one_failure(publisher: Publisher) -> None:
    publisher.write(1.0)
    publisher.publish()
    publisher.write(2.0)
    for empty in (publisher.data_dir / "published").glob("empty-*"):
        empty.write_bytes(b"damaged" * 2000)
    with pytest.raises(WarehouseError, match="not a valid DuckDB"):
        publisher.publish()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 4.0)]
    assert publisher.publish().is_changed
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]


def test_table_that_is_now_cut_into_months_is_published_whole(
    warehouse: Warehouse, views_folder: Path
) -> None:
    uncut = replace(INTERVAL, time_column=None)
    tables = [uncut if table is INTERVAL else table for table in warehouse.tables]
    before = Publisher(Warehouse(warehouse.path, tables), views_folder)
    before.write(2.0)
    assert before.publish().n_files_written == 0
    after = Publisher(warehouse, views_folder)
    assert after.publish().n_files_written == 2
    assert after.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
    assert not after.publish().is_changed


def test_rebuilt_warehouse_replaces_what_was_published_from_the_old_one(
    publisher: Publisher,
) -> None:
    publisher.write(2.0)
    publisher.publish()
    publisher.warehouse.path.unlink()
    publisher.write(3.0)
    publisher.publish()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 12.0)]


def test_wrong_view_is_named_and_the_last_publication_stays(publisher: Publisher) -> None:
    publisher.write(2.0)
    publisher.publish()
    publisher.write(3.0)
    n_files = len(publisher.files())
    wrong = publisher.views_folder / "wrong.sql"
    wrong.write_text("CREATE VIEW mart.wrong AS SELECT no_such_column FROM core.site")
    with pytest.raises(WarehouseError, match=r"sql/wrong\.sql.*no_such_column.*publish again"):
        publisher.publish()
    wrong.write_text("CREATE VIEW mart.wrong AS SELECT 1 AS n_rows")
    with pytest.raises(WarehouseError, match=r"no commented view mart\.wrong"):
        publisher.publish()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
    assert len(publisher.files()) == n_files
    assert [path.name for path in publisher.data_dir.glob(".energy-*")] == []
    wrong.unlink()
    publisher.publish()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 12.0)]


PUBLISH_AND_DIE = """
import os, sys
from pathlib import Path
from energy_etl.warehouse import Warehouse, publish, publishing
from energy_etl_tests.warehouse.conftest import TABLES

def die(*arguments, **named):
    os.kill(os.getpid(), 9)

place, name = {
    "files are written": (publishing, "build"),
    "energy file is built": (os, "replace"),
    "energy file is in place": (publishing.GenerationFolder, "write"),
}[sys.argv[3]]
setattr(place, name, die)
data_dir = Path(sys.argv[1])
warehouse = Warehouse(data_dir / "warehouse.duckdb", TABLES)
publish(warehouse, data_dir=data_dir, views_folder=Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("moment", "energy_kwh"),
    [
        ("files are written", 4.0),
        ("energy file is built", 4.0),
        ("energy file is in place", 8.0),
    ],
)
def test_kill_while_publishing_leaves_a_whole_publication_and_the_next_one_mends(
    publisher: Publisher, moment: str, energy_kwh: float
) -> None:
    publisher.write(1.0)
    publisher.publish()
    publisher.write(2.0)
    arguments = [str(publisher.data_dir), str(publisher.views_folder), moment]
    killed = subprocess.run([sys.executable, "-c", PUBLISH_AND_DIE, *arguments], check=False)
    assert killed.returncode == -9
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", energy_kwh)]
    assert publisher.publish().is_changed
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
    assert [path.name for path in publisher.data_dir.glob(".energy-*")] == []


def test_second_publisher_waits_and_says_why(publisher: Publisher) -> None:
    from filelock import FileLock

    publisher.write(1.0)
    publisher.publish()
    impatient = Warehouse(publisher.warehouse.path, publisher.warehouse.tables, lock_wait_s=0.2)
    with (
        FileLock(publisher.data_dir / "published" / ".lock"),
        pytest.raises(WarehouseLockedError, match="being published by another process"),
    ):
        publish(impatient, data_dir=publisher.data_dir, views_folder=publisher.views_folder)


def test_folder_that_cannot_be_written_is_named(publisher: Publisher, tmp_path: Path) -> None:
    publisher.write(1.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(WarehouseError, match=r"Publishing to .*file.* failed"):
        publish(publisher.warehouse, data_dir=tmp_path / "file", views_folder=tmp_path)


def test_folder_with_quotes_and_blanks_is_published(tmp_path: Path, views_folder: Path) -> None:
    folder = tmp_path / 'it\'s "data" 100%'
    publisher = Publisher(Warehouse(folder / "warehouse.duckdb", (SITE, INTERVAL)), views_folder)
    publisher.write(2.0)
    publisher.publish()
    assert publisher.query("SELECT * FROM mart.site_energy") == [("s1", 8.0)]
