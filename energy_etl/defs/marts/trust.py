"""Whether the figures can be trusted: asset checks over `core` and `mart`, each a sentence.

They warn and stop nothing: rows that must not be pushed say so themselves (`is_pushable`), and what
is wrong with a whole table is checked in `defs/checks.py`.
"""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.tables import Check, Frames, Query, Verdict, core, mart, raw
from energy_etl.transform.findings import MIN_COVERAGE_PCT
from energy_etl.vendors import Vendor, discover_vendors

# A day's schedule and two hours: whoever is silent for longer missed a whole day.
STALE_AFTER: Final = timedelta(hours=26)
# Sums of floats are rounded to their last digits.
TOLERANCE: Final = 1e-6
_SHOWN: Final = 5

_PRIMARY_COVERAGE: Final = Query(
    "primary_coverage",
    "SELECT register_id, coverage_pct FROM mart.coverage JOIN core.register USING (register_id) "
    "WHERE is_primary",
    (mart.COVERAGE, core.REGISTER),
)
# Cleaning flags three equal intervals, which a coarse meter at a steady load shows every night:
# here one value has to stand for three hours.
_STUCK: Final = Query(
    "stuck_registers",
    """
    WITH flagged AS (
        SELECT register_id, start_at, end_at,
            start_at IS DISTINCT FROM lag(end_at) OVER before
                OR energy_kwh IS DISTINCT FROM lag(energy_kwh) OVER before AS is_first
        FROM core.interval
        WHERE list_contains(flags, 'stuck')
            AND start_at >= (SELECT max(start_at) - INTERVAL 7 DAY FROM core.interval)
        WINDOW before AS (PARTITION BY register_id ORDER BY start_at)),
    numbered AS (
        SELECT *, count(*) FILTER (is_first) OVER (PARTITION BY register_id ORDER BY start_at) AS n
        FROM flagged),
    runs AS (
        SELECT register_id, count(*) AS n_stuck FROM numbered GROUP BY register_id, n
        HAVING max(end_at) - min(start_at) >= INTERVAL 3 HOUR)
    SELECT register_id, sum(n_stuck)::BIGINT AS n_stuck FROM runs GROUP BY register_id
    """,
    (core.INTERVAL,),
)
# Who gets a token and no data has answered nothing; what failed before the last answer is over.
_LAST_CALLS: Final = Query(
    "last_calls",
    """
    SELECT vendor, succeeded_at, arg_max(error, requested_at) FILTER (
        error IS NOT NULL AND requested_at > coalesce(succeeded_at, '-infinity')) AS error
    FROM raw.request LEFT JOIN (
        SELECT vendor, max(requested_at) AS succeeded_at FROM raw.request
        WHERE status BETWEEN 200 AND 299 AND endpoint <> 'token' GROUP BY vendor) USING (vendor)
    GROUP BY vendor, succeeded_at
    """,
    (raw.REQUEST,),
)
# Two ways to one sum: intervals up to the end of each register's last day, and its days. A register
# gives energy or a volume.
_DAYS_AND_INTERVALS: Final = Query(
    "days_and_intervals",
    """
    SELECT d.register_id, of_days, sum(coalesce(i.energy_kwh, i.volume_m3)) AS of_intervals
    FROM (
        SELECT register_id, sum(coalesce(energy_kwh, volume_m3)) AS of_days,
            min(start_at) AS from_at, max(end_at) AS to_at
        FROM mart.daily_energy GROUP BY register_id) AS d
    LEFT JOIN core.interval AS i
        ON i.register_id = d.register_id AND i.start_at >= from_at AND i.start_at < to_at
    GROUP BY d.register_id, of_days
    """,
    (mart.DAILY_ENERGY, core.INTERVAL),
)


def _coverage_enough(frames: Frames, now: datetime) -> Verdict:
    del now
    rows = frames[_PRIMARY_COVERAGE.full_name]
    low = rows.filter(pl.col("coverage_pct") < MIN_COVERAGE_PCT).sort("coverage_pct", "register_id")
    told = ", ".join(
        f"{name} {pct:.0f} %"
        for name, pct in low.select("register_id", "coverage_pct").head(_SHOWN).iter_rows()
    )
    return Verdict(
        low.is_empty(),
        {"n_registers": rows.height, "n_below": low.height},
        f"{low.height} registers measured less than {MIN_COVERAGE_PCT:g} % of the last seven "
        f"days ({told}): see mart.finding for what to do about each.",
    )


