"""Facts: single texts that every process must find, by name."""

import sqlite3

from energy_etl.state.file import transaction


def get_fact(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a fact that was set, None when it never was."""
    row = connection.execute("SELECT fact FROM fact WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_fact(connection: sqlite3.Connection, name: str, fact: str) -> None:
    """Set a fact (`demo_now`, ...), durable on return."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO fact (name, fact) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET fact = excluded.fact",
            (name, fact),
        )
