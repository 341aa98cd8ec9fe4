"""What goes into a support bundle, and the nets that keep secrets out of it.

Answers were redacted before they were stored. Here every text goes through the redactor again,
with the secrets and tokens of today, and what still held one of them would not be written.
"""

import importlib.metadata as metadata
import json
import platform
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from energy_etl.cli.doctor.machine import SHOWN, zone_data_version
from energy_etl.cli.doctor.rows import Row
from energy_etl.cli.outbox_view import plain_row, status_rows
from energy_etl.defs.output import put_whole
from energy_etl.defs.warehouse import project_warehouse
from energy_etl.delivery.mirror import newest_responses, packet_frame
from energy_etl.delivery.outbox import Outbox
from energy_etl.errors import EnergyEtlError
from energy_etl.rest import Redactor
from energy_etl.rest.secrets import basic_values, secret_values, token_values
from energy_etl.settings import Settings
from energy_etl.state import open_state
from energy_etl.vendors import discover_vendors

COLLECTOR: Final = "wattics"
# The newest of each vendor.
_CALLS: Final = """
SELECT vendor, endpoint, url, params, status, error, requested_at, elapsed_ms, body_zlib
FROM raw.request LEFT JOIN raw.body USING (body_sha256)
WHERE error IS NOT NULL AND requested_at > $1 AND ($2 IS NULL OR vendor = $2)
QUALIFY row_number() OVER (PARTITION BY vendor ORDER BY requested_at DESC) <= $3
ORDER BY vendor, requested_at DESC
"""
_PER_VENDOR: Final = 20
_SINCE: Final = timedelta(days=30)
_MOST_BODY: Final = 64_000
_N_RESPONSES: Final = 20
_N_PACKETS: Final = 100
_SHORTEST_SECRET: Final = 4
_ABOUT: Final = """\
What energy-etl tells a vendor's support, made {at:%Y-%m-%d %H:%M} UTC.

  calls/<vendor>/<time> <endpoint>.json  the newest calls that failed: request, answer, error
  versions.json                          libraries and machine
  settings.json                          settings; of logins only whether they are set
  doctor.json                            what `energy-etl doctor` found
  outbox.json                            streams, refused packets, last answers of Wattics

Secrets, tokens and known personal fields are replaced by [redacted]; all else is as it was sent
and received, cut where it is long.
"""


@dataclass(frozen=True)
class Bundle:
    """What a bundle is about.

    Attributes:
        settings: of the project.
        vendor: only this one; None: all.
        at: when it is made.
        rows: what doctor found.
    """

    settings: Settings
    vendor: str | None
    at: datetime
    rows: Sequence[Row]


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write the zip, readable by its owner alone.

    Raises:
        EnergyEtlError: the warehouse was held for too long, or a text still held a secret; then
            nothing was written.
    """
    secrets = [*secret_values(bundle.settings), *token_values(bundle.settings)]
    known = [*secrets, *basic_values(bundle.settings)]
    redactor = Redactor(known)
    texts = {name: redactor.text(text) for name, text in _members(bundle, redactor)}
    for name, text in texts.items():
        if any(secret in text for secret in known if len(secret) >= _SHORTEST_SECRET):
            raise EnergyEtlError(
                f"{name} of the support bundle still held a secret: nothing was written; report it."
            )
    with (
        put_whole(path, mode=0o600) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundled,
    ):
        for name, text in texts.items():
            bundled.writestr(name, text)


def _members(bundle: Bundle, redactor: Redactor) -> Iterator[tuple[str, str]]:
    settings = bundle.settings
    yield "README.txt", _ABOUT.format(at=bundle.at)
    yield "versions.json", _json(_versions())
    yield "settings.json", _json(_settings(settings, bundle.vendor))
    yield "doctor.json", _json([row.plain() for row in bundle.rows])
    if bundle.vendor in (None, COLLECTOR) and settings.state_path.exists():
        yield "outbox.json", _json(_outbox(settings, bundle.at))
    if settings.warehouse_path.exists():
        yield from _calls(bundle, redactor)


def _calls(bundle: Bundle, redactor: Redactor) -> Iterator[tuple[str, str]]:
    settings = bundle.settings
    warehouse = project_warehouse(settings)
    frame = warehouse.read(_CALLS, [bundle.at - _SINCE, bundle.vendor, _PER_VENDOR])
    for number, row in enumerate(frame.iter_rows(named=True)):
        packed = row["body_zlib"]
        # Redacted before it is cut: half of a secret is no longer found.
        body = redactor.body(zlib.decompress(packed)) if packed else b""
        call = {
            "vendor": row["vendor"],
            "requested_at": row["requested_at"].isoformat(),
            "request": {
                "endpoint": row["endpoint"],
                "url": row["url"],
                "params": json.loads(row["params"] or "{}"),
            },
            "response": {
                "status": row["status"],
                "elapsed_ms": row["elapsed_ms"],
                "n_bytes": len(body),
                "body": body[:_MOST_BODY].decode("utf-8", "replace"),
            },
            "error": row["error"],
        }
        endpoint = re.sub(r"[^a-zA-Z0-9]+", "-", row["endpoint"])
        at = f"{row['requested_at']:%Y%m%d-%H%M%S}"
        yield f"calls/{row['vendor']}/{at}-{number:03d} {endpoint}.json", _json(call)


def _versions() -> dict[str, Any]:
    names = ("energy-etl", *SHOWN)
    found = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "zone_data": zone_data_version(),
        **{name: found.get(name) for name in names},
    }


def _settings(settings: Settings, vendor: str | None) -> dict[str, Any]:
    """Return every setting; of what a login needs, and of secrets, only whether it is set."""
    vendors = discover_vendors()
    shown: dict[str, Any] = {}
    is_set: list[dict[str, Any]] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, BaseModel):
            shown[name] = str(value)
            continue
        if vendor not in (None, name):
            continue
        reach = vendors[name].reach if name in vendors else None
        needs = {each for login in reach.logins(value) for each in login.needs} if reach else set()
        for key in type(value).model_fields:
            member, full_name = getattr(value, key), f"{name}.{key}"
            if isinstance(member, dict) and any(isinstance(m, BaseModel) for m in member.values()):
                is_set += [{"setting": f"{full_name}.{each}", "is_set": True} for each in member]
            elif isinstance(member, SecretStr):
                told = bool(member.get_secret_value())
                is_set.append({"setting": full_name, "is_set": told})
            elif full_name in needs and not str(member).startswith("http"):
                is_set.append({"setting": full_name, "is_set": bool(member)})
            else:
                shown[full_name] = str(member)
    return {"settings": shown, "logins": is_set}


def _outbox(settings: Settings, at: datetime) -> dict[str, Any]:
    with open_state(settings.state_path) as connection:
        outbox = Outbox(connection)
        streams = status_rows(outbox, (), None, at)
        refused = packet_frame(outbox, state="rejected", limit=_N_PACKETS)
        answers = {
            row["stream_id"]: [
                plain_row(answer)
                for answer in newest_responses(outbox, row["stream_id"], _N_RESPONSES).iter_rows(
                    named=True
                )
            ]
            for row in streams
        }
    return {
        "streams": streams,
        "refused_packets": [plain_row(row) for row in refused.iter_rows(named=True)],
        "last_answers": answers,
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
