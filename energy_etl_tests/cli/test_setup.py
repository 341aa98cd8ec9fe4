"""What `init` makes of a folder."""

import csv
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.cli import setup
from energy_etl.cli.sandbox_consent import grant_sandbox_consent
from energy_etl.cli.setup import EXAMPLE_PORTFOLIO, _copy_example, discover_portfolio
from energy_etl.portfolio import write_proposal
from energy_etl.vendors import project_settings
from energy_etl_tests.vendors.extracting import running_sandbox

EXAMPLE = Path(__file__).resolve().parents[2] / "data" / EXAMPLE_PORTFOLIO
FILES = ("sites.csv", "meters.csv", "registers.csv")

Listed = Sequence[Mapping[str, Any]]


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _discover(folder: Path, listed: Listed) -> dict[str, list[str]]:
    """Write the proposals of all vendors; return what was added, per file."""
    added: dict[str, list[str]] = {}
    for proposal in listed:
        for name, ids in write_proposal(folder, proposal).items():
            added.setdefault(name, []).extend(ids)
    return added


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Listed:
    """What the vendors listed for a discovery that must add nothing."""
    seen: list[Mapping[str, Any]] = []

    def write(folder: Path, proposal: Mapping[str, Any]) -> dict[str, list[str]]:
        seen.append(proposal)
        return write_proposal(folder, proposal)

    with running_sandbox() as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "write_proposal", write)
        project = project_settings(tmp_path_factory.mktemp("project"), sandbox_url=sandbox.url)
        shutil.copytree(EXAMPLE, project.portfolio_dir)
        grant_sandbox_consent(project)
        assert discover_portfolio(project) == 0
        for path in EXAMPLE.glob("*.csv"):
            assert (project.portfolio_dir / path.name).read_bytes() == path.read_bytes()
    return seen


def test_folder_of_its_own_gets_the_example_that_stands_beside_the_sources(tmp_path: Path) -> None:
    settings = project_settings(tmp_path)
    settings.data_dir.mkdir()
    _copy_example(settings, EXAMPLE_PORTFOLIO)
    assert (settings.portfolio_dir / "sites.csv").exists()
    assert [path.name for path in settings.data_dir.iterdir()] == ["portfolio"]


def test_discovery_on_a_complete_portfolio_has_asked_every_vendor_and_adds_nothing(
    listed: Listed,
) -> None:
    assert len(listed) == 3
    assert all(any(proposal.values()) for proposal in listed)


def test_discovery_from_nothing_adds_nothing_the_second_time(
    listed: Listed, tmp_path: Path
) -> None:
    assert all(_discover(tmp_path, listed).values())
    assert not any(_discover(tmp_path, listed).values())


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_discovery_proposes_the_register_that_was_removed_at_its_site_and_nothing_else(
    listed: Listed, data: st.DataObject
) -> None:
    sites, meters, registers = (_rows(EXAMPLE, name) for name in FILES)
    removed = data.draw(st.sampled_from([row for row in registers if row["register_id_wattsense"]]))
    kept = [row for row in registers if row is not removed]
    site_of = {row["meter_id"]: row["site_id"] for row in meters}
    if data.draw(st.booleans()) and all(row["meter_id"] != removed["meter_id"] for row in kept):
        meters = [row for row in meters if row["meter_id"] != removed["meter_id"]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, rows in zip(FILES, (sites, meters, kept), strict=True):
            _write(folder / file, rows)
        # Wiser's meters have ids of its own: one that was removed is proposed as its own.
        with_registers = [proposal for proposal in listed if proposal["registers"]]
        added = _discover(folder, with_registers)
        new = _rows(folder, "registers.csv")[len(kept) :]
        assert [row["register_id_wattsense"] for row in new] == [removed["register_id_wattsense"]]
        assert added["sites.csv"] == []
        assert len(added["meters.csv"]) <= 1
        site_now = {row["meter_id"]: row["site_id"] for row in _rows(folder, "meters.csv")}
        assert site_now[new[0]["meter_id"]] == site_of[removed["meter_id"]]
        assert not any(_discover(folder, with_registers).values())
