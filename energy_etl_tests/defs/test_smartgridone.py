"""SmartgridOne through Dagster: what is asked for, what is left alone, what becomes a reading."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets.smartgridone import INVENTORY, start_of
from energy_etl.defs.partitions import CATCH_UP_TAG, LOOKBACK, span_tags
from energy_etl.tables import core
from energy_etl.vendors.smartgridone.tables import DEVICE, LICENCE, TELEMETRY
from energy_etl_tests.defs.project import NOW, QUIET, Project, failure_text, warnings_of
from energy_etl_tests.vendors.extracting import fault

TODAY_ON = NOW.date()
MIDNIGHT = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC)
DAY = timedelta(days=1)
REGISTERS = (
    "ghent-a.grid_import",
    "ghent-a.grid_export",
    "ghent-a.pv",
    "ghent-a.ev",
    "berlin-a.grid_import_again",
)
EXTRACT = "extract_smartgridone"
# Without their checks: each is a step of its own.
ASSETS = [f"smartgridone.{table.name}" for table in (*INVENTORY, TELEMETRY)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of SmartgridOne's registers whose inventory and last days were loaded by hand."""
    root = tmp_path_factory.mktemp("smartgridone")
    with Project(root, sites=("ghent-a", "berlin-a")) as made:
        made.edit("registers.csv", lambda row: row["register_id"] in REGISTERS)
        made.edit("streams.csv", lambda row: row["register_id"] in REGISTERS)
        result = made.run(EXTRACT, span_tags(TODAY_ON - 2 * DAY, TODAY_ON), ASSETS)
        assert result.success, failure_text(result)
        yield made


def run(
    project: Project, tags: dict[str, str], only_meters: list[str] | None = None
) -> dg.ExecuteInProcessResult:
    config = {"ops": {"smartgridone_telemetry": {"config": {"only_meters": only_meters or []}}}}
    return project.definitions.resolve_job_def(EXTRACT).execute_in_process(
        instance=project.instance,
        tags=tags,
        asset_selection=[dg.AssetKey(["smartgridone", "telemetry"])],
        run_config=QUIET | config,
        raise_on_error=False,
    )


def asked(project: Project, since_at: datetime) -> dict[str, tuple[datetime, datetime]]:
    """What telemetry was asked for since an instant: register -> from, to."""
    rows = project.warehouse.read(
        "SELECT params FROM raw.request WHERE endpoint = 'telemetry/query' AND requested_at >= ?",
        [since_at],
    )
    return {
        statement["subject"]: (
            datetime.fromisoformat(statement["window_from_at"]),
            datetime.fromisoformat(statement["window_to_at"]),
        )
        for (params,) in rows.iter_rows()
        for statement in json.loads(params)["statements"]
    }


def telemetry(project: Project) -> pl.DataFrame:
    """Every column of every row, bookkeeping included."""
    return project.warehouse.read_table(TELEMETRY).sort(TELEMETRY.key)


def test_every_mapped_register_has_its_readings_and_what_gives_counts_up(loaded: Project) -> None:
    readings = loaded.warehouse.read_table(core.READING)
    assert set(readings["register_id"]) == set(REGISTERS)
    by_register = {
        name: readings.filter(register_id=name).sort("read_at")["reading_native"]
        for name in REGISTERS
    }
    # Three days of a row per five minutes, today until eight.
    assert all(500 < found.len() <= 705 for found in by_register.values())
    assert by_register["ghent-a.pv"].min() == 0.0
    assert by_register["ghent-a.pv"].max() > 500.0  # type: ignore[operator]
    for counter in ("ghent-a.grid_import", "ghent-a.grid_export", "berlin-a.grid_import_again"):
        assert by_register[counter].is_sorted()
        assert by_register[counter][0] < by_register[counter][-1]


def test_controllers_of_one_account_are_never_mixed(loaded: Project) -> None:
    devices = loaded.warehouse.read_table(DEVICE)
    owner = dict(
        devices.select("node_id_smartgridone", "controller_node_id_smartgridone").iter_rows()
    )
    assert len({owner[node] for node in telemetry(loaded)["node_id_smartgridone"]}) == 2
    alias = loaded.etl.portfolio().frames[core.ALIAS].filter(vendor="smartgridone")
    nodes = dict(alias.filter(thing="register").select("thing_id", "vendor_id").iter_rows())
    ghent = {owner[nodes[name].split("/")[0]] for name in REGISTERS if name.startswith("ghent")}
    berlin = {owner[nodes["berlin-a.grid_import_again"].split("/")[0]]}
    assert len(ghent) == 1
    assert ghent.isdisjoint(berlin)


