"""`energy-etl golive` and `push dry-run` on a target=live project whose vendors are on loopback."""

import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from energy_etl.cli.doctor.configuration import check_consent
from energy_etl.cli.doctor.rows import Row
from energy_etl.cli.doctor.subject import Subject
from energy_etl.defs.assets import wiser
from energy_etl.defs.assets.push import SendConfig
from energy_etl.defs.assets.push import dry_run as dry_run_of_the_job
from energy_etl.defs.delivery import release_streams
from energy_etl.defs.instance import open_instance
from energy_etl.defs.resources import Etl
from energy_etl.defs.sending import send_outbox
from energy_etl.defs.sensors import build_sensors
from energy_etl.delivery.agreed import stream_plans
from energy_etl.delivery.loop import run_fast
from energy_etl.delivery.outbox import Outbox
from energy_etl.rest import RequestLog
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.state import open_state
from energy_etl.vendors import discover_vendors, project_settings
from energy_etl.vendors.digiwatt.client import DigiwattClient, SmartMeter
from energy_etl.vendors.digiwatt.settings import DigiwattSettings
from energy_etl.vendors.golive import planned_calls, record_consent
from energy_etl.vendors.reach import Scheduled
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.defs.project import prepared
from energy_etl_tests.delivery.conftest import NOW, CollectorServer, new_id, packets

HEADER = (
    "stream_id,register_id,field,content,interval_minutes,credential,push_from_at,estimates,"
    "is_historical,zone\n"
)
SECRETS = ("sandbox-wattics-secret", "sandbox-digiwatt-secret", "sandbox-wattics-token")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    options = {"accepts_any_stream": True}
    with SandboxServer(World(now=fixed_clock(NOW)), wattics_options=options) as started:
        yield started


