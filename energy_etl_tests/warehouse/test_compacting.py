"""Deleting rows for good: what is published follows, and the disk gets the space back."""

from pathlib import Path

import polars as pl

from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.tables.raw import BODY
from energy_etl.warehouse import Warehouse, publish, read_published
from energy_etl.warehouse.compacting import compact
from energy_etl.warehouse.deleting import delete_rows
from energy_etl_tests.warehouse.frames import START, at, intervals, other_process, sites

# Opens the file in a loop, as runs do: whichever moment the copy takes its place, nothing is lost.
WRITER = """
import sys, time
from pathlib import Path
from energy_etl.tables.core import SITE
from energy_etl.warehouse import Warehouse
from energy_etl_tests.warehouse.frames import sites

warehouse = Warehouse(Path(sys.argv[1]), (SITE,), lock_wait_s=60)
print("ready", flush=True)
n = 0
while not Path(sys.argv[2]).exists():
    with warehouse.write() as writer:
        writer.append(SITE, sites(f"s{n}"))
    n += 1
    time.sleep(0.02)
print(n, flush=True)
"""


def bodies(n: int, secret: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "body_sha256": [f"{secret}-{i}" for i in range(n)],
            "body_zlib": [f"{i:>1000}{secret}".encode() for i in range(n)],
            "n_bytes": [1000] * n,
        },
        schema=BODY.polars_schema,
    )


def test_deleted_rows_give_their_space_back_and_leave_no_trace(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(BODY, bodies(6_000, "old"))
        writer.append(BODY, bodies(100, "new"))
        writer.append(SITE, sites("a"))
    compact(warehouse.path, lock_wait_s=5, worth_it=0)
    before = warehouse.path.stat().st_size
    with warehouse.write() as writer:
        change = delete_rows(writer, BODY, "starts_with(body_sha256, ?)", ["old"])
    assert change.n_removed == 6_000
    assert not compact(warehouse.path, lock_wait_s=5).is_done
    done = compact(warehouse.path, lock_wait_s=5, deleted_bytes=6_000 * 1000)
    assert done.is_done
    assert done.bytes_after == warehouse.path.stat().st_size < 0.75 * before
    assert b"old-5999" not in warehouse.path.read_bytes()
    assert warehouse.read_table(BODY).height == 100
    comment = warehouse.read("SELECT comment FROM duckdb_tables() WHERE table_name = 'site'")
    assert comment.item() == SITE.description
    assert not list(warehouse.path.parent.glob(".compacting-*"))


def test_rows_deleted_from_some_months_are_published_so(warehouse: Warehouse) -> None:
    with warehouse.write() as writer:
        writer.append(INTERVAL, intervals("r1", 96 * 60))
        writer.append(INTERVAL, intervals("r2", 96))
    data_dir = warehouse.path.parent
    first = publish(warehouse, data_dir=data_dir, views_folder=data_dir / "none")
    with warehouse.write() as writer:
        change = delete_rows(
            writer, INTERVAL, "t.register_id = ? AND t.start_at < ?", ["r1", at(9)]
        )
        assert change.months == (START.date(),)
        assert not delete_rows(writer, INTERVAL, "t.register_id = ?", ["nobody"]).is_change
    again = publish(warehouse, data_dir=data_dir, views_folder=data_dir / "none")
    assert again.n_files_written == 1
    left = read_published(again.energy_path, "SELECT count(*) FROM core.interval").item()
    assert left == 96 * 60 + 96 - 9
    assert first.is_changed


def test_compacting_while_another_process_writes_loses_no_row(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", (SITE,), lock_wait_s=60)
    warehouse.create()
    stop = tmp_path / "stop"
    with other_process(WRITER, warehouse.path, stop) as writer:
        for _ in range(4):
            assert compact(warehouse.path, lock_wait_s=60, worth_it=0).is_done
        stop.touch()
        assert writer.stdout is not None
        n_written = int(writer.stdout.readline())
    assert n_written > 0
    assert warehouse.read_table(SITE).height == n_written
