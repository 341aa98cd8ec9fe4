"""What counts as secret in a project: the settings' values, their Basic forms, stored tokens."""

import base64
import json
from pathlib import Path

from energy_etl.rest.secrets import basic_values, secret_values, token_values
from energy_etl.vendors import project_settings


def test_secrets_of_every_section_are_found_with_what_basic_makes_of_them(tmp_path: Path) -> None:
    settings = project_settings(
        tmp_path,
        target="live",
        alerts={"webhook_url": "https://hooks.test/canary-of-the-hook"},
        wattsense={"api_key": "canary-key", "api_secret": "canary-secret"},
        wattics={"credentials": {"main": {"username": "pusher", "password": "canary-main"}}},
    )
    found = secret_values(settings)
    for canary in (
        "https://hooks.test/canary-of-the-hook",
        "canary-key",
        "canary-secret",
        "canary-main",
    ):
        assert canary in found
    assert "pusher" not in found
    assert "" not in found
    pair = base64.b64encode(b"pusher:canary-main").decode().rstrip("=")
    assert pair in basic_values(settings)


def test_tokens_are_found_and_a_file_that_is_none_has_none(tmp_path: Path) -> None:
    settings = project_settings(tmp_path)
    settings.token_dir.mkdir(parents=True)
    stored = {"access_token": "canary-access", "refresh_token": "canary-refresh", "scope": "read"}
    (settings.token_dir / "wiser.json").write_text(json.dumps(stored))
    (settings.token_dir / "half.json").write_text("{")
    (settings.token_dir / "list.json").write_text("[]")
    (settings.token_dir / "none.json").write_text('{"access_token": null}')
    assert token_values(settings) == ["canary-access", "canary-refresh"]
