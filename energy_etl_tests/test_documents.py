"""Every statement of the vendors' documents is kept somewhere, shown by a test, or left out.

The rows are in `energy_etl_tests/documents/`. That each quote stands in its document, and that no
statement of a document is without a row, is checked where the documents are at hand: the folder
that ENERGY_ETL_VENDOR_DOCUMENTS names.
"""

import ast
import functools
import importlib
import inspect
import os
import re
from pathlib import Path

import pytest

from energy_etl.vendors import discover_vendors
from energy_etl_tests.documents import LONGEST_QUOTE_WORDS, Document, Row
from energy_etl_tests.documents.digiwatt import DOCUMENT as DIGIWATT
from energy_etl_tests.documents.smartgridone import DOCUMENT as SMARTGRIDONE
from energy_etl_tests.documents.wattics import DOCUMENT as WATTICS
from energy_etl_tests.documents.wattsense import DOCUMENT as WATTSENSE
from energy_etl_tests.documents.wiser import DOCUMENT as WISER

ROOT = Path(__file__).parents[1]
DOCUMENTS = (DIGIWATT, SMARTGRIDONE, WATTICS, WATTSENSE, WISER)
ROWS = [(document, row) for document in DOCUMENTS for row in document.rows]
KEPT = [(document, row) for document, row in ROWS if not row.left_out]
# A line that states something: an item of a list that is more than a fold of a sample, or a text
# that ends as a sentence does. What is cut short ("...") is a sample.
STATEMENT = re.compile(r"^(• (?!\{$)\S.*|[A-Z].*(?<!\.\.)[.:])$")
FIELD = re.compile(r'"(\w+)":')
# Headings of the documents that end like a statement.
HEADINGS = {"Authorizations:", "Please note that:"}


def row_id(document_and_row: tuple[Document, Row]) -> str:
    document, row = document_and_row
    return f"{document.vendor}: {row.quote[:40]}"


def resolve(path: str) -> object:
    """Return what an import path names; a field of a model is the model's description of it."""
    module, colon, names = path.partition(":")
    assert colon, f"{path} is not module:name"
    found: object = importlib.import_module(module)
    for name in names.split("."):
        fields = getattr(found, "model_fields", {})
        found = fields[name] if name in fields else getattr(found, name)
    return found


@functools.cache
def names_of_tests(file: str) -> frozenset[str]:
    """Return the names of the test functions of a file, read from its syntax tree."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def squeezed(text: str) -> str:
    """Return the text with each stretch of blanks made one."""
    return " ".join(text.split())


@functools.cache
def document_text(title: str) -> str:
    """Return the text of the document with this title, or skip."""
    folder = os.environ.get("ENERGY_ETL_VENDOR_DOCUMENTS")
    if not folder:
        pytest.skip("ENERGY_ETL_VENDOR_DOCUMENTS names no folder with the vendors' documents")
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob("*.txt"))]
    found = [text for text in texts if title in squeezed(text)]
    assert len(found) == 1, f"{len(found)} of {len(texts)} documents in {folder} hold {title!r}"
    return found[0]


def test_vendors_with_a_client_have_a_document() -> None:
    assert sorted(document.vendor for document in DOCUMENTS) == sorted(discover_vendors())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.vendor)
def test_rows_are_complete_short_and_told_once(document: Document) -> None:
    for row in document.rows:
        assert bool(row.where) == bool(row.test) == (not row.left_out), row
        assert not row.left_out or row.left_out.endswith("."), row
        assert 0 < len(row.quote.split()) <= LONGEST_QUOTE_WORDS, row
        assert row.quote == squeezed(row.quote), row
    quotes = [row.quote for row in document.rows]
    assert len(quotes) == len(set(quotes))


@pytest.mark.parametrize("document_and_row", KEPT, ids=row_id)
def test_row_names_what_keeps_it_and_a_test_that_exists(
    document_and_row: tuple[Document, Row],
) -> None:
    _, row = document_and_row
    assert resolve(row.where) is not None
    file, colons, name = row.test.partition("::")
    assert colons, f"{row.test} is no id of a test"
    assert name in names_of_tests(file), f"{file} has no test {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.vendor)
def test_each_endpoint_of_a_client_is_in_a_row(document: Document) -> None:
    kept = {row.where for row in document.rows}
    for client in document.clients:
        methods = [
            name
            for name, method in inspect.getmembers(resolve(client), inspect.isfunction)
            if name.startswith("fetch_")
            or (inspect.iscoroutinefunction(method) and not name.startswith("_"))
        ]
        assert methods
        missing = {f"{client}.{name}" for name in methods} - kept - COLLECTING
        assert not missing, f"no row of {document.vendor} names {sorted(missing)}"


# Methods that call others of the same client many times: no endpoint of their own.
COLLECTING = {
    "energy_etl.vendors.digiwatt.client:DigiwattClient.fetch_meters",
    "energy_etl.vendors.wattics.api_client:WatticsApiClient.fetch_listing",
    "energy_etl.vendors.wattics.api_client:WatticsApiClient.fetch_months",
    "energy_etl.vendors.wattics.api_client:WatticsApiClient.fetch_raw_windows",
    "energy_etl.vendors.wattsense.client:WattsenseClient.fetch_access",
    "energy_etl.vendors.wattsense.client:WattsenseClient.fetch_histories",
    "energy_etl.vendors.wattsense.client:WattsenseClient.fetch_inventory",
    "energy_etl.vendors.wiser.client:WiserClient.fetch_inventory",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.vendor)
def test_each_quote_stands_in_its_document(document: Document) -> None:
    text = squeezed(document_text(document.title))
    missing = [row.quote for row in document.rows if not row.page and row.quote not in text]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.vendor)
def test_no_statement_of_a_document_is_without_a_row(document: Document) -> None:
    text = document_text(document.title)
    quotes = [row.quote for row in document.rows if not row.page]
    lines = {squeezed(line) for line in text.splitlines()} - HEADINGS
    statements = sorted(line for line in lines if STATEMENT.match(line))
    # The shortest document is the page of one endpoint, nearly all of it a sample.
    assert len(statements) > 2
    assert not [line for line in statements if not any(quote in line for quote in quotes)]
    fields = set(FIELD.findall(text))
    quoted = {field for quote in quotes for field in FIELD.findall(quote)}
    assert fields <= quoted, f"fields without a row: {sorted(fields - quoted)}"


def test_statement_without_a_row_is_found() -> None:
    for line in ("• No header is expected", "Tokens end after an hour.", "The CSV consists of:"):
        assert STATEMENT.match(line)
    for line in ("• {", "},", "Responses", "Authorization: Bearer abc...", "}"):
        assert not STATEMENT.match(line)
