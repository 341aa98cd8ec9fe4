"""A webhook that asks Wattsense by Basic, as a service account; see wattsense_webhook.md.

POST {"deviceId": "..."} to it, and it answers with the box's latest values. It needs Python's
standard library alone: copy it to where it is to run.
"""

import base64
import json
import os
import sys
from http.client import HTTPException, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

MAX_BODY_BYTES = 10_000
TIMEOUT_S = 20.0


class _NoRedirect(HTTPRedirectHandler):
    """urllib would take the password along to wherever it is sent."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        return None


class Wattsense:
    """Wattsense's API as one service account sees it."""

    def __init__(self, url: str, username: str, password: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname != "127.0.0.1":
            raise SystemExit("WATTSENSE_URL must be https: Basic shows the password on the way.")
        self._url = url.rstrip("/")
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Accept": "application/json"}
        self._opener = build_opener(_NoRedirect)

    def latest(self, device_id: str) -> list[dict[str, object]]:
        """Return slug, unit, value and time of each property of a box that has one."""
        # Dots too: as an id, `..` would lead elsewhere.
        name = quote(device_id, safe="").replace(".", "%2E")
        path = f"/v1/devices/{name}/properties"
        request = Request(self._url + path, headers=self._headers)
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            # 204 and no body: the box has no values yet.
            rows = json.loads(answer.read() or b"[]")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("the answer is no list of objects")
        return [
            {
                "slug": row.get("slug"),
                "unit": row.get("unit"),
                "value": row.get("payload")
                if row.get("scaledPayload") is None
                else row["scaledPayload"],
                "timestamp_ms": row.get("timestamp"),
            }
            for row in rows
        ]


class Webhook(BaseHTTPRequestHandler):
    """Answers one POST."""

    wattsense: Wattsense

    def do_POST(self) -> None:
        """Look the box up."""
        try:
            length = int(self.headers.get("Content-Length", "0"))
            asked = json.loads(self.rfile.read(max(0, min(length, MAX_BODY_BYTES))))
            device_id = str(asked["deviceId"])
        except (ValueError, KeyError, TypeError, RecursionError):
            self._answer(400, {"error": 'Send {"deviceId": "..."}.'})
            return
        try:
            self._answer(200, {"deviceId": device_id, "values": self.wattsense.latest(device_id)})
        except HTTPError as error:
            advice = {
                401: "Wattsense refused the service account: check its password, and that its "
                "right to use Basic is switched on.",
                404: "Wattsense does not know this box.",
            }
            said = advice.get(error.code, f"Wattsense answered {error.code}: try again later.")
            self._answer(404 if error.code == 404 else 502, {"error": said})
        except (OSError, HTTPException, ValueError, RecursionError):
            self._answer(502, {"error": "Wattsense did not answer: try again later."})

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent about calls that were answered."""

    def _answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve on this machine alone until stopped; the first argument is the port."""
    names = ("WATTSENSE_URL", "WATTSENSE_USERNAME", "WATTSENSE_PASSWORD")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise SystemExit(f"Set {', '.join(missing)}.")
    Webhook.wattsense = Wattsense(*(os.environ[name] for name in names))
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8070
    with ThreadingHTTPServer(("127.0.0.1", port), Webhook) as server:
        print(f"The webhook listens at http://127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
