"""What became of the frames of a run: counts, and losses in the log.

A disk that is too slow loses hundreds, and is told of once.
"""

import logging
import threading
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


class FrameCounts:
    """Counts the frames of a run; from any thread.

    Parameters
    ----------
    name : str
        The camera's name, for the log.
    """

    def __init__(self, name: str) -> None:
        self._lock = threading.Lock()
        self._captured = self._dropped = self._twice = 0
        self._losses = LossLog(name)
        self._repeats = LossLog(name, "repeated")

    def begin(self) -> None:
        """Begin anew, with another run."""
        with self._lock:
            self._captured = self._dropped = self._twice = 0
            self._losses.begin()
            self._repeats.begin()

    def now(self) -> tuple[int, int]:
        """Return how many came to the ring, and how many were lost before or after."""
        with self._lock:
            return self._captured, self._dropped

    def came(self, count: int) -> None:
        """Count frames that came to the ring."""
        with self._lock:
            self._captured += count

    def gave_up(self, count: int) -> None:
        """Count frames that are lost; the log hears of it elsewhere."""
        with self._lock:
            self._dropped += count

    def lost(self, count: int, how: str) -> None:
        """Count frames that did not come to the ring, and log how."""
        with self._lock:
            self._dropped += count
            self._losses.lost(count, how, self._dropped)

    def came_twice(self) -> None:
        """Count a frame that came once more, and was thrown away."""
        with self._lock:
            self._twice += 1
            self._repeats.lost(1, "came twice and were kept once", self._twice)
