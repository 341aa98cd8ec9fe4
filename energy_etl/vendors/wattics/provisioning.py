"""Which meters Wattics is to be given: the plan of `energy-etl streams create`. Pure.

Nothing is guessed: a site is at Wattics where the portfolio says so (`site_id_wattics`) or where
the meters of its mapped streams are listed; else it is created, in the organization that is named
or is the only one, unless a site of its name is there: the one of a run that broke off before it
had a meter. A meter that is listed with the stream's id already is mapped, not created.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from energy_etl.tables import core, push
from energy_etl.tables.model import Table
from energy_etl.vendors.wattics.wire import SINGLE_FIELD, propose_field


@dataclass(frozen=True)
class Listed:
    """What Wattics lists now: columns of its tables, without versions."""

    organization: pl.DataFrame
    site: pl.DataFrame
    meter: pl.DataFrame


@dataclass(frozen=True)
class NewSite:
    """A site to create; `site_id` is ours."""

    site_id: str
    name: str
    organization_id: str


@dataclass(frozen=True)
class NewStream:
    """A stream to map, and its meter to create where none is listed.

    Attributes:
        meter_id: Wattics' id of the meter that is there; None: to be created.
        site_id_wattics: where it is created; None: at a site that is new too.
    """

    register_id: str
    stream_id: str
    field: str
    content: str
    interval_minutes: int
    credential: str
    site_id: str
    name: str
    commodity: str
    meter_id: str | None
    site_id_wattics: str | None

    @property
    def is_electrical(self) -> bool:
        """True when the packet has one of the 21 electrical fields."""
        return self.field != SINGLE_FIELD

    def sentence(self) -> str:
        """Say what will be done."""
        what = f"map {self.register_id} to stream {self.stream_id} ({self.field}, {self.content}, "
        what += f"{self.interval_minutes} min, credential {self.credential})"
        if self.meter_id is not None:
            return f"{what}: meter {self.meter_id} is there."
        where = f"site {self.site_id_wattics}" if self.site_id_wattics else "the new site"
        return f"create meter {self.name!r} at {where}, {what}."


@dataclass
class Plan:
    """What will be done, and the sentences about registers for which nothing can be."""

    sites: list[NewSite] = field(default_factory=list)
    streams: list[NewStream] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def plan_streams(
    frames: Mapping[Table, pl.DataFrame],
    listed: Listed,
    *,
    only: Collection[str],
    credentials: Sequence[str],
    credential: str | None = None,
    organization_id: str | None = None,
) -> Plan:
    """Plan a stream for each register that has none.

    Args:
        frames: of the portfolio.
        listed: what Wattics lists.
        only: the registers that are asked for; empty: every primary one.
        credentials: the names of those in the settings.
        credential: for all new streams; None: the one of the site's other streams, or the only one.
        organization_id: where new sites go; None: the only organization.
    """
    plan = Plan()
    registers = frames[core.REGISTER].sort("register_id")
    known = set(registers["register_id"])
    plan.refused += [
        f"{register_id} is not in registers.csv: correct its name."
        for register_id in only
        if register_id not in known
    ]
    streams = frames[push.STREAM]
    wanted = (
        registers.join(streams, on="register_id", how="anti")
        .join(frames[push.STREAM_FIELD], on="register_id", how="anti")
        .filter(pl.col("register_id").is_in(list(only)) if only else pl.col("is_primary"))
    )
    plan.refused += [
        f"{register_id} has a stream already: change it with `energy-etl streams map`."
        for register_id in sorted(known.intersection(only) - set(wanted["register_id"]))
    ]
    names = wanted.join(
        frames[core.METER].select("meter_id", meter_name="name"), on="meter_id", how="left"
    ).join(frames[core.SITE].select("site_id", site_name="name"), on="site_id", how="left")
    of_register = registers.select("register_id", "site_id")
    site_streams = streams.join(of_register, on="register_id")
    for row in names.iter_rows(named=True):
        there = site_streams.filter(pl.col("site_id") == row["site_id"])
        chosen = credential or _only([*there["credential"].unique()]) or _only(credentials)
        if chosen is None or chosen not in credentials:
            plan.refused.append(
                f"{row['register_id']} has no credential: name one of the settings "
                f"({', '.join(credentials) or 'there is none'}) with --credential."
            )
            continue
        stream_id = row["register_id"]
        meters = listed.meter.filter(pl.col("reference") == stream_id)["meter_id_wattics"]
        site_id_wattics = _site_at_wattics(frames[core.ALIAS], listed, there, row["site_id"])
        if meters.is_empty() and site_id_wattics is None:
            there_ids = listed.organization["organization_id_wattics"].to_list()
            organization = organization_id or _only(there_ids)
            if organization is None:
                plan.refused.append(
                    f"{row['register_id']}: its site is not known at Wattics, and it is not clear "
                    "in which organization it belongs: name it with --organization, or fill in "
                    "site_id_wattics in sites.csv."
                )
                continue
            new = NewSite(row["site_id"], row["site_name"], organization)
            namesakes = listed.site.filter(
                organization_id_wattics=organization, name=row["site_name"]
            )["site_id_wattics"].to_list()
            if len(namesakes) > 1:
                plan.refused.append(
                    f"{row['register_id']}: Wattics lists several sites {new.name!r} "
                    f"({', '.join(namesakes)}): fill in site_id_wattics in sites.csv."
                )
                continue
            site_id_wattics = _only(namesakes)
            if site_id_wattics is None and new not in plan.sites:
                plan.sites.append(new)
        plan.streams.append(_new_stream(row, stream_id, chosen, meters, site_id_wattics))
    return plan


def _new_stream(
    row: Mapping[str, Any],
    stream_id: str,
    credential: str,
    meters: pl.Series,
    site_id_wattics: str | None,
) -> NewStream:
    packet_field, content = propose_field(row["kind"], row["commodity"], row["unit"])
    return NewStream(
        register_id=row["register_id"],
        # `reference` is ours to choose: the id that people know.
        stream_id=stream_id,
        field=packet_field,
        content=content,
        interval_minutes=row["grid_minutes"],
        credential=credential,
        site_id=row["site_id"],
        name=f"{row['site_name']}, {row['meter_name']}",
        commodity=row["commodity"],
        meter_id=None if meters.is_empty() else meters[0],
        site_id_wattics=site_id_wattics,
    )


def _site_at_wattics(
    alias: pl.DataFrame, listed: Listed, site_streams: pl.DataFrame, site_id: str
) -> str | None:
    """Return Wattics' id of a site: as the portfolio says, else where its streams are listed."""
    named = alias.filter(thing="site", vendor="wattics", thing_id=site_id)["vendor_id"]
    if not named.is_empty():
        return named[0]
    at = listed.meter.filter(pl.col("reference").is_in(site_streams["stream_id"].to_list()))
    return _only([*at["site_id_wattics"].unique()])


