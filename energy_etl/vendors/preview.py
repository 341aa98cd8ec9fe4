"""What loading past days would cost and bring, before anything is called.

`energy-etl backfill --preview` asks each vendor's `Vendor.preview`, a pure function of what is
mapped, what was seen so far and the vendor's settings. How many calls of a quota are used already
is not known here: `cli/backfill.py` looks it up by the quota's name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

import polars as pl
from pydantic import BaseModel

# Where nothing was measured yet: a guess of ours, said to be one where it is shown.
GUESSED_CALL_S: Final = 0.5

PAST_REGISTERS: Final = pl.Schema(
    {
        "register_id": pl.String,
        "meter_id": pl.String,
        "site_id": pl.String,
        "vendor_id": pl.String,
        "rows_per_day": pl.Float64,
        "oldest_at": pl.Datetime("us", "UTC"),
    }
)
PAST_METERS: Final = pl.Schema(
    {"meter_id": pl.String, "site_id": pl.String, "vendor_id": pl.String}
)
PAST_STREAMS: Final = pl.Schema(
    {"stream_id": pl.String, "register_id": pl.String, "field": pl.String}
)


@dataclass(frozen=True)
class PastQuestion:
    """Which days of which registers and meters somebody would like to load.

    Attributes:
        from_on: first UTC day.
        to_on: last UTC day, included.
        batches: [start, end) of each run that would be made of the days.
        registers: the mapped ones that were asked for, as `PAST_REGISTERS`: what the portfolio
            says, the readings of a day that were seen (null: none yet) and the oldest of them.
        meters: the mapped meters that were asked for, as `PAST_METERS`.
        streams: the streams to Wattics of the registers that were asked for, as `PAST_STREAMS`.
        settings: the vendor's section.
        call_s: median duration of the vendor's calls by endpoint, in seconds.
        now: the present.
    """

    from_on: date
    to_on: date
    batches: tuple[tuple[datetime, datetime], ...]
    registers: pl.DataFrame
    meters: pl.DataFrame
    streams: pl.DataFrame
    settings: BaseModel
    call_s: Mapping[str, float]
    now: datetime

    @property
    def n_days(self) -> int:
        """Days asked for."""
        return (self.to_on - self.from_on).days + 1


@dataclass(frozen=True)
class PlannedCalls:
    """Calls of one kind, and the quota that they count against.

    Attributes:
        what: the calls, for people.
        n_calls: how many; an estimate where pages are concerned.
        quota: name of the stored budget; empty: none is kept.
        limit: calls that the quota gives in any `window_s` seconds.
        window_s: see limit.
        call_s: what one call takes, in seconds.
        is_measured: False when `call_s` is our guess.
        max_parallel: calls under way at once.
    """

    what: str
    n_calls: int
    quota: str
    limit: int
    window_s: float
    call_s: float = GUESSED_CALL_S
    is_measured: bool = False
    max_parallel: int = 1

    def expected_s(self, n_used: int) -> float:
        """Return how long the calls take when `n_used` places of the window are taken already."""
        n_beyond = max(self.n_calls - max(self.limit - n_used, 0), 0)
        n_windows = math.ceil(n_beyond / self.limit)
        n_last = n_beyond - (n_windows - 1) * self.limit if n_windows else self.n_calls
        per_call_s = self.call_s / self.max_parallel
        return max(self.n_calls * per_call_s, n_windows * self.window_s + n_last * per_call_s)


@dataclass(frozen=True)
class PastPreview:
    """What a vendor would be asked for, and what it will not give.

    Attributes:
        asset: `schema/table` whose partitions would be loaded; None: nothing of the past can be.
        n_registers: registers that would be loaded (of Wattics: streams).
        calls: by kind.
        not_given: sentences: what the vendor no longer holds or never gives.
    """

    asset: str | None = None
    n_registers: int = 0
    calls: tuple[PlannedCalls, ...] = ()
    not_given: tuple[str, ...] = field(default_factory=tuple)


def oldest_sentence(title: str, registers: pl.DataFrame, from_on: date) -> str:
    """Say how far back a vendor whose retention is not documented has been seen to reach."""
    oldest_at = registers["oldest_at"].min() if registers.height else None
    if not isinstance(oldest_at, datetime):
        return (
            f"{title} does not say how long it keeps readings, and none was loaded so far: "
            "days that it no longer holds come back empty and change nothing."
        )
    if oldest_at.date() <= from_on:
        return (
            f"{title} does not say how long it keeps readings; readings from "
            f"{oldest_at:%Y-%m-%d} on were loaded before, which covers the days asked for."
        )
    return (
        f"{title} does not say how long it keeps readings; the oldest one loaded so far is of "
        f"{oldest_at:%Y-%m-%d}, so what lies before may come back empty, which changes nothing."
    )
