"""What the calling thread does while the RunEngine's own thread runs a plan."""

import sys
import threading
from collections.abc import Callable

from bluesky.utils import DefaultDuringTask

POLL_S = 0.1  # wall seconds; a signal is taken at the latest after that


class PollingDuringTask(DefaultDuringTask):
    """Waits in short pieces, so that Ctrl-C is always taken.

    A wait without a time limit is not interrupted by Ctrl-C on Windows.  On Linux it is, unless
    the kernel hands the signal to another thread, which it does when the main thread has a signal
    pending already: Python then takes note, but the main thread sleeps on.

    It also notices when the RunEngine's thread is gone.  ``sys.exit()`` in a subscriber or a device
    ends that thread, and Bluesky would wait for it for ever.  With Matplotlib on Qt, Bluesky's own
    way is kept, which runs the windows.

    Parameters
    ----------
    thread_lives : callable
        Whether the RunEngine's thread is there.
    """

    def __init__(self, thread_lives: Callable[[], bool]) -> None:
        super().__init__()
        self._thread_lives = thread_lives

    def block(self, blocking_event: threading.Event) -> None:
        """Wait until the plan has ended or paused.

        Raises
        ------
        SystemExit
            The RunEngine's thread has ended: only a new session can go on.
        """
        if "matplotlib.backends.qt_compat" in sys.modules:
            super().block(blocking_event)
            return
        while not blocking_event.wait(POLL_S):
            if not self._thread_lives():
                raise SystemExit(
                    "stmtem: the RunEngine's thread has ended, as by sys.exit() in a subscriber; "
                    "the station was made safe; open a new session"
                )
