"""Deleting rows for good: by age, or because somebody is to be forgotten. Runs do not use this."""

from collections.abc import Sequence
from typing import Any, Final

from energy_etl.tables.model import Table
from energy_etl.warehouse.change import Change
from energy_etl.warehouse.sql import fill, full_name, listed, run
from energy_etl.warehouse.writing import Writer

_GONE: Final = "energy_etl_gone"


def delete_rows(writer: Writer, table: Table, where: str, params: Sequence[Any] = ()) -> Change:
    """Delete the rows of a table, as `t`, that meet a condition; the publication will follow.

    Args:
        writer: of an open transaction.
        table: the table.
        where: the condition, of SQL that the program wrote; values are parameters.
        params: its values.
    """
    names = dict.fromkeys((*table.key, *filter(None, [table.time_column])))
    parts = {
        "gone": _GONE,
        "names": listed(names, "t."),
        "table": full_name(table),
        "where": where,
    }
    # The same package: a method of the writer would be one more for those who only ever add.
    connection = writer._connection
    run(
        connection,
        fill(
            "CREATE OR REPLACE TEMP TABLE $gone AS SELECT $names FROM $table AS t WHERE $where",
            **parts,
        ),
        params,
    )
    (counted,) = run(connection, fill("SELECT count(*) FROM $gone", **parts))
    change = Change(n_removed=int(counted[0]))
    if change.is_change:
        run(connection, fill("DELETE FROM $table AS t WHERE $where", **parts), params)
        change = writer._noted(table, _GONE, change)
    run(connection, fill("DROP TABLE $gone", **parts))
    return change
