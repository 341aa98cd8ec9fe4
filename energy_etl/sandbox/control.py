"""The control side of the sandbox: `/_sandbox/...`. It belongs to no vendor and needs no login.

GET health, requests, streams, packets, truth; POST and DELETE faults; POST passwords.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from energy_etl.sandbox.calendar import from_ms, to_ms
from energy_etl.sandbox.faults import FaultError

if TYPE_CHECKING:
    from energy_etl.sandbox.app import SandboxApp


def _answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def _wrong(message: str, status: int = 400) -> Response:
    return _answer({"error": message}, status)


class Control:
    """Answers what tests and people ask the sandbox itself."""

    def __init__(self, app: "SandboxApp") -> None:
        """Look into `app`."""
        self._app = app

    def handle(self, request: Request, raw_path: str, body: bytes) -> Response:
        """Answer one call."""
        call = f"{request.method} {raw_path.removeprefix('/_sandbox/')}"
        match call:
            case "GET health":
                return self._health()
            case "GET requests":
                return self._requests(request)
            case "GET streams":
                return self._streams()
            case "GET packets":
                return self._packets(request)
            case "GET truth":
                return self._truth(request)
            case "GET faults":
                return _answer([asdict(fault) for fault in self._app.faults.active])
            case "DELETE faults":
                self._app.faults.clear()
                return Response(status_code=204)
            case "POST faults" | "POST passwords":
                return self._post(call, body)
        return _wrong(f"no such control: {call}", 404)

    def _post(self, call: str, body: bytes) -> Response:
        try:
            wish = msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            return _wrong(f"the body is no JSON: {error}")
        if call == "POST faults":
            try:
                return _answer(asdict(self._app.faults.add(wish)), 201)
            except FaultError as error:
                return _wrong(str(error))
        if not isinstance(wish, dict) or set(wish) != {"account", "password"}:
            return _wrong("give account and password")
        if not self._app.credentials.change(str(wish["account"]), str(wish["password"])):
            return _wrong(f"nobody is called {wish['account']!r}", 404)
        self._app.wattics.refresh()
        return Response(status_code=204)

    def _health(self) -> Response:
        truth = self._app.truth
        return _answer(
            {
                "first_at": from_ms(truth.origin_ms).isoformat(),
                "now": from_ms(truth.now_ms()).isoformat(),
                "world": truth.name,
                "n_sites": len(truth.sites),
                "n_registers": len(truth.registers),
                "n_streams": len(truth.streams),
            }
        )

    def _requests(self, request: Request) -> Response:
        vendor = request.query_params.get("vendor")
        since = request.query_params.get("since_id", "0")
        if not since.isdigit():
            return _wrong("since_id must be a whole number")
        rows = [
            {**each._asdict(), "at": datetime.fromtimestamp(each.at_s, UTC).isoformat()}
            for each in self._app.log
            if each.id > int(since) and vendor in (None, each.vendor)
        ]
        return _answer([{k: v for k, v in row.items() if k != "at_s"} for row in rows])

    def _streams(self) -> Response:
        rows = []
        for account, streams in self._app.wattics.streams.items():
            for stream_id, log in streams.items():
                stamps = [
                    from_ms(at).isoformat() for at in (*log.stamps_ms[:1], *log.stamps_ms[-1:])
                ]
                first_at, last_at = stamps if stamps else (None, None)
                rows.append(
                    {
                        "account": account,
                        "stream": stream_id,
                        "received": len(log.packets),
                        "out_of_order": log.n_out_of_order,
                        "duplicates": log.n_duplicates,
                        "first_at": first_at,
                        "last_at": last_at,
                    }
                )
        return _answer(rows)

    def _packets(self, request: Request) -> Response:
        stream_id = request.query_params.get("stream", "")
        known = [
            (account, streams[stream_id])
            for account, streams in self._app.wattics.streams.items()
            if stream_id in streams
        ]
        if not known:
            return _wrong(f"no stream {stream_id!r}", 404)
        return _answer(
            [
                {"account": account, "at": from_ms(at).isoformat(), "packet": msgspec.Raw(raw)}
                for account, log in known
                for at, raw in zip(log.stamps_ms, log.packets, strict=True)
            ]
        )

    def _truth(self, request: Request) -> Response:
        truth, asked = self._app.truth, request.query_params
        register = truth.registers.get(asked.get("register", ""))
        if register is None:
            return _wrong("give register, one of this world's ids", 404)
        try:
            from_at, to_at = (datetime.fromisoformat(asked.get(key, "")) for key in ("from", "to"))
            from_ms_, to_ms_ = to_ms(from_at), to_ms(to_at)
        except (ValueError, TypeError):
            return _wrong("give from and to as instants with an offset")
        edges = truth.edges(register.register_id)
        slots = [(at - truth.origin_ms) // truth.slot_ms for at in (from_ms_, to_ms_)]
        first, last = np.clip(slots, 0, len(edges) - 1)
        is_instant = register.kind == "instant"
        values = edges[first:last] if is_instant else np.diff(edges[first : last + 1])
        unit = "kWh" if register.unit == "Wh" else register.unit
        start = from_ms(truth.origin_ms + int(first) * truth.slot_ms).isoformat()
        head = {"register": register.register_id, "unit": unit, "from": start}
        return _answer({**head, "slot_s": truth.slot_ms // 1000, "values": values.tolist()})
