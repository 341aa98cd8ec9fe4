"""The report: frames of what was published in, one self-contained HTML page out.

`sources.py` names what is read, `figures.py`, `appliances.py`, `streams.py` and
`completeness.py` compute, `ranking.py` says which of many sites come first, the `section_*.py`
write their part of the page, `charts.py` (Altair, vl-convert) and `marks.py` (by hand) draw,
`palette.py` and `style.py` say how it looks, `markup.py` escapes, `page.py` puts it together. No
file, no clock and no network here: reading and writing is `defs/reporting.py`.
"""

from energy_etl.report.page import Report, render_report
from energy_etl.report.sources import SOURCES, Source

__all__ = ["SOURCES", "Report", "Source", "render_report"]
