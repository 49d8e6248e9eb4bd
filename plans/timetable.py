"""What is due when in a recorded block, on the station's clock: late commands do not add up."""

import math

from .roles import Plan, Source

LATE_S = 0.05  # wall seconds by which a step may be shortened because it began late
MOST_COUNTED = 100_000  # frames that a camera counts by itself in one acquisition


def whole_frames(seconds: float, frame_rate_Hz: float) -> int:
    """Return how many whole frame periods a time has; 0 if more than a camera counts.

    A block of this length has exactly so many frames: the camera starts before the block does, so
    that the last of them has ended with it.
    """
    frames = max(1, math.floor(seconds * frame_rate_Hz + 1e-6))
    return frames if frames <= MOST_COUNTED else 0


class Timetable:
    """Seconds since a block began; time spent in a pause does not count.

    Parameters
    ----------
    bias : device
        The biasing source: it has the station's clock, and knows how long it was paused.
    """

    def __init__(self, bias: Source) -> None:
        self._bias = bias
        self._begun = bias.clock.now()
        self._paused = bias.paused_s
        self.due = 0.0

    def passed(self) -> float:
        """Return the seconds since it began."""
        return self._bias.clock.now() - self._begun - (self._bias.paused_s - self._paused)

    def extend(self, seconds: float) -> float:
        """Put something of so many seconds after what is due already; return what is left of it."""
        self.due += seconds
        return self.left()

    def left(self) -> float:
        """Return the seconds until all is over that was put in; never below 0."""
        return max(0.0, self.due - self.passed())

    def began(self) -> None:
        """Note that what comes next has begun, now that what was due is over.

        A command that took very long is not taken from it: what is left begins later.
        """
        late = self.passed() - self.due - LATE_S * self._bias.clock.speed
        self.due += max(0.0, late)

    def cut(self) -> None:
        """Let what is due end now: it was ended early."""
        self.due = min(self.due, self.passed())

    def wait(self) -> Plan:
        """Wait until all that was put in is over."""
        while (left := self.left()) > 0.0:
            yield from self._bias.clock.sleep(left)
