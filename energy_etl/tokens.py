"""The token store: one file per credential, 0600 in a 0700 folder, under a lock of its own.

Steps of one run are processes of their own, so a lock in memory would let each of them fetch a
token, and with rotating refresh tokens the second fetch revokes the consent. Whoever renews holds
`TokenStore.lock`, reads again what is stored, and saves the new token before it is used.

Tokens never go anywhere else: not into DuckDB, run configuration, metadata, log lines or errors.
How a token is fetched is told in `auth/`.
"""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from energy_etl.errors import ConfigurationError, UnavailableError

LOCK_WAIT_S: Final = 60.0
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Token(msgspec.Struct, frozen=True):
    """A bearer token and how long it lasts.

    Attributes:
        expires_at_s: seconds since 1970: time of the request plus its lifetime.
        lifetime_s: the lifetime that the server named.
        issued_for: fingerprint of the credential it was issued for: a mended secret must not be
            answered with the token of the old one.
        refresh_token: what a new access token is got with; None: none was given.
        refresh_expires_at_s: when that one ends, seconds since 1970; None: not told.
        authorised_at_s: when a person gave the consent that it stands for; None: no person did.
        renewal_sent_at_s: since when it is not known whether the refresh token was used up: its
            renewal was sent and gave no token; None: nothing is in doubt.
        ended_at_s: since when the consent is known to have ended; None: it has not.
    """

    access_token: str
    token_type: str
    expires_at_s: float
    lifetime_s: float
    issued_for: str
    refresh_token: str | None = None
    refresh_expires_at_s: float | None = None
    authorised_at_s: float | None = None
    renewal_sent_at_s: float | None = None
    ended_at_s: float | None = None

    def __repr__(self) -> str:
        """Say when it expires, never what it is."""
        return f"Token(expires_at_s={self.expires_at_s})"

    def is_fresh(self, now_s: float) -> bool:
        """Return False from min(60 s, half of its lifetime) before its end on."""
        return now_s < self.expires_at_s - min(60.0, self.lifetime_s / 2)


class TokenStore:
    """The files of one folder, one per key (token URL and client id)."""

    def __init__(self, folder: Path, *, lock_wait_s: float = LOCK_WAIT_S) -> None:
        """Make the folder private when it is not there yet."""
        self.folder = folder
        self._lock_wait_s = lock_wait_s
        folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        _refuse_open(folder, "700")

    def path(self, *key: str) -> Path:
        """Return the file of a key; the key itself may hold any character."""
        digest = hashlib.sha256("\0".join(key).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.json"

    def read(self, *key: str) -> Token | None:
        """Return the stored token; None when there is none or the file is damaged.

        Raises:
            ConfigurationError: group or others can read the file.
        """
        path = self.path(*key)
        try:
            _refuse_open(path, "600")
            return msgspec.json.decode(path.read_bytes(), type=Token)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            # A damaged file costs one renewal, like a missing one.
            return None

    def write(self, token: Token, *key: str) -> None:
        """Store a token: written aside, synced, then put in place in one step."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".token-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), _PRIVATE_FILE)
                file.write(msgspec.json.encode(token))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path(*key))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def remove(self, *key: str) -> None:
        """Forget a token."""
        self.path(*key).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, *key: str) -> Iterator[None]:
        """Hold the only right to renew this key's token, across threads and processes.

        Raises:
            UnavailableError: somebody else held it for too long.
        """
        path = self.path(*key).with_suffix(".lock")
        # A new object each time: an instance shared by threads would let both of them in.
        lock = FileLock(path, timeout=self._lock_wait_s, mode=_PRIVATE_FILE)
        try:
            lock.acquire()
        except Timeout:
            raise UnavailableError(
                f"The token lock {path} was held by another process for {self._lock_wait_s:g} s: "
                "look for a run that hangs, end it, and run again."
            ) from None
        try:
            yield
        finally:
            lock.release()


def _refuse_open(path: Path, wanted: str) -> None:
    mode = path.stat().st_mode
    if mode & _OTHERS:
        raise ConfigurationError(
            f"{path} can be read by group or others (mode {stat.S_IMODE(mode):o}): "
            f"run `chmod {wanted} {path}`, and renew the credential if others use this machine."
        )
