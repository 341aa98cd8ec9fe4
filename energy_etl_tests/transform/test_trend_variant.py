"""How a vendor counts: the sandbox's variant is found in each setting, and doubt is said aloud."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from energy_etl.sandbox import World
from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.calendar import local_date
from energy_etl.sandbox.digiwatt import PERIODS, Digiwatt
from energy_etl.tables.core import REGISTER, VENDOR_FIGURE
from energy_etl.tables.mart import TREND_VARIANT
from energy_etl.transform.trend_variant import (
    FETCH_DAYS,
    HYPOTHESES,
    INTERVAL_DAYS,
    compute_trend_variants,
)
from energy_etl_tests.transform.builders import make_register, utc

# Flat hours, a clock change in the month before, a half hour of summer time.
SITES = ("rome-b", "newyork-a", "lordhowe-a")
WEDNESDAY = utc("2025-04-16T09:07")
MONDAY = utc("2025-04-14T08:52")
FIRST_ON_A_MONDAY = utc("2025-09-01T07:40")
SETTINGS = pytest.mark.parametrize(("variant", "has_today"), HYPOTHESES)

Ask = Callable[..., pl.DataFrame]


class Clock:
    """A clock that tests set."""

    at = FIRST_ON_A_MONDAY

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(scope="module")
def world_and_clock() -> tuple[World, Clock]:
    clock = Clock()
    return World(now=clock), clock


@pytest.fixture(scope="module")
def truth(world_and_clock: tuple[World, Clock]) -> pl.DataFrame:
    """The true energy of the mains per quarter hour, as the query of the mart gives it."""
    world, _ = world_and_clock
    frames = []
    for site_id in SITES:
        steps = world.steps(f"{site_id}.grid_import")
        start_ms = world.origin_ms + np.arange(len(steps), dtype=np.int64) * world.slot_ms
        frames.append(
            pl.DataFrame({"start_ms": start_ms, "energy_kwh": steps})
            .select(
                pl.lit(site_id).alias("register_id"),
                pl.from_epoch("start_ms", "ms").dt.cast_time_unit("us").dt.replace_time_zone("UTC"),
                "energy_kwh",
                is_measured=pl.lit(value=True),
            )
            .rename({"start_ms": "start_at"})
            .with_columns(end_at=pl.col("start_at") + timedelta(minutes=15))
        )
    return pl.concat(frames)


def register_frame(world: World, sites: tuple[str, ...] = SITES) -> pl.DataFrame:
    return pl.concat(
        [make_register(each, meter_id=each, zone=world.sites[each].zone) for each in sites]
    )


@pytest.fixture
def told(world_and_clock: tuple[World, Clock], truth: pl.DataFrame) -> Ask:
    """What is said of the sandbox's vendor in a setting after fetches at some instants."""
    world, clock = world_and_clock

    def ask(variant: str, has_today: bool, *fetched_at: datetime) -> pl.DataFrame:
        clock.at = max(fetched_at)
        known = truth.filter(
            pl.col("end_at") <= clock.at,
            pl.col("start_at") >= clock.at - timedelta(days=INTERVAL_DAYS),
        )
        figures = figures_of(world, clock, variant, has_today, fetched_at)
        return compute_trend_variants(figures, known, register_frame(world), now=clock.at)

    return ask


def figures_of(
    world: World,
    clock: Clock,
    variant: str,
    has_today: bool,
    fetched_at: tuple[datetime, ...],
) -> pl.DataFrame:
    """The vendor's figures as core holds them, straight from the sandbox's handler."""
    vendor = Digiwatt(world, Credentials(), trend_variant=variant, has_today=has_today)
    rows = []
    for clock.at in fetched_at:
        for site_id in SITES:
            for period in PERIODS:
                body = vendor._consumption(site_id, period)
                rows.append(
                    {
                        "meter_id": site_id,
                        "vendor": "digiwatt",
                        "period": period,
                        "fetched_on": local_date(world.sites[site_id].zone, world.now_ms()),
                        "energy_kwh": body["value"],
                        "trend_pct": body["previousPeriodValueTrend"],
                        "fetched_at": clock.at,
                    }
                )
    return pl.DataFrame(rows, schema=VENDOR_FIGURE.polars_schema, strict=False)


def best_of(variants: pl.DataFrame) -> list[tuple[str, str, bool]]:
    best = variants.filter("is_best")
    return best.select("meter_id", "previous_part", "has_today").rows()


