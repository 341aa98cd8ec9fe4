"""Wattsense through Dagster: what is asked for, what is left alone, who may do what."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.marts import tables_of
from energy_etl.defs.partitions import CATCH_UP_TAG, LOOKBACK, span_tags
from energy_etl.tables import core
from energy_etl.vendors.wattsense.access import ACCESS_FINDINGS, ACCESS_MART
from energy_etl.vendors.wattsense.settings import WattsenseSettings
from energy_etl.vendors.wattsense.tables import (
    HISTORY,
)
from energy_etl.vendors.wattsense.tables_access import ACCESS_TABLES, API_KEY, USER_ACCOUNT
from energy_etl_tests.defs.project import NOW, QUIET, Project, failure_text

TODAY_ON = NOW.date()
MIDNIGHT = datetime(NOW.year, NOW.month, NOW.day, tzinfo=UTC)
DAY = timedelta(days=1)
REGISTERS = ("rome-b.grid_import", "rome-b.fridge")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project of two registers whose last days were loaded by hand."""
    with Project(tmp_path_factory.mktemp("wattsense"), sites=("rome-b",)) as made:
        made.edit("registers.csv", lambda row: row["register_id"] in REGISTERS)
        made.edit("streams.csv", lambda row: row["register_id"] in REGISTERS)
        assert made.load_last(3).success
        yield made


def _asked(project: Project, run: dg.ExecuteInProcessResult | None = None) -> dict[str, tuple]:
    """What the history calls since the last question asked for: property -> since, until."""
    log = project.sandbox.app.log
    calls = [parse_qs(entry.query) for entry in log if "property=" in entry.query]
    log.clear()
    assert run is None or run.success, failure_text(run)
    instants = {
        call["property"][0]: tuple(
            datetime.fromtimestamp(int(call[name][0]) / 1000, UTC) for name in ("since", "until")
        )
        for call in calls
    }
    assert len(instants) == len(calls)
    return instants


def _history(project: Project) -> pl.DataFrame:
    """Every column of every row, bookkeeping included."""
    return project.warehouse.read_table(HISTORY).sort(HISTORY.key)


def _run(
    project: Project, tags: dict[str, str], only_meters: list[str] | None = None
) -> dg.ExecuteInProcessResult:
    config = {"ops": {"wattsense_history": {"config": {"only_meters": only_meters or []}}}}
    return project.definitions.resolve_job_def("extract_wattsense").execute_in_process(
        instance=project.instance,
        tags=tags,
        asset_selection=[dg.AssetKey(["wattsense", "history"])],
        run_config=QUIET | config,
        raise_on_error=False,
    )


def _newest(project: Project) -> dict[str, datetime]:
    rows = _history(project).group_by("property_id_wattsense").agg(pl.col("measured_at").max())
    return dict(rows.iter_rows())


