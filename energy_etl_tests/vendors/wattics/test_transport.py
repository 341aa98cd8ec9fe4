"""Exchanges with servers that are written byte by byte, on asyncio's event loop and on uvloop's."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_etl.delivery.loop import run_fast
from energy_etl.vendors.wattics import transport
from energy_etl.vendors.wattics.connection import (
    MAX_ANSWER_BYTES,
    Connection,
    LostError,
    NoAnswerInTimeError,
    Received,
)
from energy_etl.vendors.wattics.transport import Connections, NotSentError, NotTrustedError
from energy_etl_tests.certificates import write_certificate

POST = b"POST /x/ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, run_fast], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


class Peer:
    """The other side of one connection; `number` counts the connections from 1."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def asked(self) -> bool:
        """Wait for a request; False when the client hung up instead."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            return bool(await self.reader.readexactly(len(POST)))
        return False

    async def say(self, *parts: bytes) -> None:
        """Send pieces, each in a packet of its own as far as that can be had."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0)


class Server:
    """What was seen of a scripted server."""

    def __init__(self) -> None:
        self.port = 0
        self.n_connections = 0

    def client(
        self,
        timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        n: int = 4,
    ) -> Connections:
        return Connections(host, self.port, tls, max_connections=n, timeout_s=timeout_s)


