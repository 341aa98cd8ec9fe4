"""Every rule of the energy figures (sections 1 to 6) is kept by a test with a name.

The rows are in `energy_etl_tests/energy_rules/`; a test that is renamed turns its row red. A rule
that is not kept says why.
"""

import pytest

from energy_etl_tests.energy_rules import Rule
from energy_etl_tests.energy_rules.figures import (
    COVERAGE_RULES,
    DISAGGREGATION_RULES,
    ELECTRICAL_RULES,
    TIME_RULES,
    TREND_RULES,
)
from energy_etl_tests.energy_rules.registers import REGISTER_RULES
from energy_etl_tests.test_documents import names_of_tests

RULES = (
    *REGISTER_RULES,
    *TIME_RULES,
    *TREND_RULES,
    *COVERAGE_RULES,
    *DISAGGREGATION_RULES,
    *ELECTRICAL_RULES,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.section}: {rule.words[:50]}")
def test_rule_names_tests_that_exist_or_why_it_is_left_out(rule: Rule) -> None:
    assert bool(rule.tests) != bool(rule.left_out)
    for test in rule.tests:
        file, _, name = test.partition("::")
        assert name in names_of_tests(f"energy_etl_tests/{file}"), f"{file} has no test {name}"


def test_rules_of_all_sections_are_told_once() -> None:
    assert {rule.section for rule in RULES} == {1, 2, 3, 4, 5, 6}
    assert len({rule.words for rule in RULES}) == len(RULES)
