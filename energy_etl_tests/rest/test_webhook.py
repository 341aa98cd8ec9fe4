"""`Webhook` against servers on 127.0.0.1: one call, bounded, and nothing shows its address."""

import json
import socket
import time

import pytest

from energy_etl.errors import BadRequestError, UnavailableError, VendorError
from energy_etl.rest.transport import Limits
from energy_etl.rest.webhook import SETTING, Webhook, secret_parts
from energy_etl_tests.rest.raw_server import RawServer, Received, answer

PATH = "/services/T0000/canary-of-the-hook?sig=canary-signature&v=1"
MESSAGE = {"text": "extract_wattsense: é", "failures": [{"n_runs": 1}]}


def test_message_is_posted_whole_with_the_query_of_the_address() -> None:
    with RawServer.answering(answer(204)) as server, Webhook(server.url + PATH) as webhook:
        webhook.post(MESSAGE)
    (received,) = server.received
    assert (received.method, received.target) == ("POST", PATH)
    assert received.headers["content-type"] == "application/json"
    assert json.loads(received.body) == MESSAGE


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (500, UnavailableError, "tried again by itself"),
        (429, UnavailableError, "tried again by itself"),
        (404, BadRequestError, f"set {SETTING} to an address that is still valid"),
        (302, BadRequestError, "a redirect, which is never followed"),
    ],
)
def test_refusal_is_a_sentence_without_the_address(
    status: int, kind: type[VendorError], advice: str
) -> None:
    with RawServer.answering(answer()) as other:
        echoed = f"no canary-of-the-hook here, nor canary-signature at {PATH}"
        refusal = answer(status, echoed.encode(), headers={"Location": other.url + PATH})
        with RawServer.answering(refusal) as server, Webhook(server.url + PATH) as webhook:
            with pytest.raises(kind) as raised:
                webhook.post(MESSAGE)
            assert len(server.received) == 1
        assert other.received == []
    assert f"The webhook answered {status}" in str(raised.value)
    assert advice in str(raised.value)
    for shown in ("canary", "127.0.0.1", "T0000"):
        assert shown not in str(raised.value)


def test_receiver_that_hangs_or_floods_is_left_in_time() -> None:
    def hang(connection: socket.socket, _: Received) -> None:
        time.sleep(0.5)

    flood = answer(200, b"x" * 200_000)
    limits = Limits(connect_s=1.0, answer_s=0.2, max_bytes=1000)
    for receiver, said in [
        (RawServer(hang), r"not complete after 0\.2 s: check the network"),
        (RawServer.answering(flood), "larger than"),
    ]:
        with (
            receiver as server,
            Webhook(server.url + PATH, limits) as webhook,
            pytest.raises(UnavailableError, match=said),
        ):
            webhook.post(MESSAGE)


def test_host_that_is_no_name_in_any_script_is_not_reached() -> None:
    with Webhook("https://xn--a/hook") as webhook, pytest.raises(UnavailableError) as raised:
        webhook.post(MESSAGE)
    assert "xn--a" not in str(raised.value)


def test_reachability_is_tried_without_a_message() -> None:
    with RawServer.answering(answer()) as server, Webhook(server.url + PATH) as webhook:
        webhook.check_reachable()
        assert server.received == []
    with pytest.raises(UnavailableError, match="refused") as raised, Webhook(server.url) as webhook:
        webhook.check_reachable()
    assert "127.0.0.1" not in str(raised.value)


def test_parts_of_the_address_are_secret_but_not_its_short_words() -> None:
    parts = secret_parts("https://hooks.example.org:8443" + PATH)
    assert {"hooks.example.org", "hooks.example.org:8443", "canary-of-the-hook"} < {*parts}
    assert {"canary-signature", "sig=canary-signature"} < {*parts}
    assert not {"services", "v=1"} & {*parts}
    assert secret_parts("") == []
