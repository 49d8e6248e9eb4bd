"""What is due when in a recorded block, on the station's clock: late commands do not add up."""

import math
from typing import Any

from stmtem_control.device_limits import MOST_FRAMES

from .roles import Plan, Source

LATE_S = 0.05  # wall seconds by which a step may be shortened because it began late
LATE_SHARE = 0.1  # the same, of its length


def whole_frames(seconds: float, frame_rate_Hz: float) -> int:
    """Return how many whole frame periods a time has; 0 if more than a camera counts.

    A block of this length has exactly so many frames, the last of which has ended with it.
    """
    frames = max(1, math.floor(seconds * frame_rate_Hz + 1e-6))
    return frames if frames <= MOST_FRAMES else 0


class Timetable:
    """Seconds since a block began; time spent in a pause does not count.

    Parameters
    ----------
    bias : device
        The biasing source: it has the station's clock, and knows how long it was paused.
    camera : device, optional
        A camera that counts: the block has begun with its first exposure, so that the last one
        ends with the block.
    """

    def __init__(self, bias: Source, camera: Any = None) -> None:
        self._bias = bias
        began: float | None = getattr(camera, "started_s", None)
        self._begun = bias.clock.now() if began is None else began
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

    def began(self, seconds: float = 0.0) -> None:
        """Note that something of so many seconds has begun, now that what was due is over.

        What it is late is taken from it, so that the next is not late too; but only a little: after
        a command that took very long it begins later.
        """
        allowed = min(LATE_S * self._bias.clock.speed, LATE_SHARE * seconds)
        self.due += max(0.0, self.passed() - self.due - allowed)

    def cut(self) -> None:
        """Let what is due end now: it was ended early."""
        self.due = min(self.due, self.passed())

    def wait(self) -> Plan:
        """Wait until all that was put in is over."""
        while (left := self.left()) > 0.0:
            yield from self._bias.clock.sleep(left)
