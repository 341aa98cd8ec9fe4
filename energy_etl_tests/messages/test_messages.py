"""Every message has a row that says what to do next and what shows it; the page is of today."""

import ast
import functools
import re
from pathlib import Path

import pytest

from energy_etl_tests.messages import WALK, Row, read_rows
from energy_etl_tests.messages.page import PAGE, next_step_of, page, rows_by_site, steps_of
from energy_etl_tests.messages.sites import Site, find_sites
from energy_etl_tests.messages.walk import CASES

ROOT = Path(__file__).parents[2]
ROWS = read_rows()
# How a message may begin: a capital, something filled in or typed, a setting, a vendor.
BEGINNING = re.compile(
    r"[A-Z{`'-]|[a-z_]+\.[a-z{]|register_id_|(wattsense|wiser|smartgridone|digiwatt|wattics)\b"
)
NOT_PLAIN = re.compile(r"\b[A-Z]\w*(Error|Exception)\b|\bNone\b|Traceback|object at 0x|\bself\b")


@functools.cache
def met() -> list[tuple[Site, Row]]:
    """Return what people meet. Not at import: all workers import, and it takes seconds."""
    return [(site, row) for site, row in rows_by_site().items() if not row.apart]


@functools.cache
def names_of_tests(file: str) -> frozenset[str]:
    """Return the names of the test functions of a file, read from its syntax tree."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (n for n in tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def told(site: Site) -> str:
    return f"{site.module}:{site.line} {site.text!r}"


def test_each_message_has_a_row() -> None:
    without = [site for site in find_sites() if site not in rows_by_site()]
    assert not without, "add to messages.csv:\n" + "\n".join(
        f"{site.module},{site.text[:30]},<where the advice begins>,<test>,  # {told(site)}"
        for site in without
    )


def test_each_row_has_a_message_and_stands_once() -> None:
    used = set(rows_by_site().values())
    assert not [row for row in ROWS if row not in used]
    keys = [(row.module, row.starts) for row in ROWS]
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys)


def test_message_says_what_to_do_next_in_its_own_text() -> None:
    assert not [told(site) for site, row in met() if not next_step_of(site, row)]
    # What is all advice says nothing about what happened; only a wrong use of an option is so.
    bare = [site for site, row in met() if next_step_of(site, row) == site.text]
    assert not [told(site) for site in bare if site.error != "UsageError"]


def test_next_step_on_the_page_is_told_in_words() -> None:
    # A place alone, such as `{advice}`, told nobody anything.
    steps = {told(site): steps_of(site, row) for site, row in met()}
    wordless = [
        text
        for text, found in steps.items()
        if not all(re.search(r"[A-Za-z]{2}", re.sub(r"\{[^{}]*\}", "", step)) for step in found)
    ]
    assert not wordless
    assert any(len(found) > 5 for found in steps.values())


def test_message_is_one_or_two_plain_sentences() -> None:
    errors = [site for site, _ in met() if site.kind == "error"]
    assert len(errors) > 200
    assert not [told(site) for site in errors if not BEGINNING.match(site.text)]
    assert not [told(site) for site in errors if not re.search(r"[.?}]$", site.text)]
    assert not [told(site) for site, _ in met() if NOT_PLAIN.search(site.text)]
    long = [site for site in errors if len(re.findall(r"[.?] (?=[A-Z])", site.text)) > 1]
    assert not [told(site) for site in long]


def test_message_is_shown_by_a_test_or_a_case_of_the_walk() -> None:
    walked = {(case.module, case.starts) for case in CASES}
    for site, row in met():
        if row.shown_by == WALK:
            cases = [c for c in CASES if c.module == row.module and site.text.startswith(c.starts)]
            assert cases, f"no case provokes {told(site)}"
            walked -= {(case.module, case.starts) for case in cases}
            continue
        file, colons, name = row.shown_by.partition("::")
        assert colons, f"{told(site)} names no test"
        assert name in names_of_tests(file), f"{file} has no test {name}"
    # Some messages of the walk were there before it; each of its cases is about one.
    assert not {module for module, _ in walked} - {site.module for site, _ in met()}


def test_row_that_stands_apart_says_why() -> None:
    apart = [row for row in ROWS if row.apart]
    assert apart
    assert not [row for row in apart if not row.apart.endswith(".") or row.shown_by]


def test_page_of_messages_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "docs/messages.md is stale: run `python -m energy_etl_tests.messages`"
    )


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("rest/urls.py", "{setting} is plain http to {host}, which"),
        ("delivery/standing.py", "`energy-etl outbox retry --stream {stream_id}`: the stream"),
        ("vendors/wattics/files.py", "Stream {stream_id} takes no files: add it"),
        ("warehouse/asking.py", "There is no column {name} there"),
        ("cli/doctor/storage.py", "{path} is held by {told}. Every run waits"),
    ],
)
def test_text_that_is_put_together_elsewhere_is_read_whole(module: str, text: str) -> None:
    assert any(text in site.text for site in find_sites() if site.module == module)


def test_message_without_a_row_is_found() -> None:
    site = Site("cli/app.py", 1, "error", "ConfigurationError", "It failed.")
    assert not next_step_of(site, Row("cli/app.py", "It failed"))
    assert next_step_of(site, Row("cli/app.py", "It", "failed")) == "failed."
    assert NOT_PLAIN.search("{x}: ValueError")
    assert not BEGINNING.match("it failed")