class Live:
    """A project's folder on target live, and what people type into it."""

    def __init__(self, root: Path, sandbox: SandboxServer, typed: Typed) -> None:
        self.root, self.sandbox, self.typed = root, sandbox, typed
        shutil.copytree(prepared("portfolio.example") / "data", root / "data")
        (root / "data" / "tokens").chmod(0o700)
        self.gas, self.mains, self.lost = new_id("gas"), new_id("mains"), new_id("lost")
        (root / "data" / "portfolio" / "streams.csv").write_text(
            HEADER
            + f"{self.gas},,pC_1,file,15,main,2025-01-06T00:00:00Z,,,Europe/Rome\n"
            + f"{self.mains},,pC_1,file,15,second,,,,Europe/Rome\n"
            + f"{self.lost},,pC_1,file,15,nobody,,,,Europe/Rome\n"
        )
        self.write({n: v.sandbox(sandbox.url) for n, v in discover_vendors().items() if v.sandbox})

    def write(self, sections: dict[str, Any]) -> None:
        lines = ['target = "live"']
        for name, section in sections.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(each)}" for key, each in section.items())]
        path = self.root / "energy_etl.toml"
        path.write_text("\n".join(lines))
        path.chmod(0o600)

    @property
    def sections(self) -> dict[str, Any]:
        found = tomllib.loads((self.root / "energy_etl.toml").read_text())
        return {name: each for name, each in found.items() if isinstance(each, dict)}

    @property
    def etl(self) -> Etl:
        return Etl(root=str(self.root))

    @property
    def state_path(self) -> Path:
        return self.root / "data" / "state.sqlite"

    def agree(self) -> None:
        settings = project_settings(self.root)
        record_consent(settings.state_path, planned_calls(settings), at=datetime.now(UTC))

    def fill(self, **numbers: list[int]) -> None:
        """Put packets into the outbox, as a computation does; nothing is released yet."""
        plans = {plan.stream_id: plan for plan in stream_plans(self.etl.portfolio())}
        with open_state(self.state_path) as connection:
            for name, stamps in numbers.items():
                stream_id = getattr(self, name)
                Outbox(connection).fill(packets(stream_id, stamps), [plans[stream_id]])

    def outbox_rows(self) -> list[str]:
        with open_state(self.state_path) as connection:
            return list(connection.iterdump())

    def send(self) -> None:
        """Do what the job `send_outbox` does."""
        release_streams(self.etl, None)
        with open_state(self.state_path) as connection:
            run_fast(send_outbox(project_settings(self.root), Outbox(connection)))

    def consent_row(self) -> Row | None:
        subject = Subject.look(project_settings(self.root), is_offline=True)
        return next(check_consent(subject), None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def live(
    tmp_path: Path,
    sandbox: SandboxServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Live:
    typed = Typed(tmp_path, sandbox.url, monkeypatch, capsys)
    monkeypatch.delenv("ENERGY_ETL_SANDBOX_URL")
    sandbox.app.log.clear()
    return Live(tmp_path, sandbox, typed)


def test_on_the_sandbox_it_says_what_to_set_first(live: Live) -> None:
    live.write({})
    path = live.root / "energy_etl.toml"
    path.write_text("")
    code, out, err = live.typed.run("golive", "--yes")
    assert (code, out) == (3, "")
    assert "set ENERGY_ETL_TARGET=live" in err
    assert live.consent_row() is None
    # An address that is somebody else's is refused on the sandbox too, and the advice holds.
    live.write({"digiwatt": {"base_url": "https://d.test/v1"}})
    path.write_text(path.read_text().replace("live", "sandbox"))
    row = live.consent_row()
    assert row is not None
    assert row.next_step == "Run `energy-etl golive`."
    code, out, _ = live.typed.run("golive", "--yes", "--json")
    told = json.loads(out)
    assert (code, told["target"], [each["vendor"] for each in told["vendors"]]) == (
        0,
        "sandbox",
        ["digiwatt"],
    )
    row = live.consent_row()
    assert row is not None
    assert row.verdict == "ok"


def test_commands_that_change_something_at_a_vendor_need_the_consent_and_reads_do_not(
    live: Live,
) -> None:
    file = live.root / "gas.csv"
    file.write_text("2025-01-07 01:15:00,1\n")
    before = live.outbox_rows()
    for command in (
        ("push", "csv", str(file), "--stream", live.gas),
        ("push", "test", live.gas),
        ("streams", "create", "rome-a.grid_import", "--yes"),
        ("license", "activate", "some-key", "--yes"),
        ("device", "update", "node", "--set", "a=1", "--yes"),
    ):
        code, out, err = live.typed.run(*command)
        assert (code, out) == (3, ""), (command, err)
        assert "run `energy-etl golive`" in err
        assert len(err.strip().splitlines()) == 1
    assert live.outbox_rows() == before
    # Its runs would fail one by one; what it would cost may be looked at.
    days = ("--from", "2026-01-02", "--to", "2026-01-03")
    code, out, err = live.typed.run("backfill", *days)
    assert (code, out, "run `energy-etl golive`" in err) == (3, "", True)
    with open_instance(live.root / "data" / "dagster_home") as instance:
        assert not instance.get_backfills()
    assert live.typed.run("backfill", "--preview", *days)[0] == 0
    assert live.typed.run("push", "csv", str(file), "--stream", live.gas, "--dry-run")[0] == 0
    assert live.typed.run("push", "test", live.gas, "--read-only")[0] == 0
    assert live.typed.run("streams", "list", "--json")[0] == 0
    assert live.typed.run("license", "list", "--json")[0] == 0


def test_run_without_consent_fails_once_and_calls_nobody(live: Live) -> None:
    with pytest.raises(dg.Failure) as failed:
        list(cast(Any, wiser.inventory)(dg.build_asset_context(), live.etl))
    assert "Nobody has agreed yet to call Wiser" in str(failed.value.description)
    assert not failed.value.allow_retries
    live.fill(gas=[1, 2])
    (sensor,) = [
        each
        for each in build_sensors(dg.DefaultSensorStatus.STOPPED, live.etl)
        if each.name == "outbox_pending_sensor"
    ]
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance) as context,
    ):
        skipped = sensor(context)
        assert isinstance(skipped, dg.SkipReason)
        assert "Packets of 1 stream are due. Nobody has agreed" in str(skipped.skip_message)
        live.agree()
        assert isinstance(sensor(context), dg.RunRequest)
    assert not live.sandbox.app.log


def test_golive_shows_all_asks_and_records_who_agreed(live: Live) -> None:
    live.fill(gas=[1, 2, 3, 5], lost=[1])
    code, out, err = live.typed.run("golive", answers="")
    assert (code, "Nobody answered: give --yes" in err) == (1, True)
    assert "Nothing was agreed" in out
    row = live.consent_row()
    assert row is not None
    assert (row.verdict, row.code, row.next_step) == ("fail", 3, "Run `energy-etl golive`.")
    url = live.sandbox.url
    for part in (
        f"{url}/digiwatt as client sandbox-digiwatt [NOT AGREED]",
        f"main: {url}/measurements/v2/unifiedjson/ as sandbox-wattics [NOT AGREED]",
        f"Push as main to {url}/measurements/v2/unifiedjson/",
        "1 stream (from 2025-01-06 00:00 UTC on), about 96 packets a day",
        "packets due now: 3; waiting: 1",
        "hole from",
        "the credential nobody is not in the settings",
        "quota: 4,320,000 calls a day (3,000 in 60 s)",
    ):
        assert part in out, (part, out)
    assert not [secret for secret in SECRETS if secret in out + err]
    code, out, _ = live.typed.run("golive", answers="y\n")
    assert (code, "Agreed to by " in out) == (0, True)
    assert "Some schedules and sensors are off: `energy-etl golive --start` switches all" in out
    row = live.consent_row()
    assert row is not None
    assert row.verdict == "ok"
    # Nothing changed, so nothing is asked.
    code, out, _ = live.typed.run("golive", "--json")
    told = json.loads(out)
    assert (code, told["is_agreed"], told["consent"]["is_withdrawn"]) == (0, True, False)
    assert {each["vendor"] for each in told["vendors"]} == set(discover_vendors())
    assert all(each["calls_a_day"] > 0 for each in told["vendors"])
    assert [(each["credential"], each["n_due"]) for each in told["pushes"]] == [
        ("main", 3),
        ("nobody", 0),
        ("second", 0),
    ]
    live.write({**live.sections, "digiwatt": {"base_url": "https://other.test", "client_id": "x"}})
    row = live.consent_row()
    assert row is not None
    assert "Nobody agreed to call digiwatt, as the settings have it now. Agreed to by" in row.cause
    assert not live.sandbox.app.log


