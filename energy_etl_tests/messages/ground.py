"""What a case of the walk is, and what it may change before its command is typed."""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import energy_etl
from energy_etl import settings
from energy_etl.cli.up import locked_home
from energy_etl.delivery import Outbox
from energy_etl.state import open_state
from energy_etl_tests.delivery.sending import fill
from energy_etl_tests.rest.raw_server import RawServer, answer

FED, GAS, MAINS, WAITING, OTHER = "dp-of-a-register", "dp-gas", "dp-mains", "dp-waits", "dp-third"
STREAMS = f"""\
stream_id,register_id,field,content,interval_minutes,credential,push_from_at,estimates,is_historical,zone
{FED},rome-a.grid_import,pC_1,cumulative_wh,15,main,,,,
{GAS},,value,file,15,main,2024-01-01T00:00:00Z,,,Europe/Rome
{MAINS},,pC_1,file,15,second,,,,America/New_York
{OTHER},,value,file,15,third,,,,Europe/Rome
"""
FAULTY = f"{STREAMS}{WAITING},,value,file,15,main,,,,Nowhere/At_All\n"


@dataclass
class Ground:
    """What a case may change before its command is typed.

    Attributes:
        root: the project's folder.
        closed_url: an address at which nobody listens.
        patch: undoes what was set.
        stack: ends what was begun.
    """

    root: Path
    closed_url: str
    patch: pytest.MonkeyPatch
    stack: contextlib.ExitStack

    def env(self, name: str, value: str) -> None:
        """Give a setting."""
        self.patch.setenv(f"ENERGY_ETL_{name}", value)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


Plant = Callable[[Ground], None]


@dataclass(frozen=True)
class Case:
    """One message.

    Attributes:
        module: where it is made, below `energy_etl/`.
        starts: see `Row.starts`.
        command: what is typed; `{root}` is the project's folder.
        plant: what is wrong beforehand.
        needs: what must be there: `files` (a portfolio alone), `nothing` (an empty folder),
            `project` (what `energy-etl init` makes), `published` (figures to read).
        answers: what is typed when asked.
        code: the exit code where it is not that of the error's class.
    """

    module: str
    starts: str
    command: str
    plant: Plant | None = None
    needs: str = "files"
    answers: str = ""
    code: int | None = None


def env(name: str, value: str) -> Plant:
    """Return what gives a setting."""
    return lambda ground: ground.env(name, value)


def file(name: str, content: str | bytes) -> Plant:
    """Return what writes a file of the project."""
    return lambda ground: ground.write(name, content)


def both(*plants: Plant) -> Plant:
    """Return what does one after the other."""

    def plant(ground: Ground) -> None:
        for each in plants:
            each(ground)

    return plant


def closed(ground: Ground) -> None:
    """Let nobody listen where the vendors should."""
    ground.env("SANDBOX_URL", ground.closed_url)


def held(ground: Ground) -> None:
    """Hold the folder as `energy-etl up` does."""
    ground.stack.enter_context(locked_home(ground.root / "data" / "dagster_home"))


def two_packets(ground: Ground) -> None:
    """Put two packets into an outbox."""
    with open_state(ground.root / "data" / "state.sqlite") as connection:
        fill(Outbox(connection), GAS, 3)


def unpacked(ground: Ground) -> None:
    """Let no examples stand beside the sources."""
    ground.patch.setattr(energy_etl, "__file__", str(ground.root / "energy_etl" / "__init__.py"))


def no_such_day(ground: Ground) -> None:
    """Write a date that no month has."""
    path = ground.root / "data" / "portfolio" / "tariffs.csv"
    path.write_text(re.sub(r"\d{4}-\d\d-\d\d", "2024-13-01", path.read_text(), count=1))


def unreadable(ground: Ground) -> None:
    """Let the settings belong to somebody else; root, who may run this, is stopped by no mode."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    ground.patch.setattr(settings, "dotenv_values", refuse)


def last_to_come(ground: Ground) -> None:
    """Let the vendor's last packet be of another time."""
    body = b'{"id": "x", "tsISO8601": "2999-01-01T00:00:00.000+00:00", "value": 1}'
    server = ground.stack.enter_context(RawServer.answering(answer(200, body)))
    ground.env("SANDBOX_URL", server.url)


def ini(text: str) -> Plant:
    return file("a.ini", text)
