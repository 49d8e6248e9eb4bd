"""The current, read several times: its mean, and how well it is known."""

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, median
from typing import Any, NamedTuple

from bluesky import Msg

from .legs import leg
from .roles import Plan, Source
from .stubs import read_bias

READINGS = "readings"  # of a leg: so many of them, and nothing else
MOST_LOST = 100  # readings in a row that a pause may cost
KEPT = 0.8  # share of the readings, the closest to their median, that tell the noise


class Sample(NamedTuple):
    """Some readings of one current.

    Attributes
    ----------
    current_A : float
        Their median: one glitch does not move it.
    noise_A : float
        Standard deviation of one reading, from those closest to the median.
    readings : int
        How many.
    limited : bool
        Whether the source was in compliance in most of them.
    """

    current_A: float
    noise_A: float
    readings: int
    limited: bool

    @property
    def std_A(self) -> float:
        """Standard deviation of the median, in A."""
        return self.noise_A * (1.2533 if self.readings > 2 else 1.0) / math.sqrt(self.readings)


def sample_of(currents: Sequence[float], limited: Sequence[bool]) -> Sample:
    """Return what some readings (A) say."""
    if len(currents) == 1:
        return Sample(float(currents[0]), 0.0, 1, bool(limited[0]))
    middle = median(currents)
    kept = sorted(abs(value - middle) for value in currents)[: math.ceil(KEPT * len(currents))]
    noise = _widened(len(kept) / len(currents)) * math.sqrt(fmean(off * off for off in kept))
    return Sample(middle, noise, len(currents), 2 * sum(limited) > len(limited))


def _widened(share: float) -> float:
    """Return the standard deviation of a normal law over that of its innermost `share`."""
    if share >= 1.0:
        return 1.0
    normal = NormalDist()
    edge = normal.inv_cdf(0.5 + 0.5 * share)
    return 1.0 / math.sqrt(1.0 - 2.0 * edge * normal.pdf(edge) / share)


def value_of(signal: Any) -> Plan:
    """Return the value of a signal, as ``bps.rd`` does.

    That one notes at each call where it was called from, for a warning of its own; in a loop over
    readings this takes longer than all the rest.
    """
    found = yield Msg("read", signal)
    return 0 if found is None else found[signal.name]["value"]


def read_current(bias: Source, count: int, *others: Any, stream: str) -> Plan:
    """Read `count` times, each an event of `stream` with `others`; return the `Sample`.

    A reading that a pause took away is taken again.
    """
    currents, limited = yield from _take(bias, count, others, stream, levels=())
    return sample_of(currents, limited)


def read_level(bias: Source, count: int, *others: Any, stream: str) -> Plan:
    """Read as `read_current` does; return the `Sample`, the level set and the one measured (V)."""
    levels = (bias.setpoint, bias.voltage)
    currents, limited, wanted_V, volts = yield from _take(bias, count, others, stream, levels)
    return sample_of(currents, limited), float(wanted_V), float(volts)


def _take(
    bias: Source, count: int, others: Sequence[Any], stream: str, levels: Sequence[Any]
) -> Plan:
    """Return the currents, whether each was limited, and then the values of `levels`."""

    def course() -> Plan:
        currents: list[float] = []
        limited: list[bool] = []
        for _ in range(count + MOST_LOST):
            yield from read_bias(bias, *others, stream=stream)
            current = yield from value_of(bias.current)
            if not math.isnan(current):
                currents.append(float(current))
                limited.append(bool((yield from value_of(bias.in_compliance))))
            if len(currents) == count:
                break
        found: list[Any] = [currents or [0.0], limited or [False]]
        for signal in levels:
            found.append((yield from value_of(signal)))
        return found

    settings = {
        "count": count,
        "others": [device.name for device in others],
        "levels": len(levels),
    }
    return (yield from leg(READINGS, bias, settings, course))


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
