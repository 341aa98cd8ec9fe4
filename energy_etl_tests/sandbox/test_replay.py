"""The replayed house: the sandbox serves what is in the file, no more and no less."""

import csv
import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from energy_etl.sandbox import Replay, SandboxServer
from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.calendar import to_ms
from energy_etl.sandbox.digiwatt import Digiwatt
from energy_etl.sandbox.model import device_id_wattsense, id_digiwatt
from energy_etl.sandbox.replay import FILE_NAME
from energy_etl_tests.sandbox.conftest import Caller

PREFIX = "DE_KN_residential4_"
PURPOSES = (
    "dishwasher",
    "ev",
    "freezer",
    "grid_export",
    "grid_import",
    "heat_pump",
    "pv",
    "refrigerator",
    "washing_machine",
)


def _write(folder: Path) -> list[dict[str, str]]:
    """Write a file in the shape of the real one: two months of hours, with holes."""
    names = ["utc_timestamp", *(PREFIX + purpose for purpose in PURPOSES)]
    rows = []
    for hour in range(24 * 62):
        at = datetime.fromtimestamp(1_456_790_400 + hour * 3600, UTC)
        row = {"utc_timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
        for number, purpose in enumerate(PURPOSES):
            has_reading = not (100 + number * 10 <= hour < 105 + number * 10)
            row[PREFIX + purpose] = f"{hour * 0.1 * (number + 1):.3f}" if has_reading else ""
        rows.append(row)
    with gzip.open(folder / FILE_NAME, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def _served(caller: Caller, slug: str) -> list[tuple[int, float]]:
    target = f"devices/{device_id_wattsense('opsd')}/properties?property={slug}&size=2500"
    items = []
    while target:
        answer = caller.wattsense(target)
        items += [(item["timestamp"], item["payload"]) for item in answer.json()]
        target = answer.links.get("next", {}).get("url", "")
    return items


def _in_file(rows: list[dict[str, str]], purpose: str) -> list[tuple[int, float]]:
    return [
        (to_ms(datetime.fromisoformat(row["utc_timestamp"])), float(row[PREFIX + purpose]))
        for row in rows
        if row[PREFIX + purpose]
    ]


def test_history_is_exactly_what_the_file_holds(tmp_path):
    rows = _write(tmp_path)
    with SandboxServer(Replay(tmp_path)) as sandbox:
        caller = Caller(sandbox)
        served = {purpose: _served(caller, purpose.replace("_", "-")) for purpose in PURPOSES}
        health = caller.http.get("/_sandbox/health").json()
        caller.close()
    assert served == {purpose: _in_file(rows, purpose) for purpose in PURPOSES}
    assert health["world"] == "replay"
    assert health["now"] == "2016-05-02T00:00:00+00:00"  # an hour after the last reading


def test_digiwatt_sums_the_same_registers(tmp_path):
    _write(tmp_path)
    vendor = Digiwatt(Replay(tmp_path), Credentials())
    per_hour = 0.1 * (PURPOSES.index("grid_import") + 1)
    assert vendor._consumption("opsd", "yesterday")["value"] == pytest.approx(24 * per_hour)
    # March 2016 loses an hour, but the file starts one hour into it.
    assert [row["month"] for row in vendor._consumption_history("opsd")] == ["2016-04"]
    parts = vendor._distribution("opsd", "last-month")
    assert {"heatPump", "ev", "freezer", "fridge"} < {part["appliance"] for part in parts}


def test_replay_of_a_folder_without_the_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=FILE_NAME):
        Replay(tmp_path)


@pytest.mark.real_data
def test_replay_of_the_real_house_equals_its_file():
    folder = os.environ.get("ENERGY_ETL_REAL_DATA")
    if not folder:
        pytest.skip("ENERGY_ETL_REAL_DATA names no folder with real metering data")
    with gzip.open(Path(folder) / FILE_NAME, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    replay = Replay(folder)
    with SandboxServer(replay) as sandbox:
        caller = Caller(sandbox)
        for purpose in PURPOSES:
            assert _served(caller, purpose.replace("_", "-")) == _in_file(rows, purpose)
        path = f"{id_digiwatt('opsd')}/consumption-distribution/last-month"
        parts = caller.digiwatt(path).json()
        caller.close()
    assert {part["appliance"] for part in parts} >= {"heatPump", "washingMachine", "other"}
    for register in replay.registers.values():
        samples = replay.samples(register.register_id)
        assert register.rating_native_per_hour is not None
        hours, steps = np.diff(samples.at_ms) / 3_600_000, np.diff(samples.value_native)
        assert np.all(steps >= 0), register.register_id
        assert np.all(steps < register.rating_native_per_hour * hours), register.register_id
