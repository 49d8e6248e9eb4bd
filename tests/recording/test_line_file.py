"""Files that grow by whole lines, and that one process holds."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stmtem_control.recording.line_file import CHUNK, LineFile, is_held, whole_lines

HOLDER = """
import sys
from pathlib import Path
from stmtem_control.recording.line_file import LineFile
file = LineFile(Path(sys.argv[1]))
file.append(b"mine\\n")
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"", 0),
        (b"torn", 0),
        (b"one\n", 4),
        (b"one\ntw", 4),
        (b"one\n" + b"x" * (3 * CHUNK), 4),
        (b"x" * (2 * CHUNK) + b"\n" + b"y" * CHUNK, 2 * CHUNK + 1),
    ],
)
def test_a_torn_tail_is_found_and_cut(tmp_path: Path, data: bytes, whole: int) -> None:
    path = tmp_path / "lines"
    path.write_bytes(data)
    assert whole_lines(path) == whole
    with LineFile(path) as file:
        assert file.size == whole
        file.append(b"more\n")
        file.sync()
    assert path.read_bytes() == data[:whole] + b"more\n"


def test_what_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LineFile(tmp_path / "lines") as file:
        file.append(b"one\n")
        write = os.write
        monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:2]))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            file.append(b"two\n")
    assert (tmp_path / "lines").read_bytes() == b"one\n"


def test_nothing_is_written_to_a_file_that_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with LineFile(path) as file:
        file.append(b"one\n")
        path.unlink()
        with pytest.raises(FileNotFoundError, match="deleted"):
            file.append(b"two\n")


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert is_held(path)
        with pytest.raises(BlockingIOError):
            LineFile(path)
        process.kill()
    assert not is_held(path)
    with LineFile(path) as file:
        assert file.size == 5
        assert is_held(path)
    file.close()  # again
    assert not is_held(path)
