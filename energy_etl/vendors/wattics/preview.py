"""What loading past days from Wattics would cost: windows of raw data within our quota. Pure."""

import math
from typing import Final, cast

import polars as pl

from energy_etl.vendors import GUESSED_CALL_S, PastPreview, PastQuestion, PlannedCalls
from energy_etl.vendors.wattics.api_client import (
    MAX_RAW_DATA,
    NO_TOKEN,
    QUOTA_WINDOW_S,
    quota_name,
)
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattics.wire import SINGLE_FIELD

_ENDPOINT: Final = "raw-data"


def preview_past(question: PastQuestion) -> PastPreview:
    """Count a call per electrical stream and window of at most 90 days."""
    settings = cast(WatticsSettings, question.settings)
    if not settings.api_token.get_secret_value():
        return PastPreview(not_given=(NO_TOKEN,))
    n_streams = question.streams.filter(pl.col("field") != SINGLE_FIELD).height
    n_windows = sum(
        math.ceil((to_at - from_at) / MAX_RAW_DATA) for from_at, to_at in question.batches
    )
    return PastPreview(
        asset="wattics/raw_data",
        n_registers=n_streams,
        calls=(
            PlannedCalls(
                "windows of raw data",
                n_streams * n_windows,
                quota_name(settings),
                settings.calls_per_minute,
                QUOTA_WINDOW_S,
                question.call_s.get(_ENDPOINT, GUESSED_CALL_S),
                _ENDPOINT in question.call_s,
                settings.max_parallel,
            ),
        ),
        not_given=(
            "Wattics gives raw data of what was pushed to it and of nothing else, in windows of at "
            f"most {MAX_RAW_DATA.days} days; how long it keeps them is not documented.",
            "Consumptions and costs are kept by month: a run of extract_wattics over the days asks "
            "for the months that they touch.",
        ),
    )