@SETTINGS
def test_planted_variant_is_found_from_one_fetch_on_an_ordinary_weekday(
    told: Ask, variant: str, has_today: bool
):
    variants = told(variant, has_today, WEDNESDAY)
    assert variants.schema == TREND_VARIANT.polars_schema
    assert variants.equals(variants.sort(TREND_VARIANT.key))
    assert variants.height == len(SITES) * len(HYPOTHESES)
    assert best_of(variants) == [(site_id, variant, has_today) for site_id in sorted(SITES)]
    best = variants.filter("is_best")
    assert (best["n_fitting"] == best["n_figures"]).all()
    # this-week, this-month and last-seven-days: the three closed periods tell nothing.
    assert (best["n_figures"] == 3).all()
    assert (best["median_energy_error_pct"] < 0.5).all()
    assert (best["median_trend_error_points"] <= 0.5).all()
    others = variants.filter(~pl.col("is_best"))
    assert (others["n_fitting"] < others["n_figures"]).all()
    word = "up to the fetch" if has_today else "the last complete day"
    assert best["verdict"].str.contains(word).all()
    assert best["verdict"].str.contains("whole" if variant == "whole" else "elapsed").all()
    assert others["verdict"].str.starts_with("digiwatt does not count so").all()


@SETTINGS
def test_planted_variant_is_found_from_weeks_of_fetches_with_their_mondays(
    told: Ask, variant: str, has_today: bool
):
    days = [WEDNESDAY + timedelta(days=n, hours=(5 * n) % 14 - 7) for n in range(0, 30, 4)]
    variants = told(variant, has_today, *days)
    assert best_of(variants) == [(site_id, variant, has_today) for site_id in sorted(SITES)]
    assert (variants["n_figures"] > 15).all()


@pytest.mark.parametrize("variant", ["elapsed", "whole"])
def test_on_a_monday_that_is_a_first_only_today_can_be_told_and_the_verdict_says_so(
    told: Ask, variant: str
):
    variants = told(variant, False, FIRST_ON_A_MONDAY).filter(pl.col("meter_id") == "rome-b")
    assert best_of(variants) == []
    fitting = {row[:2]: row[2] for row in _counts(variants)}
    assert fitting["elapsed", False] == fitting["whole", False] > fitting["elapsed", True]
    (verdict,) = variants["verdict"].unique()
    assert "open periods end with the last complete day; the rest cannot be told" in verdict


def test_on_a_monday_an_empty_week_is_held_against_today_and_the_month_tells_the_rest(told: Ask):
    assert best_of(told("whole", False, MONDAY)) == [(s, "whole", False) for s in sorted(SITES)]
    assert best_of(told("elapsed", True, MONDAY)) == [(s, "elapsed", True) for s in sorted(SITES)]


def test_a_vendor_half_an_hour_behind_still_includes_today(
    world_and_clock: tuple[World, Clock], truth: pl.DataFrame
):
    world, clock = world_and_clock
    figures = figures_of(world, clock, "elapsed", True, (WEDNESDAY,))
    late = figures.with_columns(fetched_at=pl.col("fetched_at") + timedelta(minutes=30))
    variants = compute_trend_variants(late, truth, register_frame(world), now=WEDNESDAY)
    assert best_of(variants) == [(site_id, "elapsed", True) for site_id in sorted(SITES)]


def _counts(variants: pl.DataFrame) -> list[tuple]:
    return variants.select("previous_part", "has_today", "n_fitting").rows()


# -- what cannot be told ---------------------------------------------------------------------

NOW = utc("2026-10-28T09:00")  # a Wednesday, 10:00 in Rome
ON = date(2026, 10, 28)


def make_load(kwh: float = 0.25, days: int = 97) -> pl.DataFrame:
    """Intervals of register a up to NOW, more on each day than on the one before."""
    start_at = NOW - timedelta(days=days)
    starts = pl.datetime_range(start_at, NOW, "15m", closed="left", time_zone="UTC", eager=True)
    frame = pl.DataFrame({"start_at": starts}).with_columns(pl.col("start_at").cast(starts.dtype))
    growth = 1 + (pl.col("start_at") - pl.col("start_at").min()).dt.total_days() / 50
    return frame.select(
        pl.lit("a").alias("register_id"),
        "start_at",
        end_at=pl.col("start_at") + timedelta(minutes=15),
        energy_kwh=growth * kwh,
        is_measured=pl.lit(value=True),
    )


