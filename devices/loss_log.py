"""Losses of frames in the log: a disk that is too slow loses hundreds, and is told of once."""

import logging
import time

log = logging.getLogger(__name__)

LOG_S = 1.0  # wall seconds between two words


class LossLog:
    """Tells the log of lost frames, at most once a second.

    Parameters
    ----------
    name : str
        The camera's name.
    word : str
        For what is counted.
    """

    def __init__(self, name: str, word: str = "lost") -> None:
        self.name = name
        self._word = word
        self._untold = 0
        self._next = 0.0

    def begin(self) -> None:
        """Begin anew, with another run."""
        self._untold, self._next = 0, 0.0

    def lost(self, count: int, how: str, total: int) -> None:
        """Note that `count` frames were lost, and how; in all there are `total` in the run."""
        self._untold += count
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOG_S
        log.warning(
            "%s: %d frames %s (%d %s in this run)", self.name, self._untold, how, total, self._word
        )
        self._untold = 0
