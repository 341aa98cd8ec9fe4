"""The vendors: what they share, and how a new one is found.

Each vendor is one sub-package with a constant `VENDOR` (a `Vendor`). `discover_vendors` looks into
every sub-package, so the sixth vendor is one folder and no edit elsewhere. The answers of a vendor
become tables by two pure functions, the same for a live fetch and for `energy-etl rebuild`:

    calls of one fetch (RawCall) -> Vendor.to_batch -> VendorBatch (writes to the vendor's tables)
    VendorBatch, who is who      -> Vendor.to_core  -> writes to the tables of layer core

No network and no warehouse here: `rest.py` fetches, `warehouse` writes what a `Write` says.
"""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import polars as pl
from pydantic import BaseModel

from energy_etl.errors import EnergyEtlError
from energy_etl.rest import RawCall
from energy_etl.settings import Settings, load_settings
from energy_etl.tables import SHARED_TABLES, Table
from energy_etl.tables.raw import QUARANTINE
from energy_etl.vendors.preview import (
    GUESSED_CALL_S,
    PAST_METERS,
    PAST_REGISTERS,
    PAST_STREAMS,
    PastPreview,
    PastQuestion,
    PlannedCalls,
    oldest_sentence,
)


@dataclass(frozen=True)
class Window:
    """Replace: the rows of `ids` within [from_at, to_at) were fetched whole.

    Attributes:
        ids: one row per fetched thing; its columns are columns of the table.
        time_column: the table's column that the window cuts.
    """

    ids: pl.DataFrame
    time_column: str
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True)
class Whole:
    """Replace: everything that the table holds of `ids` came whole, at no matter what instants.

    Attributes:
        ids: one row per thing; its columns are columns of the table.
    """

    ids: pl.DataFrame


@dataclass(frozen=True)
class Listing:
    """Keep what was listed as versions in time: appeared, changed, moved, vanished.

    The table has `valid_from_at` (in its key) and `valid_to_at` (null: still so); the frame comes
    without them.

    Attributes:
        scopes: one row per COMPLETE listing; its columns are columns of the table. What stood
            within a scope and is not in the frame has vanished. Empty: nothing vanishes.
        at: when the vendor was asked.
    """

    scopes: pl.DataFrame
    at: datetime


How = Window | Whole | Listing | Literal["merge", "append_versions"]


@dataclass(frozen=True)
class Write:
    """Rows for one table and the way to bring them in.

    `Window` is `replace_window`, `Whole` is `replace_whole`, `Listing` is `write_listing`, "merge"
    is by the table's key,
    "append_versions" adds only new and changed values of `core.reading` as versions.
    """

    table: Table
    frame: pl.DataFrame
    how: How


@dataclass(frozen=True)
class Problem:
    """One answer that could not be used: the rest of the fetch was."""

    subject: str
    error: EnergyEtlError


@dataclass
class VendorBatch:
    """What the calls of one fetch say, ready to be written in one transaction."""

    writes: list[Write] = field(default_factory=list)
    quarantine: pl.DataFrame = field(default_factory=QUARANTINE.empty_frame)
    problems: list[Problem] = field(default_factory=list)

    def frame(self, table: Table) -> pl.DataFrame:
        """Return all rows for one table, in its schema."""
        frames = [write.frame for write in self.writes if write.table is table]
        return pl.concat(frames) if frames else table.empty_frame()


@dataclass(frozen=True)
class WhoIsWho:
    """The part of the portfolio that turns a vendor's ids into ours (tables of layer core)."""

    alias: pl.DataFrame
    register: pl.DataFrame
    meter: pl.DataFrame


