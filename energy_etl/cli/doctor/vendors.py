"""The vendors: does each login work, does each answer, and does its clock agree with ours."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from energy_etl.cli.doctor.configuration import logins_of, set_advice
from energy_etl.cli.doctor.rows import CONFIGURATION, Row, fail, failed_by, ok, warn
from energy_etl.cli.doctor.running import Check
from energy_etl.cli.doctor.subject import Subject
from energy_etl.errors import EnergyEtlError, RateLimitedError, VendorError
from energy_etl.quota import quota_use
from energy_etl.tables import push
from energy_etl.vendors import Vendor, discover_vendors
from energy_etl.vendors.reach import Budget, Known, Login, Trial

# A `Date` has whole seconds, and the answer was on its way.
_SKEW_TOLD: Final = timedelta(seconds=30)
# From here on Wattsense refuses signatures; stamps of packets and ends of tokens are off as well.
_SKEW_FAILS: Final = timedelta(seconds=240)


def vendor_checks(subject: Subject) -> Iterator[Check]:
    """Return a check for each vendor, and one for each of its logins when several are tried."""
    # A client makes a state file where there is none; here nothing is made.
    is_asked = not subject.is_offline and subject.settings.state_path.exists()
    if is_asked and not subject.is_sandbox_expected:
        yield Check("sandbox", lambda: [_no_sandbox(subject)])
        is_asked = False
    for vendor in discover_vendors().values():
        if vendor.reach is None:
            yield Check(
                vendor.title,
                lambda vendor=vendor: [ok(vendor.title, "Its folder does not say how to try it.")],
            )
            continue
        logins = {login.name: login for login in logins_of(vendor, subject)}
        if not any(login.is_complete for login in logins.values()):
            yield Check(
                vendor.title, lambda vendor=vendor, logins=logins: [_unset(vendor, logins.values())]
            )
            continue
        trials = vendor.reach.trials(subject.settings, _known(vendor, subject)) if is_asked else []
        tried = {trial.login for trial in trials}
        for trial in trials:
            yield Check(
                _name(vendor, trial.login),
                lambda vendor=vendor, trial=trial: _try(subject, vendor, trial),
                is_call=True,
            )
        for login in logins.values():
            if login.is_complete and login.name not in tried:
                yield Check(
                    _name(vendor, login.name),
                    lambda vendor=vendor, login=login, is_asked=is_asked: _not_asked(
                        subject, vendor, login, is_asked
                    ),
                )


def _name(vendor: Vendor, login: str) -> str:
    return f"{vendor.title} {login}".strip()


def _no_sandbox(subject: Subject) -> Row:
    return warn(
        "sandbox",
        f"No sandbox runs for {subject.settings.root}, so no vendor was asked.",
        "Run `energy-etl up`, which starts it.",
    )


def _unset(vendor: Vendor, logins: Iterable[Login]) -> Row:
    needed = [login for login in logins if login.is_needed]
    if any(login.is_begun for login in needed):
        return fail(
            vendor.title,
            "Its login is half set, so it was not asked.",
            set_advice(needed[0].missing),
            CONFIGURATION,
        )
    return ok(vendor.title, "Not configured.")


def _known(vendor: Vendor, subject: Subject) -> Known:
    if subject.portfolio is None:
        return Known()
    frames = subject.portfolio.frames
    meters = subject.portfolio.used_aliases().filter(vendor=vendor.name, thing="meter")
    streams = frames[push.STREAM].sort("stream_id", descending=True)
    return Known(
        tuple(meters["vendor_id"].sort()),
        dict(streams.select("credential", "stream_id").iter_rows()),
    )


def _not_asked(subject: Subject, vendor: Vendor, login: Login, is_asked: bool) -> Iterator[Row]:
    # Without a sandbox there is nobody whose consent could be told of.
    stored = list(_stored(subject, vendor)) if subject.is_sandbox_expected else []
    if stored:
        yield from stored
        return
    why = "nothing of the portfolio can be asked for" if is_asked else "not asked"
    yield ok(_name(vendor, login.name), f"Its login is set; {why}.")


def _stored(subject: Subject, vendor: Vendor) -> Iterator[Row]:
    """Tell what is known of a login without a call."""
    if vendor.reach is None or vendor.reach.check_stored is None:
        return
    if not subject.settings.data_dir.is_dir():
        # Looking into the token folder would make it.
        return
    try:
        vendor.reach.check_stored(subject.settings)
    except EnergyEtlError as error:
        yield failed_by(vendor.title, error)


def _try(subject: Subject, vendor: Vendor, trial: Trial) -> Iterator[Row]:
    what = _name(vendor, trial.login)
    stored = list(_stored(subject, vendor))
    if stored:
        # The call could only say the same, or renew in vain.
        yield from stored
        return
    budget = _used_up(subject, vendor)
    if budget is not None:
        yield budget
        return
    asked_at = datetime.now(UTC)
    try:
        server_at = trial.ask()
    except RateLimitedError as error:
        yield warn(what, str(error), "Wait, then run `energy-etl doctor` again.")
        return
    except VendorError as error:
        yield from _clock(what, error.server_at, asked_at)
        yield failed_by(what, error)
        return
    took_ms = (datetime.now(UTC) - asked_at) / timedelta(milliseconds=1)
    yield from _clock(what, server_at, asked_at)
    yield ok(what, f"{trial.what} was answered in {took_ms:.0f} ms.")


def _used_up(subject: Subject, vendor: Vendor) -> Row | None:
    for budget in budgets_of(vendor, subject):
        use = quota_use(
            subject.settings.state_path, budget.name, budget.window_s, subject.now.timestamp()
        )
        if use.pause_s or use.n_used >= budget.limit:
            why = (
                f"it asked for a pause of another {use.pause_s:.0f} s"
                if use.pause_s
                else f"the budget of {budget.limit} {budget.what} in {budget.window_s:g} s is used "
                "up"
            )
            return warn(
                vendor.title, f"Not asked: {why}.", "Wait, then run `energy-etl doctor` again."
            )
    return None


def budgets_of(vendor: Vendor, subject: Subject) -> list[Budget]:
    """Return a vendor's budgets by the settings; none of a vendor that does not say."""
    if vendor.reach is None:
        return []
    return vendor.reach.budgets(subject.settings.section(vendor.settings))


def _clock(what: str, server_at: datetime | None, asked_at: datetime) -> Iterator[Row]:
    """Compare clocks; our time is the middle of the call."""
    if server_at is None:
        return
    ours = asked_at + (datetime.now(UTC) - asked_at) / 2
    skew = server_at - ours
    if abs(skew) <= _SKEW_TOLD:
        return
    told = f"This machine's clock is {abs(skew).total_seconds():,.0f} s "
    told += f"{'behind' if skew > timedelta() else 'ahead of'} {what}'s."
    advice = "Set the clock by NTP (`timedatectl set-ntp true`)."
    if abs(skew) > _SKEW_FAILS:
        yield fail(f"clock beside {what}", f"{told} Signatures, tokens and stamps suffer.", advice)
    else:
        yield warn(f"clock beside {what}", told, advice)
