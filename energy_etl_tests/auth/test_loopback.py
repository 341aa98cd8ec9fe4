"""The listener takes the one answer that counts, whatever else comes, and shows how it ended."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from energy_etl.auth.loopback import LoopbackListener, render_page
from energy_etl.errors import ConfigurationError


@pytest.fixture
def listener() -> Iterator[LoopbackListener]:
    with LoopbackListener(0, vendor="acme") as listener:
        yield listener


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as background:
        yield background


def get(listener: LoopbackListener, target: str, method: str = "GET") -> tuple[int, str, dict]:
    parts = urlsplit(listener.redirect_uri)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.headers)
    finally:
        connection.close()


def is_good(query: str) -> bool:
    return query == "good"


def in_time(listener: LoopbackListener, background: ThreadPoolExecutor) -> Callable:
    """Wait for the answer in the background; returns what gets it."""
    waiting: Future = background.submit(listener.wait, is_good, 20.0)
    return lambda: waiting.result(20)


def test_address_is_the_literal_loopback_one(listener: LoopbackListener) -> None:
    parts = urlsplit(listener.redirect_uri)
    assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/callback")
    assert parts.port


def test_strangers_are_answered_and_waited_on_goes(
    listener: LoopbackListener, background: ThreadPoolExecutor
) -> None:
    answer = in_time(listener, background)
    host, port = urlsplit(listener.redirect_uri).netloc.split(":")
    # A browser's connection ahead of time: it says nothing and must hold nobody up.
    with socket.create_connection((host, int(port))):
        assert get(listener, "/favicon.ico")[0] == 404
        assert get(listener, "/callback/?good")[0] == 404
        assert get(listener, "/callback")[0] == 400
        assert get(listener, "/callback?bad")[0] == 400
        assert get(listener, "/callback?good", "POST")[0] == 501
        shown = background.submit(get, listener, "/callback?good")
        arrival = answer()
        assert arrival.query == "good"
        assert not shown.done()
        arrival.show("It <worked>", "for A & B")
        status, page, headers = shown.result(10)
    assert status == 200
    assert "It &lt;worked&gt;" in page
    assert "for A &amp; B" in page
    assert "<worked>" not in page
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_answer_that_comes_twice_counts_once(
    listener: LoopbackListener, background: ThreadPoolExecutor
) -> None:
    answer = in_time(listener, background)
    shown = [background.submit(get, listener, "/callback?good") for _ in range(4)]
    arrival = answer()
    arrival.show("First", "It counts.")
    pages = [future.result(10)[1] for future in shown]
    assert sum("<h1>First</h1>" in page for page in pages) == 1
    assert sum("<h1>Already received</h1>" in page for page in pages) == 3


def test_nobody_answers_in_time_and_the_port_is_free_again() -> None:
    with LoopbackListener(0, vendor="acme") as listener:
        assert listener.wait(is_good, 0.05) is None
        port = urlsplit(listener.redirect_uri).port
        assert port
    with LoopbackListener(port, vendor="acme") as again:
        assert urlsplit(again.redirect_uri).port == port


def test_browser_that_went_away_does_not_hold_up_the_end(
    listener: LoopbackListener, background: ThreadPoolExecutor
) -> None:
    answer = in_time(listener, background)
    host, port = urlsplit(listener.redirect_uri).netloc.split(":")
    with socket.create_connection((host, int(port))) as gone:
        gone.sendall(b"GET /callback?good HTTP/1.0\r\n\r\n")
        arrival = answer()
    shown = threading.Thread(target=arrival.show, args=("Title", "Text"))
    shown.start()
    shown.join(3)
    assert not shown.is_alive()


def test_port_that_is_taken_is_told_with_its_setting(listener: LoopbackListener) -> None:
    port = urlsplit(listener.redirect_uri).port
    assert port
    with pytest.raises(ConfigurationError, match=rf"Port {port} .* acme\.redirect_port"):
        LoopbackListener(port, vendor="acme")


def test_page_loads_nothing_from_elsewhere() -> None:
    page = render_page("Title", "Text")
    assert "http" not in page
    assert "<script" not in page
    assert "src=" not in page
