"""Licences for people: active, unclaimed, ending; capacity against installed power. Pure.

What the pages leave open is decided here and nowhere else: the unit of `duration`, and which kinds
of device count against which capacity.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import polars as pl

from energy_etl.tables import Check, Findings, Mart, Plot, Verdict, core
from energy_etl.tables.mart import FINDING
from energy_etl.vendors.smartgridone.change_tables import CHANGE, LICENCE_MART
from energy_etl.vendors.smartgridone.tables import COMPANY, DEVICE, LICENCE

# Modelled, not verified: the pages give `duration` as a bare integer.
DURATION_UNIT_US: Final = 86_400_000_000
# Longer ones are no count of days (a year is 31,536,000 s) or mean for ever: no end is known.
_LONGEST_DURATION: Final = 36_525
ENDING_WITHIN_DAYS: Final = 90
_KEY_END: Final = 5
_KINDS: Final = ("grid", "solar", "battery", "ev")
# Modelled, not verified: part of a node type in lower case -> the capacity that its power counts
# against; the first that fits.
_KIND_OF: Final = (
    ("hybrid", "solar"),
    ("solar", "solar"),
    ("battery", "battery"),
    ("evcharger", "ev"),
    ("chargingstation", "ev"),
    ("grid", "grid"),
)
_VALID: Final = ("active", "ending")

MART_INPUTS: Final = (LICENCE, DEVICE, COMPANY, core.ALIAS, core.REGISTER)
Frames = Mapping[str, pl.DataFrame]


def compute_licences(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return `mart.licence`: one row per licence and controller, sorted.

    A licence that several lists show is one; one that no controller lists and that serves nothing
    is unclaimed. `ends_on` is the earlier of activated_at + duration and deactivated_at; no
    duration, 0, or one of more than 100 years: open. The status counts from `now`: ended when it
    ends now or earlier.

    Capacities of the valid (active, ending) licences of a controller are added up per kind and
    compared with what is installed below it; a kind without a figure on either side is not
    compared.

    Args:
        frames: the tables of `MART_INPUTS` by full name.
        now: the present.
    """
    licences = _licences(_current(frames, LICENCE.full_name))
    devices = _current(frames, DEVICE.full_name)
    named = (
        licences.join(_customers(frames), on="customer_id", how="left")
        .join(_controllers(devices), on="controller", how="left")
        .join(_sites(frames, devices), on="controller", how="left")
        .join(_installed(devices), on="controller", how="left")
        .with_columns(_status(now).alias("licence_status"))
    )
    is_valid = pl.col("licence_status").is_in(_VALID)
    comparisons: list[pl.Expr] = []
    for kind in _KINDS:
        # One that does not tell this kind adds nothing to it; when none tells, nothing is compared.
        valid_kw = pl.col(f"{kind}_kw").filter(is_valid)
        licensed_kw = pl.when(valid_kw.count() > 0).then(valid_kw.sum()).over("controller")
        comparisons.append(licensed_kw >= pl.col(f"installed_{kind}_kw"))
    is_compared = is_valid & pl.col("controller").is_not_null()
    days_left = (pl.col("ends_at").dt.date() - pl.lit(now).dt.date()).dt.total_days()
    return (
        named.with_columns(
            licence_id_smartgridone="licence_id_smartgridone",
            licence_key_end=pl.col("licence_key").str.slice(-_KEY_END),
            controller_node_id_smartgridone="controller",
            starts_at="activated_at",
            ends_on=pl.col("ends_at").dt.date(),
            days_left=days_left,
            # all_horizontal: False when one is, else null when one is; those not compared are left.
            has_capacity=pl.when(is_compared).then(_all_known(comparisons)),
        )
        .select(LICENCE_MART.polars_schema.names())
        .cast(LICENCE_MART.polars_schema)
        .sort(LICENCE_MART.key)
    )


