"""Rows of answers that fail, and their way into quarantine: the same for every vendor; pure.

An answer is read in three tiers. Typed and whole costs no Python object per field beyond that. When
it does not decode, it is read row by row; when it is not even JSON because of NaN or a lone
surrogate, `read_tolerantly` finds the rows. What a page looks like, and what is wrong with a row,
differs between vendors: that is in their `pages.py` and `rows.py`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec
import polars as pl
from pydantic import BaseModel, ValidationError

from energy_etl.rest import Answer, RawCall
from energy_etl.tables.raw import QUARANTINE

NO_CONTENT: Final = 204
DECODE_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MOST_TEXT: Final = 2000

Sent = TypeVar("Sent", bound=BaseModel)


@dataclass(frozen=True)
class BadRow:
    """One row of a page that failed.

    Attributes:
        page: index into the calls of the fetch.
        row_number: its place in the page, from 0.
        reasons: the rules it broke, comma-separated.
        raw_text: as received.
    """

    page: int
    row_number: int
    reasons: str
    raw_text: str


def read_tolerantly(body: bytes) -> Any:
    """Return JSON that may hold NaN, infinities and lone surrogates; None when it is no JSON."""
    try:
        return json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def as_bytes(row: Any) -> bytes:
    """Return a row of `read_tolerantly` as a strict decoder may read it.

    NaN stays NaN, so the decoder refuses the row and quarantine shows what came. A lone surrogate
    becomes a question mark: it can stand in a text, never in the database.
    """
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")


def fault_of(error: Exception, text: bytes) -> str:
    """Return the reason for which a decoder refused a row."""
    if any(token in text for token in (b"NaN", b"Infinity")):
        return "not_finite"
    if isinstance(error, msgspec.ValidationError):
        _, at, place = str(error).rpartition(" - at `$")
        return f"type:{place.rstrip('`').lstrip('.')}" if at else "type"
    return "not_json"


def split_by_rules(
    frame: pl.DataFrame, rules: Mapping[str, pl.Expr]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into those that break no rule and the others (page, row_number, reasons).

    Args:
        frame: has `page` and `row_number`.
        rules: name -> true where the rule is broken; null counts as not broken.
    """
    broken = {name: rule.fill_null(value=False) for name, rule in rules.items()}
    is_bad = pl.any_horizontal(*broken.values())
    failed = frame.filter(is_bad).select(
        "page",
        "row_number",
        reasons=pl.concat_str(
            [pl.when(rule).then(pl.lit(name)) for name, rule in broken.items()],
            separator=",",
            ignore_nulls=True,
        ),
    )
    return frame.filter(is_bad.not_()), failed


def quarantine_of(bad: Sequence[BadRow], calls: Sequence[RawCall]) -> pl.DataFrame:
    """Return the rows of `raw.quarantine`, sorted."""
    return pl.DataFrame(
        [
            {
                "request_id": calls[row.page].request_id,
                "vendor": calls[row.page].vendor,
                "endpoint": calls[row.page].endpoint,
                "row_number": row.row_number,
                "reasons": row.reasons,
                "raw_text": row.raw_text[:_MOST_TEXT],
            }
            for row in bad
        ],
        schema=QUARANTINE.polars_schema,
    ).sort("request_id", "row_number")


@dataclass
class Objects:
    """The small objects of some calls.

    Attributes:
        good: (index of the call, row number, object) in the order received.
        bad: by page, the index of the call.
        unread: indexes of the calls in which no list was found.
    """

    good: list[tuple[int, int, Any]] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    unread: list[int] = field(default_factory=list)


def read_objects(
    calls: Sequence[RawCall], model: type[BaseModel], items_of: Callable[[Any], Any]
) -> Objects:
    """Read lists of small objects; one that does not fit its model goes to quarantine.

    Args:
        calls: one list each; 204 is an empty one.
        model: of one object.
        items_of: finds the list in a decoded answer; anything but a list counts as not found.
    """
    objects = Objects()
    for index, call in enumerate(calls):
        if call.status == NO_CONTENT:
            continue
        try:
            items = items_of(msgspec.json.decode(call.body))
        except DECODE_FAULTS:
            # Without lone surrogates, which no table can hold.
            items = items_of(read_tolerantly(as_bytes(read_tolerantly(call.body))))
        if not isinstance(items, list):
            objects.unread.append(index)
            continue
        for number, item in enumerate(items):
            try:
                objects.good.append((index, number, model.model_validate(item)))
            except ValidationError as error:
                text = as_bytes(item).decode()
                objects.bad.append(BadRow(index, number, model_faults(error), text))
    return objects


def ids_listed(answers: Iterable[Answer], item: type, id_of: Callable[[Any], str]) -> list[str]:
    """Return the ids that further calls need, each once, in the order received.

    A row that cannot be read is left out here and becomes a problem in the vendor's `rows.py`.

    Args:
        answers: one list each.
        item: the msgspec type of one row, as far as its id.
        id_of: the id of such a row; an empty one is left out.
    """
    ids: list[str] = []
    for answer in answers:
        try:
            rows = msgspec.json.decode(answer.body or b"[]", type=list[msgspec.Raw])
        except DECODE_FAULTS:
            continue
        for row in rows:
            try:
                ids.append(id_of(msgspec.json.decode(row, type=item)))
            except DECODE_FAULTS:
                continue
    return [id_ for id_ in dict.fromkeys(ids) if id_]


def model_faults(error: ValidationError) -> str:
    """Return the places where an object does not fit its model, `type:info.model`."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return ",".join(sorted({f"type:{'.'.join(str(part) for part in f['loc'])}" for f in faults}))
