"""The page `docs/settings.md`, from the settings' models alone. Nothing is read or written here."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from energy_etl.settings import PREFIX, Settings
from energy_etl.vendors import Vendor

_HEAD: Final = """\
# Every setting

Generated from the settings' models by `energy-etl dictionary settings`; do not edit.

A setting comes from the environment, from `.env`, or from `energy_etl.toml`; the first that names
it wins. Both files stand in the project's root. In TOML a name has no `ENERGY_ETL_` and small
letters, and what stands before `__` is its section: `ENERGY_ETL_WATTSENSE__API_KEY` is `api_key` in
`[wattsense]`. An unknown key is an error. Put secrets into `.env` only, and keep it to yourself
(`chmod 600 .env`). On the target `sandbox` addresses and credentials are the sandbox's, unless you
set them. There is [an example for each vendor](configuration).
"""


@dataclass(frozen=True)
class SettingRow:
    """One setting as people read it.

    Attributes:
        name: its variable in the environment; `<NAME>` stands for a name that you choose.
        default: as one writes it; "required" and "none" where there is none.
        meaning: its description, and what may be written when that is a choice.
        is_secret: it is never shown.
    """

    name: str
    default: str
    meaning: str
    is_secret: bool

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def setting_rows(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[SettingRow]:
    """Yield every setting of a model, nested ones included, its own before those it shares."""
    own = vars(model)["__annotations__"]
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in own):
        full_name = f"{prefix}{name}".upper()
        annotation = field.annotation
        named = get_args(annotation)[1] if get_origin(annotation) is dict else None
        if _is_model(annotation):
            yield from setting_rows(annotation, f"{full_name}__")
        elif _is_model(named):
            yield from setting_rows(named, f"{full_name}__<NAME>__")
        else:
            yield SettingRow(full_name, _default(field), _meaning(field), annotation is SecretStr)


def all_setting_rows(vendors: Iterable[Vendor]) -> Iterator[SettingRow]:
    """Yield the shared settings, then each vendor's section."""
    yield from setting_rows(Settings)
    for vendor in vendors:
        yield from _section_rows(vendor)


def settings_page(vendors: Iterable[Vendor]) -> str:
    """Return the Markdown page of all settings, ending in a newline."""
    parts = [_HEAD, "## For all", "", *_table(setting_rows(Settings))]
    for vendor in vendors:
        parts += ["", f"## {vendor.title}", "", *_table(_section_rows(vendor))]
    return "\n".join(parts) + "\n"


def _section_rows(vendor: Vendor) -> Iterator[SettingRow]:
    return setting_rows(vendor.settings, f"{PREFIX}{vendor.name}__")


def _table(rows: Iterator[SettingRow]) -> Iterator[str]:
    yield "| setting | default | meaning |"
    yield "|---|---|---|"
    for row in rows:
        secret = " **Secret.**" if row.is_secret else ""
        yield f"| `{row.name}` | {row.default} | {_escaped(row.meaning)}{secret} |"


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    if field.default_factory == Path.cwd:
        # What it is today says nothing about another machine.
        return "the working directory"
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value in (None, "") or isinstance(value, SecretStr):
        return "none"
    return f"`{value if isinstance(value, str | Path) else json.dumps(value)}`"


def _meaning(field: FieldInfo) -> str:
    """Return the description; a choice names what it has not named itself."""
    choices = _choices(field.annotation)
    text = field.description or ""
    if len(choices) < 2 or all(f"`{choice}`" in text for choice in choices):
        return text
    return f"{text} One of {', '.join(f'`{choice}`' for choice in choices)}."


def _choices(annotation: Any) -> list[str]:
    """Return the words of a Literal, also of one that may be left out."""
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    if get_origin(annotation) is dict:
        return []
    return [word for inner in get_args(annotation) for word in _choices(inner)]


def _escaped(text: str) -> str:
    """Return the text as one Markdown table cell."""
    return " ".join(text.split()).replace("|", "\\|")
