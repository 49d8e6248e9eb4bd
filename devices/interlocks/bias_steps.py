"""Which level held when, and when a reading is free of what a step does to the current.

After a step the source charges the holder: the current is that of a capacitor, not of the sample.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass

from stmtem_control.interlock_table import InterlocksTable

KEEP = 64  # steps; a reading is judged when it comes, a sequence's after its end


@dataclass(frozen=True)
class Measured:
    """One reading of the source, as it is judged.

    Attributes
    ----------
    t : float
        Its middle, in station s.
    volts, amperes : float
        NaN for an overflow.
    limited : bool
        Whether the source was in compliance.
    """

    t: float
    volts: float
    amperes: float
    limited: bool


@dataclass(frozen=True)
class Hold:
    """What was commanded when a reading was taken.

    Attributes
    ----------
    level_V : float
        The level, in V.
    since : float
        When it began, in station s.
    quiet : bool
        Whether the last step is so long ago that the current is the sample's.
    """

    level_V: float
    since: float
    quiet: bool


class BiasSteps:
    """The commanded levels, and the blanking time after each step.

    Parameters
    ----------
    table : InterlocksTable
        ``settle_s`` and ``holder_pF``.
    reading_s : float
        Station seconds that a reading takes: half of it lies before its time.

    Notes
    -----
    A step of dV at the compliance I charges the holder's capacitance C in C dV / I; behind that
    come the RC of leads and input, and the settling of the current range, which ``settle_s``
    stands for (the approach waits the same 0.1 s after a step).  C of a metre of coaxial cable
    and a holder is some 100 pF.
    """

    def __init__(self, table: InterlocksTable, reading_s: float) -> None:
        self._settle_s = table.limit("settle_s")
        self._holder_F = 1e-12 * table.limit("holder_pF")
        self._half_s = 0.5 * reading_s
        self._times: list[float] = []
        self._levels: list[float] = []
        self._sure: list[float] = []

    def note(self, t: float, volts: float, uncertainty_s: float = 0.0) -> None:
        """Take in that the level was `volts` from `t` (station s), +- `uncertainty_s`, on."""
        place = bisect_right(self._times, t)
        self._times.insert(place, t)
        self._levels.insert(place, volts)
        self._sure.insert(place, uncertainty_s)
        if len(self._times) > KEEP:
            del self._times[0], self._levels[0], self._sure[0]

    def level(self, t: float) -> float:
        """Return the level (V) at `t` (station s); 0 before the first."""
        place = bisect_right(self._times, t)
        return self._levels[place - 1] if place else 0.0

    def since(self, t: float) -> float:
        """Return since when the level at `t` has held, in station s."""
        place = bisect_right(self._times, t) - 1
        if place < 0:
            return -math.inf
        while place > 0 and self._levels[place - 1] == self._levels[place]:
            place -= 1
        return self._times[place]

    def hold(self, t: float, compliance_A: float) -> Hold:
        """Return what was commanded for a reading at `t` (station s)."""
        return Hold(self.level(t), self.since(t), self.quiet(t, compliance_A))

    def blanking_s(self, step_V: float, compliance_A: float) -> float:
        """Return for how long (s) after a step of `step_V` no reading is judged."""
        charging = self._holder_F * abs(step_V) / compliance_A if compliance_A > 0.0 else 0.0
        return charging + self._settle_s

    def quiet(self, t: float, compliance_A: float) -> bool:
        """Tell whether a reading with its middle at `t` (station s) may be judged."""
        for place in range(len(self._times) - 1, -1, -1):
            begun, sure = self._times[place], self._sure[place]
            step = self._levels[place] - (self._levels[place - 1] if place else 0.0)
            if step == 0.0:
                continue
            blanked = self.blanking_s(step, compliance_A)
            if begun - sure <= t + self._half_s and t - self._half_s < begun + sure + blanked:
                return False
        return True


class Lasting:
    """Something that must not be true for longer than a time, and in more than a few readings."""

    def __init__(self, seconds: float, readings: int = 2) -> None:
        self.seconds = seconds
        self.readings = readings
        self._since: float | None = None
        self._count = 0

    def see(self, t: float, true: bool, begun: float = -math.inf) -> float | None:
        """Take in whether it is true at `t` (s); return for how long, when that is too long.

        What was before `begun` (s) does not count.
        """
        if self._since is not None and self._since < begun:
            self._since, self._count = None, 0
        if not true:
            self._since, self._count = None, 0
            return None
        if self._since is None:
            self._since = t
        self._count += 1
        lasted = t - self._since
        return lasted if lasted >= self.seconds and self._count >= self.readings else None
