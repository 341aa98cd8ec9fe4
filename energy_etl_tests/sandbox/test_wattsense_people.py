"""Who is who at the sandbox's Wattsense over real HTTP, in three versions of the API."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from energy_etl.sandbox import SandboxServer, World
from energy_etl.sandbox.model import device_id_wattsense
from energy_etl.sandbox.wattsense_people import NAMES, VERSIONS
from energy_etl_tests.sandbox.conftest import Caller

LISTS = ("organizations", "users", "serviceAccounts", "apiKeys", "roles")
BASIC = ("sandbox-service-basic", "sandbox-service-secret")


@contextmanager
def _speaking(world: World, version: str) -> Iterator[Caller]:
    with SandboxServer(world, wattsense_options={"api_version": version}) as sandbox:
        caller = Caller(sandbox)
        yield caller
        caller.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_names_things_its_own_way_and_no_other(world, version):
    names = NAMES[version]
    with _speaking(world, version) as caller:
        device = caller.wattsense("devices").json()[0]
        user = caller.wattsense("user").json()
        text = "".join(caller.wattsense(name).text for name in (*LISTS, "devices", "user"))
        by_group = caller.wattsense(f"devices?{names.group_id}=grp-south")
        by_organization = caller.wattsense(f"devices?{names.organization_id}=org-7c02")
        units = caller.wattsense("organizationUnits")
    assert (device[names.organization_id], device[names.group_id]) == ("org-7c02", "grp-north")
    assert user[names.group_roles][0][names.group_id] == "grp-north"
    assert user[names.organization_roles][0]["roleId"] == "role-admin"
    assert (len(by_group.json()), len(by_organization.json())) == (2, 4)
    assert units.status_code == (200 if names.has_units else 404)
    own = {names.organization_id, names.group_id, names.organization_roles, names.group_roles}
    others = {
        name
        for each in NAMES.values()
        for name in (
            each.organization_id,
            each.group_id,
            each.organization_roles,
            each.group_roles,
            each.tenant_id,
        )
        if name not in (*own, names.tenant_id)
    }
    assert [name for name in others if f'"{name}"' in text] == []
    # Another thing in every version: what is paid for a box.
    assert device["deviceSubscription"]["status"] == "ACTIVE"


def test_units_have_each_their_own_information(world):
    with _speaking(world, VERSIONS[1]) as caller:
        north, south = caller.wattsense("organizationUnits").json()
    assert north["shippingInfo"]["city"] == "Roma"
    assert south["billingInfo"]["vatNumber"] == "VAT-south"
    assert ("contactInfo" in north, "contactInfo" in south) == (True, False)


def test_keys_tell_their_owner_and_never_the_secret(caller):
    keys = {key["apiKeyId"]: key for key in caller.wattsense("apiKeys").json()}
    owners = {name: key.get("userId") or key.get("serviceAccountId") for name, key in keys.items()}
    assert list(owners.values()) == ["u-1", "sa-1", "sa-3", "sa-4", None]
    accounts = caller.wattsense("serviceAccounts").json()
    made = {account["serviceAccountId"]: account["createdAt"] for account in accounts}
    migrated = [
        name
        for name, key in keys.items()
        if owners[name] in made and key["createdAt"] < made[owners[name]]
    ]
    # One new service account per key of before.
    assert migrated == ["key-3", "key-4"]
    assert [a["serviceAccountId"] for a in accounts if a["basicAuthEnabled"]] == ["sa-2"]
    assert "secret" not in caller.wattsense("apiKeys").text


@pytest.mark.parametrize(
    ("target", "status"),
    [("users", 403), ("serviceAccounts", 403), ("apiKeys", 403), ("roles", 200), ("devices", 200)],
)
def test_service_account_may_not_act_on_users_accounts_and_keys(caller, target, status):
    answer = caller.http.get(f"/wattsense/v1/{target}", auth=BASIC)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["message"] == f"A service account may not act on {target}."


def test_caller_is_who_owns_the_credential(caller):
    assert caller.wattsense("user").json()["userId"] == "u-1"
    answer = caller.http.get("/wattsense/v1/user", auth=BASIC).json()
    assert (answer["serviceAccountId"], answer["basicAuthEnabled"]) == ("sa-2", True)
    assert "organizationRoles" not in answer


def test_suspended_box_says_so(world):
    with SandboxServer(world, wattsense_options={"suspended": ("rome-b",)}) as sandbox:
        caller = Caller(sandbox)
        devices = caller.wattsense("devices").json()
        caller.close()
    states = {each["deviceId"]: each["deviceSubscription"]["status"] for each in devices}
    assert [name for name, status in states.items() if status == "SUSPENDED"] == [
        device_id_wattsense("rome-b")
    ]


def test_version_nobody_knows_is_refused(world):
    with pytest.raises(ValueError, match=r"2020-12-16\.03"):
        SandboxServer(world, wattsense_options={"api_version": "2031"})
