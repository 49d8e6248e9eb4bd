"""SIGTERM and SIGHUP, the two ways in which somebody else ends a program; and Ctrl-C."""

import contextlib
import os
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


class ToldInterrupt(KeyboardInterrupt):
    """A Ctrl-C which the person at the terminal has been told of."""


@contextlib.contextmanager
def ctrl_c_told(line: str) -> Iterator[None]:
    """Say a line at the first Ctrl-C in the block, at once, and leave the block.

    For what opens things: to close them takes a moment, in which nothing else would be seen, and
    which more presses must not cut short (:data:`INSISTENCE` of them do).  Outside the main thread
    nothing is done.

    Raises
    ------
    ToldInterrupt
        Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    presses = 0

    def press(_number: int, _frame: object) -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            # Not print: the press may have come within one.
            with contextlib.suppress(OSError):
                os.write(2, f"{line}\n".encode())
        if presses in (1, INSISTENCE):
            raise ToldInterrupt

    old = signal.signal(signal.SIGINT, press)
    try:
        yield
        if presses:  # something on the way has swallowed it
            raise ToldInterrupt
    finally:
        signal.signal(signal.SIGINT, old)


def is_ctrl_c(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind an error: one within an import may come out as another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


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
