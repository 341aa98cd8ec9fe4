"""Taking secrets and known personal fields out of what is stored, logged or shown.

Two nets: values that are known to be secret (the credentials of this run) are removed wherever they
stand, and JSON members whose NAME says secret or personal lose their value, whoever sent them.
"""

import html
import json
import re
import threading
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, quote_plus

REDACTED: Final = "[redacted]"
_NAMES: Final = (
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "api_secret",
    "api_key",
    "secret",
    "secret_key",
    "private_key",
    "password",
    "passwd",
    "authorization",
    "email",
    "e_mail",
    "email_address",
    "contact_email",
    "contact_name",
    "billing_email",
    "phone",
    "phone_number",
    "contact_phone",
    "mobile",
    "fax",
    "address",
    "billing_address",
    "shipping_address",
    "street",
    "street_address",
    "address_line1",
    "address_line2",
    "postal_code",
    "zip_code",
    "zip",
    "first_name",
    "last_name",
    "full_name",
    "birth_date",
    "date_of_birth",
)
_FOLDED: Final = frozenset(name.replace("_", "") for name in _NAMES)
_FOLDED_LETTERS: Final = frozenset(re.sub(r"\d", "", name) for name in _FOLDED)
# All bytes but those of names (without their digits), their quotes and the end of an object.
_NOT_OF_NAMES: Final = bytes(
    byte for byte in range(256) if not ((chr(byte).isalpha() and byte < 128) or byte in b'"_-}')
)
# An escape could hide a name: {"\\u0065mail": ...}.
_ESCAPE: Final = b"\\u00"
_IN_TEXT: Final = re.compile(
    r"(?i)\b(" + "|".join(name.replace("_", "[_-]?") for name in _NAMES) + r")(\"?\s*[=:]\s*)"
    # In quotes all that is in them (an answer that was cut short may not close them), else a word.
    r"(?:(\")(?:[^\"\\]|\\[\s\S])+|(?:(?:basic|bearer)\s+)?[^\s\"&,;<>}]+)"
)


class Redactor:
    """Removes one run's secrets and every field that is secret or personal by its name."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Know the secret values; those below four characters would tear holes into any text."""
        known = {form for secret in secrets if len(secret) >= 4 for form in _forms(secret)}
        self._secrets = sorted(known, key=len, reverse=True)
        self._secret_bytes = [secret.encode() for secret in self._secrets]
        # Per thread: each fetches the pages of one thing after the other.
        self._harmless = threading.local()

    def text(self, text: str) -> str:
        """Return a text (URL, error, excerpt of an answer) without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return _IN_TEXT.sub(rf"\1\2\3{REDACTED}", text)

    def body(self, body: bytes) -> bytes:
        """Return an answer without secrets; byte for byte the same when there is nothing to hide.

        An answer that is JSON but for NaN stays so; anything else is treated as text.
        """
        for secret in self._secret_bytes:
            if secret in body:
                body = body.replace(secret, REDACTED.encode())
        if body.lstrip()[:1] not in (b"{", b"["):
            # A page of text, such as a gateway's error: names stand there without quotes too.
            text = body.decode("utf-8", "replace")
            redacted = self.text(text)
            return body if redacted == text else redacted.encode()
        # The lone backslash is looked for first: one byte is found ten times as fast as four.
        is_escaped = b"\\" in body and _ESCAPE in body
        if not is_escaped and not self._may_hold_a_name(body):
            return body
        try:
            changed, found = _without(json.loads(body.decode("utf-8", "replace")))
            return json.dumps(changed, separators=(",", ":")).encode() if found else body
        except (ValueError, RecursionError):
            return self.text(body.decode("utf-8", "replace")).encode()

    def _may_hold_a_name(self, body: bytes) -> bool:
        """Return False when no member of a JSON text can have one of the names.

        It need not be parsed: without its digits a page of readings is the same short text over and
        over, so only the distinct ones are looked at (a fifth of the CPU time of regular
        expressions or of Aho-Corasick), and none when the whole is that of the page before.
        """
        text = body.translate(None, _NOT_OF_NAMES)
        if text == getattr(self._harmless, "text", None):
            return False
        words = {word for shape in set(text.split(b"}")) for word in shape.split(b'"')}
        may_hold = not _FOLDED_LETTERS.isdisjoint(_fold(word.decode("ascii")) for word in words)
        if not may_hold:
            self._harmless.text = text
        return may_hold


def _forms(secret: str) -> set[str]:
    """Return a secret as it is and as JSON, HTML, a URL or a form that tells it would write it.

    Whole forms and no pattern: one with several ways to spell each character took minutes over a
    token that stood there but for its end.
    """
    in_json = json.dumps(secret)[1:-1]
    in_url = {way(secret, safe=safe) for way in (quote, quote_plus) for safe in ("", "/")}
    in_lower_url = {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), each) for each in in_url}
    forms = {secret, in_json, in_json.replace("/", "\\/"), html.escape(secret)}
    return forms | in_url | in_lower_url


def _without(node: Any) -> tuple[Any, bool]:
    if isinstance(node, dict):
        found = False
        members: dict[str, Any] = {}
        for name, value in node.items():
            if value is not None and _fold(name) in _FOLDED:
                members[name], found = REDACTED, True
            else:
                members[name], inner = _without(value)
                found = found or inner
        return members, found
    if isinstance(node, list):
        items = [_without(item) for item in node]
        return [item for item, _ in items], any(inner for _, inner in items)
    return node, False


def _fold(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
