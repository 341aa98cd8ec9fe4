"""`energy-etl outbox`: how delivery stands, what needs a person, and what is done about it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Ended, Event, Failed, Parked, Response, Sent, apply
from energy_etl.state import connect, instant_to_us, transaction
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import REPOSITORY
from energy_etl_tests.delivery.conftest import (
    NOW,
    body,
    packets,
    plan,
    stamp,
    stamp_ms,
    states,
)

# Streams of the example portfolio; the others are not in it any more.
MAPPED, EMPTY = "dp-ea3ca3c23c", "dp-f6236e5bd9"
REASON = "The vendor does not know stream parked."


def delivered(stream_id: str, *numbers: int) -> list[Event]:
    return [
        *(Sent(stream_id, stamp_ms(n), body(stream_id, n), 200, 1) for n in numbers),
        Confirmed(stream_id, stamp_ms(numbers[-1])),
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "portfolio"
    shutil.copytree(REPOSITORY / "data" / "portfolio.example", folder)
    header, *rows = (folder / "streams.csv").read_text().splitlines()
    kept = [row for row in rows if row.startswith((MAPPED, EMPTY))]
    (folder / "streams.csv").write_text("\n".join([header, *kept, ""]))
    return tmp_path


@pytest.fixture
def outbox(root: Path) -> Iterator[Outbox]:
    """Yield the outbox of a project: one stream is well, one parked, one has a refused packet."""
    connection = connect(root / "data" / "state.sqlite")
    outbox = Outbox(connection)
    plans = [plan(MAPPED), plan("parked", credential="second"), plan("refused")]
    for each in plans:
        outbox.fill(packets(each.stream_id, [1, 2, 3]), [each], now=NOW)
    release(outbox, plans, [], NOW)
    refusal = "HTTP 400: no such field"
    events = [
        *delivered(MAPPED, 1, 2, 3),
        Parked("parked", REASON, "fingerprint"),
        *delivered("refused", 1),
        Failed("refused", stamp_ms(2), body("refused", 2), 400, refusal, 1, True),
        *delivered("refused", 3),
        *(Response(MAPPED, stamp_ms(n), instant_to_us(NOW), 0.041, 200, None) for n in (1, 2, 3)),
        Response("refused", stamp_ms(2), instant_to_us(NOW), 0.052, 400, "no such field"),
    ]
    apply(outbox, events, NOW)
    yield outbox
    connection.close()


@pytest.fixture
def typed(
    root: Path,
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    del outbox
    return Typed(root, "http://127.0.0.1:1", monkeypatch, capsys)


def test_status_says_what_each_stream_is_and_what_to_do(typed: Typed) -> None:
    code, out, err = typed.run("outbox", "status", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    rows = {row["stream_id"]: row for row in told["streams"]}
    assert told["handlers"] == []
    assert {name: row["condition"] for name, row in rows.items()} == {
        MAPPED: "lagging",
        EMPTY: "empty",
        "parked": "stopped",
        "refused": "stopped",
    }
    assert rows[MAPPED]["n_confirmed"] == 3
    assert rows[MAPPED]["last_sent_at"] == "2025-01-06T00:45:00.000Z"
    assert rows["parked"]["credential"] == "second"
    assert rows["parked"]["parked_reason"] == REASON
    code, out, _ = typed.run("outbox", "status", "--stream", "parked")
    assert code == 0
    assert MAPPED not in out
    assert f"{REASON} Mend it, then `energy-etl outbox retry --stream parked`." in out
    _, out, _ = typed.run("outbox", "status", "--stream", EMPTY)
    assert out.endswith(f"{EMPTY}: no packet was made of it yet.\n")


def test_reason_that_says_what_to_do_and_is_the_failure_too_is_told_once(
    typed: Typed, outbox: Outbox
) -> None:
    reason = "It forgot packets: ask for them, then run `energy-etl outbox retry --stream parked`."
    apply(outbox, [Parked("parked", reason), Ended("parked", reason, is_open=False)], NOW)
    _, out, _ = typed.run("outbox", "status", "--stream", "parked")
    assert out.count("It forgot packets") == 1
    assert "Mend it" not in out


def test_status_fits_on_a_narrow_screen(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = typed.run("outbox", "status")
    table = out.partition("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    # Whole, not folded into two lines.
    assert any(line.split()[:3] == [MAPPED, "main", "lagging"] for line in table)


def test_status_is_told_while_a_run_writes_and_without_a_portfolio(
    typed: Typed, root: Path, outbox: Outbox
) -> None:
    (root / "data" / "portfolio" / "streams.csv").write_text("nonsense\n1\n")
    with transaction(outbox.connection):
        outbox.connection.execute("UPDATE stream SET n_failures = 1")
        code, out, err = typed.run("outbox", "status", "--json")
    assert code == 0
    assert err.startswith("energy-etl: ")
    assert len(json.loads(out)["streams"]) == 3


def test_folder_without_an_outbox_is_told_and_none_is_made(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_ROOT", str(tmp_path / "elsewhere"))
    code, out, err = typed.run("outbox", "status")
    assert (code, out) == (3, "")
    assert "run `energy-etl init`" in err
    assert not (tmp_path / "elsewhere").exists()


def test_list_shows_what_needs_a_person_and_any_state_that_is_asked_for(
    typed: Typed, outbox: Outbox
) -> None:
    # Older than the last one sent: it waits for a person, unlike one behind a hole.
    outbox.fill(packets(MAPPED, [0, 9]), [plan(MAPPED, push_from_at=None)], now=NOW)
    release(outbox, [plan(MAPPED, push_from_at=None)], [], NOW)
    code, out, _ = typed.run("outbox", "list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert [(row["stream_id"], row["state"]) for row in rows] == [
        (MAPPED, "held"),
        ("refused", "rejected"),
    ]
    assert rows[1]["error"] == "HTTP 400: no such field"
    code, out, err = typed.run("outbox", "list", "--state", "confirmed", "--limit", "2")
    assert out.count("confirmed") == 2
    assert "more than 2" in err
    _, out, _ = typed.run("outbox", "list", "--stream", "refused")
    assert "rejected, HTTP 400, attempts: 1\n  HTTP 400: no such field\n  {" in out


def test_responses_of_a_stream_are_shown(typed: Typed) -> None:
    code, out, _ = typed.run("outbox", "responses", "--stream", "refused")
    assert code == 0
    assert "HTTP 400 after 52 ms  no such field" in out
    _, out, _ = typed.run("outbox", "responses", "--stream", MAPPED, "--json", "--limit", "2")
    assert [row["stamped_at"][11:16] for row in json.loads(out)] == ["00:30", "00:45"]
    _, out, _ = typed.run("outbox", "responses", "--stream", "parked")
    assert out == "No packet of stream parked was posted yet.\n"


def test_retry_says_what_goes_again_and_the_second_time_that_there_is_nothing(
    typed: Typed, outbox: Outbox
) -> None:
    code, out, err = typed.run("outbox", "retry", "--credential", "second")
    assert (code, out) == (0, "Unparked: parked.\n")
    assert "send_outbox" in err
    assert states(outbox, "refused")[2] == "rejected"
    code, out, _ = typed.run("outbox", "retry", "--all")
    assert out.startswith("Refused packets that go again, in order: 1.")
    assert states(outbox, "refused")[2] == "held"
    code, out, err = typed.run("outbox", "retry", "--stream", "refused", "--stream", "parked")
    assert (code, err) == (0, "")
    assert out.startswith("There is nothing to retry")


def test_resend_asks_and_lets_what_was_forgotten_go_again(typed: Typed, outbox: Outbox) -> None:
    apply(outbox, [Parked(MAPPED, "It forgot packets.", forgot_ms=stamp_ms(1))], NOW)
    resend = ("outbox", "retry", "--stream", MAPPED, "--resend")
    code, out, _ = typed.run(*resend, answers="n\n")
    assert code == 1
    assert (
        f"last packet of stream {MAPPED} is 2025-01-06T00:15:00+00:00. Packets that it forgot and "
        "that go again: 2, from 2025-01-06T00:30:00+00:00 to 2025-01-06T00:45:00+00:00." in out
    )
    assert set(states(outbox, MAPPED).values()) == {"confirmed"}
    code, out, err = typed.run(*resend, "--yes")
    assert code == 0
    assert out.endswith(f"Packets of stream {MAPPED} that go again: 2.\n")
    assert "send_outbox" in err
    assert states(outbox, MAPPED) == {1: "confirmed", 2: "pending", 3: "pending"}
    (state,) = outbox.streams(MAPPED)
    assert (state.is_sending, state.parked_reason) == (True, None)
    assert state.last_sent_ms == state.last_confirmed_ms == stamp_ms(1)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("retry", 2, "Give one of --stream, --credential and --all"),
        ("retry --all --stream parked", 2, "Give one of"),
        ("retry --all --resend", 2, "--resend is for single streams"),
        ("retry --stream parked --resend", 1, "not parked for packets that the vendor forgot"),
        ("retry --stream nope", 2, "Stream nope has no packets in the outbox"),
        ("retry --credential nope", 2, "pushed by the credential nope"),
        ("list --state lost", 2, "'lost' is none of held, pending"),
        ("drop --stream parked --from 1 --to 2 --reason x", 2, "--from 1 is no instant"),
        (
            "drop --stream parked --from 2025-01-06T00:00Z --to 2025-01-07T00:00 --reason x",
            2,
            "--to",
        ),
        (
            "drop --stream parked --from 0001-01-01T00:00+05:00 --to 2025-01-07T00:00Z --reason x",
            2,
            "--from 0001",
        ),
        (
            "drop --stream parked --from 2025-01-07T00:00Z --to 2025-01-06T00:00Z --reason x",
            2,
            "--to 2025-01-06T00:00Z is not behind --from",
        ),
        ("export --out /nowhere/at/all", 1, "/nowhere/at/all"),
    ],
)
def test_wrong_wish_is_one_sentence_and_changes_nothing(
    typed: Typed, outbox: Outbox, arguments: str, code: int, sentence: str
) -> None:
    before = list(outbox.connection.iterdump())
    ended, out, err = typed.run("outbox", *arguments.split())
    assert (ended, out) == (code, "")
    assert sentence in err
    assert list(outbox.connection.iterdump()) == before


def drop(typed: Typed, stream_id: str, *more: str, answers: str = "") -> tuple[int, str, str]:
    stretch = ("--from", stamp(1).isoformat(), "--to", (stamp(2) + timedelta(1)).isoformat())
    reason = ("--reason", "the meter was replaced")
    arguments = ("outbox", "drop", "--stream", stream_id, *stretch, *reason, *more)
    return typed.run(*arguments, answers=answers)


def test_drop_asks_keeps_the_record_and_spares_what_was_accepted(
    typed: Typed, outbox: Outbox
) -> None:
    code, out, _ = drop(typed, "refused", answers="n\n")
    assert code == 1
    assert "to be given up, never to be sent: 1 rejected." in out
    assert states(outbox, "refused") == {1: "confirmed", 2: "rejected", 3: "confirmed"}
    code, out, _ = drop(typed, "refused", "--yes")
    assert out.endswith("Packets of stream refused given up: 1.\n")
    assert states(outbox, "refused") == {1: "confirmed", 2: "dropped", 3: "confirmed"}
    code, out, _ = drop(typed, "refused", "--yes")
    assert (code, out.startswith("There is nothing to drop")) == (0, True)
    _, out, _ = typed.run("outbox", "list", "--state", "dropped")
    assert "the meter was replaced" in out


def test_export_writes_one_packet_per_line(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed.run("outbox", "export")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(lines) == 9
    assert err == "Packets written: 9.\n"
    file = tmp_path / "packets.jsonl"
    _, out, _ = typed.run("outbox", "export", "--state", "rejected", "--out", str(file))
    (line,) = file.read_text().splitlines()
    assert out == ""
    assert json.loads(line)["body"] == body("refused", 2)
    for wrong in (("--stream", "nope"), ("--state", "lost")):
        assert typed.run("outbox", "export", *wrong, "--out", str(file))[0] != 0
    assert file.read_text() == line + "\n"


def test_commands_of_the_outbox_need_no_dagster(root: Path, outbox: Outbox) -> None:
    del outbox
    text = (
        "import sys; sys.argv = ['energy-etl', 'outbox', 'list']\n"
        "from energy_etl.cli import main\n"
        "try: main()\n"
        "finally: print({'dagster', 'duckdb', 'httptools'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={"ENERGY_ETL_ROOT": str(root), "PATH": ""},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.endswith("set()\n"), done.stderr
