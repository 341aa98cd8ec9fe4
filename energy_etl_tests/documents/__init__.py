"""What the vendors' documents say, row by row, and where each statement is kept.

One module per document; `energy_etl_tests/test_documents.py` resolves every row. The documents
themselves are not in the repository: a row holds no more of one than the words that matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_QUOTE_WORDS = 20


@dataclass(frozen=True)
class Row:
    """One endpoint, field, rule or error.

    Attributes:
        quote: the document's own words.
        where: import path of what implements it, `package.module:Class.method`.
        test: pytest id of the test that shows it, `energy_etl_tests/....py::test_...`.
        left_out: why it is not implemented (then `where` and `test` are empty).
        page: another page of the vendor that says it, when the document does not; such a quote is
            not looked up.
    """

    quote: str
    where: str = ""
    test: str = ""
    left_out: str = ""
    page: str = ""


@dataclass(frozen=True)
class Document:
    """One vendor's document.

    Attributes:
        vendor: the vendor's folder.
        title: words that stand in its text and in no other document's.
        rows: its statements, in the order of the document.
        clients: import paths of the classes whose public coroutines and `fetch_` methods are the
            endpoints: each of them is the `where` of some row.
    """

    vendor: str
    title: str
    rows: tuple[Row, ...]
    clients: tuple[str, ...]


def rows_of(quotes: Iterable[str], where: str, test: str) -> list[Row]:
    """Return a row per quote; one place keeps all of them and one test shows it."""
    return [Row(quote, where, test) for quote in quotes]


def left_out(reason: str, *quotes: str) -> list[Row]:
    """Return a row per quote that is left out for the same reason."""
    return [Row(quote, left_out=reason) for quote in quotes]
