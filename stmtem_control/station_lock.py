"""One session at a station: a second one would switch the first one's instruments off."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .errors import StationInUseError, TransportError


class StationLock:
    """Hold the addresses of a station for this process, on this computer.

    The lock goes with the process, however it ends.  Where the system has no such locks
    (Windows), nothing is held; serial ports are exclusive there anyway.

    Parameters
    ----------
    addresses : iterable of str
        Of the instruments.

    Raises
    ------
    StationInUseError
        Another session holds one of them; the message names it and the process.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._files: list[int] = []
        try:
            import fcntl
        except ImportError:
            return
        try:
            for address in addresses:
                digest = hashlib.sha256(address.encode()).hexdigest()[:16]
                path = Path(tempfile.gettempdir()) / f"stmtem-{digest}.lock"
                file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                self._files.append(file)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = os.read(file, 32).decode(errors="replace").strip() or "unknown"
                    raise StationInUseError(
                        f"{address} is in use by another session (process {holder}); close it "
                        "first, or use its prompt"
                    ) from None
                os.ftruncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.release()
            if isinstance(error, TransportError):
                raise
            raise TransportError(f"the station cannot be locked: {error}") from None

    def release(self) -> None:
        """Let the addresses go; harmless when called again."""
        for file in self._files:
            with contextlib.suppress(OSError):
                os.close(file)
        self._files.clear()