@dataclass
class Proposal:
    """Rows for the portfolio's CSV files, proposed from what a vendor lists.

    Each row is a mapping from a column of `data/portfolio/<file>.csv` to its text; what the vendor
    does not tell is left out for a person to fill in.
    """

    sites: list[dict[str, str]] = field(default_factory=list)
    meters: list[dict[str, str]] = field(default_factory=list)
    registers: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Mart:
    """A table of layer mart that is made of one vendor's nouns, computed with all other marts.

    Attributes:
        table: what is computed, whole; described in the vendor's tables.py, schema mart.
        inputs: the tables it is made of: the vendor's, or shared ones (small, or aggregated).
        compute: (frames by full name, now) -> the table's rows; pure.
        note: for the UI: what makes it and how to read it.
    """

    table: Table
    inputs: tuple[Table, ...]
    compute: Callable[[Mapping[str, pl.DataFrame], datetime], pl.DataFrame]
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """What a vendor's tables show that somebody should look at.

    Attributes:
        inputs: the tables that are looked at.
        find: (frames by full name, now) -> rows of mart.finding; pure.
    """

    inputs: tuple[Table, ...]
    find: Callable[[Mapping[str, pl.DataFrame], datetime], pl.DataFrame]


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        passed: False shows the asset as degraded; nothing is stopped.
        numbers: what was counted, for the UI.
        message: what is wrong and what to do next; empty when it passed.
    """

    passed: bool
    numbers: Mapping[str, int | float | str]
    message: str = ""


@dataclass(frozen=True)
class VendorCheck:
    """An asset check that warns about what a vendor gave; it stops nothing.

    Attributes:
        table: the asset it is shown at.
        name: in the UI, snake_case.
        description: what has to hold.
        inputs: the tables that are looked at.
        judge: (frames by full name, now) -> verdict; pure.
    """

    table: Table
    name: str
    description: str
    inputs: tuple[Table, ...]
    judge: Callable[[Mapping[str, pl.DataFrame], datetime], Verdict]


@dataclass(frozen=True)
class Vendor:
    """One vendor, as the rest of the package sees it.

    Attributes:
        name: the folder, the settings' section, and `vendor` in every table.
        title: its name for people.
        document: the title of the vendor's page that the client follows.
        tables: the vendor's own tables (schema = name).
        settings: the pydantic model of its section in the settings.
        to_batch: the calls of ONE fetch -> its tables; None: nothing is extracted.
        to_core: a batch -> tables of layer core; None: nothing of it goes there.
        propose: a batch -> rows for the portfolio; None: it lists nothing.
        unmapped: (vendor tables' frames, alias) -> vendor, thing, vendor_id of what nobody mapped.
        feeds: the tables of layer core that `to_core` writes to.
        sandbox: the sandbox's URL -> its section's settings on the target sandbox, where they are
            not set otherwise.
        fetch_listing: asks for what `propose` reads.
        marts: tables of layer mart that are made of its nouns.
        findings: what of its nouns somebody should look at; None: nothing.
        checks: asset checks that warn, beside the unique key of each table.
        preview: what loading past days would cost and bring; pure; None: it keeps no past that
            could be loaded.
    """

    name: str
    title: str
    document: str
    tables: tuple[Table, ...]
    settings: type[BaseModel]
    to_batch: Callable[[Sequence[RawCall]], VendorBatch] | None = None
    to_core: Callable[[VendorBatch, WhoIsWho], list[Write]] | None = None
    propose: Callable[[VendorBatch], Proposal] | None = None
    unmapped: Callable[[Mapping[str, pl.DataFrame], pl.DataFrame], pl.DataFrame] | None = None
    feeds: tuple[Table, ...] = ()
    sandbox: Callable[[str], dict[str, Any]] | None = None
    fetch_listing: Callable[[Settings], list[RawCall]] | None = None
    marts: tuple[Mart, ...] = ()
    findings: Findings | None = None
    checks: tuple[VendorCheck, ...] = ()
    preview: Callable[[PastQuestion], PastPreview] | None = None

    def core_writes(self, batch: VendorBatch, who: WhoIsWho) -> list[Write]:
        """Return the rows of layer core that a batch amounts to; empty ones are left out."""
        if self.to_core is None:
            return []
        return [write for write in self.to_core(batch, who) if write.frame.height]


UNMAPPED_SCHEMA: Final = pl.Schema(
    {"vendor": pl.String, "thing": pl.String, "vendor_id": pl.String}
)


def all_tables() -> tuple[Table, ...]:
    """Return every table: the shared ones, each vendor's, and the marts made of them."""
    vendors = discover_vendors().values()
    own = (table for vendor in vendors for table in vendor.tables)
    marts = (mart.table for vendor in vendors for mart in vendor.marts)
    return (*SHARED_TABLES, *own, *marts)


def project_settings(root: Path | None = None, **overrides: Any) -> Settings:
    """Read the settings with every vendor's section; the sandbox's credentials are known.

    Raises:
        ConfigurationError: a setting is unknown or does not fit.
    """
    vendors = discover_vendors()
    settings = load_settings(
        {name: vendor.settings for name, vendor in vendors.items()}, root, **overrides
    )
    if settings.target != "sandbox":
        return settings
    sections: dict[str, BaseModel] = {}
    for name, vendor in vendors.items():
        if vendor.sandbox is not None:
            given = getattr(settings, name)
            chosen = {key: getattr(given, key) for key in given.model_fields_set}
            known = vendor.sandbox(settings.sandbox_url)
            sections[name] = vendor.settings.model_validate({**known, **chosen})
    return settings.model_copy(update=sections)


__all__ = [
    "GUESSED_CALL_S",
    "PAST_METERS",
    "PAST_REGISTERS",
    "PAST_STREAMS",
    "UNMAPPED_SCHEMA",
    "Findings",
    "Listing",
    "Mart",
    "PastPreview",
    "PastQuestion",
    "PlannedCalls",
    "Problem",
    "Proposal",
    "RawCall",
    "Vendor",
    "VendorBatch",
    "VendorCheck",
    "Verdict",
    "WhoIsWho",
    "Whole",
    "Window",
    "Write",
    "all_tables",
    "discover_vendors",
    "group_fetches",
    "oldest_sentence",
    "project_settings",
]


def discover_vendors() -> dict[str, Vendor]:
    """Import every sub-package of this one and return its `VENDOR` by name, sorted by name."""
    found: dict[str, Vendor] = {}
    for info in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        if info.ispkg:
            vendor = _vendor_of(importlib.import_module(info.name))
            if vendor is not None:
                found[vendor.name] = vendor
    return dict(sorted(found.items()))


def _vendor_of(module: ModuleType) -> Vendor | None:
    vendor = getattr(module, "VENDOR", None)
    return vendor if isinstance(vendor, Vendor) else None


def group_fetches(calls: Iterable[RawCall]) -> list[list[RawCall]]:
    """Split calls into fetches, in the order in which the fetches began.

    `energy-etl rebuild` replays `to_batch` and `to_core` over these groups, so it does exactly what
    the live runs did. A call without a `fetch_id` is a fetch of its own.
    """
    fetches: defaultdict[str, list[RawCall]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: (call.requested_at, call.request_id)):
        fetches[str(call.params.get("fetch_id", call.request_id))].append(call)
    return list(fetches.values())
