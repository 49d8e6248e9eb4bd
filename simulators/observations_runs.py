"""Runs of the kinetic model for the observations of the paper, each done once, when asked for.

A crystal is "large" as in the paper's Fig. 3c: followed from nothing through its facetting and its
stripping.  "Diameter" is that of the contact line.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import inf, nan, radians
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import equations
from .model import KineticModel
from .records import EVENT_KINDS

__all__ = ["Crystal", "Deposition", "Fusion", "Runs", "SlowGrowth", "crystallinity_curve"]

DEPOSIT_V = -5.0
STRIP_V = 5.0
TENTHS = 12  # of a second; the depositions of Fig. 2 are looked at each 0.1 s


class Deposition(NamedTuple):
    """One deposition of 1.2 s, and what 1 s of it needs to be stripped."""

    counts: NDArray[np.int64]  # particles at 0, 0.1 ... 1.2 s
    diameters: list[NDArray[np.float64]]  # nm, at the same times
    births_after_burst: int  # from 0.2 s on
    merges: int
    phi: NDArray[np.float64]  # facet order of all particles at 1 s
    smallest_angle_deg: float  # in deposition and stripping
    largest_angle_deg: float
    stripped_after_s: float  # from reversal at 1 s until the last is gone; inf: not within 2 s
    overpotential_V: float  # at 0.8 s
    current_A: float  # that becomes metal, at 0.8 s


class SlowGrowth(NamedTuple):
    """Growth to 17.2 s on slowly fed fibres, then stripping (Fig. 3b)."""

    early: NDArray[np.void]  # particles at 2 s
    late: NDArray[np.void]  # at 17.2 s
    rounding: NDArray[np.void]  # 2.5 s after reversal
    gone_after_s: float  # inf: not within 6 s


class Crystal(NamedTuple):
    """The largest crystal of a fibre with few sites: growth, facets, stripping."""

    switched: bool  # reached phi = 0.9; else the rest is NaN
    disturbed: bool  # swallowed another of 1 % of its volume or more while looked at
    switch_time_s: float  # when phi passes 0.4, since the start
    switch_lasts_s: float  # phi from 0.4 to 0.9
    diameter_nm: float  # when phi passes 0.4
    area_rate_nm2_s: float  # of the side view, from a diameter of 100 nm to phi = 0.4
    faceted_rate_nm2_s: float  # in the second after phi = 0.9
    edges_last_s: float  # from reversal until phi = 0.5
    edges_volume: float  # volume at phi = 0.5 over that at reversal
    edges_angle_deg: float  # contact angle at phi = 0.5
    depin_volume: float  # volume where the line lets go over that at reversal
    sliding_low_deg: float  # contact angle from there to 1 % of the volume
    sliding_high_deg: float
    phi_at_half: float  # facet order when half the volume is left


class Fusion(NamedTuple):
    """Two crystals put side by side and left alone."""

    grains: int  # after contact
    rounded_s: float  # from contact until nine tenths of the neck are gone
    rounded_rule_s: float  # what the law of rounding says
    boundary_s: float  # life of the grain boundary; 0: there was none, NaN: it did not end
    boundary_rule_s: float


class Runs:
    """All runs of one table.

    Parameters
    ----------
    seeds
        Of the model.  Presets that take long are run for fewer of them.
    changes
        Values of parameters that differ from every preset.

    Raises
    ------
    ValueError
        No seed, or a parameter that the model refuses.
    """

    def __init__(self, seeds: Sequence[int], changes: Mapping[str, float] | None = None) -> None:
        if not seeds:
            raise ValueError("the observations need at least one seed")
        self.seeds = tuple(seeds)
        self.changes = dict(changes or {})
        self.model("fig2", self.seeds[0])

    def model(self, preset: str, seed: int, **parameters: float) -> KineticModel:
        """Return a fresh model; ``parameters`` go before the changes of this table."""
        return KineticModel(preset, seed, **(self.changes | parameters))

    def angle(self, which: str) -> float:
        """Advancing or receding contact angle, degrees, on carbon."""
        return self.model("fig2", self.seeds[0]).parameters[f"{which}_angle_deg"]

    def some(self, share: float, least: int = 1) -> tuple[int, ...]:
        """Return the first seeds: a share of them, at least so many (or all)."""
        return self.seeds[: max(least, round(share * len(self.seeds)))]

    @cached_property
    def depositions(self) -> list[Deposition]:
        """One for each seed, preset fig2."""
        return [_deposit(self.model("fig2", seed)) for seed in self.seeds]

    @cached_property
    def slow_growths(self) -> list[SlowGrowth]:
        """Preset fig3b, a fifth of the seeds."""
        return [_grow_slowly(self.model("fig3b", seed)) for seed in self.some(0.2)]

    @cached_property
    def crystals(self) -> list[Crystal]:
        """One for each seed, preset fig3c."""
        return [follow_crystal(self.model("fig3c", seed)) for seed in self.seeds]

    @cached_property
    def oxide_crystals(self) -> list[Crystal]:
        """One for each seed, preset li2o."""
        return [follow_crystal(self.model("li2o", seed)) for seed in self.seeds]

    @cached_property
    def cycles(self) -> list[tuple[list[int], float]]:
        """Particles at 0.8 s of five cycles, and the largest rest of charge over all deposited."""
        return [_cycle(self.model("fig2", seed)) for seed in self.some(0.25, 2)]

    @cached_property
    def curves(self) -> list[NDArray[np.float64]]:
        """:func:`crystallinity_curve` of a quarter of the seeds."""
        return [crystallinity_curve(self.model("fig2", seed)) for seed in self.some(0.25, 2)]

    def fuse(self, diameter_nm: float, ratio: float = 1.0) -> Fusion:
        """Put a crystal and one of ``ratio`` times its size side by side at open circuit."""
        model = self.model("fig2", self.seeds[0], site_count=0, tick_s=1e-4)
        return _fuse(model, diameter_nm, ratio)

    @cached_property
    def fibre_looks(self) -> NDArray[np.float64]:
        """Particles on each of three fibres at 0.2, 0.6, 0.8 and 1.0 s, and their mean diameter.

        Shape (seeds, 4, 3, 2); preset fibres.
        """
        return np.array([_look_at_fibres(self.model("fibres", seed)) for seed in self.seeds])

    @cached_property
    def equal_fibre_looks(self) -> NDArray[np.float64]:
        """The same for fibres fed alike."""
        alike = {"fibre_feed_ratio": 1.0}
        return np.array(
            [_look_at_fibres(self.model("fibres", seed, **alike)) for seed in self.seeds]
        )

    def beam_pair(self, preset: str, seed: int) -> tuple[KineticModel, KineticModel]:
        """Deposition, stripping and deposition, beam blocked and at 100 e/(A2 s)."""
        pair = self.model(preset, seed), self.model(preset, seed)
        for model, dose_rate in zip(pair, (0.0, 100.0), strict=True):
            for seconds, bias in ((0.6, DEPOSIT_V), (0.2, STRIP_V), (0.2, DEPOSIT_V)):
                model.advance(seconds, bias, beam_e_per_A2_s=dose_rate)
        return pair


def crystallinity_curve(
    model: KineticModel, seconds: float = 0.8, step_s: float = 0.002
) -> NDArray[np.float64]:
    """Deposit and return atoms on the fibres and the BCC share of them, two rows.

    The curve of Fig. 4c for a fibre: the mean over its particles, weighted by their atoms.
    """
    rows = []
    for _ in range(round(seconds / step_s)):
        model.advance(step_s, DEPOSIT_V)
        particles = model.particles
        if len(particles):
            atoms = model.lithium_volume_nm3 / model.parameters["atomic_volume_nm3"]
            rows.append((atoms, equations.mean_crystalline_share(particles)))
    return np.array(rows, dtype=np.float64).reshape(-1, 2).T


def _events(model: KineticModel, kind: str) -> NDArray[np.void]:
    events = model.events
    chosen: NDArray[np.void] = events[events["kind"] == EVENT_KINDS[kind]]
    return chosen


def _last_gone(model: KineticModel, reversal_s: float, within_s: float) -> float:
    while len(model.particles) and model.time < reversal_s + within_s - 1e-9:
        model.advance(0.02, STRIP_V)
    if len(model.particles):
        return inf
    gone = _events(model, "gone")["time_s"]
    return float(gone.max() - reversal_s) if len(gone) else nan


def _deposit(model: KineticModel) -> Deposition:
    counts, diameters, angles = [0], [np.empty(0)], [np.empty(0)]
    phi, stripped, overpotential, current = np.empty(0), nan, nan, nan
    for tenth in range(1, TENTHS + 1):
        model.advance(0.1, DEPOSIT_V)
        particles = model.particles
        counts.append(len(particles))
        diameters.append(particles["diameter_nm"])
        angles.append(particles["contact_angle_rad"])
        if tenth == 8:
            overpotential, current = model.overpotential, model.faradaic_current
        if tenth == 10:
            phi = particles["phi"]
            stripping = KineticModel.restore(model.save())
            for _ in range(12):
                stripping.advance(0.04, STRIP_V)
                angles.append(stripping.particles["contact_angle_rad"])
            stripped = _last_gone(stripping, 1.0, 2.0)
    seen = np.degrees(np.concatenate(angles))
    births = _events(model, "birth")["time_s"]
    return Deposition(
        counts=np.array(counts),
        diameters=diameters,
        births_after_burst=int((births > 0.2).sum()),
        merges=len(_events(model, "merge")),
        phi=phi,
        smallest_angle_deg=float(seen.min(initial=inf)),
        largest_angle_deg=float(seen.max(initial=-inf)),
        stripped_after_s=stripped,
        overpotential_V=overpotential,
        current_A=current,
    )


def _grow_slowly(model: KineticModel) -> SlowGrowth:
    model.advance(2.0, DEPOSIT_V)
    early = model.particles
    model.advance(15.2, DEPOSIT_V)
    late = model.particles
    model.advance(2.5, STRIP_V)
    rounding = model.particles
    return SlowGrowth(early, late, rounding, _last_gone(model, 17.2, 6.0))


def follow_crystal(model: KineticModel, patience_s: float = 15.0, step_s: float = 0.02) -> Crystal:
    """Deposit until the largest crystal has been faceted for a second, then strip it.

    Parameters
    ----------
    model
        A fresh one.
    patience_s
        When to give up waiting for facets, s.
    step_s
        Between looks, s.
    """
    rows: list[NDArray[np.void]] = []
    faceted_at = inf
    while model.time < min(patience_s, faceted_at + 1.0 - 1e-9):
        model.advance(step_s, DEPOSIT_V)
        particles = model.particles
        if len(particles):
            largest = particles[particles["volume_nm3"].argmax()]
            rows.append(largest)
            if faceted_at == inf and largest["phi"] >= 0.9:
                faceted_at = model.time
    if faceted_at == inf:
        nothing: dict[str, float] = dict.fromkeys(Crystal._fields[2:], nan)
        return Crystal(switched=False, disturbed=False, **nothing)
    crystal = np.array(rows)
    uid = int(crystal["uid"][-1])
    times = model.time - step_s * np.arange(len(rows) - 1, -1, -1, dtype=np.float64)
    grown = int(np.argmax(crystal["diameter_nm"] >= 100.0))
    begun, done = (int(np.argmax(crystal["phi"] >= level)) for level in (0.4, 0.9))
    merges = _events(model, "merge")
    slope = _Slope(times, crystal["side_area_nm2"])
    return Crystal(
        switched=True,
        disturbed=bool(((merges["uid"] == uid) & (merges["time_s"] >= times[grown])).any()),
        switch_time_s=float(times[begun]),
        switch_lasts_s=float(times[done] - times[begun]),
        diameter_nm=float(crystal["diameter_nm"][begun]),
        area_rate_nm2_s=slope.between(grown, begun),
        faceted_rate_nm2_s=slope.between(done, len(rows) - 1),
        **_strip_crystal(model, uid),
    )


class _Slope(NamedTuple):
    times: NDArray[np.float64]
    values: NDArray[np.float64]

    def between(self, first: int, last: int) -> float:
        if last <= first:
            return nan
        rise = self.values[last] - self.values[first]
        return float(rise / (self.times[last] - self.times[first]))


def _strip_crystal(model: KineticModel, uid: int) -> dict[str, float]:
    """Strip a faceted crystal and return the last fields of :class:`Crystal`."""
    reversal = model.time
    start = model.particles[model.particles["uid"] == uid][0]
    times, rows = [0.0], [start]
    while model.time < reversal + 10.0:
        model.advance(0.01, STRIP_V)
        mine = model.particles[model.particles["uid"] == uid]
        if not len(mine):
            break
        times.append(model.time - reversal)
        rows.append(mine[0])
    crystal = np.array(rows)
    volume = crystal["volume_nm3"] / start["volume_nm3"]
    angle = np.degrees(crystal["contact_angle_rad"])
    depins = _events(model, "depin")
    mine = depins[(depins["uid"] == uid) & (depins["time_s"] >= reversal)]
    round_again = np.flatnonzero(crystal["phi"] <= 0.5)
    edges = int(round_again[0]) if len(round_again) else -1
    let_go = float(mine["time_s"][0]) - reversal if len(mine) else inf
    sliding = angle[(np.array(times) >= let_go) & (volume >= 0.01)]
    half = np.flatnonzero(volume <= 0.5)
    return {
        "edges_last_s": float(times[edges]) if edges > 0 else nan,
        "edges_volume": float(volume[edges]) if edges > 0 else nan,
        "edges_angle_deg": float(angle[edges]) if edges > 0 else nan,
        "depin_volume": float(mine["volume_nm3"][0] / start["volume_nm3"]) if len(mine) else nan,
        "sliding_low_deg": float(sliding.min()) if len(sliding) else nan,
        "sliding_high_deg": float(sliding.max()) if len(sliding) else nan,
        "phi_at_half": float(crystal["phi"][half[0]]) if len(half) else nan,
    }


def _cycle(model: KineticModel) -> tuple[list[int], float]:
    counts, rest = [], 0.0
    for _ in range(5):
        model.advance(0.8, DEPOSIT_V)
        counts.append(len(model.particles))
        model.advance(1.0, STRIP_V)
        deposited = model.deposited_charge
        back = len(model.particles) == 0 and deposited > 0.0
        rest = max(rest, abs(model.faradaic_charge) / deposited if back else inf)
    return counts, rest


def _fuse(model: KineticModel, diameter_nm: float, ratio: float) -> Fusion:
    advancing = radians(model.parameters["advancing_angle_deg"])
    bases = 0.5 * diameter_nm * np.array([1.0, ratio])
    volumes = equations.cap_volume_factor(advancing) * bases**3
    middle = 0.5 * model.parameters["fibre_length_nm"]
    model.place([middle, middle + 0.999 * bases.sum()], 0.0, volumes)
    tick = model.parameters["tick_s"]
    model.advance(tick, None)
    merges = _events(model, "merge")
    if len(merges) != 1:
        return Fusion(0, nan, nan, nan, nan)
    merged = model.particles[0]
    radius = float(merged["radius_nm"])
    rounding = float(equations.rounding_time(radius, model)) * float(np.log(10.0))
    rounded = _time_of_neck(model, 0.1, min(3.0 * rounding, 100.0))
    boundary_rule = float(equations.boundary_life(radius, model)) if merged["grains"] == 2 else 0.0
    boundary = 0.0
    if merged["grains"] == 2:
        model.advance(max(0.0, 1.1 * boundary_rule + 10.0 * tick - model.time), None)
        ends = _events(model, "boundary_end")["time_s"]
        boundary = float(ends[0] - merges["time_s"][0]) if len(ends) else nan
    return Fusion(int(merged["grains"]), rounded, rounding, boundary, boundary_rule)


def _time_of_neck(model: KineticModel, share: float, within_s: float) -> float:
    """Time until the neck is down to a share, s, between ticks as an exponential."""
    first = before = float(model.particles["neck_nm"][0])
    start, tick = model.time, max(model.parameters["tick_s"], within_s / 3000.0)
    while before > 0.0 and model.time < start + within_s:
        model.advance(tick, None)
        neck = float(model.particles["neck_nm"][0])
        if 0.0 < neck <= share * first:
            past = np.log(share * first / neck) / np.log(before / neck)
            return float(model.time - start - past * tick)
        before = neck
    return nan


def _look_at_fibres(model: KineticModel) -> NDArray[np.float64]:
    rows = []
    for stop in (0.2, 0.6, 0.8, 1.0):
        model.advance(stop - model.time, DEPOSIT_V)
        particles = model.particles
        on = [particles["diameter_nm"][particles["fibre"] == f] for f in range(model.fibres)]
        rows.append([(len(d), d.mean() if len(d) else nan) for d in on])
    return np.array(rows)
