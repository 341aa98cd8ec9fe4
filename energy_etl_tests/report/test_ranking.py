"""Which sites come first in a report of many."""

from datetime import timedelta

import polars as pl

from energy_etl.report.figures import compute_sites
from energy_etl.report.ranking import by_need, needs_look
from energy_etl_tests.report.world import NOW, frame, make


def test_sites_that_need_a_look_come_before_those_that_use_most() -> None:
    frames = make(["Calm", "Large", "Silent", "Unread", "Poor"], n_submeters=0)
    is_ = {what: pl.col("site_id") == f"site-{place}" for place, what in enumerate("CLSUP")}
    frames["site_daily"] = frames["site_daily"].with_columns(
        consumption_kwh=pl.when(is_["L"]).then(900.0).otherwise("consumption_kwh")
    )
    frames["coverage"] = frames["coverage"].with_columns(
        n_measured=pl.when(is_["P"]).then(500).otherwise("n_expected"),
        last_read_at=pl.when(is_["U"])
        .then(None)
        .when(is_["S"])
        .then(pl.lit(NOW - timedelta(hours=37)))
        .otherwise("last_read_at"),
    )
    sites = compute_sites(frames, NOW)
    ranked = by_need(sites, NOW)
    assert [site.name for site in ranked] == ["Poor", "Silent", "Unread", "Large", "Calm"]
    assert [needs_look(site, NOW) for site in ranked] == [True, True, True, False, False]


def test_site_without_a_meter_of_electricity_has_nothing_to_look_at() -> None:
    frames = make(["Well"], with_energy=False)
    frames["register"] = frame("register", [])
    (site,) = compute_sites(frames, NOW)
    assert site.coverage_pct is None
    assert not needs_look(site, NOW)
