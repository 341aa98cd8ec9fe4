"""Exchanges that contradict each other: the later one is ignored and named, the rest computed."""

from datetime import datetime
from typing import Any

import polars as pl
import pytest

from energy_etl.tables.core import EXCHANGE
from energy_etl.transform.exchanges import accepted_exchanges, compute_exchange_findings
from energy_etl_tests.transform.register_frames import (
    LATER,
    START,
    compute,
    exchanges,
    minutes,
    readings,
    register,
    registers,
    series,
)

FIRST = ("a", minutes(112), 1007.4, 4.6)


def judge(
    *rows: tuple[str, datetime, float, float], now: datetime = LATER, **changed: Any
) -> tuple[list[float], pl.DataFrame]:
    """Return the final values of the exchanges that count, and the findings."""
    frame, known = exchanges(*rows), registers(register(**changed))
    counted = accepted_exchanges(frame, known, now=now).get("a", ())
    return [e.final_native for e in counted], compute_exchange_findings(frame, known, now=now)


@pytest.mark.parametrize(
    ("second", "changed"),
    [
        (("a", minutes(112), 1008.0, 0.0), {}),
        (("a", minutes(400), 2.0, 0.0), {"digits": None}),
        # A rollover in between would be more than the rating allows.
        (("a", minutes(400), 2.0, 0.0), {"rating_native_per_hour": 10.0}),
        (("a", minutes(400), 900.0, 0.0), {"rating_native_per_hour": 10.0}),
    ],
)
def test_exchange_that_contradicts_the_one_before_is_ignored_and_found(
    second: tuple[str, datetime, float, float], changed: dict[str, Any]
) -> None:
    for rows in ((FIRST, second), (second, FIRST)):
        counted, found = judge(*rows, **changed)
        assert counted == [1007.4]
        assert found.select("kind", "place", "from_at", "to_at").rows() == [
            ("overlapping_exchanges", "a", FIRST[1], second[1])
        ]
        assert str(second[2]) in found["message"][0]
        assert "exchanges.csv" in found["next_step"][0]


@pytest.mark.parametrize(
    ("second", "changed"),
    [
        (("a", minutes(400), 6.0, 0.0), {"rating_native_per_hour": 10.0}),
        (("a", minutes(400), 900.0, 0.0), {}),
        (("a", minutes(400), 2.0, 0.0), {"digits": 6}),
    ],
)
def test_exchange_that_can_follow_counts(
    second: tuple[str, datetime, float, float], changed: dict[str, Any]
) -> None:
    counted, found = judge(FIRST, second, **changed)
    assert counted == [1007.4, second[2]]
    assert found.is_empty()


def test_third_exchange_is_compared_with_the_last_that_counts() -> None:
    rows = (FIRST, ("a", minutes(200), 2.0, 800.0), ("a", minutes(300), 7.0, 0.0))
    counted, found = judge(*rows, digits=None)
    assert counted == [1007.4, 7.0]
    assert found["to_at"].to_list() == [minutes(200)]


def test_three_exchanges_at_one_instant_are_one_finding() -> None:
    rows = [("a", minutes(112), 1007.0 + n, 0.0) for n in range(3)]
    counted, found = judge(*rows)
    assert counted == [1007.0]
    assert found.height == 1


def test_exchange_to_come_and_strange_registers_are_not_judged() -> None:
    to_come = ("a", minutes(400), 2.0, 0.0)
    stranger = ("stranger", minutes(112), 5.0, 0.0)
    counted, found = judge(FIRST, to_come, stranger, stranger, now=minutes(300), digits=None)
    assert (counted, found.height) == ([1007.4], 0)
    assert (
        judge()[1].schema
        == compute_exchange_findings(
            EXCHANGE.empty_frame(), registers(register()), now=START
        ).schema
    )


def test_rest_is_computed_beside_overlapping_exchanges() -> None:
    old, new = ([first + n for n in range(8)] for first in (1000.0, 5.0))
    frame = readings(series([*old, *new]))
    alone = compute(frame, register(digits=None), declared=exchanges(FIRST))
    wrong = ("a", minutes(180), 2.0, 700.0)
    both = compute(frame, register(digits=None), declared=exchanges(FIRST, wrong))
    assert both.intervals.equals(alone.intervals)
    assert both.intervals["energy_kwh"].sum() == pytest.approx(7 + 0.8 + 7)
