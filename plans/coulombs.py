"""The charge that has flowed: current readings, the leak subtracted, integrated over time."""

import math
from typing import Any

from .leakage import Leak, leak_of
from .roles import Source


class Coulombs:
    """Integrates the current of a source, reading by reading.

    Between two readings at one bias the current is a straight line; across a step of the bias each
    of the two holds up to the step.  Time in a pause, with the output off, does not count, and
    neither does the time between :meth:`part` and the next reading.

    The charge of cables flows in as short bursts at the steps of the bias, of which the readings
    see one part or the other; over a whole cycle they cancel.

    Parameters
    ----------
    bias : device
        The biasing source.

    Attributes
    ----------
    charge_C : float
        Since this was made, in C; positive out of the high terminal, so that stripping is positive
        and deposition negative.
    excess_A : float
        The last current without the leak, in A; NaN before the first reading.
    corrected : bool
        Whether a leak is known that could be subtracted.
    """

    def __init__(self, bias: Source) -> None:
        self._bias: Any = bias
        self._leak: Leak | None = leak_of(bias)
        self._last: tuple[float, float] | None = None  # station time, current
        self._paused = 0.0
        self.charge_C = 0.0
        self.excess_A = math.nan

    @property
    def corrected(self) -> bool:
        """Whether a leak is known that could be subtracted."""
        return self._leak is not None

    @property
    def noise_A(self) -> float:
        """Standard deviation of one reading as the baseline found it; 0 if there was none."""
        return 0.0 if self._leak is None else self._leak.noise_A

    def learn(self) -> None:
        """Take the leak that the source knows by now."""
        self._leak = leak_of(self._bias)

    def part(self) -> None:
        """Take no current from the last step of the bias to the next reading: there is none."""
        if self._last is not None:
            since, current = self._last
            self.charge_C += current * max(0.0, self._time_of(self._bias.setpoint) - since)
        self._last = None

    def take(self) -> None:
        """Take the last reading of the source."""
        bias = self._bias
        current, volts = float(bias.current.get()), float(bias.voltage.get())
        if math.isnan(current):
            return
        if self._leak is not None:
            current -= self._leak.current_A(volts)
        t, paused = self._time_of(bias.current), bias.paused_s
        last = self._last
        self.excess_A, self._last = current, (t, current)
        lost, self._paused = paused - self._paused, paused
        if last is None or lost > 0.0 or t <= last[0]:
            return
        edge = self._time_of(bias.setpoint)
        if last[0] < edge < t:
            self.charge_C += last[1] * (edge - last[0]) + current * (t - edge)
        else:
            self.charge_C += 0.5 * (last[1] + current) * (t - last[0])

    def settled_s(self) -> float:
        """Return how long ago, at the last reading, the bias was set; in station s."""
        t = self._time_of(self._bias.current)
        return t - self._time_of(self._bias.setpoint)

    def _time_of(self, signal: Any) -> float:
        """Return when a signal was so, in station s."""
        clock = self._bias.clock
        stamp = getattr(signal, "timestamp", None)
        return float(clock.now() if stamp is None else clock.station_time(stamp))
