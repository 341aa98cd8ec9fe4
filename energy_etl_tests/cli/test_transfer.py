"""Export and import: everything comes back, and nothing is sent a second time."""

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

import polars as pl
import pytest

from energy_etl.cli import transfer_files
from energy_etl.cli.transfer_files import export_project, import_project
from energy_etl.defs.resources import Etl
from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Sent, apply
from energy_etl.errors import ConfigurationError, DeliveryError, UsageError, WarehouseError
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.tables.raw import BODY
from energy_etl.warehouse import Warehouse, publish, read_published
from energy_etl.warehouse.transfer import read_in
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import REPOSITORY
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp_ms, states
from energy_etl_tests.warehouse.frames import intervals, sites

TABLES = (SITE, INTERVAL, BODY)


def settings_of(root: Path) -> Settings:
    return Etl(root=str(root)).settings()


def warehouse_of(settings: Settings) -> Warehouse:
    return Warehouse(settings.warehouse_path, TABLES, lock_wait_s=20)


def hashes(settings: Settings) -> dict[str, str]:
    warehouse = warehouse_of(settings)
    with warehouse.reading() as reader:
        return {table.full_name: reader.table_hash(table) for table in warehouse.tables}


def deliver(settings: Settings, up_to: int) -> None:
    with open_state(settings.state_path) as connection:
        outbox, agreed = Outbox(connection), plan("s")
        numbers = range(1, up_to + 1)
        outbox.fill(packets("s", numbers), [agreed], now=NOW)
        release(outbox, [agreed], [], NOW)
        sent = [Sent("s", stamp_ms(n), body("s", n), 200, 1) for n in numbers]
        apply(outbox, [*sent, Confirmed("s", stamp_ms(up_to))], NOW)


@pytest.fixture(scope="module", autouse=True)
def few_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave tables and views out that are empty here, and Dagster: they were most of the time."""
    without_views = partial(publish, views_folder=tmp_path_factory.mktemp("views"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("energy_etl.defs.warehouse.all_tables", lambda: TABLES)
        patch.setattr(transfer_files, "publish", without_views)
        patch.setattr(transfer_files, "prepare", lambda _: None)
        yield


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path]:
    """Return a project with rows, three sent packets and a portfolio, and its export."""
    root = tmp_path_factory.mktemp("exported")
    settings = settings_of(root)
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", settings.portfolio_dir)
    bodies = {"body_sha256": ["a"], "body_zlib": [b"\x00\xff"], "n_bytes": [2]}
    with warehouse_of(settings).write() as writer:
        writer.replace_all(SITE, sites("a", "b"))
        writer.append(INTERVAL, intervals("r1", 96 * 40))
        writer.append(BODY, pl.DataFrame(bodies, schema=BODY.polars_schema))
    deliver(settings, 3)
    out = root / "backup"
    assert list(export_project(settings, out))[-1] == f"Written: {out}."
    return settings, out


def test_import_into_a_new_folder_brings_everything_back(
    exported: tuple[Settings, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, out = exported
    restored = settings_of(tmp_path)
    lines = list(import_project(restored, out))
    assert lines[0] == "Every file is as it was exported."
    assert lines[1:3] == ["Outbox and state.", "Portfolio."]
    assert hashes(restored) == hashes(settings)
    query = "SELECT count(*), min(flags) FROM core.interval"
    assert read_published(restored.published_path, query).rows() == [(96 * 40, [])]
    with open_state(restored.state_path) as connection:
        outbox = Outbox(connection)
        assert states(outbox, "s") == {1: "confirmed", 2: "confirmed", 3: "confirmed"}
        # The same packets again: nothing is sent a second time.
        assert not outbox.fill(packets("s", range(1, 4)), [plan("s")], now=NOW).has_changes
    theirs = sorted(path.name for path in restored.portfolio_dir.iterdir())
    assert theirs == sorted(path.name for path in settings.portfolio_dir.iterdir())
    with pytest.raises(ConfigurationError, match=r"holds rows already .* give --replace"):
        list(import_project(restored, out))
    monkeypatch.setattr("energy_etl.cli.transfer_files.publish", lambda *_, **__: None)
    # The outbox went on since: the copy must not take it back.
    deliver(restored, 4)
    with pytest.raises(DeliveryError, match=r"export does not know of .* a second time"):
        list(import_project(restored, out, is_replacing=True))
    with warehouse_of(restored).write() as writer:
        writer.replace_all(SITE, sites("c"))
    list(import_project(restored, out, is_replacing=True, keeps_outbox=True))
    assert hashes(restored) == hashes(settings)
    with open_state(restored.state_path) as connection:
        assert len(states(Outbox(connection), "s")) == 4


def test_damaged_missing_and_later_exports_are_refused_before_anything_changes(
    exported: tuple[Settings, Path], tmp_path: Path
) -> None:
    _, out = exported
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    settings = settings_of(tmp_path / "project")
    (copy / "core" / "site.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match=r"site\.parquet is missing or is not what was"):
        list(import_project(settings, copy))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest |= {"files": {"../outside": {"sha256": "0"}}, "last_sent_ms": None}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"outside is missing or is not what was"):
        list(import_project(settings, copy))
    for files in ({"a.parquet": {"sha256": "0"}}, {"a.csv": "0"}, ["a"], {"a.csv": {}}, None):
        (copy / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
        with pytest.raises(ConfigurationError, match=r"no complete export"):
            list(import_project(settings, copy))
    manifest["schema_version"] = 99
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match=r"newer than this one: update energy-etl"):
        list(import_project(settings, copy))
    (copy / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"holds no manifest\.json; name the folder that"):
        list(import_project(settings, copy))
    assert not settings.data_dir.exists()


def test_export_of_some_schemas_has_no_outbox_and_replaces_only_them(
    exported: tuple[Settings, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, _ = exported
    typed = Typed(settings.root, "http://127.0.0.1:1", monkeypatch, capsys)
    out = tmp_path / "core"
    code, told, _ = typed.run("export", "--out", str(out), "--schema", "core")
    assert code == 0
    assert told.endswith(f"Written: {out}.\n")
    assert sorted(path.name for path in out.iterdir()) == ["core", "manifest.json"]
    assert pl.read_parquet(out / "core" / "site.parquet")["site_id"].to_list() == ["a", "b"]
    code, _, err = typed.run("export", "--out", str(out))
    assert (code, "holds something already" in err) == (2, True)
    code, _, err = typed.run("export", "--out", str(tmp_path / "x"), "--schema", "cor")
    assert (code, "There is no schema cor: give some of core," in err) == (2, True)
    monkeypatch.setattr("energy_etl.cli.transfer_files.publish", lambda *_, **__: None)
    before = hashes(settings)
    code, _, err = typed.run("import", str(out), "--replace")
    assert (code, err) == (0, "")
    assert hashes(settings) == before
    assert datetime.fromisoformat(
        json.loads((out / "manifest.json").read_text())["exported_at"]
    ) <= datetime.now(UTC)


def test_export_knows_only_of_packets_that_are_in_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets that went out after the copy were in the manifest, and would be sent twice."""
    settings = settings_of(tmp_path)
    warehouse_of(settings).create()
    deliver(settings, 3)
    copy_state = transfer_files.copy_state

    def copy_then_send(path: Path, target: Path) -> None:
        copy_state(path, target)
        deliver(settings, 4)

    monkeypatch.setattr(transfer_files, "copy_state", copy_then_send)
    monkeypatch.setattr(transfer_files, "_wanted", lambda *_: [SITE])
    out = tmp_path / "backup"
    list(export_project(settings, out))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["last_sent_ms"] == {"s": stamp_ms(3)}
    assert {path.name for path in out.iterdir()} == {"manifest.json", "state.sqlite", "core"}


