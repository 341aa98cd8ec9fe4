"""Children of `up` and `demo`, and what the command line itself owes its shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from energy_etl.cli import main
from energy_etl.cli.processes import start_child, stop_children, wait_until_answering
from energy_etl.errors import EnergyEtlError
from energy_etl_tests.rest.raw_server import RawServer


def test_child_sees_neither_the_env_file_nor_the_modules_of_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster loaded `.env` from there into the environment of every run, so that a secret that was
    # changed in the file went on being refused; and somebody's click.py ended the sandbox.
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("ENERGY_ETL_DIGIWATT__CLIENT_SECRET=old\n")
    (tmp_path / "this.py").write_text("print('theirs')\n")
    code = "import os; print(os.path.exists('.env'), os.path.exists('this.py'))"
    child = start_child("child", [sys.executable, "-Sc", code], tmp_path / "logs", {})
    assert child.process.wait(20) == 0
    assert child.log_path.read_text() == "False False\n"


def test_program_that_speaks_no_http_on_the_port_is_no_answer_yet(tmp_path: Path) -> None:
    # BadStatusLine is no OSError: `up` ended with its traceback.
    child = start_child("child", ["sleep", "60"], tmp_path / "logs", {})
    try:
        with (
            RawServer.answering(b"SSH-2.0-OpenSSH_9.6\r\n") as server,
            pytest.raises(
                EnergyEtlError, match=r"^The child did not answer at http://127\.0\.0\.1"
            ),
        ):
            wait_until_answering(server.url, child, 0.1)
        assert server.received
    finally:
        stop_children([child])
        child.process.wait(10)


def test_closed_stdout_is_no_error_of_its_own() -> None:
    command = "import energy_etl.cli as c; c.main()"
    done = subprocess.run(
        ["bash", "-c", f'exec "{sys.executable}" -c "{command}" dictionary settings >&-'],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_before_a_command_begins_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("energy_etl.cli.app.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
