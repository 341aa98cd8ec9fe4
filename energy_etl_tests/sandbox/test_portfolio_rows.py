"""The portfolio files in data/ describe the sandbox as it is."""

import os

import pytest

from energy_etl.sandbox import Replay
from energy_etl_tests.sandbox.portfolio_rows import DATA, portfolio_files


def _on_disk(folder: str) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in (DATA / folder).glob("*.csv")}


def test_example_portfolio_is_that_of_the_seeded_world(world):
    assert _on_disk("portfolio.example") == portfolio_files(world)


@pytest.mark.real_data
def test_replay_portfolio_is_that_of_the_replayed_house():
    folder = os.environ.get("ENERGY_ETL_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ETL_REAL_DATA names no folder with real metering data")
    assert _on_disk("portfolio.replay") == portfolio_files(Replay(folder))


def test_each_pushed_register_is_in_the_example_portfolio():
    files = _on_disk("portfolio.example")
    registers = {line.split(",")[0] for line in files["registers.csv"].splitlines()[1:]}
    streams = [line.split(",") for line in files["streams.csv"].splitlines()[1:]]
    assert len(registers) >= 60
    assert len(streams) >= 20
    assert {stream[1] for stream in streams} <= registers
    assert {stream[2] for stream in streams} == {"pC_1", "value"}
    assert {stream[5] for stream in streams} == {"main", "second"}
