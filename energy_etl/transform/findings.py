"""What somebody should look at, each with the next step (`mart.finding`).

Only small frames come in here: what cleaning explained, coverage, ids without a mapping, refused
rows, faults of the portfolio's files. Nothing is mended here; that is done in the portfolio.
"""

from typing import Final

import polars as pl

from energy_etl.tables.mart import FINDING

MIN_COVERAGE_PCT: Final = 90.0
MAX_LEVEL_CHANGES: Final = 3
# A glitch now and then is a habit of meters, and cleaning copes (core.edit tells each); more than
# this many of a rule are a broken connection or a wrong rating.
MAX_GLITCHES: Final[dict[str, int]] = {"zero_glitch": 100, "false_high": 20, "false_low": 20}

_INSTANT_FORMAT: Final = "%Y-%m-%d %H:%M UTC"
_ASK_INSTALLER: Final = (
    "Compare with the meter's display and ask the installer or the vendor where such values come "
    "from; where they are right, keep them in manual_edits.csv."
)
# Rule -> (what such readings are, what to do).
_IMPLAUSIBLE: Final = {
    "missing": (
        "are no number",
        "Ask the vendor why it sends readings without a value; if nothing will come, declare the "
        "stretch in gaps.csv.",
    ),
    "negative": (
        "are negative, which a counter never is",
        "See whether the register's kind, unit and the vendor's id in registers.csv are right, and "
        "whether a signed power was mapped to it.",
    ),
    "implausible": ("are larger than any meter shows", _ASK_INSTALLER),
    "false_high": (
        "are too high for what came after them or for the register's rating",
        "Compare rating_native_per_hour in registers.csv with the meter's nameplate; where the "
        "readings are right, keep them in manual_edits.csv.",
    ),
    "false_low": ("are lower than those before and after them", _ASK_INSTALLER),
    "zero_glitch": (
        "are 0 between good ones",
        "Ask the installer to look at the connection between the meter and its gateway.",
    ),
}


