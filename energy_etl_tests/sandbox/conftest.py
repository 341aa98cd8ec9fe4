"""A sandbox in a thread with a fixed present, and callers that sign and log in by themselves."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from energy_etl.sandbox import SandboxServer, World, fixed_clock

NOW_AT = datetime(2025, 4, 16, 9, 0, tzinfo=UTC)  # a Wednesday after the clock changes of spring
COLLECTOR = "/measurements/v2/unifiedjson/"
MAIN = ("sandbox-wattics", "sandbox-wattics-secret")
SECOND = ("sandbox-wattics-2", "sandbox-wattics-2-secret")


def wattsense_headers(method: str, target: str, body: str = "", at_s: float | None = None) -> dict:
    """Sign a call as Wattsense's API page says, independently of the sandbox's own code."""
    path, _, query = target.partition("?")
    stamp = str(int((time.time() if at_s is None else at_s) * 1000))
    message = "\n".join(part for part in (method, path, query, body, stamp) if part)
    digest = hmac.new(b"sandbox-wattsense-secret", message.encode(), hashlib.sha512).digest()
    signature = base64.b64encode(digest).decode()
    return {"X-API-Auth": f"sandbox-wattsense:{signature}", "X-API-Timestamp": stamp}


class Caller:
    """Calls one running sandbox."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.url, timeout=10.0)
        self._token = ""

    def wattsense(self, target: str, method: str = "GET", body: str = "") -> httpx.Response:
        target = target.removeprefix(self.sandbox.url)
        target = target if target.startswith("/wattsense") else "/wattsense/v1/" + target
        headers = wattsense_headers(method, target, body)
        return self.http.request(method, target, headers=headers, content=body.encode())

    def token(self, **changes: str) -> httpx.Response:
        form = {
            "client_id": "sandbox-digiwatt",
            "client_secret": "sandbox-digiwatt-secret",
            "grant_type": "client_credentials",
        }
        return self.http.post("/digiwatt/auth/token", data=form | changes)

    def digiwatt(self, target: str) -> httpx.Response:
        if not self._token:
            self._token = self.token().json()["access_token"]
        headers = {"Authorization": f"Bearer {self._token}"}
        return self.http.get(f"/digiwatt/smartmeters/{target}", headers=headers)

    def push(self, packet: Any, auth: tuple[str, str] | None = MAIN) -> httpx.Response:
        body = packet if isinstance(packet, bytes) else json.dumps(packet).encode()
        login = httpx.BasicAuth(*auth) if auth else httpx.Auth()
        return self.http.post(COLLECTOR, content=body, auth=login)

    def last(self, stream_id: str, auth: tuple[str, str] = MAIN) -> httpx.Response:
        return self.http.get(COLLECTOR, params={"stream": stream_id}, auth=auth)

    def fault(self, **wish: Any) -> httpx.Response:
        return self.http.post("/_sandbox/faults", json=wish)

    def close(self) -> None:
        self.http.close()


@pytest.fixture(scope="package")
def world() -> World:
    """One world for all tests of this folder: nothing writes to it."""
    return World(now=fixed_clock(NOW_AT))


@pytest.fixture(scope="package")
def running(world: World) -> Iterator[SandboxServer]:
    """One sandbox for all tests that leave no trace in it."""
    with SandboxServer(world) as sandbox:
        yield sandbox


@pytest.fixture
def caller(running: SandboxServer) -> Iterator[Caller]:
    """A caller of the shared sandbox; the faults it posted are removed afterwards."""
    caller = Caller(running)
    yield caller
    running.app.faults.clear()
    caller.close()
