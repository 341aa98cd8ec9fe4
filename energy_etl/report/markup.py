"""HTML that cannot be broken by a name: every text is escaped unless it was made here.

`el` makes an element; a child or attribute that is no `Html` is a text, cleaned and escaped.
"""

import re
from collections.abc import Iterable
from html import escape
from typing import Final

LONGEST_NAME: Final = 80
# Control characters, lone surrogates and non-characters have no place in HTML; the bidirectional
# overrides would turn the rest of a line around.
_UNFIT: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufdd0-\ufdef\ufffe\uffff]"
)
# No-break spaces stay: they keep a number with its unit.
_SPACE: Final = re.compile("[ \t\n\r\x0b\x0c\u0085\u2028\u2029]+")
_VOID: Final = frozenset({"br", "meta", "rect", "path", "line", "circle", "link", "use"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = Html | str | int | None
NOTHING: Final = Html("")


def clean(text: str, longest: int | None = LONGEST_NAME) -> str:
    """Return a text on one line without characters that HTML or a reader trips over.

    Args:
        text: anybody's.
        longest: cut there, with an ellipsis; None: whole.
    """
    plain = _fit(text).strip()
    return plain if longest is None or len(plain) <= longest else plain[: longest - 1] + "…"


def el(tag: str, *children: Child, **attributes: str | float | int | None) -> Html:
    """Return an element.

    Args:
        tag: its name.
        children: HTML, or texts (cleaned and escaped); None is left out.
        attributes: `class_` is class, `data_label` is data-label; None is left out.
    """
    told = "".join(
        f' {_attribute(name)}="{escape(clean(str(value), None))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID and not children:
        return Html(f"<{tag}{told}>" if tag in ("br", "meta", "link") else f"<{tag}{told}/>")
    return Html(f"<{tag}{told}>{join(children)}</{tag}>")


def join(children: Iterable[Child]) -> Html:
    """Return HTML and escaped texts one behind the other."""
    return Html(
        "".join(
            child if isinstance(child, Html) else escape(_fit(str(child)))
            for child in children
            if child is not None
        )
    )


def name(text: str, longest: int | None = LONGEST_NAME) -> Html:
    """Return somebody's name, isolated so that its direction of writing stays its own."""
    return el("bdi", clean(text, longest))


def prose(text: str, longest: int | None = None) -> Html:
    """Return a sentence in which `backticks` mark what is typed."""
    parts = clean(text, longest).split("`")
    # An odd number of them is no markup.
    if len(parts) % 2 == 0:
        return join(["`".join(parts)])
    return join(el("code", part) if n % 2 else part for n, part in enumerate(parts))


def _fit(text: str) -> str:
    return _SPACE.sub(" ", _UNFIT.sub("\ufffd", text))


def _attribute(python_name: str) -> str:
    # Of SVG only viewBox and preserveAspectRatio are written in two cases; HTML parsers mend both.
    return python_name.rstrip("_").replace("_", "-")
