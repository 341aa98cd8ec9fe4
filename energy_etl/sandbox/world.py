"""The seeded truth: true registers of the example fleet on a 15-minute grid.

The truth starts at 2024-01-01T00:00Z. The value of a slot depends on the seed alone, never on
`now` nor on how far the world was generated: blocks of 64 days are appended as time passes.
How vendors see it is in `distortions.py` (Wattsense) and `digiwatt.py`.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np

from energy_etl.sandbox.calendar import from_ms, to_ms
from energy_etl.sandbox.distortions import Distortions
from energy_etl.sandbox.fleet import LOCATIONS, REGISTERS, SITES, TARIFFS, build_streams
from energy_etl.sandbox.loads import CHUNK_SLOTS, SLOT_MS, chunk_flows
from energy_etl.sandbox.model import Clock, FloatArray, Samples, Tariff, uniform

ORIGIN_AT = datetime(2024, 1, 1, tzinfo=UTC)
DEFAULT_SEED = 20240101


def utc_now() -> datetime:
    """Return the real time."""
    return datetime.now(UTC)


def fixed_clock(at: datetime) -> Clock:
    """Return a clock that always shows one instant, so that a run can be repeated."""
    if at.tzinfo is None:
        raise ValueError(f"the sandbox's time {at} has no zone; give an aware instant")
    return lambda: at


class World:
    """The example fleet with its true energy, by seed; it implements `Truth`."""

    name = "world"
    slot_ms = SLOT_MS
    origin_ms = to_ms(ORIGIN_AT)

    def __init__(self, seed: int = DEFAULT_SEED, now: Callable[[], datetime] = utc_now) -> None:
        """Start a world whose present is what `now` returns; nothing is generated yet."""
        self.seed = seed
        self.sites = SITES
        self.locations = LOCATIONS
        self.registers = REGISTERS
        self.streams = build_streams(REGISTERS, SITES)
        self._now = now
        self._edges: dict[str, FloatArray] = {}
        self._consumption: dict[str, FloatArray] = {}
        self._n_chunks: dict[str, int] = dict.fromkeys(SITES, 0)
        self.distortions = Distortions(self)

    def now_ms(self) -> int:
        """Return the present; an instant before the truth starts is refused."""
        now_ms = to_ms(self._now())
        if now_ms < self.origin_ms:
            raise ValueError(
                f"the sandbox's time {from_ms(now_ms).isoformat()} lies before its world starts;"
                f" give a time after {ORIGIN_AT.isoformat()}"
            )
        return now_ms

    @property
    def n_slots(self) -> int:
        """Slots that are generated when asked now: whole blocks, at least a day beyond now."""
        wanted = (self.now_ms() - self.origin_ms) // SLOT_MS + 96
        return (wanted // CHUNK_SLOTS + 1) * CHUNK_SLOTS

    def edges(self, register_id: str) -> FloatArray:
        """Return the true register (kWh, m3) or value (degC) at each slot's edge."""
        register = self.registers[register_id]
        self._extend(register.site_id)
        return self._edges[register.same_as or register_id]

    def steps(self, register_id: str) -> FloatArray:
        """Return the true kWh or m3 of each slot."""
        return np.diff(self.edges(register_id))

    def consumption(self, site_id: str) -> FloatArray:
        """Return what a site used in each slot, from the grid or from its own PV, in kWh."""
        self._extend(site_id)
        return self._consumption[site_id]

    def samples(self, register_id: str, since_ms: int = 0, until_ms: int | None = None) -> Samples:
        """Return what a register sent to Wattsense in a window at least, with its distortions."""
        return self.distortions.samples(register_id, since_ms, until_ms)

    def tariffs(self, site_id: str) -> tuple[Tariff, ...]:
        """Return a site's tariffs."""
        return TARIFFS[site_id]

    def draw(self, *name: object) -> float:
        """Return the uniform number in [0, 1) that belongs to a name."""
        return uniform(self.seed, *name)

    def initial(self, register_id: str) -> float:
        """Return what a register showed when the truth starts: no meter starts at zero."""
        register = self.registers[register_id]
        if register.kind == "instant":
            return 0.0
        low, spread = (300.0, 2_000.0) if register.role == "appliance" else (800.0, 20_000.0)
        return round(low + spread * self.draw(register_id, "initial"), 3)

    def _extend(self, site_id: str) -> None:
        n_chunks = self.n_slots // CHUNK_SLOTS
        done = self._n_chunks[site_id]
        if n_chunks <= done:
            return
        parts: dict[str, list[FloatArray]] = {}
        for number in range(done, n_chunks):
            for purpose, flow in chunk_flows(self.seed, site_id, number, self.origin_ms).items():
                parts.setdefault(purpose, []).append(flow)
        used = parts.pop("consumption")
        self._consumption[site_id] = np.concatenate(
            [*self._part(self._consumption, site_id), *used]
        )
        for purpose, flows in parts.items():
            register_id = f"{site_id}.{purpose}"
            if purpose == "temperature":
                known = [each[:-1] for each in self._part(self._edges, register_id)]
                flows = [*(each[:-1] for each in flows[:-1]), flows[-1]]
                self._edges[register_id] = np.concatenate([*known, *flows])
            else:
                known = self._edges.get(register_id, np.array([self.initial(register_id)]))
                growth = np.concatenate([known[-1:], *flows])
                # A running sum from the last edge: the same additions in the same order, however
                # many blocks are appended at once.
                self._edges[register_id] = np.concatenate([known[:-1], np.cumsum(growth)])
        self._n_chunks[site_id] = n_chunks

    @staticmethod
    def _part(arrays: dict[str, FloatArray], key: str) -> list[FloatArray]:
        return [arrays[key]] if key in arrays else []
