"""`energy-etl license`: the plan is shown, a question is asked, what was done is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import polars as pl
import pytest

from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.smartgridone import SmartgridOne
from energy_etl.sandbox.smartgridone_fleet import FOREIGN
from energy_etl.vendors import all_tables, project_settings
from energy_etl.vendors.smartgridone.change_tables import CHANGE, LICENCE_MART
from energy_etl.warehouse import Warehouse
from energy_etl_tests.cli.typed import Typed, make_root
from energy_etl_tests.vendors.extracting import fault, running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_root(tmp_path_factory.mktemp("project"))


@pytest.fixture
def typed(
    sandbox: SandboxServer,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    return Typed(root, sandbox.url, monkeypatch, capsys)


def keys(sandbox: SandboxServer, *, is_claimed: bool) -> list[str]:
    """Return keys of licences that nobody activated."""
    licences = cast(SmartgridOne, sandbox.app.vendors["smartgridone"]).licences._licences
    return [
        each.key
        for each in licences.values()
        if each.activated_ms is None
        and (each.controller is not None) is is_claimed
        and each.company != FOREIGN
    ]


def test_list_shows_the_licences_as_they_are_now(typed: Typed, sandbox: SandboxServer) -> None:
    code, out, err = typed.run("license", "list")
    assert (code, err) == (0, "")
    assert "unclaimed" in out
    assert "ghent-a" in out
    code, out, _ = typed.run("license", "list", "--json")
    rows = json.loads(out)
    by_key = {row["licence_key_end"]: row for row in rows}
    (spare,) = keys(sandbox, is_claimed=False)
    assert by_key[spare[-5:]]["licence_status"] == "unclaimed"
    # Whole keys are claims: the list does not spread them.
    assert spare not in out
    with fault(sandbox, vendor="smartgridone", path_contains="customer", kind="status", status=403):
        code, out, err = typed.run("license", "list")
    assert code == 0
    assert "customer" in err
    assert "unclaimed" not in out


def test_name_in_brackets_is_shown_as_it_is(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    row = dict.fromkeys(LICENCE_MART.polars_schema) | {
        "licence_status": "active",
        "site_id": "[/a]",
    }
    listed = pl.DataFrame([row], schema=LICENCE_MART.polars_schema), []
    monkeypatch.setattr("energy_etl.defs.changes.list_licences", lambda _: listed)
    code, out, _ = typed.run("license", "list")
    assert code == 0
    assert "[/a]" in out


def test_activation_is_asked_for_then_done_then_recorded(
    typed: Typed, sandbox: SandboxServer, root: Path
) -> None:
    (key,) = keys(sandbox, is_claimed=True)
    code, out, _ = typed.run("license", "activate", key, answers="n\n")
    assert code == 1
    assert "/v1/license/activate" in out
    assert "Nothing was changed." in out
    assert keys(sandbox, is_claimed=True) == [key]

    arguments = ("license", "activate", key, "--at", "2025-05-01T00:00:00+02:00")
    code, out, err = typed.run(*arguments, answers="y\n")
    assert (code, err) == (0, "")
    assert 'activation_at: null -> "2025-04-30T22:00:00.000Z"' in out
    assert f"SmartgridOne did activate_license of {key}" in out
    assert keys(sandbox, is_claimed=True) == []
    warehouse = Warehouse(project_settings(root).warehouse_path, all_tables())
    (row,) = warehouse.read_table(CHANGE).filter(subject=key).iter_rows(named=True)
    assert (row["outcome"], row["subject"]) == ("done", key)
    assert row["asked_by"].startswith("cli ")

    code, out, _ = typed.run("license", "activate", key, "--yes")
    assert code == 1
    assert "not worth calling: it is active since" in out


def test_claim_with_yes_asks_nothing(typed: Typed, sandbox: SandboxServer) -> None:
    (key,) = keys(sandbox, is_claimed=False)
    vendor = cast(SmartgridOne, sandbox.app.vendors["smartgridone"])
    node_id = next(iter(vendor.fleet.controllers))
    code, out, err = typed.run("license", "claim", key, node_id, "--yes")
    assert (code, err) == (0, "")
    assert f'controllers: [] -> ["{node_id}"]' in out
    assert "Do it?" not in out
    assert keys(sandbox, is_claimed=False) == []


def test_refusal_is_one_sentence_and_a_failure(typed: Typed) -> None:
    code, out, err = typed.run("license", "activate", "NO-SUCH-KEY", "--yes")
    assert code == 1
    assert "before: this account does not see it" in out
    assert err.startswith("energy-etl: SmartgridOne refused activate_license of NO-SUCH-KEY")
    assert err.count("\n") == 1
    code, _, err = typed.run("license", "activate", "KEY", "--at", "soon")
    assert code == 2
    assert "is no instant" in err
