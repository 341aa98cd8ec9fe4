"""Numbers as people read them: one style, never a zero for what is unknown."""

from datetime import date

import pytest

from energy_etl.report import wording


@pytest.mark.parametrize(
    ("amount", "unit", "shown"),
    [
        (0.0, "kWh", "0.0\u00a0kWh"),
        (99.94, "kWh", "99.9\u00a0kWh"),
        (99.96, "kWh", "100\u00a0kWh"),
        (1234567.8, "kWh", "1,234,568\u00a0kWh"),
        (-3.25, "kWh", "\u22123.2\u00a0kWh"),
        (-0.001, "kWh", "0.0\u00a0kWh"),
    ],
)
def test_number_has_its_unit_and_no_false_digits(amount: float, unit: str, shown: str) -> None:
    assert wording.number(amount, unit) == shown


def test_share_is_whole_only_when_nothing_is_missing() -> None:
    assert wording.percent(100.0) == "100\u00a0%"
    assert wording.percent(99.99) == "99.9\u00a0%"
    assert wording.percent(0.0) == "0.0\u00a0%"


def test_change_has_sign_and_arrow_and_a_small_one_has_neither() -> None:
    assert "▲" in wording.change(12.3)
    assert "+12.3" in wording.change(12.3)
    assert "▼" in wording.change(-12.3)
    assert "\u221212.3" in wording.change(-12.3)
    assert "≈" in wording.change(-0.2)
    assert "▼" not in wording.change(-0.2)


def test_unknown_is_a_dash_with_its_reason() -> None:
    shown = wording.none("no <tariff>")
    assert "0" not in shown
    assert "– <small>no &lt;tariff&gt;</small>" in shown


def test_age_is_in_the_unit_that_people_use() -> None:
    assert [wording.age(minutes) for minutes in (5, 300, 8000, -10)] == [
        "5\u00a0min",
        "5\u00a0h",
        "6\u00a0days",
        "in the future",
    ]


def test_span_of_days_ends_with_its_last_day() -> None:
    assert wording.days(date(2026, 11, 9), date(2026, 11, 16)) == "9 Nov to 15 Nov 2026"
