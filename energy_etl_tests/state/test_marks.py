"""Marks: what was read is cleared, what came later stays."""

import subprocess
import sys
from pathlib import Path

from energy_etl.state import (
    Marks,
    open_state,
)
from energy_etl_tests.state.windows import DAY, T0, window


def test_marks_written_after_reading_stay_when_what_was_read_is_cleared(path: Path) -> None:
    with open_state(path) as connection:
        marks = Marks(connection)
        marks.mark("core", [window("a"), window("b")])
        read = marks.windows("core")
        marks.mark("core", [window("a")])

        assert marks.clear("core", read[-1].mark_id) == 2

        assert [(m.register_id, m.from_at, m.to_at) for m in marks.windows("core")] == [
            ("a", T0, T0 + DAY)
        ]


def test_an_id_is_never_given_twice_after_everything_was_cleared(path: Path) -> None:
    with open_state(path) as connection:
        marks = Marks(connection)
        marks.mark("core", [window("a")])
        read = marks.windows("core")[-1].mark_id
        marks.clear("core", read)
        marks.mark("core", [window("b")])

        assert marks.clear("core", read) == 0
        assert marks.windows("core")[0].mark_id > read


def test_clearing_some_registers_keeps_the_others(path: Path) -> None:
    with open_state(path) as connection:
        marks = Marks(connection)
        marks.mark("core", [window("a"), window("b"), window("a", 5)])
        summary = marks.summary("core")
        assert summary is not None

        assert marks.clear("core", summary.last_mark_id, ["a"]) == 2
        assert [m.register_id for m in marks.windows("core")] == ["b"]


def test_summary_spans_all_marks_of_its_stage_only(path: Path) -> None:
    with open_state(path) as connection:
        marks = Marks(connection)
        marks.mark("core", [window("a", 3), window("b", 1), window("a", 9)])
        marks.mark("mart", [window("z", 100)])

        summary = marks.summary("core")

        assert summary is not None
        assert (summary.n_marks, summary.n_registers) == (3, 2)
        assert (summary.from_at, summary.to_at) == (T0 + DAY, T0 + 10 * DAY)
        assert marks.summary("push") is None


def test_marks_survive_a_kill_right_after_the_call(path: Path) -> None:
    code = (
        "import os, sys; from datetime import UTC, datetime;"
        "from energy_etl.state import Marks, Window, connect;"
        "t = datetime(2024, 1, 1, tzinfo=UTC);"
        "Marks(connect(sys.argv[1])).mark('core', [Window('a', t, t, 'v')]);"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9

    with open_state(path) as connection:
        assert [m.register_id for m in Marks(connection).windows("core")] == ["a"]
