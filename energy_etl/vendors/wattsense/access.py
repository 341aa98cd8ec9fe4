"""Who or what reaches which organization at Wattsense, and what somebody should look at; pure.

A key reaches what its owner reaches: "the access rights of the API Keys will be managed via the
subscription roles of the user or the service account it belongs to" (release note 2019-04.300).
Whether a role in one organization reaches those that it manages is not documented, so it is not
inferred: a row stands for the organization that the role names.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables import Findings, Mart, Plot
from energy_etl.tables.mart import FINDING
from energy_etl.tables.model import Table
from energy_etl.vendors.wattsense.names import (
    OLDER_KEY_LEVELS,
    manages_service_accounts,
    manages_users,
)
from energy_etl.vendors.wattsense.rows_access import SERVICE, USER
from energy_etl.vendors.wattsense.tables import DEVICE_SUBSCRIPTION, ORGANIZATION
from energy_etl.vendors.wattsense.tables_access import (
    ACCESS,
    API_KEY,
    ROLE,
    ROLE_GRANT,
    SERVICE_ACCOUNT,
    USER_ACCOUNT,
)

Frames = Mapping[str, pl.DataFrame]
_HOLDER: Final = ["holder_kind", "holder_id_wattsense"]


def compute_access(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return `mart.access`: a row per holder, way in, role and place, sorted by its key.

    A user can always come in by Basic, a service account where it is switched on, both by each of
    their keys. Who has a way in but no role reaches nothing and has no row; a key without an owner
    has one, with nothing but itself.

    Args:
        frames: the tables of `ACCESS_MART` by full name; only versions in force are looked at.
        now: not needed: what is in force is what was listed last.
    """
    del now
    keys, holders = _keys(frames), _holders(frames)
    by_basic = holders.filter(pl.col("is_basic_allowed")).select(
        *_HOLDER,
        "holder_name",
        pl.lit("basic").alias("way"),
        *(
            pl.lit(None, pl.String).alias(name)
            for name in ("api_key_id_wattsense", "api_key_name", "api_key_level")
        ),
        pl.lit(None, pl.Boolean).alias("is_migrated_key"),
    )
    by_key = keys.filter(pl.col("is_owned")).select(by_basic.columns)
    roles = _roles(frames)
    organizations = frames[ORGANIZATION.full_name].select(
        "organization_id_wattsense", "tenant_id_wattsense", organization_name="name"
    )
    granted = (
        _in_force(frames, ROLE_GRANT)
        .join(roles, on="role_id_wattsense", how="left")
        .select(
            *_HOLDER,
            "role_id_wattsense",
            "role_name",
            "scope",
            "organization_id_wattsense",
            "device_group_id_wattsense",
            pl.col("has_user_management", "has_service_account_management").fill_null(False),
            pl.col("privileges").fill_null([]),
        )
    )
    owned = pl.concat([by_basic, by_key]).join(granted, on=_HOLDER)
    ownerless = keys.filter(~pl.col("is_owned")).select(
        pl.lit("api_key").alias("holder_kind"),
        pl.col("api_key_id_wattsense").alias("holder_id_wattsense"),
        pl.col("api_key_name").alias("holder_name"),
        pl.lit("api_key").alias("way"),
        "api_key_id_wattsense",
        "api_key_name",
        "api_key_level",
        "is_migrated_key",
        "organization_id_wattsense",
        pl.lit(False).alias("has_user_management"),
        pl.lit(False).alias("has_service_account_management"),
        pl.lit([], pl.List(pl.String)).alias("privileges"),
    )
    return (
        pl.concat([owned, ownerless], how="diagonal")
        .join(organizations, on="organization_id_wattsense", how="left")
        .select(ACCESS.polars_schema.names())
        .unique(subset=ACCESS.key, keep="first")
        .sort(ACCESS.key)
    )


