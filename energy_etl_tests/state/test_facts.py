"""Facts: set, replaced, unknown."""

from pathlib import Path

from energy_etl.state import (
    get_fact,
    open_state,
    set_fact,
)


def test_a_fact_is_replaced_and_an_unknown_one_is_none(path: Path) -> None:
    with open_state(path) as connection:
        set_fact(connection, "it's", "one")
        set_fact(connection, "it's", "two")
    with open_state(path) as connection:
        assert get_fact(connection, "it's") == "two"
        assert get_fact(connection, "other") is None
