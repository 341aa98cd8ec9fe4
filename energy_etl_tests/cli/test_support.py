"""`energy-etl support-bundle`: what support needs is in it, and no secret is."""

import base64
import json
import stat
import zipfile
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from energy_etl.cli import support_content
from energy_etl.cli.doctor import examination
from energy_etl.delivery import Outbox
from energy_etl.delivery.acks import Failed, Response, apply
from energy_etl.delivery.frontier import release
from energy_etl.rest.secrets import basic_values, secret_values
from energy_etl.state import instant_to_us, open_state
from energy_etl.tokens import Token, TokenStore
from energy_etl.vendors import project_settings
from energy_etl_tests.cli.called import make_called
from energy_etl_tests.cli.typed import Typed
from energy_etl_tests.delivery.conftest import NOW, body, packets, plan, stamp_ms

CANARIES = {
    "DIGIWATT__CLIENT_SECRET": "canary-digiwatt/secret+1",
    "WATTSENSE__API_KEY": "canary-wattsense-key",
    "WATTSENSE__API_SECRET": 'canary-"quoted"-secret',
    "WATTICS__API_TOKEN": "canary-wattics-token",
    # No client would call it, and yet somebody wrote it.
    "WISER__BASE_URL": "https://me:canary-in-a-url@wiser.test/v1",
    "ALERTS__WEBHOOK_URL": "https://canary-host.example/services/canary-webhook-path?sig=canary-sig",
    "WATTICS__CREDENTIALS": json.dumps(
        {"main": {"username": "pusher", "password": "canary-pusher-password"}}
    ),
}
TOKEN = "canary-access-token"
REFRESH = "canary-refresh-token"
PAIR = base64.b64encode(b"pusher:canary-pusher-password").decode()
# As a URL and a header without padding have it.
OTHER_PAIRS = (
    quote_plus(PAIR),
    PAIR.rstrip("="),
    base64.urlsafe_b64encode(b"pusher:canary-pusher-password").decode(),
)


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Return a project where every secret has leaked into everything that a bundle shows."""
    for name, value in CANARIES.items():
        monkeypatch.setenv(f"ENERGY_ETL_{name}", value)
    typed = Typed(tmp_path, "http://127.0.0.1:9", monkeypatch, capsys)
    secrets = [*secret_values(project_settings()), TOKEN, REFRESH, PAIR, *OTHER_PAIRS]
    leaked = " ".join([*secrets, *basic_values(project_settings())])
    make_called(tmp_path, secret=leaked)
    token = Token(TOKEN, "Bearer", 0.0, 60.0, "x", refresh_token=REFRESH)
    TokenStore(tmp_path / "data" / "tokens").write(token, "digiwatt")
    with open_state(tmp_path / "data" / "state.sqlite") as connection:
        outbox = Outbox(connection)
        outbox.fill(packets("s", [1, 2]), [plan("s")], now=NOW)
        release(outbox, [plan("s")], [], NOW)
        said = f"HTTP 400: {leaked}"
        refused = Failed("s", stamp_ms(1), body("s", 1), 400, said, 1, True)
        apply(
            outbox, [refused, Response("s", stamp_ms(1), instant_to_us(NOW), 0.1, 400, said)], NOW
        )
    return typed


def members_of(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as bundled:
        return {name: bundled.read(name).decode() for name in bundled.namelist()}


def test_bundle_has_what_support_asks_for_and_no_secret(typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed.run("support-bundle", "--offline")
    assert (code, err) == (0, "Look into it before you send it.\n")
    path = Path(out.strip())
    assert path.parent == tmp_path / "data" / "support"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    members = members_of(path)
    everything = "\n".join([*members, *members.values()])
    assert "canary" not in everything
    for secret in [*secret_values(project_settings()), TOKEN, REFRESH]:
        assert base64.b64encode(secret.encode()).decode() not in everything
    assert PAIR.rstrip("=") not in everything
    (name,) = [name for name in members if name.startswith("calls/")]
    assert name.startswith("calls/digiwatt/")
    call = json.loads(members[name])
    assert call["request"]["url"].startswith("https://digiwatt.test/v1/savings?key=[redacted]")
    assert call["request"]["params"]["smartmeter_id"] == "m1"
    assert call["response"]["status"] == 422
    assert call["response"]["body"].startswith('{"error": "no such meter [redacted]')
    assert call["error"].startswith("digiwatt savings answered 422")
    rows = json.loads(members["doctor.json"])
    assert {"versions", "portfolio", "warehouse"} <= {row["what"] for row in rows}
    outbox = json.loads(members["outbox.json"])
    assert outbox["refused_packets"][0]["status"] == 400
    assert outbox["last_answers"]["s"][0]["text"].startswith("HTTP 400: [redacted]")
    assert json.loads(members["versions.json"])["duckdb"]
    settings = json.loads(members["settings.json"])
    assert settings["settings"]["digiwatt.base_url"] == "http://127.0.0.1:9/digiwatt"
    told = {row["setting"]: row["is_set"] for row in settings["logins"]}
    assert told["digiwatt.client_secret"]
    assert told["wattics.credentials.main"]
    assert "bundle" not in told


def test_bundle_of_one_vendor_holds_nothing_of_the_others(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "examine", lambda **_: ([], True))
    out_file = tmp_path / "wiser.zip"
    code, out, _ = typed.run(
        "support-bundle", "--vendor", "wiser", "--out", str(out_file), "--offline"
    )
    assert (code, out.strip()) == (0, str(out_file))
    members = members_of(out_file)
    assert not [name for name in members if name.startswith("calls/")]
    assert "outbox.json" not in members
    assert "digiwatt" not in members["settings.json"]
    code, _, err = typed.run("support-bundle", "--vendor", "wisser", "--offline")
    assert code == 2
    assert "--vendor wisser is not known" in err


def test_bundle_that_would_still_hold_a_secret_is_not_written(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind:
        def __init__(self, secrets: object) -> None:
            del secrets

        def text(self, text: str) -> str:
            return text

        def body(self, body: bytes) -> bytes:
            return body

    monkeypatch.setattr(examination, "examine", lambda **_: ([], True))
    monkeypatch.setattr(support_content, "Redactor", Blind)
    out_file = tmp_path / "all.zip"
    code, _, err = typed.run("support-bundle", "--out", str(out_file), "--offline")
    assert code == 1
    assert "still held a secret: nothing was written" in err
    assert "canary" not in err
    assert not list(tmp_path.glob("*.zip*"))
    assert not list(tmp_path.glob(".*.part"))