def test_start_switches_everything_on_and_revoke_what_calls_vendors_off(live: Live) -> None:
    code, out, _ = live.typed.run("golive", "--yes", "--start", "--json")
    told = json.loads(out)
    assert (code, told["off"]) == (0, [])
    assert {"outbox_pending_sensor", "hourly_wattsense", "changed_data_sensor"} <= {
        *told["switched_on"]
    }
    calling = {name for name in told["on"] if name.startswith(("hourly_", "daily_"))}
    calling = calling - {"daily_report"} | {"outbox_pending_sensor"}
    assert len(calling) == 11
    code, out, err = live.typed.run("golive", "--revoke", "--json")
    told = json.loads(out)
    assert (code, told["is_withdrawn"]) == (0, True)
    assert set(told["switched_off"]) == calling
    code, _, err = live.typed.run("push", "test", live.gas)
    assert (code, "run `energy-etl golive`" in err) == (3, True)
    assert live.typed.run("golive", "--revoke", "--yes")[0] == 2


def test_dry_run_writes_what_a_send_run_then_sends_and_changes_nothing(live: Live) -> None:
    live.fill(gas=[3, 1, 2, 5], mains=[2, 1], lost=[1])
    before = live.outbox_rows()
    file = live.root / "packets.jsonl"
    code, out, err = live.typed.run("push", "dry-run", "--out", str(file), "--json")
    told = json.loads(out)
    assert (code, err, told["n_due"], told["n_waiting"]) == (0, "", 5, 2)
    rows = {row["stream_id"]: row for row in told["streams"]}
    assert "hole from" in rows[live.gas]["why"]
    assert "nobody is not in the settings" in rows[live.lost]["why"]
    told_by_job: list[str] = []
    config = SendConfig.model_validate({"dry_run": True})
    with dg.DagsterInstance.ephemeral() as instance:
        job = dry_run_of_the_job(live.etl, instance, "run", config, told_by_job.append)
    assert "5 packets of 2 streams due" in told_by_job[0]
    assert job["dry_run_packets"] == 5
    assert Path(job["dry_run_file"].path).read_text() == file.read_text()
    assert live.outbox_rows() == before
    assert not live.sandbox.app.log
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["url"] for line in lines} == {f"{live.sandbox.url}/measurements/v2/unifiedjson/"}
    assert not list((live.root / "data").glob(".dry-run-*"))
    live.agree()
    live.send()
    collector = CollectorServer(live.sandbox)
    for stream_id, account in ((live.gas, "main"), (live.mains, "second")):
        own = [line for line in lines if line["stream_id"] == stream_id]
        assert {line["credential"] for line in own} == {account}
        there = collector.collected(stream_id, account)
        assert there.bodies == [line["body"] for line in own]
        assert len(own) == {live.gas: 3, live.mains: 2}[stream_id]
    code, out, _ = live.typed.run("push", "dry-run", "--out", "-")
    assert (code, out) == (0, "")


def test_dry_run_into_a_pipe_leaves_it_one_and_takes_away_what_a_killed_one_left(
    live: Live,
) -> None:
    live.fill(gas=[1, 2])
    left = live.root / "data" / ".dry-run-killed"
    left.mkdir()
    os.utime(left, (0, 0))
    pipe = live.root / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert live.typed.run("push", "dry-run", "--out", str(pipe))[0] == 0
        assert len(os.read(reader, 65_536).splitlines()) == 2
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert not left.exists()


def test_digiwatt_is_called_as_often_as_its_plan_counts(live: Live) -> None:
    settings = project_settings(live.root)
    section = settings.section(DigiwattSettings)
    reach = discover_vendors()["digiwatt"].reach
    assert reach is not None
    assert reach.count_calls is not None
    aliases = live.etl.portfolio().used_aliases().filter(vendor="digiwatt", thing="meter")
    meter_id = aliases["vendor_id"][0]
    log = RequestLog("digiwatt")
    with DigiwattClient(
        section, log=log, state_path=settings.state_path, token_folder=settings.token_dir
    ) as client:
        client.fetch_meters([SmartMeter(meter_id, NOW.date(), meter_id)])
    n_calls = sum(call.endpoint != "auth/token" for call in log.calls())
    assert n_calls == reach.count_calls(section, Scheduled(True, 1, meter_ids=(meter_id,)))
