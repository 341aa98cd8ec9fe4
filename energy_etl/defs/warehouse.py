"""The project's warehouse: one file with the tables of all vendors, as its settings name it."""

from energy_etl.settings import Settings
from energy_etl.vendors import all_tables
from energy_etl.warehouse import Warehouse


def project_warehouse(settings: Settings) -> Warehouse:
    """Name the writer's file; it is opened by the calls on it."""
    return Warehouse(settings.warehouse_path, all_tables(), lock_wait_s=settings.lock_wait_s)
