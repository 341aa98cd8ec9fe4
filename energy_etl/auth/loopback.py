"""Waits on 127.0.0.1 for the redirect that ends a consent (RFC 8252, section 7.3).

Whatever else comes (a wrong path, another state, a connection that says nothing) is answered or
dropped, and waited on goes. The person is shown a page of ours when it is known how it ended. The
page loads nothing from elsewhere: its address holds the code.
"""

import html
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from energy_etl.errors import ConfigurationError

CALLBACK_PATH: Final = "/callback"
# The literal address: a name could be resolved to something else (RFC 8252, section 8.3).
_HOST: Final = "127.0.0.1"
# A browser opens connections ahead and leaves them silent.
_SILENCE_S: Final = 10.0
_SHOW_S: Final = 60.0
_SENT_S: Final = 5.0

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto 0;
padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{text}</p>
<p>You can close this page.</p>
</main>
</body>
</html>
"""


@dataclass
class Arrival:
    """A redirect that answers the attempt; the browser waits until `show` is called."""

    query: str = field(repr=False)
    _page: "queue.Queue[str]" = field(default_factory=lambda: queue.Queue(1), repr=False)
    _is_sent: threading.Event = field(default_factory=threading.Event, repr=False)

    def show(self, title: str, text: str) -> None:
        """Send the page that tells how it ended; returns when the browser has it."""
        self._page.put(render_page(title, text))
        self._is_sent.wait(_SENT_S)


class LoopbackListener:
    """Listens from the moment it is made; `wait` answers."""

    def __init__(self, port: int, *, vendor: str) -> None:
        """Take a port of 127.0.0.1.

        Args:
            port: 0 takes a free one.
            vendor: whose settings name the port.

        Raises:
            ConfigurationError: the port is taken.
        """
        try:
            self._server = _Server((_HOST, port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} of {_HOST}, where the consent comes back, cannot be used "
                f"({error.strerror}): stop what uses it, or set {vendor}.redirect_port to another "
                "one that is registered with the vendor."
            ) from None
        self.redirect_uri = f"http://{_HOST}:{self._server.server_address[1]}{CALLBACK_PATH}"
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the port back."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def wait(self, is_answer: Callable[[str], bool], deadline_s: float) -> Arrival | None:
        """Return the first redirect whose query is an answer; None when none came in time."""
        self._server.is_answer = is_answer
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="loopback", daemon=True
        )
        self._thread.start()
        try:
            return self._server.arrivals.get(timeout=deadline_s)
        except queue.Empty:
            return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.is_answer: Callable[[str], bool] = lambda _: False
        self.arrivals: queue.Queue[Arrival] = queue.Queue(1)
        self.is_answered = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about a browser that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    timeout = _SILENCE_S

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path != CALLBACK_PATH:
            self._send(404, render_page("Not found", "There is nothing at this address."))
        elif not self.server.is_answer(query):
            self._send(
                400,
                render_page(
                    "This answer belongs to another attempt",
                    "Or it is incomplete. Open the address that energy-etl printed last.",
                ),
            )
        elif not self.server.is_answered.acquire(blocking=False):
            self._send(
                200,
                render_page("Already received", "How it ended is told in the terminal."),
            )
        else:
            arrival = Arrival(query)
            self.server.arrivals.put(arrival)
            try:
                page = arrival._page.get(timeout=_SHOW_S)
            except queue.Empty:
                page = render_page("Received", "How it ended is told in the terminal.")
            try:
                self._send(200, page)
            finally:
                arrival._is_sent.set()

    def _send(self, status: int, page: str) -> None:
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        )
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the request line holds the code."""


def render_page(title: str, text: str) -> str:
    """Return a page of one heading and one paragraph, both escaped."""
    return _PAGE.format(title=html.escape(title), text=html.escape(text))
