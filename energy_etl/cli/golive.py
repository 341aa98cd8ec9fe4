"""`energy-etl golive`: what the live target would call, and the consent without which it does not.

The record and the refusal are in `vendors/golive.py`, what is shown in `golive_plan.py`.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from energy_etl.defs.faults import counted
from energy_etl.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import dagster as dg

    from energy_etl.cli.golive_plan import GoLivePlan, PushPlan, VendorPlan
    from energy_etl.defs.resources import Etl
    from energy_etl.settings import Settings

_MOST_WAITS = 5


def golive(
    yes: Annotated[bool, typer.Option("--yes", help="Agree without a question.")] = False,
    start: Annotated[
        bool, typer.Option("--start", help="Switch all schedules and sensors on, too.")
    ] = False,
    revoke: Annotated[
        bool,
        typer.Option("--revoke", help="Withdraw the consent and switch off what calls vendors."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; with --yes agree, else only look.")
    ] = False,
) -> None:
    """Show what the live target calls; ask, record the consent.

    And what it sends. Without a consent every run that calls a vendor fails, and nothing is
    sent; packets wait in the outbox. Another address or account, or a vendor that is added
    later, needs a new one.
    """
    from energy_etl.defs.resources import Etl

    if revoke and (yes or start):
        raise UsageError("--revoke takes back what --yes and --start do: give it alone.")
    etl = Etl()
    settings = etl.settings()
    _refuse_sandbox(settings)
    with _instance(settings) as instance:
        if revoke:
            _revoke(etl, instance, as_json=as_json)
            return
        _go_live(etl, instance, is_agreed=yes, is_start=start, as_json=as_json)


def _go_live(
    etl: "Etl", instance: "dg.DagsterInstance", *, is_agreed: bool, is_start: bool, as_json: bool
) -> None:
    from energy_etl.cli.golive_plan import make_plan
    from energy_etl.definitions import build_defs
    from energy_etl.defs.switching import Switchboard
    from energy_etl.vendors.golive import record_consent

    settings = etl.settings()
    board = Switchboard(instance, build_defs({"etl": etl}), settings.dagster_home)
    plan = make_plan(etl, instance, board)
    if not plan.calls:
        raise ConfigurationError(
            "No vendor is configured, so nothing would be called: give a vendor's login (see "
            "docs/configuration), run `energy-etl doctor`, then `energy-etl golive` again."
        )
    if not as_json:
        _print(plan)
        if plan.consent is not None and plan.consent.is_copied:
            print(plan.consent.sentence)
    if not plan.is_agreed and (is_agreed or (not as_json and _ask())):
        consent = record_consent(settings.state_path, plan.calls, at=datetime.now(UTC))
        plan = plan.agreed(consent)
    turned: list[str] = []
    if is_start and plan.is_agreed:
        turned = board.turn([each.name for each in plan.switches], is_on=True)
        plan = dataclasses.replace(plan, switches=board.switches())
    if as_json:
        print(json.dumps({**plan.row(), "switched_on": turned}, indent=2))
    else:
        _print_outcome(plan, turned)
    # With --json alone it was only looked at.
    if not plan.is_agreed and (is_start or not as_json):
        raise typer.Exit(1)


def _revoke(etl: "Etl", instance: "dg.DagsterInstance", *, as_json: bool) -> None:
    from energy_etl.definitions import build_defs
    from energy_etl.defs.switching import Switchboard
    from energy_etl.vendors.golive import read_consent, record_consent

    settings = etl.settings()
    board = Switchboard(instance, build_defs({"etl": etl}), settings.dagster_home)
    before = read_consent(settings.state_path)
    had_one = before is not None and bool(before.covered)
    if had_one:
        record_consent(settings.state_path, [], at=datetime.now(UTC))
    names = [each.name for each in board.switches() if each.calls_vendors]
    turned = board.turn(names, is_on=False)
    if as_json:
        print(json.dumps({"is_withdrawn": had_one, "switched_off": turned}, indent=2))
        return
    print(
        "The consent is withdrawn: nobody is called and nothing is sent any more."
        if had_one
        else "There was no consent to withdraw."
    )
    if turned:
        print(f"Switched off: {', '.join(turned)}.")
    print("A run that is under way goes on to its end: stop it in the UI.", file=sys.stderr)


def _ask() -> bool:
    try:
        return typer.confirm("Agree that these are called and sent to?", default=False)
    except typer.Abort:
        # Ctrl-C, or nobody there to answer.
        print(
            "\nenergy-etl: Nobody answered: give --yes to agree without a question.",
            file=sys.stderr,
        )
        return False


def _refuse_sandbox(settings: "Settings") -> None:
    from energy_etl.vendors.golive import planned_calls

    if settings.target == "live" or planned_calls(settings):
        # On the sandbox an address may be set that is somebody else's.
        return
    raise ConfigurationError(
        "The target is the sandbox, where nothing needs consent: set ENERGY_ETL_TARGET=live and "
        "the vendors' logins (docs/configuration has an example for each), run `energy-etl init` "
        "and `energy-etl doctor`, then `energy-etl golive` again."
    )


@contextlib.contextmanager
def _instance(settings: "Settings") -> "Iterator[dg.DagsterInstance]":
    from energy_etl.defs.instance import open_instance

    if not (settings.dagster_home / "dagster.yaml").exists():
        raise ConfigurationError(
            f"There is no Dagster instance in {settings.dagster_home}: run `energy-etl init` first."
        )
    with open_instance(settings.dagster_home) as instance:
        yield instance


def _print(plan: "GoLivePlan") -> None:
    for note in plan.notes:
        print(f"energy-etl: {note}", file=sys.stderr)
    print(f"Target {plan.target}, plan {plan.plan_hash}.")
    for vendor in plan.vendors:
        _print_vendor(vendor)
    for push in plan.pushes:
        _print_push(push)
    on = [each.name for each in plan.switches if each.is_on]
    off = [each.name for each in plan.switches if not each.is_on]
    print()
    print(f"Switched on:  {', '.join(on) or 'nothing'}.")
    print(f"Switched off: {', '.join(off) or 'nothing'}.")
    print()


def _print_vendor(plan: "VendorPlan") -> None:
    print()
    print(plan.title)
    for called, is_agreed in plan.logins:
        name = f"{called.login}: " if called.login else ""
        whom = f" as {called.account}" if called.account else ""
        state = "agreed" if is_agreed else "NOT AGREED"
        print(f"  {name}{', '.join(called.addresses) or '(no address)'}{whom} [{state}]")
        if called.missing:
            print(f"    still empty: {', '.join(called.missing)}")
    if plan.reads:
        print(f"  reads: {plan.reads}")
    if plan.calls_a_day is not None:
        print(f"  calls: about {plan.calls_a_day:,} a day by its schedules")
        for budget in plan.budgets:
            limit = f"{budget.limit:,} in {budget.window_s:g} s"
            print(f"  quota: {budget.a_day:,} {budget.what} a day ({limit})")


def _print_push(plan: "PushPlan") -> None:
    print()
    print(f"Push as {plan.credential} to {plan.collector}")
    since = f"from {plan.first_at:%Y-%m-%d %H:%M} UTC on" if plan.first_at else ""
    first = f"{plan.n_from_first} from their first packet on" if plan.n_from_first else ""
    begin = ", ".join(filter(None, (since, first)))
    print(
        f"  {counted(plan.n_streams, 'stream')}{f' ({begin})' if begin else ''}, "
        f"about {plan.packets_a_day:,} packets a day"
    )
    print(f"  packets due now: {plan.n_due:,}; waiting: {plan.n_waiting:,}")
    for sentence in plan.waits[:_MOST_WAITS]:
        print(f"    {sentence}")
    if len(plan.waits) > _MOST_WAITS:
        print(f"    and {len(plan.waits) - _MOST_WAITS} more: `energy-etl outbox status`")


def _print_outcome(plan: "GoLivePlan", turned: list[str]) -> None:
    if not plan.is_agreed or plan.consent is None:
        print("Nothing was agreed: nobody is called and nothing is sent.")
        return
    print(plan.consent.sentence)
    if turned:
        print(f"Switched on now: {', '.join(turned)}.")
    if not all(each.is_on for each in plan.switches):
        print(
            "Some schedules and sensors are off: `energy-etl golive --start` switches all of them "
            "on, the UI each (Automation)."
        )
    else:
        print("They tick while `energy-etl up` runs.")
