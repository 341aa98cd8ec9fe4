"""`energy-etl doctor` as it is typed, and the way checks are run."""

import fcntl
import importlib.metadata
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

import energy_etl.vendors as vendors
from energy_etl.cli.doctor import examination, machine
from energy_etl.cli.doctor.holders import (
    _may_have_open,
    daemons_of,
    lock_holders,
    process_of,
    running_sandbox_url,
)
from energy_etl.cli.doctor.machine import check_versions
from energy_etl.cli.doctor.rows import Row, fail, in_two, ok, worst_code
from energy_etl.cli.doctor.running import Check, run_checks
from energy_etl.cli.doctor.subject import Subject
from energy_etl.delivery.acks import Parked, apply
from energy_etl.settings import PREFIX
from energy_etl.vendors import project_settings
from energy_etl_tests.cli.doctor.ground import STREAM, Ground, row_of
from energy_etl_tests.cli.doctor.test_faults import WAIT
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.delivery.conftest import NOW
from energy_etl_tests.warehouse.frames import other_process

TOY = '''
"""A toy vendor."""
from pydantic import BaseModel
from energy_etl.tables import Column, Table
from energy_etl.vendors import Vendor

class ToySettings(BaseModel):
    pass

VENDOR = Vendor(
    name="toy_of_doctor",
    title="Toy",
    document="none",
    tables=(
        Table("toy_of_doctor", "x", "A toy.", (Column("x_id", "text", "Id."),), ("x_id",)),
    ),
    settings=ToySettings,
)
'''


