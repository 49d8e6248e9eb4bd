"""A file that grows by whole lines: what is written is in it entirely, or not at all."""

import errno
import os
from pathlib import Path


class LineFile:
    """A file that is only appended to.

    Parameters
    ----------
    path : Path
        Of the file.
    new : bool
        Whether it is made, and must not exist yet; else it must, and is gone on with.

    Attributes
    ----------
    size : int
        Bytes in it.

    Raises
    ------
    OSError
        It cannot be opened.
    """

    def __init__(self, path: Path, *, new: bool = True) -> None:
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0)
        self._descriptor: int | None = os.open(path, flags, 0o666)
        self.size = os.fstat(self._descriptor).st_size

    def write(self, lines: bytes) -> None:
        """Append, with one write.

        Raises
        ------
        OSError
            There was no room for all of it, or the file is closed; the file is as it was before.
        """
        if self._descriptor is None:
            raise OSError(errno.EBADF, "the file is closed")
        try:
            written = os.pwrite(self._descriptor, lines, self.size)
            if written < len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
