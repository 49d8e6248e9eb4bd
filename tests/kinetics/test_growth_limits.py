"""Growth of one crystal where it has a closed form: charge transfer, transport, ohmic, Kelvin."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

CHARGE, BOLTZMANN = 1.602176634e-19, 1.380649e-23
ALONE: dict[str, Any] = {
    # No sites, no capillarity, no facets, no motion, no parallel path; a fibre as wide as it gets.
    "site_count": 0,
    "kelvin": 0,
    "migration_factor": 0.0,
    "facet_growth_slowing": 0.0,
    "fibre_radius_nm": 1e5,
    "fibre_length_nm": 1e6,
    "parallel_resistance_GOhm": 1e9,
    "series_resistance_GOhm": 1e-6,
}
FAST_TRANSPORT: dict[str, Any] = {"plating_limit_pA_nm": 1e6, "stripping_limit_pA_nm": 1e6}
# dR/dt = (I/S) (Omega/e0) S R/(3 V), and S R/(3 V) = 8/5 for a cap of 60 degrees.
SHAPE = 8.0 / 5.0


def cap_volume(radius: float) -> float:
    """Volume of a cap of 60 degrees, nm3."""
    return 5.0 * math.pi / 24.0 * radius**3


def grow(
    bias: float, seconds: float, start: float = 2.0, **changes: Any
) -> tuple[KineticModel, NDArray[np.float64], NDArray[np.void]]:
    """Model, times and the crystal at the start and at a hundred times of its growth."""
    model = KineticModel("fig2", 1, **(ALONE | changes))
    model.place(5e5, 0.0, cap_volume(start))
    times, rows = [0.0], [model.particles]
    for _ in range(100):
        model.advance(seconds / 100, bias)
        times.append(model.time)
        rows.append(model.particles)
    return model, np.array(times), np.concatenate(rows)


def exponent(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Slope of log(value - first) against log(time), over the later four fifths."""
    return float(np.polyfit(np.log(times[20:]), np.log(values[20:] - values[0]), 1)[0])


def current_density(eta: float) -> float:
    """Butler-Volmer at the default exchange current, pA/nm2."""
    x = 0.5 * CHARGE / (BOLTZMANN * 298.0) * eta
    return 1.5e-5 * 2.0 * math.sinh(x)


def test_faraday_constant_of_the_metals() -> None:
    for preset, expected in (("fig2", 1.3494e5), ("na", 2.465e5), ("k", 4.712e5)):
        assert 1e-12 / KineticModel(preset).charge_per_nm3 == pytest.approx(expected, rel=2e-4)


def test_charge_transfer_limit_grows_with_constant_speed() -> None:
    eta = 2.0 / 0.5 * BOLTZMANN * 298.0 / CHARGE * math.asinh(3.36e-4 / 3e-5) / 2.0
    assert current_density(eta) * 1e-12 * 1e14 * 1e3 == pytest.approx(33.6)  # mA/cm2
    model, times, crystal = grow(-eta, 1.0, **FAST_TRANSPORT)
    assert model.overpotential == pytest.approx(eta, rel=1e-6)
    assert exponent(times, crystal["radius_nm"]) == pytest.approx(1.0, abs=0.01)
    speed = np.diff(crystal["radius_nm"]) / np.diff(times)
    np.testing.assert_allclose(speed, 72.5, rtol=0.01)
    exact = current_density(eta) * 1e-12 / model.charge_per_nm3 * SHAPE
    np.testing.assert_allclose(speed[10:], exact, rtol=2e-4)  # before: Heun's error at R = 2 nm


def test_transport_limit_grows_in_area_linearly() -> None:
    model, times, crystal = grow(-1.0, 1.0, exchange_current_pA_nm2=1e-2)
    assert exponent(times, crystal["radius_nm"] ** 2) == pytest.approx(1.0, abs=0.03)
    assert exponent(times, crystal["side_area_nm2"]) == pytest.approx(1.0, abs=0.03)
    # d(R^2)/dt = 2 R dR/dt with I = K R, S = pi R^2.
    slope = np.polyfit(times, crystal["radius_nm"] ** 2, 1)[0]
    exact = 2.0 * SHAPE / math.pi * 0.19e-12 / model.charge_per_nm3
    assert slope == pytest.approx(exact, rel=1e-3)


def test_feed_scales_the_transport_limit() -> None:
    model = KineticModel("fig2", 1, exchange_current_pA_nm2=1e-2, **ALONE)
    model.place([2e5, 8e5], 0.0, cap_volume(2.0), feed=[1.0, 0.5])
    model.advance(1.0, -1.0)
    areas = model.particles["radius_nm"] ** 2 - 4.0
    assert areas[1] / areas[0] == pytest.approx(0.5, rel=1e-3)


def test_one_limit_goes_over_into_the_other() -> None:
    """Both resistances in series: R + R^2/(2 R*) = R_0 + R_0^2/(2 R*) + v t."""
    eta = 0.22
    model, times, crystal = grow(-eta, 3.0)
    density = current_density(eta)
    # Forward and backward current each against its own limit, as in eq. (BV) of the model.
    half = 0.5 * CHARGE / (BOLTZMANN * 298.0) * eta
    damping = 1.5e-5 * math.pi * (math.exp(half) / 0.19 + math.exp(-half) / 0.42)
    speed = density * 1e-12 / model.charge_per_nm3 * SHAPE
    radius = crystal["radius_nm"]
    assert radius[0] * damping < 0.05
    assert radius[-1] * damping > 2.0
    path = radius + 0.5 * damping * radius**2
    np.testing.assert_allclose(path - path[0], speed * times, rtol=2e-3, atol=1e-3)


def test_ohmic_limit_grows_in_volume_by_faraday() -> None:
    model, times, crystal = grow(
        -5.0,
        1.0,
        20.0,
        series_resistance_GOhm=1000.0,
        exchange_current_pA_nm2=1e-2,
        **FAST_TRANSPORT,
    )
    assert exponent(times, crystal["volume_nm3"]) == pytest.approx(1.0, abs=0.01)
    slope = np.polyfit(times, crystal["volume_nm3"], 1)[0]
    assert slope * model.charge_per_nm3 == pytest.approx(5.0 / 1000e9, rel=2e-3)


def test_crystal_at_the_critical_radius_stands_still() -> None:
    """Where 2 gamma Omega/(e0 R) is the overpotential a crystal neither grows nor dissolves."""
    eta = 0.01
    critical = 2.0 * 0.49e-18 * 0.02162 / CHARGE / eta  # nm
    assert critical == pytest.approx(13.2, rel=0.01)
    fates = []
    for factor in (0.99, 1.0, 1.01):
        model = KineticModel("fig2", 1, **(ALONE | {"kelvin": 1}))
        model.place(5e5, 0.0, cap_volume(factor * critical))
        before = model.lithium_volume_nm3
        model.advance(0.02, -eta)
        fates.append(model.lithium_volume_nm3 / before - 1.0)
    assert fates[0] < -1e-5
    assert abs(fates[1]) < 1e-9
    assert fates[2] > 1e-5


def test_small_crystals_feed_large_ones_at_open_circuit() -> None:
    model = KineticModel("fig2", 1, **(ALONE | {"kelvin": 1}))
    model.place([2e5, 4e5, 6e5, 8e5], 0.0, [cap_volume(r) for r in (15.0, 25.0, 40.0, 60.0)])
    before = model.particles["volume_nm3"]
    model.advance(3.0, None)
    change = model.particles["volume_nm3"] / before - 1.0
    assert change[0] < -1e-3
    assert all(small < large for small, large in pairwise(change[:3]))
    assert change[3] > 0.0
