"""The sandbox's consent without a person, and never anywhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from energy_etl.cli.sandbox_consent import (
    allow,
    grant_sandbox_consent,
    try_sandbox_consent,
)
from energy_etl.errors import ConfigurationError, MalformedError, UnavailableError
from energy_etl.sandbox import SandboxServer
from energy_etl.vendors import project_settings
from energy_etl.vendors.wiser.consent import read_consent
from energy_etl.vendors.wiser.settings import WiserSettings
from energy_etl_tests.rest.raw_server import RawServer, answer
from energy_etl_tests.vendors.extracting import running_sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


def test_sandbox_consent_is_given_without_a_person_and_only_there(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    settings = project_settings(tmp_path, sandbox_url=sandbox.url)
    assert grant_sandbox_consent(settings).state == "authorised"
    assert read_consent(settings.section(WiserSettings), settings.token_dir).state == "authorised"
    live = project_settings(tmp_path, target="live")
    with pytest.raises(ConfigurationError, match="on the sandbox only"):
        grant_sandbox_consent(live)


def test_sandbox_that_shows_something_else_is_told(sandbox: SandboxServer) -> None:
    with pytest.raises(MalformedError, match="no page with a button Allow"):
        allow(f"{sandbox.url}/_sandbox/health")
    with pytest.raises(UnavailableError, match="energy-etl sandbox"):
        allow("http://127.0.0.1:9/wiser")


def test_another_program_that_answers_with_no_text_is_told() -> None:
    with (
        RawServer.answering(answer(200, b"\xff\xfe Allow")) as server,
        pytest.raises(MalformedError, match="when another program answers there, stop it"),
    ):
        allow(f"{server.url}/wiser")


def test_real_wiser_is_asked_for_nothing_on_the_sandbox(
    sandbox: SandboxServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # `up` once ended where somebody had set what is needed later, for the target live.
    monkeypatch.setenv("ENERGY_ETL_WISER__CLIENT_ID", "the-real-one")
    try_sandbox_consent(project_settings(tmp_path, sandbox_url=sandbox.url))
    assert "unset what is set for Wiser" in capsys.readouterr().err
    monkeypatch.setenv("ENERGY_ETL_WISER__BASE_URL", "https://wiser.example")
    settings = project_settings(tmp_path, sandbox_url=sandbox.url)
    try_sandbox_consent(settings)
    assert "remove wiser.base_url from the settings" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match=r"^wiser\.example is asked for no consent"):
        grant_sandbox_consent(settings)
