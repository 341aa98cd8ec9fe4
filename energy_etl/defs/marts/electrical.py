"""Do power, voltage and current of a meter fit each other?"""

from typing import Final

import polars as pl

from energy_etl.defs.marts import found, made
from energy_etl.tables import Mart, Plot, Query, core, mart
from energy_etl.transform.electrical import compute_electrical_check, compute_electrical_findings

# The newest 31 days of each meter that has something to compare: on most sites nothing. Written
# out with epoch_us since an interval is subtracted from an instant only with a time zone library.
SAMPLES: Final = Query(
    "electrical_samples",
    """
WITH shown AS (
    SELECT register_id, meter_id FROM core.register
    WHERE kind <> 'cumulative' AND unit IN ('W', 'kW', 'var', 'VA', 'V', 'A')
    AND meter_id IN (SELECT meter_id FROM core.register
        WHERE unit IN ('var', 'VA', 'V') OR phase IS NOT NULL)),
newest AS (
    SELECT meter_id, max(epoch_us(start_at)) AS newest_us
    FROM core.sample JOIN shown USING (register_id) GROUP BY meter_id)
SELECT register_id, start_at, end_at, sample_native
FROM core.sample JOIN shown USING (register_id) JOIN newest USING (meter_id)
WHERE NOT is_provisional AND epoch_us(start_at) > newest_us - 31 * 86400000000
""",
    (core.SAMPLE, core.REGISTER),
)
# What meters with a power per phase count in all, where nothing shows the power of all phases.
ENERGIES: Final = Query(
    "electrical_energies",
    """
WITH counted AS (
    SELECT register_id, meter_id FROM core.register
    WHERE kind <> 'instant' AND unit IN ('Wh', 'kWh', 'MWh') AND phase IS NULL
    AND meter_id IN (SELECT meter_id FROM core.register
        WHERE unit IN ('W', 'kW') AND phase IS NOT NULL)),
newest AS (
    SELECT meter_id, max(epoch_us(start_at)) AS newest_us
    FROM core.interval JOIN counted USING (register_id) GROUP BY meter_id)
SELECT register_id, start_at, end_at, energy_kwh
FROM core.interval JOIN counted USING (register_id) JOIN newest USING (meter_id)
WHERE quality = 'measured' AND NOT is_provisional
AND epoch_us(start_at) > newest_us - 31 * 86400000000
""",
    (core.INTERVAL, core.REGISTER),
)

MARTS: Final[tuple[Mart, ...]] = (
    made(
        mart.ELECTRICAL_CHECK,
        compute_electrical_check,
        SAMPLES,
        ENERGIES,
        core.REGISTER,
        note="P2+Q2=S2, S=U*I, voltage limits and phases against their total, over the newest 31 "
        "days of each meter that shows them. Nothing is dropped by it.",
        plot=Plot("rule", "n_failed", "sum"),
        numbers={
            "n_checked": pl.col("n_checked").sum(),
            "n_failed": pl.col("n_failed").sum(),
            "worst_failed_pct": (100.0 * pl.col("n_failed") / pl.col("n_checked")).max(),
        },
    ),
)

FINDINGS: Final = (found(compute_electrical_findings, mart.ELECTRICAL_CHECK),)
