"""Has Digiwatt changed its answers? The judgement over digiwatt.schema_drift, shown as a check."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from energy_etl.tables import Check, Verdict
from energy_etl.vendors.digiwatt.tables import CONSUMPTION, SCHEMA_DRIFT

_SHOWN: Final = 5
# Local days differ by one between the zones of a fleet.
_ONE_DAY: Final = timedelta(days=1)


def judge_drift(frames: Mapping[str, pl.DataFrame], now: datetime) -> Verdict:
    """Warn when the last fetch met fields that are not known, or missed some that are.

    Args:
        frames: digiwatt.schema_drift, and digiwatt.consumption for the day of the last fetch.
        now: not looked at: a vendor that was not asked for a week has not drifted since.
    """
    del now
    drift = frames[SCHEMA_DRIFT.full_name]
    fetched_on = pl.concat([frames[CONSUMPTION.full_name]["fetched_on"], drift["fetched_on"]])
    drift = drift.filter(pl.col("fetched_on") >= pl.lit(fetched_on).max() - _ONE_DAY)
    found = drift.select("endpoint", "field", "kind").unique().sort("endpoint", "field", "kind")
    counts = {kind: found.filter(pl.col("kind") == kind).height for kind in ("unknown", "missing")}
    numbers = {"n_unknown_fields": counts["unknown"], "n_missing_fields": counts["missing"]}
    if found.is_empty():
        return Verdict(True, numbers)
    shown = [f"{kind} {field} in {endpoint}" for endpoint, field, kind in found.head(_SHOWN).rows()]
    more = f" and {found.height - _SHOWN} more" if found.height > _SHOWN else ""
    return Verdict(
        False,
        numbers,
        f"Digiwatt's answers are not what is known of them: {', '.join(shown)}{more}. What could "
        "be read was kept; look at digiwatt.schema_drift and bring vendors/digiwatt/wire.py up to "
        "it.",
    )


SCHEMA_DRIFT_CHECK: Final = Check(
    table=SCHEMA_DRIFT,
    name="schema_known",
    description="The last fetch met no field that is unknown and missed none that is known.",
    inputs=(CONSUMPTION, SCHEMA_DRIFT),
    judge=judge_drift,
)
