"""`energy-etl report`: the path on stdout, also before anything was published."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.report import energy_report
from energy_etl.defs.reporting import read_sources
from energy_etl.defs.resources import Etl
from energy_etl.report import SOURCES
from energy_etl.tables import SHARED_TABLES, Table, core, push
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.cli.typed import Typed

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SITE = {"site_id": "mill", "name": "Old <mill>", "zone": "Europe/Rome", "currency": "EUR"}
STREAM = {
    "stream_id": "dp-mill",
    "register_id": "mill.mains",
    "field": "pC_1",
    "content": "cumulative_wh",
    "interval_minutes": 15,
    "credential": "main",
    "estimates": "send",
    "is_historical": False,
}
# All was well at the last push, which is two days ago.
STATUS = {
    "stream_id": "dp-mill",
    "n_confirmed": 96,
    "first_sent_at": NOW - timedelta(days=3),
    "last_sent_at": NOW - timedelta(days=2),
    "lag_minutes": 0.0,
}


def _row(table: Table, **cells: Any) -> pl.DataFrame:
    """Return one row; counts that it does not name are 0, other cells null."""
    blank = {column.name: 0 if column.name.startswith("n_") else None for column in table.columns}
    return pl.DataFrame([blank | cells], schema=table.polars_schema)


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    return Typed(tmp_path, "http://127.0.0.1:1", monkeypatch, capsys)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has published one site, without any vendor's marts."""
    root = tmp_path_factory.mktemp("project")
    warehouse = Warehouse(root / "data" / "warehouse.duckdb", SHARED_TABLES)
    with warehouse.write() as writer:
        writer.replace_all(core.SITE, _row(core.SITE, **SITE))
        writer.replace_all(push.STREAM, _row(push.STREAM, **STREAM))
        writer.replace_all(push.STREAM_STATUS, _row(push.STREAM_STATUS, **STATUS))
    publish(warehouse, data_dir=root / "data")
    return root


def test_project_without_a_publication_gets_a_page_that_says_so(
    typed: Typed, tmp_path: Path
) -> None:
    code, out, err = typed.run("report")
    path = tmp_path / "data" / "reports" / "energy.html"
    assert (code, out.strip()) == (0, str(path))
    assert "so the report is empty: run `energy-etl demo`" in err
    assert "Nothing was computed yet." in path.read_text(encoding="utf-8")


def test_publication_of_an_earlier_version_is_reported_as_far_as_it_goes(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = Typed(published, "http://127.0.0.1:1", monkeypatch, capsys)
    out_file = published / "mine.html"
    code, out, err = typed.run("report", "--out", str(out_file), "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["path"], told["sites"], told["findings"]) == (str(out_file), 1, 0)
    # The vendors' marts: all other sources fit the tables as they are.
    assert told["not_read"] == ["licence", "access"]
    assert "lacks licence, access" in err
    assert "Old &lt;mill&gt;" in out_file.read_text(encoding="utf-8")
    # Nothing of the writing is left over.
    assert not list(published.glob(".mine.html*"))


def test_unknown_site_is_a_fault_of_the_call_and_leaves_the_old_report(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = Typed(published, "http://127.0.0.1:1", monkeypatch, capsys)
    out_file = published / "old.html"
    out_file.write_text("old")
    code, out, err = typed.run("report", "--site", "milll", "--out", str(out_file))
    assert (code, out) == (2, "")
    assert "There is no site milll" in err
    assert "did you mean mill?" in err
    assert out_file.read_text() == "old"


def test_report_of_one_site_does_not_take_the_place_of_the_whole_one(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, own = (published / "data" / "reports" / f"energy{each}.html" for each in ("", ".mill"))
    whole.parent.mkdir(exist_ok=True)
    whole.write_text("whole")
    typed = Typed(published, "http://127.0.0.1:1", monkeypatch, capsys)
    code, out, _ = typed.run("report", "--site", "mill")
    assert (code, out.strip()) == (0, str(own))
    assert whole.read_text() == "whole"


def test_folder_in_the_place_of_the_file_is_named_as_it_was_given(
    typed: Typed, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    code, out, err = typed.run("report", "--out", str(folder))
    assert (code, out) == (1, "")
    assert f"{folder} cannot be used (Is a directory)" in err
    assert not list(tmp_path.rglob("*.part"))


def test_file_that_is_no_database_is_refused(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "data" / "energy.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    code, out, err = typed.run("report")
    assert (code, out) == (1, "")
    assert str(path) in err
    assert not (tmp_path / "data" / "reports").exists()


def test_asset_writes_the_same_report_with_its_numbers(published: Path) -> None:
    result = energy_report(Etl(root=str(published), now_at=NOW.isoformat()))
    assert isinstance(result, dg.MaterializeResult)
    assert result.metadata is not None
    html = (published / "data" / "reports" / "energy.html").read_text(encoding="utf-8")
    assert "Made 2026-11-21 09:00" in html
    assert (result.metadata["sites"], result.metadata["bytes"]) == (1, len(html.encode()))


def test_stream_that_is_pushed_no_more_is_late_whatever_the_last_push_said(
    published: Path,
) -> None:
    frames, _ = read_sources(published / "data" / "energy.duckdb", NOW)
    row = frames["stream"].row(0, named=True)
    assert (row["is_lagging"], row["is_stopped"]) == (True, False)
    assert row["lag_minutes"] == 2 * 1440 - 15


def test_sources_come_in_the_types_that_the_report_counts_on(published: Path) -> None:
    frames, _ = read_sources(published / "data" / "energy.duckdb", NOW)
    for source in SOURCES:
        if source.name in frames:
            found = {name: frames[source.name].schema[name] for name in source.schema}
            assert found == dict(source.empty().schema), source.name
