"""An acquisition of a Merlin under way: its phase, its counts, the clock that stamps it."""

import enum
import math
from dataclasses import dataclass

from .merlin_plan import Plan


class Phase(enum.Enum):
    """What the engine is doing."""

    IDLE = "idle"
    NO_CLIENT = "waiting for a data client"
    ARMED = "waiting for a trigger"
    GAP = "between two exposures"
    EXPOSING = "exposing"
    CLOSING = "sending the last frame"
    PROCESS = "busy with itself"


@dataclass(frozen=True)
class Stamps:
    """The clock of the camera's computer, which stamps the frames, beside the bench's.

    Attributes
    ----------
    offset_s : float
        By which it is ahead at the bench's zero, in s.
    drift : float
        Seconds that it gains in a second.
    """

    offset_s: float = 0.0
    drift: float = 0.0

    def of(self, t: float) -> float:
        """Return what it shows at the bench's time `t` (s), counted from the bench's zero."""
        return t + self.offset_s + self.drift * t


@dataclass
class Run:
    """An acquisition under way."""

    plan: Plan
    header: bytes
    taken: int = 0  # exposures finished
    made: int = 0  # frames made of them
    burst_left: float = 0
    burst_start: float = 0.0
    burst_taken: int = 0
    exposure_start: float = 0.0
    last_stop: float = -math.inf
    stopping: bool = False
    soft_triggered: bool = False  # before there was a data client
