"""The settings that all parts share, and how each vendor's section joins them.

Sources, the first that names a key wins: environment (`ENERGY_ETL_*`), `.env`,
`energy_etl.toml`; both files stand in the project's root. A vendor's section is nested:
`ENERGY_ETL_DIGIWATT__CLIENT_ID`, or `[digiwatt] client_id = "..."` in TOML. An unknown key is
an error in each source. Nothing is read at import: whoever needs settings calls `load_settings`.

What a vendor needs lives in `vendors/<vendor>/settings.py`, not here.
"""

import difflib
import functools
import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from energy_etl.errors import ConfigurationError

PREFIX = "ENERGY_ETL_"
ROOT_VARIABLE = f"{PREFIX}ROOT"

Section = TypeVar("Section", bound=BaseModel)


class Keep(BaseModel):
    """How long what is not needed any more is kept, in days; 0: for ever (`energy-etl prune`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    raw_days: int = Field(
        default=400,
        ge=0,
        description="Days for vendors' answers in raw, which `rebuild` lives on; 0: for ever.",
    )
    vendor_days: int = Field(
        default=0,
        ge=0,
        description="Days for readings in vendors' own schemas (core has them too); 0: for ever.",
    )
    packet_days: int = Field(
        default=400, ge=0, description="Days for confirmed packets in the outbox; 0: for ever."
    )
    response_days: int = Field(
        default=90, ge=0, description="Days for Wattics' answers to packets; 0: for ever."
    )
    dagster_days: int = Field(
        default=30, ge=0, description="Days for runs and ticks in Dagster's history; 0: for ever."
    )
    support_days: int = Field(
        default=30, ge=0, description="Days for support bundles in data/support; 0: for ever."
    )


class Alerts(BaseModel):
    """Who is told when a run fails, beside the log data/logs/failed_runs.log."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    webhook_url: SecretStr = Field(
        default=SecretStr(""),
        description="Where failures are posted as JSON with a `text` (Slack, Teams, Mattermost); "
        "whoever knows the address can post there, so it is a secret. Empty: nowhere.",
    )

    @field_validator("webhook_url")
    @classmethod
    def _is_an_address(cls, url: SecretStr) -> SecretStr:
        # Plain http is allowed: receivers in one's own network (Home Assistant) often have no more.
        text = url.get_secret_value()
        try:
            parts = urlsplit(text)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            fits = is_address and parts.port != 0 and parts.username is None
        except ValueError:
            fits = False
        is_clean = text.isascii() and text.isprintable() and " " not in text
        if text and not (fits and is_clean):
            raise ValueError(
                "it is no http(s) address without user; copy it anew from where you made it"
            )
        return url