def endpoints(project: Project, since_at: datetime) -> list[tuple[str, int]]:
    """The calls since an instant, in order of the endpoint's name."""
    rows = project.warehouse.read(
        "SELECT endpoint, status FROM raw.request WHERE requested_at >= ? AND endpoint <> 'token'"
        " ORDER BY endpoint, requested_at",
        [since_at],
    )
    return rows.rows()


def test_hourly_run_asks_for_what_may_be_new_and_changes_nothing_else(loaded: Project) -> None:
    newest = dict(
        loaded.warehouse.read_table(core.READING)
        .group_by("register_id")
        .agg(pl.col("read_at").max())
        .iter_rows()
    )
    before, since_at = loaded.hashes("smartgridone"), datetime.now(UTC)
    tags = {**span_tags(TODAY_ON, TODAY_ON), CATCH_UP_TAG: "hourly"}
    assert loaded.run(EXTRACT, tags, ASSETS).success
    assert asked(loaded, since_at) == {
        name: (newest[name] - timedelta(hours=2), MIDNIGHT + DAY) for name in REGISTERS
    }
    assert loaded.hashes("smartgridone") == before
    # No licences; devices have not changed, but telemetry always asks where each field is kept.
    assert endpoints(loaded, since_at) == [
        ("company", 200),
        ("device/query", 204),
        ("device/query", 200),
        ("role/monitors/query", 200),
        ("role/query", 200),
        ("telemetry/query", 200),
    ]
    assert loaded.warehouse.read_table(LICENCE)["valid_to_at"].null_count() > 0


def test_refilled_meter_leaves_the_others_rows_as_they_were(loaded: Project) -> None:
    whole = telemetry(loaded)
    from_at = MIDNIGHT - DAY - LOOKBACK
    is_asked = (pl.col("field") == "importedEnergyDeltaTot_Wh") & (pl.col("measured_at") >= from_at)
    with loaded.warehouse.write() as writer:
        writer.merge(TELEMETRY, whole.with_columns(reading_native=pl.lit(-1.0)))
    since_at = datetime.now(UTC)
    assert run(loaded, span_tags(TODAY_ON - DAY, TODAY_ON), only_meters=["ghent-a.ev"]).success
    assert asked(loaded, since_at) == {"ghent-a.ev": (from_at, MIDNIGHT + DAY)}
    after = telemetry(loaded)
    others = whole.filter(~is_asked).with_columns(reading_native=pl.lit(-1.0))
    assert after.filter(~is_asked).equals(others)
    content = list(TELEMETRY.content_columns)
    assert after.filter(is_asked).select(content).equals(whole.filter(is_asked).select(content))


def test_answer_that_cannot_be_read_is_a_warning_and_keeps_what_is_stored(
    loaded: Project,
) -> None:
    before = telemetry(loaded)
    with fault(loaded.sandbox, vendor="smartgridone", kind="truncated_json", path_contains="telem"):
        result = run(loaded, span_tags(TODAY_ON, TODAY_ON))
    assert result.success
    assert "nothing of it was used, run the fetch again" in warnings_of(loaded, result)
    assert telemetry(loaded).equals(before)


@pytest.mark.parametrize(
    ("newest_at", "cadence", "expected"),
    [
        (None, None, MIDNIGHT - LOOKBACK),
        (MIDNIGHT + timedelta(hours=5), None, MIDNIGHT - LOOKBACK),
        (MIDNIGHT - 9 * DAY, None, MIDNIGHT - LOOKBACK),
        (None, "hourly", MIDNIGHT - LOOKBACK),
        (MIDNIGHT + timedelta(hours=5), "hourly", MIDNIGHT + timedelta(hours=4)),
        (MIDNIGHT - 9 * DAY, "hourly", MIDNIGHT - 9 * DAY - timedelta(hours=1)),
        (MIDNIGHT + 5 * DAY, "hourly", MIDNIGHT + DAY - timedelta(hours=1)),
        (MIDNIGHT + timedelta(hours=5), "daily", MIDNIGHT - LOOKBACK),
        (MIDNIGHT - 9 * DAY, "daily", MIDNIGHT - 9 * DAY - LOOKBACK),
    ],
)
def test_range_begins_where_the_cadence_says(
    newest_at: datetime | None, cadence: str | None, expected: datetime
) -> None:
    span = (MIDNIGHT, MIDNIGHT + DAY)
    assert start_of(span, newest_at, cadence, timedelta(hours=1)) == expected