def make_figures(*rows: tuple[str, float | None, float | None], **columns: object) -> pl.DataFrame:
    base = {"meter_id": "m", "vendor": "v", "fetched_on": ON, "fetched_at": NOW} | columns
    named = [
        base | {"period": period, "energy_kwh": energy, "trend_pct": trend}
        for period, energy, trend in rows
    ]
    return pl.DataFrame(named, schema=VENDOR_FIGURE.polars_schema)


MAINS = make_register("a", meter_id="m")
ABSURD = (("this-week", 1e6, 300.0), ("this-month", 1e6, 300.0), ("last-seven-days", 1e6, 300.0))


def verdict_of(
    figures: pl.DataFrame, load: pl.DataFrame | None = None, registers: pl.DataFrame = MAINS
) -> tuple[int, int, str]:
    variants = compute_trend_variants(
        figures, make_load() if load is None else load, registers, now=NOW
    )
    assert variants.height == 4
    assert best_of(variants) == []
    (verdict,) = variants["verdict"].unique()
    return variants["n_figures"][0], variants["n_fitting"].max(), verdict  # pyright: ignore


def test_figures_that_nothing_explains_point_to_the_register():
    n_figures, n_fitting, verdict = verdict_of(make_figures(*ABSURD))
    assert (n_figures, n_fitting) == (3, 0)
    assert "None of the four ways explains v's figures" in verdict
    assert "registers.csv" in verdict


@pytest.mark.parametrize(
    ("figures", "load"),
    [
        (make_figures(*ABSURD, fetched_at=None), make_load()),
        (make_figures(*ABSURD, fetched_at=NOW - timedelta(days=3)), make_load()),
        (make_figures(*ABSURD), make_load().with_columns(is_measured=pl.lit(value=False))),
        (make_figures(*ABSURD), make_load().clear()),
        (make_figures(*((period, None, None) for period, _, _ in ABSURD)), make_load()),
    ],
    ids=["no instant", "instant of another day", "not measured", "no intervals", "no figures"],
)
def test_figures_that_cannot_be_compared_count_for_nothing(
    figures: pl.DataFrame, load: pl.DataFrame
):
    n_figures, _, verdict = verdict_of(figures, load)
    assert n_figures == 0
    assert verdict.startswith("None of v's 3 figures of open periods can tell")


def test_one_figure_is_too_few_to_tell():
    n_figures, _, verdict = verdict_of(make_figures(("this-week", 1e6, None)))
    assert n_figures == 1
    assert verdict.startswith("Only 1 of v's 1 figures")


def test_closed_periods_and_old_fetches_are_not_asked():
    closed = make_figures(("yesterday", 1.0, 1.0), ("last-week", 1.0, 1.0), ("last-month", 1.0, 1))
    assert compute_trend_variants(closed, make_load(), MAINS, now=NOW).is_empty()
    old = make_figures(*ABSURD, fetched_on=ON - timedelta(days=FETCH_DAYS))
    both = compute_trend_variants(
        pl.concat([make_figures(*ABSURD), old]), make_load(), MAINS, now=NOW
    )
    alone = compute_trend_variants(make_figures(*ABSURD), make_load(), MAINS, now=NOW)
    assert both.equals(alone)


@pytest.mark.parametrize(
    "registers",
    [
        REGISTER.empty_frame(),
        pl.concat([MAINS, make_register("night", meter_id="m")]),
        make_register("a", meter_id="m", is_primary=False),
        make_register("a", meter_id="m", role="submeter"),
        make_register("a", meter_id="other"),
    ],
    ids=["none", "two", "second view", "submeter", "other meter"],
)
def test_a_meter_without_exactly_one_mains_register_is_left_out(registers: pl.DataFrame):
    variants = compute_trend_variants(make_figures(*ABSURD), make_load(), registers, now=NOW)
    assert variants.schema == TREND_VARIANT.polars_schema
    assert variants.is_empty()


def test_order_of_rows_does_not_matter_and_vendors_are_told_apart():
    figures = pl.concat([make_figures(*ABSURD), make_figures(*ABSURD[:1], vendor="w")])
    load = make_load()
    variants = compute_trend_variants(figures, load, MAINS, now=NOW)
    assert variants["vendor"].to_list() == ["v"] * 4 + ["w"] * 4
    assert variants.equals(compute_trend_variants(figures[::-1], load[::-1], MAINS, now=NOW))
