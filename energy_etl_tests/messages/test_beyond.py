"""Messages that a command ends with only after what a test cannot wait for: provoked beneath it."""

import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import duckdb
import pytest
from pydantic import SecretStr

from energy_etl.auth import AuthorizationCodeAuth
from energy_etl.cli import rebuild, transfer_files, up
from energy_etl.cli.processes import Child, free_port, start_child, wait_until_answering
from energy_etl.cli.sandbox_consent import allow
from energy_etl.defs.dry_run import look_ahead
from energy_etl.defs.resources import Etl
from energy_etl.delivery import Collector, DrainLimits, Outbox, drain
from energy_etl.delivery.loop import run_fast
from energy_etl.errors import EnergyEtlError
from energy_etl.rest import Limits
from energy_etl.state import open_state
from energy_etl.tables.core import SITE
from energy_etl.tokens import TokenStore
from energy_etl.vendors import project_settings
from energy_etl.warehouse import Warehouse
from energy_etl.warehouse.compacting import compact
from energy_etl.warehouse.connection import errors_named
from energy_etl.warehouse.looking import looking
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.delivery.sending import fill
from energy_etl_tests.messages.test_walk import pattern_of
from energy_etl_tests.rest.raw_server import RawServer, answer
from energy_etl_tests.warehouse.frames import sites


@contextlib.contextmanager
def raised(text: str, kind: type[Exception] = EnergyEtlError) -> Iterator[None]:
    """The block ends with the message whose template this is."""
    with pytest.raises(kind) as caught:
        yield
    told = " ".join(str(caught.value).split())
    assert pattern_of(text).fullmatch(told), told


@pytest.fixture
def ended(tmp_path: Path) -> Child:
    child = start_child("thing", [sys.executable, "-Sc", "print('boom')"], tmp_path, {})
    child.process.wait(20)
    return child


def test_child_that_ends_or_does_not_answer_is_told_with_its_log(
    ended: Child, tmp_path: Path
) -> None:
    with raised("The thing ended with code 0 before it answered: boom See {log_path}."):
        wait_until_answering("http://127.0.0.1:9/", ended, 5)
    sleeping = start_child("thing", [sys.executable, "-Sc", "input()"], tmp_path, {})
    running = Child("thing", sleeping.process, sleeping.log_path)
    time_out = "The thing did not answer at {where} within {deadline_s} s: see {log_path}."
    with raised(time_out):
        wait_until_answering("http://127.0.0.1:9/", running, 0)
    sleeping.process.wait(20)


def test_machine_without_a_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError("Cannot assign requested address")

    monkeypatch.setattr(socket, "socket", Full)
    with raised("No loopback port is free: close some programs, then run again."):
        free_port()