class Settings(BaseSettings):
    """Settings of the whole project; see each field's description."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    root: Path = Field(
        default_factory=Path.cwd,
        description="Folder of the project; `data/` is in it. Only from the environment.",
    )
    target: Literal["sandbox", "live"] = Field(
        "sandbox",
        description="Which vendors are called: the `sandbox`'s, or the real ones (`live`).",
    )
    sandbox_url: str = Field(
        "http://127.0.0.1:8080", description="Where `energy-etl sandbox` answers."
    )
    refetch_days: int = Field(
        3,
        ge=1,
        le=92,
        description="Days the daily run fetches again, for late and mended readings.",
    )
    hold_for_hours: float = Field(
        48.0,
        gt=0,
        description="Hours that packets wait for an older hole to be filled; then they are sent.",
    )
    lock_wait_s: float = Field(
        60.0, gt=0, description="Seconds that a write waits for another writer of the warehouse."
    )
    keep: Keep = Field(default_factory=Keep, description="How long things are kept.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told of failed runs.")
    real_data: Path | None = Field(
        None, description="Folder of real metering data, for tests and benchmarks only."
    )
    vendor_documents: Path | None = Field(
        None, description="Folder of the vendors' documents as text, for tests only."
    )

    @property
    def data_dir(self) -> Path:
        """Folder of everything that is made at run time."""
        return self.root / "data"

    @property
    def warehouse_path(self) -> Path:
        """The writer's DuckDB file."""
        return self.data_dir / "warehouse.duckdb"

    @property
    def published_path(self) -> Path:
        """The DuckDB file that people open."""
        return self.data_dir / "energy.duckdb"

    @property
    def state_path(self) -> Path:
        """SQLite file of marks, quotas and the outbox."""
        return self.data_dir / "state.sqlite"

    @property
    def portfolio_dir(self) -> Path:
        """Folder of the portfolio's CSV files."""
        return self.data_dir / "portfolio"

    @property
    def token_dir(self) -> Path:
        """Folder of the token files."""
        return self.data_dir / "tokens"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder."""
        return self.data_dir / "dagster_home"

    @property
    def hold_for(self) -> timedelta:
        """`hold_for_hours` as a duration."""
        return timedelta(hours=self.hold_for_hours)

    def section(self, model: type[Section]) -> Section:
        """Return one vendor's section, which `load_settings` was given."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if type(value) is model:
                return value
        raise ConfigurationError(
            f"The settings were loaded without {model.__name__}: hand its vendor to load_settings."
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before `.env` before TOML; no secrets folder."""
        del file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, toml


def project_root(root: Path | None = None) -> Path:
    """Return the project's folder: the given one, `ENERGY_ETL_ROOT`, or the working directory."""
    return (root or Path(os.environ.get(ROOT_VARIABLE) or Path.cwd())).resolve()


def load_settings(
    sections: Mapping[str, type[BaseModel]], root: Path | None = None, **overrides: Any
) -> Settings:
    """Read all settings.

    Args:
        sections: each vendor's name and the model of its section.
        root: the project's folder; default: `ENERGY_ETL_ROOT`, else the working directory.
        overrides: values that win over every source (tests, the demo).

    Raises:
        ConfigurationError: an unknown key or a value that does not fit, all of them in one message.
    """
    folder = project_root(root)
    composed = _composed(folder, tuple(sections.items()))
    try:
        _refuse_unknown_variables(composed, os.environ, folder / ".env")
        settings = composed(**{"root": folder, **overrides})
    except ValidationError as error:
        raise ConfigurationError(_sentences(error, folder)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{folder / 'energy_etl.toml'} is no TOML ({error}): mend that line."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{folder / 'energy_etl.toml'} or {folder / '.env'} is not UTF-8: save it as UTF-8."
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or folder} cannot be read ({error.strerror or error}): give this "
            "user the right to read it, or run energy-etl as its owner."
        ) from None
    except SettingsError as error:
        # Its text names the section and the source, not the value.
        raise ConfigurationError(
            f"A setting cannot be read ({error}): give each key of that section a variable of its "
            "own, see README, Configuration."
        ) from None
    return cast(Settings, settings)


@functools.lru_cache(maxsize=32)
def _composed(folder: Path, sections: tuple[tuple[str, type[BaseModel]], ...]) -> type[Settings]:
    """Return the model of all settings; only the model is kept, values are read each time."""
    fields: dict[str, Any] = {
        name: (model, Field(default_factory=model)) for name, model in sections
    }
    composed = create_model("Settings", __base__=Settings, **fields)
    composed.model_config["env_file"] = folder / ".env"
    composed.model_config["toml_file"] = folder / "energy_etl.toml"
    return composed


def _refuse_unknown_variables(
    model: type[BaseSettings], environ: Mapping[str, str], dotenv: Path
) -> None:
    """Refuse ENERGY_ETL_* names that are no setting; pydantic-settings passes over them."""
    known = set(setting_names(model))
    named = {**dotenv_values(dotenv), **environ}
    unknown = sorted(n for n in named if n.upper().startswith(PREFIX) and n.upper() not in known)
    nested = tuple(f"{name}__" for name in known)
    unknown = [name for name in unknown if not name.upper().startswith(nested)]
    if unknown:
        raise ConfigurationError(" ".join(_unknown_sentence(name, known) for name in unknown))


def _unknown_sentence(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1)
    advice = f"did you mean {close[0]}?" if close else "remove it, or see README, Configuration."
    return f"The setting {name} is not known: {advice}"


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> list[str]:
    """Return the environment name of each setting, nested ones included."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        full_name = f"{prefix}{name}".upper()
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names += setting_names(annotation, f"{full_name}__")
        else:
            names.append(full_name)
    return names


def _sentences(error: ValidationError, folder: Path) -> str:
    """Say each fault in a sentence that names the setting, without its value (it may be secret)."""
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        place = "__".join(str(part) for part in fault["loc"]).upper()
        if fault["type"] == "extra_forbidden":
            lines.append(
                f"The setting {PREFIX}{place} is not known: "
                f"remove it from {folder / 'energy_etl.toml'} or {folder / '.env'}."
            )
        else:
            reason = fault["msg"].removeprefix("Value error, ")
            lines.append(f"The setting {PREFIX}{place} does not fit: {reason}.")
    return " ".join(lines)
