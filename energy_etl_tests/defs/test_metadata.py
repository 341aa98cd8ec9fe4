"""What the UI shows of a table: its numbers, and what stands before it in the lineage."""

import dagster as dg
import pytest

from energy_etl.definitions import defs
from energy_etl.defs.metadata import asset_key, materialized
from energy_etl.tables import Table, core
from energy_etl.vendors import discover_vendors


def test_numbers_are_shown_with_six_digits_that_count_and_without_what_is_unknown() -> None:
    result = materialized(
        core.SITE, rows=1234567, coverage_pct=96.17358421, energy_kwh=0.000123456789, lag_s=None
    )

    assert result.asset_key == dg.AssetKey(["core", "site"])
    assert result.metadata == {"rows": 1234567, "coverage_pct": 96.1736, "energy_kwh": 0.000123457}


@pytest.mark.parametrize("fed", [core.READING, core.VENDOR_FIGURE], ids=lambda fed: fed.full_name)
def test_vendor_that_feeds_a_table_stands_before_it_in_the_lineage(fed: Table) -> None:
    parents = defs.resolve_asset_graph().get(asset_key(fed)).parent_keys

    feeding = {vendor.name for vendor in discover_vendors().values() if fed in vendor.feeds}
    assert feeding
    assert {key.path[0] for key in parents} == {"core", *feeding}