def test_process_of_up_that_ends_is_told(
    ended: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(settings: object, children: list[Child], *_: object) -> str:
        del settings
        children.append(ended)
        return "http://127.0.0.1:9/"

    for name in ("claim_world", "prepare", "close_lost_runs"):
        monkeypatch.setattr(up, name, lambda *_, **__: None)
    monkeypatch.setattr(up, "_start", start)
    with raised("The thing ended with code 0: see {log_path}, then run `energy-etl up` again."):
        up.run_up(project_settings(tmp_path), port=3000, replay=None)


def test_rebuild_whose_computation_fails_names_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = SimpleNamespace(success=False, run_id="run-1")
    job = SimpleNamespace(execute_in_process=lambda **_: result)
    definitions = SimpleNamespace(resolve_job_def=lambda _: job)
    warehouse = Warehouse(tmp_path / "data" / "warehouse.duckdb", (SITE,))
    etl = SimpleNamespace(
        portfolio=lambda: SimpleNamespace(refuse_problems=lambda: None),
        warehouse=lambda: warehouse,
        now=lambda: datetime(2026, 1, 1),
    )
    for name in ("prepare", "close_lost_runs", "raw_reaches_back_to"):
        monkeypatch.setattr(rebuild, name, lambda *_, **__: None)
    monkeypatch.setattr(rebuild, "Etl", lambda **_: etl)
    monkeypatch.setattr(rebuild, "discover_vendors", dict)
    monkeypatch.setattr(rebuild, "build_defs", lambda _: definitions)
    lines = rebuild.rebuild_from_raw(
        project_settings(tmp_path),
        instance=SimpleNamespace(),  # pyright: ignore[reportArgumentType]
    )
    with raised(
        "The computation failed in run run-1: look at it with `energy-etl up`, then run "
        "`energy-etl rebuild` again."
    ):
        list(lines)


def test_sandbox_that_answers_allow_with_a_page_is_told() -> None:
    page = b'<form action="/x" method="post"><button name="a" value="b">Allow</button></form>'
    with (
        RawServer.answering(answer(200, page)) as server,
        raised(
            "{url} answered 200 to Allow, and no redirect: stop what answers there, then run "
            "`energy-etl sandbox`."
        ),
    ):
        allow(f"{server.url}/wiser")


def test_code_that_cannot_be_redeemed_says_to_authorise_again(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        auth = AuthorizationCodeAuth(
            f"http://127.0.0.1:{taken.getsockname()[1]}/token",
            "id",
            SecretStr("secret"),
            TokenStore(tmp_path),
            vendor="acme",
            account="rossi",
            default_lifetime_s=60.0,
        )
        with raised("{where} gave no token, {cause}: run `energy-etl acme authorize`."):
            auth.redeem("code", redirect_uri="http://x/", verifier=None, limits=Limits())


def test_outlook_without_an_outbox_says_how_to_get_one(tmp_path: Path) -> None:
    outbox = (
        "There is no outbox in {state_path}: run `energy-etl init`, or set ENERGY_ETL_ROOT to the "
        "project's folder."
    )
    with raised(outbox), look_ahead(Etl(root=str(tmp_path)), None):
        pass


class Told(NamedTuple):
    """What `Grumpy` answers."""

    status: int
    text: str = "no"
    retry_after_s: float | None = None
    may_have_arrived: bool = False


class Grumpy:
    """A collector that answers each packet with one status."""

    fingerprint = "x"

    def __init__(self, status: int) -> None:
        self._status = status

    async def post(self, body: bytes) -> Told:
        del body
        return Told(self._status)

    async def last(self, stream_id: str) -> datetime | None:
        del stream_id
        return None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (
            500,
            "Stream s: packet {stamp} was not accepted in 2 attempts ({what}): the stream waits, "
            "the next send run tries again.",
        ),
        (
            405,
            "The collector's answer to stream s, packet {stamp}, is none it should give ({what}): "
            "check the collector's URL in the settings; the stream waits.",
        ),
    ],
)
def test_stream_that_ends_says_why(tmp_path: Path, status: int, text: str) -> None:
    with open_state(tmp_path / "state.sqlite") as connection:
        outbox = Outbox(connection)
        fill(outbox, "s", 2)
        collectors: dict[str, Collector] = {"main": Grumpy(status)}
        limits = DrainLimits(request_timeout_s=1, max_attempts=2, backoff_base_s=0.001)
        report = run_fast(drain(outbox, collectors, limits=limits))
    (sentence,) = report.sentences
    assert pattern_of(text).fullmatch(sentence), sentence


def test_warehouse_that_is_missing_too_small_or_without_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb", (SITE,))
    with (
        raised("There is no warehouse at {path}: run `energy-etl init` or load something first."),
        looking(warehouse.path, lock_wait_s=1),
    ):
        pass
    with warehouse.write() as writer:
        writer.append(SITE, sites("a"))
    with (
        duckdb.connect(config={"memory_limit": "2MB", "temp_directory": ""}) as connection,
        raised("{path}: the memory was not enough ({text}): take a shorter range and run again."),
        errors_named(warehouse.path),
    ):
        connection.sql("SELECT list(range) FROM range(1000000)").fetchall()
    usage = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with raised(
        "The disk of {path} has {room} MiB free, and writing the file anew may take {size} MiB: "
        "free some space and run again; nothing was lost."
    ):
        compact(warehouse.path, lock_wait_s=5, worth_it=0)


def test_export_with_other_rows_than_its_manifest_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("energy_etl.defs.warehouse.all_tables", lambda: (SITE,))
    settings, out = project_settings(tmp_path), tmp_path / "out"
    with Warehouse(settings.warehouse_path, (SITE,)).write() as writer:
        writer.append(SITE, sites("a"))
    list(transfer_files.export_project(settings, out, schemas=["core"]))
    manifest = json.loads((out / "manifest.json").read_text())
    for told in manifest["files"].values():
        told["n_rows"] += 1
    (out / "manifest.json").write_text(json.dumps(manifest))
    with raised("{name} holds 1 rows and not 2: nothing was brought in; copy the export again."):
        list(transfer_files.import_project(settings, out, is_replacing=True))


def test_files_that_still_name_what_was_forgotten_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = SimpleNamespace(told="meter m")
    monkeypatch.setattr("energy_etl.defs.forgetting.meter_subject", lambda *_: subject)
    found = SimpleNamespace(is_empty=False, lines=list)
    monkeypatch.setattr("energy_etl.defs.forgetting.find", lambda *_: found)
    monkeypatch.setattr("energy_etl.defs.forgetting.forget_subject", lambda *_: ["a.html"])
    monkeypatch.setattr("energy_etl.cli.standing.refuse_no_project", lambda _: None)
    typed = Typed(tmp_path, "http://127.0.0.1:9", monkeypatch, capsys)
    code, _, err = typed.run("forget", "m", "--yes")
    assert code == 1
    assert "but these files still name it: a.html: look at them, and delete them." in err
