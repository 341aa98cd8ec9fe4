"""What a person sees of delivery in Dagster, and can do there: checks, the sensor, the retry."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.push import SendConfig, retry
from energy_etl.defs.delivery import fill_whole
from energy_etl.defs.jobs import RETRY_JOB, SEND_STEP, WATCH_JOB, sending_config
from energy_etl.defs.watching import TOLD_AGAIN_AFTER, TOLD_AT_MOST_EVERY, Told, why_not_told
from energy_etl.delivery import Outbox, release
from energy_etl.delivery.acks import Confirmed, Failed, Parked, Sent, apply
from energy_etl.errors import ConfigurationError
from energy_etl.state import connect, open_state
from energy_etl.tables import push
from energy_etl_tests.defs.project import QUIET, Project
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp, stamp_ms, states

LATE = ("lagging a",)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """Yield an outbox in which `a` is well, `b` parked, and `c` has a refused packet."""
    connection = connect(tmp_path / "state.sqlite")
    fill(Outbox(connection), "a", "b", "c")
    yield Outbox(connection)
    connection.close()


def fill(outbox: Outbox, well: str, parked: str, refused: str) -> None:
    plans = [plan(well), plan(parked, credential="second"), plan(refused)]
    for each in plans:
        outbox.fill(packets(each.stream_id, [1, 2]), [each], now=NOW)
    release(outbox, plans, [], NOW)
    events = [
        *(Sent(well, stamp_ms(n), body(well, n), 200, 1) for n in (1, 2)),
        Confirmed(well, stamp_ms(2)),
        Parked(parked, "The vendor does not know the stream."),
        Failed(refused, stamp_ms(1), body(refused, 1), 400, "HTTP 400", 1, True),
        Sent(refused, stamp_ms(2), body(refused, 2), 200, 1),
    ]
    apply(outbox, events, NOW)


def test_packets_that_were_released_while_others_were_computed_failed_the_computation(
    tmp_path: Path,
) -> None:
    with open_state(tmp_path / "moved.sqlite") as connection:
        outbox, one, n_computed = Outbox(connection), plan("s"), 0

        def compute(offsets: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
            nonlocal n_computed
            n_computed += 1
            if n_computed == 2:
                # What a sensor does meanwhile.
                release(outbox, [one], [], NOW)
            known = offsets if offsets.height else first
            return packets("s", range(1, n_computed + 2)), known

        row = ("s", "pC_1", stamp(1), 0.0, False, None, None, "register-of-s")
        first = pl.DataFrame([row], schema=outbox.offsets().schema, orient="row")
        assert fill_whole(outbox, [one], compute).n_added == 2
        assert fill_whole(outbox, [one], compute).n_added == 2
        assert n_computed == 3
        assert set(states(outbox, "s")) == {1, 2, 3, 4}


def config_of(**given: Any) -> SendConfig:
    return SendConfig(**given)


@pytest.mark.parametrize(
    ("config", "n_parked", "n_rejected"),
    [
        ({}, 1, 1),
        ({"retries_all": True}, 0, 0),
        ({"retry_streams": ["c"]}, 1, 0),
        ({"retries_all": True, "retry_streams": ["b"]}, 0, 1),
        ({"retry_credential": "second"}, 0, 1),
    ],
)
def test_retry_takes_all_or_only_what_is_named(
    outbox: Outbox, config: dict[str, Any], n_parked: int, n_rejected: int
) -> None:
    told: list[str] = []
    retry(outbox, config_of(**config), told.append)
    assert sum(each.parked_reason is not None for each in outbox.streams()) == n_parked
    assert outbox.count("rejected") == n_rejected
    assert len(told) == bool(config)


def test_retry_of_a_stream_nobody_knows_is_refused(outbox: Outbox) -> None:
    with pytest.raises(ConfigurationError, match="nope: no such stream or credential"):
        retry(outbox, config_of(retry_streams=["a", "nope"]), print)
    assert states(outbox, "c")[1] == "rejected"


AT = datetime(2026, 10, 28, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "told", "passed", "reason"),
    [
        ((), Told(), timedelta(0), "No stream lags"),
        (LATE, Told(), timedelta(0), None),
        (LATE, Told(LATE, AT), timedelta(minutes=59), "Told at 09:00 UTC"),
        (LATE, Told(LATE, AT), TOLD_AGAIN_AFTER, None),
        ((), Told(LATE, AT), timedelta(minutes=1), "told in a few minutes: all is well"),
        ((), Told(LATE, AT), TOLD_AT_MOST_EVERY, None),
        ((), Told((), AT), timedelta(days=9), "No stream lags"),
        # The clock was set back since.
        (LATE, Told((), AT), -timedelta(days=99), None),
        (LATE, Told(LATE, AT), -timedelta(days=99), None),
    ],
)
def test_what_changed_is_told_soon_and_what_stays_each_hour(
    lines: tuple[str, ...], told: Told, passed: timedelta, reason: str | None
) -> None:
    found = why_not_told(lines, told, AT + passed)
    assert found is None if reason is None else reason in str(found)


def tick(project: Project, name: str) -> Any:
    sensor = project.definitions.resolve_sensor_def(name)
    with dg.build_sensor_context(project.instance) as context:
        return sensor(context)


def test_stream_that_lags_is_red_within_a_look_although_nothing_is_sent(project: Project) -> None:
    assert "No stream lags" in tick(project, "lagging_stream_sensor").skip_message
    well, parked, refused = (
        project.etl.portfolio().frames[push.STREAM]["stream_id"].sort().head(3).to_list()
    )
    with open_state(project.settings.state_path) as connection:
        fill(Outbox(connection), well, parked, refused)
    wish = tick(project, "lagging_stream_sensor")
    assert isinstance(wish, dg.RunRequest)
    job = project.definitions.resolve_job_def(WATCH_JOB)
    result = job.execute_in_process(
        instance=project.instance, run_config={**QUIET, **wish.run_config}
    )
    assert result.success
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in checks.items()} == {
        "delivered": False,
        "lag": False,
        "spacing": True,
        "holes": True,
    }
    assert checks["delivered"].severity == dg.AssetCheckSeverity.ERROR
    assert f"{parked}: The vendor does not know the stream." in str(checks["delivered"].description)
    assert checks["lag"].severity == dg.AssetCheckSeverity.WARN
    assert f"{well}: " in str(checks["lag"].description)
    made = {key for e in result.get_asset_materialization_events() if (key := e.asset_key)}
    assert {".".join(key.path) for key in made} == {
        "push.stream_status",
        "push.hole",
        "push.response",
    }
    status = project.warehouse.read_table(push.STREAM_STATUS)
    assert status.filter(stream_id=well)["n_confirmed"].item() == 2
    assert not project.sandbox.app.log
    # Told: the same is not told again at once, and what is not red any more is.
    assert "Told at" in tick(project, "lagging_stream_sensor").skip_message
    with open_state(project.settings.state_path) as connection:
        Outbox(connection).retry()
    assert "what changed is told" in tick(project, "lagging_stream_sensor").skip_message


def test_retry_job_retries_everything_unless_it_is_told_otherwise(project: Project) -> None:
    job = project.definitions.resolve_job_def(RETRY_JOB)
    assert job.run_config == sending_config(retries_all=True)
    assert SEND_STEP in {node.name for node in job.nodes}
