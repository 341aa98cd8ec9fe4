"""The Wattics data collector as its API page and its public clients use it.

`POST /measurements/v2/unifiedjson/` (and `unifiedjson_utc/`, `unifiedjson_partial/`), one packet
per request; `GET ...unifiedjson/?stream=<id>` is the last packet as pushed. Several accounts, each
with its own streams. A packet out of order is accepted, stored in order of arrival and counted: the
page documents no rejection. With a `state_dir` each account keeps its packets in a file of JSON
lines.

This is the hot path of the push benchmark: no framework objects, one decode, one write per packet.
"""

import base64
import math
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import msgspec

from energy_etl.sandbox.access import Credentials, basic_credentials
from energy_etl.sandbox.model import Truth

PREFIX = "/measurements/v2/"
ROUTES = ("unifiedjson/", "unifiedjson_utc/", "unifiedjson_partial/")
REALM = "Wattics"
FULL_AUTHENTICATION = "HTTP Status 401 - Full authentication is required to access this resource"
_PHASED = ("aP", "rP", "apP", "v", "c", "pC")
ELECTRICAL_FIELDS = frozenset(
    [f"{name}_{phase}" for name in _PHASED for phase in (1, 2, 3)] + ["v_12", "v_13", "v_23"]
)
_KEYS = ELECTRICAL_FIELDS | {"id", "tsISO8601", "value"}
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
_MAX_SESSIONS = 10_000

Headers = list[tuple[bytes, bytes]]
Answer = tuple[int, Headers, bytes]
_JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")


class PacketError(ValueError):
    """A packet that breaks the page's format; the message says which rule."""


@dataclass
class StreamLog:
    """What one stream received, in order of arrival."""

    packets: list[bytes] = field(default_factory=list)
    stamps_ms: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    newest_ms: int = -1
    last: bytes = b""
    newest: bytes = b""
    n_out_of_order: int = 0
    n_duplicates: int = 0


def parse_packet(body: bytes) -> tuple[dict, int]:
    """Return a packet and its instant in ms, or raise `PacketError`."""
    try:
        packet = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PacketError(f"The body is no JSON: {error}.") from error
    if type(packet) is not dict:
        raise PacketError("The body must be one JSON object.")
    if b"\n" in body.strip():
        raise PacketError("The packet must be on one line.")
    if not _KEYS.issuperset(packet):
        raise PacketError(f"Unknown key {sorted(set(packet) - _KEYS)[0]!r}.")
    stream_id, stamp = packet.get("id"), packet.get("tsISO8601")
    if type(stream_id) is not str or not stream_id:
        raise PacketError("id must be a non-empty string.")
    if type(stamp) is not str or not _STAMP.fullmatch(stamp):
        raise PacketError("tsISO8601 must look like 2016-02-10T21:45:31.070+11:00.")
    if len(packet) < 3:
        raise PacketError("The packet holds no measurement.")
    if "value" in packet and len(packet) > 3:
        raise PacketError("value cannot stand beside electrical fields.")
    for key, value in packet.items():
        if key not in ("id", "tsISO8601") and (
            type(value) not in (int, float) or not math.isfinite(value)
        ):
            raise PacketError(f"{key} must be a finite number.")
    try:
        at_ms = round(datetime.fromisoformat(stamp).timestamp() * 1000.0)
    except (ValueError, OverflowError) as error:
        raise PacketError(f"tsISO8601 is no instant: {error}.") from error
    return packet, at_ms


