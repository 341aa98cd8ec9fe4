"""Which sandbox a command asks: the one that `up` started for its project, whatever its port."""

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from energy_etl.cli import up
from energy_etl.cli.project import command_etl, command_settings
from energy_etl.cli.up import _start_usual_sandbox
from energy_etl.sandbox import SandboxServer
from energy_etl.settings import Settings
from energy_etl.vendors import project_settings
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl_tests.cli.doctor.test_faults import WAIT
from energy_etl_tests.cli.typed import Typed, make_root
from energy_etl_tests.vendors.extracting import requests_seen, running_sandbox
from energy_etl_tests.warehouse.frames import other_process

USUAL = Settings.model_fields["sandbox_url"].default


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose settings name no sandbox."""
    make_root(tmp_path)
    shutil.copytree(tmp_path / "data" / "portfolio.example", tmp_path / "data" / "portfolio")
    monkeypatch.setenv("ENERGY_ETL_ROOT", str(tmp_path))
    monkeypatch.delenv("ENERGY_ETL_SANDBOX_URL", raising=False)
    return tmp_path


def as_up_starts_it(root: Path, port: int) -> AbstractContextManager[Any]:
    """A process with the command line of the sandbox that `up` starts for a project."""
    words = ["-m", "energy_etl", "sandbox", "--port", str(port)]
    return other_process(WAIT, *words, "--state-dir", root / "data" / "sandbox")


def test_commands_ask_the_sandbox_that_runs_for_their_project(
    sandbox: SandboxServer,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Another person's sandbox on the usual port answered `streams list`, and nobody was told.
    typed = Typed(root, sandbox.url, monkeypatch, capsys)
    monkeypatch.delenv("ENERGY_ETL_SANDBOX_URL")
    with as_up_starts_it(root.parent, 9), as_up_starts_it(root, sandbox.port):
        code, out, _ = typed.run("streams", "list", "--json")
        assert code == 0
        assert "not asked" not in {row["state"] for row in json.loads(out)}
        assert requests_seen(sandbox, "wattics")
        code, _, err = typed.run("license", "list")
        assert (code, err) == (0, "")
        assert requests_seen(sandbox, "smartgridone")


def test_address_of_the_running_sandbox_is_that_of_every_vendor(root: Path) -> None:
    with as_up_starts_it(root, 8123):
        settings = command_settings()
        assert settings.sandbox_url == "http://127.0.0.1:8123"
        collector_url = settings.section(WatticsSettings).collector_url
        assert collector_url.startswith("http://127.0.0.1:8123/")
        assert command_etl().settings() == settings
    assert command_settings().sandbox_url == USUAL


def test_sandbox_of_another_project_is_never_taken(root: Path) -> None:
    with as_up_starts_it(root / "data", 8123), as_up_starts_it(root.parent, 8124):
        assert command_settings().sandbox_url == USUAL
        assert command_etl().settings().sandbox_url == USUAL


@pytest.mark.parametrize("source", ["environment", ".env", "energy_etl.toml"])
def test_address_that_is_set_wins_over_the_running_sandbox(
    root: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    # The usual one, too: it was asked for by name.
    if source == "environment":
        monkeypatch.setenv("ENERGY_ETL_SANDBOX_URL", USUAL)
    elif source == ".env":
        (root / source).write_text(f"ENERGY_ETL_SANDBOX_URL={USUAL}\n")
    else:
        (root / source).write_text(f'sandbox_url = "{USUAL}"\n')
    with as_up_starts_it(root, 8123):
        assert command_settings().sandbox_url == USUAL
        assert command_etl().settings().sandbox_url == USUAL


def test_live_target_asks_for_no_sandbox(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ETL_TARGET", "live")
    with as_up_starts_it(root, 8123):
        assert command_settings().sandbox_url == USUAL


def test_up_tells_where_its_sandbox_is_when_the_usual_port_is_taken(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[int] = []

    def start(settings: Settings, *, port: int, replay: Path | None) -> tuple[None, str]:
        del settings, replay
        started.append(port)
        return None, f"http://127.0.0.1:{port}"

    monkeypatch.setattr(up, "start_sandbox", start)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        usual = taken.getsockname()[1]
        monkeypatch.setattr(up, "_SANDBOX_PORT", usual)
        _, url = _start_usual_sandbox(project_settings(root), None)
    assert started != [usual]
    assert capsys.readouterr().err == (
        f"The vendor sandbox answers at {url}, for port {usual} is taken.\n"
    )
    _start_usual_sandbox(project_settings(root), None)
    assert started[1:] == [usual]
    assert capsys.readouterr().err == ""
