"""Limits in which the kinetic model has a closed form, and its convergence with the tick."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

FREE: dict[str, float] = {
    # One crystal on a wide fibre, at once, alone, without capillarity.
    "site_count": 1,
    "feed_scatter": 0.0,
    "site_scatter": 0.0,
    "nucleation_rate_Hz": 1e6,
    "nucleation_barrier": 0.0,
    "kelvin": 0,
    "migration_factor": 0.0,
    "facet_growth_slowing": 0.0,
    "fibre_radius_nm": 1e4,
    "fibre_length_nm": 1e5,
    "parallel_resistance_GOhm": 1e9,
}
FAST_TRANSPORT: dict[str, float] = {"plating_limit_pA_nm": 1e6, "stripping_limit_pA_nm": 1e6}


def grow(
    bias: float, seconds: float, **changes: float
) -> tuple[KineticModel, NDArray[np.float64], NDArray[np.void]]:
    """Model, times and the crystal at a hundred times of its growth."""
    model = KineticModel("fig2", 1, **(FREE | changes))
    times, rows = [], []
    for _ in range(100):
        model.advance(seconds / 100, bias)
        times.append(model.time)
        rows.append(model.particles)
    return model, np.array(times), np.concatenate(rows)


def exponent(times: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Slope of log(value - first) against log(time - first)."""
    t, v = times[20:] - times[0], values[20:] - values[0]
    return float(np.polyfit(np.log(t), np.log(v), 1)[0])


def test_charge_transfer_limit_grows_with_constant_speed() -> None:
    model, times, crystal = grow(-0.4, 0.1, series_resistance_GOhm=1e-6, **FAST_TRANSPORT)
    assert exponent(times, crystal["radius_nm"]) == pytest.approx(1.0, abs=0.01)
    eta, f = model.overpotential, 1.602176634e-19 / (1.380649e-23 * 298.0)
    density = 1.5e-17 * (math.exp(0.5 * f * eta) - math.exp(-0.5 * f * eta))  # A/nm2
    # dR/dt = j Omega/e0 S R/(3 V), S R/V = 24/5 for a cap of 60 degrees
    speed = density / model.charge_per_nm3 * 24.0 / 15.0
    last = np.polyfit(times[-20:], crystal["radius_nm"][-20:], 1)[0]
    assert last == pytest.approx(speed, rel=0.01)


def test_transport_limit_grows_in_area_linearly() -> None:
    _, times, crystal = grow(-1.0, 1.0, series_resistance_GOhm=1e-6, exchange_current_pA_nm2=1e-2)
    assert exponent(times, crystal["radius_nm"] ** 2) == pytest.approx(1.0, abs=0.03)
    assert exponent(times, crystal["side_area_nm2"]) == pytest.approx(1.0, abs=0.03)


def test_ohmic_limit_grows_in_volume_by_faraday() -> None:
    model, times, crystal = grow(
        -5.0, 1.0, series_resistance_GOhm=1000.0, exchange_current_pA_nm2=1.0, **FAST_TRANSPORT
    )
    assert exponent(times, crystal["volume_nm3"]) == pytest.approx(1.0, abs=0.01)
    slope = np.polyfit(times, crystal["volume_nm3"], 1)[0]
    assert slope * model.charge_per_nm3 == pytest.approx(5.0 / 1000e9, rel=2e-3)


def test_faraday_constant_of_lithium() -> None:
    assert 1e-12 / KineticModel().charge_per_nm3 == pytest.approx(1.3494e5, rel=1e-4)


def test_half_the_tick_gives_the_same_volume() -> None:
    volumes = []
    for tick_s in (1e-3, 5e-4):
        model = KineticModel(tick_s=tick_s, migration_factor=0.0)
        model.advance(2.0, -5.0)
        volumes.append(model.lithium_volume_nm3)
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-3)
    assert volumes[1] != volumes[0]


def test_nucleation_needs_a_positive_overpotential_and_stops_when_sites_are_used() -> None:
    model = KineticModel(site_count=30, nucleation_rate_Hz=1e5, touch_gap_nm=0.0)
    model.advance(0.5, 5.0)
    assert model.event_count == 0
    model.advance(0.1, -5.0)
    births = (model.events["kind"] == model.EVENT_KINDS["birth"]).sum()
    assert 20 < births <= 30
