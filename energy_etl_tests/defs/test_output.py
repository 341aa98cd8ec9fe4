"""A file somebody asked for: whole or not at all, and nothing else replaced."""

import os
import threading
from pathlib import Path

import pytest

from energy_etl.defs.output import put_whole


def test_file_is_replaced_at_once_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "made" / "report.html"
    with put_whole(path, mode=0o600) as file:
        file.write(b"first")
    with put_whole(path, mode=0o640) as file:
        file.write(b"second")
        file.flush()
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o640


def test_failure_while_writing_leaves_the_file_before_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), put_whole(path) as file:
        file.writelines(b"%d\n" % (1 // left) for left in (2, 1, 0))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["report.html"]


def test_link_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    target, link = tmp_path / "there.html", tmp_path / "here.html"
    link.symlink_to(target)
    with put_whole(link) as file:
        file.write(b"text")
    assert link.is_symlink()
    assert target.read_bytes() == b"text"


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    # As root, an output of /dev/null would else become a plain file in the place of the device.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    with put_whole(pipe) as file:
        file.write(b"text")
    reader.join(timeout=10)
    assert read == [b"text"]
    assert pipe.is_fifo()


def test_error_names_the_file_asked_for_and_not_the_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    path = tmp_path / "plain" / "report.html"
    with pytest.raises(FileExistsError) as raised, put_whole(path) as file:
        file.write(b"text")
    assert raised.value.filename == str(path)


def test_full_device_is_named(tmp_path: Path) -> None:
    link = tmp_path / "full.csv"
    link.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as raised, put_whole(link) as file:
        file.write(b"text")
    assert raised.value.filename == str(link)
    assert link.is_symlink()


def test_link_to_itself_is_replaced_by_the_file(tmp_path: Path) -> None:
    """It ended with a traceback."""
    link = tmp_path / "report.html"
    link.symlink_to(link)
    with put_whole(link) as file:
        file.write(b"text")
    assert link.read_bytes() == b"text"
