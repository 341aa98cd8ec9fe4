"""The data dictionary `data/README.md`, from the tables alone. Nothing is read or written here."""

from collections.abc import Iterable
from typing import Final

from energy_etl.tables.model import Column, Table

_HEAD: Final = """\
# Data dictionary

Generated from `energy_etl/tables/` and the vendors' `tables.py` by `energy-etl dictionary`; do not
edit. One heading per table, as you type it in SQL. People read `data/energy.duckdb`, which has
every schema but `raw`. Names: `_at` is an instant (UTC), `_on` a local date, the unit is the
suffix (`_kwh`, `_wh`, `_w`, `_m3`, `_eur`, `_pct`), `_native` is in the register's own unit.
"""


def dictionary_page(tables: Iterable[Table]) -> str:
    """Return the Markdown page that describes the tables.

    Args:
        tables: in the order of the page; tables of one schema stand together.

    Returns:
        The page, ending in a newline; the same for the same tables.
    """
    order: dict[str, list[Table]] = {}
    for table in tables:
        order.setdefault(table.schema, []).append(table)
    parts = [_HEAD]
    for schema, of_schema in order.items():
        parts.append(f"## {schema}\n")
        parts += [_section(table) for table in of_schema]
    return "\n".join(parts)


def _section(table: Table) -> str:
    facts = [f"Key: {_names(table.key)}."]
    if not table.is_published:
        facts.append("Not published: only in the warehouse file.")
    elif table.time_column is not None:
        facts.append(f"Published in months of `{table.time_column}`.")
    lines = [
        f"### {table.full_name}",
        "",
        _escaped(table.description),
        " ".join(facts),
        "",
        "| column | type | null | description |",
        "|---|---|---|---|",
        *(_line(column) for column in table.columns),
        "",
    ]
    return "\n".join(lines)


def _line(column: Column) -> str:
    note = " (bookkeeping)" if column.is_bookkeeping else ""
    null = "yes" if column.is_nullable else "no"
    description = f"{_escaped(column.description)}{note}"
    return f"| `{column.name}` | {column.duckdb_type} | {null} | {description} |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _escaped(text: str) -> str:
    """Return the text as one Markdown table cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