def _hour_of(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def test_hourly_run_begins_a_window_before_the_newest_value_of_each_property(
    loaded: Project,
) -> None:
    today = span_tags(TODAY_ON, TODAY_ON)
    newest = _newest(loaded)
    # One property fell silent a day and a half ago; the other has a value of tomorrow, of a box
    # whose clock is wrong, which must not hold back what is asked for.
    silent, fast = sorted(newest)
    with loaded.warehouse.write() as writer:
        frame = writer.read("SELECT * FROM wattsense.history")
        cut_at = NOW - 1.5 * DAY
        is_silent = pl.col("property_id_wattsense") == silent
        kept = frame.filter(~is_silent | (pl.col("measured_at") < cut_at))
        tomorrow = kept.filter(~is_silent).tail(1).with_columns(measured_at=pl.lit(NOW + DAY))
        writer.replace_all(HISTORY, pl.concat([kept, tomorrow]))
    last_at = kept.filter(is_silent)["measured_at"].max()
    assert isinstance(last_at, datetime)
    before = _history(loaded)
    _asked(loaded)
    assert WattsenseSettings().refetch_window_h == 2
    dotenv = loaded.root / ".env"
    dotenv.write_text("ENERGY_ETL_WATTSENSE__REFETCH_WINDOW_H=3\n")
    asked = _asked(loaded, _run(loaded, today | {CATCH_UP_TAG: "hourly"}))
    dotenv.write_text("")
    begin_at = {silent: _hour_of(last_at - timedelta(hours=3))}
    begin_at[fast] = _hour_of(newest[fast] - timedelta(hours=3))
    assert asked == {name: (at, MIDNIGHT + DAY) for name, at in begin_at.items()}
    assert begin_at[silent] < MIDNIGHT - DAY < MIDNIGHT < begin_at[fast]
    # What was asked for is what was replaced: nothing before, and the outage is filled.
    after = _history(loaded)
    for name, at in begin_at.items():
        earlier = (pl.col("property_id_wattsense") == name) & (pl.col("measured_at") < at)
        assert after.filter(earlier).equals(before.filter(earlier))
    assert _newest(loaded)[silent] == newest[silent]
    # Within a replaced window the value of tomorrow stays: the window ends before it.
    assert _newest(loaded)[fast] == NOW + DAY
    with loaded.warehouse.write() as writer:
        writer.replace_all(HISTORY, after.filter(pl.col("measured_at") <= NOW))


def test_daily_run_takes_its_days_whole(loaded: Project) -> None:
    _asked(loaded)
    tags = span_tags(TODAY_ON - DAY, TODAY_ON) | {CATCH_UP_TAG: "daily"}
    asked = _asked(loaded, _run(loaded, tags))
    assert len(asked) == len(REGISTERS)
    assert set(asked.values()) == {(MIDNIGHT - DAY - LOOKBACK, MIDNIGHT + DAY)}


def test_only_one_meter_is_filled_again_and_the_others_keep_every_byte(loaded: Project) -> None:
    before = _history(loaded)
    meter_id = "rome-b.fridge"
    registers = loaded.etl.portfolio().frames[core.REGISTER]
    assert registers.filter(pl.col("register_id") == meter_id)["meter_id"].item() == meter_id
    alias = loaded.etl.portfolio().frames[core.ALIAS].filter(pl.col("thing_id") == meter_id)
    property_id = str(alias.filter(pl.col("vendor") == "wattsense")["vendor_id"].item())[-12:]
    mine = pl.col("property_id_wattsense") == property_id
    assert 0 < before.filter(mine).height < before.height
    with loaded.warehouse.write() as writer:
        # Half of it is lost, and the rest of all meters is wrong.
        damaged = before.with_columns(reading_native=pl.col("reading_native") + 1.0)
        kept = damaged.filter(~mine | (pl.col("measured_at") < NOW - DAY))
        writer.replace_all(HISTORY, kept)
    _asked(loaded)
    tags = span_tags(TODAY_ON - 2 * DAY, TODAY_ON)
    asked = _asked(loaded, _run(loaded, tags, [meter_id]))
    # By hand its days are taken whole, whatever is there.
    assert asked == {property_id: (MIDNIGHT - 2 * DAY - LOOKBACK, MIDNIGHT + DAY)}
    after = _history(loaded)
    # The others' rows, with the call that brought them, although they would be mended too.
    assert after.filter(~mine).equals(damaged.filter(~mine))
    content = list(HISTORY.content_columns)
    assert after.filter(mine).select(content).equals(before.filter(mine).select(content))
    assert set(after.filter(mine)["request_id"]).isdisjoint(before["request_id"])


def test_who_may_do_what_is_extracted_kept_and_audited(loaded: Project) -> None:
    names = [table.full_name for table in ACCESS_TABLES]
    assert loaded.run("extract_wattsense", assets=names).success
    assert loaded.warehouse.read_table(USER_ACCOUNT).height == 3
    frames = {
        table.full_name: loaded.warehouse.read_table(table)
        for table in tables_of((*ACCESS_MART.inputs, *ACCESS_FINDINGS.inputs))
    }
    reach = ACCESS_MART.compute(frames, NOW)
    assert reach["holder_id_wattsense"].n_unique() == 8
    assert set(ACCESS_FINDINGS.find(frames, NOW)["kind"]) == {
        "wattsense_key_migrated",
        "wattsense_key_without_owner",
        "wattsense_role_manages_users",
        "wattsense_service_account_basic",
    }
    dotenv = loaded.root / ".env"
    # A service account may not list keys: nobody vanishes for it, and what it may see is read.
    dotenv.write_text(
        "ENERGY_ETL_WATTSENSE__AUTH=basic\n"
        "ENERGY_ETL_WATTSENSE__USERNAME=sandbox-service-basic\n"
        "ENERGY_ETL_WATTSENSE__PASSWORD=sandbox-service-secret\n"
    )
    assert loaded.run("extract_wattsense", assets=names).success
    keys = loaded.warehouse.read_table(API_KEY)
    assert (keys.height, keys["valid_to_at"].null_count()) == (5, 5)
    dotenv.write_text("ENERGY_ETL_WATTSENSE__READ_ACCESS=false\n")
    loaded.sandbox.app.log.clear()
    assert loaded.run("extract_wattsense", assets=names).success
    assert not loaded.sandbox.app.log
    dotenv.write_text("")
