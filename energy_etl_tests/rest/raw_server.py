"""A server on 127.0.0.1 that writes what a test says: for faults that no framework makes."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[socket.socket, Received], None]


def answer(status: int = 200, body: bytes = b"", *, headers: dict[str, str] | None = None) -> bytes:
    """Return a whole answer as bytes."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class RawServer:
    """Serves one request per connection, each in a thread."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.received: list[Received] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @classmethod
    def answering(cls, *answers: bytes) -> Self:
        """Send these answers in turn, the last one for ever."""
        turn = iter(range(len(answers)))
        lock = threading.Lock()

        def handle(connection: socket.socket, _: Received) -> None:
            with lock:
                index = next(turn, len(answers) - 1)
            connection.sendall(answers[index])

        return cls(handle)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection:
            try:
                data = b""
                while b"\r\n\r\n" not in data:
                    chunk = connection.recv(65536)
                    if not chunk:
                        return
                    data += chunk
                head, _, body = data.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
                while len(body) < int(headers.get("content-length", 0)):
                    body += connection.recv(65536)
                method, target, _ = first.split(" ", 2)
                request = Received(method, target, headers, body)
                self.received.append(request)
                self._handler(connection, request)
            except OSError:
                return  # the client gave up, as some tests want it to
