"""How long a dead-man's hold lasts: so many readings, at least and at most, by any timer."""

import math
from dataclasses import dataclass

from stmtem_control.errors import LimitError

from .keithley_sequence import MOST_LEVELS, typical_reading_s

DRIFT = 0.03  # of the source's timer: an oscillator of 8192 Hz is taken for one of 8 kHz
SPARE_S = 2e-4  # of each reading, beside its planned time
LEAST_READINGS = 3  # of a hold: one may be under way when it is renewed
LEAST_WALL_S = 1.0  # a faster bench does not make the host faster: its holds last so long at least
LEAST_STEP_WALL_S = 4e-3  # nor need it take more readings than anybody can ask for


@dataclass(frozen=True)
class HoldPlan:
    """How a hold is made of readings; times in seconds of the source.

    Attributes
    ----------
    readings : int
        After so many the output goes off.
    step_s : float
        What one of them takes, its source delay included.
    delay_s : float
        The source delay.
    shortest_s, longest_s : float
        How long the hold lasts, by any timer that the source may have.
    """

    readings: int
    step_s: float
    delay_s: float
    shortest_s: float
    longest_s: float


def plan_hold(
    dead_man_s: float, nplc: float, line_frequency_Hz: float, speed: float = 1.0
) -> HoldPlan:
    """Return the longest hold that is over within `dead_man_s` by any timer.

    Parameters
    ----------
    dead_man_s : float
        In s of the source; on a bench that is faster than life at least a second on the wall.
    nplc : float
        Integration time of a reading in power-line cycles.
    line_frequency_Hz : float
        NPLC counts its periods.
    speed : float
        Instrument seconds in a wall second.

    Raises
    ------
    LimitError
        There is no room for three readings.
    """
    allowed = effective_dead_man_s(dead_man_s, speed)
    reading = typical_reading_s(nplc, line_frequency_Hz)
    step = max(reading, allowed / MOST_LEVELS)
    if speed > 1.0:
        step = max(step, LEAST_STEP_WALL_S * speed)
    delay = math.ceil(1e6 * (step - reading)) * 1e-6 if step > reading else 0.0
    step = reading + delay
    longest = step * (1.0 + DRIFT) + SPARE_S
    count = min(math.floor(allowed / longest), MOST_LEVELS)
    if count < LEAST_READINGS:
        raise LimitError(
            f"[bias_source] dead_man_s is {dead_man_s:g}; a reading at nplc {nplc:g} takes "
            f"{reading:.3g} s and a hold needs {LEAST_READINGS}: give at least "
            f"{LEAST_READINGS * longest:.2g} s, or a smaller nplc"
        )
    return HoldPlan(count, step, delay, count * step * (1.0 - DRIFT), count * longest)


def effective_dead_man_s(dead_man_s: float, speed: float) -> float:
    """Return how long a hold may last (s of the source): on a fast bench a second on the wall."""
    return max(dead_man_s, LEAST_WALL_S * speed) if speed > 1.0 else dead_man_s