def _only(values: Sequence[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def list_streams(
    streams: pl.DataFrame, stream_fields: pl.DataFrame, meters: pl.DataFrame | None
) -> list[dict[str, Any]]:
    """Return the stream map beside what Wattics lists, one mapping per stream or meter.

    Args:
        streams: columns of push.stream.
        stream_fields: columns of push.stream_field.
        meters: columns of wattics.meter; None: Wattics was not asked.

    Returns:
        stream_id, state (mapped: in both; unknown there: Wattics lists no such meter; unmapped:
        it has no row in streams.csv; not asked), register_id, field, content, interval_minutes,
        credential, zone (of its files), further_fields (field, register_id, content of each),
        meter_id_wattics, meter_name, site_id_wattics; sorted by state and stream.
    """
    columns = ("register_id", "field", "content", "interval_minutes", "credential", "zone")
    further: dict[str, list[dict[str, str]]] = {}
    for row in stream_fields.sort("stream_id", "field").iter_rows(named=True):
        further.setdefault(row.pop("stream_id"), []).append(row)
    ours = streams.select("stream_id", *columns, is_ours=pl.lit(value=True))
    theirs = (
        pl.DataFrame(
            schema=dict.fromkeys(
                ("stream_id", "meter_id_wattics", "meter_name", "site_id_wattics"), pl.String
            )
        )
        if meters is None
        else meters.select(
            "meter_id_wattics", "site_id_wattics", stream_id="reference", meter_name="name"
        )
    ).with_columns(is_theirs=pl.lit(value=True))
    state = (
        pl.when(pl.lit(meters is None))
        .then(pl.lit("not asked"))
        .when(pl.col("is_theirs").is_null())
        .then(pl.lit("unknown there"))
        .when(pl.col("is_ours").is_null())
        .then(pl.lit("unmapped"))
        .otherwise(pl.lit("mapped"))
    )
    rows = (
        ours.join(theirs, on="stream_id", how="full", coalesce=True)
        .select(
            "stream_id",
            state.alias("state"),
            *columns,
            "meter_id_wattics",
            "meter_name",
            "site_id_wattics",
        )
        .sort("state", "register_id", "stream_id")
        .to_dicts()
    )
    return [row | {"further_fields": further.get(row["stream_id"], [])} for row in rows]
