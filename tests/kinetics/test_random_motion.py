"""Brownian motion of whole crystals: law of the mean square, shape, independence, borders.

The false-alarm rate of a test is the chance that a correct model fails it with another seed.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

from .goodness_of_fit import kolmogorov_p, normal_levels

STEPS, CRYSTALS = 40, 1000
# Far apart on a wide fibre, without charge transfer and without facets: only places change.
STILL: dict[str, Any] = {
    "site_count": 0,
    "exchange_current_pA_nm2": 0.0,
    "switch_rate": 0.0,
    "fibre_radius_nm": 1e5,
    "fibre_length_nm": 1e6,
}


def cap_volume(radius: float) -> float:
    """Volume of a cap of 60 degrees, nm3."""
    return 5.0 * math.pi / 24.0 * radius**3


def diffusivity(radius: float, **changes: Any) -> float:
    """D_c of section "migration" of the model, nm2/s, from the parameters alone."""
    p = KineticModel("fig2", 1, **changes).parameters
    thermal = 1.380649e-23 / 1.602176634e-19 * p["temperature_K"]
    hop = p["migration_factor"] * math.exp(-p["pinning_energy_eV"] / thermal)
    surface = p["surface_diffusivity_nm2_s"] * math.exp(
        min(p["premelting_radius_nm"] / radius, 6.0)
    )
    return float(hop * surface * p["atomic_volume_nm3"] ** (4.0 / 3.0) / radius**4)


def lay_out(model: KineticModel, radii: NDArray[np.float64], phi: float = 0.0) -> None:
    """Put crystals on a lattice that fills the fibre."""
    side = math.isqrt(len(radii) - 1) + 1
    along, around = np.divmod(np.arange(len(radii)), side)
    s = (along + 0.5) / side * model.parameters["fibre_length_nm"]
    y = (around + 0.5) / side * 2.0 * math.pi * model.parameters["fibre_radius_nm"]
    model.place(s, y, [cap_volume(r) for r in radii], phi=phi)


def places(model: KineticModel) -> NDArray[np.float64]:
    """Columns s and y of all crystals by identity, nm."""
    crystals = np.sort(model.particles, order="uid")
    return np.stack([crystals["s_nm"], crystals["y_nm"]], axis=1)


def moved(model: KineticModel, before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacements since then, the short way around, nm."""
    step = places(model) - before
    period = 2.0 * math.pi * model.parameters["fibre_radius_nm"]
    step[:, 1] -= period * np.round(step[:, 1] / period)
    return step


@pytest.fixture(scope="module")
def walk() -> NDArray[np.float64]:
    """Displacements [step, crystal, direction] of 5 nm crystals in units of sqrt(2 D t)."""
    model = KineticModel("fig2", 3, **STILL)
    lay_out(model, np.full(CRYSTALS, 5.0))
    sigma = math.sqrt(2.0 * diffusivity(5.0) * 0.002)
    steps = []
    for _ in range(STEPS):
        before = places(model)
        model.advance(0.002, None)
        steps.append(moved(model, before) / sigma)
    assert len(model.particles) == CRYSTALS
    return np.array(steps)


def test_mean_square_is_four_d_t(walk: NDArray[np.float64]) -> None:
    # (x^2 + y^2)/(4 D t) is exponential: its mean over n scatters by 1/sqrt(n).
    # 4 sigma: false alarm 6e-5 for each of the two.
    steps = 0.5 * (walk**2).sum(axis=2)
    assert steps.mean() == pytest.approx(1.0, abs=4.0 / math.sqrt(steps.size))
    whole = 0.5 * (walk.sum(axis=0) ** 2).sum(axis=1) / STEPS
    assert whole.mean() == pytest.approx(1.0, abs=4.0 / math.sqrt(whole.size))


def test_steps_are_normal(walk: NDArray[np.float64]) -> None:
    # False alarm 1e-3 for each direction, by the bound on p.
    for direction in range(2):
        assert kolmogorov_p(normal_levels(walk[:, :, direction])) > 1e-3


def test_steps_are_independent(walk: NDArray[np.float64]) -> None:
    # Correlations of n pairs scatter by 1/sqrt(n); 4 sigma: false alarm 6e-5 for each of six.
    s, y = walk[:, :, 0], walk[:, :, 1]
    pairs = [
        (s, y),
        (s[1:], s[:-1]),  # from one time to the next
        (y[1:], y[:-1]),
        (s[1:], y[:-1]),
        (s[:, 1:], s[:, :-1]),  # from one crystal to its neighbour
        (y[:, 1:], y[:, :-1]),
    ]
    for one, other in pairs:
        correlation = float((one * other).mean())
        assert abs(correlation) < 4.0 / math.sqrt(one.size)


