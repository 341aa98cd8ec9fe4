"""Faults that were planted, each with the row and the exit code that `doctor` must give."""

import errno
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime

import dagster as dg
import msgspec
import pytest

from energy_etl.cli.doctor import machine, storage, subject
from energy_etl.defs.forgetting_note import NOTE
from energy_etl.defs.instance import open_instance
from energy_etl.delivery.acks import Failed, Parked, apply
from energy_etl.quota import Quota, quota_use
from energy_etl.state import Marks, Window, open_state
from energy_etl.tables import core
from energy_etl.tokens import TokenStore
from energy_etl.vendors import discover_vendors
from energy_etl.vendors.wiser.settings import TOKEN_PATH, WiserSettings
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.cli.doctor.ground import STREAM, Ground, expect, now, row_of
from energy_etl_tests.delivery.conftest import NOW, body, stamp_ms
from energy_etl_tests.rest.raw_server import RawServer, answer
from energy_etl_tests.warehouse.frames import other_process, readings, sites

Plant = Callable[[Ground], None]
HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""
WAIT = 'print("ready", flush=True); input()'
HOLD_STATE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("ready", flush=True)
sys.stdin.read()
"""


def wrong_key(ground: Ground) -> None:
    ground.env("DIGIWATT__CLIENT_SECRET", "")


def silent_webhook(ground: Ground) -> None:
    with RawServer.answering(answer()) as gone:
        ground.env("ALERTS__WEBHOOK_URL", f"{gone.url}/hook/canary")


def unmapped_credential(ground: Ground) -> None:
    edit(ground, "streams.csv", ",main", ",third")


def open_dotenv(ground: Ground) -> None:
    path = ground.root / ".env"
    path.write_text("ENERGY_ETL_DIGIWATT__CLIENT_SECRET=sandbox-digiwatt-secret\n")
    path.chmod(0o644)


def open_dotenv_without_secret(ground: Ground) -> None:
    path = ground.root / ".env"
    path.write_text("ENERGY_ETL_REFETCH_DAYS=4\n")
    path.chmod(0o644)


def open_token(ground: Ground) -> None:
    next((ground.data / "tokens").glob("*.json")).chmod(0o644)


def no_data(ground: Ground) -> None:
    shutil.rmtree(ground.data)


def read_only_data(ground: Ground) -> None:
    shutil.rmtree(ground.data)
    # Nobody makes a file there, root neither, whom no mode of a folder stops.
    ground.data.symlink_to("/proc")


def full_disk(ground: Ground) -> None:
    ground.monkeypatch.setattr(machine, "free_bytes", lambda _: 5_000_000)


def two_dagsters(ground: Ground) -> None:
    version = importlib.metadata.version
    changed = {"dagster-webserver": "1.12.0"}
    ground.monkeypatch.setattr(
        importlib.metadata, "version", lambda name: changed.get(name) or version(name)
    )


def old_polars(ground: Ground) -> None:
    version = importlib.metadata.version
    ground.monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.20" if name == "polars" else version(name)
    )


def old_zones(ground: Ground) -> None:
    ground.monkeypatch.setattr(machine, "zone_data_version", lambda: "2019c")


def no_portfolio(ground: Ground) -> None:
    shutil.rmtree(ground.data / "portfolio")


def faulty_cell(ground: Ground) -> None:
    edit(ground, "sites.csv", "Europe/Rome", "Europe/Roma")


def damaged_events(ground: Ground) -> None:
    (ground.data / "dagster_home" / "history" / "runs" / "index.db").write_bytes(b"x" * 9000)


def unreadable_yaml(ground: Ground) -> None:
    (ground.data / "dagster_home" / "dagster.yaml").write_text("storage: [", encoding="utf-8")


def somebody_elses_file(ground: Ground) -> None:
    mine = machine.may_write
    ground.monkeypatch.setattr(
        machine, "may_write", lambda path: path.name != "warehouse.duckdb" and mine(path)
    )


def killed_forgetting(ground: Ground) -> None:
    # Its note is the last that goes.
    (ground.data / NOTE).write_text(json.dumps({"m-1": {"ids": ["m-1"]}}))


def no_more_files(ground: Ground) -> None:
    ground.monkeypatch.setattr(machine, "free_files", lambda _: 3)


def disk_full_on_trial(ground: Ground) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ground.monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)


def state_without_rights(ground: Ground) -> None:
    (ground.data / "state.sqlite").unlink()
    (ground.data / "state.sqlite").mkdir()


def no_warehouse(ground: Ground) -> None:
    (ground.data / "warehouse.duckdb").unlink()


def held_warehouse(ground: Ground) -> None:
    ground.monkeypatch.setattr(storage, "LOCK_WAIT_S", 0.1)
    ground.stack.enter_context(other_process(HOLD, ground.data / "warehouse.duckdb"))


def run_at_work(ground: Ground) -> None:
    ground.monkeypatch.setattr(storage, "LOCK_WAIT_S", 0.1)
    path = ground.data / "warehouse.duckdb"
    ground.stack.enter_context(other_process(HOLD, path, "-m", "dagster", "api", "execute_run"))


def newer_warehouse(ground: Ground) -> None:
    path = ground.data / "warehouse.duckdb"
    content = bytearray(path.read_bytes())
    content[12:20] = (999).to_bytes(8, "little")
    content[52:58] = b"v9.9.9"
    path.write_bytes(content)


def damaged_warehouse(ground: Ground) -> None:
    (ground.data / "warehouse.duckdb").write_bytes(b"no database" * 1000)


def damaged_state(ground: Ground) -> None:
    path = ground.data / "state.sqlite"
    # Bring what is in its log into the file, then spoil a page of it.
    with open_state(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    content = bytearray(path.read_bytes())
    content[4096:8192] = os.urandom(4096)
    path.write_bytes(content)


def no_state(ground: Ground) -> None:
    (ground.data / "state.sqlite").unlink()


def old_marks(ground: Ground) -> None:
    at = now() - timedelta(hours=5)
    with open_state(ground.data / "state.sqlite") as connection:
        Marks(connection).mark("interval", [Window("r", at, at, "wattsense")], at)


def unpublished(ground: Ground) -> None:
    with Warehouse(ground.data / "warehouse.duckdb", (core.SITE,)).write() as writer:
        writer.replace_all(core.SITE, sites("a"))


def no_instance(ground: Ground) -> None:
    shutil.rmtree(ground.data / "dagster_home")


def edited_instance(ground: Ground) -> None:
    path = ground.data / "dagster_home" / "dagster.yaml"
    path.write_text(path.read_text().replace("granularity: run", "granularity: op"))


def damaged_instance(ground: Ground) -> None:
    (ground.data / "dagster_home" / "history" / "runs.db").write_bytes(b"no database" * 1000)


def two_daemons(ground: Ground) -> None:
    ground.monkeypatch.setenv("DAGSTER_HOME", str(ground.data / "dagster_home"))
    for _ in range(2):
        # As the daemon's command line is seen by others.
        ground.stack.enter_context(other_process(WAIT, "-m", "dagster._daemon", "run"))


def stuck_run(ground: Ground) -> None:
    with open_instance(ground.data / "dagster_home") as instance:
        run = dg.DagsterRun(job_name="extract_wiser", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)


def wrong_digiwatt(ground: Ground) -> None:
    ground.password("sandbox-digiwatt", "another-secret", "sandbox-digiwatt-secret")


def wrong_smartgridone(ground: Ground) -> None:
    ground.password("sandbox-smartgridone", "another-secret", "sandbox-smartgridone-secret")


def wrong_wattsense(ground: Ground) -> None:
    ground.password("sandbox-wattsense", "another-secret", "sandbox-wattsense-secret")


def wrong_collector(ground: Ground) -> None:
    ground.password("main", "another-secret", "sandbox-wattics-secret")


def wrong_api_token(ground: Ground) -> None:
    ground.password("wattics-api", "another-token", "sandbox-wattics-token")


def no_consent(ground: Ground) -> None:
    shutil.rmtree(ground.data / "tokens")


def ended_consent(ground: Ground) -> None:
    section = ground.settings.section(WiserSettings)
    store = TokenStore(ground.data / "tokens")
    key = (section.base_url + TOKEN_PATH, section.client_id, section.account)
    token = store.read(*key)
    assert token is not None
    store.write(msgspec.structs.replace(token, ended_at_s=now().timestamp()), *key)


def vendor_down(ground: Ground) -> None:
    ground.fault(vendor="wattsense", kind="down")


def vendor_away(ground: Ground) -> None:
    ground.env("WATTSENSE__BASE_URL", "http://127.0.0.1:9")


def vendor_failing(ground: Ground) -> None:
    ground.fault(vendor="smartgridone", kind="status", status=503, times=None)


def unknown_meter(ground: Ground) -> None:
    ground.fault(vendor="digiwatt", kind="status", status=404, path_contains="savings", times=None)


def wrong_clock(ground: Ground) -> None:
    date = format_datetime(now() + timedelta(hours=1), usegmt=True)
    server = RawServer.answering(answer(401, b"{}", headers={"Date": date}))
    ground.stack.enter_context(server)
    ground.env("WATTSENSE__BASE_URL", server.url)


def used_up(ground: Ground) -> None:
    ground.env("WATTSENSE__CALLS_PER_5_MINUTES", "1")
    url = f"{ground.sandbox.url}/wattsense"
    quota = Quota(ground.data / "state.sqlite", f"wattsense at {url}", 1, 300.0)
    quota.acquire(0.0)
    quota.close()


def no_sandbox(ground: Ground) -> None:
    ground.monkeypatch.delenv("ENERGY_ETL_SANDBOX_URL")
    # Somebody may run one on the usual port of this machine.
    ground.monkeypatch.setattr(subject, "_is_sandbox", lambda _: False)


def parked(ground: Ground) -> None:
    ground.deliver(STREAM)
    with ground.outbox() as outbox:
        apply(outbox, [Parked(STREAM, "The vendor does not know it.", "fingerprint")], NOW)


def rejected(ground: Ground) -> None:
    ground.deliver(STREAM, 1)
    refused = Failed(STREAM, stamp_ms(2), body(STREAM, 2), 400, "HTTP 400: no such field", 1, True)
    with ground.outbox() as outbox:
        apply(outbox, [refused], NOW)


def lagging(ground: Ground) -> None:
    ground.deliver(STREAM, 1, 2, 3)


@dataclass(frozen=True)
class Planted:
    """A fault, and the row that must tell of it."""

    plant: Plant
    check: str
    what: str
    verdict: str
    cause: str
    next_step: str
    code: int


# fmt: off
FAULTS = [
    Planted(wrong_key, "settings", "settings of Digiwatt", "fail",
            r"digiwatt\.client_secret is empty", r"Set ENERGY_ETL_DIGIWATT__CLIENT_SECRET in", 3),
    Planted(unmapped_credential, "settings", "settings of Wattics", "fail",
            r"streams of streams\.csv are pushed by the credential third, which is not in",
            r"ENERGY_ETL_WATTICS__CREDENTIALS__THIRD__PASSWORD", 3),
    Planted(open_dotenv, "file permissions", "file permissions", "fail",
            r"\.env can be read by group or others \(mode 644\) and holds secrets",
            r"Run `chmod 600 .*/\.env`, and renew", 3),
    Planted(open_dotenv_without_secret, "file permissions", "file permissions", "warn",
            r"\.env can be read by .*; it holds no secret yet", r"Run `chmod 600 .*/\.env`\.", 0),
    Planted(open_token, "file permissions", "file permissions", "fail",
            r"tokens/\w+\.json can be read by group or others", r"chmod 600 .*\.json`", 3),
    Planted(no_data, "data folder", "data folder", "fail",
            r"There is no .*/data", r"Run `energy-etl init`", 3),
    Planted(read_only_data, "data folder", "data folder", "fail",
            r"/data cannot be written \(", r"chmod u\+rwx .*/data", 3),
    Planted(somebody_elses_file, "data folder", "data folder", "fail",
            r"warehouse\.duckdb cannot be written by this user \(\w+; the owner is \w+\)",
            r"sudo chown -R \w+ .*/data`, or run energy-etl as the owner", 3),
    Planted(disk_full_on_trial, "data folder", "data folder", "fail",
            r"cannot be written \(No space left", r"^Free some space on the disk of", 1),
    Planted(killed_forgetting, "data folder", "forgetting", "warn",
            r"`energy-etl forget` of m-1 did not end", r"the same `energy-etl forget` again", 0),
    Planted(no_more_files, "disk space", "disk space", "fail",
            r"inodes are used up", r"df -i", 1),
    Planted(full_disk, "disk space", "disk space", "fail",
            r"^5 MB are free", r"Free at least 200 MB on the disk of .*/data", 1),
    Planted(two_dagsters, "versions", "versions", "fail",
            r"dagster is [\d.]+ and dagster-webserver 1\.12\.0", r"make -B \.venv/\.installed", 1),
    Planted(old_polars, "versions", "versions", "fail",
            r"needs polars.*found 0\.20", r"make -B \.venv/\.installed", 1),
    Planted(old_zones, "zone data", "zone data", "warn",
            r"version 2019c", r"tzdata", 0),
    Planted(no_portfolio, "portfolio", "portfolio", "fail",
            r"There is no portfolio in .*/data/portfolio", r"energy-etl init --discover", 3),
    Planted(faulty_cell, "portfolio", "portfolio", "fail",
            r"Europe/Roma", r"Mend sites\.csv line \d, column zone", 3),
    Planted(no_warehouse, "warehouse", "warehouse", "fail",
            r"There is no .*warehouse\.duckdb", r"Run `energy-etl init`", 3),
    Planted(held_warehouse, "warehouse", "warehouse lock", "fail",
            r"is held by process \d+ \(.*python.*since 20\d\d-.*UTC\)\. Every run waits",
            r"Close that program \(`kill \d+`\), and open data/energy\.duckdb", 1),
    Planted(run_at_work, "warehouse", "warehouse lock", "warn",
            r"is held by process \d+ \(", r"It is a run or a command of this project: wait", 0),
    Planted(newer_warehouse, "warehouse", "warehouse", "fail",
            r"made by DuckDB v9\.9\.9", r"^When a newer DuckDB made the file", 1),
    Planted(damaged_warehouse, "warehouse", "warehouse", "fail",
            r"warehouse\.duckdb", r"import DIR --keep-outbox.*so `rebuild` cannot help", 1),
    Planted(damaged_state, "state file", "state file", "fail",
            r"state\.sqlite (is damaged|cannot be used)",
            r"with state\.sqlite-wal.* put a copy", 1),
    Planted(state_without_rights, "state file", "state file", "fail",
            r"cannot be used as the state file", r"^Check the path and its rights", 1),
    Planted(no_state, "state file", "state file", "fail",
            r"There is no .*state\.sqlite", r"energy-etl init", 3),
    Planted(old_marks, "state file", "marks", "fail",
            r"nobody computes them \(interval: 1 of 1 registers, the oldest of 20",
            r"energy-etl up.*compute_figures", 1),
    Planted(unpublished, "warehouse", "published file", "fail",
            r"energy\.duckdb is missing", r"energy-etl up.*materialize published/energy", 1),
    Planted(no_instance, "Dagster instance", "Dagster instance", "fail",
            r"There is no .*dagster\.yaml", r"energy-etl init", 3),
    Planted(edited_instance, "Dagster instance", "Dagster instance", "warn",
            r"differs from what .* in concurrency\.pools\.granularity\.", r"energy-etl init", 0),
    Planted(damaged_instance, "Dagster instance", "Dagster instance", "fail",
            r"runs\.db is damaged \(file is not a database\)",
            r"move .*dagster_home away and run `energy-etl init`", 1),
    Planted(damaged_events, "Dagster instance", "Dagster instance", "fail",
            r"index\.db is damaged", r"move .*dagster_home away and run `energy-etl init`", 1),
    Planted(unreadable_yaml, "Dagster instance", "Dagster instance", "fail",
            r"dagster\.yaml cannot be read \(",
            r"move that file away and run `energy-etl init`", 3),
    Planted(two_daemons, "Dagster instance", "Dagster daemon", "fail",
            r"2 daemons run on one home: process \d+ .* and process \d+", r"Stop all but", 1),
    Planted(stuck_run, "Dagster instance", "Dagster runs", "fail",
            r"run \w{8} of extract_wiser is started since 20", r"energy-etl up", 1),
    Planted(wrong_digiwatt, "Digiwatt", "Digiwatt", "fail",
            r"refused the client id and secret \(40", r"^Check digiwatt\.client_id and", 4),
    Planted(wrong_smartgridone, "SmartgridOne", "SmartgridOne", "fail",
            r"refused the username and password \(401\)", r"^Check smartgridone\.username and", 4),
    Planted(wrong_wattsense, "Wattsense", "Wattsense", "fail",
            r"answered 401 .*The signature does not match", r"^Check wattsense\.api_key and", 4),
    Planted(wrong_collector, "Wattics main", "Wattics main", "fail",
            r"last packet of stream dp-\w+: HTTP 401", r"^Check the credential's user name", 4),
    Planted(wrong_api_token, "Wattics api", "Wattics api", "fail",
            r"answered 401", r"^Check wattics\.api_token in the settings", 4),
    Planted(no_consent, "Wiser", "Wiser", "fail",
            r"The Wiser account main is not authorised", r"Run `energy-etl wiser authorize`", 4),
    Planted(ended_consent, "Wiser", "Wiser", "fail",
            r"consent of the Wiser account main has ended on 20", r"energy-etl wiser authorize", 4),
    Planted(vendor_down, "Wattsense", "Wattsense", "fail",
            r"wattsense user \(page=0\) failed at http.* asked 2 times", r"^Run again later", 5),
    Planted(vendor_away, "Wattsense", "Wattsense", "fail",
            r"no connection could be opened", r"^Start the sandbox with", 5),
    Planted(vendor_failing, "SmartgridOne", "SmartgridOne", "fail",
            r"503", r"^Run again later", 5),
    Planted(unknown_meter, "Digiwatt", "Digiwatt", "fail",
            r"answered 404", r"Check the id in the portfolio", 1),
    Planted(wrong_clock, "Wattsense", "clock beside Wattsense", "fail",
            r"clock is 3,[56]\d\d s behind", r"timedatectl set-ntp true", 4),
    Planted(used_up, "Wattsense", "Wattsense", "warn",
            r"budget of 1 calls in 300 s is used up", r"Wait", 0),
    Planted(no_sandbox, "sandbox", "sandbox", "warn",
            r"No sandbox runs for .*, so no vendor was asked", r"Run `energy-etl up`", 0),
    Planted(parked, "delivery", f"stream {STREAM}", "fail",
            r"^Parked: The vendor does not know it\. Last packet none yet; pending 3, rejected 0",
            rf"energy-etl outbox retry --stream {STREAM}", 1),
    Planted(silent_webhook, "webhook", "webhook", "warn",
            r"^The webhook was not reached, .*refused.*told in the log only",
            r"^Check the network and ENERGY_ETL_ALERTS__WEBHOOK_URL\.$", 0),
    Planted(rejected, "delivery", f"stream {STREAM}", "fail",
            r"Wattics refused 1 packets\. Last packet 2025-01-06 .*; pending 1, rejected 1",
            rf"energy-etl outbox list --stream {STREAM}`, mend it", 1),
    Planted(lagging, "delivery", f"stream {STREAM}", "warn",
            r"overdue by \d+ d\. Last packet 2025-01-06 00:45", r"energy-etl outbox status", 0),
]
# fmt: on


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.plant.__name__)
def test_planted_fault_is_told_with_cause_next_step_and_code(
    ground: Ground, planted: Planted
) -> None:
    planted.plant(ground)
    rows, code = ground.look(planted.check)
    expect(row_of(rows, planted.what), planted.verdict, planted.cause, planted.next_step)
    assert code == planted.code


def test_published_file_that_fell_behind_is_told_once_it_is_late(ground: Ground) -> None:
    # Of two tables, without views: publishing all that is empty would take a second.
    warehouse = Warehouse(ground.data / "warehouse.duckdb", (core.SITE, core.READING))
    with warehouse.write() as writer:
        writer.replace_all(core.SITE, sites("a"))
        writer.append(core.READING, readings([1.0], received_at=NOW))
    publish(warehouse, data_dir=ground.data, views_folder=ground.root)
    (row, published), _ = ground.look("warehouse")
    assert (row.verdict, published.verdict) == ("ok", "ok")
    assert "shows what the warehouse holds" in published.cause
    with warehouse.write() as writer:
        writer.replace_all(core.SITE, sites("a", "b"))
    (_, published), _ = ground.look("warehouse")
    assert published.verdict == "ok"
    assert "the next computation publishes them" in published.cause
    long_ago_s = now().timestamp() - 3600
    os.utime(warehouse.path, (long_ago_s, long_ago_s))
    (_, published), code = ground.look("warehouse")
    expect(
        published, "warn", r"older than the warehouse in 1 tables \(core\.site\)", "energy-etl up"
    )
    assert code == 0
    # As when the project's folder was moved: the views name files by their old place.
    (ground.data / "published" / "core").rename(ground.data / "published" / "elsewhere")
    (_, published), code = ground.look("warehouse")
    cause = r"energy\.duckdb reads .*/core/reading/month=.*parquet, which are not there"
    expect(published, "fail", cause, r"energy-etl up.*materialize published/energy")
    assert code == 1


def test_process_that_writes_the_state_file_is_named(ground: Ground) -> None:
    with other_process(HOLD_STATE, ground.data / "state.sqlite") as holder:
        rows, code = ground.look("state file")
    assert f"process {holder.pid}" in row_of(rows, "state file").cause
    assert code == 0


def test_budgets_are_those_that_the_clients_count_against(ground: Ground) -> None:
    settings = ground.settings
    for vendor in discover_vendors().values():
        assert vendor.reach is not None
        budget = vendor.reach.budgets(settings.section(vendor.settings))[0]
        ground.look("Wattics api" if vendor.name == "wattics" else vendor.title)
        use = quota_use(settings.state_path, budget.name, budget.window_s, now().timestamp())
        assert use.n_used > 0, budget


def edit(ground: Ground, file: str, before: str, after: str) -> None:
    path = ground.data / "portfolio" / file
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
