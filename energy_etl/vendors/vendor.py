"""`Vendor`: one vendor, as the rest of the package sees it, and what it may bring along.

Each vendor's `__init__.py` fills one in. How its rows reach the tables is in `batch.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl
from pydantic import BaseModel

from energy_etl.rest import RawCall
from energy_etl.settings import Settings
from energy_etl.tables import Check, Findings, Mart, Table
from energy_etl.vendors.batch import VendorBatch, WhoIsWho, Write
from energy_etl.vendors.preview import PastPreview, PastQuestion
from energy_etl.vendors.reach import Reach

UNMAPPED_SCHEMA: Final = pl.Schema(
    {"vendor": pl.String, "thing": pl.String, "vendor_id": pl.String}
)


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
        reach: its logins, its budgets, and a call to try them; None: it does not say.
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
    checks: tuple[Check, ...] = ()
    preview: Callable[[PastQuestion], PastPreview] | None = None
    reach: Reach | None = None

    def core_writes(self, batch: VendorBatch, who: WhoIsWho) -> list[Write]:
        """Return the rows of layer core that a batch amounts to; empty ones are left out."""
        if self.to_core is None:
            return []
        return [write for write in self.to_core(batch, who) if write.frame.height]