def test_steps_have_no_drift(walk: NDArray[np.float64]) -> None:
    # 4 sigma: false alarm 6e-5 for each direction.
    assert np.abs(walk.mean(axis=(0, 1))).max() < 4.0 / math.sqrt(STEPS * CRYSTALS)


def test_mobility_falls_with_the_fourth_power_of_size() -> None:
    radii = np.repeat([3.0, 6.0, 12.0, 24.0], 400)
    model = KineticModel("fig2", 5, premelting_radius_nm=0.0, **STILL)
    lay_out(model, radii)
    start = places(model)
    model.advance(0.05, None)
    square = (moved(model, start) ** 2).sum(axis=1).reshape(4, 400).mean(axis=1)
    found = square / (4.0 * 0.05)
    expected = [diffusivity(r, premelting_radius_nm=0.0) for r in (3.0, 6.0, 12.0, 24.0)]
    # 4 sigma of a mean of 400 exponential numbers: false alarm 6e-5 for each of four.
    np.testing.assert_allclose(found / expected, 1.0, atol=4.0 / math.sqrt(400))
    # The slope of four such points over log R scatters by 0.05/(sqrt(5) ln 2): 4 sigma, 6e-5.
    slope = np.polyfit(np.log(radii[::400]), np.log(found), 1)[0]
    assert slope == pytest.approx(-4.0, abs=4.0 * 0.05 / (math.sqrt(5.0) * math.log(2.0)))


@pytest.mark.parametrize("phi", [0.5, 1.0])
def test_facets_hold_a_crystal(phi: float) -> None:
    model = KineticModel("fig2", 5, **STILL)
    lay_out(model, np.full(400, 5.0), phi=phi)
    start = places(model)
    model.advance(0.05, None)
    square = (moved(model, start) ** 2).sum(axis=1).mean()
    # 4 sigma of a mean of 400 exponential numbers: false alarm 6e-5; at phi = 1 nothing moves.
    expected = 4.0 * diffusivity(5.0) * (1.0 - phi) ** 2 * 0.05
    assert square == pytest.approx(expected, rel=4.0 / math.sqrt(400), abs=0.0)


def test_beam_and_heat_speed_up_the_walk() -> None:
    start_5nm = diffusivity(5.0)
    assert diffusivity(5.0, temperature_K=350.0) > start_5nm
    model = KineticModel("fig2", 5, beam_diffusion_nm2_s=1e-4, **STILL)
    lay_out(model, np.full(400, 5.0))
    start = places(model)
    model.advance(0.05, None, beam_e_per_A2_s=100.0)  # 1e4 per nm2 and s: twice as mobile
    square = (moved(model, start) ** 2).sum(axis=1).mean()
    # 4 sigma: false alarm 6e-5.
    assert square == pytest.approx(4.0 * 2.0 * start_5nm * 0.05, rel=4.0 / math.sqrt(400))


def test_walkers_fill_a_short_fibre_evenly_and_stay_on_it() -> None:
    """Reflection at the ends and the way around keep the density uniform, also at the borders."""
    length, radius = 200.0, 40.0
    narrow = STILL | {"fibre_radius_nm": radius, "fibre_length_nm": length}
    narrow["migration_factor"] = 1.2
    seen = []
    for seed in range(150):
        model = KineticModel("fig2", seed, **narrow)
        model.place([0.0], [0.0], [cap_volume(2.0)])
        for _ in range(20):
            model.advance(0.2, None)
            seen.append(places(model)[0])
    levels = np.array(seen) / (length, 2.0 * math.pi * radius)
    assert levels.min() >= 0.0
    assert levels[:, 0].max() <= 1.0
    assert levels[:, 1].max() < 1.0
    # What is left of a place at the next look, exp(-pi^2 D t/L^2), is nothing: independent draws.
    loss = diffusivity(2.0, migration_factor=1.2) * 0.2 * (math.pi / length) ** 2
    assert math.exp(-loss) < 1e-4
    # False alarm 1e-3 for each direction, by the bound on p.
    assert kolmogorov_p(levels[:, 0]) > 1e-3
    assert kolmogorov_p(levels[:, 1]) > 1e-3
