"""What `energy-etl golive` shows: who would be called as whom and how often, and what would go out.

Read from settings, portfolio and outbox; nobody is called.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import dagster as dg
import polars as pl

from energy_etl.defs.dry_run import look_ahead
from energy_etl.defs.resources import Etl
from energy_etl.defs.switching import Switch, Switchboard
from energy_etl.delivery.dry_run import StreamOutlook
from energy_etl.errors import ConfigurationError
from energy_etl.portfolio import Portfolio
from energy_etl.settings import Settings
from energy_etl.tables import core, push
from energy_etl.vendors import Vendor, discover_vendors
from energy_etl.vendors.golive import (
    Called,
    Consent,
    plan_hash,
    planned_calls,
    read_consent,
)
from energy_etl.vendors.reach import Budget, Scheduled
from energy_etl.vendors.wattics.settings import WatticsSettings
from energy_etl.vendors.wattics.wire import SINGLE_FIELD

_HOURLY_RUNS: Final = 24


@dataclass(frozen=True)
class VendorPlan:
    """One vendor with a login.

    Attributes:
        vendor: its name.
        title: its name for people.
        reads: what its scheduled runs read.
        calls_a_day: about how many calls these make; None: its folder does not say.
        budgets: what our quotas allow.
        logins: each, and whether somebody agreed to it.
    """

    vendor: str
    title: str
    reads: str
    calls_a_day: int | None
    budgets: tuple[Budget, ...]
    logins: tuple[tuple[Called, bool], ...]

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "vendor": self.vendor,
            "title": self.title,
            "reads": self.reads,
            "calls_a_day": self.calls_a_day,
            "quotas": [
                {"what": b.what, "limit": b.limit, "window_s": b.window_s, "a_day": b.a_day}
                for b in self.budgets
            ],
            "logins": [
                {
                    "login": called.login or None,
                    "addresses": list(called.addresses),
                    "account": called.account,
                    "missing": list(called.missing),
                    "is_agreed": is_agreed,
                }
                for called, is_agreed in self.logins
            ],
        }


@dataclass(frozen=True)
class PushPlan:
    """What one credential set would push.

    Attributes:
        credential: its name in streams.csv.
        collector: where to.
        n_streams: streams of the stream map that it pushes.
        first_at: the earliest `push_from_at`; None: none has one.
        n_from_first: streams without `push_from_at`: they begin with their first packet.
        packets_a_day: by the agreed intervals.
        n_due: packets that a send run would send now.
        n_waiting: packets that would wait.
        waits: what they wait for, a sentence per stream.
    """

    credential: str
    collector: str
    n_streams: int
    first_at: datetime | None
    n_from_first: int
    packets_a_day: int
    n_due: int
    n_waiting: int
    waits: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {
            "credential": self.credential,
            "collector": self.collector,
            "n_streams": self.n_streams,
            "first_packets_from_at": self.first_at.isoformat() if self.first_at else None,
            "n_streams_from_their_first_packet": self.n_from_first,
            "packets_a_day": self.packets_a_day,
            "n_due": self.n_due,
            "n_waiting": self.n_waiting,
            "waits": list(self.waits),
        }


@dataclass(frozen=True)
class GoLivePlan:
    """All of it, as of now."""

    target: str
    calls: tuple[Called, ...]
    consent: Consent | None
    vendors: tuple[VendorPlan, ...]
    pushes: tuple[PushPlan, ...]
    switches: tuple[Switch, ...]
    notes: tuple[str, ...]

    @property
    def plan_hash(self) -> str:
        """Names the plan."""
        return plan_hash(self.calls)

    @property
    def is_agreed(self) -> bool:
        """True when all of it was agreed to as it is now."""
        return self.consent is not None and all(map(self.consent.covers, self.calls))

    def agreed(self, consent: Consent) -> "GoLivePlan":
        """Return the same plan with a consent that was just given."""
        vendors = tuple(
            dataclasses.replace(
                vendor,
                logins=tuple((called, consent.covers(called)) for called, _ in vendor.logins),
            )
            for vendor in self.vendors
        )
        return dataclasses.replace(self, consent=consent, vendors=vendors)

    def row(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        consent = self.consent
        return {
            "target": self.target,
            "plan_hash": self.plan_hash,
            "is_agreed": self.is_agreed,
            "consent": None
            if consent is None
            else {
                "given_by": consent.given_by,
                "given_at": consent.given_at.isoformat(),
                "plan_hash": consent.plan_hash,
                "is_withdrawn": not consent.covered,
                "is_of_another_folder": consent.is_copied,
            },
            "vendors": [each.row() for each in self.vendors],
            "pushes": [each.row() for each in self.pushes],
            "on": [each.name for each in self.switches if each.is_on],
            "off": [each.name for each in self.switches if not each.is_on],
            "notes": list(self.notes),
        }


def make_plan(etl: Etl, instance: dg.DagsterInstance, board: Switchboard) -> GoLivePlan:
    """Put together what would be called and sent.

    Raises:
        EnergyEtlError: settings or the state file cannot be read.
    """
    settings, notes = etl.settings(), list[str]()
    calls = planned_calls(settings)
    consent = read_consent(settings.state_path)
    portfolio: Portfolio | None = None
    try:
        portfolio = etl.portfolio()
    except ConfigurationError as error:
        notes.append(str(error))
    by_vendor = {each.vendor: [one for one in calls if one.vendor == each.vendor] for each in calls}
    vendors = [
        _vendor_plan(discover_vendors()[name], settings, portfolio, logins, consent)
        for name, logins in by_vendor.items()
    ]
    ahead: Sequence[StreamOutlook] = ()
    if portfolio is not None and settings.state_path.exists():
        with look_ahead(etl, instance) as found:
            ahead = found.streams
    return GoLivePlan(
        settings.target,
        tuple(calls),
        consent,
        tuple(vendors),
        tuple(_push_plans(settings, portfolio, ahead)),
        board.switches(),
        tuple(notes),
    )


def _vendor_plan(
    vendor: Vendor,
    settings: Settings,
    portfolio: Portfolio | None,
    logins: list[Called],
    consent: Consent | None,
) -> VendorPlan:
    reach, section = vendor.reach, settings.section(vendor.settings)
    calls_a_day = None
    if reach is not None and reach.count_calls is not None:
        runs = [
            (_HOURLY_RUNS, _scheduled(vendor, portfolio, is_hourly=True, n_days=1)),
            (1, _scheduled(vendor, portfolio, is_hourly=False, n_days=settings.refetch_days + 1)),
        ]
        calls_a_day = sum(n * reach.count_calls(section, run) for n, run in runs)
    return VendorPlan(
        vendor.name,
        vendor.title,
        reach.reads if reach else "",
        calls_a_day,
        tuple(reach.budgets(section)) if reach else (),
        tuple((each, consent is not None and consent.covers(each)) for each in logins),
    )


def _scheduled(
    vendor: Vendor, portfolio: Portfolio | None, *, is_hourly: bool, n_days: int
) -> Scheduled:
    if portfolio is None:
        return Scheduled(is_hourly, n_days)
    aliases = portfolio.used_aliases().filter(vendor=vendor.name)

    def ids(thing: str) -> tuple[str, ...]:
        return tuple(aliases.filter(thing=thing)["vendor_id"].sort())

    streams = portfolio.frames[push.STREAM]
    sites = ids("site") or tuple(portfolio.frames[core.SITE]["site_id"].sort())
    return Scheduled(
        is_hourly,
        n_days,
        ids("register"),
        ids("meter"),
        sites,
        streams.height,
        streams.filter(pl.col("field") != SINGLE_FIELD).height,
    )


def _push_plans(
    settings: Settings, portfolio: Portfolio | None, ahead: Sequence[StreamOutlook]
) -> list[PushPlan]:
    section = settings.section(WatticsSettings)
    mapped = pl.DataFrame() if portfolio is None else portfolio.frames[push.STREAM]
    names = set(section.credentials) | {each.credential for each in ahead}
    if mapped.height:
        names |= set(mapped["credential"])
    plans: list[PushPlan] = []
    for name in sorted(names):
        own = mapped.filter(credential=name) if mapped.height else mapped
        looked = [each for each in ahead if each.credential == name]
        starts = own["push_from_at"].drop_nulls() if own.height else []
        plans.append(
            PushPlan(
                name,
                section.collector_url,
                own.height,
                min(starts, default=None),
                own.height - len(starts),
                int(sum(1440 / minutes for minutes in own["interval_minutes"]))
                if own.height
                else 0,
                sum(each.n_due for each in looked),
                sum(each.n_waiting for each in looked),
                tuple(each.sentence for each in looked if each.n_waiting),
            )
        )
    return plans
