"""What changed is asked to be kept, in a thread of its own, and a refusal is told."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stmtem_control.errors import RecordingError
from stmtem_control.recording import disk_sync
from stmtem_control.recording.direct_io import sync_file
from stmtem_control.recording.disk_sync import DiskSync

W = 5.0  # wall seconds that a test waits at most


class Disk:
    """Stands for a disk, and says when it was asked for the last file."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.asked: list[str] = []
        self.over = threading.Event()

    def sync(self, path: Path) -> None:
        """Keep a file, or refuse."""
        self.asked.append(path.name)
        if path.name == "last":
            self.over.set()
        if path.name in self.refused:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def rounds(*names: list[str]) -> Iterator[list[Path]]:
    """Yield what changed in each round, and then nothing."""
    for round_ in names:
        yield [Path(name) for name in round_]
    while True:
        yield []


def test_all_that_changed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    monkeypatch.setattr(disk_sync, "sync_file", disk.sync)
    changes = rounds(["a"], [], ["a", "b"], ["last"])
    sync = DiskSync(lambda: next(changes), "sync", seconds=1e-4)
    assert disk.over.wait(W)
    sync.check()
    sync.close()
    sync.close()
    assert disk.asked == ["a", "a", "b", "last"]


def test_a_refusal_is_told_once_and_the_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk("a", "b")
    monkeypatch.setattr(disk_sync, "sync_file", disk.sync)
    changes = rounds(["a", "b", "last"])
    sync = DiskSync(lambda: next(changes), "sync", seconds=1e-4)
    assert disk.over.wait(W)
    sync.close()
    with pytest.raises(RecordingError, match=r"^a: the disk does not keep it: Input/output error;"):
        sync.check()
    sync.check()
    assert disk.asked == ["a", "b", "last"]


def test_a_real_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    sync_file(path)
    with pytest.raises(FileNotFoundError):
        sync_file(tmp_path / "y")
