"""What Dagster is given, name by name, and that a sixth vendor is two folders and no edit.

The lists are written out: an accidental rename turns them red.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import yaml

from energy_etl import vendors
from energy_etl.definitions import build_defs
from energy_etl.defs import assets as assets_package
from energy_etl.defs.resources import Etl
from energy_etl.tables.dictionary import dictionary_page
from energy_etl.vendors import all_tables, discover_vendors, project_settings
from energy_etl.warehouse import Warehouse
from energy_etl_tests.defs.project import REPOSITORY

ASSETS = {
    "core": [
        "alias",
        "appliance_interval",
        "edit",
        "exchange",
        "gap",
        "interval",
        "manual_edit",
        "measure",
        "meter",
        "portfolio_problem",
        "reading",
        "register",
        "sample",
        "site",
        "tariff",
        "vendor_appliance_figure",
        "vendor_figure",
        "vendor_month",
        "weather",
    ],
    "digiwatt": [
        "consumption",
        "consumption_distribution",
        "consumption_history",
        "costs_history",
        "disaggregation",
        "estimated_cost",
        "performance",
        "savings",
        "schema_drift",
        "yearly_compound_consumption",
        "yearly_consumption_distribution",
    ],
    "mart": [
        "access",
        "appliance_share",
        "cost_forecast",
        "coverage",
        "daily_cost",
        "daily_energy",
        "disaggregation_score",
        "disaggregation_total",
        "electrical_check",
        "finding",
        "hourly_energy",
        "licence",
        "monthly_energy",
        "peer",
        "period_cost",
        "period_trend",
        "portfolio_change",
        "portfolio_tree",
        "robust_trend",
        "savings",
        "site_daily",
        "site_profile",
        "site_weather",
        "stream_comparison",
        "submeter_balance",
        "trend_variant",
        "vendor_reconciliation",
        "weather_trend",
        "weekly_energy",
    ],
    "published": [
        "energy",
    ],
    "push": [
        "correction",
        "hole",
        "packet",
        "response",
        "stream",
        "stream_field",
        "stream_offset",
        "stream_status",
    ],
    "report": [
        "energy",
    ],
    "smartgridone": [
        "change",
        "company",
        "device",
        "licence",
        "monitor",
        "role",
        "series",
        "telemetry",
    ],
    "wattics": [
        "asked_month",
        "consumption",
        "cost",
        "meter",
        "organization",
        "raw_data",
        "site",
    ],
    "wattsense": [
        "api_key",
        "configuration",
        "credential",
        "device",
        "device_subscription",
        "equipment",
        "history",
        "latest",
        "organization",
        "organization_unit",
        "property",
        "role",
        "role_grant",
        "service_account",
        "user_account",
    ],
    "wiser": [
        "device",
        "location",
        "room",
        "site",
    ],
}
VENDORS = ("digiwatt", "smartgridone", "wattics", "wattsense", "wiser")
# Files for people, no table: their columns are those of all the tables in them.
WITHOUT_COLUMNS = {"published/energy", "report/energy"}
# The portfolio: what is written whole refuses a key that stands twice.
WRITTEN_WHOLE = (
    "alias",
    "exchange",
    "gap",
    "manual_edit",
    "measure",
    "meter",
    "portfolio_problem",
    "register",
    "site",
    "tariff",
    "weather",
)
PARTITIONED = [
    "core/edit",
    "core/interval",
    "core/reading",
    "core/sample",
    "smartgridone/telemetry",
    "wattics/raw_data",
    "wattsense/history",
]
# Those that change something at a vendor do nothing but show a plan until it is confirmed.
CHANGING_JOBS = ["activate_license", "claim_license", "update_device"]
JOBS = sorted(
    [
        "compute_figures",
        "make_report",
        "prune_history",
        "retry_deliveries",
        "send_outbox",
        "watch_delivery",
        *CHANGING_JOBS,
        *(f"extract_{name}" for name in VENDORS),
    ]
)
# What a send run and a run that only looks write.
WATCHED = {"push/hole", "push/response", "push/stream_status"}
SCHEDULES = [
    ("daily_digiwatt", "extract_digiwatt", "2 1 * * *"),
    ("daily_report", "make_report", "30 4 * * *"),
    ("daily_smartgridone", "extract_smartgridone", "9 1 * * *"),
    ("daily_wattics", "extract_wattics", "16 1 * * *"),
    ("daily_wattsense", "extract_wattsense", "23 1 * * *"),
    ("daily_wiser", "extract_wiser", "30 1 * * *"),
    ("hourly_digiwatt", "extract_digiwatt", "2 * * * *"),
    ("hourly_smartgridone", "extract_smartgridone", "9 * * * *"),
    ("hourly_wattics", "extract_wattics", "16 * * * *"),
    ("hourly_wattsense", "extract_wattsense", "23 * * * *"),
    ("hourly_wiser", "extract_wiser", "30 * * * *"),
    ("weekly_prune", "prune_history", "41 3 * * 0"),
]
SENSORS = [
    ("changed_data_sensor", "compute_figures"),
    ("lagging_stream_sensor", "watch_delivery"),
    ("outbox_pending_sensor", "send_outbox"),
    # It launches nothing: it tells.
    ("run_failure_sensor", None),
]
# It calls no vendor, so it is on from the start.
ALWAYS_ON = {"run_failure_sensor"}
EXTRA_CHECKS = [
    ("core/interval", "energy_conserved"),
    ("core/interval", "has_rows"),
    ("core/interval", "values_move"),
    ("core/portfolio_problem", "portfolio_is_sound"),
    ("digiwatt/schema_drift", "schema_known"),
    ("mart/coverage", "coverage_enough"),
    ("mart/coverage", "fresh_digiwatt"),
    ("mart/coverage", "fresh_smartgridone"),
    ("mart/coverage", "fresh_wattics"),
    ("mart/coverage", "fresh_wattsense"),
    ("mart/coverage", "fresh_wiser"),
    ("mart/daily_cost", "energy_is_priced_once"),
    ("mart/daily_energy", "days_conserve_energy"),
    ("mart/licence", "licences_in_order"),
    ("mart/period_trend", "vendor_drift"),
    ("mart/submeter_balance", "submeters_within_consumption"),
    ("mart/vendor_reconciliation", "compound_parts"),
    ("mart/vendor_reconciliation", "compound_total"),
    ("mart/vendor_reconciliation", "costs_last_month"),
    ("mart/vendor_reconciliation", "disaggregation_sum"),
    ("mart/vendor_reconciliation", "distribution_sum"),
    ("mart/vendor_reconciliation", "history_last_month"),
    ("mart/vendor_reconciliation", "implied_price"),
    ("mart/vendor_reconciliation", "performance_bounds"),
    ("mart/vendor_reconciliation", "performance_user"),
    ("mart/vendor_reconciliation", "savings_consumption"),
    ("mart/vendor_reconciliation", "trend"),
    ("mart/vendor_reconciliation", "unattributed"),
    ("mart/vendor_reconciliation", "yearly_distribution_sum"),
]
POOLS = {
    "core": "compute",
    "mart": "compute",
    "published": "compute",
    "push": "compute",
    # It reads what is published and replaces one file: it waits for nobody.
    "report": None,
    **{name: name for name in VENDORS},
}
MIDNIGHT = datetime(2025, 4, 16, tzinfo=UTC)


def defined(root: Path) -> dg.Definitions:
    """The definitions of a project folder in which nothing is set."""
    return build_defs({"etl": Etl(root=str(root))})


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return defined(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def job_names(definitions: dg.Definitions) -> list[str]:
    names = (job.name for job in definitions.resolve_all_job_defs())
    return sorted(name for name in names if not name.startswith("__"))


def job_assets(definitions: dg.Definitions, name: str) -> set[str]:
    keys = definitions.resolve_job_def(name).asset_layer.executable_asset_keys
    return {key.to_user_string() for key in keys}


def schedules_of(definitions: dg.Definitions) -> list[dg.ScheduleDefinition]:
    return [each for each in definitions.schedules or () if isinstance(each, dg.ScheduleDefinition)]


def test_asset_keys_are_the_known_ones_and_each_group_is_its_schema(
    specs: dict[str, dg.AssetSpec],
) -> None:
    assert sorted(specs) == [f"{group}/{name}" for group, names in ASSETS.items() for name in names]
    assert {key: spec.group_name for key, spec in specs.items()} == {
        key: key.partition("/")[0] for key in specs
    }


def test_each_asset_of_a_table_shows_the_tables_description_and_columns(
    specs: dict[str, dg.AssetSpec],
) -> None:
    tables = {f"{table.schema}/{table.name}": table for table in all_tables()}
    assert set(specs) - WITHOUT_COLUMNS <= set(tables)
    for key in set(specs) - WITHOUT_COLUMNS:
        assert (specs[key].description or "").startswith(tables[key].description), key
        schema = specs[key].metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert [(column.name, column.description) for column in schema.columns] == [
            (column.name, column.description) for column in tables[key].columns
        ]


def test_each_asset_has_a_description_kinds_and_an_owner(definitions: dg.Definitions) -> None:
    nodes = definitions.resolve_asset_graph().asset_nodes
    assert len(list(nodes)) == sum(len(names) for names in ASSETS.values())
    for node in nodes:
        assert len(node.description or "") > 20, node.key
        assert node.kinds, node.key
        assert node.owners, node.key


def test_what_is_made_of_readings_is_partitioned_by_day_and_snapshots_are_not(
    specs: dict[str, dg.AssetSpec],
) -> None:
    partitioned = {key: spec.partitions_def for key, spec in specs.items() if spec.partitions_def}
    assert sorted(partitioned) == PARTITIONED
    for days in partitioned.values():
        assert isinstance(days, dg.DailyPartitionsDefinition)
        assert days.timezone == "UTC"
        keys = days.get_partition_keys(current_time=MIDNIGHT.replace(hour=9))
        assert keys[-1] == "2025-04-16"


def test_each_step_waits_for_its_own_vendor_only(definitions: dg.Definitions) -> None:
    steps = [each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition)]
    assert sum(len(step.keys) for step in steps) == sum(len(names) for names in ASSETS.values())
    for step in steps:
        (group,) = {key.path[0] for key in step.keys} - (
            {"push"} if step.op.name == "portfolio" else set()
        )
        expected = "send" if step.op.name == "stream_status" else POOLS[group]
        assert step.op.pool == expected, step.op.name


def test_jobs_are_the_known_ones_and_hold_their_groups(definitions: dg.Definitions) -> None:
    assert job_names(definitions) == JOBS
    for vendor in VENDORS:
        expected = {f"{vendor}/{name}" for name in ASSETS[vendor]}
        assert job_assets(definitions, f"extract_{vendor}") == expected
    groups = ("core", "mart", "push", "published")
    computed = {f"{group}/{name}" for group in groups for name in ASSETS[group]}
    assert job_assets(definitions, "compute_figures") == computed - WATCHED
    for name in ("send_outbox", "retry_deliveries", "watch_delivery"):
        assert job_assets(definitions, name) == WATCHED


def test_schedules_and_sensors_are_the_known_ones(definitions: dg.Definitions) -> None:
    schedules = schedules_of(definitions)
    assert {schedule.execution_timezone for schedule in schedules} == {"UTC"}
    assert (
        sorted(
            (schedule.name, schedule.job_name, str(schedule.cron_schedule))
            for schedule in schedules
        )
        == SCHEDULES
    )
    found = {
        (sensor.name, sensor.job_name if sensor.targets else None)
        for sensor in definitions.sensors or ()
    }
    assert found == set(SENSORS)


def test_hourly_asks_for_the_running_day_and_daily_for_the_last_days(
    definitions: dg.Definitions,
) -> None:
    spans = {}
    extracting = [s for s in schedules_of(definitions) if s.job_name.startswith("extract_")]
    for schedule in extracting:
        context = dg.build_schedule_context(scheduled_execution_time=MIDNIGHT.replace(hour=1))
        request = schedule(context)
        assert isinstance(request, dg.RunRequest)
        assert request.run_key is None
        tags = request.tags
        spans[schedule.name] = (
            tags["dagster/asset_partition_range_start"],
            tags["dagster/asset_partition_range_end"],
        )
    assert spans == {
        **{f"hourly_{name}": ("2025-04-16", "2025-04-16") for name in VENDORS},
        **{f"daily_{name}": ("2025-04-13", "2025-04-16") for name in VENDORS},
    }


def test_each_table_that_is_not_written_whole_has_its_key_checked_and_those_of_core_block(
    definitions: dg.Definitions,
) -> None:
    specs = [
        spec
        for checks in definitions.asset_checks or ()
        if isinstance(checks, dg.AssetChecksDefinition)
        for spec in checks.check_specs
    ]
    found = sorted((spec.asset_key.to_user_string(), spec.name) for spec in specs)
    unique = [
        (f"{group}/{name}", "unique_key")
        for group, names in ASSETS.items()
        for name in names
        if f"{group}/{name}" not in WITHOUT_COLUMNS | {f"core/{each}" for each in WRITTEN_WHOLE}
        and group not in ("mart", "push")
    ]
    assert found == sorted([*unique, *EXTRA_CHECKS])
    blocking = {(spec.asset_key.to_user_string(), spec.name) for spec in specs if spec.blocking}
    assert {name for key, name in blocking if key == "core/interval"} == {
        "energy_conserved",
        "has_rows",
        "unique_key",
    }
    assert {key.partition("/")[0] for key, _ in blocking} == {"core"}
    assert all(spec.description for spec in specs)


@pytest.mark.parametrize(("target", "is_on"), [("sandbox", True), ("live", False)])
def test_schedules_and_sensors_start_stopped_on_the_live_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, is_on: bool
) -> None:
    monkeypatch.setenv("ENERGY_ETL_TARGET", target)
    definitions = defined(tmp_path)
    sensors = definitions.sensors or ()
    statuses = {
        each.name: each.default_status.value for each in (*schedules_of(definitions), *sensors)
    }
    others = {name for name, *_ in (*SCHEDULES, *SENSORS)} - ALWAYS_ON
    assert statuses == {
        **dict.fromkeys(others, "RUNNING" if is_on else "STOPPED"),
        **dict.fromkeys(ALWAYS_ON, "RUNNING"),
    }


_TOY_VENDOR = '''
"""Toy: a vendor that nobody has heard of."""

from pydantic import BaseModel, ConfigDict

from energy_etl.tables import Column, Table
from energy_etl.vendors import Vendor


class ToySettings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    api_key: str = ""


THING = Table(
    schema="toy",
    name="thing",
    description="One thing of the sixth vendor.",
    columns=(
        Column("thing_id_toy", "text", "Toy's id of the thing.", is_nullable=False),
        Column("energy_kwh", "float", "What it used."),
    ),
    key=("thing_id_toy",),
)
VENDOR = Vendor(
    name="toy", title="Toy", document="Toys 1.0", tables=(THING,), settings=ToySettings
)
'''
_TOY_ASSETS = '''
"""Group `toy`."""

import dagster as dg
import polars as pl

from energy_etl.defs.metadata import materialized, table_spec
from energy_etl.defs.resources import Etl
from energy_etl.vendors.toy import THING


@dg.multi_asset(name="toy_things", pool="toy", specs=[table_spec(THING)])
def things(etl: Etl) -> dg.MaterializeResult:
    frame = pl.DataFrame({"thing_id_toy": ["t-1"], "energy_kwh": [1.5]})
    with etl.warehouse().write() as writer:
        change = writer.merge(THING, frame)
    return materialized(THING, rows=frame.height, rows_changed=change.n_added)
'''
_TOY_MODULES = ("energy_etl.vendors.toy", "energy_etl.defs.assets.toy")


@pytest.fixture
def toy_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder, with a sixth vendor beside the five for as long as the test runs."""
    vendor = tmp_path / "vendors" / "toy"
    vendor.mkdir(parents=True)
    (vendor / "__init__.py").write_text(_TOY_VENDOR, encoding="utf-8")
    asset_modules = tmp_path / "assets"
    asset_modules.mkdir()
    (asset_modules / "toy.py").write_text(_TOY_ASSETS, encoding="utf-8")
    project = tmp_path / "project"
    project.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(vendors, "__path__", [*vendors.__path__, str(vendor.parent)])
        patch.setattr(assets_package, "__path__", [*assets_package.__path__, str(asset_modules)])
        yield project
    for name in _TOY_MODULES:
        sys.modules.pop(name, None)
    for package in (vendors, assets_package):
        if hasattr(package, "toy"):
            delattr(package, "toy")


