"""The one ASGI application: routes each call to its vendor, logs it, and fails on demand.

The path is read as it was sent (`raw_path`): Digiwatt's ids may hold an encoded slash, and
Wattsense signs the path as sent. `/_sandbox/...` is the control side, of no vendor.
"""

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox import digiwatt, smartgridone, wattics, wattics_api, wattsense, wiser
from energy_etl.sandbox.access import Credentials
from energy_etl.sandbox.control import Control
from energy_etl.sandbox.faults import Fault, Faults, spoil
from energy_etl.sandbox.model import Truth
from energy_etl.sandbox.wattics import Answer, Headers

MAX_BODY_BYTES = 1_000_000
MAX_LOGGED = 50_000
_WATTICS_API: Final = wattics_api.PREFIX + "/"
_DROPPED = 0  # the logged status of a call that got no answer


class SandboxVendor(Protocol):
    """What each vendor's module offers; it is made with (truth, credentials, **options)."""

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call; `raw_path` is the path as it was sent."""
        ...

    def error(self, status: int, **headers: str) -> Response:
        """Return a fault's answer in the vendor's own shape."""
        ...


# Start of the path -> vendor, and what makes it. The collector is `wattics` too, by a faster way.
VENDORS: Final[dict[str, tuple[str, Any]]] = {
    digiwatt.PREFIX + "/": ("digiwatt", digiwatt.Digiwatt),
    smartgridone.PREFIX + "/": ("smartgridone", smartgridone.SmartgridOne),
    wattsense.PREFIX + "/": ("wattsense", wattsense.Wattsense),
    wiser.PREFIX + "/": ("wiser", wiser.Wiser),
}


class LoggedRequest(NamedTuple):
    """One call, without headers and bodies: nothing secret is kept."""

    id: int
    at_s: float
    vendor: str
    method: str
    path: str
    query: str
    status: int


class SandboxApp:
    """All vendors and the control side on one port."""

    def __init__(
        self,
        truth: Truth,
        *,
        state_dir: Path | None = None,
        credentials: Credentials | None = None,
        **options: dict[str, Any],
    ) -> None:
        """See `build_app`."""
        truth.now_ms()  # a clock that the truth refuses is an error now, not on the first call
        self.truth = truth
        self.credentials = credentials or Credentials()
        self.faults = Faults()
        self.log: deque[LoggedRequest] = deque(maxlen=MAX_LOGGED)
        self.wattics = wattics.Wattics(
            truth, self.credentials, state_dir=state_dir, **options.pop("wattics_options", {})
        )
        self.wattics_api = wattics_api.WatticsApi(
            truth, self.credentials, self.wattics, state_dir=state_dir
        )
        self.vendors: dict[str, SandboxVendor] = {
            name: make(truth, self.credentials, **options.pop(f"{name}_options", {}))
            for name, make in VENDORS.values()
        }
        if options:
            raise TypeError(f"the sandbox knows no {', '.join(sorted(options))}")
        self._control = Control(self)
        self._n_logged = 0
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        if scope["type"] != "http":
            return
        raw_path = scope["raw_path"].decode("latin-1")
        body = await _read_body(receive)
        if body is None:
            await _send(send, 413, [], b"")
            return
        if raw_path.startswith("/_sandbox/"):
            answer = self._control.handle(Request(scope), raw_path, body)
            await _send(send, *_plain(answer))
            return
        vendor = _vendor_of(raw_path)
        if vendor is None:
            served = ", ".join([*VENDORS, wattics.PREFIX, _WATTICS_API])
            await _send(send, 404, [], f"the sandbox serves {served}\n".encode())
            return
        query = scope["query_string"].decode("latin-1")
        fault = None
        if self.faults.active:
            fault = self.faults.take(vendor, f"{raw_path}?{query}" if query else raw_path)
        if fault is None:
            answer = self._handle(vendor, scope, raw_path, body)
            self._note(scope, vendor, raw_path, query, answer[0])
            await _send(send, *answer)
        else:
            await self._fail(fault, scope, send, raw_path, body)

    def _handle(self, vendor: str, scope: Any, raw_path: str, body: bytes) -> Answer:
        if raw_path.startswith(_WATTICS_API):
            return _plain(self.wattics_api.handle(Request(scope), raw_path, body))
        if vendor == "wattics":
            query, headers = scope["query_string"], scope["headers"]
            return self.wattics.handle(scope["method"], raw_path, query, headers, body)
        return _plain(self.vendors[vendor].handle(Request(scope), raw_path, body))

    def _note(self, scope: Any, vendor: str, path: str, query: str, status: int) -> None:
        self._n_logged += 1
        entry = (self._n_logged, time.time(), vendor, scope["method"], path, query, status)
        self.log.append(LoggedRequest(*entry))

    async def _fail(self, fault: Fault, scope: Any, send: Any, raw_path: str, body: bytes) -> None:
        """Treat a call as the fault says; it is logged before the client can notice."""
        kind, vendor = fault.kind, fault.vendor
        query = scope["query_string"].decode("latin-1")
        answer: Answer | None = None
        if kind == "late_commit":
            task = asyncio.create_task(self._commit_late(fault, scope, raw_path, body))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        elif kind == "status":
            answer = self._error(vendor, raw_path, fault)
        elif kind not in ("drop_before", "down"):
            if kind == "slow":
                await asyncio.sleep(fault.delay_s)
            answer = self._handle(vendor, scope, raw_path, body)
        if answer is None or kind == "drop_after":
            self._note(scope, vendor, raw_path, query, _DROPPED)
            await _drop(send)
            return
        status, headers, content = answer
        self._note(scope, vendor, raw_path, query, status)
        if kind in ("duplicate_page", "repeated_link"):
            headers = _link_again(headers, scope, raw_path, kind)
        elif kind in ("truncated_json", "gap", "nan_value") and status == 200:
            content = spoil(kind, content)
        if kind == "drip":
            await _send_slowly(send, status, headers, content, fault.delay_s)
        else:
            await _send(send, status, headers, content)

    async def _commit_late(self, fault: Fault, scope: Any, raw_path: str, body: bytes) -> None:
        await asyncio.sleep(fault.delay_s)
        self._handle(fault.vendor, scope, raw_path, body)

    def _error(self, vendor: str, raw_path: str, fault: Fault) -> Answer:
        status, after_s = fault.status, fault.retry_after_s
        wait = {} if after_s is None else {"Retry-After": str(after_s)}
        if raw_path.startswith(_WATTICS_API):
            return _plain(self.wattics_api.error(status, **wait))
        if vendor == "wattics":
            pairs = [(name.lower().encode(), value.encode()) for name, value in wait.items()]
            return self.wattics.error(status, *pairs)
        return _plain(self.vendors[vendor].error(status, **wait))

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.wattics.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def build_app(
    truth: Truth,
    *,
    state_dir: Path | None = None,
    credentials: Credentials | None = None,
    **options: dict[str, Any],
) -> SandboxApp:
    """Return the sandbox as an ASGI application.

    Args:
        truth: a `World` or a `Replay`.
        state_dir: where the Wattics collector keeps its packets; None keeps them in memory.
        credentials: what the vendors accept; by default the sandbox's own.
        options: `<vendor>_options`, each the keyword arguments of that vendor's class, such as
            `digiwatt_options={"trend_variant": "whole"}`.
    """
    return SandboxApp(truth, state_dir=state_dir, credentials=credentials, **options)


def _vendor_of(raw_path: str) -> str | None:
    if raw_path.startswith((wattics.PREFIX, _WATTICS_API)):
        return "wattics"
    return next((name for start, (name, _) in VENDORS.items() if raw_path.startswith(start)), None)


def _plain(response: Response) -> Answer:
    return response.status_code, list(response.raw_headers), bytes(response.body)


async def _read_body(receive: Any) -> bytes | None:
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def _with_length(headers: Headers, content: bytes) -> Headers:
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    return [*kept, (b"content-length", str(len(content)).encode())]


async def _send(send: Any, status: int, headers: Headers, content: bytes) -> None:
    if status != 204:
        headers = _with_length(headers, content)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _send_slowly(
    send: Any, status: int, headers: Headers, content: bytes, delay_s: float
) -> None:
    headers = _with_length(headers, content)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for at in range(len(content)):
        await send({"type": "http.response.body", "body": content[at : at + 1], "more_body": True})
        await asyncio.sleep(delay_s)
    await send({"type": "http.response.body", "body": b""})


async def _drop(send: Any) -> None:
    """Close the connection without an answer.

    ASGI has no word for it, so the connection is taken from uvicorn's own `send`; the pause lets
    uvicorn notice, or it would answer 500 on its own.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("only a sandbox that runs in uvicorn can drop a connection")
    transport.abort()
    await asyncio.sleep(0.01)


def _link_again(headers: Headers, scope: Any, raw_path: str, kind: str) -> Headers:
    """Return the headers with a next link that leads to this same page."""
    query = scope["query_string"].decode("latin-1")
    if kind == "duplicate_page":
        # Under another address, so that only the items repeat and not the link.
        query += "&repeat=1" if query else "repeat=1"
    link = f'<{raw_path}?{query}>; rel="next"'.encode("latin-1")
    return [*(pair for pair in headers if pair[0] != b"link"), (b"link", link)]
