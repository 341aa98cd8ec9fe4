"""A small project in a folder of its own: two sites and a sandbox over HTTP."""

import atexit
import csv
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.runs import InMemoryRunStorage
from filelock import FileLock
from sqlalchemy import Connection

from energy_etl.cli.setup import prepare
from energy_etl.definitions import build_defs
from energy_etl.defs.jobs import COMPUTE_JOB, SEND_JOB
from energy_etl.defs.partitions import changed_tags, span_tags
from energy_etl.defs.resources import Etl
from energy_etl.delivery.outbox import Outbox
from energy_etl.portfolio import set_push_from
from energy_etl.sandbox.replay import Replay
from energy_etl.sandbox.server import SandboxServer
from energy_etl.sandbox.world import World, fixed_clock
from energy_etl.state import open_state
from energy_etl.warehouse import Warehouse, publish

# The folder that `conftest.py` makes for what all workers use.
SHARED_BY_WORKERS = "SHARED_BY_TEST_WORKERS"
REPOSITORY = Path(__file__).parents[2]
NOW = datetime(2026, 10, 28, 8, 0, tzinfo=UTC)
SITES = ("rome-b", "lordhowe-a")
N_DAYS = 5
# What a step tells of itself while all goes well: half of a run's events.
STEP_PROGRESS = {
    DagsterEventType.HANDLED_OUTPUT,
    DagsterEventType.LOADED_INPUT,
    DagsterEventType.STEP_INPUT,
    DagsterEventType.STEP_OUTPUT,
    DagsterEventType.STEP_START,
    DagsterEventType.STEP_SUCCESS,
}
# What the computation makes, without the checks of it.
MADE = ("core", "push", "mart", "published")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@functools.cache
def world_of(now: datetime) -> World:
    """Build a world once: it only ever answers, so projects can share it."""
    return World(now=fixed_clock(now))


@functools.cache
def prepared(portfolio: str) -> Path:
    """Prepare a folder once for all workers: a hundred tables with comments take two seconds."""
    shared = os.environ.get(SHARED_BY_WORKERS)
    if shared is None:
        shared = tempfile.mkdtemp(prefix="energy-etl-prepared-")
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    root = Path(shared) / portfolio
    with FileLock(root.with_name(f"{portfolio}.lock")):
        if not root.exists():
            made_in = root.with_name(f"{portfolio}.new")
            settings = Etl(root=str(made_in)).settings()
            shutil.copytree(REPOSITORY / "data" / portfolio, settings.portfolio_dir)
            prepare(settings)
            # The file of empty tables that each publication begins by is a second more.
            elsewhere = made_in / "elsewhere"
            publish(Etl(root=str(made_in)).warehouse(), data_dir=elsewhere)
            (settings.data_dir / "published").mkdir()
            for empty in (elsewhere / "published").glob("empty-*"):
                empty.rename(settings.data_dir / "published" / empty.name)
            shutil.rmtree(elsewhere)
            made_in.rename(root)
    return root


def instance_in_memory() -> dg.DagsterInstance:
    """Return an instance that lives as long as its object: the journeys use the real one.

    In memory, because SQLite's fsyncs are most of a small run. Over one connection to each of its
    two databases: Dagster opens one, with two PRAGMAs, for every event,
    a third of a run's CPU time.
    """
    instance = dg.DagsterInstance.ephemeral()
    events, runs = instance.event_log_storage, instance.run_storage
    assert isinstance(events, InMemoryEventLogStorage)
    assert isinstance(runs, InMemoryRunStorage)
    events._connect = functools.partial(_held, events._held_conn)
    runs.connect = functools.partial(_held, runs._held_conn)
    store = events.store_event

    def store_event(event: EventLogEntry) -> None:
        # The result of a run has these itself, and nobody asks the instance for them.
        if not (event.is_dagster_event and event.dagster_event_type in STEP_PROGRESS):
            store(event)

    events.store_event = store_event
    return instance


@contextmanager
def _held(connection: Connection) -> Iterator[Connection]:
    """Yield the connection in a transaction, in that of the caller where it has one."""
    with nullcontext() if connection.in_transaction() else connection.begin():
        yield connection


