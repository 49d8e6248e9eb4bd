"""The timer of a SourceMeter, from which its time stamps come.

Stamps are whole milliseconds (User's Manual 2400S-900-01, section 9: 0000000.000 seconds).  The
timer's oscillator of 8192 Hz is divided as if it were one of 8 kHz, so that a millisecond of it is
1/1024 s: it gains 24 ms in a second (Keithley, "Using the Model 2400 Internal Timestamp Feature").
"""

import math

ROLLS_OVER_S = 99999.999
TICK_S = 1e-3
OSCILLATOR = 8192.0 / 8000.0  # seconds of the timer in a true one


class Timer:
    """Counts ticks from the moment it was set to zero.

    Parameters
    ----------
    rate : float
        Seconds it counts in a second.
    tick_s : float
        What it counts by; 0 for a perfect timer.
    """

    def __init__(self, rate: float = OSCILLATOR, tick_s: float = TICK_S) -> None:
        self.rate = rate
        self.tick_s = tick_s
        self._zero = 0.0

    def reset(self, t: float) -> None:
        """Set it to zero at the time `t` (s)."""
        self._zero = t

    def stamp(self, t: float) -> float:
        """Return what it shows at the time `t` (s)."""
        return self.between(self._zero, t) % ROLLS_OVER_S

    def between(self, start: float, stop: float) -> float:
        """Return how much it counts from one time (s) to another."""
        counted = (stop - start) * self.rate
        # A time of the simulation may be late by its rounding.
        return math.floor(counted / self.tick_s + 1e-6) * self.tick_s if self.tick_s else counted