def find_licences(frames: Frames, now: datetime) -> pl.DataFrame:
    """Return findings: licences unclaimed, ending, too small; changes whose outcome is unknown."""
    licences = compute_licences(frames, now).with_columns(
        key_end=pl.coalesce("licence_key_end", "licence_id_smartgridone"),
        at=pl.coalesce(
            "site_id", "controller_name", "controller_node_id_smartgridone", pl.lit("-")
        ),
    )
    place = pl.format("smartgridone: licence {}", "licence_id_smartgridone")
    unclaimed = licences.filter(pl.col("licence_status") == "unclaimed")
    ending = licences.filter(pl.col("licence_status") == "ending")
    # Licences of one controller are compared together, so it is one finding.
    small = licences.filter(~pl.col("has_capacity")).unique(
        "controller_node_id_smartgridone", keep="first", maintain_order=True
    )
    changes = _unknown_changes(frames[CHANGE.full_name])
    found = [
        _finding(
            unclaimed,
            "licence_unclaimed",
            place,
            pl.format(
                "The licence whose key ends in {} serves no controller ({}).",
                "key_end",
                pl.coalesce("customer_name", pl.lit("customer not told")),
            ),
            "Claim it with `energy-etl license claim KEY NODE_ID`, or give it back.",
        ),
        _finding(
            ending,
            "licence_ending",
            pl.format("{} at {}", place, "at"),
            pl.format(
                "The licence whose key ends in {} runs out on {}, in {} days.",
                "key_end",
                "ends_on",
                "days_left",
            ),
            "Order its successor, then activate and claim that one.",
        ),
        _finding(
            small,
            "licence_too_small",
            pl.format("smartgridone: controller {} at {}", "controller_node_id_smartgridone", "at"),
            pl.format(
                "The valid licences of controller {} allow less power than is installed below it "
                "(installed: grid {}, solar {}, battery {}, ev {} kW).",
                "controller_node_id_smartgridone",
                *(_kw_text(kind) for kind in _KINDS),
            ),
            "Compare mart.licence with the nameplates, then extend the licence.",
        ),
        _finding(
            changes,
            "change_unknown",
            pl.format("smartgridone: change {}", "change_id"),
            pl.format(
                "Whether {} of {} was done is not known: no answer came and the state could not "
                "be read.",
                "action",
                "subject_told",
            ),
            "Ask for the same again with a dry run: it shows what stands there now.",
        ),
    ]
    return pl.concat(found)


def judge_licences(frames: Frames, now: datetime) -> Verdict:
    """Warn when a licence is unclaimed, ending within 90 days, or too small."""
    del now
    licences = frames[LICENCE_MART.full_name]
    status = licences["licence_status"]
    numbers = {
        "n_licences": licences.height,
        "n_active": int(status.is_in(_VALID).sum()),
        "n_unclaimed": int((status == "unclaimed").sum()),
        "n_ending": int((status == "ending").sum()),
        "n_too_small": int((~licences["has_capacity"]).sum()),
    }
    wrong = {
        "unclaimed": numbers["n_unclaimed"],
        f"ending within {ENDING_WITHIN_DAYS} days": numbers["n_ending"],
        "smaller than what is installed": numbers["n_too_small"],
    }
    told = ", ".join(f"{n} {what}" for what, n in wrong.items() if n)
    message = f"SmartgridOne licences: {told}: see mart.licence and mart.finding."
    return Verdict(passed=not told, numbers=numbers, message=message)


MART: Final = Mart(
    LICENCE_MART,
    MART_INPUTS,
    compute_licences,
    "From the licences as listed last; `duration` is taken as days (not documented).",
    Plot("licence_status", "n"),
)
FINDINGS: Final = Findings((*MART_INPUTS, CHANGE), find_licences)
CHECK: Final = Check(
    LICENCE_MART,
    "licences_in_order",
    f"No licence is unclaimed, ends within {ENDING_WITHIN_DAYS} days or allows less power than is "
    "installed.",
    (LICENCE_MART,),
    judge_licences,
)


def _current(frames: Frames, name: str) -> pl.DataFrame:
    return frames[name].filter(pl.col("valid_to_at").is_null())


def _licences(listed: pl.DataFrame) -> pl.DataFrame:
    """One row per licence and controller, whoever lists it; `controller` null: none is known."""
    is_controller = pl.col("listed_in") == "license/controller"
    facts = (
        listed.sort("received_at")
        .group_by("licence_id_smartgridone")
        .agg(
            pl.col(
                "licence_key",
                "licence_type",
                *(f"{kind}_kw" for kind in _KINDS),
                "activated_at",
                "deactivated_at",
                "duration_native",
            ).last(),
            customer_id=pl.col("listed_for").filter(~is_controller).last(),
            n_datalinks=pl.col("datalink_ids").list.len().max(),
        )
    )
    links = listed.filter(is_controller).select("licence_id_smartgridone", controller="listed_for")
    runs_out_at = pl.col("activated_at") + pl.duration(
        microseconds=pl.col("duration_native") * DURATION_UNIT_US
    )
    return facts.join(links.unique(), on="licence_id_smartgridone", how="left").with_columns(
        ends_at=pl.min_horizontal(
            pl.when(pl.col("duration_native").is_between(1, _LONGEST_DURATION)).then(runs_out_at),
            "deactivated_at",
        )
    )


