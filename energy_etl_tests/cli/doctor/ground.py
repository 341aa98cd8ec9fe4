"""Where faults are planted: a well project in a folder of its own, vendors on 127.0.0.1."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from energy_etl.cli.doctor.examination import checks_of
from energy_etl.cli.doctor.rows import Row, worst_code
from energy_etl.cli.doctor.running import run_checks
from energy_etl.cli.doctor.subject import Subject
from energy_etl.delivery import Outbox
from energy_etl.delivery.acks import Confirmed, Event, Sent, apply
from energy_etl.delivery.frontier import release
from energy_etl.sandbox import SandboxServer
from energy_etl.settings import PREFIX, Settings
from energy_etl.state import open_state
from energy_etl.vendors import project_settings
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp_ms

# A stream of the small portfolio.
STREAM = "dp-06a1a73248"
# Loaded machines: how long a check may take is tested by itself.
PATIENCE_S = 60.0


@dataclass
class Ground:
    """One project folder; `stack` takes what was planted away again."""

    root: Path
    sandbox: SandboxServer
    monkeypatch: pytest.MonkeyPatch
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.root / "data"

    @property
    def settings(self) -> Settings:
        """The settings as a command reads them."""
        return project_settings()

    def env(self, name: str, value: str) -> None:
        """Set a setting by its variable."""
        self.monkeypatch.setenv(PREFIX + name, value)

    def look(self, what: str, *, is_offline: bool = False) -> tuple[list[Row], int]:
        """Run the checks of one name; return their rows and the exit code."""
        subject = Subject.look(self.settings, is_offline=is_offline)
        checks = [check for check in checks_of(subject) if check.what == what]
        assert checks, f"no check is called {what}"
        rows, is_complete = run_checks(checks, limit_s=PATIENCE_S)
        assert is_complete
        return rows, worst_code(rows)

    def post(self, control: str, **wish: object) -> None:
        """Tell the sandbox something."""
        httpx.post(f"{self.sandbox.url}/_sandbox/{control}", json=wish).raise_for_status()

    def password(self, account: str, wrong: str, right: str) -> None:
        """Change a password at the vendor until the end of the test."""
        self.post("passwords", account=account, password=wrong)
        self.stack.callback(self.post, "passwords", account=account, password=right)

    def fault(self, **wish: object) -> None:
        """Plant a fault of the sandbox."""
        self.post("faults", **wish)
        self.stack.callback(httpx.delete, f"{self.sandbox.url}/_sandbox/faults")

    @contextlib.contextmanager
    def outbox(self) -> Iterator[Outbox]:
        """Open the outbox."""
        with open_state(self.settings.state_path) as connection:
            yield Outbox(connection)

    def deliver(self, stream_id: str, *numbers: int) -> None:
        """Fill a stream with packets and have some of them accepted and confirmed."""
        with self.outbox() as outbox:
            agreed = plan(stream_id)
            outbox.fill(packets(stream_id, [1, 2, 3]), [agreed], now=NOW)
            release(outbox, [agreed], [], NOW)
            events: list[Event] = [
                Sent(stream_id, stamp_ms(n), body(stream_id, n), 200, 1) for n in numbers
            ]
            if numbers:
                events.append(Confirmed(stream_id, stamp_ms(numbers[-1])))
            apply(outbox, events, NOW)


@contextlib.contextmanager
def ground_in(
    root: Path, template: Path, sandbox: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ground]:
    """Copy a project and take what is planted in it away again."""
    shutil.copytree(template / "data", root / "data")
    (root / "data" / "tokens").chmod(0o700)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv(f"{PREFIX}ROOT", str(root))
    monkeypatch.setenv(f"{PREFIX}SANDBOX_URL", sandbox.url)
    ground = Ground(root, sandbox, monkeypatch)
    with ground.stack:
        yield ground


def row_of(rows: list[Row], what: str) -> Row:
    """Return the only row of a name."""
    found = [row for row in rows if row.what == what]
    assert len(found) == 1, rows
    return found[0]


def expect(row: Row, verdict: str, cause: str, next_step: str) -> None:
    """Compare a row; cause and next step are patterns."""
    assert row.verdict == verdict, row
    assert re.search(cause, row.cause), row
    assert re.search(next_step, row.next_step), row
    assert bool(row.next_step) == (row.verdict != "ok"), row


def now() -> datetime:
    """Return the clock's instant, which doctor judges by."""
    return datetime.now(UTC)
