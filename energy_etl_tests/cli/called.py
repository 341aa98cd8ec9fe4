"""A project folder whose vendors were called: some calls worked, some failed."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from energy_etl.rest import RequestLog
from energy_etl.state import Marks, Window, open_state
from energy_etl.tables import core, mart
from energy_etl.tables.raw import BODY, REQUEST
from energy_etl.vendors import all_tables
from energy_etl.warehouse import Warehouse, publish
from energy_etl_tests.defs.project import prepared
from energy_etl_tests.warehouse.frames import readings


def make_called(root: Path, *, secret: str = "") -> datetime:
    """Make the folder and return the instant of its newest call.

    Args:
        root: where.
        secret: stands in the failed call's URL, error and answer, as if nothing had redacted them.
    """
    shutil.copytree(prepared("portfolio.example") / "data", root / "data")
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    logs = [RequestLog("wattsense"), RequestLog("digiwatt"), RequestLog("wiser")]
    for number, log in enumerate(logs):
        log.record(
            endpoint="user",
            url=f"https://{log.vendor}.test/v1/user",
            params={"page": 0},
            status=200,
            error=None,
            requested_at=at - timedelta(hours=3 * number),
            elapsed_ms=41.0,
            body=b'{"well": true}',
        )
    logs[1].record(
        endpoint="savings",
        url=f"https://digiwatt.test/v1/savings?key={secret}",
        params={"smartmeter_id": "m1"},
        status=422,
        error=f"digiwatt savings answered 422 ({secret}): correct it.",
        requested_at=at,
        elapsed_ms=12.5,
        body=json.dumps({"error": f"no such meter {secret}"}).encode(),
    )
    with Warehouse(root / "data" / "warehouse.duckdb", all_tables()).write() as writer:
        for log in logs:
            requests, bodies = log.take()
            writer.merge(BODY, bodies)
            writer.append(REQUEST, requests)
        writer.append(core.READING, readings([1.0, 2.0], received_at=at))
    with open_state(root / "data" / "state.sqlite") as connection:
        Marks(connection).mark("interval", [Window("r1", at, at, "wattsense")], at)
    return at


def publish_called(root: Path) -> None:
    """Publish of the folder what a standing is read from: all the tables take twenty times that."""
    tables = (core.READING, core.APPLIANCE_INTERVAL, mart.FINDING)
    views = root / "no-views"
    views.mkdir(exist_ok=True)
    warehouse = Warehouse(root / "data" / "warehouse.duckdb", tables)
    publish(warehouse, data_dir=root / "data", views_folder=views)
