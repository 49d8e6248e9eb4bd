"""The camera's data stream as the session sees it: the recorder reads it."""

import threading
from collections.abc import Callable

JOIN_S = 1.0  # wall seconds in which the recorder gives a stream up


class RemoteStream:
    """The camera's data stream, which the recorder reads; for who starts an acquisition.

    Parameters
    ----------
    first_byte : callable
        Waits at most so many wall seconds for the first byte; returns its station time, or None.
    give_up : callable
        Ends reading at once, and calls what it is given when that is done.

    Attributes
    ----------
    came_s : float or None
        Station time of the first byte, once it has come.
    """

    def __init__(
        self,
        first_byte: Callable[[float], float | None],
        give_up: Callable[[Callable[[], None]], None],
    ) -> None:
        self._first_byte = first_byte
        self._give_up = give_up
        self.came_s: float | None = None

    def wait(self, seconds: float) -> bool:
        """Return whether something has come, waiting at most `seconds`."""
        self.came_s = self._first_byte(seconds)
        return self.came_s is not None

    def close(self) -> None:
        """Give the stream up: nothing was started."""
        ended = threading.Event()
        self._give_up(ended.set)
        ended.wait(JOIN_S)
