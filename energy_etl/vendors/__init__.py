"""The vendors: what they share, and how a new one is found.

Each vendor is one sub-package with a constant `VENDOR` (a `Vendor`). `discover_vendors` looks into
every sub-package, so the sixth vendor is one folder and no edit elsewhere. The answers of a vendor
become tables by two pure functions, the same for a live fetch and for `energy-etl rebuild`:

    calls of one fetch (RawCall) -> Vendor.to_batch -> VendorBatch (writes to the vendor's tables)
    VendorBatch, who is who      -> Vendor.to_core  -> writes to the tables of layer core

No network and no warehouse here: `rest/` fetches, `warehouse/` writes what a `Write` says.
"""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from energy_etl.rest import RawCall
from energy_etl.settings import Settings, load_settings
from energy_etl.tables import SHARED_TABLES, Table
from energy_etl.vendors.batch import (
    Listing,
    Problem,
    VendorBatch,
    WhoIsWho,
    Whole,
    Window,
    Write,
)
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
from energy_etl.vendors.vendor import UNMAPPED_SCHEMA, Proposal, Vendor

__all__ = [
    "GUESSED_CALL_S",
    "PAST_METERS",
    "PAST_REGISTERS",
    "PAST_STREAMS",
    "UNMAPPED_SCHEMA",
    "Listing",
    "PastPreview",
    "PastQuestion",
    "PlannedCalls",
    "Problem",
    "Proposal",
    "RawCall",
    "Vendor",
    "VendorBatch",
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
