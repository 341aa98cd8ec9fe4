"""Tables that are read on a wall, a telephone and by a screen reader; sections, badges, notes.

On a narrow screen each row becomes a block of labelled lines: CSS takes the display of a table
away then, and with it what a screen reader makes of it, so the roles are written out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from energy_etl.report.markup import Child, Html, el, prose


@dataclass(frozen=True)
class Head:
    """A column: its label, and whether it holds numbers, a picture, or long text.

    A label that is not a text stands in the head alone, not beside each cell of a narrow screen.
    """

    label: Child
    kind: str = "text"


def table(
    caption: str, heads: Sequence[Head], rows: Iterable[Sequence[Child]], *, class_: str = ""
) -> Html:
    """Return a table whose first column names its rows.

    Args:
        caption: what a row is; read out, not shown where the heading says it.
        heads: the columns.
        rows: cells in their order; a text is escaped.
        class_: of the table.
    """
    head = el(
        "tr",
        *(
            el("th", each.label, scope="col", role="columnheader", class_=each.kind)
            for each in heads
        ),
        role="row",
    )
    body = [
        el(
            "tr",
            *(
                _cell(place, each, cell)
                for place, (each, cell) in enumerate(zip(heads, cells, strict=True))
            ),
            role="row",
        )
        for cells in rows
    ]
    return el(
        "table",
        el("caption", caption),
        el("thead", head, role="rowgroup"),
        el("tbody", *body, role="rowgroup"),
        role="table",
        class_=class_ or None,
    )


def section(section_id: str, title: str, *content: Child, lead: Child = None) -> Html:
    """Return a part of the page with its heading."""
    return el(
        "section",
        el("h2", title, id=f"{section_id}-h"),
        el("p", lead, class_="lead") if lead else None,
        *content,
        id=section_id,
        aria_labelledby=f"{section_id}-h",
    )


def fold(summary: Child, *content: Child, is_open: bool = False, class_: str | None = None) -> Html:
    """Return what a reader opens by its summary; a search and a link into it open it, too.

    Paper has what the reader opened, and what is of the class `on-paper` in any case: all charts
    of two dozen sites are thirty pages that nobody asked for.
    """
    opened = "" if is_open else None
    return el("details", el("summary", summary), *content, open=opened, class_=class_)


def badge(label: str, kind: str) -> Html:
    """Return a word with a frame; `kind` is good, bad or plain."""
    mark = {"good": "✓ ", "bad": "! "}.get(kind, "")
    return el("span", f"{mark}{label}", class_=f"badge {kind}")


def missing(what: str, next_step: str) -> Html:
    """Return a note on what is not there and what to do about it."""
    return el("p", el("strong", what), " ", prose(next_step), class_="missing")


def _cell(place: int, head: Head, cell: Child) -> Html:
    if place == 0:
        return el("th", cell, scope="row", role="rowheader", class_=head.kind)
    # A telephone shows the label beside the cell; a screen reader has it from the header.
    inside = el("div", cell)
    label = None if head.label is None or isinstance(head.label, Html) else head.label
    return el("td", inside, role="cell", class_=head.kind, data_label=label)