class Project:
    """One project folder with what runs in it; close it, or use it in a `with`."""

    def __init__(
        self,
        root: Path,
        *,
        now: datetime = NOW,
        sites: Sequence[str] = SITES,
        push_days: int = 3,
        copy_of: Path | None = None,
        replay: Path | None = None,
    ) -> None:
        """Begin with the example portfolio of some sites, a copy of a project, or a replay."""
        self.root, self.now = root, now
        root.mkdir(parents=True, exist_ok=True)
        truth = Replay(replay, fixed_clock(now)) if replay else world_of(now)
        self.sandbox = SandboxServer(truth)
        self.etl = Etl(root=str(root), now_at=now.isoformat(), sandbox_url=self.sandbox.url)
        self.settings = self.etl.settings()
        template = copy_of or prepared("portfolio.replay" if replay else "portfolio.example")
        shutil.copytree(template / "data", self.settings.data_dir)
        if copy_of is None:
            if not replay:
                self.keep_sites(sites)
            set_push_from(self.settings.portfolio_dir, now - timedelta(days=push_days))
        self.instance = instance_in_memory()
        self.definitions = build_defs({"etl": self.etl})

    def __enter__(self) -> "Project":
        """Start the sandbox."""
        self.sandbox.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the sandbox and leave the instance."""
        self.sandbox.stop()
        self.instance.dispose()

    def keep_sites(self, sites: Sequence[str]) -> None:
        """Drop every other site's rows from the portfolio."""
        self.edit("sites.csv", lambda row: row["site_id"] in sites)
        self.edit("tariffs.csv", lambda row: row["site_id"] in sites)
        self.edit("meters.csv", lambda row: row["site_id"] in sites)
        for file in ("registers.csv", "streams.csv"):
            self.edit(file, lambda row: row["register_id"].split(".")[0] in sites)

    def edit(self, file: str, keep: Any) -> None:
        """Rewrite a portfolio file; `keep` may change the row and says whether it stays."""
        path = self.settings.portfolio_dir / file
        with path.open(newline="", encoding="utf-8") as source:
            reader = csv.DictReader(source)
            header, rows = list(reader.fieldnames or ()), [row for row in reader if keep(row)]
        with path.open("w", newline="", encoding="utf-8") as target:
            writer = csv.DictWriter(target, header)
            writer.writeheader()
            writer.writerows(rows)

    @property
    def warehouse(self) -> Warehouse:
        """The writer's file."""
        return self.etl.warehouse()

    def run(
        self,
        job_name: str,
        tags: dict[str, str] | None = None,
        assets: Sequence[str] | None = None,
        etl: Etl | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process; a failure is told by the result."""
        definitions = build_defs({"etl": etl}) if etl else self.definitions
        result = definitions.resolve_job_def(job_name).execute_in_process(
            instance=self.instance,
            tags=tags,
            asset_selection=[dg.AssetKey(a.split(".")) for a in assets] if assets else None,
            run_config=QUIET,
            raise_on_error=False,
        )
        # pytest shows it with the assertion that fails on the result.
        print(failure_text(result))
        return result

    def extract(self, vendor: str, first_on: date, last_on: date) -> dg.ExecuteInProcessResult:
        """Fetch everything of a vendor, without the checks of its tables: each is a step more."""
        keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
        assets = [".".join(key.path) for key in keys if key.path[0] == vendor]
        return self.run(f"extract_{vendor}", span_tags(first_on, last_on), assets)

    def load(
        self, first_on: date, last_on: date, etl: Etl | None = None
    ) -> dg.ExecuteInProcessResult:
        """Fetch Wattsense's history of some days as one batch."""
        tags = span_tags(first_on, last_on)
        return self.run("extract_wattsense", tags, ["wattsense.history"], etl)

    def load_last(self, n_days: int) -> dg.ExecuteInProcessResult:
        """Fetch the days that end today."""
        last_on = self.now.date()
        return self.load(last_on - timedelta(days=n_days - 1), last_on)

    def compute(
        self, etl: Etl | None = None, *, only: Sequence[str] = ()
    ) -> dg.ExecuteInProcessResult:
        """Compute what changed, as the sensor asks for it.

        Args:
            etl: in place of the project's own.
            only: schemas or tables that are wanted, without checks: the rest is most of a run.
        """
        assets = None
        if only:
            keys = self.definitions.resolve_job_def(COMPUTE_JOB).asset_layer.selected_asset_keys
            names = {".".join(key.path): key.path[0] for key in keys}
            assets = [name for name, schema in names.items() if {name, schema} & {*only}]
        return self.run(COMPUTE_JOB, changed_tags(self.now.date()), assets, etl=etl)

    def send(self, etl: Etl | None = None) -> dg.ExecuteInProcessResult:
        """Send the outbox."""
        return self.run(SEND_JOB, etl=etl)

    def hashes(self, *schemas: str) -> dict[str, str]:
        """Return the content hash of every table of the schemas (default: all but raw)."""
        warehouse = self.warehouse
        # One connection: opening the file a hundred times takes longer than all the rest.
        with warehouse.reading() as reader:
            return {
                table.full_name: reader.table_hash(table)
                for table in warehouse.tables
                if table.schema in schemas or (not schemas and table.schema != "raw")
            }

    def count(self, state: Any) -> int:
        """Count the outbox's packets of a state."""
        with open_state(self.settings.state_path) as connection:
            return Outbox(connection).count(state)


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """Return what a failed run says, the causes included."""
    texts: list[str] = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                texts.append(data.user_failure_data.description)
            error = data.error
            while error:
                texts.append(error.message)
                error = error.cause
    return "\n".join(texts)


def warnings_of(project: Project, result: dg.ExecuteInProcessResult) -> str:
    """Return the warnings that a run logged."""
    return "\n".join(
        entry.user_message
        for entry in project.instance.all_logs(result.run_id)
        if entry.level == 30
    )
