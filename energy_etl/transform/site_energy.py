"""Days of registers -> days of sites (`mart.site_daily`), and submeters against their site.

How a day of one register is made is `calendar.py`'s; shares of appliances are `disaggregation.py`'s
and the shape of a site's load is `site_profile.py`'s.
"""

from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import FINDING, SITE_DAILY, SUBMETER_BALANCE
from energy_etl.tables.model import UTC_INSTANT
from energy_etl.transform.calendar import (
    counted_registers,
    expected_intervals,
    length_hours,
    list_days,
    with_grid,
)
from energy_etl.transform.disaggregation import SUBMETER_ROLES
from energy_etl.transform.sums import exact_sum
from energy_etl.transform.windows import CONSUMPTION_SIGN, is_energy_register, last_days_window
from energy_etl.units import M3_PER_UNIT

# What two meters of class 1 (EN IEC 62053-21: 1 % each) may be apart, and what rounding does to a
# site that uses next to nothing.
BALANCE_TOLERANCE_PCT: Final = 2.0
BALANCE_TOLERANCE_KWH: Final = 0.1

_DAY: Final = ("site_id", "commodity", "local_on")
_DAY_SCHEMA: Final = pl.Schema(
    {
        "zone": pl.String(),
        "local_on": pl.Date(),
        "start_at": UTC_INSTANT,
        "end_at": UTC_INSTANT,
    }
)


