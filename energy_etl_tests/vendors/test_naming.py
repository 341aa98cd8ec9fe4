"""From a vendor's ids and names to ours."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.tables import core
from energy_etl.vendors.naming import mapped_registers, slug


def _alias(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    columns = ("thing", "vendor", "vendor_id", "thing_id")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    assert set(columns) <= set(core.ALIAS.polars_schema)
    return frame


def test_registers_of_another_vendor_another_thing_or_nobody_are_left_out() -> None:
    alias = _alias(
        ("register", "acme", "box/a", "ours"),
        ("register", "other", "box/b", "theirs"),
        ("meter", "acme", "box/c", "meter"),
    )
    rows = pl.DataFrame({"box": ["box"] * 4, "name": ["a", "a", "b", "c"], "kwh": [1, 2, 3, 4]})

    found = mapped_registers(rows, ["box", "name"], alias, "acme")

    assert found.to_dicts() == [{"box": "box", "name": "a", "register_id": "ours"}]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("  Main  meter (1)", "main-meter-1"),
        ("Zähler", "zähler"),
        ("--", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_name_becomes_an_id_of_letters_digits_and_hyphens(name: str, expected: str) -> None:
    assert slug(name) == expected


@settings(max_examples=30, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_id_made_of_a_name_stays_the_same_when_made_again(name: str) -> None:
    assert slug(slug(name)) == slug(name) != ""
