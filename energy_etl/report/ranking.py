"""Which sites come first where not all of them can: those that need a look, then what uses most."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from energy_etl.report.figures import ENOUGH_PCT, Site

# A meter that has been silent for so long is worth a walk: daily deliveries are not.
SILENT_MINUTES: Final = 36 * 60
# More rows than a person reads from top to bottom: of more, those that come first are shown open.
MANY: Final = 24


def silent_minutes(site: Site, now: datetime) -> float | None:
    """Return for how long its most silent meter has been, None when that is not worth a walk."""
    if site.last_read_at is None:
        return None
    minutes = (now - site.last_read_at).total_seconds() / 60
    return minutes if minutes > SILENT_MINUTES else None


def needs_look(site: Site, now: datetime) -> bool:
    """Whether a meter of the site is silent or was never read, or too little was measured.

    A site without a meter of electricity has nothing to look at.
    """
    if site.coverage_pct is None:
        return False
    return (
        site.coverage_pct < ENOUGH_PCT
        or site.last_read_at is None
        or silent_minutes(site, now) is not None
    )


def by_need(sites: Iterable[Site], now: datetime) -> list[Site]:
    """Return the sites that need a look, the least measured first, then the others by their use.

    Use is the electricity of last week; equal ones stand in the order of their ids.
    """

    def rank(site: Site) -> tuple[bool, float, str]:
        if needs_look(site, now):
            return False, site.coverage_pct or 0.0, site.site_id
        week = site.amounts.get(("electricity", "last-week"))
        return True, -(week.amount or 0.0) if week else 0.0, site.site_id

    return sorted(sites, key=rank)
