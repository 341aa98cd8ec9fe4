"""`energy-etl push`: files and one packet, from the command line to what the collector holds."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from energy_etl.delivery.lease import hold_lease
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import REPOSITORY
from energy_etl_tests.delivery.conftest import NOW, Collected, CollectorServer, new_id

HEADER = (
    "stream_id,register_id,field,content,interval_minutes,credential,push_from_at,estimates,"
    "is_historical,zone\n"
)
REGISTER_FED = "dp-of-a-register"


@pytest.fixture(scope="module")
def collector() -> Iterator[CollectorServer]:
    options = {"accepts_any_stream": True}
    with SandboxServer(World(now=fixed_clock(NOW)), wattics_options=options) as sandbox:
        yield CollectorServer(sandbox)


class Project:
    """A project's folder with streams for files, and what people type into it."""

    def __init__(self, root: Path, typed: Typed, collector: CollectorServer) -> None:
        self.root, self._typed, self._collector = root, typed, collector
        self.gas, self.mains, self.past = new_id("gas"), new_id("mains"), new_id("past")
        shutil.copytree(REPOSITORY / "data" / "portfolio.example", root / "data" / "portfolio")
        (root / "data" / "portfolio" / "streams.csv").write_text(
            HEADER
            + f"{REGISTER_FED},rome-a.grid_import,pC_1,cumulative_wh,15,main,,,,\n"
            + f"{self.gas},,value,file,15,main,2024-01-01T00:00:00Z,,,Europe/Rome\n"
            + f"{self.mains},,pC_1,file,15,second,,,,America/New_York\n"
            + f"{self.past},,value,file,15,main,,,true,Europe/Rome\n"
        )

    def write(self, name: str, *lines: str) -> str:
        (self.root / name).write_text("\n".join(lines))
        return str(self.root / name)

    def push(self, *arguments: str) -> tuple[int, str, str]:
        return self._typed.run("push", *arguments)

    def collected(self, stream_id: str, account: str = "main") -> Collected:
        return self._collector.collected(stream_id, account)

    @property
    def state_path(self) -> Path:
        return self.root / "data" / "state.sqlite"


@pytest.fixture
def project(
    tmp_path: Path,
    collector: CollectorServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Project]:
    collector.clear()
    yield Project(tmp_path, Typed(tmp_path, collector.url, monkeypatch, capsys), collector)
    collector.clear()


def test_file_arrives_in_order_and_a_second_time_sends_nothing(project: Project) -> None:
    file = project.write(
        "gas.csv", "2024-01-01 01:30:00,2", "2024-01-01 01:15:00,1", "2024-01-01 01:45:00,3.5"
    )
    code, out, err = project.push("csv", file, "--stream", project.gas)
    assert (code, err) == (0, "energy-etl: 1 lines were not in order of time: they were sorted.\n")
    assert f"{project.gas}: 3 packets" in out
    assert out.endswith("2024-01-01T00:45:00Z: 3 confirmed.\n")
    there = project.collected(project.gas)
    assert [json.loads(body)["value"] for body in there.bodies] == [1.0, 2.0, 3.5]
    assert json.loads(there.bodies[0])["tsISO8601"] == "2024-01-01T01:15:00.000+01:00"
    code, out, _ = project.push("csv", file, "--stream", project.gas, "--json")
    assert (code, json.loads(out)["streams"][0]["n_confirmed"]) == (0, 3)
    assert project.collected(project.gas) == there


def test_mixed_group_goes_to_its_streams_with_their_credentials(project: Project) -> None:
    file = project.write(
        "group.jsonl",
        f'{{"id":"{project.gas}","tsISO8601":"2024-02-01T00:00:00.000+01:00","value":1}}',
        f'{{"id":"{project.mains}","tsISO8601":"2024-02-01T00:00:00.000-05:00","pC_1":9,"v_1":230}}',
    )
    code, out, err = project.push("csv", file, "--json")
    assert (code, err) == (0, "")
    assert [row["n_confirmed"] for row in json.loads(out)["streams"]] == [1, 1]
    assert len(project.collected(project.gas).bodies) == 1
    assert json.loads(project.collected(project.mains, "second").bodies[0])["v_1"] == 230.0


def test_bad_file_sends_nothing_unless_its_bad_lines_are_skipped(project: Project) -> None:
    file = project.write(
        "gas.csv", "time,value", "2024-01-01 01:15:00,1", "2024-01-01 01:30:00,1;2"
    )
    code, out, err = project.push("csv", file, "--stream", project.gas)
    assert (code, out) == (1, "")
    assert "gas.csv has 2 bad lines and nothing was sent" in err
    assert "line 1: 'time' is no time stamp" in err
    assert "line 3: measurement 1: '1;2' is no number" in err
    assert not project.state_path.exists()
    code, out, err = project.push("csv", file, "--stream", project.gas, "--skip-bad-lines")
    assert (code, len(project.collected(project.gas).bodies)) == (0, 1)
    assert "2 bad lines, which are skipped" in err


