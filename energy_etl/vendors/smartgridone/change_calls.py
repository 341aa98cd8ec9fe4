"""Reading the state that a plan is made of, and carrying a plan out: the calls of `changes.py`.

Nothing here is repeated after an answer that did not come: the state is read again instead, and
what it says is what is told.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from energy_etl.errors import EnergyEtlError, NotFoundError, VendorError
from energy_etl.rest import Job, RequestLog, fetch_all
from energy_etl.rest.redaction import Redactor
from energy_etl.vendors.smartgridone.change_rows import RECORD
from energy_etl.vendors.smartgridone.changes import (
    ActivateLicense,
    ClaimLicense,
    Plan,
    Wish,
    plan_activation,
    plan_claim,
    plan_update,
    refuse_unsendable,
)
from energy_etl.vendors.smartgridone.client import SmartgridOneClient
from energy_etl.vendors.smartgridone.states import (
    controllers_of,
    count_unreadable,
    customers_of,
    device_state,
    licence_states,
)

_CHANGED_SINCE: Final = 412


def make_plan(client: SmartgridOneClient, wish: Wish) -> Plan:
    """Read the present state and plan; nothing is changed.

    Raises:
        ConfigurationError: the wish cannot be sent as it is.
        NotFoundError: the account sees no such device.
        VendorError: the state could not be read.
    """
    refuse_unsendable(wish)
    address = client.settings.base_url.rstrip("/")
    if isinstance(wish, ActivateLicense):
        remarks = read_licences(client)
        return plan_activation(wish, licence_states(client.log.calls()), address, remarks)
    if isinstance(wish, ClaimLicense):
        remarks = read_licences(client)
        calls = client.log.calls()
        if wish.node_id not in controllers_of(calls):
            remarks.append(f"the account sees no controller {wish.node_id}")
        return plan_claim(wish, licence_states(calls), address, remarks)
    client.fetch_devices(only={"nodeId": [wish.node_id]})
    device = device_state(client.log.calls(), wish.node_id)
    if device is None:
        raise NotFoundError(
            f"smartgridone: the account sees no device {wish.node_id}: take its node id from "
            "smartgridone.device."
        )
    return plan_update(wish, device, address)


def note_plan(log: RequestLog, plan: Plan, *, change_id: str, asked_by: str) -> None:
    """Write what is about to be asked beside the last call that read the state before."""
    record = {
        "change_id": change_id,
        "action": plan.action,
        "subject": plan.subject,
        "asked_by": asked_by,
        "plan_hash": plan.plan_hash,
        "method": plan.method,
        "url": plan.address + plan.target,
        "body": plan.body,
        "before": plan.before,
        "planned": plan.after,
    }
    # As any answer that is stored: known personal fields go.
    redacted = Redactor().body(json.dumps(record).encode())
    log.annotate(log.calls()[-1].request_id, **{RECORD: json.loads(redacted)})


def carry_out(client: SmartgridOneClient, plan: Plan, wish: Wish) -> VendorError | None:
    """Send the plan's call once and read the state again; return the first failure, or None.

    What came of it is told by `change_row` of all calls, not by the error alone.
    """
    failed: VendorError | None = None
    try:
        _send(client, plan, wish)
    except VendorError as error:
        failed = error
    # As far as it can be read: what is not, is not in the log and makes the outcome unknown.
    try:
        if isinstance(wish, ActivateLicense | ClaimLicense):
            read_licences(client)
        else:
            client.fetch_devices(only={"nodeId": [wish.node_id]})
    except VendorError as error:
        failed = failed or error
    return failed


def told(row: Mapping[str, Any], failed: EnergyEtlError | None) -> str:
    """Say in one sentence what came of a change, what stands there now, and what to do next."""
    what = f"{row['action']} of {row['subject']}"
    after = row["state_after"]
    now = f"it says now {after}" if after else "what stands there now could not be read"
    if row["outcome"] == "done":
        if row["status"] is None or row["status"] >= 300:
            return f"SmartgridOne gave no answer, but {what} was done: {now}."
        return f"SmartgridOne did {what}: {now}."
    if row["outcome"] == "refused" and row["status"] == _CHANGED_SINCE:
        return (
            f"SmartgridOne refused {what} (412): somebody changed it after it was read, so nothing "
            f"was written; {now}: plan again, look at what changed, then decide anew."
        )
    if row["outcome"] == "refused":
        why = str(failed or row["answer"]).rstrip(".")
        return f"SmartgridOne refused {what}, so nothing was written, {now} ({why})."
    if row["outcome"] == "not_done":
        return (
            f"SmartgridOne gave no answer to {what}, and it was not done, {now}: plan again "
            f"({failed})."
        )
    return (
        f"SmartgridOne gave no answer to {what}, and {now}, so whether it was done is not known: "
        f"plan again before anything is repeated ({failed})."
    )


def _send(client: SmartgridOneClient, plan: Plan, wish: Wish) -> None:
    if isinstance(wish, ActivateLicense):
        client.activate_license(wish.key, wish.activation_at)
    elif isinstance(wish, ClaimLicense):
        client.claim_license(wish.key, wish.node_id)
    elif plan.device_id is not None:
        client.update_device(
            plan.device_id,
            wish.properties,
            mode=wish.mode,
            is_validated=wish.is_validated,
            unmodified_since=plan.unmodified_since,
        )


def read_licences(client: SmartgridOneClient) -> list[str]:
    """Read the licences of every controller and customer; return what could not be read."""
    n_before = len(client.log.calls())
    client.fetch_devices()
    client.fetch_companies()
    calls = client.log.calls()[n_before:]
    jobs = [
        Job(
            f"controller {node_id}",
            lambda node_id=node_id: client.fetch_controller_licenses(node_id),
        )
        for node_id in controllers_of(calls)
    ] + [
        Job(
            f"customer {customer}",
            lambda customer=customer: client.fetch_customer_licenses(customer),
        )
        for customer in customers_of(calls)
    ]
    report = fetch_all(jobs, max_parallel=client.settings.max_parallel)
    if report.stopped_by is not None:
        raise report.stopped_by
    n_unreadable = count_unreadable(calls)
    unseen = [f"{n_unreadable} devices or companies could not be read, nor their licences"]
    return (unseen if n_unreadable else []) + [
        f"the licences of {subject} could not be read ({error})"
        for subject, error in sorted(report.failures.items())
    ]
