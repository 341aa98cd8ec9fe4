"""What Digiwatt knows: windows of its periods, mains per slot, and its imperfect appliances.

The estimate of an appliance is a known distortion of the truth (`EstimateParameters`): whole days
whose cycles it misses, a shift in time, and a share that it mistakes for other loads. Where a site
has PV only the part drawn from the grid counts, and an hour's appliances never exceed its mains.
Tests read the parameters and find the scores again.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from energy_etl.sandbox.calendar import (
    add_months,
    local_date,
    local_midnight_ms,
    local_time,
)
from energy_etl.sandbox.model import FloatArray, Register, SlotPrices, Truth, price_slots

N_PEERS = 19
_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Window:
    """Half-open [start, end) in ms."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """Its length; 0 when it is empty."""
        return max(0, self.end_ms - self.start_ms)


@dataclass(frozen=True)
class Windows:
    """A period and what the vendor compares it with."""

    current: Window
    previous: Window


@dataclass(frozen=True)
class EstimateParameters:
    """How the estimate of one appliance differs from the truth."""

    misattributed: float
    shift_slots: int
    missed_days: float


# Appliances that run in cycles may be missed for a day; the others always draw something.
_PARAMETERS: dict[str, EstimateParameters] = {
    "washingMachine": EstimateParameters(0.15, 1, 0.12),
    "dishwasher": EstimateParameters(0.10, 1, 0.08),
    "ev": EstimateParameters(0.05, 0, 0.04),
    "heatPump": EstimateParameters(0.12, 0, 0.0),
    "fridge": EstimateParameters(0.20, 0, 0.0),
    "freezer": EstimateParameters(0.20, 0, 0.0),
    "standby": EstimateParameters(0.08, 0, 0.0),
}


def zone_of(truth: Truth, site_id: str) -> ZoneInfo:
    """Return a site's zone."""
    return ZoneInfo(truth.sites[site_id].zone)


def parameters_of(appliance: str) -> EstimateParameters:
    """Return how the vendor misjudges an appliance."""
    return _PARAMETERS[appliance]


