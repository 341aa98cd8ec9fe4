"""The rules of the energy figures, row by row, and the tests that show each.

In the words of this project; `energy_etl_tests/test_energy_rules.py` resolves every row.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        section: of the energy rules: 1 registers, 2 time, 3 periods and trends, 4 coverage,
            5 disaggregation and peers, 6 electrical readings.
        words: what has to hold.
        tests: ids below energy_etl_tests/ that show it, `file.py::test_...`.
        left_out: why nothing keeps it (then there are no tests).
    """

    section: int
    words: str
    tests: tuple[str, ...]
    left_out: str = ""


def within(file: str, *names: str) -> tuple[str, ...]:
    """Return the ids of tests of one file."""
    return tuple(f"{file}.py::test_{name}" for name in names)
