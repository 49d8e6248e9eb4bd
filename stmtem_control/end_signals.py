"""SIGTERM and SIGHUP: the two ways in which somebody else ends a program."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_end_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have `handler(number, frame)` called for them while the block runs.

    Outside the main thread signals cannot be caught, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
