"""Sums that do not depend on the order of the rows.

A parallel sum of floats adds in whatever order its threads finish, so two runs over the same rows
may differ in the last bit, and a table that did not change would look changed. Integers add the
same in any order.
"""

from typing import Final

import polars as pl

# A power of two only moves the exponent, so nothing is rounded but what lies below 2**-50
# (9e-16 of a kWh). Int128 then leaves room for sums up to 1.5e23.
_SCALE: Final = 2.0**50


def exact_sum(values: pl.Expr) -> pl.Expr:
    """Sum a Float64 expression, the same in any order of rows.

    Nulls, NaN and infinities are left out; null when nothing is left (missing is not 0).
    """
    whole = (values * _SCALE).round().cast(pl.Int128, strict=False)
    total = whole.sum().cast(pl.Float64) / _SCALE
    return pl.when(whole.count() > 0).then(total)
