"""Disks that fill up, turn read-only, or are pulled out, each made of a file or of memory."""

import contextlib
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN of Linux's linux/fs.h: all further input and output fails
SYNCED, AT_ONCE = 0, 2  # its argument: after writing what waits to be written, or not


class Disk:
    """A file system of its own, for one test.

    Attributes
    ----------
    path : Path
        Where it is mounted.
    """

    def __init__(self, path: Path, source: str, kind: str, options: str) -> None:
        self.path = path
        self._command = ["mount", "-t", kind, "-o", options, source, str(path)]
        path.mkdir()
        self.plug_in()

    def plug_in(self) -> None:
        """Mount it, as it was left."""
        done = subprocess.run(self._command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be made here: {done.stderr.strip()}")

    def take_away(self) -> None:
        """Unmount it; nobody must have a file of it open."""
        subprocess.run(["umount", str(self.path)], capture_output=True, check=True)

    def fill(self) -> None:
        """Leave no room for anything."""
        with contextlib.suppress(OSError), open(self.path / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def make_room(self) -> None:
        """Undo :meth:`fill`."""
        (self.path / "filler").unlink()

    def sync(self) -> None:
        """Write what waits to be written."""
        subprocess.run(["sync", "-f", str(self.path)], check=True)

    def make_read_only(self) -> None:
        """Do what the kernel does with a disk that has errors."""
        subprocess.run(["mount", "-o", "remount,abort", str(self.path)], check=True)

    def pull_out(self, how: int = SYNCED) -> None:
        """Let all further input and output fail, though the disk stays mounted."""
        import fcntl

        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(folder)


def _may_mount() -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a disk")


@pytest.fixture
def small_disk(tmp_path: Path, unmount_later: Callable[[Path], None]) -> Disk:
    """A disk in memory with room for some twenty frames."""
    _may_mount()
    disk = Disk(tmp_path / "disk", "none", "tmpfs", "size=4m")
    unmount_later(disk.path)
    return disk


@pytest.fixture
def ext4_disk(tmp_path: Path, unmount_later: Callable[[Path], None]) -> Disk:
    """A disk with a journal, in a file."""
    _may_mount()
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(24 << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4 here")
    disk = Disk(tmp_path / "disk", str(image), "ext4", "loop,errors=remount-ro")
    unmount_later(disk.path)
    return disk
