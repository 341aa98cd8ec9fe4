"""Which processes hold a file or belong to a project: read from /proc, nothing is locked or asked.

Trying a lock to learn who has it would take it for a moment from whoever wants it then. Where
there is no /proc nothing is found.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_SHOWN: Final = 80
_OURS: Final = ("energy_etl", "energy-etl", "dagster")


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        command: the start of its command line, up to the first option but `-m` (what follows may
            be secret).
        started_at: when it started; None: not known.
        is_ours: True for runs, the daemon and commands of this project's kind.
    """

    pid: int
    command: str
    started_at: datetime | None
    is_ours: bool

    @property
    def told(self) -> str:
        """Say which it is, and since when."""
        since = f", since {self.started_at:%Y-%m-%d %H:%M} UTC" if self.started_at else ""
        return f"process {self.pid} ({self.command or 'of an unknown program'}{since})"


def lock_holders(path: Path) -> list[Process]:
    """Return the processes that hold a lock on a file, of whatever kind."""
    try:
        inode = path.stat().st_ino
        locks = (_PROC / "locks").read_text(encoding="ascii")
    except OSError:
        return []
    # `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; a line with `->` waits for the lock.
    found = re.findall(rf"^\d+: \w+ +\w+ +\w+ (\d+) \S+:{inode} ", locks, re.MULTILINE)
    # 0: a process outside of this container, of which nothing can be told.
    pids = [int(pid) for pid in dict.fromkeys(found) if pid != "0"]
    return [process_of(pid) for pid in pids if _may_have_open(pid, path)]


def process_of(pid: int) -> Process:
    """Return what is known of a process."""
    words = _words(pid)
    shown = [" ".join(word.split()) for word in takewhile(_is_shown, words)]
    is_ours = any(Path(word).name.startswith(_OURS) for word in words[:2]) or any(
        flag == "-m" and module.startswith(_OURS) for flag, module in pairwise(words)
    )
    return Process(pid, " ".join(shown).strip()[:_SHOWN], _started_at(pid), is_ours)


def daemons_of(dagster_home: Path) -> list[Process]:
    """Return the Dagster daemons that run on a home."""
    home = dagster_home.resolve()
    return [
        process_of(pid)
        for pid in _pids()
        if _is_daemon(_words(pid)) and _variable(pid, "DAGSTER_HOME") == str(home)
    ]


def running_sandbox_url(state_dir: Path) -> str | None:
    """Return the address of the sandbox that keeps its state in a folder; None: none runs."""
    for pid in _pids():
        words = _words(pid)
        if "sandbox" in words and _option(words, "--state-dir") == str(state_dir):
            port = _option(words, "--port")
            return f"http://127.0.0.1:{port}" if port else None
    return None


def _may_have_open(pid: int, path: Path) -> bool:
    """False when it surely has not: another disk may have a file of the same number."""
    try:
        files = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        # Somebody else's process.
        return True
    for file in files:
        with contextlib.suppress(OSError):
            if file.samefile(path):
                return True
    return False


def _is_shown(word: str) -> bool:
    return not word.startswith("-") or word == "-m"


def _is_daemon(words: list[str]) -> bool:
    is_module = ("-m", "dagster._daemon") in pairwise(words)
    return is_module or any(Path(word).name == "dagster-daemon" for word in words[:2])


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _words(pid: int) -> list[str]:
    try:
        text = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return []
    return text.rstrip("\0").split("\0")


def _option(words: list[str], name: str) -> str | None:
    return next((after for word, after in pairwise(words) if word == name), None)


def _variable(pid: int, name: str) -> str | None:
    try:
        text = (_PROC / str(pid) / "environ").read_bytes().decode(errors="replace")
    except OSError:
        return None
    pairs = (line.partition("=") for line in text.split("\0"))
    value = next((value for key, _, value in pairs if key == name), None)
    return None if value is None else str(Path(value).resolve())


def _started_at(pid: int) -> datetime | None:
    try:
        # The command name stands in parentheses and may hold spaces.
        ticks = (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[19]
        booted = re.search(r"^btime (\d+)", (_PROC / "stat").read_text(), re.MULTILINE)
    except (OSError, IndexError):
        return None
    if booted is None:
        return None
    since_boot_s = int(ticks) / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(int(booted.group(1)) + since_boot_s, UTC)
