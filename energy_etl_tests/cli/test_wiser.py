"""`energy-etl wiser` as a person types it: what is printed where, and exit codes."""

import io
import json
import sys
import webbrowser
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from energy_etl.cli import main
from energy_etl.cli.sandbox_consent import allow
from energy_etl.sandbox import SandboxServer
from energy_etl.tokens import Token, TokenStore
from energy_etl.vendors.wiser.consent import build_auth
from energy_etl.vendors.wiser.settings import TOKEN_PATH, WiserSettings, sandbox_section
from energy_etl_tests.vendors.extracting import fault, running_sandbox
from energy_etl_tests.vendors.wiser.test_consent import deny


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


class Shell:
    """Runs `energy-etl` in this process."""

    def __init__(
        self,
        sandbox: SandboxServer,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.folder = root / "data" / "tokens"
        self.monkeypatch, self._capsys = monkeypatch, capsys
        self._out = self._err = ""
        monkeypatch.setenv("ENERGY_ETL_ROOT", str(root))
        monkeypatch.setenv("ENERGY_ETL_SANDBOX_URL", sandbox.url)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        self.monkeypatch.setattr(sys, "argv", ["energy-etl", *arguments])
        self._out = self._err = ""
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        return int(ended.value.code or 0), self._out + out, self._err + err

    def address(self) -> str:
        """Return what a command that still runs has printed on stdout."""
        out, err = self._capsys.readouterr()
        self._out += out
        self._err += err
        return self._out.strip()

    def types(self, lines: Callable[[], str]) -> None:
        """Let a person type what a function returns, each time that a line is read."""

        class Typed(io.StringIO):
            def readline(self, _: int | None = -1) -> str:
                return lines()

        self.monkeypatch.setattr(sys, "stdin", Typed())


@pytest.fixture
def shell(
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    return Shell(sandbox, tmp_path, monkeypatch, capsys)


def test_status_tells_each_state_and_never_the_token(shell: Shell, sandbox: SandboxServer) -> None:
    assert shell.run("wiser", "status") == (
        4,
        "The Wiser account main is not authorised yet: run `energy-etl wiser authorize`.\n",
        "",
    )
    settings = WiserSettings.model_validate(sandbox_section(sandbox.url))
    key = (settings.base_url + TOKEN_PATH, "sandbox-wiser", "main")
    at_s = datetime(2030, 5, 1, 12, tzinfo=UTC).timestamp()
    issued_for = build_auth(settings, shell.folder)._fingerprint

    def store(**changes: Any) -> None:
        token = Token("canary-access", "Bearer", at_s + 3600, 3600.0, issued_for, "canary-refresh")
        TokenStore(shell.folder).write(msgspec.structs.replace(token, **changes), *key)

    store(authorised_at_s=at_s)
    code, out, err = shell.run("wiser", "status")
    assert (code, err) == (0, "")
    assert out == (
        "The Wiser account main is authorised since 2030-05-01 12:00 UTC; its token lasts until "
        "2030-05-01 13:00 UTC and is renewed by runs.\n"
    )
    code, out, _ = shell.run("wiser", "status", "--json")
    assert json.loads(out) == {
        "account": "main",
        "state": "authorised",
        "is_renewable": True,
        "authorised_at": "2030-05-01T12:00:00Z",
        "access_until_at": "2030-05-01T13:00:00Z",
        "ended_at": None,
    }
    assert "canary" not in out
    store(refresh_token=None)
    assert (
        "but only until 2030-05-01 13:00 UTC: no refresh token" in shell.run("wiser", "status")[1]
    )
    store(refresh_token=None, expires_at_s=1.0)
    assert shell.run("wiser", "status")[:2] == (
        4,
        "The consent of the Wiser account main has ended: run `energy-etl wiser authorize`.\n",
    )
    store(refresh_token=None, ended_at_s=at_s)
    code, out, _ = shell.run("wiser", "status", "--json")
    assert code == 4
    assert json.loads(out)["ended_at"] == "2030-05-01T12:00:00Z"


def test_pasting_prints_the_address_on_stdout_and_the_rest_on_stderr(shell: Shell) -> None:
    wrong = iter(["something else\n"])

    def person() -> str:
        return next(wrong, "") or allow(shell.address()) + "\n"

    shell.types(person)
    code, out, err = shell.run("wiser", "authorize", "--paste")
    assert code == 0, err
    assert out.startswith("http://127.0.0.1:")
    assert out.count("\n") == 1
    assert "no answer to this attempt" in err
    assert "The Wiser account main is authorised since" in err
    assert shell.run("wiser", "status")[0] == 0


def test_pasting_nothing_or_a_denial_exits_with_4(shell: Shell) -> None:
    shell.types(lambda: "")
    code, _, err = shell.run("wiser", "authorize", "--paste")
    assert code == 4
    assert "energy-etl: No address was pasted" in err
    shell.types(lambda: deny(shell.address()))
    code, _, err = shell.run("wiser", "authorize", "--paste")
    assert code == 4
    assert "was denied: nothing was stored" in err


def test_settings_and_network_have_their_own_exit_codes(
    shell: Shell, sandbox: SandboxServer
) -> None:
    shell.monkeypatch.setenv("ENERGY_ETL_WISER__CLIENT_ID", "")
    code, _, err = shell.run("wiser", "status")
    assert code == 3
    assert "wiser.client_id" in err
    shell.monkeypatch.delenv("ENERGY_ETL_WISER__CLIENT_ID")
    shell.types(lambda: allow(shell.address()))
    with fault(sandbox, vendor="wiser", kind="status", status=503, path_contains="/token"):
        code, _, err = shell.run("wiser", "authorize", "--paste")
    assert code == 5
    assert "answered 503" in err


def test_pasting_broken_characters_is_asked_for_once_more(shell: Shell) -> None:
    broken = iter(["http://127.0.0.1/callback?code=1&state=\udcff\n"])
    shell.types(lambda: next(broken, "") or allow(shell.address()) + "\n")
    code, _, err = shell.run("wiser", "authorize", "--paste")
    assert code == 0, err
    assert "no answer to this attempt" in err


def test_browser_that_comes_back_only_when_it_is_closed_does_not_block_the_answer(
    shell: Shell,
) -> None:
    shown: list[int] = []

    def browse(url: str) -> None:
        shown.append(httpx.get(allow(url), timeout=10.0).status_code)

    shell.monkeypatch.setenv("BROWSER", "one that waits")
    shell.monkeypatch.setattr(webbrowser, "open", browse)
    code, _, err = shell.run("wiser", "authorize")
    assert code == 0, err
    assert "is authorised since" in err
    assert shown == [200]
