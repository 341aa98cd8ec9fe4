"""The main job through Dagster's instance: again, in any order, with vendors and checks failing."""

import json
import random
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from energy_etl.cli.rebuild import rebuild_from_raw
from energy_etl.cli.sandbox_consent import grant_sandbox_consent
from energy_etl.defs.checks import _energy_conserved
from energy_etl.defs.marks import mark_for
from energy_etl.state import Marks, Window, open_state
from energy_etl.tables import core
from energy_etl.warehouse import read_published
from energy_etl_tests.defs.project import MADE, N_DAYS, Project, failure_text, warnings_of
from energy_etl_tests.journeys.test_readers import readme_queries

# A table of each vendor, and what is made of it for people.
LISTED = (
    ("digiwatt", "consumption"),
    ("smartgridone", "telemetry"),
    ("wattics", "consumption"),
    ("wattsense", "history"),
    ("wiser", "device"),
    ("mart", "access"),
    ("mart", "licence"),
    ("mart", "period_trend"),
    ("mart", "portfolio_tree"),
    ("mart", "stream_comparison"),
)


def call(project: Project, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the sandbox's control interface."""
    request = urllib.request.Request(
        project.sandbox.url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def received(project: Project) -> dict[str, dict[str, Any]]:
    """Return the collector's counters of every stream that got a packet."""
    rows = call(project, "/_sandbox/streams")
    return {row["stream"]: row for row in rows if row["received"]}


def n_data_calls(project: Project) -> int:
    """Count the calls for data; a token is kept while it lives."""
    rows = project.warehouse.read(
        "SELECT count(*) AS n FROM raw.request WHERE endpoint NOT LIKE '%token%'"
    )
    return rows["n"].item()


def n_readings(project: Project) -> int:
    """Count the readings with a value."""
    sql = "SELECT count(*) AS n FROM core.reading WHERE reading_native IS NOT NULL"
    return project.warehouse.read(sql)["n"].item()


@pytest.mark.journey
def test_main_job_of_five_vendors_again_and_rebuilt_gives_the_same_tables(tmp_path: Path) -> None:
    with Project(tmp_path / "five", sites=("rome-b", "ghent-a"), push_days=1) as project:
        grant_sandbox_consent(project.settings)
        last_on = project.now.date()
        # From before the streams start on: a hole at their beginning would be waited for.
        days = last_on - timedelta(days=1), last_on
        extracted = ("digiwatt", "smartgridone", "wattsense", "wiser")
        for vendor in extracted:
            assert project.extract(vendor, *days).success
        assert project.compute(only=("core", "push")).success
        assert project.send().success
        assert project.extract("wattics", *days).success
        # The rebuild below checks the same tables.
        assert project.compute(only=MADE).success
        first, first_hashes, n_first = received(project), project.hashes(), n_data_calls(project)
        assert {f"{name}.{table}" for name, table in LISTED} <= {
            name for name, digest in first_hashes.items() if not digest.startswith("0-")
        }
        assert project.count("confirmed") == sum(c["received"] for c in first.values()) > 0
        assert project.count("pending") == project.count("sent") == project.count("rejected") == 0
        for query in readme_queries():
            rows = read_published(project.settings.published_path, query)
            # That nothing differs, or happened at all, is an answer too.
            may_be_empty = ("verdict", "score", "is_known_better_now")
            assert rows.height or any(word in query for word in may_be_empty), query

        for vendor in (*extracted, "wattics"):
            assert project.extract(vendor, *days).success
        # The marts come from the same rows by the rebuild below: all of them, from nothing.
        assert project.compute(only=("core", "push")).success
        assert project.count("pending") == 0
        assert n_data_calls(project) > n_first
        assert project.hashes() == first_hashes
        second = received(project)
        assert second == first
        assert all(c["out_of_order"] == c["duplicates"] == 0 for c in second.values())

        project.sandbox.stop()
        lines = list(rebuild_from_raw(project.settings, now=project.now, instance=project.instance))
        assert lines[-1].startswith("Computed and published again")
        assert project.hashes() == first_hashes


@pytest.mark.parametrize("seed", [1])
def test_partitions_in_random_order_with_overlaps_give_the_same_tables(
    computed: Project, project: Project, seed: int
) -> None:
    days = [computed.now.date() - timedelta(days=n) for n in reversed(range(N_DAYS))]
    spans = [(days[0], days[1]), (days[1], days[3]), (days[3], days[4])]
    random.Random(seed).shuffle(spans)
    for number, span in enumerate(spans):
        assert project.load(*span).success
        # Not after each: several batches may be computed in one run, too.
        if number in (1, len(spans) - 1):
            assert project.compute(only=("core", "push")).success
    assert project.hashes("core") == computed.hashes("core")


def test_blocking_check_fails_and_nothing_is_sent(computed: Project) -> None:
    project = computed
    n_before = sum(project.count(state) for state in ("held", "pending"))
    row = project.warehouse.read_table(core.INTERVAL).head(1)
    with project.warehouse.write() as writer:
        writer.append(core.INTERVAL, row)
        register_id = row["register_id"].item()
    assert project.load_last(N_DAYS + 1).success
    # The damaged register is left alone by the computation, so its double row stays.
    with open_state(project.settings.state_path) as connection:
        marks = Marks(connection)
        marks.clear("interval", marks.windows("interval")[-1].mark_id, {register_id})
    result = project.compute()
    assert not result.success
    assert sum(project.count(state) for state in ("held", "pending")) == n_before
    evaluations = result.get_asset_check_evaluations()
    failed = [e.check_name for e in evaluations if not e.passed]
    assert failed == ["unique_key"]


def test_readings_that_came_behind_the_intervals_failed_the_check_of_energy(
    computed: Project,
) -> None:
    project, etl = computed, computed.etl
    readings = project.warehouse.read_table(core.READING)
    counters = project.warehouse.read_table(core.REGISTER, "kind = 'cumulative'")["register_id"]
    last = readings.filter(pl.col("register_id").is_in(counters.to_list())).sort("read_at").tail(1)
    # Read twice: the counter is far behind what the intervals say, within them.
    late = last.with_columns(
        reading_native=pl.col("reading_native") * 0.5, version=pl.col("version") + 1
    )
    with project.warehouse.write() as writer:
        writer.append(core.READING, late)
    with project.warehouse.reading() as reader:
        assert not _energy_conserved(reader, etl).passed
        window = Window(late["register_id"].item(), project.now - timedelta(1), project.now, "")
        mark_for(project.settings.state_path, "interval", [window])
        assert _energy_conserved(reader, etl).passed


def test_wrong_password_mended_sends_everything_without_a_reload(computed: Project) -> None:
    project = computed
    n_due = project.count("pending")
    assert n_due > 0
    dotenv = project.root / ".env"
    lines = [
        f"ENERGY_ETL_WATTICS__CREDENTIALS__{name}__{key}={text}"
        for name, user in (("MAIN", "sandbox-wattics"), ("SECOND", "sandbox-wattics-2"))
        for key, text in (("USERNAME", user), ("PASSWORD", "wrong"))
    ]
    dotenv.write_text("\n".join(lines) + "\n")
    result = project.send()
    assert not result.success
    assert "password" in failure_text(result)
    assert "wrong" not in failure_text(result).replace("wrong or", "")
    # Red although the step that judges it failed.
    verdicts = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert verdicts["delivered"] is False
    assert project.count("pending") == n_due
    dotenv.write_text("")
    mended = project.send()
    assert mended.success
    assert project.count("confirmed") == n_due
    assert all(e.passed for e in mended.get_asset_check_evaluations())


def test_digiwatt_down_and_wattsense_readings_are_pushed_all_the_same(computed: Project) -> None:
    fault = {"vendor": "digiwatt", "path_contains": "", "kind": "down"}
    call(computed, "/_sandbox/faults", fault)
    result = computed.run("extract_digiwatt")
    assert not result.success
    assert "digiwatt" in failure_text(result)
    assert computed.send().success
    assert computed.count("confirmed") > 0


def test_unknown_property_fails_alone_and_the_run_lists_it(project: Project) -> None:
    def misspell(row: dict[str, str]) -> bool:
        if row["register_id"] == "rome-b.fridge":
            row["register_id_wattsense"] += "x"
        return True

    project.edit("registers.csv", misspell)
    result = project.load_last(2)
    assert result.success
    assert "rome-b.fridge" in warnings_of(project, result)
    registers = project.warehouse.read("SELECT DISTINCT register_id AS r FROM core.reading")["r"]
    assert "rome-b.grid_import" in registers
    assert "rome-b.fridge" not in registers


@pytest.mark.parametrize("kind", ["truncated_json", "nan_value"])
def test_damaged_page_is_told_and_its_neighbours_are_kept(project: Project, kind: str) -> None:
    assert project.load_last(2).success
    before = n_readings(project)
    fault = {"vendor": "wattsense", "path_contains": "properties", "kind": kind, "times": 1}
    call(project, "/_sandbox/faults", fault)
    result = project.load_last(3)
    assert result.success
    assert warnings_of(project, result)
    # What was committed before is still there; what was refused comes with the next fetch.
    n_damaged = n_readings(project)
    assert n_damaged >= before
    n_refused = project.warehouse.read("SELECT count(*) AS n FROM raw.quarantine")["n"].item()
    assert project.load_last(3).success
    assert n_readings(project) > n_damaged or n_refused > 0


def test_corrected_reading_becomes_a_version_and_keeps_the_earlier_one(project: Project) -> None:
    assert project.load_last(1).success
    with project.warehouse.write() as writer:
        frame = writer.read("SELECT * FROM core.reading LIMIT 1")
        changed = frame.with_columns(reading_native=frame["reading_native"] + 1.0)
        change = writer.append_versions(core.READING, changed)
    assert change.n_added == 1
    versions = project.warehouse.read(
        "SELECT version, reading_native FROM core.reading WHERE register_id = ? AND read_at = ? "
        "ORDER BY version",
        [frame["register_id"].item(), frame["read_at"].item()],
    )
    assert versions["version"].to_list() == [1, 2]
    assert versions["reading_native"].to_list()[1] == versions["reading_native"].to_list()[0] + 1.0


def test_sensors_ask_for_a_run_while_something_is_left_and_say_why_not(computed: Project) -> None:
    project = computed

    def tick(name: str) -> Any:
        sensor = project.definitions.resolve_sensor_def(name)
        with dg.build_sensor_context(project.instance) as context:
            return sensor(context)

    assert "Nothing changed" in tick("changed_data_sensor").skip_message
    assert isinstance(tick("outbox_pending_sensor"), dg.RunRequest)
    assert project.send().success
    assert "No packet is due" in tick("outbox_pending_sensor").skip_message
    last_on = project.now.date() - timedelta(days=N_DAYS)
    assert project.load(last_on, last_on).success
    assert isinstance(tick("changed_data_sensor"), dg.RunRequest)
