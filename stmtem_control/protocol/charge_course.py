"""Which way the charge goes in a protocol, and which waits for a charge are over as they begin.

A negative bias makes the charge fall, a positive one makes it rise, 0 V leaves it as it is.  So the
charge at the begin of a step is known within bounds: exactly before the first step under bias,
since it counts from there, and later as far as steps before it waited for a charge.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from stmtem_control.units import si

from .conditions import Condition
from .protocol import Protocol
from .steps import Biased, Blank, Cycles, Step, kind_of

AT_ONCE = "ends this step at once"
OVERSHOOT = 0.1  # of a charge that was waited for, which the last reading may be past it


class Wait(NamedTuple):
    """A wait for a charge that is there as the step begins.

    Attributes
    ----------
    where, kind : str
        File and line of the step, and its key.
    text : str
        What is wrong, and what to do.
    certain : bool
        Whether no current decides it: nothing has flowed before.
    """

    where: str
    kind: str
    text: str
    certain: bool

    def one_line(self) -> str:
        """Return all of it in one line."""
        return ": ".join(part for part in (self.where, self.kind, self.text) if part)


def waits_that_are_over(protocol: Protocol) -> list[Wait]:
    """Return the waits for a charge that end their step at once, each once.

    Parameters
    ----------
    protocol : Protocol

    Returns
    -------
    list of Wait
        In the order of the file.
    """
    course = _Course()
    found: dict[tuple[str, str, str], Wait] = {}
    for step in _in_turn(protocol):
        if isinstance(step, Biased):
            for condition in step.until:
                wait = course.judge(step, condition)
                if wait is not None:
                    found.setdefault((wait.where, wait.kind, str(condition)), wait)
        course.pass_by(step)
    return list(found.values())


def _in_turn(protocol: Protocol) -> Iterator[Step]:
    for step in protocol.steps:
        if isinstance(step, Cycles):
            for _ in range(min(step.repeat, 2)):  # the third begins as the second
                yield from (step.deposit, step.strip)
        else:
            yield step


class _Course:
    """Bounds of the charge (C) from step to step."""

    def __init__(self) -> None:
        self.least_C = self.most_C = 0.0
        self._flowed = False
        self._before_V = 0.0  # the bias that a ramp begins at

    def judge(self, step: Biased, condition: Condition) -> Wait | None:
        """Return what is wrong with a condition of the step that comes next."""
        if condition.kind != "charge" or condition.value is None:
            return None
        value, falls = condition.value, (step.bias_V or 0.0) < 0.0
        down = condition.comparison == "below" or (condition.comparison == "reaches" and falls)
        if condition.comparison == "reaches" and not step.bias_V:
            over = self.least_C == self.most_C == value
        elif down:
            over = self.most_C + OVERSHOOT * abs(self.most_C) <= value
        else:
            over = self.least_C - OVERSHOOT * abs(self.least_C) >= value
        if not over:
            return None
        bound = si(self.most_C if down else self.least_C, "C")
        there = f"the charge is {bound} or {'less' if down else 'more'} by then"
        if not self._flowed:
            there = "no charge has flowed before it"
        goes = f"{step.bias_V or 0.0:g} V makes it {'fall' if falls else 'rise'}, so wait for one "
        goes += f"{'below' if falls else 'above'} {si(self.most_C if falls else self.least_C, 'C')}"
        if not step.bias_V:
            goes = "0 V does not change it; wait for something else"
        text = f"until {condition} {AT_ONCE}: {there}; {goes}"
        return Wait(step.where, kind_of(type(step)), text, certain=not self._flowed)

    def pass_by(self, step: Step) -> None:
        """Take in what a step may do to the charge."""
        if isinstance(step, Biased):
            self._flow(step)
            self._before_V = step.biases_V[-1]
        elif isinstance(step, Blank):
            for sign in (-1.0, 1.0):
                if step.bias_V * sign > 0.0:
                    self._open(sign)
            self._before_V = 0.0
        elif step.kind != "comment":
            self._before_V = 0.0

    def _flow(self, step: Biased) -> None:
        for sign in (-1.0, 1.0):
            if any(volts * sign > 0.0 for volts in step.biases_V):
                bounds = [one.value for one in step.until if _bounds(one, sign)]
                self._open(sign, *(value for value in bounds if value is not None))
            # Up a ramp from the other sign the charge goes the other way at first.
            if step.ramp_V_per_s is not None and self._before_V * sign > 0.0:
                self._open(sign)

    def _open(self, sign: float, *waited_C: float) -> None:
        """Let a bias of this sign move the bound that it drives, as far as was waited for."""
        self._flowed = True
        if sign < 0.0:
            self.least_C = min(self.least_C, max(waited_C, default=-math.inf))
        else:
            self.most_C = max(self.most_C, min(waited_C, default=math.inf))


def _bounds(condition: Condition, sign: float) -> bool:
    """Tell whether a condition ends a step before the charge goes on without end."""
    words = ("reaches", "below") if sign < 0.0 else ("reaches", "above")
    return condition.kind == "charge" and condition.comparison in words
