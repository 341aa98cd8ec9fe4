"""Who is who across the vendors, from `data/portfolio/*.csv`: never a guess.

`layout.py` says which columns each file has and what a cell may hold, `rows.py` reads them,
`rules.py` checks them against each other, `reading.py` makes frames of what is usable, `edits.py`
adds proposals and fills empty cells. What a vendor lists comes from that vendor's folder.
"""

from energy_etl.portfolio.edits import set_push_from, set_stream, write_proposal
from energy_etl.portfolio.problem import Problem
from energy_etl.portfolio.reading import Portfolio

__all__ = ["Portfolio", "Problem", "set_push_from", "set_stream", "write_proposal"]
