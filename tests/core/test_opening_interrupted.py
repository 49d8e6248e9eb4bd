"""Ctrl-C while something opens: told at once, in one line, and nothing cuts the closing short."""

import contextlib
import signal
import threading
from collections.abc import Iterator

import pytest

from stmtem_control.end_signals import INSISTENCE, ToldInterrupt, ctrl_c_told, is_ctrl_c

LINE = "stmtem session: interrupted"


class Opening:
    """What is opened, and closed when it is interrupted, with more presses meanwhile.

    `more` presses come while it is being closed; `swallowed`: the first one is not seen.
    """

    def __init__(self, more: int = 0, *, swallowed: bool = False) -> None:
        self.more, self.swallowed = more, swallowed
        self.closed = False

    def open(self) -> None:
        unseen = [KeyboardInterrupt] if self.swallowed else []
        with ctrl_c_told(LINE), self._closing(), contextlib.suppress(*unseen):
            signal.raise_signal(signal.SIGINT)

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            for _ in range(self.more):
                signal.raise_signal(signal.SIGINT)
            self.closed = True


@pytest.mark.parametrize(
    ("opening", "closed"),
    [
        (Opening(), True),
        (Opening(INSISTENCE - 2), True),
        (Opening(INSISTENCE - 1), False),  # who insists does not want to wait for it
        (Opening(swallowed=True), True),
    ],
)
def test_it_is_told_once_and_ends_the_block(
    opening: Opening, closed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    old = signal.getsignal(signal.SIGINT)
    with pytest.raises(ToldInterrupt):
        opening.open()
    assert opening.closed is closed
    assert capfd.readouterr().err == f"{LINE}\n"
    assert signal.getsignal(signal.SIGINT) is old


def test_in_another_thread_nothing_is_done() -> None:
    handlers = []

    def look() -> None:
        with ctrl_c_told(LINE):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]


def test_an_error_that_an_import_makes_of_it_is_known() -> None:
    made = RuntimeError("Error calling __set_name__")
    assert not is_ctrl_c(made)
    made.__cause__ = ToldInterrupt()
    assert is_ctrl_c(made)
    made.__cause__ = made  # it ends, whatever refers to what
    assert not is_ctrl_c(made)
    assert not is_ctrl_c(None)
