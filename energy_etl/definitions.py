"""`defs`: what Dagster loads (`dagster dev -w workspace.yaml` works as it stands)."""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

import dagster as dg

from energy_etl.defs import assets as assets_package
from energy_etl.defs.alerts import build_alert_sensor
from energy_etl.defs.changes import CHANGE_JOBS
from energy_etl.defs.checks import build_checks
from energy_etl.defs.jobs import build_jobs
from energy_etl.defs.keeping import build_keeping_schedule, prune_history
from energy_etl.defs.marts import all_checks
from energy_etl.defs.metadata import asset_key
from energy_etl.defs.resources import Etl
from energy_etl.defs.schedules import build_schedules
from energy_etl.defs.sensors import build_sensors
from energy_etl.vendors import all_tables, discover_vendors


def build_defs(resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Put everything under `defs/` together.

    Args:
        resources: override some, for tests and the demo; default: the project in ENERGY_ETL_ROOT.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    etl = (resources or {}).get("etl") or Etl()
    settings = etl.settings()
    # On the live target nothing is called before somebody starts it.
    is_on = settings.target == "sandbox"
    schedule_status = (
        dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED
    )
    sensor_status = dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED
    assets = dg.load_assets_from_modules(
        [
            importlib.import_module(info.name)
            for info in pkgutil.iter_modules(assets_package.__path__, f"{assets_package.__name__}.")
        ]
    )
    groups = {
        spec.group_name
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.specs
    }
    vendors = discover_vendors()
    extracted = sorted(name for name in vendors if name in groups)
    made_by = {
        key: asset.node_def.name
        for asset in assets
        if isinstance(asset, dg.AssetsDefinition)
        for key in asset.keys
    }
    by_key = {asset_key(table): table for table in all_tables() if table.is_published}
    steps = {table: made_by[key] for key, table in by_key.items() if key in made_by}
    return dg.Definitions(
        assets=assets,
        asset_checks=build_checks(steps, all_checks()),
        jobs=[*build_jobs(extracted), *CHANGE_JOBS, prune_history],
        schedules=[
            *build_schedules(extracted, settings.refetch_days, schedule_status),
            build_keeping_schedule(schedule_status),
        ],
        sensors=[*build_sensors(sensor_status, etl), build_alert_sensor(etl)],
        resources={"etl": etl, **(resources or {})},
        executor=dg.in_process_executor,
    )


defs = build_defs()
