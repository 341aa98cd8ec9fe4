"""Taking one thing (a meter, a person) out of stored answers, so that the rest can still be used.

A thing is told by names: sets of ids that stand together. Most are one id; a property of a box
that serves others too is the pair of both, which may be split between the URL and the answer.
"""

import json
import re
from collections.abc import Iterable
from functools import cache, cached_property
from html import escape
from typing import Any, Final
from urllib.parse import quote, quote_plus

# What ids are made of; a full stop ends a sentence as well, and what stands before an id may be a
# sign as URLs (%2F) or JSON (\n, \u00fc) write it.
_BEFORE: Final = r"(?:^|[^A-Za-z0-9_.-]|%[0-9A-Fa-f]{2}|\\(?:[bfnrt]|u[0-9A-Fa-f]{4}))"
_AFTER: Final = r"(?:$|[^A-Za-z0-9_.-]|\.(?:$|[^A-Za-z0-9_-]))"
_GONE: Final = object()


class Names:
    """What one thing is called: any of some sets of ids, all of a set together."""

    def __init__(self, names: Iterable[frozenset[str]]) -> None:
        """Keep them, without those that hold another one whole."""
        given = {name for name in names if name}
        self.sets = sorted(
            (name for name in given if not any(other < name for other in given)), key=sorted
        )

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Every id that stands in one of the sets."""
        return tuple(sorted({part for name in self.sets for part in name}))

    @cached_property
    def single(self) -> tuple[str, ...]:
        """The ids that tell the thing alone."""
        return tuple(sorted(part for name in self.sets if len(name) == 1 for part in name))

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {part: re.compile(pattern_of(part)) for part in self.parts}

    def found_in(self, text: str) -> frozenset[str]:
        """Return the ids that stand in a text as words of their own."""
        return frozenset(
            part
            for part, pattern in self._patterns.items()
            if any(form in text for form in forms_of(part)) and pattern.search(text)
        )

    def are_met_by(self, parts: frozenset[str]) -> bool:
        """True when these ids tell the thing."""
        return any(name <= parts for name in self.sets)

    def tell(self, text: str) -> bool:
        """True when a text names the thing."""
        return self.are_met_by(self.found_in(text))

    def replaced_in(self, text: str) -> str:
        """Return a text with `gone` in place of the ids that tell the thing in it."""
        found = self.found_in(text)
        met = sorted({part for name in self.sets if name <= found for part in name})
        for part in met:
            text = re.sub(rf"({_BEFORE})(?:{_any_form(part)})(?={_AFTER})", r"\1gone", text)
        return text

    def may_be_in(self, body: bytes) -> bool:
        """False when no id stands in it, in whichever way it is written."""
        return any(form in body for form in self._forms)

    @cached_property
    def _forms(self) -> tuple[bytes, ...]:
        return tuple({form.encode() for part in self.parts for form in forms_of(part)})


@cache
def forms_of(part: str) -> tuple[str, ...]:
    """Return an id as itself, and as JSON, JSON in JSON, URLs and HTML write it."""
    escaped = json.dumps(part)[1:-1]
    return tuple(
        sorted(
            {
                part,
                escaped,
                json.dumps(part, ensure_ascii=False)[1:-1],
                json.dumps(escaped)[1:-1],
                quote(part, safe=""),
                quote(part),
                quote_plus(part),
                escape(part),
            }
        )
    )


def pattern_of(*parts: str) -> str:
    """Return the regular expression (also of DuckDB) of any of some ids as a word of its own."""
    return f"{_BEFORE}(?:{_any_form(*parts)}){_AFTER}"


def _any_form(*parts: str) -> str:
    return "|".join(re.escape(form) for part in parts for form in forms_of(part))


def without(names: Names, body: bytes, context: str = "") -> bytes | None:
    """Return an answer without what tells the thing; None: all of it does.

    Of JSON the smallest object, member or item goes that names it; of any other text the lines.

    Args:
        names: of the thing.
        body: the answer; the same bytes come back when it does not name the thing.
        context: what was asked for (URL and parameters).
    """
    if not names.may_be_in(body):
        return body
    known = names.found_in(context)
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if not names.are_met_by(known | names.found_in(line))]
        return body if len(kept) == len(lines) else "".join(kept).encode() or None
    changed = _without(names, content, known)
    if changed is _GONE:
        return None
    return body if changed == content else json.dumps(changed, separators=(",", ":")).encode()


def _without(names: Names, node: Any, known: frozenset[str]) -> Any:
    if isinstance(node, dict):
        own = "\n".join(_text(value) for value in node.values())
        found = known | names.found_in(own)
        if found != known and names.are_met_by(found):
            return _GONE
        kept = {}
        for name, value in node.items():
            inner = found | names.found_in(name)
            if inner != found and names.are_met_by(inner):
                continue
            changed = _without(names, value, inner)
            if changed is not _GONE:
                kept[name] = changed
        return kept
    if isinstance(node, list):
        items = (_without(names, item, known) for item in node)
        return [item for item in items if item is not _GONE]
    found = known | names.found_in(_text(node))
    return _GONE if found != known and names.are_met_by(found) else node


def _text(value: Any) -> str:
    """Return what may be an id; a number with a fraction is a reading, whatever digits it has."""
    return "" if isinstance(value, dict | list | float) else str(value)
