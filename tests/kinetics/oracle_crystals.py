"""Crystals, sites and random numbers of the oracle; see ``oracle.py``."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

# What a draw is for; part of the counter.
SITE_PLACE, SITE_RATE, SITE_THRESHOLD, WALK = 1, 2, 3, 4
BIRTH, MERGE, FACET_ON, FACET_OFF, DEPIN, GONE, BOUNDARY_END = range(7)
LEVELS = (0.1, 0.6)  # of phi: local facets, faceted
WORD = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32 with ten rounds (Salmon et al., SC11, 2011)."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & WORD, (p0 >> 32) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
    return c0, c1, c2, c3


def draw(seed: int, purpose: int, identity: int, when: int) -> tuple[float, float]:
    """Two uniform numbers in (0, 1) of 52 bits each.

    Key: the seed.  Counter: identity, with the purpose in the highest byte of its second word,
    then the tick or cycle.
    """
    counter = (identity & WORD, identity >> 32 | purpose << 24, when & WORD, when >> 32)
    words = philox(counter, (seed & WORD, seed >> 32))
    first, second = words[0] << 32 | words[1], words[2] << 32 | words[3]
    return ((first >> 12) + 0.5) / 2**52, ((second >> 12) + 0.5) / 2**52


def normals(pair: tuple[float, float]) -> tuple[float, float]:
    """Two standard normal numbers (Box and Muller)."""
    length, turn = math.sqrt(-2.0 * math.log(pair[0])), 2.0 * math.pi * pair[1]
    return length * math.cos(turn), length * math.sin(turn)


def bounded_exp(x: float) -> float:
    """Exponential of an argument held within +-300."""
    return math.exp(min(max(x, -300.0), 300.0))


def cap_factor(theta: float) -> float:
    """V/a^3 of a spherical cap with contact angle theta."""
    tau = math.tan(theta / 2.0)
    return math.pi / 6.0 * tau * (3.0 + tau * tau)


def level_of(phi: float) -> int:
    """0 droplet, 1 local facets, 2 faceted."""
    return sum(phi >= level for level in LEVELS)


class Place(NamedTuple):
    """Where a contact line is, nm."""

    s: float
    y: float
    base: float


@dataclass(eq=False)
class Crystal:
    """One particle; lengths in nm, tau = tan(theta/2), ``side`` +1 advancing, -1 receding."""

    uid: int
    fibre: int
    s: float
    y: float
    volume: float
    feed: float
    phi: float = 0.0
    base: float = 0.0
    tau: float = 0.0
    side: int = 0
    neck: float = 0.0
    neck_direction: float = 0.0
    neck_share: float = 0.0
    boundary_life: float = 0.0
    born: float = 0.0
    current: float = 0.0  # pA, mean over the last tick
    turn: float = 0.0  # pA, change of the current by growth in the last tick, if done in one step
    free_growth: float = 0.0  # dR/dt of the unfaceted crystal
    level: int = 0
    before: Place | None = None  # at the start of the tick; a newborn has none

    @property
    def theta(self) -> float:
        """Contact angle, rad."""
        return 2.0 * math.atan(self.tau)

    @property
    def radius(self) -> float:
        """Of the sphere."""
        return self.base * (1.0 + self.tau**2) / (2.0 * self.tau)

    @property
    def free_area(self) -> float:
        """Of the cap, without its base."""
        return math.pi * self.base**2 * (1.0 + self.tau**2)

    @property
    def place(self) -> Place:
        """Where the contact line is now."""
        return Place(self.s, self.y, self.base)

    def fill(self, volume: float, advancing: float, receding: float) -> None:
        """Change the volume; the contact line slides where the angle would leave its range."""
        lowest = (volume / cap_factor(advancing)) ** (1.0 / 3.0)
        highest = (volume / cap_factor(receding)) ** (1.0 / 3.0)
        self.volume = volume
        if self.base <= lowest:
            self.base, self.side, self.tau = lowest, 1, math.tan(advancing / 2.0)
        elif self.base >= highest:
            self.base, self.side, self.tau = highest, -1, math.tan(receding / 2.0)
        else:  # the real root of tau^3 + 3 tau - 6 V/(pi a^3) = 0
            self.side = 0
            cubic = 3.0 * volume / (math.pi * self.base**3)
            self.tau = 2.0 * math.sinh(math.asinh(cubic) / 3.0)


@dataclass
class Site:
    """One place for a nucleus."""

    fibre: int
    s: float
    y: float
    rate: float
    feed: float
    hazard: float = 0.0
    threshold: float = 0.0
    used: bool = False


def lay_out(parameters: Mapping[str, float], seed: int) -> list[Site]:
    """Places and strengths of the sites, those of one fibre after those of another."""
    p, sites = parameters, []
    length, period = p["fibre_length_nm"], 2.0 * math.pi * p["fibre_radius_nm"]
    per_fibre = int(p["site_count"])
    for i in range(per_fibre * int(p["fibre_count"])):
        s, y = draw(seed, SITE_PLACE, i, 0)
        z_rate, z_feed = normals(draw(seed, SITE_RATE, i, 0))
        rate, feed = math.exp(p["site_scatter"] * z_rate), math.exp(p["feed_scatter"] * z_feed)
        site = Site(i // per_fibre, length * s, period * y, rate, feed)
        if i % per_fibre == 0 and p["first_site_feed"] > 0.0:  # in the middle of the view
            site.feed = p["first_site_feed"]
            site.s, site.y = 0.5 * length, 0.04 * period
        site.feed *= p["fibre_feed_ratio"] ** site.fibre
        sites.append(site)
    return sites


class Relaxation(NamedTuple):
    """Course of the overpotential over a tick, V: exponential from ``before`` towards ``rest``."""

    before: float
    rest: float
    stiffness: float  # tick over time constant
    mean: float
    end: float

    def at(self, share: float) -> float:
        """Overpotential at a share 0 ... 1 of the tick."""
        return self.rest + (self.before - self.rest) * math.exp(-self.stiffness * share)


class Event(NamedTuple):
    """What happened; ``other`` as in the events of the model."""

    time: float
    kind: int
    uid: int
    other: int
