"""The whole examination: every check, whatever state the project is in."""

import os
from datetime import UTC, datetime
from pathlib import Path

from energy_etl.cli.doctor.configuration import check_portfolio, check_settings
from energy_etl.cli.doctor.delivery import check_streams
from energy_etl.cli.doctor.instance import check_dagster
from energy_etl.cli.doctor.machine import (
    check_data,
    check_disk,
    check_files,
    check_versions,
    check_zones,
)
from energy_etl.cli.doctor.rows import Row, failed_by
from energy_etl.cli.doctor.running import Check, run_checks
from energy_etl.cli.doctor.storage import check_state, check_warehouse
from energy_etl.cli.doctor.subject import Subject
from energy_etl.cli.doctor.vendors import vendor_checks
from energy_etl.errors import ConfigurationError
from energy_etl.settings import ROOT_VARIABLE
from energy_etl.tables import core
from energy_etl.vendors import project_settings


def examine(*, is_offline: bool) -> tuple[list[Row], bool]:
    """Run every check.

    Args:
        is_offline: nobody is called.

    Returns:
        The rows, and whether every check has ended.
    """
    try:
        settings = project_settings()
    except ConfigurationError as error:
        # What needs no settings is told all the same.
        root = Path(os.environ.get(ROOT_VARIABLE) or Path.cwd()).resolve()
        rows, is_complete = run_checks(
            [
                Check("versions", check_versions),
                Check("zone data", lambda: check_zones((), datetime.now(UTC))),
                Check("file permissions", lambda: check_files(root, None)),
            ]
        )
        return [failed_by("settings", error), *rows], is_complete
    subject = Subject.look(settings, is_offline=is_offline)
    return run_checks(checks_of(subject))


def checks_of(subject: Subject) -> list[Check]:
    """Return every check of a project whose settings can be read, in the order of the rows."""
    settings, portfolio = subject.settings, subject.portfolio
    zones = tuple(portfolio.frames[core.SITE]["zone"].unique().sort()) if portfolio else ()
    new_instance = (
        f"Stop what runs, move {settings.dagster_home} away and run `energy-etl init`: the history "
        "of runs is lost, no reading is."
    )
    return [
        Check("versions", check_versions),
        Check("zone data", lambda: check_zones(zones, subject.now)),
        Check("settings", lambda: check_settings(subject)),
        Check("file permissions", lambda: check_files(settings.root, settings)),
        Check("data folder", lambda: check_data(subject)),
        Check("disk space", lambda: check_disk(subject)),
        Check("portfolio", lambda: check_portfolio(subject)),
        Check("warehouse", lambda: check_warehouse(subject)),
        Check("state file", lambda: check_state(subject)),
        Check("Dagster instance", lambda: check_dagster(subject), new_instance),
        *vendor_checks(subject),
        Check("delivery", lambda: check_streams(subject)),
    ]
