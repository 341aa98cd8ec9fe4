"""The whole examination: every check, whatever state the project is in."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from energy_etl.cli.doctor.alerts import check_webhook
from energy_etl.cli.doctor.configuration import (
    check_consent,
    check_portfolio,
    check_settings,
)
from energy_etl.cli.doctor.delivery import check_streams
from energy_etl.cli.doctor.instance import check_dagster, new_instance_advice
from energy_etl.cli.doctor.machine import (
    check_data,
    check_disk,
    check_files,
    check_versions,
    check_zones,
)
from energy_etl.cli.doctor.rows import UNADVISED, Row, failed_by
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
        return [_settings_row(error, root), *rows], is_complete
    subject = Subject.look(settings, is_offline=is_offline)
    return run_checks(checks_of(subject))


def _settings_row(error: ConfigurationError, root: Path) -> Row:
    row = failed_by("settings", error)
    if row.next_step != UNADVISED:
        return row
    advice = (
        f"Mend it in the environment, in .env or in energy_etl.toml of {root}; README, "
        "Configuration, tells every setting."
    )
    return replace(row, next_step=advice)


def checks_of(subject: Subject) -> list[Check]:
    """Return every check of a project whose settings can be read, in the order of the rows."""
    settings, portfolio = subject.settings, subject.portfolio
    zones = tuple(portfolio.frames[core.SITE]["zone"].unique().sort()) if portfolio else ()
    new_instance = new_instance_advice(settings.dagster_home)
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
        Check("going live", lambda: check_consent(subject)),
        *vendor_checks(subject),
        Check("delivery", lambda: check_streams(subject)),
        Check("webhook", lambda: check_webhook(subject), is_call=True),
    ]
