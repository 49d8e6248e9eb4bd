"""One tick of crystals in NumPy and SciPy: whole arrays, k-d tree for contacts."""

from math import exp, pi

import numpy as np
from scipy.spatial import KDTree

from .crystals import Constants, Crystals, Floats, Pairs, cap_tau, touching

__all__ = ["candidates", "contacts", "largest_change", "spread", "step"]

_LARGE_SHARE = 0.01  # of the crystals, that look for contacts apart from the others


def _current(
    k: Constants, eta: float, c: Crystals, base: Floats, tau: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the current with and without the facet factor, pA, and the sphere's radius, nm."""
    stretch = 1.0 + tau * tau
    radius = base * stretch / (2.0 * tau)
    strength = (pi * k.exchange) * base * base * stretch
    shift = k.capillary / radius
    forward = strength * np.exp(-k.alpha * shift) * exp(k.alpha * k.f * eta)
    backward = strength * np.exp((1.0 - k.alpha) * shift) * exp(-(1.0 - k.alpha) * k.f * eta)
    room = radius * c.feed
    free = (forward - backward) / (
        1.0 + forward / (k.plating * room) + backward / (k.stripping * room)
    )
    phi = c.phi
    factor = np.where(
        free > 0.0,
        1.0 - k.slow_growth * phi,
        1.0 - k.slow_strip * phi * phi * (3.0 - 2.0 * phi),
    )
    return factor * free, free, radius


def _slide(k: Constants, volume: Floats, base: Floats) -> tuple[Floats, Floats]:
    """Move the contact lines that must; return them and tau."""
    size = np.cbrt(volume)
    base = np.clip(base, k.advancing * size, k.receding * size)
    return base, cap_tau(volume, base)


def _grow(k: Constants, eta: float, c: Crystals) -> None:
    rate = k.faraday * _current(k, eta, c, c.base, c.tau)[0]
    ahead = _slide(k, c.volume + k.tick * rate, c.base)
    rate_2 = k.faraday * _current(k, eta, c, *ahead)[0]
    change = 0.5 * k.tick * (rate + rate_2)
    c.volume += change
    c.current = change / (k.faraday * k.tick)
    c.base, c.tau = _slide(k, c.volume, c.base)


def _flattening(k: Constants, radius: Floats) -> Floats:
    """Return the rise of the surface diffusivity of small crystals over R^4, 1/nm4."""
    square = radius * radius
    return np.exp(np.minimum(k.premelting / radius, 6.0)) / (square * square)


def _facet(k: Constants, eta: float, c: Crystals) -> Floats:
    """Facet order and necks; return the rms Brownian step, nm."""
    _, free, radius = _current(k, eta, c, c.base, c.tau)
    speed = free * k.faraday * radius / (3.0 * c.volume)
    c.free_growth = speed
    soft = _flattening(k, radius)
    rounds = k.rounding * k.mullins * soft
    facets = (k.flow + radius * np.maximum(speed, 0.0)) / (radius * radius)
    x = facets / rounds
    local = k.local_share * x * x / (x * x + k.local_ratio**2)
    power = (x * (1.0 + k.feedback * c.phi) / k.switch_ratio) ** k.sharpness
    goal = local + (1.0 - local) * power / (1.0 + power)
    speed_up = k.rate * (facets + rounds)
    if eta < 0.0:  # the edges of what is stripped dissolve first
        strips = speed < 0.0
        goal = np.where(strips, 0.0, goal)
        speed_up = np.where(strips, rounds + k.edge * np.abs(speed) / radius, speed_up)
    c.phi = goal + (c.phi - goal) * np.exp(-speed_up * k.tick)
    open_necks = np.flatnonzero(c.neck)
    if len(open_necks):
        closing = np.exp(-k.mullins * soft[open_necks] * k.tick / 0.89)
        neck = c.neck[open_necks] * closing
        c.neck[open_necks] = np.where(neck < 0.01 * radius[open_necks], 0.0, neck)
        c.neck_share[open_necks[c.neck[open_necks] == 0.0]] = 0.0
    return np.sqrt(2.0 * k.hop * k.tick * soft) * (1.0 - c.phi)


def _walk(k: Constants, c: Crystals, rms: Floats, random: np.random.Generator) -> None:
    rms = np.where(rms < 1e-6, 0.0, rms)
    s = np.abs(c.s + rms * random.standard_normal(len(c)))
    c.s = np.where(s > k.length, 2.0 * k.length - s, s)
    y = (c.y + rms * random.standard_normal(len(c))) % k.period
    c.y = np.where(y < k.period, y, 0.0)


def candidates(c: Crystals, k: Constants, room: float = 0.0) -> Pairs:
    """Return pairs (i < j) among which all are that touch, sorted; `room` adds to the gap.

    The tree knows one radius only.  The few largest crystals look around apart, so that the radius
    of all others is not theirs.
    """
    # A length of 0 is a direction without a period.
    tree = KDTree(np.column_stack([c.s, c.y]), boxsize=[0.0, k.period])
    gap = k.touch_gap + room
    large = np.argsort(c.base)[int(len(c) * (1.0 - _LARGE_SHARE)) :]
    most = float(c.base[large[0]]) if len(large) else 0.0
    pairs = [tree.query_pairs(2.0 * most + gap, output_type="ndarray").astype(np.int64)]
    if len(large):
        reach = c.base[large] + float(c.base[large[-1]]) + gap
        found = tree.query_ball_point(tree.data[large], reach)
        i = np.repeat(large, [len(row) for row in found])
        j = np.concatenate([np.asarray(row, dtype=np.int64) for row in found])
        both = np.column_stack([np.minimum(i, j), np.maximum(i, j)])
        pairs.append(both[i != j])
    return np.concatenate(pairs)


def contacts(c: Crystals, k: Constants) -> Pairs:
    """Return all touching pairs (i < j), sorted."""
    return np.unique(touching(c, candidates(c, k), k), axis=0)


def step(
    crystals: Crystals, constants: Constants, eta: float, random: np.random.Generator
) -> Pairs:
    """Advance the crystals by one tick at this overpotential; return the touching pairs."""
    _grow(constants, eta, crystals)
    rms = _facet(constants, eta, crystals)
    if constants.hop > 0.0:
        _walk(constants, crystals, rms, random)
    return contacts(crystals, constants)


def largest_change(crystals: Crystals, constants: Constants, eta: float) -> float:
    """Return the largest relative change of a volume in the next tick; sub-steps above 0.15."""
    c, k = crystals, constants
    rate = k.faraday * _current(k, eta, c, c.base, c.tau)[0]
    return float(np.max(np.abs(rate) * k.tick / c.volume))


def spread(crystals: Crystals, constants: Constants) -> Floats:
    """Return the rms Brownian step in each direction of crystals in this state, nm."""
    c, k = crystals, constants
    radius = c.base * (1.0 + c.tau**2) / (2.0 * c.tau)
    return np.sqrt(2.0 * k.hop * k.tick * _flattening(k, radius)) * (1.0 - c.phi)
