"""Settings: their sources, their precedence, and sentences for what is wrong."""

from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from energy_etl.errors import ConfigurationError
from energy_etl.settings import Settings, load_settings, setting_names


class ToySection(BaseModel, extra="forbid"):
    """A vendor's section."""

    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    credentials: dict[str, dict[str, SecretStr]] = {}


SECTIONS = {"toy": ToySection}


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setting_names(Settings):
        monkeypatch.delenv(name, raising=False)


def test_nothing_set_targets_the_sandbox(tmp_path: Path) -> None:
    settings = load_settings(SECTIONS, tmp_path)
    assert settings.target == "sandbox"
    assert settings.warehouse_path == tmp_path / "data" / "warehouse.duckdb"
    assert settings.section(ToySection).client_id == ""


def test_environment_wins_over_dotenv_and_dotenv_over_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "energy_etl.toml").write_text(
        'refetch_days = 5\nhold_for_hours = 5\n[toy]\nclient_id = "toml"\n'
    )
    (tmp_path / ".env").write_text("ENERGY_ETL_REFETCH_DAYS=6\nENERGY_ETL_TOY__CLIENT_ID=dotenv\n")
    monkeypatch.setenv("ENERGY_ETL_TOY__CLIENT_ID", "environment")
    settings = load_settings(SECTIONS, tmp_path)
    assert settings.hold_for_hours == 5
    assert settings.refetch_days == 6
    assert settings.section(ToySection).client_id == "environment"


def test_nested_credentials_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_TOY__CREDENTIALS__MAIN__PASSWORD", "canary")
    section = load_settings(SECTIONS, tmp_path).section(ToySection)
    assert section.credentials["main"]["password"].get_secret_value() == "canary"
    assert "canary" not in repr(section)


@pytest.mark.parametrize("source", ["environment", ".env", "energy_etl.toml"])
def test_unknown_key_is_an_error_in_each_source(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "environment":
        monkeypatch.setenv("ENERGY_ETL_TARGTE", "live")
    elif source == ".env":
        (tmp_path / ".env").write_text("ENERGY_ETL_TARGTE=live\n")
    else:
        (tmp_path / source).write_text('targte = "live"\n')
    with pytest.raises(ConfigurationError, match=r"ENERGY_ETL_TARGTE is not known: "):
        load_settings(SECTIONS, tmp_path)


def test_unknown_key_names_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_TOY__CLIENT_IDD", "x")
    with pytest.raises(ConfigurationError, match="did you mean ENERGY_ETL_TOY__CLIENT_ID"):
        load_settings(SECTIONS, tmp_path)


def test_wrong_value_is_told_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_REFETCH_DAYS", "canary")
    with pytest.raises(ConfigurationError, match="ENERGY_ETL_REFETCH_DAYS does not fit") as caught:
        load_settings(SECTIONS, tmp_path)
    assert "canary" not in str(caught.value)


def test_overrides_win_over_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_ETL_SANDBOX_URL", "http://127.0.0.1:1")
    settings = load_settings(SECTIONS, tmp_path, sandbox_url="http://127.0.0.1:2")
    assert settings.sandbox_url == "http://127.0.0.1:2"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("energy_etl.toml", b"target = [broken", "is no TOML .*line 1"),
        ("energy_etl.toml", b"\xff\xfe", "is not UTF-8"),
        (".env", b"\xff\xfe=1", "is not UTF-8"),
        (".env", b"ENERGY_ETL_TOY__CREDENTIALS=canary", "a variable of its own"),
    ],
)
def test_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, file: str, content: bytes, reason: str
) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_settings(SECTIONS, tmp_path)
    assert "canary" not in str(caught.value)
