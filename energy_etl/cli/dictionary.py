"""`energy-etl dictionary`: what every table, setting and command means, as the pages in docs/."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from energy_etl.tables import Table

Subject = Literal["tables", "settings", "commands"]


def dictionary(
    context: typer.Context,
    of: Annotated[Subject, typer.Argument(help="What is described.")] = "tables",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what every table, setting or command means.

    As Markdown: data/README.md, docs/settings.md and docs/commands.md, which `make dictionary`
    writes anew.
    """
    from energy_etl.cli.commands_page import commands_page, documented_commands
    from energy_etl.cli.settings_page import all_setting_rows, settings_page
    from energy_etl.tables.dictionary import dictionary_page
    from energy_etl.vendors import all_tables, discover_vendors

    program = context.find_root().command
    rows: list[Any]
    match of:
        case "tables":
            page = dictionary_page(all_tables())
            rows = [_plain_table(table) for table in all_tables()]
        case "settings":
            page = settings_page(discover_vendors().values())
            rows = [row.plain() for row in all_setting_rows(discover_vendors().values())]
        case "commands":
            page = commands_page(program)
            rows = [command.plain() for command in documented_commands(program)]
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        sys.stdout.write(page)


def _plain_table(table: "Table") -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "type": column.duckdb_type,
            "is_nullable": column.is_nullable,
            "description": column.description,
        }
        for column in table.columns
    ]
    return {
        "table": table.full_name,
        "description": table.description,
        "key": list(table.key),
        "is_published": table.is_published,
        "columns": columns,
    }
