"""All commands alike: help, completion, JSON on stdout alone, exit codes, README's examples."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.main import get_command

from energy_etl.cli.commands_page import documented_commands
from energy_etl.sandbox import SandboxServer
from energy_etl.vendors import all_tables
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.cli.called import make_called
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.documented import README, REPOSITORY, program, text_of, typed_commands
from energy_etl_tests.vendors.extracting import running_sandbox

COMMANDS = {
    command.name.removeprefix("energy-etl "): command for command in documented_commands(program())
}
GROUPS = sorted({name.split()[0] for name in COMMANDS if " " in name})
# A stream of the example portfolio.
STREAM = "dp-06a1a73248"
# Commands that take --json, so that they ask nothing and change nothing.
READING = {
    "dictionary": ("settings",),
    "doctor": ("--offline",),
    "license list": (),
    "outbox list": (),
    "outbox status": (),
    "push dry-run": ("--out", "{root}/dry-run.jsonl"),
    "push test": (STREAM, "--read-only"),
    "sql": ("FROM core.reading",),
    "status": (),
    "streams list": (),
    "vendors": (),
    "wiser status": (),
}
# These need more than a small project: the test that reads their JSON.
ALSO_JSON = {
    "backfill": "test_backfill.py",
    "golive": "test_golive.py",
    "outbox responses": "test_outbox.py",
    "prune": "../defs/test_retention.py",
    "push csv": "test_push.py",
    "report": "test_report.py",
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with some readings, of which a few tables are published."""
    root = tmp_path_factory.mktemp("project")
    make_called(root)
    tables = {table.full_name: table for table in all_tables()}
    # README's examples read these; all of them take ten times that.
    names = ("core.reading", "core.appliance_interval", "core.site", "core.register")
    names += ("mart.finding", "mart.period_trend")
    views = root / "views"
    views.mkdir()
    shutil.copy(REPOSITORY / "energy_etl" / "sql" / "site_last_week.sql", views)
    published = Warehouse(root / "data" / "warehouse.duckdb", [tables[name] for name in names])
    publish(published, data_dir=root / "data", views_folder=views)
    return root


@pytest.fixture
def typed(
    root: Path,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    return Typed(root, sandbox.url, monkeypatch, capsys)


def test_help_of_every_command_says_what_it_and_each_option_does(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ["", *GROUPS, *COMMANDS]:
        code, out, err = typed.run(*name.split(), "--help")
        assert (code, err) == (0, ""), name
        assert f"Usage: energy-etl {name}".rstrip() in out, name
        assert max(map(len, out.splitlines())) <= 80, name
    assert len(COMMANDS) > 30
    for name, command in COMMANDS.items():
        assert command.text, f"{name} has no help"
        assert all(option.meaning for option in command.options), f"{name}: an option without help"


def test_list_of_commands_has_a_line_for_each(typed: Typed) -> None:
    for name, command in COMMANDS.items():
        summary = command.text.split("\n\n", 1)[0]
        # What is left of 80 columns beside the longest name.
        width = 80 - 4 - (len("support-bundle") if " " not in name else len("authorize")) - 2
        assert len(summary) <= width, f"{name}: {len(summary)} > {width}"


def test_completion_knows_commands_and_options(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    # Read where the commands are built, which `typed` does once for all tests.
    monkeypatch.setattr(typer.main, "get_command", get_command)
    _, out, _ = typed.run("--show-completion", "bash")
    variable = re.search(r"(_\w+)=complete_bash", out)
    assert variable
    monkeypatch.setenv(variable.group(1), "complete_bash")
    for words, expected in (("ou", "outbox"), ("outbox re", "retry"), ("sql --js", "--json")):
        monkeypatch.setenv("COMP_WORDS", f"energy-etl {words}")
        monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
        code, out, err = typed.run()
        assert (code, err) == (0, "")
        assert expected in out.split()


def test_command_that_takes_json_is_tried() -> None:
    takers = {n for n, c in COMMANDS.items() if any("--json" in o.written for o in c.options)}
    assert takers == READING.keys() | ALSO_JSON.keys()
    for name, file in ALSO_JSON.items():
        test = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert "json.loads(" in test, name
        assert f'"{name.split()[-1]}"' in test, name


@pytest.mark.parametrize("name", READING)
def test_json_is_all_that_is_on_stdout(name: str, typed: Typed, root: Path) -> None:
    arguments = [argument.replace("{root}", str(root)) for argument in READING[name]]
    code, out, err = typed.run(*name.split(), *arguments, "--json")
    # What fails on this project is told, and is JSON nevertheless.
    assert code in (0, 3, 4), err
    json.loads(out)
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    "name", ["license list", "outbox status", "status", "streams list", "vendors"]
)
def test_pipe_gets_no_colour(name: str, typed: Typed) -> None:
    code, out, err = typed.run(*name.split())
    assert code == 0
    assert out
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    ("word", "arguments", "variables"),
    [
        ("ok", "dictionary settings", {}),
        ("failed", "sql SELCT", {}),
        ("usage", "sql --limit 0", {}),
        ("usage", "outbox stat", {}),
        ("usage", "sql --csv --json", {}),
        ("usage", "sql --file nowhere.sql", {}),
        ("usage", "backfill --from 2025-02-01 --to 2025-01-01", {}),
        ("usage", "push test no-such-stream", {}),
        ("usage", "outbox responses --stream no-such-stream", {}),
        ("usage", "import nowhere", {}),
        ("configuration", "status", {"ENERGY_ETL_TARGTE": "live"}),
        ("configuration", "status", {"ENERGY_ETL_ROOT": "/dev/null/nowhere"}),
        ("authentication", "license list", {"ENERGY_ETL_SMARTGRIDONE__PASSWORD": "wrong"}),
        (
            "network",
            "license list",
            {
                "ENERGY_ETL_SMARTGRIDONE__AUTH_URL": "http://127.0.0.1:9",
                "ENERGY_ETL_SMARTGRIDONE__TOTAL_S": "0.2",
            },
        ),
    ],
)
def test_exit_code_is_the_one_of_readme(
    word: str,
    arguments: str,
    variables: dict[str, str],
    typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readme = re.search(r"Exit codes: ([^(.]*)", text_of(README))
    assert readme
    codes = {name: int(code) for code, name in re.findall(r"(\d) (\w+)", readme.group(1))}
    assert len(codes) == 6
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, out, err = typed.run(*arguments.split())
    assert code == codes[word], err
    assert bool(out) == (code == 0)
    assert bool(err) == (code != 0)


def test_readme_examples_do_what_they_say(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, root: Path
) -> None:
    for arguments in typed_commands(README):
        if arguments[0] == "doctor" or (
            arguments[0] == "backfill" and "--preview" not in arguments
        ):
            # Doctor is tried below; a backfill is asked of Dagster by a journey.
            continue
        if arguments[0] == "report":
            # test_report.py writes it: what draws it takes seconds to import.
            continue
        code, out, err = typed.run(*arguments)
        assert code == 0, (arguments, err)
        assert out, arguments
    monkeypatch.setenv("ENERGY_ETL_WATTSENSE__API_SECRET", "wrong")
    code, out, _ = typed.run("doctor", "--json")
    failing = {row["what"] for row in json.loads(out) if row["verdict"] == "fail"}
    assert "Wattsense" in failing
    assert code in (3, 4)