def test_dry_run_shows_the_first_packet_and_touches_nothing(project: Project) -> None:
    file = project.write("gas.csv", "2024-01-01 01:15:00,1")
    code, out, _ = project.push("csv", file, "--stream", project.gas, "--dry-run")
    assert code == 0
    assert out.startswith("1 packets of 1 streams, none sent.")
    assert (
        f'{{"id":"{project.gas}","tsISO8601":"2024-01-01T01:15:00.000+01:00","value":1.0}}' in out
    )
    assert not project.state_path.exists()
    assert project.collected(project.gas).bodies == []


def test_packets_behind_the_last_one_are_held_and_reported(project: Project) -> None:
    new = project.write("new.csv", "2024-03-01 00:00:00,1")
    old = project.write("old.csv", "2023-12-01 00:00:00,1", "2024-02-01 00:00:00,2")
    for stream_id in (project.gas, project.past):
        assert project.push("csv", new, "--stream", stream_id)[0] == 0
    code, out, _ = project.push("csv", old, "--stream", project.gas)
    assert code == 1
    assert "1 held, 1 before its push_from_at and left out (behind the last packet sent" in out
    assert len(project.collected(project.gas).bodies) == 1
    # Agreed with the vendor for this one.
    code, out, _ = project.push("csv", old, "--stream", project.past)
    assert (code, len(project.collected(project.past).bodies)) == (0, 3), out


def test_value_that_changed_after_it_was_sent_is_told_and_not_sent_again(project: Project) -> None:
    for number, expected in (("1", 0), ("2", 1)):
        file = project.write("gas.csv", f"2024-01-01 01:15:00,{number}")
        code, out, _ = project.push("csv", file, "--stream", project.gas)
        assert code == expected
    assert "1 superseded (the vendor has other values for some)" in out
    assert len(project.collected(project.gas).bodies) == 1


def test_stream_of_a_register_and_unknown_ones_are_refused(project: Project) -> None:
    file = project.write("gas.csv", "2024-01-01 01:15:00,1")
    for stream_id, why, expected in (
        (REGISTER_FED, "is fed by the register rome-a.grid_import", 3),
        ("nobody", "nobody is not in streams.csv", 2),
    ):
        code, _, err = project.push("csv", file, "--stream", stream_id)
        assert (code, why in err) == (expected, True)
    code, _, err = project.push("csv", file, "--stream", project.gas, "--format", "xml")
    assert code == 2
    assert "'xml' is none of csv, ini, jsonl" in err


def test_credential_that_is_not_in_the_settings_is_refused_before_anything_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WATTICS__CREDENTIALS", '{"a":{"username":"u","password":"p"}}')
    file = project.write("gas.csv", "2024-01-01 01:15:00,1")
    code, _, err = project.push("csv", file, "--stream", project.gas)
    assert code == 3
    assert f"The credential main of stream {project.gas} is not in the settings" in err
    assert not project.state_path.exists()


def test_refused_password_keeps_the_packets_and_a_mended_one_delivers_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = project.write("gas.csv", "2024-01-01 01:15:00,1")
    with monkeypatch.context() as patched:
        patched.setenv(
            "ENERGY_ETL_WATTICS__CREDENTIALS",
            '{"main":{"username":"sandbox-wattics","password":"wrong-canary"}}',
        )
        code, out, err = project.push("csv", file, "--stream", project.gas)
        assert code == 1
        assert "1 pending" in out
        assert "401" in err
        assert "wrong-canary" not in out + err
        code, _, err = project.push("test", project.gas)
        assert (code, "401" in err) == (4, True)
    assert project.push("csv", file, "--stream", project.gas)[0] == 0
    assert len(project.collected(project.gas).bodies) == 1


def test_packets_wait_in_the_outbox_while_another_run_sends(project: Project) -> None:
    file = project.write("gas.csv", "2024-01-01 01:15:00,1")
    project.state_path.parent.mkdir(exist_ok=True)
    with hold_lease(project.state_path):
        code, _, err = project.push("csv", file, "--stream", project.gas)
    assert code == 1
    assert "Another send run is active" in err
    assert "The packets of this file are in the outbox" in err
    assert project.collected(project.gas).bodies == []
    assert project.push("csv", file, "--stream", project.gas)[0] == 0


def test_a_packet_of_now_is_sent_and_read_back(project: Project) -> None:
    before = datetime.now(UTC)
    code, out, err = project.push("test", project.gas, "--value", "2.5", "--json")
    found = json.loads(out)
    assert (code, err, found["pushed"]["n_confirmed"]) == (0, "", 1)
    body = json.loads(project.collected(project.gas).bodies[0])
    stamped_at = datetime.fromisoformat(body["tsISO8601"])
    assert body["value"] == 2.5
    assert before.replace(microsecond=0) <= stamped_at <= datetime.now(UTC)
    assert datetime.fromisoformat(found["last_at"]) == stamped_at
    code, out, _ = project.push("test", project.gas, "--read-only")
    assert (code, stamped_at.isoformat(timespec="milliseconds")[:19] in out) == (0, True)
    assert len(project.collected(project.gas).bodies) == 1


def test_stream_of_a_register_is_only_read(project: Project) -> None:
    code, _, err = project.push("test", REGISTER_FED)
    assert code == 2
    assert "Give --read-only" in err
    code, out, _ = project.push("test", REGISTER_FED, "--read-only")
    assert (code, out) == (0, f"Last packet of stream {REGISTER_FED} at Wattics: none yet.\n")
    assert project.collected(REGISTER_FED).bodies == []
