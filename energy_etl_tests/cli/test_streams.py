"""`energy-etl streams`: the list, new meters from plan to stream, a register's own stream."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.cli.streams_view import print_streams
from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.model import id_wattics
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import REPOSITORY
from energy_etl_tests.vendors.extracting import fault, requests_seen, running_sandbox

MAINS = id_wattics("rome-a.grid_import")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The portfolio's folder of a project."""
    folder = tmp_path / "data" / "portfolio"
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", folder)
    return folder


@pytest.fixture
def typed(
    sandbox: SandboxServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    return Typed(folder.parents[1], sandbox.url, monkeypatch, capsys)


def streams(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "streams.csv").open(newline="", encoding="utf-8") as file:
        return {row["stream_id"]: row for row in csv.DictReader(file)}


def test_list_shows_the_map_beside_what_wattics_lists(typed: Typed, folder: Path) -> None:
    lines = (folder / "streams.csv").read_text().replace(MAINS, "dp-of-ours")
    (folder / "streams.csv").write_text(lines)
    code, out, err = typed.run("streams", "list", "--json")
    rows = {row["stream_id"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert rows["dp-of-ours"]["state"] == "unknown there"
    assert rows[MAINS]["state"] == "unmapped"
    assert rows[MAINS]["meter_name"] == "Villa Appia, Grid import"
    assert rows[id_wattics("rome-a.ev")]["state"] == "mapped"
    code, out, _ = typed.run("streams", "list")
    assert code == 0
    assert "unknown there" in out


@pytest.mark.parametrize("n_columns", [30, 80, 110, 160])
def test_list_on_a_narrow_screen_gives_up_columns_and_breaks_no_id(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, n_columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(n_columns))
    rows = json.loads(typed.run("streams", "list", "--json")[1])
    out = typed.run("streams", "list")[1]
    table, _, given_up = out.partition("Too wide for this screen: ")
    words = set(table.split())
    assert {row["stream_id"] for row in rows} <= words
    assert {row["register_id"] for row in rows if row["register_id"]} <= words
    if n_columns < 100:
        assert "meter_name" in given_up
    if n_columns > 100:
        assert {row["meter_id_wattics"] for row in rows if row["meter_id_wattics"]} <= words
    if n_columns > 30:
        assert max(map(len, table.splitlines())) <= n_columns


def test_list_shows_a_name_with_brackets_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"stream_id": "dp-1", "state": "unmapped", "meter_name": "Pump [/] :key:"}
    blank = dict.fromkeys(("register_id", "field", "content", "meter_id_wattics"))
    print_streams([{**blank, **row, "further_fields": []}])
    assert "Pump [/] :key:" in capsys.readouterr().out


def test_list_without_a_token_shows_the_map_and_says_so(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WATTICS__API_TOKEN", "")
    code, out, err = typed.run("streams", "list", "--json")
    assert code == 0
    assert {row["state"] for row in json.loads(out)} == {"not asked"}
    assert "ask Wattics for a token" in err


def test_fault_of_the_portfolio_is_told_by_list_and_refuses_what_changes_it(
    typed: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WATTICS__API_TOKEN", "")
    sites, before = folder / "sites.csv", (folder / "streams.csv").read_bytes()
    sites.write_text(sites.read_text().replace("Europe/Berlin", "Europe/Bern"))
    code, out, err = typed.run("streams", "list", "--json")
    rows = {row["stream_id"]: row["register_id"] for row in json.loads(out)}
    assert code == 0
    assert rows[MAINS] == "rome-a.grid_import"
    assert not any(register_id.startswith("berlin-a") for register_id in rows.values())
    assert "sites.csv line 4, column zone: 'Europe/Bern' is no IANA time zone" in err
    create = ("create", "rome-a.fridge", "--yes")
    change = ("map", "rome-a.fridge", MAINS, "--field", "pC_1", "--content", "cumulative_wh")
    for command in (create, change):
        code, _, err = typed.run("streams", *command)
        assert code != 0
        assert "'Europe/Bern' is no IANA time zone" in err
    assert (folder / "streams.csv").read_bytes() == before


def test_create_asks_first_and_a_no_changes_nothing(
    typed: Typed, sandbox: SandboxServer, folder: Path
) -> None:
    before = (folder / "streams.csv").read_bytes()
    since = requests_seen(sandbox, "wattics")[-1]["id"] if sandbox.app.log else 0
    code, out, _ = typed.run("streams", "create", "rome-a.fridge", answers="n\n")
    assert code == 1
    assert "create meter 'Villa Appia, Fridge' at site 106" in out
    assert (folder / "streams.csv").read_bytes() == before
    assert {call["method"] for call in requests_seen(sandbox, "wattics", since)} == {"GET"}


def test_created_meter_is_mapped_takes_packets_and_is_not_created_again(
    typed: Typed, sandbox: SandboxServer, folder: Path
) -> None:
    arguments = ("streams", "create", "rome-a.heat", "rome-a.washing_machine", "--yes")
    code, out, err = typed.run(*arguments, "--push-from", "2025-04-16T00:00:00+02:00")
    assert (code, err) == (0, "")
    assert out.count("Created meter") == 2
    found = streams(folder)
    assert list(found["rome-a.washing_machine"].values()) == [
        "rome-a.washing_machine",
        "rome-a.washing_machine",
        "pC_1",
        "cumulative_wh",
        "15",
        "main",
        "2025-04-15T22:00:00Z",
    ]
    assert found["rome-a.heat"]["field"] == "value"
    packet = {"id": "rome-a.heat", "tsISO8601": "2025-04-16T00:15:00.000+02:00", "value": 1.5}
    url = f"{sandbox.url}/measurements/v2/unifiedjson/"
    login = ("sandbox-wattics", "sandbox-wattics-secret")
    assert httpx.post(url, json=packet, auth=login).status_code == 200
    # As after a time-out whose meter is there all the same: only the row is missing.
    text = (folder / "streams.csv").read_text()
    (folder / "streams.csv").write_text("".join(text.splitlines(keepends=True)[:-1]))
    code, out, _ = typed.run("streams", "create", "rome-a.washing_machine", "--yes")
    assert code == 0
    assert "Created" not in out
    assert "rome-a.washing_machine" in streams(folder)


def test_create_does_nothing_on_half_a_listing(
    typed: Typed, sandbox: SandboxServer, folder: Path
) -> None:
    before = (folder / "streams.csv").read_bytes()
    wish = {"vendor": "wattics", "kind": "status", "status": 403}
    with fault(sandbox, **wish, path_contains="/v1/meters"):
        code, out, err = typed.run("streams", "create", "berlin-a.fridge", "--yes")
    assert (code, out) == (4, "")
    assert "wattics meters" in err
    assert (folder / "streams.csv").read_bytes() == before


def test_meter_that_could_not_be_read_was_created_again(
    typed: Typed, sandbox: SandboxServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (folder / "streams.csv").read_bytes()
    listed = sandbox.app.wattics_api.handle

    def handle(request: Request, raw_path: str, body: bytes) -> Response:
        answer = listed(request, raw_path, body)
        # What cannot be read is in quarantine, so it is not among the meters that are there.
        told = bytes(answer.body).replace(b'rate_minutes":15', b'rate_minutes":"five"')
        return Response(told, answer.status_code, media_type="application/json")

    monkeypatch.setattr(sandbox.app.wattics_api, "handle", handle)
    code, out, err = typed.run("streams", "create", "berlin-a.fridge", "--yes")
    assert (code, out) == (1, "")
    assert "wattics meters lists an item that cannot be read" in err
    assert (folder / "streams.csv").read_bytes() == before


def test_create_with_a_token_that_may_only_read_maps_nothing(
    typed: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = "sandbox-wattics-reader-token"
    monkeypatch.setenv("ENERGY_ETL_WATTICS__API_TOKEN", reader)
    code, out, err = typed.run("streams", "create", "dublin-a.fridge", "--yes")
    assert code == 4
    assert "may only read" in err
    assert "dublin-a.fridge" not in streams(folder)
    assert "Created" not in out


def test_create_names_what_it_cannot_do(typed: Typed) -> None:
    code, _, err = typed.run("streams", "create", "nope", "rome-a.pv", "--yes")
    assert code == 1
    assert "nope is not in registers.csv" in err
    assert "rome-a.pv has a stream already" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("nope --field pC_1 --content cumulative_wh", "not in registers.csv"),
        ("rome-a.heat --field pC_1 --content cumulative_wh", "the register measures heat"),
        ("rome-a.fridge --field value --content sample", "not fit a register of kind cumulative"),
        (
            "rome-a.fridge --field pC_1 --content cumulative_wh --interval 20",
            "no multiple of the register's grid",
        ),
        ("rome-a.fridge --field value --content interval --interval 0", "'0' is"),
        (
            "rome-a.fridge --field value --content interval --credential x",
            "not in the settings (main, second)",
        ),
        (
            "rome-a.fridge --field value --content interval --push-from today",
            "write it as 2026-10-28T09:00:00+01:00",
        ),
    ],
)
def test_map_that_does_not_fit_says_why_and_changes_nothing(
    typed: Typed, folder: Path, arguments: str, reason: str
) -> None:
    before = (folder / "streams.csv").read_bytes()
    register, *options = arguments.split()
    code, _, err = typed.run("streams", "map", register, "dp-9", *options)
    assert code == 2
    assert reason in err
    assert (folder / "streams.csv").read_bytes() == before


def test_map_adds_a_row_and_changes_it_but_for_its_start(typed: Typed, folder: Path) -> None:
    arguments = ("streams", "map", "rome-a.fridge", "dp-9", "--content", "cumulative_wh")
    start = ("--push-from", "2025-01-01T00:00:00Z")
    assert typed.run(*arguments, "--field", "pC_1", *start)[1].startswith("Added stream dp-9")
    assert typed.run(*arguments, "--field", "pC_2", "--interval", "30")[1].startswith("Changed")
    row = streams(folder)["dp-9"]
    assert (row["field"], row["interval_minutes"]) == ("pC_2", "30")
    assert row["push_from_at"] == "2025-01-01T00:00:00Z"


def test_map_changes_what_is_given_and_leaves_the_rest(typed: Typed, folder: Path) -> None:
    register = "newyork-a.grid_import"
    arguments = ("streams", "map", register, id_wattics(register), "--field", "pC_2")
    assert typed.run(*arguments, "--content", "cumulative_wh")[0] == 0
    row = streams(folder)[id_wattics(register)]
    assert (row["field"], row["credential"], row["interval_minutes"]) == ("pC_2", "second", "15")


def test_map_writes_a_further_field_and_list_shows_it(
    typed: Typed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_WATTICS__API_TOKEN", "")
    before = (folder / "streams.csv").read_bytes()
    further = ("streams", "map", "rome-a.ev", MAINS, "--field", "pC_2", "--content")
    code, out, err = typed.run(*further, "cumulative_wh")
    assert (code, out) == (0, f"Added field pC_2 of stream {MAINS}: rome-a.ev.\n")
    assert typed.run(*further, "cumulative_wh")[1].startswith("Changed field pC_2")
    fields = (folder / "stream_fields.csv").read_text()
    assert fields.splitlines()[1:] == [f"{MAINS},pC_2,rome-a.ev,cumulative_wh"]
    assert (folder / "streams.csv").read_bytes() == before
    rows = {row["stream_id"]: row for row in json.loads(typed.run("streams", "list", "--json")[1])}
    assert [each["field"] for each in rows[MAINS]["further_fields"]] == ["pC_2"]
    assert "pC_2" in typed.run("streams", "list")[1]
    for options, reason in (
        (("cumulative_wh", "--interval", "30"), "are those of the stream"),
        (("interval",), "does not fit interval"),
    ):
        code, _, err = typed.run(*further, *options)
        assert code == 2
        assert reason in err
    assert (folder / "stream_fields.csv").read_text() == fields


def test_map_writes_a_stream_that_files_feed_and_gives_it_a_register_later(
    typed: Typed, folder: Path
) -> None:
    files = ("streams", "map", "dp-9", "--files", "--zone", "Europe/Rome", "--field", "value")
    code, out, _ = typed.run(*files)
    assert (code, out) == (0, "Added stream dp-9: files in value.\n")
    row = streams(folder)["dp-9"]
    assert (row["register_id"], row["content"], row["zone"]) == ("", "file", "Europe/Rome")
    assert (row["interval_minutes"], row["credential"]) == ("15", "main")
    assert row["push_from_at"] == "", "what is in a file is older than today"
    fed = ("rome-a.fridge", "dp-9", "--field", "value", "--content", "interval")
    assert typed.run("streams", "map", *fed)[1] == "Changed stream dp-9: rome-a.fridge in value.\n"
    row = streams(folder)["dp-9"]
    assert row["zone"] == ""
    assert row["push_from_at"].endswith("T00:00:00Z"), "years of readings are not agreed"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("dp-9 --files --field value", "with --files and --zone"),
        ("dp-9 --files --zone Europe/Rom --field value", "did you mean Europe/Rome"),
        ("dp-9 --files --zone Europe/Rome --field volts", "volts is no field of a packet"),
        ("dp-9 --files --zone Europe/Rome --field value --content interval", "write either"),
        ("rome-a.ev dp-9 --files --zone Europe/Rome --field value", "the stream alone"),
        ("dp-9 --field value --content interval", "name a register and a stream"),
        ("rome-a.ev dp-9 --field value", "with --content"),
        ("rome-a.ev dp-9 --field value --content interval --zone Europe/Rome", "write either"),
    ],
)
def test_map_with_half_of_what_it_needs_says_so_and_changes_nothing(
    typed: Typed, folder: Path, arguments: str, reason: str
) -> None:
    before = (folder / "streams.csv").read_bytes()
    code, _, err = typed.run("streams", "map", *arguments.split())
    assert code == 2
    assert reason in err
    assert (folder / "streams.csv").read_bytes() == before