def find(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return rows of `mart.finding` about keys, service accounts, roles and suspended boxes."""
    del now
    keys, roles = _keys(frames), _roles(frames)
    n_holders = (
        _in_force(frames, ROLE_GRANT)
        .group_by("role_id_wattsense")
        .agg(pl.struct(_HOLDER).n_unique().alias("n_holders"))
    )
    accounts = _in_force(frames, SERVICE_ACCOUNT).filter(pl.col("is_basic_allowed"))
    suspended = _in_force(frames, DEVICE_SUBSCRIPTION).filter(pl.col("is_suspended"))
    found = [
        _findings(
            keys.filter(~pl.col("is_owned")),
            kind="wattsense_key_without_owner",
            place=pl.format("wattsense: API key {}", "api_key_id_wattsense"),
            message=pl.format(
                "The API key {} is linked to no user and no service account that Wattsense lists, "
                "so nobody answers for it and no role limits it.",
                _called("api_key_id_wattsense", "api_key_name"),
            ),
            next_step="Find out in Wattsense's console who uses it, make a key for a service "
            "account in its place and delete it.",
        ),
        _findings(
            keys.filter(pl.col("is_migrated_key") & pl.col("is_owned")),
            kind="wattsense_key_migrated",
            place=pl.format("wattsense: API key {}", "api_key_id_wattsense"),
            message=pl.format(
                "The API key {} is older than owners of keys and was given the service account {} "
                "of its own by the migration of 2019.",
                _called("api_key_id_wattsense", "api_key_name"),
                _called("holder_id_wattsense", "holder_name"),
            ),
            next_step="Find out who uses it, give that service account a telling name and only "
            "the roles it needs, or make a new key and delete this one.",
        ),
        _findings(
            accounts,
            kind="wattsense_service_account_basic",
            place=pl.format("wattsense: service account {}", "service_account_id_wattsense"),
            message=pl.format(
                "The service account {} may use Basic, which sends its password with every call.",
                _called("service_account_id_wattsense", "name"),
            ),
            next_step="Keep it only if a webhook needs it: else switch the right off in "
            "Wattsense's console and sign with an API key.",
        ),
        _findings(
            roles.filter(pl.col("has_user_management")).join(
                n_holders, on="role_id_wattsense", how="left"
            ),
            kind="wattsense_role_manages_users",
            place=pl.format("wattsense: role {}", "role_id_wattsense"),
            message=pl.format(
                "The role {} may create, invite or change users ({}); holders: {}.",
                _called("role_id_wattsense", "role_name"),
                pl.col("privileges").list.join(", "),
                pl.col("n_holders").fill_null(0),
            ),
            next_step="Look in mart.access who holds it and take it from everybody who need not "
            "manage users.",
        ),
        _findings(
            suspended,
            kind="wattsense_subscription_suspended",
            place=pl.format("wattsense: box {}", "device_id_wattsense"),
            from_at=pl.col("valid_from_at"),
            message=pl.format(
                "The subscription of the box {} is suspended, so its readings may stop.",
                "device_id_wattsense",
            ),
            next_step="If the box is still needed, resume its subscription in Wattsense's console; "
            "else declare the stretch in gaps.csv.",
        ),
    ]
    return pl.concat(found).sort(FINDING.key)


def _in_force(frames: Frames, table: Table) -> pl.DataFrame:
    return frames[table.full_name].filter(pl.col("valid_to_at").is_null())


def _holders(frames: Frames) -> pl.DataFrame:
    """Return holder_kind, holder_id_wattsense, holder_name, is_basic_allowed, holder_made_at."""
    users = _in_force(frames, USER_ACCOUNT).select(
        pl.lit(USER).alias("holder_kind"),
        pl.col("user_id_wattsense").alias("holder_id_wattsense"),
        pl.col("name").alias("holder_name"),
        pl.lit(True).alias("is_basic_allowed"),
        pl.col("created_at").alias("holder_made_at"),
    )
    accounts = _in_force(frames, SERVICE_ACCOUNT).select(
        pl.lit(SERVICE).alias("holder_kind"),
        pl.col("service_account_id_wattsense").alias("holder_id_wattsense"),
        pl.col("name").alias("holder_name"),
        pl.col("is_basic_allowed").fill_null(False),
        pl.col("created_at").alias("holder_made_at"),
    )
    return pl.concat([users, accounts])


def _keys(frames: Frames) -> pl.DataFrame:
    """Return the keys with their owners, `is_owned` and `is_migrated_key`.

    Migrated: a service account's key that still has a level, or is older than the account (made
    for it afterwards, as the migration did). An owner who is not listed any more is none.
    """
    is_older = (
        pl.col("api_key_level").is_in(OLDER_KEY_LEVELS)
        | (pl.col("created_at") < pl.col("holder_made_at"))
    ).fill_null(False)
    return (
        _in_force(frames, API_KEY)
        .select(
            "api_key_id_wattsense",
            "organization_id_wattsense",
            "created_at",
            api_key_name="name",
            api_key_level="level",
            holder_kind="owner_kind",
            holder_id_wattsense="owner_id_wattsense",
        )
        .join(_holders(frames), on=_HOLDER, how="left")
        .with_columns(
            way=pl.lit("api_key"),
            is_owned=pl.col("is_basic_allowed").is_not_null(),
            is_migrated_key=(pl.col("holder_kind") == SERVICE).fill_null(False) & is_older,
        )
    )


def _roles(frames: Frames) -> pl.DataFrame:
    """Return role_id_wattsense, role_name, privileges, has_user_management and the like."""
    frame = _in_force(frames, ROLE)
    privileges = frame["privileges"].to_list()
    return frame.select(
        "role_id_wattsense",
        "privileges",
        role_name="name",
        has_user_management=pl.Series(
            [any(map(manages_users, each)) for each in privileges], dtype=pl.Boolean
        ),
        has_service_account_management=pl.Series(
            [any(map(manages_service_accounts, each)) for each in privileges], dtype=pl.Boolean
        ),
    )


def _called(id_column: str, name_column: str) -> pl.Expr:
    """Return `id (name)`, or the id alone where there is no name."""
    named = pl.format("{} ({})", id_column, name_column)
    return pl.coalesce(named, id_column)


def _findings(
    frame: pl.DataFrame,
    *,
    kind: str,
    place: pl.Expr,
    message: pl.Expr,
    next_step: str,
    from_at: pl.Expr | None = None,
) -> pl.DataFrame:
    instant = FINDING.polars_schema["from_at"]
    return frame.select(
        kind=pl.lit(kind),
        place=place,
        from_at=pl.lit(None, instant) if from_at is None else from_at,
        to_at=pl.lit(None, instant),
        message=message,
        next_step=pl.lit(next_step),
    )


ACCESS_MART: Final = Mart(
    table=ACCESS,
    inputs=(ORGANIZATION, USER_ACCOUNT, SERVICE_ACCOUNT, API_KEY, ROLE, ROLE_GRANT),
    compute=compute_access,
    note="A key reaches what its owner reaches. What a role reaches in organizations that are "
    "managed by its own is not documented and not inferred. Empty when the credential may not see "
    "users and keys (a service account's, or wattsense.read_access is false).",
    plot=Plot("holder_kind", "n"),
)
ACCESS_FINDINGS: Final = Findings(
    inputs=(USER_ACCOUNT, SERVICE_ACCOUNT, API_KEY, ROLE, ROLE_GRANT, DEVICE_SUBSCRIPTION),
    find=find,
)
