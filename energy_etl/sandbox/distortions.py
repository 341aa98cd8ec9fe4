"""What Wattsense sees of the truth: irregular samples, late packets, glitches, resets, gaps.

Every distortion is deterministic by seed and can be read back (`resets`, `gaps`, `Samples.fault`,
`Samples.visible_ms`), so that a test can say what a cleaner must find. Rates: zero glitches one per
register and 20 days, false highs one per 60 days, one reset in the fleet per 33 days (every other
one on a heat pump's submeter), one gap of 4 to 6 h per 30 days on every third register, 2 % of the
samples late by up to 3 h. Sensors (temperature) have gaps and delays only: their zero is a value.
"""

from typing import TYPE_CHECKING

import numpy as np

from energy_etl.sandbox.calendar import DAY_MS
from energy_etl.sandbox.loads import CHUNK_SLOTS
from energy_etl.sandbox.model import FALSE_HIGH, ZERO_GLITCH, FloatArray, Samples, generator

if TYPE_CHECKING:
    from energy_etl.sandbox.world import World

JITTER_MS = 45_000
LATE_MS = 3 * 3_600_000
LATE_SHARE = 0.02
RESET_BLOCK_MS = 33 * DAY_MS
GAP_BLOCK_MS = 30 * DAY_MS
_ZERO_SHARE = 1.0 / (96 * 20)
_HIGH_SHARE = 1.0 / (96 * 60)
# Twelve samples around a reset stay clean: beside fewer than about six readings no rule can tell
# which side is right, and a test could not either.
_CALM_MS = 12 * 900_000
_STANDS_STILL = ("dishwasher", "washing_machine", "ev", "pv", "grid_export")


