"""What loading past days from Wattsense would cost: pages of history within its quota. Pure."""

import math
from typing import Final, cast

from energy_etl.vendors import (
    GUESSED_CALL_S,
    PastPreview,
    PastQuestion,
    PlannedCalls,
    oldest_sentence,
)
from energy_etl.vendors.wattsense.client import QUOTA_WINDOW_S, quota_name
from energy_etl.vendors.wattsense.settings import WattsenseSettings

# Of a register that was never loaded: a value every 15 minutes.
_GUESSED_ROWS_PER_DAY: Final = 96.0


def preview_past(question: PastQuestion) -> PastPreview:
    """Count the pages: one range per register and batch, `page_size` values each."""
    settings = cast(WattsenseSettings, question.settings)
    rows_per_day = question.registers["rows_per_day"].fill_null(_GUESSED_ROWS_PER_DAY).to_list()
    n_pages = sum(
        max(1, math.ceil(rows * (to_at - from_at).days / settings.page_size))
        for from_at, to_at in question.batches
        for rows in rows_per_day
    )
    return PastPreview(
        asset="wattsense/history",
        n_registers=question.registers.height,
        calls=(
            PlannedCalls(
                "pages of history",
                n_pages,
                quota_name(settings),
                settings.calls_per_5_minutes,
                QUOTA_WINDOW_S,
                question.call_s.get("history", GUESSED_CALL_S),
                "history" in question.call_s,
                settings.max_parallel,
            ),
        ),
        not_given=(
            oldest_sentence("Wattsense", question.registers, question.from_on),
            "Wattsense gives latest values and the inventory as of now only: those tables are not "
            "filled for past days.",
        ),
    )
