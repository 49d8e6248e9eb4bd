"""How a simulator that is a process of its own ends: Ctrl-C, SIGTERM, or the end of its input."""

import os
import select
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class EndOfService:
    """Catches the signals while it is entered; :meth:`wait` returns when it is time to go.

    Parameters
    ----------
    until_eof : bool
        Standard input closing ends it too, so that the simulator cannot outlive its parent.
    """

    def __init__(self, *, until_eof: bool) -> None:
        self._until_eof = until_eof

    def __enter__(self) -> Self:
        """Catch the signals."""
        # A signal writes to this pipe, so that the wait ends without a race.
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._old_wake = signal.set_wakeup_fd(self._wake_write)
        self._old: dict[signal.Signals, Any] = {
            s: signal.signal(s, lambda *_: None) for s in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def wait(self, take: Callable[[bytes], None] = lambda data: None) -> None:
        """Return when a signal has come, or the end of standard input if that counts.

        What comes on standard input until then is given to `take`, which must not wait.
        """
        watched = [self._wake_read, sys.stdin.fileno()] if self._until_eof else [self._wake_read]
        while True:
            ready, _, _ = select.select(watched, [], [])
            if self._wake_read in ready:
                return
            data = os.read(sys.stdin.fileno(), 4096)
            if not data:
                return
            take(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the signals as they were."""
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wake)
        os.close(self._wake_read)
        os.close(self._wake_write)
