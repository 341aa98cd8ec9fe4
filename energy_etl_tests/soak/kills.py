"""The kill loop of `delivery/test_kill.py` with as many kills as wanted."""

from pathlib import Path

from energy_etl.delivery import Outbox
from energy_etl.sandbox import SandboxServer, World, fixed_clock
from energy_etl.state import open_state
from energy_etl_tests.delivery.conftest import NOW, CollectorServer
from energy_etl_tests.delivery.killing import faults_found, kill_until_delivered, workers
from energy_etl_tests.delivery.known_intervals import known_streams

# One pass over the streams takes about a dozen rounds.
KILLS_PER_PASS = 10


def run(folder: Path, *, n_kills: int, seed: int) -> list[str]:
    """Kill until the number is reached, each pass on a fresh outbox; return what there is to say.

    Raises:
        AssertionError: the collector does not hold what the intervals say, packet by packet.
    """
    n_killed = {"fill": 0, "send": 0}
    n_packets = 0
    options = {"accepts_any_stream": True}
    with SandboxServer(World(now=fixed_clock(NOW)), wattics_options=options) as sandbox:
        server = CollectorServer(sandbox)
        while sum(n_killed.values()) < n_kills:
            number = n_packets
            streams = known_streams(f"soak-{number}")
            path = str(folder / f"state-{number}.sqlite")
            wanted = min(KILLS_PER_PASS, n_kills - sum(n_killed.values()))
            with workers(path, server.url, f"soak-{number}") as started:
                killed = kill_until_delivered(
                    started, server, streams, n_kills=wanted, seed=seed + number
                )
            found = {
                name: faults for name, faults in faults_found(server, streams).items() if faults
            }
            assert not found, found
            with open_state(path) as connection:
                n_confirmed = Outbox(connection).count("confirmed")
            assert n_confirmed == killed.progress[-1], f"{n_confirmed} of {killed.progress[-1]}"
            n_packets += n_confirmed
            for kind, n in killed.n_kills.items():
                n_killed[kind] += n
    return [
        f"{n_killed['send']} sends and {n_killed['fill']} fills were killed",
        f"{n_packets} packets confirmed; none lost, doubled or out of order",
    ]
