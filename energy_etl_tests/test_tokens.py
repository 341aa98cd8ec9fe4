"""The token file: private, replaced in one step, one renewal at a time."""

import os
import threading
from pathlib import Path

import pytest

from energy_etl.errors import ConfigurationError, UnavailableError
from energy_etl.tokens import Token, TokenStore

KEY = ("https://vendor.example/auth/token", "client/../1")


def _token(access_token: str = "tok", expires_at_s: float = 1000.0) -> Token:
    return Token(access_token, "Bearer", expires_at_s, 600.0, "fingerprint")


def test_token_is_read_back_and_private(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens")
    store.write(_token(), *KEY)
    assert store.read(*KEY) == _token()
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700
    assert store.path(*KEY).parent == tmp_path / "tokens"
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "tokens").iterdir()] == [0o600]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    store = TokenStore(tmp_path / "tokens")
    store.write(_token(), *KEY)
    store.path(*KEY).chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        store.read(*KEY)


def test_folder_that_others_can_read_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        TokenStore(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"access_token": 1}', b"\xff\xfe"])
def test_damaged_file_is_like_none(tmp_path: Path, content: bytes) -> None:
    store = TokenStore(tmp_path / "tokens")
    store.write(_token(), *KEY)
    store.path(*KEY).write_bytes(content)
    assert store.read(*KEY) is None


def test_write_that_fails_leaves_the_old_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TokenStore(tmp_path / "tokens")
    store.write(_token("old"), *KEY)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(_token("new"), *KEY)
    stored = store.read(*KEY)
    assert stored is not None
    assert stored.access_token == "old"
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_removed_token_is_gone(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens")
    store.write(_token(), *KEY)
    store.remove(*KEY)
    store.remove(*KEY)
    assert store.read(*KEY) is None


def test_lock_that_is_held_too_long_names_its_file(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens", lock_wait_s=0.2)
    caught: list[str] = []

    def wait() -> None:
        with pytest.raises(UnavailableError) as error, store.lock(*KEY):
            pass
        caught.append(str(error.value))

    with store.lock(*KEY):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(5)
    assert len(caught) == 1
    assert str(store.path(*KEY).with_suffix(".lock")) in caught[0]
    with store.lock(*KEY):
        pass


def test_token_never_shows_in_its_repr() -> None:
    assert "tok" not in repr(_token("tok-secret")).replace("Token", "")


@pytest.mark.parametrize(
    ("lifetime_s", "early_s"), [(36000.0, 60.0), (300.0, 60.0), (100.0, 50.0), (2.0, 1.0)]
)
def test_token_is_renewed_early_by_a_minute_or_half_its_life(
    lifetime_s: float, early_s: float
) -> None:
    token = Token("t", "Bearer", 1000.0, lifetime_s, "f")
    assert token.is_fresh(1000.0 - early_s - 0.01)
    assert not token.is_fresh(1000.0 - early_s)
