"""Running the sandbox: a thread, the foreground, a port that is taken."""

import gzip
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from energy_etl.sandbox import PortInUseError, SandboxServer, World, serve
from energy_etl.sandbox.replay import FILE_NAME
from energy_etl_tests.sandbox.conftest import NOW_AT

FOREGROUND = f"""
from datetime import datetime
from energy_etl.sandbox import serve
serve(now=datetime.fromisoformat("{NOW_AT.isoformat()}"), port=0)
"""


def test_server_binds_loopback_and_frees_its_port_on_stop(world: World):
    with SandboxServer(world) as sandbox:
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{sandbox.url}/_sandbox/health").is_success
        port = sandbox.port
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sandbox.url}/_sandbox/health")
    with SandboxServer(world, port=port) as again:
        assert again.port == port


def test_port_in_use_is_one_clear_sentence(running: SandboxServer, world: World):
    with pytest.raises(PortInUseError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*--port"):
        SandboxServer(world, port=running.port)


def test_server_that_never_started_can_be_stopped(world: World):
    sandbox = SandboxServer(world)
    sandbox.stop()
    # Its port is free again.
    with SandboxServer(world, port=sandbox.port) as again:
        assert again.url == sandbox.url


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"now": datetime(2020, 1, 1, tzinfo=UTC)}, 2, "lies before its world starts"),
        ({"replay": Path("/nowhere")}, 3, "holds no opsd_DE_KN"),
    ],
)
def test_foreground_sandbox_that_cannot_start_says_why_in_one_sentence(
    capsys, options, code, message
):
    with pytest.raises(SystemExit) as caught:
        serve(port=0, **options)
    assert caught.value.code == code
    assert message in capsys.readouterr().err


def test_foreground_sandbox_of_a_download_that_broke_off_says_so(capsys, tmp_path):
    """It ended with a traceback, or with the code of a wrong option."""
    (tmp_path / FILE_NAME).write_bytes(gzip.compress(b"utc_timestamp\n")[:-9])
    with pytest.raises(SystemExit) as caught:
        serve(port=0, replay=tmp_path)
    assert caught.value.code == 3
    assert f"{FILE_NAME} is damaged (EOFError" in capsys.readouterr().err


def test_foreground_sandbox_on_a_port_in_use_says_so(capsys, running: SandboxServer):
    with pytest.raises(SystemExit):
        serve(port=running.port)
    assert "--port" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_foreground_sandbox_prints_its_address_and_stops_on_a_signal(kind):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FOREGROUND],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.rpartition(" ")[2].strip()
        assert httpx.get(f"{url}/_sandbox/health").json()["world"] == "world"
        process.send_signal(kind)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert errors == ""
