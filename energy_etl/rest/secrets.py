"""What of a project is secret: the values that nothing which leaves this machine may hold."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr

from energy_etl.settings import Settings

_TOKENS = ("access_token", "refresh_token")
# No SecretStr, for people look it up; whoever has it and sees a signature still needs it unseen.
_SECRET_TEXTS = ("api_key",)


def secret_values(settings: BaseModel) -> list[str]:
    """Return every secret of the settings, those of the vendors' sections included."""
    return sorted(set(filter(None, _secrets(settings))))


def token_values(settings: Settings) -> list[str]:
    """Return every token that is stored; a file that cannot be read holds none that could leave."""
    found: set[str] = set()
    for path in settings.token_dir.glob("*.json"):
        try:
            stored = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(stored, dict):
            found.update(str(stored[name]) for name in _TOKENS if stored.get(name))
    return sorted(found)


def basic_values(settings: BaseModel) -> list[str]:
    """Return what Basic makes of each user name and each secret beside it, without the padding."""
    found: set[str] = set()
    for model in _models(settings):
        members = [getattr(model, name) for name in type(model).model_fields]
        names = [each for each in members if isinstance(each, str) and each]
        secrets = [each.get_secret_value() for each in members if isinstance(each, SecretStr)]
        pairs = [f"{name}:{secret}" for name in names for secret in secrets if secret]
        plain = [each.encode() for each in (*pairs, *secrets)]
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.update(encode(each).decode().rstrip("=") for each in plain)
    return sorted(filter(None, found))


def _secrets(value: Any) -> Iterator[str]:
    for model in _models(value):
        for name in type(model).model_fields:
            member = getattr(model, name)
            if isinstance(member, SecretStr):
                yield member.get_secret_value()
            elif name in _SECRET_TEXTS and isinstance(member, str):
                yield member
            elif isinstance(member, str) and "://" in member:
                # No address may have one; the clients refuse it, and it must not be shown either.
                yield member.partition("://")[2].rpartition("@")[0].rpartition(":")[2]


def _models(value: Any) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name))
    elif isinstance(value, dict):
        for each in value.values():
            yield from _models(each)
