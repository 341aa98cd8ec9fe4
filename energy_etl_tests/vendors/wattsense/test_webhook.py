"""The documentation's webhook, run as it stands, against the sandbox."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from energy_etl.sandbox import SandboxServer
from energy_etl.sandbox.model import device_id_wattsense
from energy_etl_tests.vendors.extracting import running_sandbox

DOCS = Path(__file__).parents[3] / "docs"
PASSWORD = "sandbox-service-secret"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with running_sandbox() as sandbox:
        yield sandbox


@contextmanager
def _webhook(url: str, username: str) -> Iterator[httpx.Client]:
    login = {"WATTSENSE_URL": url, "WATTSENSE_USERNAME": username, "WATTSENSE_PASSWORD": PASSWORD}
    with subprocess.Popen(
        [sys.executable, str(DOCS / "wattsense_webhook.py"), "0"],
        env=os.environ | login,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        try:
            with httpx.Client(base_url=address, timeout=20.0) as caller:
                yield caller
        finally:
            # Started in the background by a shell we may ignore SIGTERM, and so does our child.
            process.kill()


def test_webhook_answers_with_the_latest_values_of_a_box(sandbox: SandboxServer) -> None:
    url = f"{sandbox.url}/wattsense"
    with _webhook(url, "sandbox-service-basic") as caller:
        device_id = device_id_wattsense("rome-b")
        answer = caller.post("/", json={"deviceId": device_id})
        unknown = caller.post("/", json={"deviceId": "../B0"})
        nonsense = caller.post("/", content=b"[]")
    body = json.loads(answer.content)
    assert (answer.status_code, body["deviceId"]) == (200, device_id)
    fridge = next(row for row in body["values"] if row["slug"] == "fridge")
    assert fridge["unit"] == "Wh"
    assert fridge["value"] > 0
    assert (unknown.status_code, nonsense.status_code) == (404, 400)


def test_body_that_is_deep_or_of_negative_length_got_no_answer(sandbox: SandboxServer) -> None:
    with _webhook(f"{sandbox.url}/wattsense", "sandbox-service-basic") as caller:
        deep = caller.post("/", content=b"[" * 9_000)
        # httpx sends no such length.
        connection = HTTPConnection("127.0.0.1", caller.base_url.port, timeout=20.0)
        connection.request("POST", "/", headers={"Content-Length": "-1"})
        negative = connection.getresponse().status
        connection.close()
        since = sandbox.app.log[-1].id if sandbox.app.log else 0
        dots = caller.post("/", json={"deviceId": ".."})
    assert (deep.status_code, negative) == (400, 400)
    assert dots.status_code == 404
    (seen,) = (call for call in sandbox.app.log if call.id > since)
    assert seen.path.endswith("/v1/devices/%2E%2E/properties")


def test_webhook_of_an_account_without_basic_says_what_to_switch_on(
    sandbox: SandboxServer,
) -> None:
    with _webhook(f"{sandbox.url}/wattsense", "sandbox-service") as caller:
        answer = caller.post("/", json={"deviceId": device_id_wattsense("rome-b")})
    assert answer.status_code == 502
    assert "right to use Basic is switched on" in answer.json()["error"]
    assert PASSWORD not in answer.text


def test_page_names_the_script_and_the_accounts_of_the_sandbox(sandbox: SandboxServer) -> None:
    page = (DOCS / "wattsense_webhook.md").read_text(encoding="utf-8")
    assert "(wattsense_webhook.py)" in page
    accounts = sandbox.app.credentials.wattsense_service_accounts
    assert all(f"`{name}`" in page and f"`{word}`" in page for name, (word, _) in accounts.items())
