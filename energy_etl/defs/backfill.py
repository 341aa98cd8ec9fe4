"""Loading past days: what it would cost at each vendor, and asking Dagster to do it.

The vendors say what it costs (`Vendor.preview`, pure); here is what they are told: what is mapped,
what was seen so far, how long calls take, what is left of the stored quotas. `cli/backfill.py`
shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import dagster as dg
import polars as pl
from dagster._core.definitions.selector import (
    PartitionRangeSelector,
    PartitionsByAssetSelector,
    PartitionsSelector,
)
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.utils import make_new_backfill_id

from energy_etl.defs.extraction import OnlyConfig
from energy_etl.defs.partitions import BATCHES, FIRST_ON
from energy_etl.defs.resources import Etl
from energy_etl.errors import UsageError
from energy_etl.quota import QuotaUse, quota_use
from energy_etl.tables import core, push
from energy_etl.vendors import (
    PAST_METERS,
    PAST_REGISTERS,
    PAST_STREAMS,
    PastPreview,
    PastQuestion,
    Vendor,
    discover_vendors,
)

# Over the span that was seen, so that a register that was silent for a day does not look slow.
_SEEN: Final = """
SELECT register_id, vendor, min(read_at) AS oldest_at,
    count(*) / greatest(date_diff('second', min(read_at), max(read_at)) / 86400.0, 1.0)
        AS rows_per_day
