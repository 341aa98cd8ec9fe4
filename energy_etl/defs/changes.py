"""What changes something at a vendor: shown first, confirmed by its hash, recorded, never repeated.

Jobs `activate_license`, `claim_license` and `update_device` (SmartgridOne). A run with `dry_run:
true`, the default, reads the present state and shows what would be called; a second one with
`dry_run: false` and `confirm: <plan hash>` plans again, refuses when anything is different now,
and else does it. The command line goes through the same functions. What is asked is recorded
before it is sent, so that a process that dies in between leaves a trace.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg
import polars as pl

from energy_etl.defs.extraction import write_batch
from energy_etl.defs.failures import plainly
from energy_etl.defs.resources import Etl
from energy_etl.errors import (
    ConfigurationError,
    EnergyEtlError,
    UsageError,
    VendorError,
    WarehouseError,
)
from energy_etl.rest import RequestLog
from energy_etl.vendors.smartgridone import VENDOR
from energy_etl.vendors.smartgridone.change_calls import (
    carry_out,
    make_plan,
    note_plan,
    read_licences,
    told,
)
from energy_etl.vendors.smartgridone.change_rows import change_row, changes_to_batch
from energy_etl.vendors.smartgridone.changes import (
    ActivateLicense,
    ClaimLicense,
    Plan,
    UpdateDevice,
    Wish,
)
from energy_etl.vendors.smartgridone.client import SmartgridOneClient
from energy_etl.vendors.smartgridone.inventory import open_client
from energy_etl.vendors.smartgridone.licence_mart import MART_INPUTS, compute_licences
from energy_etl.vendors.smartgridone.rows import to_batch


@dataclass(frozen=True)
class Changed:
    """A change that was done: its row of `smartgridone.change`, and a sentence about it."""

    row: Mapping[str, Any]
    sentence: str


def smartgridone_client(etl: Etl, log: RequestLog) -> SmartgridOneClient:
    """Open SmartgridOne's API for a change, with the project's settings; to be closed."""
    return open_client(etl.settings_to_call(VENDOR.name), log)


def plan_change(etl: Etl, wish: Wish) -> Plan:
    """Read the present state and return what would be called; nothing is changed.

    Raises:
        EnergyEtlError: the state could not be read, or the wish cannot be sent as it is.
    """
    log = RequestLog(VENDOR.name, is_change=True)
    with smartgridone_client(etl, log) as client:
        try:
            return make_plan(client, wish)
        finally:
            _record(etl, log)


def do_change(etl: Etl, wish: Wish, *, confirm: str, asked_by: str) -> Changed:
    """Plan again, and when it is still the plan that was confirmed, carry it out once.

    Args:
        etl: the project.
        wish: what is to be changed.
        confirm: the hash of the plan that somebody agreed to.
        asked_by: who that was, for the record.

    Raises:
        ConfigurationError: the plan is another one now, or it is not worth calling; nothing was
            sent.
        VendorError: it was refused, or no answer came; the sentence says what stands there now.
        WarehouseError: the change could not be recorded; before it was sent nothing was.
    """
    log = RequestLog(VENDOR.name, is_change=True)
    with smartgridone_client(etl, log) as client:
        try:
            plan = make_plan(client, wish)
            _refuse_unconfirmed(plan, confirm)
        except EnergyEtlError:
            _record(etl, log)
            raise
        note_plan(log, plan, change_id=uuid.uuid4().hex, asked_by=asked_by)
        begun = log.calls()
        _record(etl, log)
        failed = carry_out(client, plan, wish)
    calls = [*begun, *log.calls()]
    row = change_row(calls)
    if row is None:  # pragma: no cover
        raise AssertionError("the plan was noted above")
    sentence = told(row, failed)
    try:
        write_batch(etl, VENDOR, changes_to_batch(calls), log)
    except WarehouseError as error:
        raise WarehouseError(
            f"{sentence} That could not be recorded in smartgridone.change: {error}"
        ) from error
    if row["outcome"] != "done":
        raise _of_kind(failed, sentence)
    return Changed(row, sentence)


def list_licences(etl: Etl) -> tuple[pl.DataFrame, list[str]]:
    """Ask SmartgridOne for every licence that the account sees.

    Returns:
        Rows as `mart.licence` has them, as of now, and a sentence on each list that failed.

    Raises:
        EnergyEtlError: SmartgridOne could not be asked.
    """
    log = RequestLog(VENDOR.name)
    # A person reads it by a command of their own: that asks for no consent.
    with open_client(etl.settings(), log) as client:
        failures = read_licences(client)
    batch = to_batch(log.calls())
    portfolio = etl.portfolio().frames
    frames: dict[str, pl.DataFrame] = {}
    for table in MART_INPUTS:
        # What was listed just now is in force; only the warehouse knows since when.
        listed = batch.frame(table).with_columns(valid_to_at=pl.lit(None))
        frames[table.full_name] = portfolio.get(table, listed)
    failures += [f"{problem.subject}: {problem.error}" for problem in batch.problems]
    return compute_licences(frames, etl.now()), failures


def _refuse_unconfirmed(plan: Plan, confirm: str) -> None:
    if plan.objection is not None:
        raise ConfigurationError(
            f"{plan.action} of {plan.subject} is not worth calling, {plan.objection}: "
            "nothing was sent; ask SmartgridOne if it should be otherwise."
        )
    if plan.plan_hash != confirm:
        raise ConfigurationError(
            f"The plan {confirm or '(none)'} was confirmed, but what would be done now is "
            f"{plan.plan_hash}: nothing was sent; look at a new dry run, then confirm that one."
        )


def _record(etl: Etl, log: RequestLog) -> None:
    """Write the calls so far, and the change that they are the beginning of."""
    write_batch(etl, VENDOR, changes_to_batch(log.calls()), log)


def _of_kind(failed: VendorError | None, sentence: str) -> VendorError:
    """Return an error of the same kind (and so the same exit code) that says the sentence."""
    error = (type(failed) if failed is not None else VendorError)(sentence)
    error.status = failed.status if failed is not None else None
    return error


class ChangeConfig(dg.Config):
    """Run configuration of every job that changes something.

    Attributes:
        dry_run: True shows what would be done.
        confirm: the plan hash that a dry run showed; needed when dry_run is false.
    """

    dry_run: bool = True
    confirm: str = ""


class ActivateConfig(ChangeConfig):
    """Run configuration of `activate_license`.

    Attributes:
        key: of the licence, 1 to 50 characters.
        activation_at: ISO instant with its offset; empty: the instant of the call.
    """

    key: str
    activation_at: str = ""


class ClaimConfig(ChangeConfig):
    """Run configuration of `claim_license`: the licence's key and the controller's node id."""

    key: str
    node_id: str


class UpdateConfig(ChangeConfig):
    """Run configuration of `update_device`.

    Attributes:
        node_id: of the device.
        properties: what is sent.
        mode: strict replaces all properties, legacy the given ones, merge goes into objects.
        is_validated: SmartgridOne's `validate`; null: not sent, its own default holds.
    """

    node_id: str
    properties: dict[str, Any]
    mode: Literal["strict", "legacy", "merge"] = "merge"
    is_validated: bool | None = None


@dg.op(pool="smartgridone", description="Starts a licence.")
@plainly
def activate(context: dg.OpExecutionContext, etl: Etl, config: ActivateConfig) -> None:
    """POST /v1/license/activate."""
    _run(context, etl, config, ActivateLicense(config.key, parse_instant(config.activation_at)))


@dg.op(pool="smartgridone", description="Links a licence to a controller.")
@plainly
def claim(context: dg.OpExecutionContext, etl: Etl, config: ClaimConfig) -> None:
    """POST /v1/license/claim."""
    _run(context, etl, config, ClaimLicense(config.key, config.node_id))


@dg.op(pool="smartgridone", description="Changes properties of a device.")
@plainly
def update(context: dg.OpExecutionContext, etl: Etl, config: UpdateConfig) -> None:
    """PUT /v1/device/{deviceId}."""
    wish = UpdateDevice(config.node_id, config.properties, config.mode, config.is_validated)
    _run(context, etl, config, wish)


def _run(context: dg.OpExecutionContext, etl: Etl, config: ChangeConfig, wish: Wish) -> None:
    if config.dry_run:
        plan = plan_change(etl, wish)
        for line in plan.lines():
            context.log.info(line)
        context.log.info(
            f"Nothing was changed. To do it: dry_run: false, confirm: {plan.plan_hash}"
        )
        context.add_output_metadata(
            {
                "plan_hash": plan.plan_hash,
                "plan": dg.MetadataValue.md("\n".join(f"    {line}" for line in plan.lines())),
                "body": dg.MetadataValue.json(dict(plan.body)),
                "before": dg.MetadataValue.json(dict(plan.before or {})),
                "after": dg.MetadataValue.json(dict(plan.after)),
            }
        )
        return
    done = do_change(etl, wish, confirm=config.confirm, asked_by=f"run {context.run_id}")
    context.log.info(done.sentence)
    context.add_output_metadata(
        {"outcome": done.row["outcome"], "change_id": done.row["change_id"], "told": done.sentence}
    )


def parse_instant(text: str) -> datetime | None:
    """Return an ISO instant, None for an empty text.

    Raises:
        UsageError: it is none, or has no offset.
    """
    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
        # The first and the last instants of the calendar are none in UTC.
        is_instant = instant.tzinfo is not None and bool(instant.astimezone(UTC))
    except (ValueError, OverflowError):
        instant, is_instant = None, False
    if not is_instant:
        raise UsageError(
            f"The activation {text!r} is no instant: write it as 2026-10-28T09:00:00+01:00."
        )
    return instant


_IN_PROCESS = dg.in_process_executor


@dg.job(executor_def=_IN_PROCESS, description="Starts a licence of SmartgridOne; dry run first.")
def activate_license() -> None:
    """Start a licence."""
    activate()


@dg.job(executor_def=_IN_PROCESS, description="Links a licence to a controller; dry run first.")
def claim_license() -> None:
    """Link a licence to a controller."""
    claim()


@dg.job(executor_def=_IN_PROCESS, description="Changes properties of a device; dry run first.")
def update_device() -> None:
    """Change properties of a device."""
    update()


CHANGE_JOBS = [activate_license, claim_license, update_device]
