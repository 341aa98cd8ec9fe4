"""The sentence on the delivery of all streams that ends the demo."""

from typing import Any

import polars as pl
import pytest

from energy_etl.cli.summary import delivery_sentence
from energy_etl.tables.push import STREAM_STATUS


def streams(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return streams that are well, but for some cells."""
    well = {name: 0 for name in STREAM_STATUS.polars_schema if name.startswith("n_")}
    well |= {"n_confirmed": 9, "interval_minutes": 15, "lag_minutes": 30.0}
    schema = STREAM_STATUS.polars_schema
    frame = pl.DataFrame([{**well, **row} for row in rows], schema=schema)
    accepted = pl.col("n_sent") + pl.col("n_confirmed") + pl.col("n_superseded")
    return frame.with_columns(n_accepted=accepted)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [{}, {"n_confirmed": 0}],
            "9 packets of 1 stream sent, all confirmed; 0 holes in what was sent.",
        ),
        (
            [{"n_sent": 2}, {"parked_reason": "Unknown.", "n_rejected": 1}],
            "20 packets of 2 streams sent, 2 of them not confirmed; 1 refused; 1 stream parked; "
            "0 holes in what was sent (`energy-etl outbox status`).",
        ),
        # It once said that all was well of a stream that had waited for days.
        (
            [{}, {"lag_minutes": 8460.0}],
            "18 packets of 2 streams sent, all confirmed; 1 stream behind; "
            "0 holes in what was sent (`energy-etl outbox status`).",
        ),
    ],
)
def test_delivery_is_told_in_a_sentence_with_whatever_is_not_well(
    rows: list[dict[str, Any]], sentence: str
) -> None:
    assert delivery_sentence(streams(*rows)) == sentence
