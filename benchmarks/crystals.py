"""The crystals of the particle benchmark: their state, constants, first places, and fusion.

The equations are those of ``simulators/kinetics/*.h``; units are nm, s, V, pA and TOhm as there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import exp, pi, tan
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

__all__ = ["COVERAGE", "Constants", "Crystals", "Mixture", "fuse", "mixture"]

Floats = NDArray[np.float64]
Pairs = NDArray[np.int64]

COVERAGE: Final = 0.10
_MEDIAN_RADIUS_NM: Final = 20.0
_SIGMA: Final = 0.4
_LARGEST_DEVIATION: Final = 4.0  # standard deviations of log R; R from 4 to 99 nm
_ELEMENTARY_CHARGE: Final = 1.602176634e-19
_BOLTZMANN: Final = 1.380649e-23


class Constants(NamedTuple):
    """Numbers of the equations, derived from the parameters of a model."""

    tick: float  # s
    f: float  # e0/(kB T), 1/V
    alpha: float
    exchange: float  # j0, pA/nm2
    capillary: float  # f G, nm
    plating: float  # K_Lc, pA/nm
    stripping: float  # K_La, pA/nm
    faraday: float  # nm3/pC
    slow_growth: float
    slow_strip: float
    tau_advancing: float
    tau_receding: float
    advancing: float  # a/V^(1/3) at the advancing angle
    receding: float
    mullins: float  # nm4/s
    hop: float  # nm6/s
    premelting: float  # nm
    rounding: float
    flow: float  # nm2/s
    local_share: float
    local_ratio: float
    switch_ratio: float
    feedback: float
    sharpness: float
    rate: float
    edge: float
    length: float  # of the fibre, nm
    period: float  # its circumference, nm
    touch_gap: float  # nm

    @classmethod
    def of(cls, p: Mapping[str, float]) -> Self:
        """Derive the constants from all parameters of a model."""
        thermal = _BOLTZMANN * p["temperature_K"]  # J
        f = _ELEMENTARY_CHARGE / thermal
        gamma = p["surface_energy_J_m2"] * 1e-18  # J/nm2
        omega = p["atomic_volume_nm3"]
        step = omega ** (4.0 / 3.0)
        tau_advancing = tan(p["advancing_angle_deg"] * pi / 360.0)
        tau_receding = tan(p["receding_angle_deg"] * pi / 360.0)
        return cls(
            tick=p["tick_s"],
            f=f,
            alpha=p["transfer_coefficient"],
            exchange=p["exchange_current_pA_nm2"],
            capillary=f * p["kelvin"] * 2.0 * gamma * omega / _ELEMENTARY_CHARGE,
            plating=p["plating_limit_pA_nm"],
            stripping=p["stripping_limit_pA_nm"],
            faraday=omega * 1e-12 / _ELEMENTARY_CHARGE,
            slow_growth=p["facet_growth_slowing"],
            slow_strip=p["facet_strip_slowing"],
            tau_advancing=tau_advancing,
            tau_receding=tau_receding,
            advancing=cap_factor(tau_advancing) ** (-1.0 / 3.0),
            receding=cap_factor(tau_receding) ** (-1.0 / 3.0),
            mullins=p["surface_diffusivity_nm2_s"] * gamma * step / thermal,
            hop=p["migration_factor"]
            * exp(-p["pinning_energy_eV"] * f)
            * p["surface_diffusivity_nm2_s"]
            * step,
            premelting=p["premelting_radius_nm"],
            rounding=p["rounding_factor"],
            flow=p["facet_flow_nm2_s"],
            local_share=p["local_facet_share"],
            local_ratio=p["local_facet_ratio"],
            switch_ratio=p["switch_ratio"],
            feedback=p["switch_feedback"],
            sharpness=p["switch_sharpness"],
            rate=p["switch_rate"],
            edge=p["facet_erosion"],
            length=p["fibre_length_nm"],
            period=2.0 * pi * p["fibre_radius_nm"],
            touch_gap=p["touch_gap_nm"],
        )


def cap_factor(tau: float) -> float:
    """Volume of a cap over the cube of its base radius, tau = tan(theta/2)."""
    return pi / 6.0 * tau * (3.0 + tau * tau)


@dataclass
class Crystals:
    """One array a quantity, one element a crystal."""

    uid: NDArray[np.int64]
    s: Floats  # along the fibre, nm
    y: Floats  # around it, nm
    volume: Floats  # nm3
    base: Floats  # radius of the contact line, nm
    tau: Floats  # tan(theta/2)
    phi: Floats
    feed: Floats
    neck: Floats  # nm
    neck_share: Floats
    current: Floats  # pA, mean of the last tick
    free_growth: Floats  # nm/s

    @classmethod
    def of(cls, particles: NDArray[np.void]) -> Self:
        """Take over the crystals of a model."""
        column: dict[str, Any] = {
            "uid": particles["uid"].astype(np.int64),
            "s": particles["s_nm"],
            "y": particles["y_nm"],
            "volume": particles["volume_nm3"],
            "base": particles["base_radius_nm"],
            "tau": cap_tau(particles["volume_nm3"], particles["base_radius_nm"]),
            "phi": particles["phi"],
            "feed": particles["feed"],
            "neck": particles["neck_nm"],
            "neck_share": particles["neck_share"],
            "current": np.zeros(len(particles)),
            "free_growth": np.zeros(len(particles)),
        }
        return cls(**{name: np.ascontiguousarray(values) for name, values in column.items()})

    def __len__(self) -> int:
        """Return the number of crystals."""
        return len(self.uid)

    def copy(self) -> Self:
        """Return a copy that shares no array."""
        return replace(self, **{f.name: getattr(self, f.name).copy() for f in fields(self)})

    def without(self, rows: NDArray[np.int64]) -> Self:
        """Return the crystals but those of these rows."""
        kept = {f.name: np.delete(getattr(self, f.name), rows) for f in fields(self)}
        return replace(self, **kept)


def cap_tau(volume: Floats, base: Floats) -> Floats:
    """Return tau of the caps of these volumes and base radii: the root of a cubic equation."""
    return 2.0 * np.sinh(np.arcsinh(3.0 * volume / (pi * base**3)) / 3.0)


def around(dy: Floats, period: float) -> Floats:
    """Return the shortest way around the fibre."""
    return dy - period * np.floor(dy / period + 0.5)


def touching(crystals: Crystals, pairs: Pairs, constants: Constants, room: float = 0.0) -> Pairs:
    """Return those of the pairs whose contact lines are nearer than the touching gap and room."""
    i, j = pairs[:, 0], pairs[:, 1]
    ds = crystals.s[i] - crystals.s[j]
    dy = around(crystals.y[i] - crystals.y[j], constants.period)
    reach = crystals.base[i] + crystals.base[j] + (constants.touch_gap + room)
    return pairs[ds * ds + dy * dy < reach * reach]


def fuse(crystals: Crystals, pairs: Pairs, constants: Constants) -> Crystals:
    """Make one crystal of each pair.

    Raises
    ------
    ValueError
        A crystal is in two pairs: then the result depends on the order, which is not compared.
    """
    if len(np.unique(pairs)) != pairs.size:
        raise ValueError("a crystal touches two others at once; take another seed")
    c, k = crystals, constants
    for i, j in pairs:
        keep, gone = (i, j) if c.volume[i] >= c.volume[j] else (j, i)
        total = c.volume[keep] + c.volume[gone]
        share = c.volume[gone] / total
        ds = c.s[gone] - c.s[keep]
        dy = around(c.y[gone] - c.y[keep], k.period)
        theta = 2.0 * ((1.0 - share) * np.arctan(c.tau[keep]) + share * np.arctan(c.tau[gone]))
        c.s[keep] += share * ds
        c.y[keep] = (c.y[keep] + share * dy) % k.period
        c.phi[keep] += share * (c.phi[gone] - c.phi[keep])
        c.feed[keep] += share * (c.feed[gone] - c.feed[keep])
        c.current[keep] += c.current[gone]
        c.volume[keep] = total
        base = (total / cap_factor(float(np.tan(0.5 * theta)))) ** (1.0 / 3.0)
        size = np.cbrt(total)
        c.base[keep] = np.clip(base, k.advancing * size, k.receding * size)
        c.tau[keep] = cap_tau(c.volume[keep], c.base[keep])
        distance = np.hypot(ds, dy)
        if distance * share >= c.neck[keep] * c.neck_share[keep]:
            c.neck[keep], c.neck_share[keep] = distance, share
        c.volume[gone] = -1.0
    return c.without(np.flatnonzero(c.volume < 0.0)) if len(pairs) else c


class Mixture(NamedTuple):
    """Crystals on a fibre that just fits them; see :func:`mixture`."""

    model: KineticModel
    crystals: Crystals
    constants: Constants


def mixture(
    count: int,
    seed: int = 1,
    *,
    angles_deg: tuple[float, float] = (30.0, 60.0),
    room_nm: float = 0.5,
    **parameters: Any,
) -> Mixture:
    """Scatter crystals at random over a fibre, :data:`COVERAGE` of it covered, none touching.

    Radii of the spheres are lognormal, median 20 nm, sigma of the logarithm 0.4, cut at 4 sigma;
    contact angles uniform, by default between the receding and the advancing one, so that most
    contact lines stay pinned while the crystal grows; facet orders uniform in 0 ... 1; feed factors
    lognormal with sigma 0.35.

    The model has no nucleation sites, next to no series resistance and no parallel path: its
    overpotential is minus the bias, while its circuit is solved like any other.

    Parameters
    ----------
    count
        Number of crystals.
    seed
        Of the places and of the model.
    angles_deg
        Smallest and largest contact angle.
    room_nm
        Smallest distance of contact lines, beyond the touching gap.
    **parameters
        Further parameters of the model.
    """
    from .numpy_particles import candidates

    random = np.random.default_rng(seed)
    deviation = np.clip(random.standard_normal(count), -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    radius = _MEDIAN_RADIUS_NM * np.exp(_SIGMA * deviation)
    theta = np.radians(random.uniform(*angles_deg, count))
    base = radius * np.sin(theta)
    tau = np.tan(0.5 * theta)
    length = float(np.sqrt(pi * np.sum(base**2) / COVERAGE))
    model = KineticModel(
        "fig2",
        seed,
        site_count=0,
        series_resistance_GOhm=1e-6,
        parallel_resistance_GOhm=1e9,
        fibre_length_nm=length,
        fibre_radius_nm=length / (2.0 * pi),
        **parameters,
    )
    constants = Constants.of(model.parameters)
    zero = np.zeros(count)
    crystals = Crystals(
        uid=np.arange(count),
        s=random.uniform(0.0, length, count),
        y=random.uniform(0.0, length, count),
        volume=pi / 6.0 * base**3 * tau * (3.0 + tau**2),
        base=base,
        tau=tau,
        phi=random.uniform(0.0, 1.0, count),
        feed=np.exp(0.35 * random.standard_normal(count)),
        neck=zero,
        neck_share=zero,
        current=zero,
        free_growth=zero,
    )
    while True:
        near = touching(crystals, candidates(crystals, constants, room_nm), constants, room_nm)
        if not len(near):
            break
        smaller = np.where(base[near[:, 0]] < base[near[:, 1]], near[:, 0], near[:, 1])
        moved = np.unique(smaller)
        crystals.s[moved] = random.uniform(0.0, length, len(moved))
        crystals.y[moved] = random.uniform(0.0, length, len(moved))
    model.place(
        crystals.s,
        crystals.y,
        crystals.volume,
        contact_angle_rad=theta,
        phi=crystals.phi,
        feed=crystals.feed,
    )
    return Mixture(model, Crystals.of(model.particles), constants)
