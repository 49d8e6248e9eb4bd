"""One tick of crystals in Numba: one plain loop with the functions of the C library, cell list."""

from math import asinh, exp, fabs, floor, pi, sinh, sqrt
from typing import Any

import numba
import numpy as np

from .crystals import Constants, Crystals, Floats, Pairs

__all__ = ["contacts", "seed", "step"]

# Division by zero is not looked for: then loops become vector code.
_fast = numba.njit(error_model="numpy")


@_fast
def seed(number: int) -> None:
    """Seed the random numbers of compiled code."""
    np.random.seed(number)


@_fast
def _free_current(
    k: Constants, up: float, down: float, base: float, tau: float, feed: float
) -> float:
    stretch = 1.0 + tau * tau
    radius = base * stretch / (2.0 * tau)
    strength = pi * k.exchange * base * base * stretch
    shift = k.capillary / radius
    forward = strength * exp(-k.alpha * shift) * up
    backward = strength * exp((1.0 - k.alpha) * shift) * down
    room = radius * feed
    return (forward - backward) / (
        1.0 + forward / (k.plating * room) + backward / (k.stripping * room)
    )


@_fast
def _facet_factor(k: Constants, phi: float, current: float) -> float:
    if current > 0.0:
        return 1.0 - k.slow_growth * phi
    return 1.0 - k.slow_strip * phi * phi * (3.0 - 2.0 * phi)


@_fast
def _slide(k: Constants, volume: float, base: float) -> tuple[float, float]:
    size = np.cbrt(volume)
    lowest, highest = k.advancing * size, k.receding * size
    if base <= lowest:
        return lowest, k.tau_advancing
    if base >= highest:
        return highest, k.tau_receding
    return base, 2.0 * sinh(asinh(3.0 * volume / (pi * base * base * base)) / 3.0)


@_fast
def _tick(
    k: Constants,
    eta: float,
    s: Floats,
    y: Floats,
    volumes: Floats,
    bases: Floats,
    taus: Floats,
    phis: Floats,
    feeds: Floats,
    necks: Floats,
    neck_shares: Floats,
    currents: Floats,
    free_growth: Floats,
) -> None:
    up, down = exp(k.alpha * k.f * eta), exp(-(1.0 - k.alpha) * k.f * eta)
    for i in range(len(volumes)):
        volume, base, tau, phi, feed = volumes[i], bases[i], taus[i], phis[i], feeds[i]
        # growth: Heun's rule
        current = _free_current(k, up, down, base, tau, feed)
        rate = k.faraday * current * _facet_factor(k, phi, current)
        base_2, tau_2 = _slide(k, volume + k.tick * rate, base)
        current = _free_current(k, up, down, base_2, tau_2, feed)
        rate_2 = k.faraday * current * _facet_factor(k, phi, current)
        change = 0.5 * k.tick * (rate + rate_2)
        volume += change
        base, tau = _slide(k, volume, base)
        volumes[i], bases[i], taus[i] = volume, base, tau
        currents[i] = change / (k.faraday * k.tick)
        # facets
        radius = base * (1.0 + tau * tau) / (2.0 * tau)
        speed = _free_current(k, up, down, base, tau, feed) * k.faraday * radius / (3.0 * volume)
        free_growth[i] = speed
        square = radius * radius
        soft = exp(min(k.premelting / radius, 6.0)) / (square * square)
        rounds = k.rounding * k.mullins * soft
        if eta < 0.0 and speed < 0.0:
            phi *= exp(-(rounds + k.edge * fabs(speed) / radius) * k.tick)
        else:
            facets = (k.flow + radius * max(speed, 0.0)) / square
            x = facets / rounds
            local = k.local_share * x * x / (x * x + k.local_ratio * k.local_ratio)
            power = (x * (1.0 + k.feedback * phi) / k.switch_ratio) ** k.sharpness
            goal = local + (1.0 - local) * power / (1.0 + power)
            phi = goal + (phi - goal) * exp(-k.rate * (facets + rounds) * k.tick)
        phis[i] = phi
        if necks[i] > 0.0:
            necks[i] *= exp(-k.mullins * soft * k.tick / 0.89)
            if necks[i] < 0.01 * radius:
                necks[i] = neck_shares[i] = 0.0
        # Brownian step
        spread = sqrt(2.0 * k.hop * k.tick * soft) * (1.0 - phi)
        if spread >= 1e-6:
            to = fabs(s[i] + spread * np.random.standard_normal())
            s[i] = to if to <= k.length else 2.0 * k.length - to
            around = y[i] + spread * np.random.standard_normal()
            around -= k.period * floor(around / k.period)
            y[i] = around if around < k.period else 0.0


@_fast
def _contacts(k: Constants, s: Floats, y: Floats, bases: Floats) -> Any:
    """Cells of the mean spacing; the larger crystal looks for the smaller."""
    count = len(s)
    spacing = sqrt(k.length * k.period / count)
    along, around = max(1, int(k.length / spacing)), max(1, int(k.period / spacing))
    cell_s, cell_y = k.length / along, k.period / around
    start = np.zeros(along * around + 1, dtype=np.int64)
    cell = np.empty(count, dtype=np.int64)
    for i in range(count):
        row, column = min(int(s[i] / cell_s), along - 1), min(int(y[i] / cell_y), around - 1)
        cell[i] = row * around + column
        start[cell[i] + 1] += 1
    for c in range(along * around):
        start[c + 1] += start[c]
    fill, item = start[:-1].copy(), np.empty(count, dtype=np.int64)
    for i in range(count):
        item[fill[cell[i]]] = i
        fill[cell[i]] += 1
    first, second = [0 for _ in range(0)], [0 for _ in range(0)]  # lists that have a type
    for i in range(count):
        base = bases[i]
        look = 2.0 * base + k.touch_gap
        low = max(0, floor((s[i] - look) / cell_s))
        high = min(along - 1, int((s[i] + look) / cell_s))
        left, right = floor((y[i] - look) / cell_y), floor((y[i] + look) / cell_y)
        if right - left >= around:
            left, right = 0, around - 1
        for row in range(low, high + 1):
            for column in range(left, right + 1):
                c = row * around + column % around
                for place in range(start[c], start[c + 1]):
                    j = item[place]
                    if bases[j] > base or (bases[j] == base and j >= i):
                        continue
                    ds, dy = s[j] - s[i], y[j] - y[i]
                    dy -= k.period * floor(dy / k.period + 0.5)
                    reach = base + bases[j] + k.touch_gap
                    if ds * ds + dy * dy < reach * reach:
                        first.append(min(i, j))
                        second.append(max(i, j))
    pairs = np.empty((len(first), 2), dtype=np.int64)
    for n in range(len(first)):
        pairs[n, 0], pairs[n, 1] = first[n], second[n]
    return pairs


def contacts(crystals: Crystals, constants: Constants) -> Pairs:
    """Return all touching pairs (i < j), sorted."""
    pairs: Pairs = _contacts(constants, crystals.s, crystals.y, crystals.base)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def step(crystals: Crystals, constants: Constants, eta: float) -> Pairs:
    """Advance the crystals by one tick at this overpotential; return the touching pairs."""
    c = crystals
    _tick(
        constants,
        eta,
        c.s,
        c.y,
        c.volume,
        c.base,
        c.tau,
        c.phi,
        c.feed,
        c.neck,
        c.neck_share,
        c.current,
        c.free_growth,
    )
    return contacts(crystals, constants)
