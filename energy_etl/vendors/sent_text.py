"""Texts and ids as several vendors send them: a number where a text is documented is that text.

What else differs between vendors is in each one's `wire.py`.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def as_text(given: Any) -> Any:
    """Return numbers as text: what is made of digits alone comes as a number from some makers."""
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else given


Text = Annotated[str | None, BeforeValidator(as_text)]
Id = Annotated[str, BeforeValidator(as_text), Field(min_length=1)]
