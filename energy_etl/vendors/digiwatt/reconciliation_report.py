"""What people are told of `mart.vendor_reconciliation`: one check per rule, one finding per
difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from energy_etl.tables import Check, Findings, Frames, Verdict
from energy_etl.tables.mart import FINDING
from energy_etl.vendors.digiwatt.tables import VENDOR_RECONCILIATION

_SHOWN: Final = 3


@dataclass(frozen=True)
class Rule:
    """One equality between figures.

    Attributes:
        name: `rule` in the table, and the check's name.
        holds: what has to hold, a sentence.
        left: what the left figure is.
        right: what the right figure is.
        next_step: what to do when it does not hold, a sentence.
    """

    name: str
    holds: str
    left: str
    right: str
    next_step: str


_ASK: Final = "Ask Digiwatt which of the two is right, and use the consumption until then."
_OURS: Final = (
    "Look at mart.coverage and mart.finding of the meter's register first; if ours is complete, "
    "ask Digiwatt."
)
RULES: Final = (
    Rule(
        "distribution_sum",
        "The appliances of a period add up to its consumption.",
        "the sum of consumption-distribution",
        "consumption",
        _ASK,
    ),
    Rule(
        "unattributed",
        "The named appliances of a period are not more than its consumption.",
        "consumption",
        "the sum of the named appliances",
        "Do not share out more than was consumed: leave these appliances out and ask Digiwatt.",
    ),
    Rule(
        "disaggregation_sum",
        "The hours of an appliance add up to its total of the period.",
        "the sum of disaggregation",
        "consumption-distribution",
        "Ask Digiwatt, and whether the hours cover the period in the meter's own zone.",
    ),
    Rule(
        "performance_user",
        "The user among similar users has the consumption of the period.",
        "userConsumption of performance",
        "consumption",
        _ASK,
    ),
    Rule(
        "performance_bounds",
        "The user lies between the least and the most of similar users.",
        "userConsumption of performance",
        "the nearest of its bounds",
        "Do not show the position among similar users, and ask Digiwatt.",
    ),
    Rule(
        "implied_price",
        "Cost over consumption is about the same price at every endpoint.",
        "the implied price",
        "the meter's median price",
        "Look for a mixed-up unit (Wh, cents) in digiwatt.* first, then ask Digiwatt which tariff "
        "it counts with.",
    ),
    Rule(
        "savings_consumption",
        "The consumption of savings is that of our last 30 days, within 2 %.",
        "estimatedConsumption of savings",
        "our last 30 days",
        _OURS,
    ),
    Rule(
        "trend",
        "The vendor's trend is ours within 1 point.",
        "the vendor's trend",
        "our trend",
        _OURS,
    ),
    Rule(
        "history_last_month",
        "The newest month of the consumption history is the period last-month.",
        "consumption-history",
        "consumption of last-month",
        _ASK,
    ),
    Rule(
        "costs_last_month",
        "The newest month of the costs history is the period last-month.",
        "costs-history",
        "estimated-costs of last-month",
        _ASK,
    ),
    Rule(
        "yearly_distribution_sum",
        "The appliances of a month add up to the consumption history.",
        "the sum of yearly-consumption-distribution",
        "consumption-history",
        _ASK,
    ),
    Rule(
        "compound_total",
        "The total of a compound month is the consumption history.",
        "the total of yearly-compound-consumption",
        "consumption-history",
        _ASK,
    ),
    Rule(
        "compound_parts",
        "The parts of a compound month add up to its total.",
        "the sum of the parts of yearly-compound-consumption",
        "its total",
        _ASK,
    ),
)


def judge_rule(rule: Rule) -> Callable[[Frames, datetime], Verdict]:
    """Return the judgement of one rule over `mart.vendor_reconciliation`."""

    def judge(frames: Frames, now: datetime) -> Verdict:
        del now  # the table holds only the newest fetches
        rows = frames[VENDOR_RECONCILIATION.full_name].filter(pl.col("rule") == rule.name)
        differing = rows.filter(pl.col("verdict") == "differs").sort(
            pl.col("difference_native").abs(), descending=True
        )
        numbers = {
            "n_compared": rows.filter(pl.col("verdict") != "not_comparable").height,
            "n_not_comparable": rows.filter(pl.col("verdict") == "not_comparable").height,
            "n_differs": differing.height,
        }
        if differing.is_empty():
            return Verdict(True, numbers)
        told = "; ".join(
            f"meter {row['meter_id']}, {_what(row)}: {_figures(rule, row)}"
            for row in differing.head(_SHOWN).iter_rows(named=True)
        )
        more = f"; and {differing.height - _SHOWN} more" if differing.height > _SHOWN else ""
        return Verdict(
            False,
            numbers,
            f"{rule.holds} It does not for {told}{more}. {rule.next_step} All rows stand in "
            "mart.vendor_reconciliation.",
        )

    return judge


def find_contradictions(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return a finding for each row that differs: rows of `mart.finding`."""
    del now
    by_name = {rule.name: rule for rule in RULES}
    rows = frames[VENDOR_RECONCILIATION.full_name].filter(pl.col("verdict") == "differs")
    found = [
        {
            "kind": "vendor_contradiction",
            "place": f"digiwatt: meter {row['meter_id']}, {row['rule']}, {_what(row)}",
            "from_at": None,
            "to_at": None,
            "message": f"{rule.holds} Here it does not: {_figures(rule, row)}.",
            "next_step": rule.next_step,
        }
        for row in rows.iter_rows(named=True)
        for rule in (by_name[row["rule"]],)
    ]
    return pl.DataFrame(found, schema=FINDING.polars_schema)


def _what(row: dict[str, Any]) -> str:
    return row["period"] + (f", {row['appliance']}" if row["appliance"] else "")


def _figures(rule: Rule, row: dict[str, Any]) -> str:
    unit = row["unit"]
    return (
        f"{rule.left} says {row['left_native']:.6g} {unit}, {rule.right} "
        f"{row['right_native']:.6g} {unit}, a difference of {row['difference_native']:.4g} {unit} "
        f"where {row['tolerance_native']:.2g} is tolerated"
    )


CHECKS: Final = tuple(
    Check(
        table=VENDOR_RECONCILIATION,
        name=rule.name,
        description=rule.holds,
        inputs=(VENDOR_RECONCILIATION,),
        judge=judge_rule(rule),
    )
    for rule in RULES
)
FINDINGS: Final = Findings((VENDOR_RECONCILIATION,), find_contradictions)
