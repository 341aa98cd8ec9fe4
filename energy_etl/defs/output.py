"""`put_whole`: the one way in which a file that somebody asked for is written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def put_whole(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write a file whole or not at all: whoever reads it meanwhile sees the one before.

    What is there and no plain file (a pipe, /dev/null) is written to: it is not ours to replace.

    Args:
        path: where; its folder is made, and a link is followed.
        mode: who may read it, also where the umask is stricter.

    Raises:
        OSError: of `path`, for nobody knows the file beside it.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not Path.resolve: of a link to itself it makes a RuntimeError.
        target = Path(os.path.realpath(path))
        # A name of its own, for another may write the same file meanwhile; mkstemp: 0600.
        descriptor, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=".part"
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            os.chmod(name, mode)
            os.replace(name, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
