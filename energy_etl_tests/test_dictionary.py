"""The data dictionary in the repository is the one the tables yield."""

from pathlib import Path

from energy_etl.tables.dictionary import dictionary_page
from energy_etl.vendors import all_tables

PAGE = Path(__file__).parents[1] / "data" / "README.md"


def test_dictionary_in_data_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == dictionary_page(all_tables()), (
        "data/README.md is stale: run `make dictionary`"
    )
