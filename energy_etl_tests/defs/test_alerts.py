"""`run_failure_sensor`: what a failed run leaves in the log and at the webhook."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from energy_etl.defs.alerts import (
    LOG_NAME,
    append_lines,
    build_alert_sensor,
    read_memory,
    tell_failures,
)
from energy_etl.defs.failures import plainly
from energy_etl.defs.faults import FIRST_WAIT, Memory
from energy_etl.defs.resources import Etl
from energy_etl.errors import UnavailableError
from energy_etl.settings import ROOT_VARIABLE
from energy_etl_tests.rest.raw_server import RawServer, answer

WEBHOOK = "ENERGY_ETL_ALERTS__WEBHOOK_URL"
SECRET = "ENERGY_ETL_DIGIWATT__CLIENT_SECRET"
CANARY = "canary-client-secret"
SENTENCE = (
    f"Vendor <!channel> @all said {CANARY} of 4 meters: start it\n with `energy-etl sandbox`."
)
# Which of the jobs below fail, by name.
BROKEN: set[str] = set()


@dg.op
@plainly
def work(context: dg.OpExecutionContext) -> None:
    """Fail while the job is broken."""
    if context.job_name in BROKEN:
        raise UnavailableError(SENTENCE)


@dg.job(executor_def=dg.in_process_executor)
def extract_a() -> None:
    work()


@dg.job(executor_def=dg.in_process_executor)
def compute_b() -> None:
    work()


class Place:
    """A project's folder, an instance, and the sensor's memory."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance, self.memory = root, instance, Memory()
        self.etl = Etl(root=str(root))

    def run(self, job: dg.JobDefinition, **tags: str) -> dg.ExecuteInProcessResult:
        return job.execute_in_process(
            instance=self.instance,
            raise_on_error=False,
            tags=tags,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )

    def tick(self, after: timedelta = timedelta()) -> str:
        return tell_failures(self.instance, self.etl, self.memory, datetime.now(UTC) + after)

    def log(self) -> list[list[str]]:
        path = self.root / "data" / "logs" / LOG_NAME
        return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Yield a place where `extract_a` fails."""
    monkeypatch.setenv(SECRET, CANARY)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    BROKEN.clear()
    BROKEN.add("extract_a")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Place(tmp_path, instance)


def test_failed_run_is_a_line_of_the_log_and_its_end_too(place: Place) -> None:
    run = place.run(extract_a, **{"dagster/partition": "2026-10-28"})
    assert place.tick().startswith("1 run failed: extract_a (2026-10-28): Vendor")
    ((at, job, partitions, run_id, line),) = place.log()
    assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=5)
    assert (job, partitions, run_id) == ("extract_a", "2026-10-28", run.run_id)
    assert line == (
        "Vendor <!channel> @all said [redacted] of 4 meters: start it with `energy-etl sandbox`."
    )
    assert place.tick() == ("No run failed since the last look. Not seen to end: 1 fault.")
    BROKEN.clear()
    # A backfill that succeeds brings other days: it ends nothing.
    place.run(extract_a, **{"dagster/backfill": "b"})
    assert "Not seen to end" in place.tick()
    place.run(extract_a)
    assert "1 fault over: extract_a: succeeded again at" in place.tick()
    assert len(place.log()) == 2
    assert place.tick() == "No run failed since the last look."


def test_webhook_is_told_once_of_what_goes_on_and_when_it_is_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer.answering(answer()) as server:
        monkeypatch.setenv(WEBHOOK, f"{server.url}/hook/canary-of-the-hook")
        first = place.run(extract_a)
        assert place.tick().endswith("The webhook was told of 1 fault.")
        second = place.run(extract_a)
        BROKEN.add("compute_b")
        place.run(compute_b)
        place.tick()
        place.tick()
        BROKEN.clear()
        place.run(extract_a)
        place.tick()
        told = [json.loads(received.body) for received in server.received]
    # Of the second failure of the same nothing is told until the day is over.
    assert [[each["job"] for each in one["failures"]] for one in told] == [
        ["extract_a"],
        ["compute_b"],
        [],
    ]
    assert told[0]["failures"][0]["run_id"] == first.run_id
    assert [one["n_runs"] for one in told[2]["recovered"]] == [2]
    assert told[2]["recovered"][0]["run_id"] == second.run_id
    text = told[0]["text"]
    assert "start it with `energy-etl sandbox`." in text
    # No chat calls anybody, and no secret of ours is in it.
    assert "<" not in text
    assert "@all" not in text
    assert CANARY not in json.dumps(told)


def test_webhook_that_is_down_stops_nothing_and_is_told_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer.answering(answer(503, b"canary-of-the-hook"), answer()) as server:
        monkeypatch.setenv(WEBHOOK, f"{server.url}/hook/canary-of-the-hook")
        place.run(extract_a)
        said = place.tick()
        assert "The webhook answered 503" in said
        assert "It is tried again at" in said
        # Not at each tick.
        assert "It is tried again at" in place.tick()
        assert len(server.received) == 1
        assert "The webhook was told of 1 fault." in place.tick(after=FIRST_WAIT)
        assert "webhook" not in place.tick(after=FIRST_WAIT)
        assert len(server.received) == 2
    place.run(extract_a)
    for text in (said, place.memory.model_dump_json(), *map("".join, place.log())):
        assert "canary" not in text


def test_settings_that_cannot_be_read_are_told_and_the_log_is_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_REFETCH_DAY", "3")
    place.run(extract_a)
    assert "The webhook cannot be told: The setting ENERGY_ETL_REFETCH_DAY is not" in place.tick()
    assert len(place.log()) == 1


def test_log_that_cannot_be_written_is_told(place: Place) -> None:
    (place.root / "data").write_text("a file")
    place.run(extract_a)
    assert "check that it exists, its rights and the free disk space" in place.tick()


def test_failure_of_before_the_first_look_is_never_told(place: Place) -> None:
    place.run(extract_a)
    for _ in range(2):
        assert place.tick(after=timedelta(days=40)) == "No run failed since the last look."
    place.run(extract_a)
    assert place.tick().startswith("1 run failed: extract_a")


def test_sensor_keeps_what_it_saw_and_begins_anew_after_a_foreign_cursor(place: Place) -> None:
    sensor = build_alert_sensor(place.etl)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    place.run(extract_a)
    cursor: str | None = '{"after_id": "of another version"}'
    said: list[str] = []
    for _ in range(2):
        with dg.build_sensor_context(place.instance, cursor=cursor) as context:
            tick = sensor.evaluate_tick(context)
        said.append(tick.skip_message or "")
        cursor = tick.cursor
    assert said[0].startswith("1 run failed: extract_a: Vendor")
    assert said[1].startswith("No run failed since the last look.")
    assert [fault.n_runs for fault in read_memory(cursor).faults] == [1]


def test_log_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / LOG_NAME
    for _ in range(5):
        append_lines(path, ["x" * 900_000])
    assert sorted(each.name for each in path.parent.iterdir()) == [LOG_NAME, f"{LOG_NAME}.1"]
    assert sum(each.stat().st_size for each in path.parent.iterdir()) < 4_000_000