def compute_site_daily(
    daily: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """Bring the primary registers of each site and commodity together, day by day.

    `consumption_kwh = mains + production - export`: null without a mains register that counts
    energy, and on a day on which any of these registers has no energy. `mains_kwh`, `export_kwh`
    and `production_kwh` are null when one register of that role has no energy, and without one.
    Registers of volume are in `volume_m3` and no figure of energy (a heat meter has both).
    `submetered_kwh` is the sum of those submeters and appliances that have some. A day that was
    measured in part has the energy of that part: `coverage_pct` and `is_complete` say so.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's.
        now: the instant of the computation.

    Returns:
        `mart.site_daily`, sorted by its key: for each commodity of a site that has primary
        registers one row for each local day from the site's first interval, of any commodity, to
        the day of `now`. A site that never gave anything has none (`mart.coverage` has it).
        `coverage_pct` is null where no mains, export or production register is.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset, or a register's grid is less than a minute.
    """
    counted = counted_registers(registers).join(
        registers.filter(is_energy_register()).select("register_id", is_energy=pl.lit(True)),
        on="register_id",
        how="left",
    )
    counts = pl.col("is_energy").fill_null(value=False) | pl.col("unit").is_in(list(M3_PER_UNIT))
    wanted = counted.filter(pl.col("is_primary") & _has_role() & counts).select(
        "register_id",
        "site_id",
        "commodity",
        "role",
        "zone",
        "grid_minutes",
        pl.col("is_energy").fill_null(value=False),
        is_volume=pl.col("unit").is_in(list(M3_PER_UNIT)),
    )
    days = _days_of_sites(daily, wanted, now)
    if days.is_empty():
        return SITE_DAILY.empty_frame()
    figures = daily.select(
        "register_id", "local_on", "energy_kwh", "volume_m3", "n_measured", "is_complete"
    )
    rows = (
        with_grid(wanted)
        .join(days, on="site_id")
        .with_columns(n_expected=expected_intervals())
        .join(figures, on=["register_id", "local_on"], how="left")
    )
    return (
        rows.group_by(*_DAY, "start_at", "end_at")
        .agg(**_figures())
        .with_columns(
            hours=length_hours(),
            coverage_pct=pl.when(pl.col("n_expected") > 0).then(
                100.0 * pl.col("n_measured") / pl.col("n_expected")
            ),
        )
        .sort(_DAY)
        .select(SITE_DAILY.polars_schema.names())
        .cast(SITE_DAILY.polars_schema)
    )


def compute_submeter_balance(
    daily: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """Compare the sum of each site's submeters with its consumption, on days that both know.

    Electricity of primary registers only; consumption as in `compute_site_daily`. A day counts
    when every mains, export, production, submeter and appliance register of the site is complete
    on it, and it is over when the submeters sum up to more than the consumption by 2 % of it and
    by 0.1 kWh: less than that, meters of class 1 and rounding are apart. A submeter behind another
    one counts twice here, so only one of the two should be primary.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's.
        now: the instant of the computation.

    Returns:
        `mart.submeter_balance`, sorted by site_id: one row per site that has a mains and a
        submeter. Figures are null when no day counts; `unattributed_kwh` may be negative;
        `unattributed_pct = 100 * unattributed / consumption`, null unless consumption > 0.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    role = pl.col("role")
    is_electric = is_energy_register() & (pl.col("commodity") == "electricity")
    wanted = registers.filter(is_electric & pl.col("is_primary") & _has_role()).filter(
        (role == "mains").any().over("site_id"),
        role.is_in(SUBMETER_ROLES).any().over("site_id"),
    )
    if wanted.is_empty():
        return SUBMETER_BALANCE.empty_frame()
    windows = last_days_window(wanted["zone"].unique().sort(), now)
    sites = (
        wanted.group_by("site_id", "zone")
        .agg(n_registers=pl.len())
        .join(windows.select("zone", "computed_on", "start_on", "end_on"), on="zone")
    )
    signed = pl.col("energy_kwh") * role.replace_strict(
        CONSUMPTION_SIGN, default=0.0, return_dtype=pl.Float64
    )
    over_kwh = pl.col("submetered_kwh") - pl.col("consumption_kwh")
    slack_kwh = pl.max_horizontal(
        pl.col("consumption_kwh").abs() * BALANCE_TOLERANCE_PCT / 100.0,
        pl.lit(BALANCE_TOLERANCE_KWH),
    )
    days = (
        daily.filter("is_complete")
        .select("register_id", "local_on", "energy_kwh")
        .drop_nulls()
        .join(wanted.select("register_id", "site_id", "role"), on="register_id")
        .join(sites, on="site_id")
        .filter(pl.col("local_on").is_between("start_on", "end_on", closed="left"))
        .group_by("site_id", "local_on")
        .agg(
            consumption_kwh=exact_sum(signed),
            submetered_kwh=exact_sum(pl.col("energy_kwh").filter(role.is_in(SUBMETER_ROLES))),
            is_known=pl.len() == pl.col("n_registers").first(),
        )
        .filter("is_known")
        .group_by("site_id")
        .agg(
            n_days=pl.len(),
            n_days_over=(over_kwh > slack_kwh).sum(),
            consumption_kwh=exact_sum(pl.col("consumption_kwh")),
            submetered_kwh=exact_sum(pl.col("submetered_kwh")),
        )
    )
    consumption = pl.col("consumption_kwh")
    return (
        sites.join(days, on="site_id", how="left")
        .with_columns(
            pl.col("n_days", "n_days_over").fill_null(0),
            unattributed_kwh=consumption - pl.col("submetered_kwh"),
        )
        .with_columns(
            unattributed_pct=pl.when(consumption > 0).then(
                100.0 * pl.col("unattributed_kwh") / consumption
            )
        )
        .sort("site_id")
        .select(SUBMETER_BALANCE.polars_schema.names())
        .cast(SUBMETER_BALANCE.polars_schema)
    )


def find_site_faults(
    balance: pl.DataFrame, sites: pl.DataFrame, registers: pl.DataFrame
) -> pl.DataFrame:
    """List what is wrong with sites as a whole.

    Kinds: `submeters_over_consumption` (on one of the seven days or more) and
    `site_without_registers` (so that no other table says that nothing comes from it).

    Args:
        balance: `mart.submeter_balance`.
        sites: `core.site`.
        registers: `core.register`.

    Returns:
        `mart.finding`, sorted by kind, place.
    """
    over = balance.filter(pl.col("n_days_over") > 0).select(
        kind=pl.lit("submeters_over_consumption"),
        place="site_id",
        message=pl.format(
            "The submeters of {} measured more than it consumed on {} of {} days before {} ({} "
            "against {} kWh on all of them).",
            "site_id",
            "n_days_over",
            "n_days",
            "computed_on",
            pl.col("submetered_kwh").round(1),
            pl.col("consumption_kwh").round(1),
        ),
        next_step=pl.lit(
            "Compare role, unit and meter of its registers in registers.csv with the installation; "
            "of a submeter behind another one, or of a second view of it, set is_primary to false."
        ),
    )
    silent = sites.join(registers, on="site_id", how="anti").select(
        kind=pl.lit("site_without_registers"),
        place="site_id",
        message=pl.format("Site {} has no registers, so nothing is computed of it.", "site_id"),
        next_step=pl.lit(
            "Run energy-etl init --discover and enter its meters and registers in meters.csv and "
            "registers.csv, or take the site out of sites.csv."
        ),
    )
    return pl.concat([FINDING.empty_frame(), over, silent], how="diagonal_relaxed").sort(
        "kind", "place"
    )


def _has_role() -> pl.Expr:
    return pl.col("role").is_in([*CONSUMPTION_SIGN, *SUBMETER_ROLES])


def _days_of_sites(daily: pl.DataFrame, wanted: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """One row per site and local day from the site's first one on."""
    first = (
        daily.select("register_id", "local_on")
        .join(wanted.select("register_id", "site_id", "zone"), on="register_id")
        .group_by("site_id", "zone")
        .agg(first_on=pl.col("local_on").min())
    )
    zones = first.group_by("zone").agg(pl.col("first_on").min())
    rows = [
        (zone, *day)
        for zone, first_on in zones.iter_rows()
        for day in list_days(zone, first_on, now)
    ]
    days = pl.DataFrame(rows, schema=_DAY_SCHEMA, orient="row")
    return (
        first.join(days, on="zone")
        .filter(pl.col("local_on") >= pl.col("first_on"))
        .drop("zone", "first_on")
    )


def _figures() -> dict[str, pl.Expr]:
    """Return the aggregates over the registers of a site, commodity and day."""
    role, energy, is_energy = pl.col("role"), pl.col("energy_kwh"), pl.col("is_energy")
    is_flow = role.is_in(list(CONSUMPTION_SIGN))
    sign = role.replace_strict(CONSUMPTION_SIGN, default=0.0, return_dtype=pl.Float64)
    is_mains = is_energy & (role == "mains")
    is_submeter = is_energy & role.is_in(SUBMETER_ROLES)
    n_flows = is_flow.sum()
    figures = {
        f"{name}_kwh": _whole_sum(energy, is_energy & (role == name)) for name in CONSUMPTION_SIGN
    }
    return figures | {
        "consumption_kwh": pl.when(is_mains.sum() > 0).then(
            _whole_sum(energy * sign, is_energy & is_flow)
        ),
        "submetered_kwh": exact_sum(pl.when(is_submeter).then(energy)),
        "volume_m3": _whole_sum(pl.col("volume_m3"), pl.col("is_volume") & (role == "mains")),
        "n_registers": n_flows,
        "n_expected": pl.when(is_flow).then("n_expected").sum(),
        "n_measured": pl.when(is_flow).then("n_measured").sum(),
        # A register without a row on that day is not complete on it.
        "is_complete": (n_flows > 0) & ((is_flow & pl.col("is_complete")).sum() == n_flows),
    }


def _whole_sum(values: pl.Expr, is_wanted: pl.Expr) -> pl.Expr:
    """Sum the wanted values; null when there are none or one of them is null: a part is no sum."""
    wanted = pl.when(is_wanted).then(values)
    n_wanted = is_wanted.sum()
    return pl.when((n_wanted > 0) & (wanted.count() == n_wanted)).then(exact_sum(wanted))
