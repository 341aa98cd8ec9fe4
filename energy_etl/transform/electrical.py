"""Do the electrical quantities of a meter fit each other? (`mart.electrical_check`)

Power, reactive and apparent power, voltage and current per phase, as means per interval. Nothing
is dropped or mended by it: what fails persistently is a finding, since it is wiring or a wrong map.
The limits of EN 50160 are no filter: a healthy meter has samples below 207 V every day.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables.mart import ELECTRICAL_CHECK, FINDING
from energy_etl.units import KW_PER_UNIT, KWH_PER_UNIT

PHASES: Final = ("L1", "L2", "L3")
TOTAL: Final = "total"
# Meters of class 1 to 2 differ by 3 % at worst; 30 % of harmonics in the current add 4.4 % to S.
RELATIVE_TOLERANCE: Final = 0.05
# At no load P and Q are rounded to 0 while S is not: AMPds2's meter shows 8 to 10 VA for hours.
ABSOLUTE_TOLERANCE: Final = 20.0
LEAST_VOLTAGE: Final = 0.5
MOST_VOLTAGE: Final = 1.3
# A finding needs a day of quarter hours, and more than one in a hundred that fail.
LEAST_CHECKED: Final = 96
MOST_FAILED_PCT: Final = 1.0

_QUANTITY: Final = {"W": "W", "kW": "W", "var": "var", "VA": "VA", "V": "V", "A": "A"}
_W_PER_KW: Final = 1000.0
_WHERE: Final = ("meter_id", "start_at", "end_at")
_QUANTITIES: Final = ("W", "var", "VA", "V", "A")
_NEXT_STEP: Final = {
    "power_triangle": "See that the three registers are of the same phase and that none is swapped "
    "or scaled (unit in registers.csv); else have the current transformers' wiring looked at.",
    "apparent_power": "See that voltage and current are of the same phase and in V and A, and that "
    "the current transformers' ratio is the one that the meter was told.",
    "voltage_limits": "See that nominal_native and unit in registers.csv are right (phase to "
    "neutral, or phase to phase); else have the voltage taps and fuses looked at.",
    "sum_of_phases": "See that phase is right for each register in registers.csv; one phase "
    "counted backwards means a current transformer the wrong way round.",
    "phases_not_measured": "Take the phases' zeros as not measured: ask the vendor whether this "
    "device measures single phases at all, and else leave these registers out of registers.csv.",
}
_CLAIM: Final = {
    "power_triangle": "apparent power is not the root of P2 + Q2",
    "apparent_power": "apparent power is not voltage times current",
    "voltage_limits": "voltage lies outside 0.5 to 1.3 times its nominal value",
    "sum_of_phases": "the total is not the sum of L1, L2 and L3",
    "phases_not_measured": "every phase shows exactly 0 while the total does not",
}


def compute_electrical_check(
    samples: pl.DataFrame, energies: pl.DataFrame, registers: pl.DataFrame, *, now: datetime
) -> pl.DataFrame:
    """Count per meter, rule and phase the intervals that break a rule.

    | rule | fails when | source |
    |---|---|---|
    | power_triangle | abs(S - sqrt(P2 + Q2)) > tolerance | definition of apparent power |
    | apparent_power | abs(S - U*I) > tolerance | definition of apparent power |
    | voltage_limits | U < 0.5 or U > 1.3 times nominal_native | no working supply is there |
    | sum_of_phases | abs(total - (L1+L2+L3)) > tolerance, W and var | Kirchhoff |
    | phases_not_measured | each phase is exactly 0 and abs(total) > tolerance | |

    Tolerance: the larger of 5 % of the larger side and 20 (VA, W, var) plus one step of each
    register (a step of the current times the voltage). The mean of S may exceed what the means of
    P and Q give when power changes its direction within an interval, so for a meter and phase that
    show both directions power_triangle only fails when S is too small.

    A meter's power is what it imports minus what it exports (role export); of several registers of
    the same meter, phase, quantity and direction the primary one counts. Where no register shows
    the power of all phases, the energy of the meter's counter does. sum_of_phases needs all three
    phases and leaves out intervals in which each phase is 0. The quantities of all phases together
    are put beside U*I only on meters that have no register with a phase (single phase).

    Args:
        samples: register_id, start_at, end_at, sample_native; not provisional.
        energies: register_id, start_at, end_at, energy_kwh, measured, of counters of meters with
            phases.
        registers: `core.register`.
        now: not used, the check is about intervals.

    Returns:
        `mart.electrical_check`, sorted by its key; no row for a rule of which no interval has all
        quantities. `worst_native` is signed: the shown value minus the expected one (the limit, for
        voltages), null when nothing fails.
    """
    del now
    known = _known(registers)
    wide = _side_by_side(samples, energies, known)
    if wide.is_empty():
        return ELECTRICAL_CHECK.empty_frame()
    found = [
        *(_power_triangle(wide, phase) for phase in (*PHASES, TOTAL)),
        *(_apparent_power(wide, phase) for phase in (*PHASES, TOTAL)),
        *(_voltage_limits(wide, phase) for phase in (*PHASES, TOTAL)),
        *(_sum_of_phases(wide, quantity) for quantity in ("W", "var")),
        _phases_not_measured(wide),
    ]
    sites = registers.select("meter_id", "site_id").unique("meter_id")
    return (
        pl.concat(found)
        .join(sites, on="meter_id")
        .select(ELECTRICAL_CHECK.polars_schema.names())
        .cast(ELECTRICAL_CHECK.polars_schema)
        .sort(ELECTRICAL_CHECK.key)
    )


def compute_electrical_findings(checks: pl.DataFrame) -> pl.DataFrame:
    """List what fails persistently: in more than 1 % of at least 96 intervals.

    Args:
        checks: `mart.electrical_check`.

    Returns:
        `mart.finding` with the kinds `electrical_<rule>`, sorted by its key.
    """
    failed_pct = 100.0 * pl.col("n_failed") / pl.col("n_checked")
    kept = checks.filter((pl.col("n_checked") >= LEAST_CHECKED) & (failed_pct > MOST_FAILED_PCT))
    return (
        kept.select(
            kind=pl.format("electrical_{}", "rule"),
            place=pl.format("{} {} {}", "meter_id", "phase", "quantity"),
            from_at="from_at",
            to_at="to_at",
            message=pl.format(
                "Meter {} ({}): {} in {} of {} intervals, most at {} (by {} {}).",
                "meter_id",
                "phase",
                pl.col("rule").replace_strict(_CLAIM),
                "n_failed",
                "n_checked",
                pl.col("worst_at").dt.strftime("%Y-%m-%d %H:%M UTC"),
                pl.col("worst_native").round(1),
                pl.when(pl.col("rule") == "phases_not_measured")
                .then(pl.lit("W"))
                .otherwise(pl.col("quantity")),
            ),
            next_step=pl.col("rule").replace_strict(_NEXT_STEP),
        )
        .cast(FINDING.polars_schema)
        .sort(FINDING.key)
    )


def _known(registers: pl.DataFrame) -> pl.DataFrame:
    """One row per register that is looked at: what it shows, and how it becomes W, var, VA, V, A.

    `name` is quantity and phase, `per_native` makes its values those of `name`.
    """
    is_counter = (pl.col("kind") != "instant") & pl.col("unit").is_in(list(KWH_PER_UNIT))
    is_shown = (pl.col("kind") != "cumulative") & pl.col("unit").is_in(list(_QUANTITY))
    is_export = pl.col("role") == "export"
    has_direction = pl.col("quantity").is_in(("W", "var"))
    per_native = (
        pl.when(is_counter)
        .then(_W_PER_KW)
        .otherwise(pl.col("unit").replace_strict(KW_PER_UNIT, default=1.0 / _W_PER_KW) * _W_PER_KW)
    )
    chosen = (
        registers.filter(is_shown | (is_counter & pl.col("phase").is_null()))
        .with_columns(
            is_counter=is_counter,
            quantity=pl.when(is_counter)
            .then(pl.lit("W"))
            .otherwise(pl.col("unit").replace_strict(_QUANTITY, default="W")),
            phase=pl.col("phase").fill_null(TOTAL),
        )
        .filter(has_direction | ~is_export)
        .with_columns(
            name=pl.format("{}_{}", "quantity", "phase"),
            per_native=pl.when(is_export).then(-per_native).otherwise(per_native),
            direction=is_export,
        )
    )
    return (
        chosen.filter(~pl.col("is_counter") | pl.col("is_counter").all().over("meter_id", "name"))
        .sort(~pl.col("is_primary"), pl.col("role") == "production", "register_id")
        .unique(["meter_id", "name", "direction"], keep="first", maintain_order=True)
        .with_columns(n_directions=pl.len().over("meter_id", "name"))
    )


def _side_by_side(
    samples: pl.DataFrame, energies: pl.DataFrame, known: pl.DataFrame
) -> pl.DataFrame:
    """One row per meter and interval, a column per quantity and phase.

    Beside them the register's step (`step_...`), the nominal voltage (`nominal_...`), and `n_zero`
    and `n_phases`: of the phases that show power, how many show 0, and how many must be there.
    """
    hours = (pl.col("end_at") - pl.col("start_at")).dt.total_seconds() / 3600.0
    span = ["start_at", "end_at"]
    shown = pl.concat(
        [
            samples.select("register_id", *span, native="sample_native").join(
                known.filter(~pl.col("is_counter")), on="register_id"
            ),
            energies.select("register_id", *span, native=pl.col("energy_kwh") / hours).join(
                known.filter("is_counter"), on="register_id"
            ),
        ]
    )
    values = (
        shown.group_by(*_WHERE, "name")
        .agg(
            value=(pl.col("native") * pl.col("per_native")).sum(),
            is_whole=pl.col("native").count() == pl.col("n_directions").first(),
        )
        .filter("is_whole")
    )
    names = [f"{quantity}_{phase}" for quantity in _QUANTITIES for phase in (*PHASES, TOTAL)]
    wide = values.pivot("name", index=_WHERE, values="value", sort_columns=True)
    wide = _with_all(wide, names)
    step = pl.when("is_counter").then(0.0).otherwise("resolution_native")
    steps = known.group_by("meter_id", "name").agg(
        step=(step * pl.col("per_native").abs()).max(), nominal=pl.col("nominal_native").first()
    )
    for column, fill in (("step", 0.0), ("nominal", None)):
        beside = _with_all(steps.pivot("name", index="meter_id", values=column), names)
        beside = beside.select("meter_id", pl.col(names).name.prefix(f"{column}_"))
        wide = wide.join(beside, on="meter_id", how="left")
        if fill is not None:
            wide = wide.with_columns(pl.col(f"^{column}_.*$").fill_null(fill))
    phased = known.filter(pl.col("phase") != TOTAL).group_by("meter_id")
    phased = phased.agg(n_phases=(pl.col("quantity") == "W").sum(), has_phases=pl.lit(True))
    return wide.join(phased, on="meter_id", how="left").with_columns(
        pl.col("n_phases").fill_null(0), pl.col("has_phases").fill_null(False)
    )


def _with_all(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    missing = [name for name in names if name not in frame.columns]
    return frame.with_columns(pl.lit(None, pl.Float64).alias(name) for name in missing)


def _tolerance(sides: Iterable[pl.Expr], steps: pl.Expr) -> pl.Expr:
    largest = pl.max_horizontal(side.abs() for side in sides)
    return pl.max_horizontal(RELATIVE_TOLERANCE * largest, ABSOLUTE_TOLERANCE + steps)


def _power_triangle(wide: pl.DataFrame, phase: str) -> pl.DataFrame:
    p, q, s = (f"{quantity}_{phase}" for quantity in ("W", "var", "VA"))
    expected = (pl.col(p) ** 2 + pl.col(q) ** 2).sqrt()
    steps = pl.col(f"step_{p}") + pl.col(f"step_{q}") + pl.col(f"step_{s}")
    tolerance = _tolerance((pl.col(s), expected), steps)
    excess = pl.col(s) - expected
    is_two_way = ((pl.col(p) < 0).any() & (pl.col(p) > 0).any()).over("meter_id")
    is_broken = (excess < -tolerance) | ((excess > tolerance) & ~is_two_way)
    return _counted(wide, (p, q, s), excess, is_broken, "power_triangle", phase, "VA")


def _apparent_power(wide: pl.DataFrame, phase: str) -> pl.DataFrame:
    u, i, s = (f"{quantity}_{phase}" for quantity in ("V", "A", "VA"))
    expected = pl.col(u) * pl.col(i)
    steps = pl.col(f"step_{s}") + pl.col(u) * pl.col(f"step_{i}") + pl.col(i) * pl.col(f"step_{u}")
    excess = pl.col(s) - expected
    is_broken = excess.abs() > _tolerance((pl.col(s), expected), steps)
    of_one = wide.filter(~pl.col("has_phases")) if phase == TOTAL else wide
    return _counted(of_one, (u, i, s), excess, is_broken, "apparent_power", phase, "VA")


def _voltage_limits(wide: pl.DataFrame, phase: str) -> pl.DataFrame:
    u, nominal = f"V_{phase}", f"nominal_V_{phase}"
    low = (pl.col(u) - LEAST_VOLTAGE * pl.col(nominal)).clip(upper_bound=0.0)
    high = (pl.col(u) - MOST_VOLTAGE * pl.col(nominal)).clip(lower_bound=0.0)
    beyond = low + high
    return _counted(wide, (u, nominal), beyond, beyond != 0, "voltage_limits", phase, "V")


def _sum_of_phases(wide: pl.DataFrame, quantity: str) -> pl.DataFrame:
    total, phases = f"{quantity}_{TOTAL}", [f"{quantity}_{phase}" for phase in PHASES]
    expected = pl.sum_horizontal(phases)
    steps = pl.sum_horizontal(f"step_{name}" for name in (total, *phases))
    # The sum of three rounded numbers, and phases that flow against each other: each counts whole.
    sizes = (pl.col(total), pl.sum_horizontal(pl.col(name).abs() for name in phases))
    excess = pl.col(total) - expected
    measured = wide.filter(~pl.all_horizontal(pl.col(phases) == 0).fill_null(False))
    is_broken = excess.abs() > _tolerance(sizes, steps)
    return _counted(measured, (total, *phases), excess, is_broken, "sum_of_phases", TOTAL, quantity)


def _phases_not_measured(wide: pl.DataFrame) -> pl.DataFrame:
    total, phases = f"W_{TOTAL}", [f"W_{phase}" for phase in PHASES]
    n_there = pl.sum_horizontal(pl.col(phases).is_not_null().cast(pl.Int64))
    there = wide.filter((pl.col("n_phases") > 0) & (n_there == pl.col("n_phases")))
    is_zero = pl.all_horizontal(pl.col(phases).fill_null(0.0) == 0)
    limit = ABSOLUTE_TOLERANCE + pl.sum_horizontal(f"step_{name}" for name in (total, *phases))
    is_broken = is_zero & (pl.col(total).abs() > limit)
    return _counted(there, (total,), pl.col(total), is_broken, "phases_not_measured", TOTAL, "W")


def _counted(
    wide: pl.DataFrame,
    needed: Sequence[str],
    deviation: pl.Expr,
    is_broken: pl.Expr,
    rule: str,
    phase: str,
    quantity: str,
) -> pl.DataFrame:
    """Count what has all that is needed and what of it breaks the rule, per meter."""
    there = wide.filter(pl.all_horizontal(pl.col(needed).is_not_null()))
    judged = there.select(*_WHERE, deviation=deviation, is_broken=is_broken)
    broken = pl.col("is_broken")
    worst = [pl.col("deviation").filter(broken).abs(), pl.col("start_at").filter(broken)]
    order = [True, False]
    return judged.group_by("meter_id").agg(
        rule=pl.lit(rule),
        phase=pl.lit(phase),
        quantity=pl.lit(quantity),
        from_at=pl.col("start_at").min(),
        to_at=pl.col("end_at").max(),
        n_checked=pl.len(),
        n_failed=broken.sum(),
        worst_at=pl.col("start_at").filter(broken).sort_by(worst, descending=order).first(),
        worst_native=pl.col("deviation").filter(broken).sort_by(worst, descending=order).first(),
    )
