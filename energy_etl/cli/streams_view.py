"""What `energy-etl streams list` shows: a table whose ids never break, to be copied."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as ScreenTable

_SHOWN: Final = (
    "stream_id",
    "state",
    "register_id",
    "field",
    "content",
    "meter_id_wattics",
    "meter_name",
)
# Where the screen is narrow, the first one first: ids and the state are what the list is for.
_GIVEN_UP: Final = ("meter_name", "content", "field", "meter_id_wattics")
# Words of a name may go onto further lines; below this width it is a column of single letters.
_NARROWEST_NAME: Final = 14
_ROOM: Final = 10_000


def print_streams(rows: Sequence[dict[str, Any]]) -> None:
    """Print one line per mapping of `list_streams`; tell which columns found no room."""
    from rich.console import Console

    # A name at Wattics is a name: "[/]" in it is no markup of ours.
    console = Console(markup=False, emoji=False, highlight=False)
    names = list(_SHOWN)
    # What nothing stands in goes first: without a token Wattics tells no meters.
    left = sorted(_GIVEN_UP, key=lambda name: any(row[name] for row in rows))
    screen = _screen(rows, names)
    while (needed := _least_width(console, screen)) > console.width and left:
        names.remove(left.pop(0))
        screen = _screen(rows, names)
    # A terminal breaks the line of what is wider still, and copies it as one.
    console.width = max(console.width, needed)
    console.print(screen)
    without = [name for name in _SHOWN if name not in names]
    if without:
        print(f"Too wide for this screen: {', '.join(without)} (see --json).")


def _screen(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> "ScreenTable":
    from rich import box
    from rich.table import Table as ScreenTable

    screen = ScreenTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in names:
        is_name = name == "meter_name"
        screen.add_column(
            name,
            no_wrap=not is_name,
            overflow="fold",
            min_width=_NARROWEST_NAME if is_name else None,
        )
    for row in rows:
        screen.add_row(*(_cell(row, name) for name in names))
    return screen


def _least_width(console: "Console", screen: "ScreenTable") -> int:
    # Measured as if there were room: a table that has none is never told as wider than the screen.
    return console.measure(screen, options=console.options.update(max_width=_ROOM)).minimum


def _cell(row: dict[str, Any], name: str) -> str:
    own = str(row[name] or "-")
    if name not in ("register_id", "field", "content"):
        return own
    return "\n".join([own, *(each[name] for each in row["further_fields"])])
