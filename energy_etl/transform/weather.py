"""Outdoor temperature and degree days per site and local day (`mart.site_weather`).

From a sensor of the site, else from weather.csv. What energy has to do with it is `baseline.py`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.periods import days_between, local_day_bounds, local_day_of
from energy_etl.tables.mart import FINDING, SITE_WEATHER
from energy_etl.transform.axis import Axis
from energy_etl.transform.calendar import DAY_SCHEMA
from energy_etl.transform.sums import exact_sum

HEATING_BASE_DEGC: Final = 15.5
COOLING_BASE_DEGC: Final = 22.0
# CalTRACK 2.0, 2.2.2.3: no more than half of a day's temperatures may be missing.
MIN_COVERAGE_PCT: Final = 50.0
# The coldest and the hottest air that was ever measured (WMO: Vostok 1983, Death Valley 1913): what
# lies beyond is a sensor's error code, such as 85 or -127.
POSSIBLE_DEGC: Final = (-89.2, 56.7)
OUTDOOR: Final = "outdoor"


def compute_site_weather(
    samples: pl.DataFrame,
    registers: pl.DataFrame,
    sites: pl.DataFrame,
    csv: pl.DataFrame,
    *,
    now: datetime,
) -> pl.DataFrame:
    """Average the outdoor temperature per site and complete local day, and tell its degree days.

    The mean weighs each sample by its length; a sample belongs to the local day that it starts in.
    A day of which the sensor covers less than half (CalTRACK 2.0, 2.2.2.3) is taken from
    weather.csv, like all days of a site without a sensor; a day that neither knows has no row.
    `heating_degree_days` = max(0, 15.5 - mean), `cooling_degree_days` = max(0, mean - 22), of the
    day's mean (CalTRACK 2.0, 3.3.4 and 3.3.5; these bases are for reading, a fit finds its own).

    Args:
        samples: `core.sample` (register_id, start_at, end_at, sample_native, is_provisional) of
            temperature registers, in any order; provisional ones and those that no air ever had
            (below -89.2 or above 56.7 degC) are left out.
        registers: `core.register`; which one is outdoors says `outdoor_registers`.
        sites: `core.site`.
        csv: `core.weather`; sites that are not in `sites` are left out.
        now: the instant of the computation: only days before its local date count.

    Returns:
        `mart.site_weather`, sorted by site_id, local_on.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    rows = pl.concat([_from_sensors(samples, registers, now), _from_csv(csv, sites, now)])
    mean = pl.col("temperature_degc")
    return (
        rows.unique(["site_id", "local_on"], keep="first", maintain_order=True)
        .with_columns(
            heating_degree_days=(HEATING_BASE_DEGC - mean).clip(lower_bound=0.0),
            cooling_degree_days=(mean - COOLING_BASE_DEGC).clip(lower_bound=0.0),
        )
        .select(SITE_WEATHER.polars_schema.names())
        .cast(SITE_WEATHER.polars_schema)
        .sort("site_id", "local_on")
    )


def outdoor_registers(registers: pl.DataFrame) -> pl.DataFrame:
    """Pick each site's outdoor sensor: register_id, site_id, zone; at most one per site.

    It is the primary temperature register (degC) whose `appliance` says `outdoor`, or, where none
    does, the only one whose `appliance` is empty: another word there names a room or a pipe. Of
    several none is picked, since a room's temperature in a fit of the weather is a wrong result.
    """
    return _candidates(registers).filter(pl.len().over("site_id") == 1).drop("is_named")


def compute_weather_findings(registers: pl.DataFrame, csv: pl.DataFrame) -> pl.DataFrame:
    """List what keeps a temperature from being used.

    Kinds: `outdoor_unknown` (a site has several sensors that may be the outdoor one),
    `impossible_temperature` (days of weather.csv that no air ever had), one per site each.

    Args:
        registers: `core.register`.
        csv: `core.weather`.

    Returns:
        `mart.finding`, sorted by kind, place, from_at; empty when all is well.
    """
    several = _candidates(registers).group_by("site_id").agg(pl.col("register_id").sort())
    ambiguous = several.filter(pl.col("register_id").list.len() > 1).select(
        kind=pl.lit("outdoor_unknown"),
        place=pl.col("site_id"),
        message=pl.format(
            "Site {} has several temperature sensors that may be the outdoor one ({}), so none is "
            "used.",
            "site_id",
            pl.col("register_id").list.join(", "),
        ),
        next_step=pl.lit(
            "Write outdoor as the appliance of the right one in registers.csv, and the name of "
            "the room or pipe for the others."
        ),
    )
    impossible = (
        csv.filter(~_is_possible("temperature_degc"))
        .sort("local_on")
        .group_by("site_id")
        .agg(pl.len(), pl.col("local_on").first())
        .select(
            kind=pl.lit("impossible_temperature"),
            place=pl.col("site_id"),
            message=pl.format(
                "weather.csv has days of site {} with a temperature that no air ever had (days: "
                "{}, the first {}), and they are left out.",
                "site_id",
                "len",
                "local_on",
            ),
            next_step=pl.lit("Write daily means in degrees Celsius, or leave such days out."),
        )
    )
    empty = FINDING.empty_frame()
    return pl.concat([empty, ambiguous, impossible], how="diagonal_relaxed").sort(FINDING.key)


