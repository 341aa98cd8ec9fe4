"""Whether a file names a meter or a person, however large it is; nothing is changed here.

A SQLite file is read row by row: in its bytes cells stand side by side without anything between
them, and a long one in pieces. Any other file is looked at around each place where an id stands.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from energy_etl.rest.removal import Names, forms_of
from energy_etl.state import rows_as_text

_SQLITE: Final = b"SQLite format 3\0"
# Bytes on both sides of an id: what tells whether it is a word of its own.
_AROUND: Final = 16


def tells_file(path: Path, names: Names) -> bool:
    """True when a file names a thing (a SQLite file: in one row); False for one that is gone."""
    try:
        with path.open("rb") as file:
            begins = file.read(len(_SQLITE))
            if not begins:
                return False
            if begins != _SQLITE:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return _tells_bytes(content, names)
    except FileNotFoundError:
        return False
    return any(names.tell(row) for row in rows_as_text(path))


def _tells_bytes(content: mmap.mmap, names: Names) -> bool:
    found = frozenset(
        part
        for part in names.parts
        if any(part in names.found_in(text) for text in _places(content, part))
    )
    return names.are_met_by(found)


def _places(content: mmap.mmap, part: str) -> Iterator[str]:
    for form in forms_of(part):
        wanted = form.encode()
        at = content.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            yield content[max(at - _AROUND, 0) : end + _AROUND].decode("utf-8", "replace")
            at = content.find(wanted, end)
