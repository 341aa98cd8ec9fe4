"""The vendor sandbox: Digiwatt, Wattsense and the Wattics collector on 127.0.0.1, fed by one truth.

`World` (seeded) or `Replay` (real registers from a folder) is the truth; each vendor module serves
it through that vendor's own page and a known distortion; `app` adds the request log and faults on
demand; `server` runs it in a thread or in the foreground.

Nothing here imports the clients, the transforms or the portfolio: the sandbox reads each vendor's
page by itself, so that a misread cannot hide on both sides.
"""

from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.app import build_app
from energy_etl.sandbox.replay import Replay
from energy_etl.sandbox.server import PortInUseError, SandboxServer, serve
from energy_etl.sandbox.world import World, fixed_clock

__all__ = [
    "Credentials",
    "PortInUseError",
    "Replay",
    "SandboxServer",
    "World",
    "build_app",
    "fixed_clock",
    "serve",
]
