"""The current, read several times: its mean, and how well it is known."""

import math
from collections.abc import Sequence
from statistics import fmean, median
from typing import Any, NamedTuple

import bluesky.plan_stubs as bps

from .roles import Plan, Source
from .stubs import read_bias

MOST_LOST = 100  # readings in a row that a pause may cost
NORMAL = 1.4826  # of a median deviation, to compare with a standard deviation


class Sample(NamedTuple):
    """Some readings of one current.

    Attributes
    ----------
    current_A : float
        Their median: one glitch does not move it.
    noise_A : float
        Standard deviation of one reading, from the median deviation.
    count : int
        How many.
    limited : bool
        Whether the source was in compliance in most of them.
    """

    current_A: float
    noise_A: float
    count: int
    limited: bool

    @property
    def std_A(self) -> float:
        """Standard deviation of the median, in A."""
        return self.noise_A * (1.2533 if self.count > 2 else 1.0) / math.sqrt(self.count)


def sample_of(currents: Sequence[float], limited: Sequence[bool]) -> Sample:
    """Return what some readings (A) say."""
    middle = median(currents)
    noise = NORMAL * median(abs(value - middle) for value in currents)
    if noise == 0.0 and len(currents) > 1:
        # Of few quantised readings most are equal.
        noise = math.sqrt(fmean((value - middle) ** 2 for value in currents))
    return Sample(middle, noise, len(currents), 2 * sum(limited) > len(limited))


def read_current(bias: Source, count: int, *others: Any, stream: str) -> Plan:
    """Read `count` times, each an event of `stream` with `others`; return the `Sample`.

    A reading that a pause took away is taken again.
    """
    currents: list[float] = []
    limited: list[bool] = []
    for _ in range(count + MOST_LOST):
        yield from read_bias(bias, *others, stream=stream)
        current = yield from bps.rd(bias.current)
        if not math.isnan(current):
            currents.append(float(current))
            limited.append(bool((yield from bps.rd(bias.in_compliance))))
        if len(currents) == count:
            break
    return sample_of(currents or [0.0], limited)


def steady_current(
    bias: Source,
    count: int,
    *others: Any,
    stream: str,
    sigmas: float = 3.0,
    longest_s: float = 10.0,
) -> Plan:
    """Read blocks of `count` until two that follow each other agree; return the last `Sample`.

    So the charge of cables and insulation after a step of bias is waited out, as long as it can be
    seen over the noise, at most `longest_s` of station time.
    """
    clock = bias.clock
    end = clock.now() + longest_s
    before: Sample = yield from read_current(bias, count, *others, stream=stream)
    while True:
        now: Sample = yield from read_current(bias, count, *others, stream=stream)
        known = math.hypot(before.std_A, now.std_A)
        if abs(now.current_A - before.current_A) <= sigmas * known or clock.now() >= end:
            return now
        before = now