FROM core.reading WHERE version = 1 GROUP BY register_id, vendor
"""
_CALL_S: Final = """
SELECT vendor, endpoint, median(elapsed_ms) / 1000 AS call_s
FROM raw.request WHERE status BETWEEN 200 AND 299 AND requested_at > ? GROUP BY vendor, endpoint
"""
_REMEMBERED: Final = timedelta(days=30)


@dataclass(frozen=True)
class Days:
    """UTC days, both ends included.

    Attributes:
        from_on: first day.
        to_on: last day.
    """

    from_on: date
    to_on: date

    def check(self, today_on: date) -> None:
        """Refuse days that no partition exists for.

        Raises:
            UsageError: the first comes after the last, before 2015 or after today.
        """
        if self.from_on > self.to_on:
            raise UsageError(
                f"--from {self.from_on} is later than --to {self.to_on}: exchange them."
            )
        if self.from_on < FIRST_ON:
            raise UsageError(
                f"--from {self.from_on} lies before {FIRST_ON}, where the partitions begin: "
                "take a later day."
            )
        if self.to_on > today_on:
            raise UsageError(
                f"--to {self.to_on} has not begun yet (in UTC it is {today_on}): take an earlier "
                "day."
            )

    def keys(self) -> list[str]:
        """Return the partition key of each day."""
        n_days = (self.to_on - self.from_on).days + 1
        return [(self.from_on + timedelta(days=n)).isoformat() for n in range(n_days)]

    def batches(self) -> tuple[tuple[datetime, datetime], ...]:
        """Return [start, end) of each run that a backfill of the days is cut into."""
        step = BATCHES.max_partitions_per_run or len(self.keys())
        days = [datetime.combine(date.fromisoformat(key), time(), UTC) for key in self.keys()]
        cut = [days[n : n + step] for n in range(0, len(days), step)]
        return tuple((batch[0], batch[-1] + timedelta(days=1)) for batch in cut)


@dataclass(frozen=True)
class VendorPast:
    """What one vendor says about the days, with the present use of each quota it names.

    Attributes:
        preview: None: the vendor keeps no past that could be loaded.
        uses: one for each of `preview.calls`, in their order.
    """

    vendor: Vendor
    preview: PastPreview | None
    uses: tuple[QuotaUse, ...] = ()

    @property
    def expected_s(self) -> float:
        """How long its calls take, quotas included."""
        calls = self.preview.calls if self.preview else ()
        return sum(
            call.expected_s(use.n_used) + use.pause_s
            for call, use in zip(calls, self.uses, strict=True)
        )

    @property
    def is_loadable(self) -> bool:
        """True when there is something to ask for."""
        return bool(self.preview and self.preview.asset and self.preview.n_registers)


def chosen_vendors(names: Sequence[str]) -> list[Vendor]:
    """Return the named vendors, all when none is named.

    Raises:
        UsageError: a name that no vendor has.
    """
    known = discover_vendors()
    for name in names:
        if name not in known:
            raise UsageError(f"--vendor {name} is not known: take one of {', '.join(known)}.")
    return [known[name] for name in dict.fromkeys(names or known)]


def preview_past(
    etl: Etl, days: Days, vendors: Sequence[Vendor], only: OnlyConfig
) -> list[VendorPast]:
    """Ask each vendor's folder what loading the days would cost; no vendor is called.

    Raises:
        UsageError: a meter or site that the portfolio does not have.
    """
    settings, frames, now = etl.settings(), etl.portfolio().frames, etl.now()
    _refuse_unknown(frames[core.METER], only)
    with etl.warehouse().reading() as reader:
        seen = reader.read(_SEEN)
        call_s = reader.read(_CALL_S, [now - _REMEMBERED])
    registers = _mapped(frames[core.ALIAS], "register", only.chosen(frames[core.REGISTER])).join(
        seen, on=["register_id", "vendor"], how="left"
    )
    meters = _mapped(frames[core.ALIAS], "meter", only.chosen(frames[core.METER]))
    streams = frames[push.STREAM].join(
        only.chosen(frames[core.REGISTER]), on="register_id", how="semi"
    )
    found: list[VendorPast] = []
    for vendor in vendors:
        preview = None
        if vendor.preview is not None:
            own = pl.col("vendor") == vendor.name
            preview = vendor.preview(
                PastQuestion(
                    days.from_on,
                    days.to_on,
                    days.batches(),
                    registers.filter(own).select(PAST_REGISTERS.names()).cast(PAST_REGISTERS),
                    meters.filter(own).select(PAST_METERS.names()).cast(PAST_METERS),
                    streams.select(PAST_STREAMS.names()),
                    settings.section(vendor.settings),
                    dict(call_s.filter(own).select("endpoint", "call_s").iter_rows()),
                    now,
                )
            )
        uses = tuple(
            quota_use(settings.state_path, call.quota, call.window_s, datetime.now(UTC).timestamp())
            for call in (preview.calls if preview else ())
        )
        found.append(VendorPast(vendor, preview, uses))
    return found


def request_backfill(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    asset: str,
    days: Days,
    only: OnlyConfig,
) -> str:
    """Ask Dagster's daemon for the partitions of an asset and return the backfill's id.

    It is what the UI's "Materialize" of several partitions asks for: the daemon cuts the days into
    batches and starts their runs when it looks next (every 30 s).
    """
    key = dg.AssetKey(asset.split("/"))
    graph = definitions.resolve_asset_graph()
    op_name = graph.get(key).assets_def.op.name
    span = PartitionsSelector(
        ranges=[PartitionRangeSelector(start=days.keys()[0], end=days.keys()[-1])]
    )
    backfill = PartitionBackfill.from_partitions_by_assets(
        backfill_id=make_new_backfill_id(),
        asset_graph=graph,
        partitions_by_assets=[PartitionsByAssetSelector(asset_key=key, partitions=span)],
        backfill_timestamp=datetime.now(UTC).timestamp(),
        tags={},
        dynamic_partitions_store=instance,
        title=f"{asset} {days.from_on} to {days.to_on}",
        description="Asked for by `energy-etl backfill`.",
        run_config={
            "ops": {
                op_name: {
                    "config": {"only_meters": only.only_meters, "only_sites": only.only_sites}
                }
            }
        },
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def _mapped(alias: pl.DataFrame, thing: str, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return the chosen rows with `vendor` and `vendor_id` of each vendor that knows them."""
    return (
        alias.filter(pl.col("thing") == thing)
        .rename({"thing_id": f"{thing}_id"})
        .join(chosen, on=f"{thing}_id")
        .sort("vendor", f"{thing}_id")
    )


def _refuse_unknown(meters: pl.DataFrame, only: OnlyConfig) -> None:
    for flag, column, names in (
        ("--only-meter", "meter_id", only.only_meters),
        ("--only-site", "site_id", only.only_sites),
    ):
        unknown = sorted(set(names) - set(meters[column]))
        if unknown:
            raise UsageError(
                f"{flag} {', '.join(unknown)} is not in the portfolio: correct it, or enter it in "
                "meters.csv."
            )
