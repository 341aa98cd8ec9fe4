"""What a project folder needs before anything runs: folders, state, instance, portfolio."""

import shutil
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import energy_etl
from energy_etl.defs.instance import create_instance
from energy_etl.defs.warehouse import project_warehouse
from energy_etl.errors import ConfigurationError, EnergyEtlError, UsageError
from energy_etl.portfolio import set_push_from, write_proposal
from energy_etl.settings import Settings
from energy_etl.state import get_fact, open_state, set_fact
from energy_etl.vendors import discover_vendors

EXAMPLE_PORTFOLIO = "portfolio.example"
REPLAY_PORTFOLIO = "portfolio.replay"
SEEDED_WORLD = "seeded"
_WORLD_FACT = "sandbox_world"


def prepare(
    settings: Settings, *, replay: Path | None = None, push_from_at: datetime | None = None
) -> None:
    """Make what is missing, once, before anything starts in parallel; the rest is left alone.

    Args:
        settings: of the project.
        replay: as `claim_world` says; it decides which example becomes the portfolio, on the
            sandbox only.
        push_from_at: where streams of the example start; None: at their first packet.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    settings.token_dir.mkdir(mode=0o700, exist_ok=True)
    with open_state(settings.state_path):
        pass
    create_instance(settings.dagster_home)
    project_warehouse(settings).create()
    if settings.target == "sandbox" and not settings.portfolio_dir.exists():
        _copy_example(settings, REPLAY_PORTFOLIO if replay else EXAMPLE_PORTFOLIO)
        if push_from_at is not None:
            set_push_from(settings.portfolio_dir, push_from_at)


def claim_world(settings: Settings, replay: Path | None) -> Path | None:
    """Settle which world this folder's sandbox serves, at its first run for good.

    Args:
        settings: of the project.
        replay: a folder of real registers; None: what the folder holds, else the seeded world.

    Returns:
        The folder to replay, None for the seeded world.

    Raises:
        ConfigurationError: the folder holds the readings of another world.
        UsageError: there are no registers to replay; nothing is settled.
    """
    from energy_etl.sandbox.replay import FILE_NAME

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    wanted = str(replay.resolve()) if replay else None
    with open_state(settings.state_path) as connection:
        held = get_fact(connection, _WORLD_FACT)
        if held is None:
            if replay and not (replay / FILE_NAME).is_file():
                raise UsageError(
                    f"{replay} holds no {FILE_NAME}: name the folder of the Open Power System Data "
                    "file."
                )
            held = wanted or SEEDED_WORLD
            set_fact(connection, _WORLD_FACT, held)
    if wanted is not None and wanted != held:
        raise ConfigurationError(
            f"{settings.data_dir} holds the readings of another world ({held}): run this one in a "
            "fresh clone, or with ENERGY_ETL_ROOT set to another folder."
        )
    return None if held == SEEDED_WORLD else Path(held)


def today_at() -> datetime:
    """Return the start of the UTC day: what a project without history pushes from."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _copy_example(settings: Settings, example: str) -> None:
    source = settings.data_dir / example
    if not source.is_dir():
        # A project in a folder of its own: the examples stand beside the sources.
        source = Path(energy_etl.__file__).resolve().parents[1] / "data" / example
    if not source.is_dir():
        raise ConfigurationError(
            f"{source} is missing, so there is no portfolio to start from: "
            "restore it with `git checkout data`."
        )
    # By way of a second name, so that a half-copied portfolio is never taken for a whole one.
    temporary = settings.portfolio_dir.with_name("portfolio.new")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary)
    temporary.rename(settings.portfolio_dir)


def discover_portfolio(settings: Settings) -> int:
    """Ask every vendor that lists something and append what nobody mapped; return the rows.

    A vendor that cannot be asked (no credential yet, no consent) is told on stderr.

    Raises:
        EnergyEtlError: no vendor could be asked.
    """
    n_rows = n_asked = 0
    failures: list[EnergyEtlError] = []
    for vendor in discover_vendors().values():
        if vendor.fetch_listing is None or vendor.propose is None or vendor.to_batch is None:
            continue
        n_asked += 1
        try:
            calls = vendor.fetch_listing(settings)
        except EnergyEtlError as error:
            # What is not set up yet must not cost the other vendors' rows.
            failures.append(error)
            print(f"Nothing is proposed for {vendor.title}: {error}", file=sys.stderr)
            continue
        proposal = vendor.propose(vendor.to_batch(calls))
        added = write_proposal(settings.portfolio_dir, asdict(proposal))
        n_rows += sum(len(ids) for ids in added.values())
    if failures and len(failures) == n_asked:
        raise failures[0]
    return n_rows
