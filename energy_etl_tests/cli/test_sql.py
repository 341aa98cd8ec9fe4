"""`energy-etl sql`: what people read, in the forms that they need, and faults in one sentence."""

import csv
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from energy_etl.tables.core import INTERVAL, SITE
from energy_etl.warehouse import Warehouse, publish
from energy_etl.warehouse.asking import asking
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.warehouse.frames import intervals, sites


@pytest.fixture(scope="module")
def published_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of which two sites and some intervals are published."""
    root = tmp_path_factory.mktemp("sql")
    data = root / "data"
    warehouse = Warehouse(data / "warehouse.duckdb", (SITE, INTERVAL))
    with warehouse.write() as writer:
        named = sites("a", "b").with_columns(name=pl.Series(["Via [Appia]", "Two\twords, one tab"]))
        writer.replace_all(SITE, named)
        writer.append(INTERVAL, intervals("r1", 300))
    publish(warehouse, data_dir=data, views_folder=root)
    return root


@pytest.fixture
def typed(
    published_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    return Typed(published_root, "http://127.0.0.1:1", monkeypatch, capsys)


def test_query_into_a_pipe_gives_separated_lines_with_a_header(typed: Typed) -> None:
    query = "SELECT site_id, name, area_m2, zone = 'x' AS is_x FROM core.site ORDER BY 1"
    code, out, err = typed.run("sql", query)
    assert (code, err) == (0, "")
    assert list(csv.reader(io.StringIO(out), delimiter="\t")) == [
        ["site_id", "name", "area_m2", "is_x"],
        ["a", "Via [Appia]", "", "false"],
        ["b", "Two\twords, one tab", "", "false"],
    ]
    code, out, _ = typed.run("sql", "-", "--csv", answers=query + " -- asked from stdin\n;")
    assert out.splitlines()[2] == 'b,"Two\twords, one tab",,false'


def test_json_has_instants_in_utc_lists_and_what_json_does_not_know(
    typed: Typed, tmp_path: Path
) -> None:
    file = tmp_path / "query.sql"
    file.write_text(
        "SELECT start_at, flags, sum(1) OVER () AS n, 'nan'::DOUBLE AS x, end_at::DATE AS end_on"
        " FROM core.interval ORDER BY start_at LIMIT 1"
    )
    code, out, _ = typed.run("sql", "--file", str(file), "--json")
    assert code == 0
    assert json.loads(out) == [
        {
            "start_at": "2024-01-01T00:00:00Z",
            "flags": ["gap"],
            "n": 300,
            "x": "nan",
            "end_on": "2024-01-01",
        }
    ]


@pytest.mark.parametrize(
    ("value", "cell", "plain"),
    [
        ("end_at - start_at", "900.0", 900.0),
        ("12345678901234567890.123456789::DECIMAL(38, 9)", "12345678901234567890.123456789", None),
        ("1.50::DECIMAL(9, 2)", "1.50", 1.5),
        ("340282366920938463463374607431768211455::UHUGEINT", str(2**128 - 1), 2**128 - 1),
        ("'99999-01-01'::TIMESTAMP", "99999-01-01 00:00:00", None),
        ("'0045-01-01 (BC)'::DATE", "0045-01-01 (BC)", None),
        ("[1, NULL]::INTEGER[2]", "[1, null]", [1, None]),
        (
            "map {'2024-01-01'::DATE: union_value(a := 'b')}",
            '{"2024-01-01": "b"}',
            {"2024-01-01": "b"},
        ),
        ("'\\x00a'::BLOB", "0061", None),
        (
            "'00000000-0000-0000-0000-000000000001'::UUID",
            "0" * 8 + "-0000-0000-0000-000000000001",
            None,
        ),
    ],
)
def test_value_of_any_type_is_shown_as_it_is(
    typed: Typed, value: str, cell: str, plain: object
) -> None:
    # Two columns of one name: both are there.
    query = " ".join(("SELECT", value, "AS a, 7 AS a FROM core.interval LIMIT 1"))
    code, out, err = typed.run("sql", query, "--csv")
    assert (code, err) == (0, "")
    assert list(csv.reader(io.StringIO(out))) == [["a", "a_1"], [cell, "7"]]
    _, out, _ = typed.run("sql", query, "--json")
    assert json.loads(out) == [{"a": cell if plain is None else plain, "a_1": 7}]


def test_answer_larger_than_any_memory_is_read_as_far_as_it_is_wanted(typed: Typed) -> None:
    code, out, err = typed.run("sql", "FROM range(1_000_000_000_000)", "--limit", "2", "--json")
    assert (code, json.loads(out)) == (0, [{"range": 0}, {"range": 1}])
    assert "There are more than 2 rows" in err
    assert typed.run("sql", "FROM core.site WHERE false", "--json")[1] == "[]\n"


@pytest.fixture
def obeying_ctrl_c() -> Iterator[None]:
    # A shell has what it starts in the background ignore Ctrl-C: these tests, too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("after_s", [0.2, 0.6])
@pytest.mark.usefixtures("obeying_ctrl_c")
def test_query_that_nobody_waits_for_ends_at_once(published_root: Path, after_s: float) -> None:
    # Where Ctrl-C came while DuckDB was fetching it was never seen.
    forever = "SELECT max(md5(i::VARCHAR)) FROM range(1_000_000_000_000) t(i)"
    timer = threading.Timer(after_s, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    path = published_root / "data" / "energy.duckdb"
    with pytest.raises(KeyboardInterrupt), asking(path, forever) as answer:
        next(answer.rows)


def test_terminal_gets_a_table_that_is_cut_and_says_so(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy_etl.cli.sql.sys.stdout.isatty", lambda: True, raising=False)
    code, out, err = typed.run("sql", "FROM core.site ORDER BY site_id")
    assert code == 0
    assert "Via [Appia]" in out
    assert err == "2 rows\n"
    # What a terminal obeys is not sent to it.
    assert "\x1b[2J" not in typed.run("sql", "SELECT 'a' || chr(27) || '[2J' AS b")[1]
    code, out, err = typed.run("sql", "FROM core.interval")
    assert out.count("measured") == 200
    assert "There are more than 200 rows: give --limit." in err
    _, out, _ = typed.run("sql", "FROM core.interval", "--limit", "3")
    assert out.count("measured") == 3


def test_rows_wider_than_the_terminal_are_shown_as_records(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of eleven columns once had three letters of 80 columns.
    monkeypatch.setattr("energy_etl.cli.sql.sys.stdout.isatty", lambda: True, raising=False)
    # Without styles, and 80 columns wide.
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "80")
    query = "SELECT unnest([7, 8]) AS n, repeat('w', 90) AS \"[word]\", NULL AS nothing"
    _, out, err = typed.run("sql", query)
    # What is longer than a line goes on in the next.
    record = "n7[word]" + "w" * 90 + "nothing-"
    assert "".join(out.split()) == record + record.replace("7", "8")
    assert err == "2 rows\n"


def test_query_of_readme_that_begins_with_a_comment_is_no_option(typed: Typed) -> None:
    code, out, err = typed.run("sql", "-- Last week, the vendor's\nSELECT 7 AS n", "--csv")
    assert (code, out, err) == (0, "n\n7\n", "")
    assert "No such option" in typed.run("sql", "--jsn")[2]


def test_query_is_answered_while_a_run_writes(typed: Typed, published_root: Path) -> None:
    warehouse = Warehouse(published_root / "data" / "warehouse.duckdb", (SITE, INTERVAL))
    with warehouse.write() as writer:
        writer.replace_all(SITE, sites("c"))
        code, out, _ = typed.run("sql", "SELECT site_id FROM core.site ORDER BY 1")
    assert (code, out) == (0, "site_id\na\nb\n")


def test_without_a_query_the_tables_are_listed_with_what_they_are(typed: Typed) -> None:
    _, out, _ = typed.run("sql", "--json")
    listed = {row["table_name"]: row for row in json.loads(out)}
    assert listed["core.site"]["comment"] == SITE.description
    assert listed["core.interval"]["is_view"] is True


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELECT energy FROM core.interval", "no column energy there: did you mean energy_kwh"),
        ("SELECT i.energy FROM core.interval AS i", "no column energy there: did you mean energy"),
        ("SELECT qqqqqqq FROM core.site", "There is no column qqqqqqq there: did you mean"),
        ("FROM intervall", "There is no table intervall: did you mean core.interval?"),
        ("FROM core.no_such_thing_at_all", "There is no table"),
        ("FROM raw.request", "raw.request is not published, for it holds the vendors' answers"),
        ("SELCT 1", 'The query is wrong (Parser Error: syntax error at or near "SELCT")'),
        ("SELECT site_id + 1 FROM core.site", "No function matches the given name"),
        ("DELETE FROM core.site", "of the kind DELETE is not for this command, which only reads"),
        ("COPY core.site TO 'x.csv'", "of the kind COPY is not for this command"),
        ("EXPLAIN ANALYZE COPY core.site TO 'x.csv'", "of the kind COPY is not for this command"),
        ("/* a */ EXPLAIN (FORMAT json) DROP TABLE core.site", "of the kind DROP is not for this"),
        ("ATTACH 'x.duckdb'", "of the kind ATTACH is not for this command"),
        ("SELECT 1; SELECT 2", "There are 2 statements in the query: give one at a time."),
        (" -- nothing", "The query is empty"),
        ("FROM read_text('/etc/passwd')", "The query reads more than what is published"),
        # The writer's own file would be locked, and a run would wait for the reader.
        (
            "FROM read_duckdb('x/warehouse.duckdb', table_name = 'a')",
            "asks data/energy.duckdb alone",
        ),
        ("FROM 'http://127.0.0.1:1/x.parquet'", "The query reads more than what is published"),
        ("FROM enable_logging(storage = 'file')", "The query would make DuckDB write a log"),
        (
            "SELECT error('half-way')",
            "(Invalid Input Error: half-",
        ),
    ],
)
def test_fault_of_a_query_is_one_sentence_that_says_what_to_do(
    typed: Typed, query: str, sentence: str
) -> None:
    code, out, err = typed.run("sql", query)
    assert (code, out) == (1, "")
    assert err.startswith("energy-etl: ")
    assert err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize(
    "query",
    [
        "DESCRIBE core.site",
        "SUMMARIZE core.site",
        "EXPLAIN ANALYZE FROM core.site",
        # As an editor saves it, and as a shell's history joins it.
        "\ufeffEXPLAIN FROM core.site",
        ";EXPLAIN FROM core.site",
        "EXPLAIN (SELECT 1)",
        "PIVOT core.site ON site_id USING count(*)",
        "VALUES (1)",
    ],
)
def test_everything_that_only_reads_is_answered(typed: Typed, query: str) -> None:
    code, out, err = typed.run("sql", query)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 1


def test_nothing_published_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = Typed(tmp_path, "http://127.0.0.1:1", monkeypatch, capsys)
    code, out, err = empty.run("sql", "SELECT 1")
    assert (code, out) == (1, "")
    assert "energy.duckdb yet: run `energy-etl demo`" in err


def test_query_that_needs_more_memory_than_there_is_says_so(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def little(connection: duckdb.DuckDBPyConnection, _path: Path) -> None:
        connection.execute("SET memory_limit = '2MB'; SET temp_directory = ''")

    monkeypatch.setattr("energy_etl.warehouse.asking._keep_to_what_is_published", little)
    code, out, err = typed.run("sql", "SELECT list(range) FROM range(1_000_000)")
    assert (code, out) == (1, "")
    assert "The memory is not enough for the query: ask for fewer rows or columns" in err