def _answer(status: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    body = msgspec.json.encode({"status": status, "message": message})
    return status, [_JSON, *headers], body


class Wattics:
    """The collector: accounts, their streams and what these received."""

    def __init__(
        self,
        truth: Truth,
        credentials: Credentials,
        *,
        state_dir: Path | None = None,
        accepts_any_stream: bool = False,
        last_packet: str = "received",
    ) -> None:
        """Receive packets for the streams of `truth`.

        Args:
            truth: whose streams exist.
            credentials: the accounts.
            state_dir: where packets are kept over a restart; None keeps them in memory only.
            accepts_any_stream: take stream ids that nobody agreed on.
            last_packet: `received` answers the last one that came, `newest` the newest stamp.
        """
        if last_packet not in ("received", "newest"):
            raise ValueError(f"last_packet is received or newest, not {last_packet!r}")
        self._known = credentials
        self._accepts_any_stream = accepts_any_stream
        self._is_newest = last_packet == "newest"
        self._zones = {
            stream.stream_id: ZoneInfo(
                truth.sites[truth.registers[stream.register_id].site_id].zone
            )
            for stream in truth.streams.values()
        }
        self.streams: dict[str, dict[str, StreamLog]] = {name: {} for name in credentials.wattics}
        for stream in truth.streams.values():
            self.streams.setdefault(stream.account, {})[stream.stream_id] = StreamLog()
        self._sessions: dict[str, None] = {}
        self._accepted: dict[bytes, str] = {}
        self._files: dict[str, int] = {}
        self.refresh()
        if state_dir is not None:
            self._open(state_dir)

    def refresh(self) -> None:
        """Read the accounts' passwords again, after one was changed."""
        self._accepted = {
            b"Basic " + base64.b64encode(f"{user}:{password}".encode()): account
            for account, (user, password) in self._known.wattics.items()
        }

    def close(self) -> None:
        """Close the files of the state."""
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def handle(self, method: str, path: str, query: bytes, headers: Headers, body: bytes) -> Answer:
        """Answer one call to a path below `/measurements/v2/`."""
        authorization = cookie = b""
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"cookie":
                cookie = value
        account = self._accepted.get(authorization) or self._account(authorization)
        if account is None:
            return self.error(401)
        route = path.removeprefix(PREFIX)
        if route not in ROUTES:
            return _answer(404, "No such resource.")
        extra = self._session(cookie)
        if method == "POST":
            return self._push(account, route, body, extra)
        if method == "GET":
            return self._last(account, query, extra)
        return _answer(405, "Use POST or GET.", (b"allow", b"GET, POST"))

    def error(self, status: int, *headers: tuple[bytes, bytes]) -> Answer:
        """Return an error in the shape of this vendor."""
        if status == 401:
            page = f"<html><body><h1>{FULL_AUTHENTICATION}</h1></body></html>".encode()
            challenge = (b"www-authenticate", f'Basic realm="{REALM}"'.encode())
            return 401, [(b"content-type", b"text/html;charset=utf-8"), challenge, *headers], page
        return _answer(status, f"HTTP Status {status}", *headers)

    def _account(self, authorization: bytes) -> str | None:
        """Accept other spellings of the scheme than the one that is looked up first."""
        credentials = basic_credentials(authorization.decode("latin-1"))
        for account, known in self._known.wattics.items():
            if credentials == known:
                return account
        return None

    def _session(self, cookie: bytes) -> Headers:
        _, found, rest = cookie.partition(b"JSESSIONID=")
        if found and rest.partition(b";")[0].decode("latin-1") in self._sessions:
            return []
        session = secrets.token_hex(16)
        self._sessions[session] = None
        if len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return [(b"set-cookie", f"JSESSIONID={session}; Path=/; HttpOnly".encode())]

    def _push(self, account: str, route: str, body: bytes, extra: Headers) -> Answer:
        try:
            packet, at_ms = parse_packet(body)
        except PacketError as error:
            return _answer(400, str(error), *extra)
        stream_id = packet["id"]
        if stream_id not in self.streams[account] and not self._accepts_any_stream:
            return _answer(404, f"No data point {stream_id!r} in this account.", *extra)
        raw = body.strip()
        if account in self._files:
            line = b'{"route":"%s","packet":%s}\n' % (route.encode(), raw)
            os.write(self._files[account], line)
        self._store(account, route, packet, at_ms, raw)
        return 200, extra, b""

    def _store(self, account: str, route: str, packet: dict, at_ms: int, raw: bytes) -> None:
        log = self.streams[account].setdefault(packet["id"], StreamLog())
        shown = raw
        if route == "unifiedjson_utc/" and packet["id"] in self._zones:
            local = datetime.fromisoformat(packet["tsISO8601"]).astimezone(
                self._zones[packet["id"]]
            )
            shown = msgspec.json.encode(
                packet | {"tsISO8601": local.isoformat("T", "milliseconds")}
            )
        is_part = route == "unifiedjson_partial/" and bool(log.stamps_ms)
        if is_part and at_ms == log.stamps_ms[-1]:
            shown = msgspec.json.encode(msgspec.json.decode(log.last) | packet)
        elif at_ms in log.seen:
            log.n_duplicates += 1
        elif at_ms < log.newest_ms:
            log.n_out_of_order += 1
        log.packets.append(raw)
        log.stamps_ms.append(at_ms)
        log.seen.add(at_ms)
        log.last = shown
        if at_ms >= log.newest_ms:
            log.newest_ms, log.newest = at_ms, shown

    def _last(self, account: str, query: bytes, extra: Headers) -> Answer:
        stream_id = parse_qs(query.decode("latin-1")).get("stream", [""])[0]
        log = self.streams[account].get(stream_id)
        if log is None:
            return _answer(404, f"No data point {stream_id!r} in this account.", *extra)
        if not log.packets:
            return _answer(404, f"No packet received for {stream_id!r}.", *extra)
        return 200, [_JSON, *extra], log.newest if self._is_newest else log.last

    def _open(self, state_dir: Path) -> None:
        """Load what was kept and go on from there."""
        state_dir.mkdir(parents=True, exist_ok=True)
        for account in self.streams:
            path = state_dir / f"wattics-{account}.jsonl"
            if path.is_file():
                self._load(account, path)
            self._files[account] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _load(self, account: str, path: Path) -> None:
        kept = path.read_bytes()
        whole = kept[: kept.rfind(b"\n") + 1]
        if len(whole) < len(kept):
            # A kill in the middle of a write leaves half a line: its packet was never answered.
            os.truncate(path, len(whole))
        for line in whole.splitlines():
            route, _, raw = line.removeprefix(b'{"route":"').partition(b'","packet":')
            packet, at_ms = parse_packet(raw[:-1])
            self._store(account, route.decode(), packet, at_ms, raw[:-1])