def _status(now: datetime) -> pl.Expr:
    today_at = pl.lit(now)
    is_claimed = pl.col("controller").is_not_null() | (pl.col("n_datalinks") > 0)
    n_days = (pl.col("ends_at").dt.date() - today_at.dt.date()).dt.total_days()
    return (
        pl.when(pl.col("ends_at") <= today_at)
        .then(pl.lit("ended"))
        .when(~is_claimed)
        .then(pl.lit("unclaimed"))
        .when(pl.col("activated_at").is_null() | (pl.col("activated_at") > today_at))
        .then(pl.lit("inactive"))
        .when(n_days <= ENDING_WITHIN_DAYS)
        .then(pl.lit("ending"))
        .otherwise(pl.lit("active"))
    )


def _customers(frames: Frames) -> pl.DataFrame:
    return (
        _current(frames, COMPANY.full_name)
        .filter(pl.col("customer_id_smartgridone").is_not_null())
        .select(customer_id="customer_id_smartgridone", customer_name="name")
        .unique("customer_id", keep="first", maintain_order=True)
    )


def _controllers(devices: pl.DataFrame) -> pl.DataFrame:
    return (
        devices.filter(pl.col("is_controller") & pl.col("node_id_smartgridone").is_not_null())
        .select(controller="node_id_smartgridone", controller_name="name")
        .unique("controller", keep="first", maintain_order=True)
    )


def _sites(frames: Frames, devices: pl.DataFrame) -> pl.DataFrame:
    """Our site of each controller: where the registers of the devices below it are mapped."""
    registers = (
        frames[core.ALIAS.full_name]
        .filter((pl.col("vendor") == "smartgridone") & (pl.col("thing") == "register"))
        .join(
            frames[core.REGISTER.full_name].select("register_id", "site_id"),
            left_on="thing_id",
            right_on="register_id",
        )
        # `<nodeId>/<field>`; a field has no slash, a node id may have.
        .with_columns(node_id=pl.col("vendor_id").str.replace(r"/[^/]*$", ""))
    )
    below = devices.filter(pl.col("controller_node_id_smartgridone").is_not_null()).select(
        node_id="node_id_smartgridone", controller="controller_node_id_smartgridone"
    )
    sites = (
        below.join(registers, on="node_id").group_by("controller").agg(pl.col("site_id").unique())
    )
    # A controller whose devices are mapped to several sites belongs to none of them.
    return sites.filter(pl.col("site_id").list.len() == 1).with_columns(
        pl.col("site_id").list.first()
    )


def _installed(devices: pl.DataFrame) -> pl.DataFrame:
    """Installed power below each controller per kind; null where no property tells any."""
    node_type = pl.col("node_type").str.to_lowercase()
    kind = pl.coalesce(
        pl.when(node_type.str.contains(part, literal=True)).then(pl.lit(kind))
        for part, kind in _KIND_OF
    )
    told = devices.with_columns(kind=kind).filter(
        pl.col("controller_node_id_smartgridone").is_not_null(),
        pl.col("installed_kw").is_not_null(),
        # A controller's own figure, should it have one, is no device's.
        ~pl.col("is_controller"),
    )
    return told.group_by(controller="controller_node_id_smartgridone").agg(
        pl.when((pl.col("kind") == kind).any())
        .then(pl.col("installed_kw").filter(pl.col("kind") == kind).sum())
        .alias(f"installed_{kind}_kw")
        for kind in _KINDS
    )


def _all_known(comparisons: list[pl.Expr]) -> pl.Expr:
    """True when every comparison that could be made holds; null when none could."""
    any_known = pl.any_horizontal(each.is_not_null() for each in comparisons)
    return pl.when(any_known).then(pl.all_horizontal(each.fill_null(True) for each in comparisons))


def _kw_text(kind: str) -> pl.Expr:
    return pl.coalesce(pl.col(f"installed_{kind}_kw").round(1).cast(pl.String), pl.lit("-"))


def _unknown_changes(changes: pl.DataFrame) -> pl.DataFrame:
    """Return changes of unknown outcome that no later one of the same thing has settled."""
    is_unknown = pl.col("outcome") == "unknown"
    settled_at = pl.col("begun_at").filter(~is_unknown).max().over("action", "subject")
    is_settled = (settled_at > pl.col("begun_at")).fill_null(value=False)
    key_end = pl.format("the licence whose key ends in {}", pl.col("subject").str.slice(-_KEY_END))
    is_device = pl.col("action") == "update_device"
    return changes.filter(is_unknown & ~is_settled).with_columns(
        subject_told=pl.when(is_device).then(pl.col("subject")).otherwise(key_end)
    )


def _finding(
    rows: pl.DataFrame, kind: str, place: pl.Expr, message: pl.Expr, next_step: str
) -> pl.DataFrame:
    return rows.select(
        kind=pl.lit(kind),
        place=place,
        from_at=pl.lit(None),
        to_at=pl.lit(None),
        message=message,
        next_step=pl.lit(next_step),
    ).cast(FINDING.polars_schema)
