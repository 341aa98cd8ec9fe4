"""Who is who across the vendors, from `data/portfolio/*.csv`: never a guess.

`layout.py` says which columns each file has and what a cell may hold, `rows.py` reads them,
`rules.py` and `stream_rules.py` check them against each other, `reading.py` makes frames of what
is usable, `edits.py` adds proposals and fills empty cells. What a vendor lists comes from that
vendor's folder.
"""

from energy_etl.portfolio.edits import (
    set_push_from,
    set_stream,
    set_stream_field,
    write_proposal,
)
from energy_etl.portfolio.problem import Problem
from energy_etl.portfolio.reading import Portfolio
from energy_etl.portfolio.stream_rules import FieldProblem

__all__ = [
    "FieldProblem",
    "Portfolio",
    "Problem",
    "set_push_from",
    "set_stream",
    "set_stream_field",
    "write_proposal",
]