class Estimates:
    """The vendor's figures per slot, worked out once per extent of the truth."""

    def __init__(self, truth: Truth, trend_variant: str, has_today: bool) -> None:
        """Look at `truth`; `trend_variant` is `elapsed` or `whole`."""
        if trend_variant not in ("elapsed", "whole"):
            raise ValueError(f"trend_variant is elapsed or whole, not {trend_variant!r}")
        self.truth = truth
        self.trend_variant, self.has_today = trend_variant, has_today
        self._mains: dict[str, FloatArray] = {}
        self._prices: dict[str, SlotPrices] = {}
        self._appliances: dict[str, tuple[int, dict[str, FloatArray]]] = {}

    # -- time --------------------------------------------------------------------------------

    def _window(self, site_id: str, start_on: date, end_on: date) -> Window:
        zone = self.truth.sites[site_id].zone
        return Window(local_midnight_ms(zone, start_on), local_midnight_ms(zone, end_on))

    def _today(self, site_id: str) -> date:
        return local_date(self.truth.sites[site_id].zone, self.truth.now_ms())

    def last_days(self, site_id: str, n_days: int) -> Window:
        """Return the last complete local days."""
        today = self._today(site_id)
        return self._window(site_id, today - timedelta(days=n_days), today)

    def windows(self, site_id: str, period: str) -> Windows:
        """Return a period's window and the one it is compared with, for this vendor's variant."""
        today, week = self._today(site_id), timedelta(days=7)
        monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
        before = add_months(today, -1)
        same_part = min(before + (today - first), first)
        span = {
            "yesterday": (today - timedelta(days=1), today, timedelta(days=1)),
            "last-seven-days": (today - week, today, week),
            "last-week": (monday - week, monday, week),
            "this-week": (monday, today, week),
        }
        if period == "last-month":
            dates = (before, first, add_months(today, -2), before)
        elif period == "this-month":
            dates = (first, today, before, same_part)
        else:
            start, end, back = span[period]
            dates = (start, end, start - back, end - back)
        if self.has_today and period == "last-seven-days":
            dates = tuple(each + timedelta(days=1) for each in dates)
        current = self._window(site_id, dates[0], dates[1])
        previous = self._window(site_id, dates[2], dates[3])
        return self._with_variant(site_id, period, current, previous)

    def _with_variant(
        self, site_id: str, period: str, current: Window, previous: Window
    ) -> Windows:
        is_open = period in ("this-week", "this-month", "last-seven-days")
        if self.has_today and is_open:
            slot_ms = self.truth.slot_ms
            now_ms = self.truth.now_ms() // slot_ms * slot_ms
            today_ms = local_midnight_ms(self.truth.sites[site_id].zone, self._today(site_id))
            current = Window(current.start_ms, now_ms)
            end_ms = previous.end_ms + (now_ms - today_ms)
            if period == "last-seven-days":
                end_ms = previous.end_ms - 24 * _HOUR_MS + (now_ms - today_ms)
            previous = Window(previous.start_ms, end_ms)
        if self.trend_variant == "whole":
            today = self._today(site_id)
            monday = today - timedelta(days=today.weekday())
            if period == "this-week":
                previous = self._window(site_id, monday - timedelta(days=7), monday)
            elif period == "this-month":
                previous = self._window(site_id, add_months(today, -1), today.replace(day=1))
            elif period == "last-seven-days" and self.has_today:
                start_on = today - timedelta(days=13)
                previous = self._window(site_id, start_on, today - timedelta(days=6))
        return Windows(current, previous)

    def months(self, site_id: str) -> list[tuple[str, Window]]:
        """Return the last twelve complete months that the truth covers, oldest first."""
        today = self._today(site_id)
        months = [add_months(today, -back) for back in range(12, 0, -1)]
        windows = [(m.isoformat()[:7], self._window(site_id, m, add_months(m, 1))) for m in months]
        return [(month, each) for month, each in windows if each.start_ms >= self.truth.origin_ms]

    def this_month(self, site_id: str) -> tuple[str, Window, Window]:
        """Return this month's name, its complete days, and the whole month."""
        today = self._today(site_id)
        first = today.replace(day=1)
        so_far = self._window(site_id, first, today)
        return first.isoformat()[:7], so_far, self._window(site_id, first, add_months(first, 1))

    def hours(self, site_id: str, window: Window) -> np.ndarray:
        """Return the edges of a window's hours, counted from each local midnight.

        A day of 24.5 hours (Lord Howe) ends with half an hour.
        """
        zone = self.truth.sites[site_id].zone
        edges: list[int] = []
        at_ms = window.start_ms
        while at_ms < window.end_ms:
            next_on = local_date(zone, at_ms) + timedelta(days=1)
            end_ms = min(local_midnight_ms(zone, next_on), window.end_ms)
            edges.extend(range(at_ms, end_ms, _HOUR_MS))
            at_ms = end_ms
        return np.array([*edges, max(window.end_ms, window.start_ms)], dtype=np.int64)

    # -- sums --------------------------------------------------------------------------------

    def _slots(self, at_ms: np.ndarray, n_slots: int) -> np.ndarray:
        slot = (at_ms - self.truth.origin_ms) // self.truth.slot_ms
        return np.clip(slot, 0, n_slots)

    def total(self, slots: FloatArray, window: Window) -> float:
        """Return the sum over a window; what lies before the truth counts nothing."""
        ends = np.array([window.start_ms, max(window.start_ms, window.end_ms)])
        first, last = self._slots(ends, len(slots))
        return float(slots[first:last].sum())

    def per_bucket(self, slots: FloatArray, edges_ms: np.ndarray) -> FloatArray:
        """Return the sums between consecutive edges."""
        running = np.concatenate([[0.0], np.cumsum(slots)])
        return np.diff(running[self._slots(edges_ms, len(slots))])

    # -- figures per slot --------------------------------------------------------------------

    def _register(self, site_id: str, purpose: str) -> FloatArray:
        return np.diff(self.truth.edges(f"{site_id}.{purpose}"))

    def mains(self, site_id: str) -> FloatArray:
        """Return the energy from the grid per slot, in kWh."""
        edges = self.truth.edges(f"{site_id}.grid_import")
        kept = self._mains.get(site_id)
        if kept is None or len(kept) != len(edges) - 1:
            kept = self._mains[site_id] = np.diff(edges)
        return kept

    def prices(self, site_id: str) -> SlotPrices:
        """Return prices and tariff bands per slot."""
        n_slots = len(self.mains(site_id))
        kept = self._prices.get(site_id)
        if kept is None or len(kept.band) != n_slots:
            kept = self._prices[site_id] = price_slots(self.truth, site_id, n_slots)
        return kept

    def price(self, site_id: str) -> FloatArray:
        """Return the price per slot in EUR per kWh."""
        return self.prices(site_id).eur_per_kwh

    def costs(self, site_id: str) -> FloatArray:
        """Return what the energy from the grid costs per slot, in EUR."""
        return self.mains(site_id) * self.price(site_id)

    def bands(self, site_id: str) -> dict[str, np.ndarray]:
        """Return which slots belong to each tariff band."""
        prices = self.prices(site_id)
        return {name: prices.band == number for number, name in enumerate(prices.names)}

    def peer_shares(self, site_id: str) -> list[float]:
        """Return what each similar user consumes, as a multiple of this one."""
        draws = [self.truth.draw(site_id, "peer", number) for number in range(N_PEERS)]
        return [0.35 * 6.0**draw for draw in draws]

    def appliances(self, site_id: str) -> dict[str, FloatArray]:
        """Return the vendor's estimate per appliance and slot, in kWh."""
        n_slots = len(self.mains(site_id))
        kept = self._appliances.get(site_id)
        if kept is None or kept[0] != n_slots:
            kept = self._appliances[site_id] = (n_slots, self._estimate(site_id))
        return kept[1]

    def _estimate(self, site_id: str) -> dict[str, FloatArray]:
        mains = self.mains(site_id)
        known = [r for r in self.truth.registers.values() if r.site_id == site_id and r.appliance]
        true_use = {
            register.purpose: self._register(site_id, register.purpose) for register in known
        }
        total = mains.copy()
        for purpose, sign in (("pv", 1.0), ("grid_export", -1.0)):
            if f"{site_id}.{purpose}" in self.truth.registers:
                total = total + sign * self._register(site_id, purpose)
        # Replayed registers start on different days: a total below its own parts means that the
        # mains were not read yet.
        total = np.maximum(total, 0.0)
        rest = np.maximum(total - sum(true_use.values()), 0.0)
        from_grid = np.divide(mains, total, out=np.zeros_like(mains), where=total > 0)
        at_ms = self.truth.origin_ms + np.arange(len(mains), dtype=np.int64) * self.truth.slot_ms
        local = local_time(self.truth.sites[site_id].zone, at_ms)
        estimate = {
            register.appliance: self._distorted(
                register, true_use[register.purpose], rest, local.day
            )
            * np.minimum(from_grid, 1.0)
            for register in known
            if register.appliance is not None
        }
        hour = (local.day - local.day[0]) * 24 + local.minute // 60
        of_hour = np.bincount(hour, mains)
        claimed = np.bincount(hour, np.sum(list(estimate.values()), axis=0))
        scale = np.divide(of_hour, claimed, out=np.ones_like(of_hour), where=claimed > of_hour)
        return {appliance: slots * scale[hour] for appliance, slots in estimate.items()}

    def _distorted(
        self, register: Register, true_use: FloatArray, rest: FloatArray, day: np.ndarray
    ) -> FloatArray:
        """Miss whole days, shift in time, and mistake a share for other loads."""
        known = parameters_of(register.appliance or "")
        seen = true_use
        if known.missed_days > 0:
            missed = np.array([self.is_missed(register, each) for each in np.unique(day)])
            seen = np.where(missed[day - day[0]], 0.0, seen)
        if known.shift_slots:
            seen = np.concatenate([np.zeros(known.shift_slots), seen[: -known.shift_slots]])
        # What it mistakes for the appliance has the day's energy right and its hours wrong; by day,
        # so that a figure never depends on how far the truth was generated.
        index = day - day[0]
        use_of_day, rest_of_day = np.bincount(index, seen), np.bincount(index, rest)
        share = np.divide(
            use_of_day, rest_of_day, out=np.zeros_like(use_of_day), where=rest_of_day > 0
        )
        mistaken = rest * share[index]
        return (1.0 - known.misattributed) * seen + known.misattributed * mistaken

    def is_missed(self, register: Register, day: int) -> bool:
        """Tell whether the vendor misses an appliance's cycles on a local day."""
        share = parameters_of(register.appliance or "").missed_days
        return self.truth.draw(register.register_id, "missed", int(day)) < share
