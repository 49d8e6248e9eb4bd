"""When the beam was on the specimen: every edge of its blanking, in the bench's time."""

import math
from bisect import bisect_right


class BeamTimes:
    """The edges of the beam since the begin, which was blanked."""

    def __init__(self) -> None:
        self._times = [-math.inf]  # s, ascending
        self._levels = [True]  # True: blanked from then on

    @property
    def blanked(self) -> bool:
        """True while the beam is off the specimen."""
        return self._levels[-1]

    def switch(self, now: float, blanked: bool) -> None:
        """Take in that the beam is blanked, or open, from `now` (s) on."""
        self._times.append(max(self._times[-1], now))
        self._levels.append(blanked)

    def open_s(self, start: float, stop: float) -> float:
        """Return for how many seconds of [start, stop] (s) the beam was on the specimen."""
        place = bisect_right(self._times, start) - 1
        edges = [start, *self._times[place + 1 :], math.inf]
        total = 0.0
        for begin, end, blanked in zip(edges, edges[1:], self._levels[place:], strict=False):
            if begin >= stop:
                break
            if not blanked:
                total += min(end, stop) - begin
        return total
