"""The consent of the live target: what it covers, and that no client of a run is made without."""

import ast
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from energy_etl.errors import ConfigurationError, WarehouseError
from energy_etl.settings import PREFIX, Settings
from energy_etl.state import open_state, set_fact
from energy_etl.vendors import discover_vendors, project_settings
from energy_etl.vendors.golive import (
    planned_calls,
    read_consent,
    record_consent,
    require_consent,
    uncovered,
)
from energy_etl_tests.test_layers import PACKAGE, dotted

AT = datetime(2026, 10, 28, 9, tzinfo=UTC)
LIVE = {
    "digiwatt": {"base_url": "https://d.test/v1", "client_id": "me", "client_secret": "canary-d"},
    "wattics": {
        "credentials": {"main": {"username": "pusher", "password": "canary-w"}},
        "api_token": "canary-t",
    },
}


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def live(root: Path, **sections: Any) -> Settings:
    (root / "data").mkdir(exist_ok=True)
    return project_settings(root, target="live", **{**LIVE, **sections})


def agree(settings: Settings) -> None:
    record_consent(settings.state_path, planned_calls(settings), at=AT)


def keys(settings: Settings) -> list[str]:
    return [each.key for each in uncovered(settings)]


def test_live_without_consent_is_refused_with_the_command_and_without_secrets(
    tmp_path: Path,
) -> None:
    settings = live(tmp_path)
    with pytest.raises(ConfigurationError) as refused:
        require_consent(settings, "digiwatt")
    said = str(refused.value)
    assert "call Digiwatt at https://d.test/v1 as client me on target live" in said
    assert "run `energy-etl golive`" in said
    assert "canary" not in said + repr(planned_calls(settings))
    # Not configured, so its client says what is missing.
    require_consent(settings, "wattsense")
    assert not settings.state_path.exists()


def test_what_was_agreed_to_is_called_and_what_changed_or_came_later_is_not(
    tmp_path: Path,
) -> None:
    settings = live(tmp_path)
    agree(settings)
    assert keys(settings) == []
    for vendor in discover_vendors():
        require_consent(settings, vendor)
    consent = read_consent(settings.state_path)
    assert consent is not None
    assert consent.given_at == AT
    moved = live(tmp_path, digiwatt={**LIVE["digiwatt"], "base_url": "https://other.test/v1"})
    assert keys(moved) == ["digiwatt"]
    renamed = live(tmp_path, digiwatt={**LIVE["digiwatt"], "client_id": "you"})
    assert keys(renamed) == ["digiwatt"]
    require_consent(moved, "wattics")
    later = live(tmp_path, smartgridone={"username": "u", "password": "p"})
    assert keys(later) == ["smartgridone"]
    second = {**LIVE["wattics"]["credentials"], "second": {"username": "s", "password": "p"}}
    more = live(tmp_path, wattics={**LIVE["wattics"], "credentials": second})
    assert keys(more) == ["wattics second"]
    require_consent(more, "wattics", ("api",))
    with pytest.raises(ConfigurationError, match="Wattics"):
        require_consent(more, "wattics", ("main", "second"))


def test_new_password_needs_no_new_consent(tmp_path: Path) -> None:
    agree(live(tmp_path))
    assert keys(live(tmp_path, digiwatt={**LIVE["digiwatt"], "client_secret": "another"})) == []


def test_withdrawn_consent_covers_nothing_and_says_who_withdrew_it(tmp_path: Path) -> None:
    settings = live(tmp_path)
    agree(settings)
    record_consent(settings.state_path, [], at=AT)
    assert keys(settings) == ["digiwatt", "wattics main", "wattics api"]
    consent = read_consent(settings.state_path)
    assert consent is not None
    assert re.fullmatch(r"Withdrawn by \S+ on 2026-10-28 09:00 UTC\.", consent.sentence)


def test_copied_project_calls_nobody_until_somebody_agrees_there_too(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    made = live(tmp_path / "made")
    agree(made)
    shutil.copytree(made.root, tmp_path / "copy")
    copied = live(tmp_path / "copy")
    assert keys(copied) == ["digiwatt", "wattics main", "wattics api"]
    with pytest.raises(ConfigurationError, match=r"UTC in .*/made/data, not here"):
        require_consent(copied, "wattics")
    # One project under two names, as a container and its host have it: the second agrees to the
    # same, and the first goes on.
    agree(copied)
    assert keys(copied) == []
    shutil.copy(copied.state_path, made.state_path)
    assert keys(made) == []
    # What is withdrawn under one of the names is withdrawn.
    record_consent(made.state_path, [], at=AT)
    shutil.copy(made.state_path, copied.state_path)
    assert len(keys(copied)) == 3


def test_credential_that_has_the_name_of_the_api_login_is_agreed_to_beside_it(
    tmp_path: Path,
) -> None:
    credentials = {"api": {"username": "pusher", "password": "canary-w"}}
    settings = live(tmp_path, wattics={**LIVE["wattics"], "credentials": credentials})
    agree(settings)
    assert keys(settings) == []


def test_damaged_record_is_no_consent(tmp_path: Path) -> None:
    settings = live(tmp_path)
    for text in ("{", "[]", '{"given_by": "x"}'):
        with open_state(settings.state_path) as connection:
            set_fact(connection, "golive_consent", text)
        with pytest.raises(WarehouseError, match="agree again"):
            require_consent(settings, "digiwatt")


def test_sandbox_needs_none_unless_an_address_is_another_machine(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert planned_calls(project_settings(tmp_path)) == []
    astray = project_settings(tmp_path, digiwatt={"base_url": "https://d.test/v1"})
    assert [each.key for each in planned_calls(astray)] == ["digiwatt"]
    with pytest.raises(ConfigurationError, match="on another machine than the sandbox"):
        require_consent(astray, "digiwatt")
    require_consent(astray, "wattics")


def test_user_and_password_in_an_address_are_not_shown(tmp_path: Path) -> None:
    address = "https://u:canary@d.test:8443/v1?key=canary"
    (called,) = [
        each
        for each in planned_calls(
            live(tmp_path, digiwatt={**LIVE["digiwatt"], "base_url": address})
        )
        if each.vendor == "digiwatt"
    ]
    assert called.addresses == ("https://d.test:8443/v1",)


# What calls a vendor, and what asks for the consent first.
CALLERS = re.compile(r"(Client|Collector|^open_client|^open_collectors)$")
GATES = {"settings_to_call", "require_consent", "require_consent_to_send"}
# Reads of a person by a command of their own need none; `Trial`s of doctor are in the vendors.
READS = {
    "defs.changes.list_licences",
    "cli.streams._client",
    "cli.push_files.read_back",
    "cli.push_files.ask",
}


def made_clients() -> Iterator[tuple[str, set[str]]]:
    """Yield each function of runs and commands that makes a client, and what it calls."""
    for path in sorted([*PACKAGE.glob("defs/**/*.py"), *PACKAGE.glob("cli/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            called = {
                str(getattr(call.func, "id", getattr(call.func, "attr", "")))
                for call in ast.walk(node)
                if isinstance(call, ast.Call)
            }
            if any(CALLERS.search(name) for name in called):
                yield f"{dotted(path)}.{node.name}", called


def test_runs_and_commands_make_no_client_before_the_consent() -> None:
    found = dict(made_clients())
    assert found.keys() >= READS
    # The five vendors' assets and the sender at least: the search itself works.
    assert len(found) > len(READS) + 5
    missing = [name for name, called in found.items() if not called & GATES]
    assert sorted(set(missing) - READS) == []
