"""A text file that grows by whole lines, and is held by the process that writes it.

A kill can tear no more than the last line, and a full disk none.  While the file is open here, it
is locked; the system takes the lock back with the process, however that ends.  So whoever wants to
mend a run can tell whether somebody is still writing it.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Self

CHUNK = 1 << 16


class LineFile:
    """Appends whole lines, all of a batch or nothing.

    Parameters
    ----------
    path : Path
        Made if it is not there; what a kill has torn at its end is cut off.

    Attributes
    ----------
    path : Path
    size : int
        Bytes that were found in it: 0 for a new file.

    Raises
    ------
    OSError
        It cannot be opened or changed; BlockingIOError if another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            hold(self._file)
            self.size = whole_lines(path)
            if os.fstat(self._file).st_size > self.size:
                os.ftruncate(self._file, self.size)
        except BaseException:
            os.close(self._file)
            raise

    def append(self, lines: bytes) -> None:
        """Append `lines`, which end with a newline, with one write.

        Raises
        ------
        OSError
            The disk did not take all of it; then none of it is in the file.  Or the file was
            deleted meanwhile: what is written to it would be lost without a word.
        """
        found = os.fstat(self._file)
        if found.st_nlink == 0:
            raise OSError(errno.ENOENT, "was deleted while it was written")
        before = found.st_size
        try:
            if os.write(self._file, lines) < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            # A disk that takes nothing may still shorten a file; if not, the next opening does it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def sync(self) -> None:
        """Wait until all of it would survive a power cut.

        Raises
        ------
        OSError
            The disk has failed.
        """
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file and let it go; harmless when called again."""
        file, self._file = self._file, -1
        if file >= 0:
            with contextlib.suppress(OSError):
                os.close(file)

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def hold(file: int) -> None:
    """Lock an open file for this process; where the system knows no such locks, do nothing.

    Raises
    ------
    BlockingIOError
        Another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: an open file cannot be replaced there anyway
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Tell whether a process has the file open as a :class:`LineFile`.

    Raises
    ------
    OSError
        It cannot be opened.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        hold(file)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def whole_lines(path: Path) -> int:
    """Return how many bytes of a file are whole lines; what follows them was torn by a kill.

    Raises
    ------
    OSError
        It cannot be read.
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in the place of another, at once: a reader finds the one or the other, whole.

    Raises
    ------
    OSError
        It cannot be written; the old one is as it was.
    """
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # else a folder cannot be opened, and need not be
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
