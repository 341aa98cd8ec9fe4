"""Licences, who can reach what at Wattsense, and every finding with its next step."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from energy_etl.report import wording
from energy_etl.report.grid import Head, badge, fold, missing, section, table
from energy_etl.report.markup import Child, Html, el, join, name, prose
from energy_etl.report.ranking import MANY

_PER_KIND: Final = 6
_ROWS_SHOWN: Final = 80
_POWERS: Final = ("grid", "solar", "battery", "ev")
_BAD_LICENCES: Final = ("ended", "ending", "unclaimed")
_MIND: Final = {
    "manages": "manages users",
    "old": "old key",
    "orphan": "no owner",
    "basic": "password",
}
_LONGEST_MESSAGE: Final = 600


def licences(frame: pl.DataFrame) -> Html:
    """Return SmartgridOne's licences, the first to end first."""
    title = "Licences"
    if frame.is_empty():
        return section(
            "licences",
            title,
            missing(
                "No licence is known.",
                "Without SmartgridOne there is none; else run its extraction "
                "(`extract_smartgridone`).",
            ),
        )
    heads = (
        Head("Licence"),
        Head("Controller"),
        Head("Is"),
        Head("Ends", "number"),
        Head("Days left", "number"),
        Head("Licensed / installed", "text"),
        Head("Enough?"),
    )
    found = list(frame.iter_rows(named=True))
    n_first = len(found)
    if len(found) > MANY:
        found.sort(key=lambda row: not _is_bad(row))
        n_first = min(MANY, sum(map(_is_bad, found)))
    rows = [_licence(row) for row in found[:_ROWS_SHOWN]]
    return section(
        "licences",
        title,
        table("Licences", heads, rows[:n_first]) if n_first else None,
        fold(
            f"The other {wording.counted(len(rows) - n_first, 'licence', 'licences')}",
            table("Other licences", heads, rows[n_first:]),
        )
        if len(rows) > n_first
        else None,
        lead=_of("licences", frame.height, "Those of SmartgridOne; a key is shown by its end."),
    )


def access(frame: pl.DataFrame) -> Html:
    """Return who reaches what, one line per holder and way in."""
    title = "Access at Wattsense"
    if frame.is_empty():
        return section(
            "access",
            title,
            missing(
                "No access is known.",
                "Without Wattsense there is none; a service account may not read users, keys and "
                "roles: use a user's key to see them.",
            ),
        )
    ways: dict[tuple[str, ...], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in frame.iter_rows(named=True):
        by = row["api_key_name"] or "unnamed key"
        way = "user name and password" if row["way"] == "basic" else f"key {by}"
        key = (row["holder_kind"].replace("_", " "), row["holder_name"] or "unnamed", way)
        place = row["organization_name"] or "all"
        role = row["role_name"] or "no role"
        ways[key]["roles"].append(f"{role} in {place}")
        ways[key]["manages"].append(
            row["has_user_management"] or row["has_service_account_management"]
        )
        ways[key]["old"].append(row["is_migrated_key"])
        ways[key]["orphan"].append(row["holder_kind"] == "api_key")
        # A service account's password goes along with each call; a person's is how one logs in.
        ways[key]["basic"].append(row["holder_kind"] == "service_account" and row["way"] == "basic")
    heads = (Head("Holder"), Head("Kind"), Head("Way in"), Head("Roles"), Head("Mind"))
    rows = [
        (
            name(holder),
            kind,
            name(way),
            name(", ".join(dict.fromkeys(found["roles"])), 200),
            join(badge(_MIND[what], "bad") for what in _MIND if any(found[what])) or "nothing",
        )
        for (kind, holder, way), found in sorted(ways.items(), key=lambda item: item[0])
    ]
    return section(
        "access",
        title,
        table("Ways in", heads, rows[:_ROWS_SHOWN]),
        lead=_of("ways in", len(rows), "Who or what gets in, how, and what it may do there."),
    )


def findings(frame: pl.DataFrame, *, is_computed: bool) -> Html:
    """Return the findings by kind, each kind with its next step."""
    title = "Findings"
    if not is_computed:
        told = missing("Nothing was looked at yet.", "Findings come with the first computation.")
        return section("findings", title, told)
    if frame.is_empty():
        return section(
            "findings",
            title,
            el("p", badge("nothing was found", "good"), " as of the last computation."),
        )
    by_kind: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in frame.iter_rows(named=True):
        by_kind[row["kind"]].append(row)
    blocks = [
        _kind(kind, rows)
        for kind, rows in sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return section(
        "findings",
        title,
        *blocks,
        lead=f"What somebody should look at, and what to do; all of it is in mart.finding. "
        f"Of a kind at most {_PER_KIND} are shown.",
    )


def _is_bad(row: dict[str, Any]) -> bool:
    return row["licence_status"] in _BAD_LICENCES or row["has_capacity"] is False


def _licence(row: dict[str, Any]) -> list[Child]:
    status = row["licence_status"]
    powers = [
        f"{what} {_kw(allowed, 'no limit')} / {_kw(installed, 'unknown')}"
        for what in _POWERS
        for allowed, installed in [(row[f"{what}_kw"], row[f"installed_{what}_kw"])]
        if allowed is not None or installed is not None
    ]
    ends: Child = wording.none("not activated")
    left: Child = wording.none("not activated")
    if row["ends_on"] is not None:
        ends = wording.day(row["ends_on"])
        n_left = row["n_days_left"]
        left = f"{n_left:,}" if n_left >= 0 else f"{-n_left:,} days ago"
    enough: Child = wording.none("not comparable")
    if row["has_capacity"] is not None:
        enough = badge("yes", "good") if row["has_capacity"] else badge("too small", "bad")
    return [
        join(
            [
                "…",
                name(row["licence_key_end"] or "?"),
                el("small", row["licence_type"] or "", class_="id"),
            ]
        ),
        name(row["controller_name"]) if row["controller_name"] else wording.none("not claimed"),
        badge(status, "bad" if status in _BAD_LICENCES else "plain"),
        ends,
        left,
        "; ".join(powers) or wording.none("not told"),
        enough,
    ]


def _kw(power: float | None, unknown: str) -> str:
    return unknown if power is None else wording.number(power, "kW", 1 if power % 1 else 0)


def _kind(kind: str, rows: Sequence[dict[str, Any]]) -> Html:
    shown = rows[:_PER_KIND]
    steps = list(dict.fromkeys(row["next_step"] for row in shown))
    is_one_step = len(steps) == 1
    items = [
        el(
            "li",
            el("b", name(row["place"], 120)),
            el("bdi", prose(row["message"], _LONGEST_MESSAGE)),
            None if is_one_step else _step(row["next_step"]),
        )
        for row in shown
    ]
    left = len(rows) - len(shown)
    return el(
        "div",
        el("h3", kind.replace("_", " "), " ", el("small", f"{len(rows):,}", class_="id")),
        _step(steps[0]) if is_one_step else None,
        el("ul", *items),
        el("p", f"and {left:,} more of this kind.", class_="note") if left else None,
        class_="finding",
    )


def _step(text: str) -> Html:
    return el(
        "p",
        el("span", "Next: ", class_="next"),
        el("bdi", prose(text, _LONGEST_MESSAGE)),
        class_="step",
    )


def _of(what: str, n: int, meaning: str) -> str:
    cut = f"The first {_ROWS_SHOWN} of {n:,} {what}. " if n > _ROWS_SHOWN else ""
    return f"{cut}{meaning}"
