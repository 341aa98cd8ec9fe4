"""`energy-etl report`: the path on stdout, also before anything was published."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.report import energy_report
from energy_etl.defs.reporting import read_sources
from energy_etl.defs.resources import Etl
from energy_etl.report import SOURCES
from energy_etl.tables import SHARED_TABLES, core
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.cli.typed import Typed


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
    row = {
        "site_id": "mill",
        "name": "Old <mill>",
        "zone": "Europe/Rome",
        "currency": "EUR",
        "area_m2": None,
        "use": None,
    }
    frame = pl.DataFrame([row], schema=core.SITE.polars_schema)
    with warehouse.write() as writer:
        writer.replace_all(core.SITE, frame)
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
    assert (code, out) == (3, "")
    assert "There is no site milll" in err
    assert "did you mean mill?" in err
    assert out_file.read_text() == "old"


def test_file_that_is_no_database_is_refused(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "data" / "energy.duckdb"
    path.parent.mkdir()
    path.write_bytes(b"nothing")
    code, out, err = typed.run("report")
    assert (code, out) == (1, "")
    assert str(path) in err
    assert not (tmp_path / "data" / "reports").exists()


def test_asset_writes_the_same_report_with_its_numbers(published: Path) -> None:
    now = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    result = energy_report(Etl(root=str(published), now_at=now.isoformat()))
    assert isinstance(result, dg.MaterializeResult)
    assert result.metadata is not None
    html = (published / "data" / "reports" / "energy.html").read_text(encoding="utf-8")
    assert "Made 2026-11-21 09:00" in html
    assert (result.metadata["sites"], result.metadata["bytes"]) == (1, len(html.encode()))


def test_sources_come_in_the_types_that_the_report_counts_on(published: Path) -> None:
    frames, _ = read_sources(published / "data" / "energy.duckdb")
    for source in SOURCES:
        if source.name in frames:
            found = {name: frames[source.name].schema[name] for name in source.schema}
            assert found == dict(source.empty().schema), source.name
