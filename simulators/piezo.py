"""Mechanics of a stick-slip piezo axis: uneven steps, and a stack that bends with voltage.

A slider creeps along with a slow ramp of the piezo and slips at its sharp end.  The step is
nothing below a slip threshold and grows in proportion to the amplitude above it; it differs
between the two directions and from step to step.
"""

import math

import numpy as np
from numpy.typing import NDArray

SLIP_V = 10.0  # ramps of less amplitude than this move nothing
NM_PER_V = 3.0  # of step per volt above the threshold, upwards: 60 nm at 30 V
DOWN_RATIO = 0.8  # a step down, against the preload, is shorter
SCATTER = 0.03  # relative standard deviation from step to step
GRID_NM = 2.0**-10  # steps are multiples of this: sums are exact in any grouping
BLOCK = 256

BEND_NM_PER_V = 10.0
BACKLASH_V = 15.0  # width of the hysteresis, and
BACKLASH_SHARE = 0.03  # the part of the bend that shows it
SLEW_V_PER_S = 10_000.0  # of the output amplifier
SETTLED_V = 1e-3


class Gait:
    """Lengths of the steps of one slider.

    The scatter is keyed by the number of the step since power-up, so that a step has the same
    length however the motion is cut up by queries.

    Parameters
    ----------
    seed : int
        Of the bench.
    axis : int
        0, 1, 2.

    Attributes
    ----------
    nm_per_V : float
        Of a step upwards, per volt above the slip threshold.
    down_ratio : float
        A step down over a step up.
    scatter : float
        Relative standard deviation from step to step.
    wear_per_step : float
        Relative loss of length with each step made.
    missed : float
        Share of the steps that do not slip.
    """

    def __init__(self, seed: int, axis: int) -> None:
        self.nm_per_V = NM_PER_V
        self.down_ratio = DOWN_RATIO
        self.scatter = SCATTER
        self.wear_per_step = 0.0
        self.missed = 0.0
        self._seed = seed % 2**64
        self._axis = axis
        self._block = -1
        self._normals: NDArray[np.float64] = np.empty(0)
        self._chances: NDArray[np.float64] = np.empty(0)

    def lengths_nm(
        self, first: int, count: int, amplitude_V: float, upwards: bool
    ) -> NDArray[np.float64]:
        """Return the signed lengths in nm of `count` steps, the first of them number `first`."""
        mean = self.nm_per_V * max(0.0, amplitude_V - SLIP_V)
        if not upwards:
            mean *= self.down_ratio
        numbers = range(first, first + count)
        drawn = [self._drawn(n) for n in numbers]
        normals, chances = np.array(drawn).reshape(count, 2).T
        wear = np.maximum(0.0, 1.0 - self.wear_per_step * np.array(numbers))
        lengths = mean * wear * np.maximum(0.0, 1.0 + self.scatter * normals)
        lengths[chances < self.missed] = 0.0
        lengths = np.round(lengths / GRID_NM) * GRID_NM
        return lengths if upwards else -lengths

    def _drawn(self, number: int) -> tuple[float, float]:
        block, place = divmod(number, BLOCK)
        if block != self._block:
            key = np.array([self._seed, (self._axis << 48) + block], dtype=np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key))
            self._normals = generator.standard_normal(BLOCK)
            self._chances = generator.random(BLOCK)
            self._block = block
        return float(self._normals[place]), float(self._chances[place])


class Amplifier:
    """An output voltage on its way to a level: slewing, or through a low-pass filter."""

    def __init__(self) -> None:
        self.level_V = 0.0
        self._from_V = 0.0
        self._since = 0.0
        self._corner_Hz: float | None = None

    def aim(self, now: float, level_V: float, corner_Hz: float | None) -> None:
        """Head for `level_V` from the present voltage; None is no filter."""
        self._from_V = self.volts(now)
        self._since = now
        self.level_V = level_V
        self._corner_Hz = corner_Hz

    def volts(self, now: float) -> float:
        """Return the voltage at the time `now` (s)."""
        way = self.level_V - self._from_V
        # An instrument that acts at the time it was due may ask for the moment before.
        gone = max(0.0, now - self._since)
        if self._corner_Hz is None:
            rest = max(0.0, abs(way) - SLEW_V_PER_S * gone)
        else:
            rest = abs(way) * math.exp(-2.0 * math.pi * self._corner_Hz * gone)
        if rest < SETTLED_V:
            return self.level_V
        return self.level_V - math.copysign(rest, way)

    def settled(self, now: float) -> bool:
        """Tell whether the level is reached."""
        return self.volts(now) == self.level_V


class Stack:
    """The piezo stack: a bend in proportion to the voltage, with a narrow hysteresis (a play).

    Attributes
    ----------
    lagging_V : float
        The voltage that the lagging part of the bend follows.
    """

    def __init__(self) -> None:
        self.lagging_V = 0.0

    def bend_nm(self, volts: float) -> float:
        """Return the deflection in nm after the voltage has moved to `volts`."""
        half = 0.5 * BACKLASH_V
        self.lagging_V = min(max(self.lagging_V, volts - half), volts + half)
        share = (1.0 - BACKLASH_SHARE) * volts + BACKLASH_SHARE * self.lagging_V
        return BEND_NM_PER_V * share
