"""What is being forgotten, written down until it is done.

The names of a person stand beside the id in rows that are the first to go: killed afterwards, the
same command would not know any more what to look for in the files that are left.
"""

import json
import os
from pathlib import Path
from typing import Any, Final

from energy_etl.defs.output import put_whole
from energy_etl.settings import Settings

NOTE: Final = ".forgetting.json"
_PRIVATE: Final = 0o600


def note_begun(settings: Settings, thing_id: str, parts: dict[str, Any]) -> None:
    """Write down what tells the thing, beside what is noted of others; on the disk when it returns.

    Args:
        settings: of the project.
        thing_id: what was typed.
        parts: lists of texts, and lists of them.

    Raises:
        OSError: it cannot be written, as on a full disk; nothing was deleted yet.
    """
    # Written aside by one that was killed: files that name a thing are looked for before the end.
    for leftover in settings.data_dir.glob(f".{NOTE}.*.part"):
        leftover.unlink()
    _write(settings, _read(settings) | {thing_id: parts})


def noted(settings: Settings, thing_id: str) -> dict[str, Any]:
    """Return what was written down of a thing when its forgetting began; empty: it did not."""
    return _read(settings).get(thing_id, {})


def unfinished(settings: Settings) -> tuple[str, ...]:
    """Return what was begun to be forgotten and is not done, as it was typed."""
    return tuple(_read(settings))


def note_done(settings: Settings, thing_id: str) -> None:
    """Take the thing out of the note: nothing of it is there any more."""
    left = {other: parts for other, parts in _read(settings).items() if other != thing_id}
    if left:
        _write(settings, left)
    else:
        _path(settings).unlink(missing_ok=True)


def _read(settings: Settings) -> dict[str, dict[str, Any]]:
    try:
        return json.loads(_path(settings).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _write(settings: Settings, noted_things: dict[str, dict[str, Any]]) -> None:
    with put_whole(_path(settings), mode=_PRIVATE) as file:
        file.write(json.dumps(noted_things, indent=1).encode())
        file.flush()
        os.fsync(file.fileno())


def _path(settings: Settings) -> Path:
    return settings.data_dir / NOTE
