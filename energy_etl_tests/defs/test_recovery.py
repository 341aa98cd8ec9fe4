"""What a person does when something is gone or new: an outage, a lock, a portfolio to discover."""

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from energy_etl.cli.rebuild import rebuild_from_raw
from energy_etl.cli.setup import claim_world, discover_portfolio
from energy_etl.defs.partitions import CATCH_UP_TAG, span_tags
from energy_etl.defs.resources import Etl
from energy_etl.delivery.frontier import UNPLANNED
from energy_etl.errors import ConfigurationError, UsageError
from energy_etl.portfolio import Portfolio
from energy_etl.sandbox.replay import FILE_NAME
from energy_etl.tables import core, mart, push
from energy_etl.vendors import project_settings
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


def test_world_without_registers_is_not_settled_for_good(tmp_path: Path) -> None:
    """After `up --replay` with a wrong folder the right one was refused as another world."""
    settings, folder = project_settings(tmp_path), tmp_path / "house"
    folder.mkdir()
    with pytest.raises(UsageError, match=f"house holds no {FILE_NAME}"):
        claim_world(settings, folder)
    (folder / FILE_NAME).write_bytes(b"")
    assert claim_world(settings, folder) == claim_world(settings, None) == folder.resolve()


def test_cell_that_breaks_costs_its_site_nothing_and_a_register_taken_out_leaves(
    computed: Project,
) -> None:
    project, kept = computed, ("core", "push")
    n_of = "SELECT register_id, count(*) AS n FROM core.interval GROUP BY 1"
    before, intervals = project.hashes(*kept), dict(project.warehouse.read(n_of).iter_rows())
    n_pending, columns = project.count("pending"), ["stream_id", "stamped_at", "body", "state"]
    packets_before = project.warehouse.read_table(push.PACKET).select(columns)
    gone, hidden = "rome-b.grid_import", "rome-b.standby"
    sites = project.settings.portfolio_dir / "sites.csv"
    sound = sites.read_text(encoding="utf-8")

    sites.write_text(sound.replace("Europe/Rome", "Europe/Rom"), encoding="utf-8")
    assert project.compute(only=("core", "push", "mart.coverage", "mart.finding")).success
    assert project.warehouse.read_table(core.SITE)["site_id"].to_list() == ["lordhowe-a"]
    finding = project.warehouse.read_table(mart.FINDING).filter(kind="portfolio").row(0, named=True)
    assert finding["place"] == "sites.csv line 2, column zone"
    assert "'Europe/Rom' is no IANA time zone" in finding["message"]
    assert dict(project.warehouse.read(n_of).iter_rows()) == intervals
    for table in ("core.reading", "core.interval", "core.sample", "core.edit"):
        assert project.hashes("core")[table] == before[table]
    waiting = project.warehouse.read_table(push.PACKET).filter(pl.col("state") == "held")
    of_rome = waiting.filter(pl.col("hold_reason").str.contains("sites.csv line 2, column zone"))
    assert of_rome.height > 0
    assert project.count("pending") == n_pending - of_rome.height
    assert project.count("superseded") == 0

    with pytest.raises(ConfigurationError, match="Europe/Rom"):
        list(rebuild_from_raw(project.settings))

    # As if they had come while the site was hidden: the vendor's table has them, we do not.
    with project.warehouse.write() as writer:
        writer.replace_window(
            core.READING,
            core.READING.empty_frame(),
            ids={"register_id": [hidden]},
            from_at=project.now - timedelta(hours=6),
            to_at=project.now,
            is_empty_kept=False,
        )
    assert project.hashes("core")["core.reading"] != before["core.reading"]

    # Mended, but for a register that somebody took out in the same minute.
    sites.write_text(sound, encoding="utf-8")
    for file in ("registers.csv", "streams.csv"):
        project.edit(file, lambda row: row["register_id"] != gone)
    assert project.compute(only=("core", "push")).success
    left = {register_id: n for register_id, n in intervals.items() if register_id != gone}
    assert left != intervals
    assert dict(project.warehouse.read(n_of).iter_rows()) == left
    after = project.hashes("core")
    assert after["core.reading"] == before["core.reading"]
    assert after["core.portfolio_problem"] == before["core.portfolio_problem"]
    packets = project.warehouse.read_table(push.PACKET)
    held = packets.filter(pl.col("hold_reason").str.contains("streams.csv", literal=True))
    assert held["hold_reason"].unique().to_list() == [UNPLANNED]
    assert held["stream_id"].n_unique() == 1
    others = packets.select(columns).join(held, on="stream_id", how="anti")
    expected = packets_before.join(held, on="stream_id", how="anti")
    assert others.sort(columns).equals(expected.sort(columns))
    assert project.count("pending") == n_pending - held.filter(pl.col("state") == "held").height
    assert project.send().success
    assert project.count("superseded") == 0


def test_rebuild_after_raw_was_deleted_says_that_nothing_could_be_replayed(
    project: Project,
) -> None:
    lines = rebuild_from_raw(project.settings)
    told = next(line for line in lines if line.startswith("Warning: "))
    del lines  # Before it computes.
    assert str(project.settings.warehouse_path) in told
    assert "load anew with `energy-etl backfill`" in told
