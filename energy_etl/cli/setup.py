"""What a project folder needs before anything runs: folders, state, instance, portfolio."""

import shutil
from dataclasses import asdict
from datetime import UTC, datetime

from energy_etl.defs.instance import create_instance
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import set_push_from, write_proposal
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.vendors import all_tables, discover_vendors
from energy_etl.warehouse import Warehouse

EXAMPLE_PORTFOLIO = "portfolio.example"
REPLAY_PORTFOLIO = "portfolio.replay"


def prepare(
    settings: Settings, *, example: str = EXAMPLE_PORTFOLIO, push_from_at: datetime | None = None
) -> None:
    """Make what is missing, once, before anything starts in parallel; the rest is left alone.

    Args:
        settings: of the project.
        example: folder under data/ that becomes the portfolio, on the sandbox only.
        push_from_at: where streams of the example start; None: at their first packet.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    settings.token_dir.mkdir(mode=0o700, exist_ok=True)
    with open_state(settings.state_path):
        pass
    create_instance(settings.dagster_home)
    Warehouse(settings.warehouse_path, all_tables(), lock_wait_s=settings.lock_wait_s).create()
    if settings.target == "sandbox" and not settings.portfolio_dir.exists():
        _copy_example(settings, example)
        if push_from_at is not None:
            set_push_from(settings.portfolio_dir, push_from_at)


def today_at() -> datetime:
    """Return the start of the UTC day: what a project without history pushes from."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _copy_example(settings: Settings, example: str) -> None:
    source = settings.data_dir / example
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

    Raises:
        VendorError: a vendor could not be asked.
    """
    n_rows = 0
    for vendor in discover_vendors().values():
        if vendor.fetch_listing is not None and vendor.propose is not None:
            calls = vendor.fetch_listing(settings)
            if vendor.to_batch is not None:
                proposal = vendor.propose(vendor.to_batch(calls))
                added = write_proposal(settings.portfolio_dir, asdict(proposal))
                n_rows += sum(len(ids) for ids in added.values())
    return n_rows
