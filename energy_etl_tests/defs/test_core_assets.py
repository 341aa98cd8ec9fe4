"""Group `core` through Dagster: what its partitions show, and what waits for a confirmation."""

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from energy_etl.defs.assets import core as core_assets
from energy_etl.defs.resources import Etl
from energy_etl.tables import Table, core, push
from energy_etl_tests.defs.project import Project


def shown_days(result: dg.ExecuteInProcessResult, table: Table) -> dict[str, int]:
    """Return the rows that each partition of a table was reported with."""
    key = dg.AssetKey([table.schema, table.name])
    return {
        str(event.partition): int(event.materialization.metadata["rows"].value)  # pyright: ignore[reportArgumentType]
        for event in result.all_events
        if event.is_step_materialization and event.asset_key == key
    }


def test_batches_hold_so_many_readings_in_whole_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_assets, "READINGS_PER_BATCH", 10)
    counts = pl.DataFrame({"register_id": ["a", "b", "c", "e"], "n": [4, 6, 1, 30]})
    batches = list(core_assets.batches_of(["a", "b", "c", "d", "e", "f"], counts))
    # A register is never split, and one without readings is in one of them too.
    assert batches == [["a", "b"], ["c", "d"], ["e"], ["f"]]
    assert list(core_assets.batches_of([], counts)) == []


def days_of(project: Project, table: Table) -> dict[str, int]:
    """Return the rows per UTC day as the table holds them."""
    day = pl.col(str(table.time_column)).dt.date()
    frame = project.warehouse.read_table(table)
    return {str(on): n for on, n in frame.group_by(day).len().iter_rows()}


def test_run_for_what_changed_shows_the_rows_of_each_day(project: Project) -> None:
    assert project.load_last(2).success
    result = project.compute(only=("core", "push"))
    assert result.success
    for table in (core.READING, core.INTERVAL):
        days = days_of(project, table)
        assert len(days) >= 2
        assert shown_days(result, table) == days
    # An event costs several commits: the days of samples are those of the intervals.
    today = project.now.date().isoformat()
    assert shown_days(result, core.SAMPLE) == {today: days_of(project, core.SAMPLE)[today]}


def test_sample_whose_end_never_comes_is_dropped_after_hold_for(computed: Project) -> None:
    project = computed
    is_open = pl.col("is_provisional")
    samples = project.warehouse.read_table(core.SAMPLE)
    assert samples.filter(is_open).height > 0
    later = project.now + project.settings.hold_for + timedelta(minutes=15)
    etl = Etl(root=str(project.root), now_at=later.isoformat(), sandbox_url=project.sandbox.url)
    assert project.compute(etl, only=("core", "push")).success
    after = project.warehouse.read_table(core.SAMPLE)
    key = list(core.SAMPLE.key)
    assert after.sort(key).equals(samples.filter(~is_open).sort(key))


def test_stream_and_manual_edits_added_later_count_without_new_readings(computed: Project) -> None:
    project = computed
    edited = "rome-b.fridge"
    received = project.warehouse.read_table(core.READING)
    read_at = project.warehouse.read(
        "SELECT read_at FROM core.reading WHERE register_id = ? ORDER BY read_at LIMIT 1 OFFSET 9",
        [edited],
    )["read_at"][0]
    rows = [
        f"{edited},{read_at.isoformat()},{read_at.isoformat()},drop,,seen",
        f"{edited},2020-01-01T00:00:00Z,2020-01-02T00:00:00Z,keep,,long ago",
    ]
    with (project.settings.portfolio_dir / "manual_edits.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join([*rows, ""]))
    streams = project.settings.portfolio_dir / "streams.csv"
    lines = streams.read_text(encoding="utf-8").splitlines()
    stream_id = lines[1].split(",")[0]
    added = lines[1].replace(stream_id, "added-later", 1)
    streams.write_text("\n".join([*lines, added]) + "\n", encoding="utf-8")
    registers = project.settings.portfolio_dir / "registers.csv"
    header, *known = registers.read_text(encoding="utf-8").splitlines()
    row = dict(zip(header.split(","), known[0].split(","), strict=True))
    at_rome = next(line for line in known if line.startswith(edited)).split(",")[1]
    vendor_cells = {name: "" for name in row if name.startswith("register_id_")}
    row |= {"register_id": "new-pv", "meter_id": at_rome, "role": "production"} | vendor_cells
    registers.write_text("\n".join([header, *known, ",".join(row.values())]) + "\n", "utf-8")
    result = project.compute(only=("core", "push"))
    assert result.success
    # What a site's mains may show depends on what else is there: all of them are computed again.
    counted = [
        int(event.materialization.metadata["registers"].value)  # pyright: ignore[reportArgumentType]
        for event in result.all_events
        if event.is_step_materialization
        and event.asset_key == dg.AssetKey(["core", "interval"])
        and "registers" in event.materialization.metadata
    ]
    n_of_rome = sum(line.startswith("rome-b.") for line in known)
    assert counted == [n_of_rome + 1]
    packets = project.warehouse.read_table(push.PACKET)
    n_first = packets.filter(pl.col("stream_id") == stream_id).height
    assert n_first > 0
    assert packets.filter(pl.col("stream_id") == "added-later").height == n_first
    edits = project.warehouse.read_table(core.EDIT, "starts_with(rule, 'manual_')")
    assert edits.select("register_id", "rule", "from_at").rows() == [
        (edited, "manual_drop", read_at)
    ]
    assert project.warehouse.read_table(core.READING).equals(received)