def _values_move(frames: Frames, now: datetime) -> Verdict:
    del now
    rows = frames[_STUCK.full_name].sort("register_id")
    told = ", ".join(rows["register_id"].head(_SHOWN))
    return Verdict(
        rows.is_empty(),
        {"n_registers": rows.height, "n_intervals": int(rows["n_stuck"].sum())},
        f"{rows.height} mains showed one value for three hours or more within the last seven "
        f"days ({told}): see whether the meter or its gateway hangs.",
    )


def _energy_conserved(frames: Frames, now: datetime) -> Verdict:
    del now
    rows = frames[_DAYS_AND_INTERVALS.full_name]
    days, intervals = pl.col("of_days"), pl.col("of_intervals")
    slack = TOLERANCE * (1.0 + intervals.abs())
    wrong = rows.filter(
        ((days - intervals).abs() > slack) | (days.is_null() != intervals.is_null())
    ).sort("register_id")
    told = ", ".join(wrong["register_id"].head(_SHOWN))
    return Verdict(
        wrong.is_empty(),
        {"n_registers": rows.height, "n_wrong": wrong.height},
        f"The days of {wrong.height} registers do not add up to their intervals ({told}): "
        "materialize mart/daily_energy again and report it if it stays.",
    )


def _submeters_within_consumption(frames: Frames, now: datetime) -> Verdict:
    del now
    rows = frames[mart.SUBMETER_BALANCE.full_name]
    over = rows.filter(pl.col("n_days_over") > 0).sort("site_id")
    told = ", ".join(
        f"{site} on {days} of {of} days"
        for site, days, of in over.select("site_id", "n_days_over", "n_days")
        .head(_SHOWN)
        .iter_rows()
    )
    return Verdict(
        over.is_empty(),
        {"n_sites": rows.height, "n_over": over.height},
        f"The submeters measured more than the site consumed ({told}): compare role, unit "
        "and is_primary of its registers in registers.csv.",
    )


def _fresh(vendor: Vendor) -> Check:
    def judge(frames: Frames, now: datetime) -> Verdict:
        calls = frames[_LAST_CALLS.full_name].filter(vendor=vendor.name)
        if calls.is_empty():
            # Who was never asked is not in use.
            return Verdict(passed=True, numbers={"n_calls": 0})
        row = calls.row(0, named=True)
        since = row["succeeded_at"]
        passed = since is not None and now - since <= STALE_AFTER
        ago = "never" if since is None else f"{since:%Y-%m-%d %H:%M} UTC"
        told = "has never given data" if since is None else f"gave no data since {ago}"
        why = f" Its last error: {row['error']}" if row["error"] else ""
        return Verdict(
            passed,
            {"last_success": ago},
            f"{vendor.title} {told}: look at the last run of extract_{vendor.name}.{why}",
        )

    return Check(
        mart.COVERAGE,
        f"fresh_{vendor.name}",
        f"{vendor.title} gave data within the last 26 hours, if it was ever asked.",
        (_LAST_CALLS,),
        judge,
    )


CHECKS: Final = (
    Check(
        mart.COVERAGE,
        "coverage_enough",
        "Each primary register measured 90 % of the last seven complete local days.",
        (_PRIMARY_COVERAGE,),
        _coverage_enough,
    ),
    Check(
        core.INTERVAL,
        "values_move",
        "No mains showed one and the same value for three hours within the last seven days.",
        (_STUCK,),
        _values_move,
    ),
    Check(
        mart.DAILY_ENERGY,
        "days_conserve_energy",
        "The days of each register add up to its intervals.",
        (_DAYS_AND_INTERVALS,),
        _energy_conserved,
    ),
    Check(
        mart.SUBMETER_BALANCE,
        "submeters_within_consumption",
        "The submeters of a site measured no more than it consumed.",
        (mart.SUBMETER_BALANCE,),
        _submeters_within_consumption,
    ),
    *(_fresh(vendor) for vendor in discover_vendors().values() if vendor.to_batch is not None),
)
