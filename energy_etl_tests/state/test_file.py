"""The state file itself: opened by many, held, full, damaged; and its instants."""

import sqlite3
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_etl.errors import WarehouseError, WarehouseLockedError
from energy_etl.state import (
    Marks,
    connect,
    get_fact,
    instant_to_us,
    open_state,
    set_fact,
    transaction,
    us_to_instant,
)
from energy_etl_tests.state.windows import window


def test_first_opening_by_many_threads_at_once_works_for_all(path: Path) -> None:
    failures: list[Exception] = []

    def mark(number: int) -> None:
        try:
            with open_state(path) as connection:
                Marks(connection).mark("core", [window(f"r{number}")])
        except WarehouseError as error:
            failures.append(error)

    threads = [threading.Thread(target=mark, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    with open_state(path) as connection:
        assert {m.register_id for m in Marks(connection).windows("core")} == {
            f"r{n}" for n in range(8)
        }


def test_state_file_is_wal_with_full_sync(path: Path) -> None:
    with open_state(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_lock_held_by_somebody_else_is_one_sentence_and_writes_nothing(path: Path) -> None:
    with open_state(path) as holder, transaction(holder):
        impatient = connect(path, busy_timeout_s=0.05)
        with pytest.raises(WarehouseLockedError, match="nothing was written") as caught:
            Marks(impatient).mark("core", [window("a")])
        impatient.close()
    assert str(path) in str(caught.value)
    assert caught.value.is_retryable
    with open_state(path) as connection:
        assert Marks(connection).windows("core") == []


def test_a_file_that_is_no_database_is_named(path: Path) -> None:
    path.write_bytes(b"this is a text, not a database\n" * 100)
    with pytest.raises(WarehouseError, match="cannot be used as the state file"):
        connect(path)


def _change_and_fail(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.execute("UPDATE fact SET fact = 'changed'")
        raise RuntimeError("half-way")


def test_what_sqlite_refuses_while_the_file_is_open_is_told_in_our_words(path: Path) -> None:
    with (
        pytest.raises(WarehouseError, match="cannot be used as the state file"),
        open_state(path) as connection,
    ):
        connection.execute("SELECT * FROM nothing")


def test_a_failure_within_a_transaction_takes_all_of_it_back(path: Path) -> None:
    with open_state(path) as connection:
        set_fact(connection, "now_pinned", "2024-01-01")
        with pytest.raises(RuntimeError, match="half-way"):
            _change_and_fail(connection)
        assert get_fact(connection, "now_pinned") == "2024-01-01"
        assert not connection.in_transaction


def test_a_full_disk_is_told_and_the_file_goes_on_afterwards(path: Path) -> None:
    with open_state(path) as connection:
        marks = Marks(connection)
        marks.mark("core", [window("a")])
        connection.execute("PRAGMA max_page_count=1")  # never below what is there
        with pytest.raises(WarehouseError, match=r"disk of .* is full"):
            marks.mark("core", [window("b" * 1000, n) for n in range(100)])
        connection.execute("PRAGMA max_page_count=100000")
        marks.mark("core", [window("c")])
        assert [m.register_id for m in marks.windows("core")] == ["a", "c"]


def test_connection_is_closed_at_the_end_of_open_state(path: Path) -> None:
    with open_state(path) as connection:
        pass
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        instant_to_us(datetime(2024, 1, 1))


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)),
    st.integers(min_value=-14 * 60, max_value=14 * 60),
)
def test_instants_come_back_exactly_in_utc(local: datetime, offset_minutes: int) -> None:
    instant = local.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    back = us_to_instant(instant_to_us(instant))
    assert back == instant
    assert back.utcoffset() == timedelta(0)
