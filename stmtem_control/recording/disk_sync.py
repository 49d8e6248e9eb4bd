"""Asks the disk to keep what was written even if the power fails; nobody waits for it."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from stmtem_control.errors import RecordingError

from .direct_io import sync_file

SYNC_S = 1.0  # wall seconds from the end of one round to the next: a round may cost a disk's seek


class DiskSync:
    """A thread that syncs files about once a second, while they change.

    Parameters
    ----------
    changed : callable
        Returns the files that changed since it was called last; called in the thread.
    name : str
        Of the thread.
    seconds : float
        Wall seconds between two rounds.
    """

    def __init__(
        self, changed: Callable[[], Iterable[Path]], name: str, seconds: float = SYNC_S
    ) -> None:
        self._changed = changed
        self._seconds = seconds
        self._over = threading.Event()
        self._problem: tuple[Path, OSError] | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Tell what the disk has refused since the last call.

        Raises
        ------
        RecordingError
            It did not keep a file: what was written since the round before may be lost.
        """
        problem, self._problem = self._problem, None
        if problem is not None:
            path, error = problem
            raise RecordingError(
                f"{path}: the disk does not keep it: {error.strerror or error}; look at the disk "
                "and record to another one"
            ) from error

    def close(self) -> None:
        """End the thread, when the round under way has ended; harmless when called again."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(self._seconds):
            for path in self._changed():
                try:
                    sync_file(path)
                except OSError as error:
                    self._problem = self._problem or (path, error)
