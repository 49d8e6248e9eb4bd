"""Current transients of many nuclei, and how the places of nuclei cover the fibre.

Exponents hold while crystals neither touch nor compete: a fibre so wide that none meets another.
The false-alarm rate of a test is the chance that a correct model fails it with another seed.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.nucleation_coverage import coverage, coverage_instantaneous
from stmtem_control.nucleation_transients import INSTANTANEOUS, reduced_instantaneous
from stmtem_control.simulators import KineticModel

RADIUS, LENGTH = 1e5, 1e6
AREA = 2.0 * math.pi * RADIUS * LENGTH
WIDE: dict[str, Any] = {
    "fibre_radius_nm": RADIUS,
    "fibre_length_nm": LENGTH,
    "kelvin": 0,
    "migration_factor": 0.0,
    "facet_growth_slowing": 0.0,
    "site_scatter": 0.0,
    "feed_scatter": 0.0,
    "nucleation_barrier": 0.0,
    "exclusion_gap_nm": 0.0,
    "exclusion_factor": 0.0,
    "touch_gap_nm": 0.0,
    "series_resistance_GOhm": 1e-6,
}
FAST_TRANSPORT: dict[str, Any] = {"plating_limit_pA_nm": 1e6, "stripping_limit_pA_nm": 1e6}
FAST_TRANSFER: dict[str, Any] = {"exchange_current_pA_nm2": 1e-2}
AT_ONCE: dict[str, Any] = {"site_count": 100, "nucleation_rate_Hz": 1e6}
# 80 000 sites of which a twentieth fires: the rate hardly falls on the way.
STEADILY: dict[str, Any] = {"site_count": 20000, "fibre_count": 4}


def transient(
    bias: float, seconds: float, **changes: Any
) -> tuple[KineticModel, NDArray[np.float64], NDArray[np.float64]]:
    """Model, a hundred times, and the current (A) that becomes metal at each."""
    model = KineticModel("fig2", 1, **(WIDE | changes))
    times, currents = [], []
    for _ in range(100):
        model.advance(seconds / 100, bias)
        times.append(model.time)
        currents.append(model.faradaic_current)
    return model, np.array(times), np.array(currents)


# Eight progressive runs with other seeds gave 2.97 and 1.53 with a scatter of 0.013 (half of what
# one fibre gives): the nearest bound is 5 of these away, false alarm 6e-7.  Nuclei that appear
# together grow alike whatever the seed: no chance in it.
@pytest.mark.parametrize(
    ("bias", "seconds", "changes", "exponent", "tolerance"),
    [
        (-0.3, 0.3, FAST_TRANSPORT | AT_ONCE, 2.0, 0.05),
        (-0.3, 0.1, FAST_TRANSPORT | STEADILY | {"nucleation_rate_Hz": 0.5}, 3.0, 0.15),
        (-1.0, 1.0, FAST_TRANSFER | AT_ONCE, 0.5, 0.03),
        (
            -1.0,
            1.0,
            FAST_TRANSFER | STEADILY | {"nucleation_rate_Hz": 0.05, "tick_s": 0.01},
            1.5,
            0.1,
        ),
    ],
    ids=["kinetic at once", "kinetic steadily", "transport at once", "transport steadily"],
)
def test_current_rises_with_the_exponent(
    bias: float, seconds: float, changes: dict[str, Any], exponent: float, tolerance: float
) -> None:
    model, times, currents = transient(bias, seconds, **changes)
    late = times >= 0.2 * seconds
    slope = np.polyfit(np.log(times[late]), np.log(currents[late]), 1)[0]
    assert slope == pytest.approx(exponent, abs=tolerance)
    merged = int((model.events["kind"] == model.EVENT_KINDS["merge"]).sum())
    assert merged <= 8
    born = len(model.particles) + merged
    assert born == 100 if changes["site_count"] == 100 else 3600 < born < 4200


def test_progressive_current_is_the_sum_over_the_ages() -> None:
    """Transport limit: dR^2/dt is a constant w, and a crystal of age u takes K R = K sqrt(w u)."""
    rate, seconds = 0.5, 0.4
    model, times, currents = transient(
        -1.0, seconds, **FAST_TRANSFER, site_count=20000, nucleation_rate_Hz=rate
    )
    assert len(model.particles) > 3500
    # dV/dt = 3 V/R dR/dt with V = 5 pi R^3/24 gives w = 2 R dR/dt = 16 K (Omega/e0)/(5 pi).
    growth = 16.0 / (5.0 * math.pi) * 0.19e-12 / model.charge_per_nm3
    t = times[-1]
    u = (np.arange(2000) + 0.5) / 2000 * t
    expected = 0.19e-12 * 20000 * rate * (np.exp(-rate * (t - u)) * np.sqrt(growth * u)).mean() * t
    # Sum of N(t) = 3600 square roots of ages: scatter 1.7 %, 4 sigma, false alarm 6e-5.
    assert currents[-1] == pytest.approx(expected, rel=0.07)


class Ground:
    """Probe points on the fibres so far apart that no disc of radius `reach` hits two of them."""

    def __init__(self, crystals: NDArray[np.void], reach: float) -> None:
        along, around = int(LENGTH / (2.0 * reach)), int(2.0 * math.pi * RADIUS / (2.0 * reach))
        self.fibres = int(crystals["fibre"].max()) + 1
        self.shape = self.fibres, along, around
        s, y = (
            crystals["s_nm"] * (along / LENGTH),
            crystals["y_nm"] * (around / (2.0 * math.pi * RADIUS)),
        )
        row, column = np.minimum(s.astype(int), along - 1), np.minimum(y.astype(int), around - 1)
        self.cell = crystals["fibre"], row, column
        self.distance = np.hypot(
            (s - row - 0.5) * LENGTH / along,
            (y - column - 0.5) * 2.0 * math.pi * RADIUS / around,
        )

    @property
    def points(self) -> int:
        """Number of probe points; whether one is covered tells nothing about the others."""
        return math.prod(self.shape)

    def covered(self, radii: NDArray[np.float64] | float) -> float:
        """Share of the probe points within these radii (nm) of their nucleus."""
        hit = np.zeros(self.shape, dtype=bool)
        inside = self.distance < radii
        hit[tuple(index[inside] for index in self.cell)] = True
        return float(hit.mean())


@pytest.fixture(scope="module")
def at_once() -> NDArray[np.void]:
    """80 000 nuclei of four fibres that appeared together and do not grow."""
    changes = {"site_count": 20000, "nucleation_rate_Hz": 1e6, "exchange_current_pA_nm2": 0.0}
    model = KineticModel("fig2", 21, fibre_count=4, **(WIDE | changes))
    model.advance(0.002, -0.16)
    assert len(model.particles) > 79900
    return model.particles


@pytest.mark.parametrize("extended", [0.0943, 0.3769, 1.1552])
def test_discs_around_nuclei_cover_as_avrami_says(
    at_once: NDArray[np.void], extended: float
) -> None:
    density = len(at_once) / (4.0 * AREA * 1e-18)
    radius = math.sqrt(extended / (math.pi * density))
    ground = Ground(at_once, radius * 1e9)
    expected = float(coverage_instantaneous(density, radius))
    # 3 sigma of a binomial count: false alarm 2.7e-3 for each of three.
    sigma = math.sqrt(expected * (1.0 - expected) / ground.points)
    assert ground.covered(radius * 1e9) == pytest.approx(expected, abs=3.0 * sigma)
    assert sigma < 0.003


@pytest.mark.parametrize("x", [0.24, 0.48, 1.6, 2.4])
def test_current_of_planar_zones_follows_scharifker_and_hills(
    at_once: NDArray[np.void], x: float
) -> None:
    """I ~ (share of the plane under diffusion zones)/sqrt(t), zones growing as sqrt(t)."""
    density = len(at_once) / (4.0 * AREA)
    squares = []
    for time in (x, 1.0):
        radius = math.sqrt(INSTANTANEOUS.exponent * time / (math.pi * density))
        covered = Ground(at_once, radius).covered(radius)
        squares.append(covered**2 / time)
    # The ratio scatters by less than 1 % at each x: 5 %, false alarm below 1e-6.
    assert squares[0] / squares[1] == pytest.approx(float(reduced_instantaneous(x)), rel=0.05)


@pytest.mark.parametrize("ticks", [6, 12, 18])
def test_discs_that_appear_steadily_cover_as_avrami_says(ticks: int) -> None:
    changes = {"site_count": 20000, "nucleation_rate_Hz": 1.0, "exchange_current_pA_nm2": 0.0}
    model = KineticModel("fig2", 22, fibre_count=4, tick_s=0.01, **(WIDE | changes))
    model.advance(0.01 * ticks, -0.16)
    crystals, time, speed = model.particles, model.time, 3e4
    ages = time - crystals["born_s"]
    assert 0.8 * ticks * 800 < len(crystals) < ticks * 800
    ground = Ground(crystals, speed * time)
    expected = float(coverage(time, 20000 / (AREA * 1e-18), 1.0, speed * 1e-9))
    # 3 sigma of a binomial count: false alarm 2.7e-3 for each of three.
    sigma = math.sqrt(expected * (1.0 - expected) / ground.points)
    assert ground.covered(speed * ages) == pytest.approx(expected, abs=3.0 * sigma)
    assert sigma < 0.01
