"""Runs the sandbox on 127.0.0.1: in a thread for tests, in the foreground for the CLI."""

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import uvicorn

from energy_etl.sandbox.app import SandboxApp, build_app
from energy_etl.sandbox.model import Truth
from energy_etl.sandbox.replay import DamagedFileError, Replay
from energy_etl.sandbox.world import World, fixed_clock, utc_now

_START_S = 30.0
_STOP_S = 10.0


class PortInUseError(RuntimeError):
    """Somebody else listens on the port."""


def _listen(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise PortInUseError(
            f"the sandbox cannot listen on {host}:{port} ({error.strerror});"
            " stop what listens there or choose another port with --port"
        ) from error
    return sock


def _server(app: SandboxApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        timeout_keep_alive=60,
        backlog=512,
    )
    return uvicorn.Server(config)


class SandboxServer:
    """The sandbox in a thread: `with SandboxServer(World()) as sandbox: ... sandbox.url`."""

    def __init__(
        self, truth: Truth, *, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        """Prepare a server; port 0 takes a free one, `options` are those of `build_app`."""
        self.app = build_app(truth, **options)
        self._socket = _listen(host, port)
        self.host, self.port = self._socket.getsockname()[:2]
        self.url = f"http://{self.host}:{self.port}"
        self._server = _server(self.app)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> Self:
        """Serve in a thread and return when the sandbox answers."""
        self._thread.start()
        deadline_s = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline_s:
                raise RuntimeError(f"the sandbox at {self.url} did not start; see the lines above")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop serving and wait for the thread; harmless when it never started."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_STOP_S)
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    replay: Path | None = None,
    now: datetime | None = None,
    **options: Any,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; print the URL when it answers.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        replay: a folder with real registers to serve instead of the seeded world.
        now: the instant that the vendors take for now; None is the real time, or for a replay an
            hour after its last reading.
        options: those of `build_app`, such as `state_dir`.

    Raises:
        SystemExit: after one sentence on stderr: 2 when `now` lies before the world starts, 3
            when the port is taken or the folder holds no registers, or damaged ones.
    """
    clock = None if now is None else fixed_clock(now)
    try:
        truth = Replay(replay, clock) if replay else World(now=clock or utc_now)
        sandbox = SandboxServer(truth, host=host, port=port, **options)
    except (PortInUseError, FileNotFoundError, DamagedFileError, ValueError) as error:
        print(f"energy-etl: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, ValueError) else 3) from error
    with _signals() as asked, sandbox:
        print(f"The vendor sandbox answers at {sandbox.url}", flush=True)
        while not asked:
            time.sleep(0.1)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, and give the old handlers back afterwards.

    No threading.Event: set by a handler while the same thread begins to wait, it blocks for ever.
    """
    asked: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    old = {kind: signal.signal(kind, lambda number, _: asked.append(number)) for kind in kinds}
    try:
        yield asked
    finally:
        for kind, handler in old.items():
            signal.signal(kind, handler)
