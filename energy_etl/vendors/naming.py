"""From a vendor's ids and names to ours: the mapped registers of a batch, ids for a proposal; pure.

Which columns hold a vendor's ids, and what of it is a site, a meter or a register, is told in that
vendor's `to_core.py`.
"""

from collections.abc import Sequence

import polars as pl


def mapped_registers(
    rows: pl.DataFrame, ids: Sequence[str], alias: pl.DataFrame, vendor: str
) -> pl.DataFrame:
    """Return which of our registers the rows are of; those that nobody mapped are left out.

    Args:
        rows: have the columns `ids`.
        ids: the vendor's ids that make up a register's, as text; `/` stands between them.
        alias: core.alias.
        vendor: whose ids they are.

    Returns:
        `ids` and register_id, one row per register; not sorted.
    """
    registers = alias.filter((pl.col("thing") == "register") & (pl.col("vendor") == vendor))
    return (
        rows.select(ids)
        .unique()
        .with_columns(vendor_id=pl.concat_str(ids, separator="/"))
        .join(registers, on="vendor_id")
        .select(*ids, register_id="thing_id")
    )


def slug(text: str) -> str:
    """Return a name as an id: letters and digits, with single hyphens between."""
    kept = "".join(character if character.isalnum() else "-" for character in text.strip().lower())
    return "-".join(part for part in kept.split("-") if part) or "unnamed"