def _candidates(registers: pl.DataFrame) -> pl.DataFrame:
    """Registers that may be a site's outdoor sensor: those named so, else those without a name."""
    word = pl.col("appliance").fill_null("")
    return (
        registers.filter(
            pl.col("commodity") == "temperature",
            pl.col("unit") == "degC",
            "is_primary",
            word.is_in(["", OUTDOOR]),
        )
        .select("register_id", "site_id", "zone", is_named=word == OUTDOOR)
        .filter(pl.col("is_named") | ~pl.col("is_named").any().over("site_id"))
        .sort("register_id")
    )


def _from_sensors(samples: pl.DataFrame, registers: pl.DataFrame, now: datetime) -> pl.DataFrame:
    outdoor = outdoor_registers(registers)
    sound = samples.filter(_is_possible("sample_native"), ~pl.col("is_provisional")).join(
        outdoor, on="register_id"
    )
    days = _days(sound, now)
    if days.is_empty():
        return _rows(sound.clear().with_columns(local_on=None, temperature_degc=None), "register")
    edges = pl.concat(
        [
            days.select("lane", edge_at="start_at"),
            days.group_by("lane").agg(edge_at=pl.col("end_at").max()),
        ]
    )
    axis = Axis.from_edges(edges)
    stretch = axis.stretch(pl.col("lane"), pl.col("start_at"))
    hours = (pl.col("end_at") - pl.col("start_at")).dt.total_microseconds() / 3.6e9
    covered = pl.col("covered_hours")
    means = (
        sound.join(days.select("zone", "lane").unique(), on="zone")
        .with_columns(hours=hours, stretch=stretch)
        .group_by("site_id", "zone", "stretch")
        .agg(
            degree_hours=exact_sum(pl.col("sample_native") * pl.col("hours")),
            covered_hours=exact_sum(pl.col("hours")),
        )
        # What starts today falls on a closing edge, which no day begins at.
        .join(days.with_columns(stretch=stretch, day_hours=hours), on=["zone", "stretch"])
        .with_columns(
            temperature_degc=pl.col("degree_hours") / covered,
            coverage_pct=(100.0 * covered / pl.col("day_hours")).clip(upper_bound=100.0),
        )
        .filter(pl.col("coverage_pct") >= MIN_COVERAGE_PCT)
    )
    return _rows(means, "register")


def _days(samples: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The complete local days of each zone since its first sample."""
    rows = []
    firsts: Iterable[tuple[str, datetime]] = (
        samples.group_by("zone").agg(pl.col("start_at").min()).sort("zone").iter_rows()
    )
    for lane, (zone, first_at) in enumerate(firsts):
        for day in days_between(local_day_of(zone, first_at), local_day_of(zone, now)):
            start_at, end_at = local_day_bounds(zone, day)
            if end_at > start_at:  # a date that the zone left out has no row
                rows.append((lane, zone, day, start_at, end_at))
    return pl.DataFrame(rows, schema=DAY_SCHEMA, orient="row")


def _from_csv(csv: pl.DataFrame, sites: pl.DataFrame, now: datetime) -> pl.DataFrame:
    zones = sites["zone"].unique().sort()
    today = pl.DataFrame(
        {"zone": zones, "today_on": [local_day_of(zone, now) for zone in zones]},
        schema={"zone": pl.String, "today_on": pl.Date},
    )
    known = (
        csv.filter(_is_possible("temperature_degc"))
        .join(sites.select("site_id", "zone").join(today, on="zone"), on="site_id")
        .filter(pl.col("local_on") < pl.col("today_on"))
    )
    return _rows(known, "csv")


def _rows(frame: pl.DataFrame, source: str) -> pl.DataFrame:
    covered = pl.col("coverage_pct") if "coverage_pct" in frame.columns else pl.lit(100.0)
    return frame.select(
        "site_id",
        pl.col("local_on").cast(pl.Date),
        pl.col("temperature_degc").cast(pl.Float64),
        coverage_pct=covered,
        source=pl.lit(source),
    )


def _is_possible(column: str) -> pl.Expr:
    # NaN is above everything in Polars, so it is not between.
    return pl.col(column).is_between(*POSSIBLE_DEGC).fill_null(value=False)
