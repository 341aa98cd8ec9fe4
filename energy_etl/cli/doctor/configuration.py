"""What people wrote: settings and the portfolio."""

import os
from collections.abc import Iterator
from typing import Final

import polars as pl

from energy_etl.cli.doctor.rows import CONFIGURATION, Row, fail, failed_by, ok
from energy_etl.cli.doctor.subject import Subject
from energy_etl.portfolio import Portfolio
from energy_etl.settings import PREFIX, ROOT_VARIABLE
from energy_etl.tables import core, push
from energy_etl.vendors import Vendor, discover_vendors
from energy_etl.vendors.golive import planned_calls, read_consent, uncovered
from energy_etl.vendors.reach import Login

_SHOWN: Final = 3
COLLECTOR: Final = "wattics"


def check_settings(subject: Subject) -> Iterator[Row]:
    """Logins that are half set, and those that the portfolio needs and nobody set."""
    settings = subject.settings
    n_faults = 0
    for vendor in discover_vendors().values():
        for row in _login_rows(vendor, subject):
            n_faults += 1
            yield row
    if not n_faults:
        files = [name for name in (".env", "energy_etl.toml") if (settings.root / name).exists()]
        # The folder's own variable says where settings are, and sets none.
        others = os.environ.keys() - {ROOT_VARIABLE}
        is_set = any(each.upper().startswith(PREFIX) for each in others)
        sources = [*(["the environment"] if is_set else []), *files]
        read = f"read from {', '.join(sources)}" if sources else "all are defaults, nothing is set"
        yield ok("settings", f"Target {settings.target}; {read}.")


def _login_rows(vendor: Vendor, subject: Subject) -> Iterator[Row]:
    logins = logins_of(vendor, subject)
    for login in logins:
        if login.is_begun and not login.is_complete:
            yield fail(
                f"settings of {vendor.title}",
                f"{' and '.join(login.missing)} {_is(login.missing)} empty, the rest of the login "
                "is set.",
                set_advice(login.missing),
                CONFIGURATION,
            )
    if subject.portfolio is None:
        return
    if vendor.name == COLLECTOR:
        yield from _stream_rows(vendor, logins, subject.portfolio)
        return
    needed = [login for login in logins if login.is_needed]
    n_mapped = subject.portfolio.frames[core.ALIAS].filter(vendor=vendor.name).height
    if needed and n_mapped and not any(login.is_begun for login in needed):
        yield fail(
            f"settings of {vendor.title}",
            f"The portfolio names {n_mapped} things of {vendor.title}, and no login is set.",
            set_advice(needed[0].missing),
            CONFIGURATION,
        )


def _stream_rows(vendor: Vendor, logins: list[Login], portfolio: Portfolio) -> Iterator[Row]:
    known = {login.name for login in logins if login.is_complete}
    streams = portfolio.frames[push.STREAM].group_by("credential").agg(n=pl.len())
    for credential, n in streams.sort("credential").iter_rows():
        if credential not in known:
            name = f"{vendor.name}.credentials.{credential}"
            yield fail(
                f"settings of {vendor.title}",
                f"{n} streams of streams.csv are pushed by the credential {credential}, which is "
                "not in the settings.",
                set_advice((f"{name}.username", f"{name}.password")),
                CONFIGURATION,
            )


def check_consent(subject: Subject) -> Iterator[Row]:
    """On target live: did somebody agree to all that is called."""
    what, settings = "going live", subject.settings
    if not planned_calls(settings):
        return
    missing, consent = uncovered(settings), read_consent(settings.state_path)
    if missing:
        names = ", ".join(each.key for each in missing)
        told = f" {consent.sentence}" if consent is not None else ""
        yield fail(
            what,
            f"Nobody agreed to call {names}, as the settings have it now.{told} Runs that call it "
            "fail, and nothing is sent that way.",
            "Run `energy-etl golive`.",
            CONFIGURATION,
        )
    elif consent is not None:
        yield ok(what, consent.sentence)


def check_portfolio(subject: Subject) -> Iterator[Row]:
    """Every fault of the portfolio's files."""
    if subject.portfolio_error is not None:
        yield failed_by("portfolio", subject.portfolio_error)
        return
    portfolio = subject.portfolio
    if portfolio is None:
        return
    for problem in portfolio.problems[:_SHOWN]:
        yield fail(
            "portfolio",
            problem.message,
            f"Mend {problem.place} in {portfolio.folder}; what depends on it waits until then.",
            CONFIGURATION,
        )
    more = len(portfolio.problems) - _SHOWN
    if more > 0:
        yield fail(
            "portfolio",
            f"There are {more} more problems in {portfolio.folder}.",
            "See core.portfolio_problem, or mend these first and run `energy-etl doctor` again.",
            CONFIGURATION,
        )
    if not portfolio.problems:
        n = [
            f"{portfolio.frames[table].height} {table.name}s"
            for table in (core.SITE, core.METER, core.REGISTER, push.STREAM)
        ]
        yield ok("portfolio", f"{', '.join(n)} in {portfolio.folder}.")


def logins_of(vendor: Vendor, subject: Subject) -> list[Login]:
    """Return a vendor's logins by the settings; none of a vendor that does not say."""
    if vendor.reach is None:
        return []
    return vendor.reach.logins(subject.settings.section(vendor.settings))


def set_advice(names: tuple[str, ...]) -> str:
    """Say which variables to set."""
    variables = [PREFIX + name.replace(".", "__").upper() for name in names]
    return f"Set {' and '.join(variables)} in the environment or in .env."


def _is(names: tuple[str, ...]) -> str:
    return "is" if len(names) == 1 else "are"