def test_portfolio_that_is_there_is_refused_and_half_of_the_same_one_completed(
    exported: tuple[Settings, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left as it was, without a word, also when an import was killed in its middle."""
    settings, out = exported
    monkeypatch.setattr("energy_etl.cli.transfer_files.publish", lambda *_, **__: None)
    monkeypatch.setattr("energy_etl.cli.transfer_files._bring_tables", lambda *_: ())
    restored = settings_of(tmp_path)
    restored.portfolio_dir.mkdir(parents=True)
    half = restored.portfolio_dir / "sites.csv"
    shutil.copyfile(settings.portfolio_dir / half.name, half)
    list(import_project(restored, out))
    theirs = {path.name: path.read_bytes() for path in settings.portfolio_dir.iterdir()}
    assert {path.name: path.read_bytes() for path in restored.portfolio_dir.iterdir()} == theirs
    half.write_text("site_id\n")
    with pytest.raises(ConfigurationError, match=r"sites\.csv is not what was exported: give --re"):
        list(import_project(restored, out))
    list(import_project(restored, out, is_replacing=True))
    assert half.read_bytes() == theirs["sites.csv"]


def test_export_that_fails_leaves_nothing_that_looks_like_one(
    exported: tuple[Settings, Path], tmp_path: Path
) -> None:
    settings, _ = exported
    out = tmp_path / "backup"
    # Its end comes after the first step, as with a full disk.
    with closing(cast("Generator[str, None, None]", export_project(settings, out))) as steps:
        next(steps)
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_file_of_a_table_of_another_shape_is_refused_and_an_older_one_comes_in(
    tmp_path: Path,
) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", (SITE,))
    older = sites("a").drop("use", "area_m2").with_columns(gone=pl.lit(1))
    older.write_parquet(tmp_path / "older.parquet")
    with warehouse.write() as writer:
        assert read_in(writer, SITE, tmp_path / "older.parquet") == (1, ("gone",))
    assert warehouse.read_table(SITE)["use"].to_list() == [None]
    wrong = sites("b").drop("zone").with_columns(name=pl.lit(1))
    wrong.write_parquet(tmp_path / "wrong.parquet")
    with (
        pytest.raises(
            WarehouseError,
            match=r"core\.site: name \(INTEGER .*\), zone \(missing instead of VARCHAR",
        ),
        warehouse.write() as writer,
    ):
        read_in(writer, SITE, tmp_path / "wrong.parquet")
    assert warehouse.read_table(SITE)["site_id"].to_list() == ["a"]