def test_sixth_vendor_is_in_the_database_and_the_dictionary(toy_project: Path) -> None:
    assert [name for name in discover_vendors() if name == "toy"] == ["toy"]
    warehouse = Warehouse(toy_project / "warehouse.duckdb", all_tables())
    warehouse.create()
    columns = warehouse.read(
        "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE schema_name = 'toy' AND table_name = 'thing' ORDER BY column_index"
    )
    assert columns.rows() == [
        ("thing_id_toy", "VARCHAR", False, "Toy's id of the thing."),
        ("energy_kwh", "DOUBLE", True, "What it used."),
    ]
    page = dictionary_page(all_tables())
    assert "\n### toy.thing\n\nOne thing of the sixth vendor.\nKey: `thing_id_toy`.\n" in page


def test_sixth_vendor_has_its_section_of_the_settings(
    toy_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_ETL_TOY__API_KEY", "k")
    settings = project_settings(toy_project)
    assert settings.model_dump()["toy"] == {"api_key": "k"}


def test_sixth_vendor_is_in_the_graph_with_its_job_schedules_and_check(toy_project: Path) -> None:
    definitions = defined(toy_project)
    node = definitions.resolve_asset_graph().get(dg.AssetKey(["toy", "thing"]))
    assert (node.group_name, node.description) == ("toy", "One thing of the sixth vendor.")
    assert job_names(definitions) == sorted([*JOBS, "extract_toy"])
    assert job_assets(definitions, "extract_toy") == {"toy/thing"}
    ours = sorted(each.name for each in schedules_of(definitions) if each.name.endswith("_toy"))
    assert ours == ["daily_toy", "hourly_toy"]
    checks = definitions.resolve_asset_graph().asset_check_keys
    assert dg.AssetCheckKey(node.key, "unique_key") in checks

    result = definitions.resolve_job_def("extract_toy").execute_in_process()
    assert result.success
    warehouse = Warehouse(project_settings(toy_project).warehouse_path, all_tables())
    assert warehouse.read("SELECT * FROM toy.thing").rows() == [("t-1", 1.5)]


def test_sixth_vendor_is_gone_when_its_folders_are(definitions: dg.Definitions) -> None:
    assert "toy" not in discover_vendors()
    assert job_names(definitions) == JOBS


def test_workspace_of_the_repository_names_these_definitions() -> None:
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text(encoding="utf-8"))
    module = {"module_name": build_defs.__module__, "working_directory": "."}
    assert workspace == {"load_from": [{"python_module": module}]}