class Distortions:
    """The samples of a world's registers, made block by block and kept."""

    def __init__(self, world: "World") -> None:
        """Distort `world`; nothing is worked out yet."""
        self._world = world
        self._blocks: dict[tuple[str, int], Samples] = {}
        self._joined: dict[str, tuple[range, Samples]] = {}
        self._reset_targets: list[tuple[int, str]] = []

    def samples(self, register_id: str, since_ms: int, until_ms: int | None) -> Samples:
        """Return a register's samples of the blocks that touch a window, in order of instants."""
        world = self._world
        block_ms = CHUNK_SLOTS * world.slot_ms
        n_blocks = world.n_slots // CHUNK_SLOTS
        first = max(0, (since_ms - world.origin_ms - JITTER_MS) // block_ms)
        if until_ms is not None:
            n_blocks = min(n_blocks, (until_ms - world.origin_ms + JITTER_MS) // block_ms + 1)
        # One block at least: a window before the world starts, or after its end, has no sample.
        numbers = range(min(first, max(n_blocks, 1) - 1), max(n_blocks, 1))
        known, joined = self._joined.get(register_id, (None, None))
        if joined is None or known != numbers:
            blocks = [self._kept_block(register_id, number) for number in numbers]
            joined = Samples(
                *(
                    np.concatenate([getattr(block, name) for block in blocks])
                    for name in ("at_ms", "value_native", "visible_ms", "fault")
                )
            )
            self._joined[register_id] = (numbers, joined)
        return joined

    def resets(self, register_id: str) -> list[int]:
        """Return the instants (ms) at which a register falls to zero; the last may lie ahead."""
        world = self._world
        end_ms = world.origin_ms + world.n_slots * world.slot_ms
        while len(self._reset_targets) * RESET_BLOCK_MS + world.origin_ms < end_ms:
            self._reset_targets.append(self._reset(len(self._reset_targets)))
        return [at for at, target in self._reset_targets if target == register_id]

    def gaps(self, register_id: str) -> list[tuple[int, int]]:
        """Return the windows [from, to) in ms in which a register sent nothing."""
        world = self._world
        if world.draw(register_id, "has gaps") >= 1.0 / 3.0:
            return []
        extent_ms = world.n_slots * world.slot_ms
        windows = []
        for number in range(extent_ms // GAP_BLOCK_MS + 1):
            place, length = (world.draw(register_id, what, number) for what in ("gap", "length"))
            start = world.origin_ms + number * GAP_BLOCK_MS + int(place * (GAP_BLOCK_MS - DAY_MS))
            windows.append((start, start + int((4.0 + 2.0 * length) * 3_600_000)))
        return windows

    def _reset(self, number: int) -> tuple[int, str]:
        """Name the register that is reset in a block of 33 days, and when."""
        world = self._world
        candidates = [
            register_id
            for register_id, register in sorted(world.registers.items())
            if register.kind == "cumulative"
            and register.vendor == "wattsense"
            and (number % 2 or register.appliance == "heatPump")
            # A register that stands still for days shows a long zero after a reset, and nobody
            # can tell that from an outage.
            and register.purpose not in _STANDS_STILL
        ]
        which = int(world.draw("reset", number, "register") * len(candidates))
        place = world.draw("reset", number, "at")
        at_ms = world.origin_ms + int((number + 0.05 + 0.9 * place) * RESET_BLOCK_MS)
        return at_ms, candidates[which]

    def _kept_block(self, register_id: str, number: int) -> Samples:
        key = (register_id, number)
        if key not in self._blocks:
            self._blocks[key] = self._block(register_id, number)
        return self._blocks[key]

    def _block(self, register_id: str, number: int) -> Samples:
        world = self._world
        register, edges = world.registers[register_id], world.edges(register_id)
        draw = generator(world.seed, register_id, "wattsense", number).random((CHUNK_SLOTS, 5))
        slot = number * CHUNK_SLOTS + np.arange(CHUNK_SLOTS, dtype=np.int64)
        jitter = ((draw[:, 0] * 2.0 - 1.0) * JITTER_MS).astype(np.int64)
        offset_ms = np.maximum(slot * world.slot_ms + jitter, 0)
        at_ms = world.origin_ms + offset_ms
        value = value_at(edges, offset_ms, world.slot_ms)
        fault = np.zeros(CHUNK_SLOTS, dtype=np.int8)
        if register.kind == "cumulative":
            calm = np.ones(CHUNK_SLOTS, dtype=bool)
            true_value = value.copy()
            for reset_ms in self.resets(register_id):
                at_reset = value_at(edges, np.array([reset_ms - world.origin_ms]), world.slot_ms)[0]
                value = np.where(at_ms >= reset_ms, true_value - at_reset, value)
                calm &= np.abs(at_ms - reset_ms) > _CALM_MS
            is_high = draw[:, 1] >= 1.0 - _HIGH_SHARE
            fault[calm & (draw[:, 1] < _ZERO_SHARE)] = ZERO_GLITCH
            fault[calm & is_high] = FALSE_HIGH
            rating = (register.rating_native_per_hour or 0.0) / register.native_per_true
            value = np.where(fault == ZERO_GLITCH, 0.0, value)
            jump = rating * (50.0 + 400.0 * draw[:, 4])
            value = np.where(fault == FALSE_HIGH, value + jump, value)
        native = value * register.native_per_true / register.resolution_native
        shown = np.round(np.round(native) * register.resolution_native, 3)
        delay = 5_000 + (draw[:, 2] * 50_000).astype(np.int64)
        late = draw[:, 3] < LATE_SHARE
        delay = np.where(late, (draw[:, 2] * LATE_MS).astype(np.int64), delay)
        kept = np.ones(CHUNK_SLOTS, dtype=bool)
        for start, end in self.gaps(register_id):
            kept &= (at_ms < start) | (at_ms >= end)
        return Samples(at_ms[kept], shown[kept], (at_ms + delay)[kept], fault[kept])


def value_at(edges: FloatArray, offset_ms: np.ndarray, slot_ms: int) -> FloatArray:
    """Return the register at instants given as ms since the origin, linear within a slot."""
    slot = np.minimum(offset_ms // slot_ms, len(edges) - 2)
    part = (offset_ms - slot * slot_ms) / slot_ms
    return edges[slot] + (edges[slot + 1] - edges[slot]) * part
