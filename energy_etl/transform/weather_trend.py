"""Last 30 days against a year before, raw and with the weather taken out (`mart.weather_trend`).

The model and its days are `baseline.py` and `baseline_days.py`; savings against a baseline are
`savings.py`.
"""

from datetime import date, datetime, timedelta
from typing import Any, Final

import polars as pl

from energy_etl.periods import local_day_of
from energy_etl.tables.mart import WEATHER_TREND
from energy_etl.transform.baseline import Fit
from energy_etl.transform.baseline_days import (
    FIT_COLUMNS,
    NO_DAYS,
    Days,
    Refusal,
    baseline_start_on,
    fit_baseline,
    judged_registers,
    sufficient_days,
)

WINDOW_DAYS: Final = 30
# As much of a window as of a baseline (CalTRACK 2.0, 2.2.1.2): 90 %.
MIN_WINDOW_DAYS: Final = 27
# 52 weeks: the same days of the week stand in both windows.
YEAR_DAYS: Final = 364
# IPMVP calls 0.75 a reasonable sign of cause and effect in monthly data and names no universal
# minimum; daily data scatter more (the days of the week are in them). Among the sixteen gas meters
# of the Cambridge University estate 0.5 parts those that heat (0.52 and more in a sound year) from
# those that do not (0.49 and less).
MIN_R2: Final = 0.5


def compute_weather_trends(
    daily: pl.DataFrame, registers: pl.DataFrame, weather: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """Compare the last 30 complete days with the 30 days 52 weeks before, with and without weather.

    With D the local date of now: the last 30 days are [D-30, D), those before [D-394, D-364), and
    the degree-day fit is made of [D-395, D-30). A window is the days with sufficient energy and a
    temperature; where those are fewer than 27 in one of the two, all days with sufficient energy,
    so that the raw trend stands alone; a window of fewer than 27 of these has no energy, since that
    of five days would look like that of thirty. `trend_pct` = 100 * (e / e' - 1) with e, e' the
    mean energy per day of the two windows; `normalised_trend_pct` = 100 * ((E / X) / (E' / X') - 1)
    with E the energy and X what the fit expects of the same days. Refused, with the reason: too few
    days, no temperatures, a fit with R2 below 0.5 or CV(RMSE) above 100 %, an expectation that is
    not positive; the fit is stated all the same.

    Args:
        daily: `mart.daily_energy`.
        registers: `core.register`, all of a site's: the primary mains of electricity, gas and heat
            have a row each, those that count a volume with the reason and no figure.
        weather: `mart.site_weather`.
        now: the instant of the computation.

    Returns:
        `mart.weather_trend`, sorted by register_id.

    Raises:
        ConfigurationError: a zone is unknown.
        TransformError: `now` has no offset.
    """
    judged = judged_registers(registers)
    days = sufficient_days(daily, judged, weather)
    rows = [
        {
            "register_id": register["register_id"],
            "site_id": register["site_id"],
            **_row(
                days.get(register["register_id"], NO_DAYS),
                local_day_of(register["zone"], now),
                register["commodity"],
                is_energy=register["is_energy"],
            ),
        }
        for register in judged.iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=WEATHER_TREND.polars_schema)


def _row(days: Days, computed_on: date, commodity: str, *, is_energy: bool) -> dict[str, Any]:
    start_on = computed_on - timedelta(days=WINDOW_DAYS)
    year = timedelta(days=YEAR_DAYS)
    current = days.between(start_on, computed_on)
    previous = days.between(start_on - year, computed_on - year)
    both = current.with_temperature(), previous.with_temperature()
    has_weather = all(map(_is_enough, both))
    if has_weather:
        current, previous = both
    fit, refusal = None, _not_energy()
    if is_energy:
        fit, refusal = fit_baseline(
            days, baseline_start_on(start_on), start_on, commodity=commodity
        )
        refusal = refusal or _poor(fit) or _thin(current, previous, has_weather=has_weather)
    row: dict[str, Any] = {
        "computed_on": computed_on,
        "n_fit_days": 0 if fit is None else fit.n_days,
        **{name: getattr(fit, name, None) for name in FIT_COLUMNS},
        "energy_kwh": current.total_kwh() if _is_enough(current) else None,
        "previous_energy_kwh": previous.total_kwh() if _is_enough(previous) else None,
    }
    raw = _ratio(current, previous, len(current), len(previous))
    if _is_enough(current) and _is_enough(previous) and raw is not None:
        row["trend_pct"] = 100.0 * (raw - 1.0)
    if refusal is None and fit is not None:
        expected = float(fit.expected_kwh(current.temperature_degc).sum())
        expected_before = float(fit.expected_kwh(previous.temperature_degc).sum())
        ratio = _ratio(current, previous, expected, expected_before)
        row["expected_kwh"], row["previous_expected_kwh"] = expected, expected_before
        if ratio is None:
            refusal = Refusal(
                "no_consumption", "the energy a year before, or what is expected, is not above 0."
            )
        else:
            row["normalised_trend_pct"] = 100.0 * (ratio - 1.0)
    return row | {"reason": None if refusal is None else str(refusal)}


def _is_enough(window: Days) -> bool:
    return len(window) >= MIN_WINDOW_DAYS


def _ratio(current: Days, previous: Days, per: float, previous_per: float) -> float | None:
    """(energy / per) of the one, by that of the other; None where it has no meaning."""
    energy, before = current.total_kwh(), previous.total_kwh()
    if energy is None or before is None or before <= 0.0 or per <= 0.0 or previous_per <= 0.0:
        return None
    return (energy / per) / (before / previous_per)


def _not_energy() -> Refusal:
    return Refusal("not_energy", "it counts no energy (m3 perhaps), and a baseline needs kWh.")


def _poor(fit: Fit | None) -> Refusal | None:
    if fit is None or (fit.r2 or 0.0) >= MIN_R2:
        return None
    return Refusal(
        "poor_fit",
        f"R2 is {fit.r2 or 0.0:.3f} and {MIN_R2} is the least: the weather explains too little.",
    )


def _thin(current: Days, previous: Days, *, has_weather: bool) -> Refusal | None:
    if has_weather:
        return None
    counts = len(current.with_temperature()), len(previous.with_temperature())
    return Refusal(
        "insufficient_days",
        f"{counts[0]} of the last {WINDOW_DAYS} days and {counts[1]} of those a year before have "
        f"enough coverage and a temperature, and each needs {MIN_WINDOW_DAYS}.",
    )
