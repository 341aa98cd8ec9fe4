"""A vendor is a folder: the sixth one is found without an edit elsewhere."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from pydantic import SecretStr

import energy_etl.vendors as vendors
from energy_etl.vendors import (
    RawCall,
    VendorBatch,
    discover_vendors,
    group_fetches,
    project_settings,
)
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattsense.tables import DEVICE

_SIXTH = '''
"""A toy vendor."""
from pydantic import BaseModel
from energy_etl.tables import Column, Table
from energy_etl.vendors import Vendor

VENDOR = Vendor(
    name="toy",
    title="Toy",
    document="none",
    tables=(Table("toy", "thing", "A toy.", (Column("thing_id", "text", "Id."),), ("thing_id",)),),
    settings=BaseModel,
)
'''


def test_sixth_vendor_is_found_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_of_test_vendors").mkdir()
    (tmp_path / "toy_of_test_vendors" / "__init__.py").write_text(_SIXTH)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "__init__.py").write_text('"""No vendor."""\n')
    monkeypatch.setattr(vendors, "__path__", [*vendors.__path__, str(tmp_path)])
    found = discover_vendors()
    assert found["toy"].tables[0].full_name == "toy.thing"
    assert "plain" not in found
    assert list(found) == sorted(found)
    assert {"digiwatt", "wattsense"} <= set(found)


def test_on_the_sandbox_nobody_else_is_called_and_every_credential_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ENERGY_ETL_")]:
        monkeypatch.delenv(name)
    settings = project_settings(tmp_path, sandbox_url="http://127.0.0.1:8099")
    for name in discover_vendors():
        section = getattr(settings, name)
        urls = {field: url for field, url in section if field.endswith("_url")}
        assert urls, name
        assert all(url.startswith("http://127.0.0.1:8099/") for url in urls.values()), urls
        secrets = [value for _, value in section if isinstance(value, SecretStr)]
        secrets += [each.password for each in getattr(section, "credentials", {}).values()]
        assert secrets, name
        assert all(secret.get_secret_value().startswith("sandbox-") for secret in secrets)
    monkeypatch.setenv("ENERGY_ETL_WATTICS__COLLECTOR_URL", "http://127.0.0.1:8098/x/")
    chosen = project_settings(tmp_path).section(WatticsSettings)
    assert chosen.collector_url == "http://127.0.0.1:8098/x/"


def test_every_vendor_says_what_its_tables_are() -> None:
    for name, vendor in discover_vendors().items():
        assert all(table.schema == name for table in vendor.tables)
        assert all(column.description.endswith(".") for t in vendor.tables for column in t.columns)
        assert vendor.document


def test_calls_are_grouped_by_fetch_in_the_order_the_fetches_began() -> None:
    start_at = datetime(2025, 1, 1, tzinfo=UTC)

    def call(number: int, fetch_id: str | None) -> RawCall:
        params = {"fetch_id": fetch_id} if fetch_id else {}
        at = start_at + timedelta(seconds=number)
        return RawCall(f"r{number}", "acme", "x", params, 200, b"", at)

    calls = [call(5, "b"), call(1, "a"), call(2, "b"), call(3, "a"), call(4, None)]
    groups = group_fetches(calls)
    assert [[c.request_id for c in group] for group in groups] == [
        ["r1", "r3"],
        ["r2", "r5"],
        ["r4"],
    ]


def test_batch_without_rows_of_a_table_has_an_empty_frame_of_it() -> None:
    frame = VendorBatch().frame(DEVICE)
    assert frame.schema == DEVICE.polars_schema
    assert frame.height == 0
    assert isinstance(frame, pl.DataFrame)
