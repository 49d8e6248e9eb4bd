"""One session at a station: a second one would switch the first one's instruments off."""

import contextlib
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from .errors import StationInUseError, TransportError

PSEUDO_TERMINALS = "/dev/pts/"
CLOSING_S = 5.0  # wall seconds that a session may go on to close whose terminal is gone
LOOK_S = 0.02  # wall seconds between two looks whether it is closed


class StationLock:
    """Hold the addresses of a station for this process, on this computer.

    The lock goes with the process, however it ends.  Where the system has no such locks
    (Windows), nothing is held; serial ports are exclusive there anyway.

    The number of a pseudo-terminal is given out again as soon as nobody has the old one open.  A
    session that still closes holds it by its name only; that is waited for, never passed over.

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
                terminal, deadline = terminal_of(address), time.monotonic() + CLOSING_S
                while True:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        holder, its_terminal = _holder(file)
                        gone = "" != its_terminal != terminal != ""
                        if gone and time.monotonic() < deadline:
                            wait(LOOK_S)
                            continue
                        raise StationInUseError(
                            f"{address} is in use by another session (process {holder}); close it "
                            "first, or use its prompt"
                        ) from None
                os.ftruncate(file, 0)
                os.pwrite(file, f"{os.getpid()} {terminal}\n".encode(), 0)
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


def terminal_of(address: str) -> str:
    """Return what tells a pseudo-terminal from others of the same name; "" of all else.

    The time is that at which it was made, or at which somebody changed its permissions.
    """
    path = os.path.realpath(address)
    if not path.startswith(PSEUDO_TERMINALS):
        return ""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_rdev:x}-{found.st_ino:x}-{found.st_ctime_ns:x}"


def wait(seconds: float) -> None:
    """Wait so many wall seconds."""
    threading.Event().wait(seconds)


def _holder(file: int) -> tuple[str, str]:
    """Return the process that wrote into a lock file last, and the terminal that it had."""
    process, _, terminal = os.pread(file, 96, 0).decode(errors="replace").strip().partition(" ")
    return process or "unknown", terminal
