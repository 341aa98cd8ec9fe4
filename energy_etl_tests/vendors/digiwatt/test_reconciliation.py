"""Digiwatt against itself: what the sandbox plants is found in each setting, and nothing else."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import polars as pl
import pytest

from energy_etl.periods import local_day_bounds, local_day_of, period_window
from energy_etl.rest import RawCall
from energy_etl.sandbox import World
from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.digiwatt import (
    PLANTED_APPLIANCE,
    PLANTED_FACTOR,
    PLANTED_MONTHS_BACK,
    PLANTED_SITE_ID,
    Digiwatt,
)
from energy_etl.sandbox.estimates import Window
from energy_etl.sandbox.model import id_digiwatt
from energy_etl.tables import Table, core, mart
from energy_etl.vendors.digiwatt import tables
from energy_etl.vendors.digiwatt.client import DISAGGREGATION_PERIODS, ENDPOINTS, PERIODS
from energy_etl.vendors.digiwatt.reconciliation import INPUTS, SLOTS, compute_reconciliations
from energy_etl.vendors.digiwatt.reconciliation_report import (
    CHECKS,
    FINDINGS,
    RULES,
)
from energy_etl.vendors.digiwatt.rows import to_batch
from energy_etl.vendors.digiwatt.tables import VENDOR_RECONCILIATION
from energy_etl_tests.vendors.extracting import alias_frame

Frames = dict[str, pl.DataFrame]
NOW_AT = datetime(2024, 6, 19, 9, 0, tzinfo=UTC)  # a Wednesday
SITES = ("dublin-a", "rome-b")
VARIANTS = [(part, today) for part in ("elapsed", "whole") for today in (False, True)]
OPEN = ("last-seven-days", "this-week", "this-month")
PLANTED = [(f"{PLANTED_SITE_ID}.mains", "yearly_distribution_sum", "2024-02", None)]


class Present:
    """The instant that the one world and the one vendor of this module live in."""

    def __init__(self) -> None:
        self.at = NOW_AT
        self.world = World(now=lambda: self.at)
        self.vendor = Digiwatt(self.world, Credentials())


PRESENT = Present()


def fetched(
    previous_part: str = "elapsed",
    has_today: bool = False,
    now: datetime = NOW_AT,
    sites: tuple[str, ...] = SITES,
) -> Mapping[str, pl.DataFrame]:
    """What a fetch of some meters brings, the portfolio, and our own figures from the truth."""
    # The cache takes a default that is left out for another call than one that is given.
    return _fetched(previous_part, has_today, now, sites)


@lru_cache
def _fetched(
    previous_part: str, has_today: bool, now: datetime, sites: tuple[str, ...]
) -> Mapping[str, pl.DataFrame]:
    world, vendor = PRESENT.world, PRESENT.vendor
    PRESENT.at = now
    # One vendor for all settings: what it estimates does not depend on them and takes long.
    vendor.estimates.trend_variant = previous_part
    vendor.estimates.has_today = has_today
    is_whole = (previous_part, has_today) == ("elapsed", False)
    calls = [
        _call(vendor, world, site_id, name, period)
        for site_id in sites
        for name, template in ENDPOINTS.items()
        for period in _periods(name, template, is_whole)
    ]
    batch = to_batch(calls)
    assert not batch.problems
    frames = {each.full_name: each.polars_schema.to_frame() for each in _tables()}
    frames |= {write.table.full_name: write.frame for write in batch.writes}
    frames[SLOTS.full_name] = frames[tables.DISAGGREGATION.full_name]
    variant = {
        "vendor": "digiwatt",
        "previous_part": previous_part,
        "has_today": has_today,
        "n_figures": 6,
        "n_fitting": 6,
        "is_best": True,
        "verdict": "it fits",
    }
    zones = {site_id: world.sites[site_id].zone for site_id in sites}
    return frames | {
        core.ALIAS.full_name: alias_frame(
            "meter", "digiwatt", [(f"{site_id}.mains", id_digiwatt(site_id)) for site_id in sites]
        ),
        core.METER.full_name: _frame(
            core.METER, [{"meter_id": f"{s}.mains", "site_id": s, "name": s} for s in sites]
        ),
        core.SITE.full_name: _frame(
            core.SITE, [{"site_id": s, "zone": zone} for s, zone in zones.items()]
        ),
        core.REGISTER.full_name: _frame(
            core.REGISTER,
            [
                {
                    "register_id": f"{s}.grid_import",
                    "meter_id": f"{s}.mains",
                    "site_id": s,
                    "role": "mains",
                    "commodity": "electricity",
                    "kind": "cumulative",
                    "is_primary": True,
                }
                for s in sites
            ],
        ),
        mart.DAILY_ENERGY.full_name: _own_days(vendor, zones, now),
        mart.PERIOD_TREND.full_name: _own_trends(vendor, zones, now),
        mart.TREND_VARIANT.full_name: _frame(
            mart.TREND_VARIANT, [variant | {"meter_id": f"{s}.mains"} for s in sites]
        ),
    }


def _tables() -> list[Table]:
    return [each for each in INPUTS if isinstance(each, Table)] + [tables.DISAGGREGATION]


def _frame(table: Table, rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=table.polars_schema)


def _periods(name: str, template: str, is_whole: bool) -> tuple[str | None, ...]:
    if "{period}" not in template:
        return (None,)
    if name != "disaggregation":
        return PERIODS
    # Last month is most of the hours, and the same in each setting.
    return DISAGGREGATION_PERIODS if is_whole else DISAGGREGATION_PERIODS[:2]


def _call(vendor: Digiwatt, world: World, site_id: str, name: str, period: str | None) -> RawCall:
    now = datetime.fromtimestamp(world.now_ms() / 1000, UTC)
    answer = vendor._meter(id_digiwatt(site_id), name, [period] if period else [])
    params = {
        "smartmeter_id": id_digiwatt(site_id),
        "period": period,
        "fetched_on": local_day_of(world.sites[site_id].zone, now).isoformat(),
    }
    return RawCall(
        request_id=f"{site_id} {name} {period}",
        vendor="digiwatt",
        endpoint=name,
        params=params,
        status=answer.status_code,
        body=bytes(answer.body),
        requested_at=now,
    )


def _sum(vendor: Digiwatt, site_id: str, start_at: datetime, end_at: datetime) -> float:
    window = Window(*(int(at.timestamp() * 1000) for at in (start_at, end_at)))
    return vendor.estimates.total(vendor.estimates.mains(site_id), window)


def _own_days(vendor: Digiwatt, zones: dict[str, str], now: datetime) -> pl.DataFrame:
    rows = []
    for site_id, zone in zones.items():
        for back in range(1, 40):
            local_on = local_day_of(zone, now) - timedelta(days=back)
            start_at, end_at = local_day_bounds(zone, local_on)
            rows.append(
                {
                    "register_id": f"{site_id}.grid_import",
                    "site_id": site_id,
                    "local_on": local_on,
                    "energy_kwh": _sum(vendor, site_id, start_at, end_at),
                    "n_expected": 96,
                    "n_measured": 96,
                }
            )
    return _frame(mart.DAILY_ENERGY, rows)


def _own_trends(vendor: Digiwatt, zones: dict[str, str], now: datetime) -> pl.DataFrame:
    rows = []
    for site_id, zone in zones.items():
        local_on = local_day_of(zone, now)
        for period in PERIODS:
            window = period_window(period, local_on)  # pyright: ignore[reportArgumentType]
            row = {
                "register_id": f"{site_id}.grid_import",
                "period": period,
                "computed_on": local_on,
                "trend_pct": None,
                "trend_whole_pct": None,
            }
            if window.start_on is not None and window.end_on is not None:
                edges = [
                    local_day_bounds(zone, day)[0]
                    for day in (
                        window.start_on,
                        window.end_on,
                        window.previous_start_on,
                        window.previous_end_on,
                        window.previous_whole_end_on,
                    )
                    if day is not None
                ]
                current = _sum(vendor, site_id, edges[0], edges[1])
                for name, end_at in (("trend_pct", edges[3]), ("trend_whole_pct", edges[4])):
                    previous = _sum(vendor, site_id, edges[2], end_at)
                    row[name] = 100 * (current - previous) / previous
            rows.append(row)
    return _frame(mart.PERIOD_TREND, rows)


def reconciled(frames: Mapping[str, pl.DataFrame], now: datetime = NOW_AT) -> pl.DataFrame:
    rows = compute_reconciliations(frames, now)
    assert rows.schema == VENDOR_RECONCILIATION.polars_schema
    assert rows.equals(rows.sort(VENDOR_RECONCILIATION.key))
    assert rows.n_unique(list(VENDOR_RECONCILIATION.key)) == rows.height
    required = [column.name for column in VENDOR_RECONCILIATION.columns if not column.is_nullable]
    assert sum(rows.select(required).null_count().row(0)) == 0
    return rows


def changed(
    frames: Mapping[str, pl.DataFrame], table: Table, *columns: pl.Expr, **named: pl.Expr
) -> Frames:
    name = table.full_name
    return dict(frames) | {name: frames[name].with_columns(*columns, **named)}


def differing(rows: pl.DataFrame) -> list[tuple[str, str, str, str | None]]:
    wrong = rows.filter(pl.col("verdict") == "differs")
    return wrong.select("meter_id", "rule", "period", "appliance").rows()


@pytest.mark.parametrize(("previous_part", "has_today"), VARIANTS)
def test_planted_contradiction_is_found_in_each_setting_and_nothing_else_differs(
    previous_part: str, has_today: bool
) -> None:
    rows = reconciled(fetched(previous_part, has_today))
    assert differing(rows) == PLANTED
    (planted,) = rows.filter(pl.col("verdict") == "differs").iter_rows(named=True)
    fridge = (
        fetched(previous_part, has_today)[tables.YEARLY_CONSUMPTION_DISTRIBUTION.full_name]
        .filter(
            (pl.col("smartmeter_id_digiwatt") == id_digiwatt(PLANTED_SITE_ID))
            & (pl.col("appliance") == PLANTED_APPLIANCE)
            & (pl.col("month_on").dt.month() == NOW_AT.month - PLANTED_MONTHS_BACK)
        )["consumption_kwh"]
        .item()
    )
    added = fridge * (1 - 1 / PLANTED_FACTOR)
    assert planted["difference_native"] == pytest.approx(added, abs=0.02)
    # Every rule was put to the test, for every meter.
    compared = rows.filter(pl.col("verdict") == "agrees").select("meter_id", "rule").unique()
    assert compared.height == len(SITES) * len(RULES) == 2 * 13
    open_trends = rows.filter((pl.col("rule") == "trend") & pl.col("period").is_in(OPEN))
    wanted = "not_comparable" if has_today else "agrees"
    assert set(open_trends["verdict"]) == {wanted}
    hours = rows.filter(pl.col("rule") == "disaggregation_sum")
    is_told = (previous_part, has_today) == ("elapsed", False)
    is_last_month = pl.col("period") == "last-month"
    assert set(hours.filter(~is_last_month)["verdict"]) == {"agrees"}
    wanted = "agrees" if is_told else "not_comparable"
    assert set(hours.filter(is_last_month)["verdict"]) == {wanted}


@pytest.mark.parametrize(
    ("now", "sites", "setting"),
    [
        # A Monday, so that this week is empty, after a month with a day of 24.5 hours.
        (datetime(2024, 5, 6, 12, tzinfo=UTC), ("dublin-a", "lordhowe-a"), ("elapsed", False)),
        # Five minutes into July in Rome, and still June in Dublin.
        (datetime(2024, 6, 30, 22, 5, tzinfo=UTC), SITES, ("whole", True)),
    ],
)
def test_on_odd_days_nothing_but_the_planted_month_differs(
    now: datetime, sites: tuple[str, ...], setting: tuple[str, bool]
) -> None:
    rows = reconciled(fetched(*setting, now, sites), now)
    assert [row[:2] for row in differing(rows)] == [PLANTED[0][:2]]
    hours = rows.filter(pl.col("rule") == "disaggregation_sum")
    assert hours.filter(pl.col("verdict") == "agrees")["meter_id"].n_unique() == 2


def test_a_variant_nobody_knows_leaves_open_trends_uncompared_and_closed_ones_checked() -> None:
    frames = dict(fetched("whole")) | {
        mart.TREND_VARIANT.full_name: mart.TREND_VARIANT.empty_frame()
    }
    trends = reconciled(frames).filter(pl.col("rule") == "trend")
    is_open = pl.col("period").is_in(OPEN)
    assert set(trends.filter(is_open)["verdict"]) == {"not_comparable"}
    assert set(trends.filter(~is_open)["verdict"]) == {"agrees"}


def test_figures_that_are_wrong_differ_by_their_rules() -> None:
    frames = dict(fetched())
    tenth_more = {
        tables.CONSUMPTION_DISTRIBUTION: "consumption_kwh",
        tables.SAVINGS: "estimated_consumption_wh",
        tables.CONSUMPTION_HISTORY: "consumption_kwh",
        tables.COSTS_HISTORY: "cost_eur",
    }
    for table, column in tenth_more.items():
        frames = changed(frames, table, pl.col(column) * 1.1)
    frames = changed(
        frames,
        tables.PERFORMANCE,
        pl.col("user_consumption_kwh") * 1.1,
        pl.col("min_consumption_kwh") * 40.0,
    )
    frames = changed(frames, tables.CONSUMPTION, pl.col("trend_pct") + 7.0)
    is_total = pl.col("part") == "total"
    more = pl.when(is_total).then(pl.col("consumption_kwh") * 1.3).otherwise("consumption_kwh")
    frames = changed(frames, tables.YEARLY_COMPOUND_CONSUMPTION, more.alias("consumption_kwh"))
    wrong = reconciled(frames).filter(pl.col("verdict") == "differs")
    found = dict(wrong.group_by("rule").agg(n=pl.len()).iter_rows())
    # Six periods of two meters; January began in Rome an hour before the truth did.
    months = 5 + 4
    assert {rule: found[rule] for rule in sorted(found)} == {
        "compound_parts": months,
        "compound_total": months,
        "costs_last_month": 2,
        "disaggregation_sum": found["disaggregation_sum"],
        "distribution_sum": 12,
        "history_last_month": 2,
        "performance_bounds": 12,
        "performance_user": 12 + 2,
        "savings_consumption": 2,
        "trend": 12,
        "yearly_distribution_sum": months,
    }
    assert found["disaggregation_sum"] > 12


def test_hours_that_do_not_add_up_name_the_appliance() -> None:
    frames = dict(fetched())
    is_fridge = (pl.col("appliance") == "fridge") & (
        pl.col("smartmeter_id_digiwatt") == id_digiwatt("rome-b")
    )
    doubled = pl.when(is_fridge).then(2 * pl.col("consumption_kwh")).otherwise("consumption_kwh")
    frames[SLOTS.full_name] = frames[SLOTS.full_name].with_columns(consumption_kwh=doubled)
    wrong = differing(reconciled(frames))
    assert {row[1:4:2] for row in wrong if row not in PLANTED} == {("disaggregation_sum", "fridge")}
    assert len(wrong) == 6 + 1


def test_hours_with_a_hole_are_not_compared() -> None:
    frames = dict(fetched())
    hole = datetime(2024, 6, 18, 11, tzinfo=UTC)
    frames[SLOTS.full_name] = frames[SLOTS.full_name].filter(pl.col("start_at") != hole)
    hours = reconciled(frames).filter(pl.col("rule") == "disaggregation_sum")
    by_period = dict(hours.group_by("period").agg(pl.col("verdict").unique().first()).iter_rows())
    assert by_period == {
        "yesterday": "not_comparable",
        "last-seven-days": "not_comparable",
        "this-week": "not_comparable",
        "this-month": "not_comparable",
        "last-week": "agrees",
        "last-month": "agrees",
    }
    assert "cover" in hours.filter(pl.col("period") == "yesterday")["reason"][0]


def test_what_no_appliance_explains_is_reported_and_never_called_a_contradiction() -> None:
    frames = dict(fetched())
    for table in (tables.CONSUMPTION_DISTRIBUTION, tables.YEARLY_CONSUMPTION_DISTRIBUTION):
        frames[table.full_name] = frames[table.full_name].filter(pl.col("appliance") != "other")
    rows = reconciled(frames)
    sums = rows.filter(pl.col("rule") == "distribution_sum")
    assert set(sums["verdict"]) == {"not_comparable"}
    rest = rows.filter(pl.col("rule") == "unattributed")
    assert set(rest["verdict"]) == {"agrees"}
    others = fetched()[tables.CONSUMPTION_DISTRIBUTION.full_name].filter(
        pl.col("appliance") == "other"
    )
    assert rest["difference_native"].sum() == pytest.approx(others["consumption_kwh"].sum())
    assert (rest["difference_native"] > 0).all()


def test_appliances_above_the_total_differ_and_the_residual_is_not_clipped() -> None:
    rows = reconciled(
        changed(
            fetched(),
            tables.CONSUMPTION_DISTRIBUTION,
            consumption_kwh=pl.col("consumption_kwh") * 9,
        )
    )
    rest = rows.filter(pl.col("rule") == "unattributed")
    assert set(rest["verdict"]) == {"differs"}
    assert (rest["difference_native"] < 0).all()


def test_savings_taken_for_kwh_are_found_by_the_price() -> None:
    mixed_up = pl.col("estimated_consumption_wh") * 1000
    rows = reconciled(changed(fetched(), tables.SAVINGS, estimated_consumption_wh=mixed_up))
    prices = rows.filter((pl.col("rule") == "implied_price") & (pl.col("verdict") == "differs"))
    assert prices["period"].to_list() == ["last-30-days"] * len(SITES)


def test_answers_that_did_not_come_are_not_comparable() -> None:
    frames = dict(fetched())
    for table in (tables.PERFORMANCE, tables.SAVINGS, tables.CONSUMPTION_HISTORY):
        frames[table.full_name] = table.empty_frame()
    rows = reconciled(frames)
    assert differing(rows) == []
    for rule in ("performance_user", "history_last_month", "savings_consumption"):
        of_rule = rows.filter(pl.col("rule") == rule)
        assert set(of_rule["verdict"]) == {"not_comparable"}
        assert of_rule["reason"].str.contains("come").all()


def test_too_little_measured_by_us_is_no_contradiction_of_theirs() -> None:
    frames = changed(fetched(), mart.DAILY_ENERGY, pl.col("n_measured") - 6)
    frames = changed(frames, mart.DAILY_ENERGY, pl.col("energy_kwh") * 0.5)
    savings = reconciled(frames).filter(pl.col("rule") == "savings_consumption")
    assert set(savings["verdict"]) == {"not_comparable"}
    frames = dict(fetched()) | {core.REGISTER.full_name: core.REGISTER.empty_frame()}
    rows = reconciled(frames).filter(pl.col("rule").is_in(["savings_consumption", "trend"]))
    assert set(rows["verdict"]) == {"not_comparable"}


def test_hours_lost_by_us_within_the_coverage_are_no_contradiction_of_theirs() -> None:
    # One day of the 30 has no energy: 3.3 % less than the vendor counts, of 2 % for the meters.
    day_on = local_day_of("Europe/Rome", NOW_AT) - timedelta(days=9)
    is_lost = pl.col("local_on") == day_on
    for n_estimated, verdict in ((0, "agrees"), (pl.col("n_measured"), "differs")):
        lost = [
            pl.when(is_lost).then(of_lost).otherwise(column).alias(column)
            for column, of_lost in (
                ("energy_kwh", 0.0),
                ("n_estimated", n_estimated),
                ("n_measured", 0),
            )
        ]
        frames = changed(fetched(), mart.DAILY_ENERGY, *lost)
        savings = reconciled(frames).filter(pl.col("rule") == "savings_consumption")
        assert set(savings["verdict"]) == {verdict}


def test_the_user_stands_between_the_bounds_by_percent() -> None:
    rows = reconciled(fetched()).filter(pl.col("rule") == "performance_bounds")
    assert rows["position_pct"].is_between(0, 100).all()
    assert rows.height == (6 + 1) * len(SITES)
    of_week = (pl.col("meter_id") == "dublin-a.mains") & (pl.col("period") == "last-week")
    figures = fetched()[tables.PERFORMANCE.full_name].row(
        by_predicate=(pl.col("smartmeter_id_digiwatt") == id_digiwatt("dublin-a"))
        & (pl.col("period") == "last-week"),
        named=True,
    )
    low, high = figures["min_consumption_kwh"], figures["max_consumption_kwh"]
    expected = 100 * (figures["user_consumption_kwh"] - low) / (high - low)
    assert rows.filter(of_week)["position_pct"].to_list() == [pytest.approx(expected)]


def test_only_the_newest_fetch_of_the_last_35_days_counts() -> None:
    older = {}
    for table in (tables.CONSUMPTION, tables.CONSUMPTION_DISTRIBUTION, tables.PERFORMANCE):
        frame = fetched()[table.full_name]
        wrong = frame.with_columns(
            pl.col("fetched_on") - timedelta(days=1), pl.selectors.ends_with("_kwh") * 7
        )
        older[table.full_name] = pl.concat([frame, wrong])
    assert differing(reconciled(dict(fetched()) | older)) == PLANTED
    assert compute_reconciliations(fetched(), NOW_AT + timedelta(days=35)).height > 0
    assert compute_reconciliations(fetched(), NOW_AT + timedelta(days=36, hours=12)).is_empty()


def test_meters_nobody_mapped_are_left_out() -> None:
    frames = dict(fetched()) | {core.ALIAS.full_name: alias_frame("meter", "digiwatt", [])}
    assert reconciled(frames).is_empty()


def test_each_rule_has_a_check_that_names_meter_figures_and_next_step() -> None:
    rows = reconciled(fetched())
    frames = {VENDOR_RECONCILIATION.full_name: rows}
    verdicts = {check.name: check.judge(frames, NOW_AT) for check in CHECKS}
    assert set(verdicts) == set(rows["rule"])
    failed = {name: verdict for name, verdict in verdicts.items() if not verdict.passed}
    assert list(failed) == ["yearly_distribution_sum"]
    verdict = failed["yearly_distribution_sum"]
    assert verdict.numbers == {"n_compared": 9, "n_not_comparable": 0, "n_differs": 1}
    planted = rows.filter(pl.col("verdict") == "differs").row(0, named=True)
    for part in ("dublin-a.mains", "2024-02", f"{planted['left_native']:.6g} kWh", "Ask Digiwatt"):
        assert part in verdict.message
    assert not any(check.is_blocking for check in CHECKS)


def test_each_difference_is_a_finding_with_its_place_and_next_step() -> None:
    rows = reconciled(fetched())
    findings = FINDINGS.find({VENDOR_RECONCILIATION.full_name: rows}, NOW_AT)
    (finding,) = findings.iter_rows(named=True)
    assert finding["kind"] == "vendor_contradiction"
    assert finding["place"] == "digiwatt: meter dublin-a.mains, yearly_distribution_sum, 2024-02"
    assert "consumption-history" in finding["message"]
    assert finding["next_step"].startswith("Ask Digiwatt")
