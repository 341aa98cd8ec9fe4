"""Values as they are typed and told: instants and paths. What is typed wrong is a usage error."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from energy_etl.errors import UsageError


def typed_instant(text: str, option: str) -> datetime:
    """Return the UTC instant that an option gives.

    Raises:
        UsageError: it is none, or has no offset.
    """
    # The first and the last instants of the calendar are none in UTC.
    with contextlib.suppress(ValueError, OverflowError):
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    raise UsageError(f"{option} {text} is no instant: write it as 2026-10-28T09:00:00+01:00.")


def existing_path(path: Path | None) -> Path | None:
    """Return a path that was typed, for the `callback` of an option or argument.

    Raises:
        UsageError: there is nothing of that name.
    """
    if path is not None and not path.exists():
        raise UsageError(f"There is no {path}: correct its name.")
    return path


def iso_text(at: datetime | None) -> str | None:
    """Return an instant as JSON tells it, in UTC and to the second; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
