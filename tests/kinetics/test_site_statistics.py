"""Nucleation sites: how many have fired, when, where and with which strength.

The overpotential is held (no series resistance), nothing grows and no site shuts another off, so
that each site is a Poisson process that stops at its first event.  The false-alarm rate of a test
is the chance that a correct model fails it with another seed.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.nucleation_coverage import count_of_nuclei
from stmtem_control.simulators import KineticModel

from .goodness_of_fit import kolmogorov_p, normal_levels

SITES, BIAS, RATE = 4000, -0.16, 8.0
HELD: dict[str, Any] = {
    "site_count": SITES,
    "nucleation_rate_Hz": RATE,
    "nucleation_barrier": 0.0,
    "series_resistance_GOhm": 1e-6,
    "exchange_current_pA_nm2": 0.0,
    "exclusion_gap_nm": 0.0,
    "exclusion_factor": 0.0,
    "migration_factor": 0.0,
    "touch_gap_nm": 0.0,
    "fibre_radius_nm": 1e5,
    "fibre_length_nm": 1e6,
}


def fired_share(times: NDArray[np.float64], scatter: float) -> NDArray[np.float64]:
    """Share of sites that have fired by these times, over the lognormal scatter of their rates."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    fired = -np.expm1(-times[:, np.newaxis] * RATE * np.exp(scatter * nodes))
    return np.asarray(fired @ weights / math.sqrt(2.0 * math.pi))


def births(model: KineticModel) -> NDArray[np.void]:
    """Births so far."""
    events = model.events
    return np.asarray(events[events["kind"] == model.EVENT_KINDS["birth"]])


@pytest.mark.parametrize("scatter", [0.0, 1.0])
def test_count_of_fired_sites_is_binomial(scatter: float) -> None:
    model = KineticModel("fig2", 11, site_scatter=scatter, tick_s=4e-3, **HELD)
    times = np.array([0.02, 0.048, 0.1, 0.2, 0.4])
    counts = []
    for time in times:
        model.advance(time - model.time, BIAS)
        counts.append(len(births(model)))
    share = fired_share(times, scatter)
    deviation = np.sqrt(SITES * share * (1.0 - share))
    # 4 sigma: false alarm 6e-5 for each of ten.
    assert (np.abs(counts - SITES * share) < 4.0 * deviation).all()
    if scatter == 0.0:
        told = count_of_nuclei(times, [RATE] * SITES)
        np.testing.assert_allclose(told, (SITES * share, deviation), rtol=1e-9)


@pytest.mark.parametrize("scatter", [0.0, 1.0])
@pytest.mark.parametrize("tick_s", [2e-3, 1e-2])
def test_times_of_firing_follow_the_law_within_a_tick_too(scatter: float, tick_s: float) -> None:
    model = KineticModel("fig2", 12, site_scatter=scatter, tick_s=tick_s, **HELD)
    model.advance(0.4, BIAS)
    times = births(model)["time_s"]
    levels = fired_share(np.append(times, 0.4), scatter)
    # False alarm 1e-3 for each of four, by the bound on p.
    assert kolmogorov_p(levels[:-1] / levels[-1]) > 1e-3


def test_the_tick_does_not_change_when_sites_fire() -> None:
    coarse, fine = (KineticModel("fig2", 12, tick_s=tick, **HELD) for tick in (1e-2, 2e-3))
    for model in (coarse, fine):
        model.advance(0.4, BIAS)
    assert len(births(coarse)) == len(births(fine))
    np.testing.assert_allclose(
        np.sort(births(coarse)["time_s"]), np.sort(births(fine)["time_s"]), atol=1e-7
    )


def test_classical_barrier_sets_the_rate() -> None:
    """The rate is k0 exp(-B ((eta_ref/eta)^2 - 1)), at two overpotentials."""
    counts = []
    for bias in (-0.16, -0.25):
        model = KineticModel("fig2", 13, site_scatter=0.0, **(HELD | {"nucleation_barrier": 2.0}))
        model.advance(0.1, bias)
        counts.append(len(births(model)))
        rate = RATE * math.exp(-2.0 * ((0.2 / bias) ** 2 - 1.0))
        mean, deviation = count_of_nuclei(0.1, [rate] * SITES)
        # 4 sigma: false alarm 6e-5 for each of two.
        assert abs(counts[-1] - mean) < 4.0 * deviation
    assert counts[1] > 3 * counts[0]


def test_places_are_uniform_and_strengths_lognormal() -> None:
    model = KineticModel("fig2", 14, **(HELD | {"nucleation_rate_Hz": 1e6}))
    model.advance(0.01, BIAS)
    crystals = np.sort(model.particles, order="uid")
    assert len(crystals) == SITES  # none so near to another that they fused
    s, y = crystals["s_nm"] / 1e6, crystals["y_nm"] / (2.0 * math.pi * 1e5)
    z = np.log(crystals["feed"]) / model.parameters["feed_scatter"]
    # False alarm 1e-3 for each of three, by the bound on p.
    assert kolmogorov_p(s) > 1e-3
    assert kolmogorov_p(y) > 1e-3
    assert kolmogorov_p(normal_levels(z)) > 1e-3
    # Independent: 4 sigma, false alarm 6e-5 for each of three.
    for one, other in ((s, y), (s, z), (y, z)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4.0 / math.sqrt(SITES)
    # Poisson in the plane: counts in 20 x 20 cells, chi2 of 399 degrees of freedom.
    cells = np.histogram2d(s, y, bins=20, range=((0, 1), (0, 1)))[0]
    chi2 = ((cells - SITES / 400) ** 2 / (SITES / 400)).sum()
    assert abs(chi2 - 399) < 4.0 * math.sqrt(2 * 399)  # false alarm 1e-4 (skew of chi2 included)


def test_each_half_cycle_draws_new_times_at_the_same_places() -> None:
    model = KineticModel("fig2", 15, site_scatter=0.0, **(HELD | {"site_count": 1000}))
    firsts = []
    for _ in range(2):
        model.advance(0.2, BIAS)
        # Without charge transfer nothing strips: the same sites fire again on the old crystals.
        firsts.append(births(model)["time_s"])
        model.advance(0.002, 0.2)
    assert model.cycle == 1
    again = firsts[1][len(firsts[0]) :]
    # The old crystals shut off the sites below them; only those without one can fire.
    expected = 1000 - len(firsts[0])
    share = -math.expm1(-RATE * 0.2)
    deviation = math.sqrt(expected * share * (1.0 - share))
    # 4 sigma: false alarm 6e-5.
    assert abs(len(again) - expected * share) < 4.0 * deviation


def test_every_site_fires_once_and_only_above_zero() -> None:
    model = KineticModel("fig2", 16, **(HELD | {"nucleation_rate_Hz": 1e4, "site_count": 1000}))
    model.advance(0.2, 0.16)
    assert model.event_count == 0
    model.advance(0.2, -0.16)
    assert len(births(model)) == 1000
