"""The page that describes the tables."""

from dataclasses import replace

from energy_etl.tables import SHARED_TABLES, Column, Table
from energy_etl.tables.core import READING, SITE
from energy_etl.tables.dictionary import dictionary_page
from energy_etl.tables.raw import REQUEST


def section(page: str, heading: str) -> list[str]:
    """The lines from a heading to the next one of its table."""
    lines = page.splitlines()
    start = lines.index(heading)
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("#")), len(lines))
    return lines[start:end]


def test_every_table_and_column_stands_on_the_page_once() -> None:
    page = dictionary_page(SHARED_TABLES)
    for table in SHARED_TABLES:
        lines = section(page, f"### {table.full_name}")
        assert table.description in lines
        assert page.count(f"### {table.full_name}\n") == 1
        shown = [line.split("|")[1].strip() for line in lines if line.startswith("| `")]
        assert shown == [f"`{column.name}`" for column in table.columns]


def test_row_of_a_column_tells_type_null_and_bookkeeping() -> None:
    lines = section(dictionary_page([READING]), "### core.reading")
    assert (
        "| `received_at` | TIMESTAMP WITH TIME ZONE | no | When this version came. (bookkeeping) |"
    ) in lines
    assert lines[2:4] == [
        READING.description,
        "Key: `register_id`, `read_at`, `version`. Published in months of `read_at`.",
    ]


def test_unpublished_table_is_said_to_be_so() -> None:
    lines = section(dictionary_page([REQUEST]), "### raw.request")
    assert lines[3] == "Key: `request_id`. Not published: only in the warehouse file."


def test_tables_of_one_schema_stand_together_whatever_their_order() -> None:
    page = dictionary_page([SITE, REQUEST, READING])
    headings = [line for line in page.splitlines() if line.startswith("##")]
    assert headings == ["## core", "### core.site", "### core.reading", "## raw", "### raw.request"]


def test_changed_description_changes_the_page() -> None:
    other = replace(SITE, description="Something else.")
    assert dictionary_page([SITE]) != dictionary_page([other])
    assert dictionary_page([SITE]) == dictionary_page([SITE])


def test_signs_of_markdown_cannot_break_a_table_row() -> None:
    table = Table(
        schema="toy",
        name="toy",
        description="One <toy>.",
        columns=(Column("toy_id", "text", "a | b\n| c", is_nullable=False),),
        key=("toy_id",),
    )
    lines = section(dictionary_page([table]), "### toy.toy")
    assert "| `toy_id` | VARCHAR | no | a \\| b \\| c |" in lines
    assert "One &lt;toy>." in lines
