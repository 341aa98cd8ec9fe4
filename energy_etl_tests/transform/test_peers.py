"""Sites among their peers: who is compared, the figures of a group, and what stays hidden."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables import core, mart
from energy_etl.transform.peers import compute_peers

NOW = datetime(2026, 10, 28, 8, tzinfo=UTC)


def profiles_of(amounts: list[float | None], **columns: list) -> pl.DataFrame:
    n = len(amounts)
    rows = {
        "site_id": [f"s{i:02}" for i in range(n)],
        "commodity": ["electricity"] * n,
        "computed_on": [date(2026, 10, 28)] * n,
        "coverage_rank": list(range(1, n + 1)),
        "coverage_pct": [100.0] * n,
        "area_m2": [150.0] * n,
        "consumption_kwh": amounts,
        **columns,
    }
    return pl.DataFrame(
        {name: rows.get(name, [None] * n) for name in mart.SITE_PROFILE.polars_schema},
        schema=mart.SITE_PROFILE.polars_schema,
    )


def sites_of(n: int, use: list[str | None] | None = None) -> pl.DataFrame:
    rows = {
        "site_id": [f"s{i:02}" for i in range(n)],
        "name": ["x"] * n,
        "zone": ["Europe/Rome"] * n,
        "currency": ["EUR"] * n,
        "area_m2": [None] * n,
        "use": use or ["household"] * n,
    }
    return pl.DataFrame(rows, schema=core.SITE.polars_schema)


def test_group_of_five_shows_quartiles_rank_and_percentile() -> None:
    found = compute_peers(profiles_of([10.0, 20.0, 30.0, 40.0, 50.0]), sites_of(5), now=NOW)
    assert found["reason"].to_list() == [None] * 5
    assert found.row(1, named=True) | {"computed_on": None} == {
        "site_id": "s01",
        "commodity": "electricity",
        "computed_on": None,
        "use": "household",
        "size_class": "100 to 250 m2",
        "measure": "kwh",
        "amount": 20.0,
        "n_peers": 5,
        "min": 10.0,
        "lower_quartile": 20.0,
        "median": 30.0,
        "upper_quartile": 40.0,
        "max": 50.0,
        "rank": 2,
        "percentile": 25.0,
        "reason": None,
    }


def test_group_of_four_is_hidden_and_says_why() -> None:
    found = compute_peers(profiles_of([10.0, 20.0, 30.0, 40.0]), sites_of(4), now=NOW)
    assert found["n_peers"].to_list() == [4] * 4
    assert (
        found.select("min", "median", "max", "rank", "percentile").null_count().row(0) == (4,) * 5
    )
    assert set(found["reason"]) == {"Comparable sites in its group: 4; five are needed."}
    assert found["amount"].to_list() == [10.0, 20.0, 30.0, 40.0]


def test_low_coverage_takes_a_site_out_of_its_group() -> None:
    profiles = profiles_of([1.0, 2.0, 3.0, 4.0, 5.0, 99.0], coverage_pct=[100.0] * 5 + [89.9])
    found = compute_peers(profiles, sites_of(6), now=NOW)
    assert found["max"].to_list() == [5.0] * 5 + [None]
    assert found["reason"][5] == "Its coverage of 89.9 % is below 90 %."


def test_another_use_size_or_commodity_is_no_peer() -> None:
    areas = [150.0, 150.0, 150.0, 150.0, 99.9, 150.0]
    found = compute_peers(
        profiles_of([1.0] * 6, area_m2=areas),
        sites_of(6, [*["household"] * 5, "office"]),
        now=NOW,
    )
    assert found["n_peers"].to_list() == [4, 4, 4, 4, 1, 1]


def test_unknown_use_or_area_names_the_file_to_complete() -> None:
    found = compute_peers(
        profiles_of([1.0, 1.0], area_m2=[None, 150.0]),
        sites_of(2, ["household", None]),
        now=NOW,
    )
    assert "area_m2 in sites.csv" in found["reason"][0]
    assert "use of the site is unknown" in found["reason"][1]


def test_nothing_measured_is_no_zero() -> None:
    found = compute_peers(profiles_of([None, 1.0, 2.0, 3.0, 4.0, 5.0]), sites_of(6), now=NOW)
    assert found["amount"][0] is None
    assert found["min"].to_list() == [None] + [1.0] * 5


def test_no_profiles_give_no_rows() -> None:
    assert compute_peers(profiles_of([]), sites_of(0), now=NOW).is_empty()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0.0, 1e6), min_size=5, max_size=30))
def test_figures_of_any_group_are_those_of_numpy(amounts: list[float]) -> None:
    found = compute_peers(profiles_of(list(amounts)), sites_of(len(amounts)), now=NOW)
    expected = np.percentile(amounts, [0, 25, 50, 75, 100])
    names = ["min", "lower_quartile", "median", "upper_quartile", "max"]
    np.testing.assert_allclose([found[name][0] for name in names], expected, rtol=1e-12, atol=1e-9)
    less = [sum(other < own for other in amounts) for own in amounts]
    assert found["rank"].to_list() == [n + 1 for n in less]
    assert found["percentile"].to_list() == pytest.approx(
        [100.0 * n / (len(amounts) - 1) for n in less]
    )
