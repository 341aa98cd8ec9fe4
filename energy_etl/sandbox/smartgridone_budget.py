"""SmartgridOne's cost-based rate limit: a leaky bucket per tier, and the ban of who ignores it.

Documented: 100, 6,000 or 60,000 per minute; 429 with `Retry-After`; 422 for a query that costs more
than the bucket holds; whoever ignores `Retry-After` ten times within 60 s is banned for 300 s. The
price list is not public, so this one is the sandbox's own: a statement costs 0.05 and 1 more per
5,000 points (fields times the instants of its retention policy between its bounds), and a request
costs the sum, rounded up.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from energy_etl.sandbox.smartgridone_answers import RefusedError

TIERS: Final[Mapping[str, int]] = MappingProxyType({"free": 100, "basic": 6_000, "premium": 60_000})
COST_PER_STATEMENT = 0.05
POINTS_PER_COST = 5_000


def cost_of(points: Iterable[int]) -> int:
    """Return what a request costs, given the points of each of its statements."""
    return max(1, math.ceil(sum(COST_PER_STATEMENT + n / POINTS_PER_COST for n in points)))


class Budget:
    """What each tier has left, who was told to wait, and whether the caller is banned."""

    def __init__(
        self,
        *,
        tiers: Mapping[str, int] = TIERS,
        minute_s: float = 60.0,
        ban_after: int = 10,
        ban_window_s: float = 60.0,
        ban_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with empty buckets; a bucket of n leaks n in `minute_s`."""
        self._tiers, self._minute_s, self._clock = dict(tiers), minute_s, clock
        self._ban_after, self._ban_window_s, self._ban_s = ban_after, ban_window_s, ban_s
        self._levels: dict[str, tuple[float, float]] = {}
        self._not_before_s = 0.0
        self._ignored: deque[float] = deque()
        self._banned_until_s = 0.0

    def check_ban(self) -> None:
        """Refuse a banned caller."""
        if (left_s := self._banned_until_s - self._clock()) > 0:
            raise RefusedError(429, "Banned for ignoring Retry-After", retry_after_s=left_s)

    def check_patience(self) -> None:
        """Refuse who calls before the time that the last 429 named; ten times within 60 s: a ban.

        It comes before the body is looked at, so that no cheaper query slips through.
        """
        now_s = self._clock()
        if now_s >= self._not_before_s:
            return
        while self._ignored and self._ignored[0] <= now_s - self._ban_window_s:
            self._ignored.popleft()
        self._ignored.append(now_s)
        if len(self._ignored) >= self._ban_after:
            self._ignored.clear()
            self._banned_until_s = now_s + self._ban_s
            self.check_ban()
        raise RefusedError(429, retry_after_s=self._not_before_s - now_s)

    def spend(self, tier: str, cost: int) -> dict[str, str]:
        """Take `cost` from a tier's bucket and return the headers that tell it."""
        if tier not in self._tiers:
            raise RefusedError(400)
        size = self._tiers[tier]
        if cost > size:
            raise RefusedError(422, f"The query costs {cost}, more than the bucket of {size}")
        now_s = self._clock()
        level, at_s = self._levels.get(tier, (0.0, now_s))
        level = max(0.0, level - (now_s - at_s) * size / self._minute_s)
        if (over := level + cost - size) > 0:
            wait_s = over * self._minute_s / size
            self._not_before_s = now_s + wait_s
            raise RefusedError(429, retry_after_s=wait_s)
        self._levels[tier] = (level + cost, now_s)
        used = math.ceil(level + cost)
        return {
            "X-RateLimit-Cost": str(cost),
            "X-RateLimit-Remaining": str(size - used),
            "X-RateLimit-Used": str(used),
        }