@contextlib.asynccontextmanager
async def serving(
    script: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """Serve a script per connection; the connection is closed when it ends."""
    seen = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.n_connections += 1
        try:
            with contextlib.suppress(ConnectionError):
                await script(Peer(seen.n_connections, reader, writer))
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        await server.wait_closed()


def answering(*parts: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Return a script that answers each request alike."""

    async def script(peer: Peer) -> None:
        while await peer.asked():
            await peer.say(*parts)

    return script


@contextlib.asynccontextmanager
async def closing(client: Connections) -> AsyncIterator[Connections]:
    try:
        yield client
    finally:
        await client.close()


def told(received: Received) -> tuple[int, bytes]:
    return received.status, received.body


def test_answer_that_comes_byte_by_byte_is_whole_and_the_connection_is_kept(run: Run) -> None:
    async def main() -> None:
        script = answering(*(OK[n : n + 1] for n in range(len(OK))))
        async with serving(script) as server, closing(server.client()) as client:
            for _ in range(3):
                assert told(await client.exchange(POST)) == (200, b"ok")
            assert server.n_connections == 1

    run(main())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK, (200, b"ok")),
        (
            b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nno \r\n4\r\nsuch\r\n0\r\nSet-Cookie: a=trailer\r\n\r\n",
            (400, b"no such"),
        ),
        (b"HTTP/1.1 204 None\r\n\r\n", (204, b"")),
        (b"\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\n  folded\r\nContent-Length: 0\r\n\r\n", None),
    ],
    ids=["1xx", "chunked", "204", "folded header"],
)
def test_framed_answer_is_read_to_its_end(
    run: Run, answer: bytes, expected: tuple[int, bytes] | None
) -> None:
    async def main() -> None:
        async with serving(answering(answer)) as server, closing(server.client()) as client:
            if expected is None:
                # Obsolete since RFC 7230: refused, as what may hide something.
                with pytest.raises(LostError):
                    await client.exchange(POST)
                return
            for _ in range(2):
                received = await client.exchange(POST)
                assert told(received) == expected
                assert received.header(b"set-cookie") is None
            assert server.n_connections == 1

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"HTTP/1.1 4",
        OK + b"\x00 garbage",
    ],
    ids=["close", "1.0", "second answer", "half a second one", "garbage behind it"],
)
def test_connection_is_not_used_again_after(run: Run, answer: bytes) -> None:
    async def main() -> None:
        async with serving(answering(answer)) as server, closing(server.client()) as client:
            for _ in range(2):
                assert told(await client.exchange(POST)) == (200, b"ok")
            assert server.n_connections == 2

    run(main())


@pytest.mark.parametrize(
    ("answer", "body"),
    [(b"HTTP/1.1 500 Oh\r\n\r\nto the end", b"to the end"), (b"HTTP/1.1 500 Oh\r\n\r\n", b"")],
)
def test_answer_without_a_length_ends_with_its_connection(
    run: Run, answer: bytes, body: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.say(answer[:20], answer[20:])

    async def main() -> None:
        async with serving(script) as server, closing(server.client()) as client:
            assert told(await client.exchange(POST)) == (500, body)

    run(main())


@pytest.mark.parametrize(
    ("answer", "cause", "is_silent"),
    [
        (b"", "before the answer", True),
        (OK[:9], "in the middle", False),
        (OK[:-1], "in the middle", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok", "in the middle", False),
        (b"HTTP/1.1 101 Other\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "no answer", False),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "no answer",
            False,
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_ANSWER_BYTES + 1), "head", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "head", False),
    ],
    ids=["none", "status", "length", "chunks", "101", "two lengths", "long head", "endless 1xx"],
)
def test_answer_that_is_none_is_lost_and_not_asked_for_again(
    run: Run, answer: bytes, cause: str, is_silent: bool
) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.say(answer)

    async def main() -> None:
        async with serving(script) as server, closing(server.client()) as client:
            with pytest.raises(LostError, match=cause) as caught:
                await client.exchange(POST, is_repeatable=True)
            assert caught.value.is_silent == is_silent
            # The connection was new: nothing says that a second one would do better.
            assert server.n_connections == 1

    run(main())


def test_kept_connection_that_was_closed_costs_a_question_a_second_call_and_a_packet_none(
    run: Run,
) -> None:
    async def script(peer: Peer) -> None:
        # The second request of the first connection meets a closed door, as in a race.
        for _ in range(1 if peer.number == 1 else 9):
            await peer.asked()
            await peer.say(OK)
        await peer.asked()

    async def main() -> None:
        for is_repeatable in (True, False):
            async with serving(script) as server, closing(server.client()) as client:
                await client.exchange(POST)
                if is_repeatable:
                    assert told(await client.exchange(POST, is_repeatable=True)) == (200, b"ok")
                else:
                    with pytest.raises(LostError, match="before the answer"):
                        await client.exchange(POST)
                assert server.n_connections == 1 + is_repeatable

    run(main())


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n"])
def test_connection_that_was_closed_or_spoke_while_idle_is_left(run: Run, says: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.say(OK)
        if peer.number == 1:
            # Not in one breath with the answer.
            await asyncio.sleep(0.01)
            await peer.say(says)
            if says:
                assert not await peer.asked()

    async def main() -> None:
        async with serving(script) as server, closing(server.client()) as client:
            await client.exchange(POST)
            while client._open:
                await asyncio.sleep(0.001)
            # Not even repeatable: nothing went to the old connection.
            assert told(await client.exchange(POST)) == (200, b"ok")
            assert server.n_connections == 2

    run(main())


def test_connection_that_was_idle_for_long_is_left(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with serving(answering(OK)) as server, closing(server.client()) as client:
            for kept_s, n_connections in ((30.0, 1), (30.0, 1), (0.0, 2)):
                monkeypatch.setattr(transport, "KEPT_IDLE_S", kept_s)
                await client.exchange(POST)
                assert server.n_connections == n_connections

    run(main())


def test_slow_drip_ends_at_the_deadline_of_the_whole_exchange(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.say(OK)
        await peer.asked()
        for byte in b"HTTP/1.1 100 Continue\r\n\r\n" * 99:
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.005)

    async def main() -> None:
        async with serving(script) as server, closing(server.client(0.3)) as client:
            loop = asyncio.get_running_loop()
            await client.exchange(POST)
            await asyncio.sleep(0.05)
            began_s = loop.time()
            with pytest.raises(NoAnswerInTimeError):
                await client.exchange(POST)
            # Its own deadline, not that of the exchange before; a busy machine is late.
            assert 0.29 <= loop.time() - began_s < 2.0

    run(main())


def test_exchanges_end_in_the_order_of_their_deadlines(run: Run) -> None:
    async def script(peer: Peer) -> None:
        await peer.asked()
        await peer.asked()

    async def main() -> None:
        ended: list[int] = []
        async with serving(script) as server, closing(server.client(0.3)) as client:

            async def exchange(number: int) -> None:
                await asyncio.sleep(0.05 * number)
                with pytest.raises(NoAnswerInTimeError):
                    await client.exchange(POST)
                ended.append(number)

            await asyncio.gather(*(exchange(number) for number in (2, 0, 1)))
        assert ended == [0, 1, 2]

    run(main())


def test_more_exchanges_than_connections_wait_for_one(run: Run) -> None:
    async def script(peer: Peer) -> None:
        while await peer.asked():
            await asyncio.sleep(0.005)
            await peer.say(OK)

    async def main() -> None:
        async with serving(script) as server, closing(server.client(n=2)) as client:
            received = await asyncio.gather(*(client.exchange(POST) for _ in range(8)))
            assert {told(each) for each in received} == {(200, b"ok")}
            assert server.n_connections == 2

    run(main())


def test_exchange_that_got_no_connection_in_time_was_surely_not_sent(run: Run) -> None:
    async def main() -> None:
        async with serving(answering(OK)) as server, closing(server.client(0.02, n=1)) as client:
            await client._places.acquire()
            with pytest.raises(NotSentError, match=r"no connection came free within 0\.02 s"):
                await client.exchange(POST)
            assert server.n_connections == 0

    run(main())


def test_exchange_that_is_cancelled_closes_its_connection(run: Run) -> None:
    async def main() -> None:
        arrived, hung_up = asyncio.Event(), asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.asked()
            if peer.number > 1:
                await peer.say(OK)
                return
            arrived.set()
            assert not await peer.asked()
            hung_up.set()

        async with serving(script) as server, closing(server.client(n=1)) as client:
            exchange = asyncio.ensure_future(client.exchange(POST))
            await arrived.wait()
            exchange.cancel()
            await asyncio.wait_for(hung_up.wait(), 5.0)
            with pytest.raises(asyncio.CancelledError):
                await exchange
            # Its place is free again, and nobody takes the late answer for one of his own.
            assert told(await client.exchange(POST)) == (200, b"ok")
            assert server.n_connections == 2

    run(main())


def test_closing_ends_what_is_under_way(run: Run) -> None:
    async def main() -> None:
        arrived = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.asked()
            arrived.set()
            await peer.asked()

        async with serving(script) as server:
            client = server.client()
            exchange = asyncio.ensure_future(client.exchange(POST))
            await arrived.wait()
            await client.close()
            with pytest.raises(LostError, match="closed by us"):
                await exchange

    run(main())


def test_second_address_is_tried_and_remembered(run: Run) -> None:
    async def main() -> None:
        async with serving(answering(OK)) as server, closing(server.client()) as client:
            # Nobody listens at the first one.
            client._addresses = ["127.0.0.2", "127.0.0.1"]
            client._resolve_s = asyncio.get_running_loop().time()
            assert told(await client.exchange(POST)) == (200, b"ok")
            assert client._addresses == ["127.0.0.1", "127.0.0.2"]

    run(main())


def test_name_that_is_none_was_surely_not_sent(run: Run) -> None:
    async def main() -> None:
        async with closing(
            Connections("a..b", 80, None, max_connections=1, timeout_s=5.0)
        ) as client:
            with pytest.raises(NotSentError, match=r"the name a\.\.b has no address"):
                await client.exchange(POST)

    run(main())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate: Path | None) -> ssl.SSLContext:
    # Without the system's: who reads them for each test waits for that.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate:
        context.load_verify_locations(certificate)
    return context


def shown(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_tls_keeps_its_connection_and_ends_at_close(run: Run, certificate: Path) -> None:
    async def main() -> None:
        ends = b"HTTP/1.1 500 Oh\r\n\r\nends with the connection"

        async def script(peer: Peer) -> None:
            for answer in (OK, OK, ends):
                await peer.asked()
                await peer.say(answer)

        tls = trusting(certificate)
        async with (
            serving(script, shown(certificate)) as server,
            closing(server.client(tls=tls)) as client,
        ):
            answers = [told(await client.exchange(POST)) for _ in range(3)]
            assert answers == [(200, b"ok"), (200, b"ok"), (500, b"ends with the connection")]
            assert server.n_connections == 1

    run(main())


def test_certificate_of_an_unknown_authority_or_of_another_host_is_not_trusted(
    run: Run, certificate: Path
) -> None:
    async def main() -> None:
        async with serving(answering(OK), shown(certificate)) as server:
            for authority, host in ((None, "127.0.0.1"), (certificate, "localhost")):
                client = server.client(tls=trusting(authority), host=host)
                client._addresses = ["127.0.0.1"]
                client._resolve_s = asyncio.get_running_loop().time()
                async with closing(client):
                    with pytest.raises(NotTrustedError, match="certificate verify failed"):
                        await client.exchange(POST)

    run(main())


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad\r\n\r\n", b"", None])
def test_handshake_that_fails_was_surely_not_sent(run: Run, says: bytes | None) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        if says is None:
            # Says nothing at all.
            await peer.reader.read()
        else:
            await peer.say(says)

    async def main() -> None:
        tls = trusting(None)
        async with (
            serving(script) as server,
            closing(server.client(0.1 if says is None else 5.0, tls)) as client,
        ):
            with pytest.raises(NotSentError) as caught:
                await client.exchange(POST)
            assert str(caught.value)

    run(main())


class _Wire:
    """What a connection writes to when there is no other side."""

    def __init__(self) -> None:
        self._is_closing = False

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing


class _Opener:
    def opened(self, connection: Connection) -> None: ...

    def was_lost(self, connection: Connection) -> None: ...


VALID = [
    OK,
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;e=1\r\nabcde\r\n1\r\nf\r\n0\r\nT: 1\r\n\r\n",
]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(VALID), st.sets(st.integers(min_value=1, max_value=100)))
def test_answer_is_the_same_however_it_is_split(answer: bytes, cuts: set[int]) -> None:
    def received_in(pieces: list[bytes]) -> tuple[object, ...]:
        async def main() -> tuple[object, ...]:
            connection = Connection(_Opener())
            connection.connection_made(cast(asyncio.Transport, _Wire()))
            found = connection.send(POST, 1.0)
            for piece in pieces:
                assert not found.done()
                connection.data_received(piece)
            assert connection.is_usable
            received = found.result()
            return received.status, received.headers, received.body

        return loop.run(main())

    at = (0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer))
    pieces = [answer[first:last] for first, last in itertools.pairwise(at)]
    with asyncio.Runner() as loop:
        assert received_in(pieces) == received_in([answer])
