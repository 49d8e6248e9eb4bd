"""Writing past the page cache where the system can, and keeping the cache small where it cannot.

Growing the page cache costs many times the CPU of the write itself and slows long recordings down
to a fraction of the disk's speed.  Direct I/O from aligned memory avoids it.  Elsewhere the system
is told to begin writing early and to drop what it has written.
"""

import ctypes
import errno
import mmap
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .page_layout import ALIGNMENT

#: After so many bytes the cache is told to write them, and to drop those before.
WRITE_BACK_BYTES = 16 << 20
#: Buffers in one gathered write; POSIX systems take 1024.
MOST_BUFFERS = 1024

_DIRECT = getattr(os, "O_DIRECT", 0)
# Of Linux, <fcntl.h>: sync_file_range(2).
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4


def aligned_memory(size: int) -> mmap.mmap:
    """Return memory that begins at a page, with every page of it in place already.

    Parameters
    ----------
    size : int
        Bytes; rounded up to a whole number of pages.
    """
    size = max(1, -(-size // ALIGNMENT)) * ALIGNMENT
    if sys.platform == "linux":
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
        return mmap.mmap(-1, size, flags=flags)
    memory = mmap.mmap(-1, size)
    for place in range(0, size, ALIGNMENT):
        memory[place] = 0
    return memory


def address(array: NDArray[Any]) -> int:
    """Return where in memory an array begins."""
    where: int = array.__array_interface__["data"][0]
    return where


def direct_works(folder: Path) -> bool:
    """Return whether files in a folder can be written past the page cache, found by trying."""
    if not _DIRECT:
        return False
    path = folder / f".direct-{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _DIRECT, 0o600)
    except OSError:
        return False
    try:
        with aligned_memory(ALIGNMENT) as memory:
            return os.pwrite(descriptor, memory, 0) == ALIGNMENT
    except OSError:
        return False
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def write_all(
    descriptor: int, buffers: Sequence[memoryview], place: int
) -> tuple[int, OSError | None]:
    """Write buffers one behind another, in as few calls as the system allows.

    Interrupted and short writes are gone on with.

    Returns
    -------
    written : int
        Bytes from `place` on that are in the file.
    error : OSError or None
        Why that is not all.
    """
    waiting = list(buffers)
    written = 0
    while waiting:
        try:
            if hasattr(os, "pwritev"):
                n = os.pwritev(descriptor, waiting[:MOST_BUFFERS], place + written)
            else:
                n = os.pwrite(descriptor, waiting[0], place + written)
        except InterruptedError:
            continue
        except OSError as error:
            return written, error
        if n == 0:  # nothing was said to be wrong, and nothing was written
            return written, OSError(errno.EIO, os.strerror(errno.EIO))
        written += n
        done = 0
        while done < len(waiting) and n >= waiting[done].nbytes:
            n -= waiting[done].nbytes
            done += 1
        del waiting[:done]
        if n:
            waiting[0] = waiting[0].cast("B")[n:]
    return written, None


def sync_file(path: Path) -> None:
    """Wait until all of a file is on the disk, its size too.

    Raises
    ------
    OSError
        It is gone, or the disk refuses.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
    try:
        if hasattr(os, "fdatasync"):
            os.fdatasync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OpenFile:
    """A file that grows at its end, and in which what is there can be changed.

    Parameters
    ----------
    path : Path
        Where.
    direct : bool
        Whether it grows past the page cache; its memory and lengths are then multiples of
        :data:`ALIGNMENT`.  Changes always go through the cache.
    new : bool
        Whether it must not exist yet, or must.

    Raises
    ------
    OSError
        It cannot be opened.
    """

    def __init__(self, path: Path, *, direct: bool, new: bool) -> None:
        self.path = path
        self.direct = direct
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
        if new:
            flags |= os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(path, flags | (_DIRECT if direct else 0), 0o644)
        self._changes = -1 if direct else self._descriptor
        self._hints = None if direct else _WriteBack(self._descriptor)

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._descriptor).st_size

    def append(self, buffers: Sequence[memoryview], place: int) -> tuple[int, OSError | None]:
        """Write buffers at the end or over it; see :func:`write_all`."""
        written, error = write_all(self._descriptor, buffers, place)
        if self._hints is not None:
            self._hints.reached(place + written)
        return written, error

    def change(self, place: int, data: "bytes | bytearray | memoryview") -> None:
        """Replace bytes that are there.

        Raises
        ------
        OSError
            It failed.
        """
        if self._changes < 0:
            self._changes = os.open(self.path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        _, error = write_all(self._changes, [memoryview(data)], place)
        if error is not None:
            raise error

    def cut(self, size: int) -> None:
        """End the file at so many bytes."""
        os.ftruncate(self._descriptor, size)

    def renamed(self, path: Path) -> None:
        """Give the file another name."""
        os.rename(self.path, path)
        self.path = path

    def close(self) -> None:
        """Close it; safe to call again."""
        if self._changes >= 0 and self._changes != self._descriptor:
            os.close(self._changes)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._changes = self._descriptor = -1


class _WriteBack:
    """Keeps the unwritten part of the cache, and the cache itself, small; best effort."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = self._done = os.fstat(descriptor).st_size
        self._range: Any = None
        if sys.platform == "linux":
            self._range = getattr(ctypes.CDLL(None), "sync_file_range", None)
        if self._range is not None:
            self._range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def reached(self, end: int) -> None:
        """Say how far the file goes now."""
        if end - self._begun < WRITE_BACK_BYTES:
            return
        if self._range is not None:
            self._range(self._descriptor, self._begun, end - self._begun, _WRITE)
            before = self._begun - self._done
            if before:
                self._range(
                    self._descriptor, self._done, before, _WAIT_BEFORE | _WRITE | _WAIT_AFTER
                )
        if hasattr(os, "posix_fadvise") and self._begun > self._done:
            dont_need = os.POSIX_FADV_DONTNEED
            os.posix_fadvise(self._descriptor, self._done, self._begun - self._done, dont_need)
        self._done, self._begun = self._begun, end
