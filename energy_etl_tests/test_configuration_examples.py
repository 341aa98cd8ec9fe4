"""docs/configuration: each example loads as it stands, and shows every setting with its default."""

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from energy_etl.settings import PREFIX, Settings
from energy_etl.vendors import discover_vendors, project_settings
from energy_etl.vendors.golive import planned_calls
from energy_etl_tests.defs.project import REPOSITORY

FOLDER = REPOSITORY / "docs" / "configuration"
VENDORS = discover_vendors()
NAMES = tuple(VENDORS)
COMMENTED = re.compile(r"^# ([a-z_0-9]+) = ", re.MULTILINE)
IN_DOTENV = re.compile(r"^# (ENERGY_ETL_\w+=.+)$", re.MULTILINE)
NOT_SET = "by default it is not set"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def loaded(root: Path, names: Iterable[str]) -> Settings:
    """Do as the examples say: the sections into the TOML file, the secrets into `.env`."""
    texts = [text_of(name) for name in names]
    (root / "energy_etl.toml").write_text("\n".join(texts))
    lines = dict.fromkeys(line for text in texts for line in IN_DOTENV.findall(text))
    (root / ".env").write_text("\n".join(lines))
    return project_settings(root)


def test_every_vendor_has_an_example_and_there_is_no_other() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)


@pytest.mark.parametrize("names", [*((name,) for name in NAMES), NAMES], ids=" ".join)
def test_example_loads_with_what_it_puts_into_dotenv_and_lacks_nothing(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    settings = loaded(tmp_path, names)
    assert settings.target == "live"
    for name in names:
        reach = VENDORS[name].reach
        assert reach is not None
        logins = reach.logins(settings.section(VENDORS[name].settings))
        assert [login.missing for login in logins] == [()] * len(logins)
    assert {each.vendor for each in planned_calls(settings)} == {*names}


@pytest.mark.parametrize("name", NAMES)
def test_example_shows_every_setting_and_comments_out_its_default(name: str) -> None:
    text, model = text_of(name), VENDORS[name].settings
    given = set(tomllib.loads(text)[name])
    # Each line by itself: two settings of one name would hide one another.
    commented = [match for line in text.splitlines() for match in COMMENTED.findall(line)]
    assert len(commented) == len(set(commented))
    secrets = {f for f, i in model.model_fields.items() if isinstance(i.default, SecretStr)}
    assert given | set(commented) | secrets == set(model.model_fields)
    assert not given & {*commented, *secrets}
    for secret in secrets:
        assert f"\n# {secret}: in `.env`" in text
        assert f"{PREFIX}{name}__{secret}".upper() in text
    defaults = tomllib.loads(
        "\n".join(
            line.removeprefix("# ")
            for line in text.splitlines()
            if COMMENTED.match(line) and NOT_SET not in line
        )
    )
    for field, default in defaults.items():
        assert default == plain(model, field), field
    examples = [COMMENTED.findall(line)[0] for line in text.splitlines() if NOT_SET in line]
    assert all(model.model_fields[field].default is None for field in examples)
    assert {field for field in defaults if plain(model, field) is None} == set()


@pytest.mark.parametrize("name", NAMES)
def test_example_with_everything_uncommented_fits_too(name: str, tmp_path: Path) -> None:
    bare = [
        line.removeprefix("# ") if COMMENTED.match(line) else line
        for line in text_of(name).splitlines()
    ]
    (tmp_path / "energy_etl.toml").write_text("\n".join(bare))
    (tmp_path / ".env").write_text("\n".join(IN_DOTENV.findall(text_of(name))))
    section = project_settings(tmp_path).section(VENDORS[name].settings)
    assert section.model_fields_set == set(VENDORS[name].settings.model_fields) - {
        field
        for field, info in VENDORS[name].settings.model_fields.items()
        # The other way in than the example's has its secret commented in words only.
        if isinstance(info.default, SecretStr)
        and f"{PREFIX}{name}__{field}=".upper() not in (tmp_path / ".env").read_text().upper()
    }


def plain(model: type[BaseModel], field: str) -> Any:
    """Return a default as TOML knows it."""
    default = model.model_fields[field].get_default(call_default_factory=True)
    if isinstance(default, tuple):
        return list(default)
    return (
        {str(key): each for key, each in default.items()} if isinstance(default, dict) else default
    )
