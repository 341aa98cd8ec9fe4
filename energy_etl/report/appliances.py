"""The stack of a site's appliances: the largest, the others together, what nobody measured."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Appliance:
    """One appliance over the days of a chart; None where it is unknown."""

    label: str
    days_kwh: list[float | None]
    kind: Literal["appliance", "other", "unattributed"] = "appliance"

    @property
    def total_kwh(self) -> float:
        """What is known of it."""
        return sum(amount for amount in self.days_kwh if amount is not None)


def readable(appliance: str | None) -> str:
    """Return `washing machine` for washingMachine."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", appliance or "").lower()


def stack_appliances(
    parts: Mapping[str, list[float | None]],
    amounts_kwh: Sequence[float | None],
    n_shown: int = 5,
) -> list[Appliance]:
    """Return the largest appliances, the others together, and what nobody measured."""
    if not parts:
        return []
    largest = sorted(
        (Appliance(label, amounts) for label, amounts in parts.items()),
        key=lambda part: (-part.total_kwh, part.label),
    )
    left = []
    for place, whole_kwh in enumerate(amounts_kwh):
        known = [amounts[place] for amounts in parts.values()]
        is_known = whole_kwh is not None and None not in known
        left.append(
            whole_kwh - sum(amount for amount in known if amount is not None)
            if is_known and whole_kwh is not None
            else None
        )
    shown, rest = largest[:n_shown], largest[n_shown:]
    if rest:
        label = rest[0].label if len(rest) == 1 else f"{len(rest)} others"
        together = [
            _added(part.days_kwh[place] for part in rest) for place in range(len(amounts_kwh))
        ]
        shown.append(Appliance(label, together, "other"))
    return [*shown, Appliance("unattributed", left, "unattributed")]


def _added(amounts: Iterable[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
