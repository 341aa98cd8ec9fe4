"""A caller of the sandbox's SmartgridOne that logs in by itself, and a clock that tests move."""

from typing import Any, Self

import httpx

from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.model import controller_id_smartgridone, node_id_smartgridone

USER, PASSWORD = "sandbox-smartgridone", "sandbox-smartgridone-secret"
TWO_FACTOR_USER = "sandbox-smartgridone-2fa"
CONTROLLER = controller_id_smartgridone("ghent-a")
OTHER_CONTROLLER = controller_id_smartgridone("berlin-a")
GRID, PV, EV = (node_id_smartgridone(f"ghent-a.{name}") for name in ("mains", "pv", "ev"))
OTHER_GRID = node_id_smartgridone("berlin-a.mains_again")


class MovedClock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds


class SmartgridOneCaller:
    """Calls both hosts of one running sandbox."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self.http = httpx.Client(base_url=f"{sandbox.url}/smartgridone", timeout=10.0)
        self._access = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def login(self, username: str = USER, password: str = PASSWORD) -> httpx.Response:
        return self.http.post("/auth/login", json={"username": username, "password": password})

    def auth(self, path: str, token: str, method: str = "GET") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.request(method, f"/auth/{path}", headers=headers)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        if not self._access:
            self._access = self.auth("accesstoken", self.login().text).text
        headers = {"Authorization": f"Bearer {self._access}"} | options.pop("headers", {})
        return self.http.request(method, f"/v1/{path}", headers=headers, **options)

    def devices(self, **body: Any) -> list[dict]:
        answer = self.call("POST", "device/query", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["device"]

    def device(self, node_id: str) -> dict:
        (device,) = self.devices(filter={"nodeId": [node_id]})
        return device

    def telemetry(self, asked: Any, **options: Any) -> httpx.Response:
        return self.call("POST", "telemetry/query", json=asked, **options)


def is_error(answer: httpx.Response, status: int, message: str | None = None) -> bool:
    """Say whether an answer is the vendor's error body of this status (and message)."""
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert set(body) - {"retryAfter"} == {"statusCode", "error", "message"}
    assert body["statusCode"] == status
    return message is None or body["message"] == message
