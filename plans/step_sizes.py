"""What is known of the size of coarse steps, in volts of the fine offset, and how it is learned.

A stick-slip drive has no encoder, and its steps differ between the directions, from step to step,
and with wear and load.  The contact is the ruler: after a coarse step it appears at another fine
offset, and the difference is the step.
"""

import math
from typing import Any, Literal, NamedTuple

from bluesky import Msg

from .roles import Plan

Direction = Literal["up", "down"]

ENOUGH = 3  # steps measured in a direction, to call its size known well
MISSED = 0.4  # a shift of less than this share of a step is none
LIKELY_SCATTER = 0.15  # relative, of one step, as long as it cannot be told from the steps
MEMORY = 20  # the size follows wear: more steps than these do not count


class StepSize(NamedTuple):
    """Size of a step in one direction: mean, standard deviation of one step, how many."""

    volts: float = 0.0
    std_V: float = 0.0
    steps: int = 0

    @property
    def known(self) -> bool:
        """Whether it was ever measured."""
        return self.steps > 0

    @property
    def longest_V(self) -> float:
        """What a step will hardly exceed: three standard deviations over the mean."""
        return self.volts + 3.0 * self.std_V

    def moved(self, shift_V: float) -> bool:
        """Tell whether a shift of the contact shows a step that moved the probe."""
        return shift_V > MISSED * self.volts

    def with_step(self, shift_V: float) -> "StepSize":
        """Return what is known with one more step."""
        if not self.known:
            return StepSize(shift_V, LIKELY_SCATTER * shift_V, 1)
        count = min(self.steps + 1, MEMORY)
        mean = self.volts + (shift_V - self.volts) / count
        # Welford's rule; the scatter assumed at first counts as one step.
        variance = (
            self.std_V**2 + ((shift_V - self.volts) * (shift_V - mean) - self.std_V**2) / count
        )
        return StepSize(mean, math.sqrt(max(variance, 0.0)), self.steps + 1)

    def steps_within(self, volts: float) -> int:
        """Return how many steps surely move the probe by less than `volts`; 0 for not even one."""
        count = int(volts / max(self.volts, 1e-9))
        while count and count * self.volts + 3.0 * self.std_V * math.sqrt(count) > volts:
            count -= 1
        return count


def known_size(probe: Any, direction: Direction) -> StepSize:
    """Return what the probe device knows of its steps in a direction."""
    sizes = probe.step_size
    return StepSize(
        float(getattr(sizes, f"{direction}_V").get()),
        float(getattr(sizes, f"{direction}_std_V").get()),
        int(getattr(sizes, f"{direction}_count").get()),
    )


def keep_size(probe: Any, direction: Direction, size: StepSize) -> Plan:
    """Leave what is known with the probe device, for later runs and their metadata."""
    sizes = probe.step_size
    for name, value in (
        (f"{direction}_V", size.volts),
        (f"{direction}_std_V", size.std_V),
        (f"{direction}_count", size.steps),
    ):
        yield Msg("set", getattr(sizes, name), value, group="steps")
    yield Msg("wait", None, group="steps")


def count_missed(probe: Any) -> Plan:
    """Count one more step that did not move the probe."""
    missed = probe.step_size.missed
    yield Msg("set", missed, int(missed.get()) + 1, group="steps")
    yield Msg("wait", None, group="steps")


def step_metadata(probe: Any) -> dict[str, Any]:
    """Return the sizes for a start document; empty when none is known."""
    found = {
        direction: known_size(probe, direction)._asdict()
        for direction in ("up", "down")
        if known_size(probe, direction).known
    }
    return {"coarse_step_size": found} if found else {}