@pytest.fixture
def typed(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    return Typed(ground.root, ground.sandbox.url, monkeypatch, capsys)


def test_well_project_has_a_row_for_everything_and_code_0(typed: Typed, ground: Ground) -> None:
    ground.deliver(STREAM)
    code, out, err = typed.run("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert {row["verdict"] for row in rows.values()} == {"ok", "warn"}
    assert [name for name, row in rows.items() if row["verdict"] == "warn"] == ["Dagster daemon"]
    wanted = {"versions", "zone data", "settings", "file permissions", "data folder", "disk space"}
    wanted |= {"portfolio", "warehouse", "published file", "state file", "marks"}
    wanted |= {"Dagster instance", "Dagster daemon", "Dagster runs", "Digiwatt", "SmartgridOne"}
    wanted |= {"Wattics main", "Wattics second", "Wattics api", "Wattsense", "Wiser"}
    assert set(rows) == {*wanted, f"stream {STREAM}"}
    assert all((row["next_step"] is None) == (row["verdict"] == "ok") for row in rows.values())
    asked = {name for name, row in rows.items() if "was answered in" in row["cause"]}
    assert asked == {name for name in wanted if name.startswith(("Digi", "Smart", "Watt", "Wis"))}
    assert "sandbox-" not in out


def test_several_faults_end_with_the_code_of_the_worst(typed: Typed, ground: Ground) -> None:
    ground.env("WATTICS__API_TOKEN", "another-token")
    ground.env("WATTSENSE__BASE_URL", "http://127.0.0.1:9")
    code, out, _ = typed.run("doctor")
    assert code == 4
    assert "-> Check wattics.api_token in the settings." in out
    assert "127.0.0.1:9" in out
    (ground.data / "state.sqlite").unlink()
    code, out, _ = typed.run("doctor", "--offline")
    assert code == 3
    assert "-> Run `energy-etl init`." in out
    assert out.rstrip().splitlines()[-1].startswith("1 fail, ")


def test_settings_row_tells_what_was_read_and_that_all_are_defaults(ground: Ground) -> None:
    def told() -> str:
        rows, _ = ground.look("settings", is_offline=True)
        return row_of(rows, "settings").cause

    assert told() == "Target sandbox; read from the environment."
    ground.monkeypatch.delenv(f"{PREFIX}SANDBOX_URL")
    assert told() == "Target sandbox; all are defaults, nothing is set."
    (ground.root / "energy_etl.toml").write_text("refetch_days = 4\n")
    assert told() == "Target sandbox; read from energy_etl.toml."


def test_settings_that_cannot_be_read_are_told_and_the_rest_is_looked_at(
    typed: Typed, ground: Ground
) -> None:
    (ground.root / ".env").write_text("ENERGY_ETL_DIGIWAT__CLIENT_ID=x\n")
    (ground.root / ".env").chmod(0o600)
    code, out, _ = typed.run("doctor", "--json")
    rows = json.loads(out)
    assert code == 3
    assert rows[0]["verdict"] == "fail"
    assert "ENERGY_ETL_DIGIWAT__CLIENT_ID is not known" in rows[0]["cause"]
    assert [row["what"] for row in rows[1:]] == ["versions", "zone data", "file permissions"]
    assert {row["verdict"] for row in rows[1:]} == {"ok"}


def test_folder_without_a_project_is_told_and_none_is_made(
    typed: Typed, ground: Ground, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    ground.env("ROOT", str(empty))
    code, out, _ = typed.run("doctor", "--json")
    rows = {row["what"]: row for row in json.loads(out)}
    assert code == 3
    assert rows["data folder"]["cause"] == f"There is no {empty}/data."
    assert rows["portfolio"]["verdict"] == "fail"
    assert rows["Wattsense"]["cause"] == "Its login is set; not asked."
    assert not empty.exists()


def test_on_target_live_what_nobody_configured_is_no_fault(typed: Typed, ground: Ground) -> None:
    ground.env("TARGET", "live")
    for name in ("sites", "meters", "registers", "streams", "tariffs"):
        for path in (ground.data / "portfolio").glob(f"{name}.csv"):
            header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.startswith("rome-b")]
            path.write_text(header + "".join(kept[: 1 if name != "tariffs" else 0]))
    code, out, _ = typed.run("doctor", "--json", "--offline")
    rows = {row["what"]: row for row in json.loads(out)}
    assert rows["Wiser"]["cause"] == rows["SmartgridOne"]["cause"] == "Not configured."
    # The portfolio names things of these, and nobody can ask for them.
    needed = rows["settings of Wattsense"]
    assert code == 3
    assert "no login is set" in needed["cause"]
    assert "ENERGY_ETL_WATTSENSE__API_SECRET" in needed["next_step"]


def test_many_streams_that_stand_alike_are_one_line(typed: Typed, ground: Ground) -> None:
    for number in range(5):
        ground.deliver(f"made-up-{number}")
        ground.deliver(f"stopped-{number}")
    refused = [Parked(f"stopped-{n}", f"HTTP 401 for stopped-{n}.", "same") for n in range(5)]
    with ground.outbox() as outbox:
        apply(outbox, refused, NOW)
    _, out, _ = typed.run("doctor", "--offline")
    assert "5 are well." in out
    assert "made-up" not in out
    assert "stream stopped-0 and 4 more stand like this: Parked: HTTP 401" in " ".join(out.split())
    assert "energy-etl outbox retry --all" in " ".join(out.split())


def test_sixth_vendor_has_its_row(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "vendors" / "toy_of_test_doctor"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(TOY)
    monkeypatch.setattr(vendors, "__path__", [*vendors.__path__, str(folder.parent)])
    rows, code = ground.look("Toy")
    assert code == 0
    assert rows == [ok("Toy", "Its folder does not say how to try it.")]


def test_check_that_breaks_or_hangs_is_a_row_and_the_others_go_on() -> None:
    hanging = threading.Event()

    def breaks() -> Iterable[Row]:
        raise KeyError("nobody foresaw this")

    def hangs() -> Iterable[Row]:
        hanging.wait(30)
        return []

    checks = [
        Check("broken", breaks, "Call somebody."),
        Check("hanging", hangs, "Throw it away."),
        Check("calling", hangs, is_call=True),
        Check("well", lambda: [ok("well", "yes")]),
    ]
    rows, is_complete = run_checks(checks, limit_s=0.05, local_limit_s=0.05)
    hanging.set()
    assert not is_complete
    assert [(row.what, row.verdict, row.code) for row in rows] == [
        ("broken", "fail", 1),
        ("hanging", "fail", 1),
        ("calling", "fail", 5),
        ("well", "ok", 0),
    ]
    assert "KeyError" in rows[0].cause
    assert rows[0].next_step == "Call somebody."
    assert "did not end within 0.05 s" in rows[1].cause
    # It may only be slow: nothing is to be moved away for that.
    assert rows[1].next_step.startswith("Run it again when the machine is less busy.")


def test_check_that_hangs_does_not_keep_the_command(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    checks = [Check("hanging", lambda: [fail("x", "y", "z")] * hanging.wait(30))]
    monkeypatch.setattr(
        examination, "run_checks", lambda _: run_checks(checks, local_limit_s=0.05), raising=True
    )
    ended: list[int] = []

    def end(code: int) -> None:
        ended.append(code)
        hanging.set()
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    code, out, _ = typed.run("doctor", "--json", "--offline")
    assert (code, ended) == (1, [1])
    assert json.loads(out)[0]["what"] == "hanging"


@pytest.mark.parametrize(
    ("sentence", "cause", "next_step"),
    [
        (
            "acme user answered 401 at http://a/b: check acme.key in the settings.",
            "acme user answered 401 at http://a/b.",
            "Check acme.key in the settings.",
        ),
        (
            'acme user answered 401 at http://a ("no: check your key"): check acme.key.',
            'acme user answered 401 at http://a ("no: check your key").',
            "Check acme.key.",
        ),
        (
            "acme user failed at http://a: no answer, asked once; run again later.",
            "acme user failed at http://a: no answer, asked once.",
            "Run again later.",
        ),
    ],
)
def test_sentence_of_an_error_is_cut_where_its_advice_begins(
    sentence: str, cause: str, next_step: str
) -> None:
    assert in_two(sentence) == (cause, next_step)
    assert in_two("It broke.")[0] == "It broke."


def test_worst_code_is_that_of_configuration_before_login_before_network() -> None:
    rows = [fail("a", "b", "c", code) for code in (1, 5, 4, 3)]
    assert [worst_code(rows[: n + 1]) for n in range(4)] == [1, 5, 4, 3]
    assert worst_code([ok("a", "b")]) == 0


def test_processes_are_told_by_what_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    words = ["-m", "dagster._daemon", "run", "--token", "hunter2", "sandbox", "--port", "8123"]
    words += ["--state-dir", str(tmp_path / "sandbox")]
    with other_process(WAIT, *words) as process:
        told = process_of(process.pid)
        assert told.is_ours
        assert "hunter2" not in told.told
        assert told.started_at is not None
        assert [daemon.pid for daemon in daemons_of(home)] == [process.pid]
        assert daemons_of(tmp_path) == []
        assert running_sandbox_url(tmp_path / "sandbox") == "http://127.0.0.1:8123"
        assert running_sandbox_url(tmp_path) is None
    assert lock_holders(tmp_path / "none") == []


def test_command_line_is_told_up_to_its_first_option() -> None:
    with other_process(WAIT, "-phunter2") as process:
        assert "hunter2" not in process_of(process.pid).told


def test_lock_holder_is_one_that_has_the_file_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert [holder.pid for holder in lock_holders(path)] == [os.getpid()]
        # Another disk may have a file of the same number.
        assert not _may_have_open(os.getpid(), tmp_path)


def test_requirements_are_those_of_the_sources_not_of_a_past_installation(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: ["nobody-has-this>=1"])
    assert [row.verdict for row in check_versions()] == ["ok"]
    monkeypatch.setattr(machine, "_SOURCES", tmp_path / "none")
    (row,) = check_versions()
    assert "nobody-has-this>=1 (found nothing)" in row.cause


def test_sandbox_started_by_hand_is_asked(ground: Ground) -> None:
    url = ground.sandbox.url
    ground.monkeypatch.delenv("ENERGY_ETL_SANDBOX_URL")
    settings = project_settings(ground.root)
    by_hand = settings.model_copy(update={"sandbox_url": url})
    # As the default names it: copying tells what was set, too.
    by_hand.__pydantic_fields_set__.discard("sandbox_url")
    assert Subject.look(by_hand, is_offline=False).is_sandbox_expected
    assert not Subject.look(by_hand, is_offline=True).is_sandbox_expected


def test_portfolio_error_of_several_lines_is_told_whole(ground: Ground) -> None:
    (ground.data / "portfolio" / "meters.csv").unlink()
    rows, code = ground.look("portfolio")
    assert code == 3
    assert "meters.csv" in rows[0].cause
