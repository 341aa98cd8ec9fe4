"""What a person does when something is gone or new: an outage, a lock, a portfolio to discover."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from energy_etl.cli.setup import claim_world, discover_portfolio
from energy_etl.defs.partitions import CATCH_UP_TAG, span_tags
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.tables import core
from energy_etl_tests.defs.project import NOW, Project, failure_text


def test_discovered_portfolio_maps_every_known_unit_and_leaves_the_rest_to_a_person(
    project: Project,
) -> None:
    example = Portfolio.load(project.settings.portfolio_dir).frames[core.REGISTER]
    shutil.rmtree(project.settings.portfolio_dir)
    n_rows = discover_portfolio(project.settings)
    text = (project.settings.portfolio_dir / "registers.csv").read_text(encoding="utf-8")
    assert n_rows > 0
    # All sites are listed, so at least the registers of the two in the example are.
    assert text.count("\n") - 1 >= example.height
    assert discover_portfolio(project.settings) == 0, "the same proposal again adds nothing"


def test_run_without_a_portfolio_on_live_names_the_command(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENERGY_ETL_TARGET=live\n")
    with pytest.raises(ConfigurationError, match="energy-etl init --discover"):
        Etl(root=str(tmp_path), now_at=NOW.isoformat()).portfolio()


def test_sandbox_down_is_one_sentence_that_names_the_command(project: Project) -> None:
    project.sandbox.stop()
    result = project.load_last(1)
    assert not result.success
    assert "energy-etl sandbox" in failure_text(result)


def test_locked_warehouse_names_its_holder_and_loses_nothing(computed: Project) -> None:
    before = computed.hashes("core", "wattsense")
    (computed.root / ".env").write_text("ENERGY_ETL_LOCK_WAIT_S=1\n")
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys, time\n"
            "connection = duckdb.connect(sys.argv[1])\n"
            "print('held', flush=True)\n"
            "time.sleep(60)",
            str(computed.settings.warehouse_path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        result = computed.load_last(1)
    finally:
        holder.kill()
        holder.communicate()
    assert not result.success
    assert str(holder.pid) in failure_text(result)
    assert computed.hashes("core", "wattsense") == before
    assert computed.load_last(1).success


def test_outage_of_a_week_is_fetched_by_the_next_scheduled_run(project: Project) -> None:
    today_on = project.now.date()
    old_on = today_on - timedelta(days=7)
    assert project.load(old_on, old_on).success
    tags = span_tags(today_on, today_on)
    assert project.run("extract_wattsense", tags, ["wattsense.history"]).success
    days = "SELECT count(DISTINCT read_at::DATE) AS n FROM core.reading"
    n_by_hand = project.warehouse.read(days)["n"].item()
    project.warehouse.path.unlink()
    assert project.load(old_on, old_on).success
    scheduled = {**tags, CATCH_UP_TAG: "hourly"}
    assert project.run("extract_wattsense", scheduled, ["wattsense.history"]).success
    # A run by hand brings its days, a scheduled one all that is missing.
    assert n_by_hand < project.warehouse.read(days)["n"].item()
    assert project.warehouse.read(days)["n"].item() >= 8


def test_folder_of_one_world_refuses_another(tmp_path: Path, project: Project) -> None:
    assert claim_world(project.settings, None) is None
    assert claim_world(project.settings, None) is None
    with pytest.raises(ConfigurationError, match="another world"):
        claim_world(project.settings, tmp_path)


def test_register_taken_out_of_the_portfolio_loses_its_intervals_and_stays_unsent(
    computed: Project,
) -> None:
    sql = "SELECT count(*) AS n FROM core.interval WHERE register_id = 'rome-b.grid_import'"
    assert computed.warehouse.read(sql)["n"].item() > 0
    computed.edit("registers.csv", lambda row: row["register_id"] != "rome-b.grid_import")
    computed.edit("streams.csv", lambda row: row["register_id"] != "rome-b.grid_import")
    assert computed.compute().success
    assert computed.warehouse.read(sql)["n"].item() == 0
    assert computed.send().success
    held = computed.warehouse.read(
        "SELECT DISTINCT hold_reason FROM push.packet WHERE state = 'held' "
        "AND hold_reason LIKE '%streams.csv%'"
    )
    assert held.height == 1
