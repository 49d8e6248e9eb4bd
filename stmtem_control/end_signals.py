"""SIGTERM and SIGHUP, the two ways in which somebody else ends a program; and Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

INSISTENCE = 5  # presses of Ctrl-C after which a block that holds signals is left all the same


@contextlib.contextmanager
def on_end_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have `handler(number, frame)` called for SIGTERM and SIGHUP while the block runs.

    Outside the main thread signals cannot be caught, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, handler) for number in _numbers("SIGTERM", "SIGHUP")}
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let the block come to its end though Ctrl-C, SIGTERM or SIGHUP come; they count afterwards.

    For what makes safe, and what closes.  Who presses Ctrl-C :data:`INSISTENCE` times does not
    want to wait for it.  Outside the main thread nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    old: dict[int, Any] = {}

    def hold(number: int, frame: object) -> None:
        came.append(number)
        if came.count(signal.SIGINT) >= INSISTENCE and callable(old[signal.SIGINT]):
            came.clear()
            old[signal.SIGINT](signal.SIGINT, frame)

    for each in _numbers("SIGINT", "SIGTERM", "SIGHUP"):
        old[each] = signal.signal(each, hold)
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
        if came:
            signal.raise_signal(came[0])


def _numbers(*names: str) -> list[signal.Signals]:
    """Return those of the signals that this system has."""
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]
