"""The stack of a site's appliances: what is unknown stays unknown, and the rest is nobody's."""

import pytest

from energy_etl.report.appliances import readable, stack_appliances


def test_stack_adds_up_to_the_site_where_all_of_it_is_known() -> None:
    parts: dict[str, list[float | None]] = {
        "oven": [1.0, 2.0],
        "fridge": [2.0, 2.0],
        "tv": [0.5, None],
        "lamp": [0.25, 0.5],
    }
    stack = stack_appliances(parts, [10.0, 10.0], n_shown=2)
    assert [(each.label, each.kind) for each in stack] == [
        ("fridge", "appliance"),
        ("oven", "appliance"),
        ("2 others", "other"),
        ("unattributed", "unattributed"),
    ]
    # Of the others what is known; what is left over is not, while one of them is silent.
    assert stack[2].days_kwh == [0.75, 0.5]
    assert stack[3].days_kwh == [pytest.approx(6.25), None]
    assert stack[2].total_kwh == 1.25


def test_site_that_is_silent_leaves_nothing_unattributed() -> None:
    *_, left = stack_appliances({"oven": [1.0, 0.0]}, [None, 3.0])
    assert left.days_kwh == [None, 3.0]
    assert stack_appliances({}, [1.0]) == []


def test_single_other_keeps_its_name() -> None:
    stack = stack_appliances({"oven": [2.0], "tv": [1.0]}, [3.0], n_shown=1)
    assert [each.label for each in stack] == ["oven", "tv", "unattributed"]
    assert stack[1].kind == "other"


def test_vendors_name_of_an_appliance_is_read_as_words() -> None:
    assert readable("washingMachine") == "washing machine"
    assert readable(None) == ""