def compute_findings(
    registers: pl.DataFrame,
    edits: pl.DataFrame,
    coverage: pl.DataFrame,
    *,
    unmapped: pl.DataFrame | None = None,
    quarantine: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """List what is worth a look.

    Kinds: `implausible_readings` (one per register and rule, with the count of what cleaning left
    out: no number, negative, beyond any meter; more than a habit of too high, too low or 0),
    `level_change` (one per change), `many_level_changes` (more than three on a register:
    its rating is probably too low), `reset` (one per register, with the count), `suspect` (one per
    register, with the count: growth that nothing forbids and that never was), `digits_unknown`
    (resets on a register whose digits nobody declared: a rollover looks the same), `no_data`
    (nothing measured in seven complete local days), `low_coverage` (below 90 % of them),
    `unmapped` (an id that a vendor lists and the portfolio does not), `quarantine` (rows that
    failed validation, per vendor, endpoint and reason).

    Args:
        registers: `core.register`; edits and coverage of other registers are left out.
        edits: `core.edit`: level, reset, suspect and bad values are read.
        coverage: `mart.coverage`.
        unmapped: vendor, thing, vendor_id of what is not in the portfolio; None: not looked for.
        quarantine: `raw.quarantine` (vendor, endpoint, reasons, raw_text); None: not looked for.

    Returns:
        `mart.finding`, sorted by kind, place, from_at; empty when all is well.
    """
    known = edits.join(registers.select("register_id", "digits"), on="register_id")
    found = [
        *_level_findings(known.filter(pl.col("rule") == "level")),
        *_reset_findings(known.filter(pl.col("rule") == "reset")),
        _suspect_findings(known.filter(pl.col("rule") == "suspect")),
        *_implausible_findings(known.filter(pl.col("rule").is_in(list(_IMPLAUSIBLE)))),
        *_coverage_findings(coverage.join(registers, on="register_id", how="semi")),
    ]
    if unmapped is not None:
        found.append(_unmapped_findings(unmapped))
    if quarantine is not None:
        found.append(_quarantine_findings(quarantine))
    return pl.concat(found).sort(FINDING.key)


def compute_portfolio_findings(problems: pl.DataFrame) -> pl.DataFrame:
    """List the faults of the portfolio's files (kind `portfolio`), one per place.

    Args:
        problems: `core.portfolio_problem`.

    Returns:
        `mart.finding`, sorted by place; empty when every row can be used.
    """
    place = pl.concat_str(
        "file",
        pl.when(pl.col("line") > 0).then(pl.format(" line {}", "line")).otherwise(pl.lit("")),
        pl.when(pl.col("columns") != "")
        .then(pl.format(", column {}", "columns"))
        .otherwise(pl.lit("")),
    )
    by_place = problems.group_by(place=place).agg(pl.col("message").sort().str.join(" "))
    return _as_findings(
        by_place,
        kind="portfolio",
        place=pl.col("place"),
        message=pl.col("message"),
        next_step="Mend it in data/portfolio. Until then its row and what depends on it (its "
        "meters, registers, streams, tariffs) are left out; what was computed of them is kept, and "
        "their streams wait.",
    ).sort(FINDING.key)


def _level_findings(levels: pl.DataFrame) -> list[pl.DataFrame]:
    single = _as_findings(
        levels,
        kind="level_change",
        place=pl.col("register_id"),
        message=pl.format(
            "The level of register {} changed without an explanation at {}, so the energy of that "
            "step is unknown ({}).",
            "register_id",
            _text("from_at"),
            "evidence",
        ),
        next_step="If the meter was exchanged, declare it in exchanges.csv with the final and the "
        "initial value; if the step was real, raise rating_native_per_hour in registers.csv.",
    )
    many = levels.group_by("register_id").agg(
        pl.len(), pl.col("from_at").min(), pl.col("to_at").max()
    )
    return [
        single,
        _as_findings(
            many.filter(pl.col("len") > MAX_LEVEL_CHANGES),
            kind="many_level_changes",
            place=pl.col("register_id"),
            message=pl.format(
                "Register {} changed its level {} times, which is more likely a rating that is too "
                "low than a broken meter.",
                "register_id",
                "len",
            ),
            next_step="Compare rating_native_per_hour in registers.csv with the meter's nameplate "
            "and its unit; an empty rating refuses no step upwards.",
        ),
    ]


def _reset_findings(resets: pl.DataFrame) -> list[pl.DataFrame]:
    counted = resets.group_by("register_id").agg(
        pl.len(), pl.col("from_at").min(), pl.col("to_at").max(), pl.col("digits").first()
    )
    return [
        _as_findings(
            counted,
            kind="reset",
            place=pl.col("register_id"),
            message=pl.format(
                "Register {} starts again from 0, the last time at {} (resets: {}), and what it "
                "counted just before is unknown.",
                "register_id",
                _text("to_at"),
                "len",
            ),
            next_step="If the meter was exchanged, declare it in exchanges.csv with the final and "
            "the initial value; else ask the installer why its counter starts again.",
        ),
        _as_findings(
            counted.filter(pl.col("digits").is_null()),
            kind="digits_unknown",
            place=pl.col("register_id"),
            message=pl.format(
                "Register {} was reset (resets: {}) and its number of digits is not declared, so a "
                "rollover cannot be told from a reset.",
                "register_id",
                "len",
            ),
            next_step="Enter the integer digits of its counter in registers.csv.",
        ),
    ]


def _suspect_findings(suspects: pl.DataFrame) -> pl.DataFrame:
    counted = suspects.group_by("register_id").agg(
        pl.col("n_readings").sum(),
        pl.col("from_at").min(),
        pl.col("to_at").max(),
        pl.col("evidence").sort_by("from_at").last(),
    )
    return _as_findings(
        counted,
        kind="suspect",
        place=pl.col("register_id"),
        message=pl.format(
            "Register {} shows far more than it ever did, and it counts since no rating forbids it "
            "(readings: {}; the last, at {}: {}).",
            "register_id",
            "n_readings",
            _text("to_at"),
            "evidence",
        ),
        next_step="Enter rating_native_per_hour in registers.csv, so that what the meter cannot do "
        "does not count; where it is right, keep the reading in manual_edits.csv.",
    )


def _implausible_findings(edits: pl.DataFrame) -> list[pl.DataFrame]:
    counted = edits.group_by("register_id", "rule").agg(
        pl.col("n_readings").sum(),
        pl.col("from_at").min(),
        pl.col("to_at").max(),
        pl.col("evidence").sort_by("from_at").last(),
    )
    most = pl.col("rule").replace_strict(MAX_GLITCHES, default=0, return_dtype=pl.Int64)
    is_told = pl.col("n_readings") > most
    return [
        _as_findings(
            counted.filter(is_told & (pl.col("rule") == rule)),
            kind="implausible_readings",
            place=pl.col("register_id"),
            message=pl.format(
                "Readings of register {} {} (readings: {}, from {} to {}; the last: {}) and do not "
                "count.",
                "register_id",
                pl.lit(what),
                "n_readings",
                _text("from_at"),
                _text("to_at"),
                "evidence",
            ),
            next_step=next_step,
        )
        for rule, (what, next_step) in _IMPLAUSIBLE.items()
    ]


def _coverage_findings(coverage: pl.DataFrame) -> list[pl.DataFrame]:
    is_silent = (pl.col("n_measured") == 0) & (pl.col("n_expected") > 0)
    is_low = (pl.col("coverage_pct") < MIN_COVERAGE_PCT) & (pl.col("n_measured") > 0)
    return [
        _as_findings(
            coverage.filter(is_silent),
            kind="no_data",
            place=pl.col("register_id"),
            from_at=pl.col("last_read_at"),
            message=pl.format(
                "Register {} measured nothing in the seven local days before {}; its newest "
                "reading is {}.",
                "register_id",
                "computed_on",
                pl.coalesce(_text("last_read_at"), pl.lit("missing: none ever came")),
            ),
            next_step="See whether the device is online at the vendor and whether the vendor's id "
            "of the register in registers.csv is right.",
        ),
        _as_findings(
            coverage.filter(is_low),
            kind="low_coverage",
            place=pl.col("register_id"),
            message=pl.format(
                "Register {} measured {} of {} intervals ({} %) in the seven local days before {}.",
                "register_id",
                "n_measured",
                "n_expected",
                pl.col("coverage_pct").round(1),
                "computed_on",
            ),
            next_step="See whether the device lost its connection; load the days again when the "
            "vendor has filled them, or declare the stretch in gaps.csv.",
        ),
    ]


def _unmapped_findings(unmapped: pl.DataFrame) -> pl.DataFrame:
    return _as_findings(
        unmapped.select("vendor", "thing", "vendor_id").unique(),
        kind="unmapped",
        place=pl.format("{}: {} {}", "vendor", "thing", "vendor_id"),
        message=pl.format(
            "{} lists the {} {}, which the portfolio does not map, so nothing of it is computed.",
            "vendor",
            "thing",
            "vendor_id",
        ),
        next_step="Run energy-etl init --discover and enter the id beside the site, meter or "
        "register that it belongs to.",
    )


def _quarantine_findings(quarantine: pl.DataFrame) -> pl.DataFrame:
    # The same row comes with each fetch until the vendor mends it.
    counted = quarantine.group_by("vendor", "endpoint", "reasons").agg(
        pl.col("raw_text").n_unique().alias("len")
    )
    return _as_findings(
        counted,
        kind="quarantine",
        place=pl.format("{}: {}: {}", "vendor", "endpoint", "reasons"),
        message=pl.format(
            "Rows of {}'s {} failed validation (rows: {}): {}.",
            "vendor",
            "endpoint",
            "len",
            "reasons",
        ),
        next_step="Read them in raw.quarantine of the warehouse file while no run is active, and "
        "send them to the vendor when they should have been readings.",
    )


def _as_findings(
    rows: pl.DataFrame,
    *,
    kind: str,
    place: pl.Expr,
    message: pl.Expr,
    next_step: str,
    from_at: pl.Expr | None = None,
) -> pl.DataFrame:
    """Bring rows into the columns of `mart.finding`; a span only where the rows have one."""
    has_span = "from_at" in rows.columns
    return rows.select(
        kind=pl.lit(kind),
        place=place,
        from_at=pl.col("from_at") if has_span else (pl.lit(None) if from_at is None else from_at),
        to_at=pl.col("to_at") if has_span else pl.lit(None),
        message=message,
        next_step=pl.lit(next_step),
    ).cast(FINDING.polars_schema)


def _text(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime(_INSTANT_FORMAT)
