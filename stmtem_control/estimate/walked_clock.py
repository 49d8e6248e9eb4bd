"""A station's clock that only goes on by what a plan's messages take."""

import heapq
from collections.abc import Callable
from itertools import count

from stmtem_control.clock import StationClock

PACE = 40.0  # of a run's readings while nothing else happens, one is walked through


class WalkedClock(StationClock):
    """Station time that begins at 0 and passes when somebody lets it.

    Parameters
    ----------
    speed : float
        Station seconds in a wall second, as the real one has it.

    Attributes
    ----------
    t : float
        The station time in s.
    """

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__(speed)
        self.pace = PACE
        self.t = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()

    def now(self) -> float:
        """Return the station time in s."""
        return self.t

    def at(self, t: float, do: Callable[[], None]) -> None:
        """Call something when the station time `t` (s) is reached."""
        heapq.heappush(self._due, (t, next(self._number), do))

    def let_pass(self, seconds: float) -> None:
        """Let so many station seconds pass."""
        end = self.t + seconds
        while self._due and self._due[0][0] <= end:
            t, _, do = heapq.heappop(self._due)
            self.t = max(self.t, t)
            do()
        self.t = end
