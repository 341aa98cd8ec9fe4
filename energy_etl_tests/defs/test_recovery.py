"""What a person does when something is gone or new: rebuild from raw, discover a portfolio."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from energy_etl.cli.rebuild import rebuild_from_raw
from energy_etl.cli.setup import discover_portfolio
from energy_etl.defs.resources import Etl
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.tables import core
from energy_etl_tests.defs.project import NOW, Project, failure_text


def test_everything_but_raw_is_rebuilt_without_a_vendor(computed: Project) -> None:
    assert computed.run("extract_digiwatt").success
    # The last days again: what is received twice must come out once, as it did live.
    assert computed.load_last(2).success
    assert computed.compute().success
    assert computed.send().success
    before = computed.hashes()
    computed.sandbox.stop()
    lines = list(rebuild_from_raw(computed.settings, now=computed.now))
    assert lines[-1].startswith("Computed and published again")
    assert computed.hashes() == before


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
