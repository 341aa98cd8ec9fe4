"""Ordered, durable, verified delivery: what is filled, when it is released, how it is sent.

`outbox.py` keeps the packets in `state.sqlite` (`schema.py`; `filling.py` takes them in),
`frontier.py` decides which of them may go, `sender.py` sends them, `acks.py` makes what it learnt
durable and `handlers.py` tells people's own code, `watching.py` counts lag and holes, `mirror.py`
shows it all in layer `push`.
`collector.py` says what a vendor must offer (post, last); no vendor is known here: what a packet
says and how it travels lives in that vendor's folder.
"""

from energy_etl.delivery.collector import Answer, Collector
from energy_etl.delivery.frontier import BusyWindow, ReleaseResult, release
from energy_etl.delivery.limits import DrainLimits, DrainReport, StreamReport
from energy_etl.delivery.outbox import FillResult, Outbox
from energy_etl.delivery.plan import StreamPlan
from energy_etl.delivery.sender import drain

__all__ = [
    "Answer",
    "BusyWindow",
    "Collector",
    "DrainLimits",
    "DrainReport",
    "FillResult",
    "Outbox",
    "ReleaseResult",
    "StreamPlan",
    "StreamReport",
    "drain",
    "release",
]
