"""Laws of nucleation and growth: maxima found by looking, limits, and what they refuse."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.nucleation_coverage import (
    count_of_nuclei,
    coverage,
    coverage_instantaneous,
    coverage_progressive,
)
from stmtem_control.nucleation_transients import (
    FARADAY,
    INSTANTANEOUS,
    PROGRESSIVE,
    CurrentMaximum,
    Deposit,
    diffusivity_from_maximum,
    instantaneous_current,
    instantaneous_maximum,
    progressive_current,
    progressive_maximum,
    reduced_instantaneous,
    reduced_progressive,
    reduced_transient,
)

LITHIUM = Deposit(concentration=1000.0, diffusivity=2.5e-10, molar_volume=1.302e-5)
positive = st.floats(1e-3, 1e3)
deposits = st.builds(
    Deposit,
    concentration=st.floats(1e-2, 1e4),
    diffusivity=st.floats(1e-12, 1e-8),
    molar_volume=st.floats(1e-6, 1e-4),
    charges=st.integers(1, 3),
)


def highest(curve: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Place and height of the only maximum of a curve, by the golden section."""
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    for _ in range(80):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if curve(left) < curve(right):
            low = left
        else:
            high = right
    middle = 0.5 * (low + high)
    return middle, curve(middle)


def slope(curve: Callable[[NDArray[np.float64]], NDArray[np.float64]], at: float) -> float:
    """Exponent of the power law that the curve follows near a time."""
    values = curve(np.array([at, at * 1.001]))
    return float(np.log(values[1] / values[0]) / math.log(1.001))


def test_numbers_of_scharifker_and_hills() -> None:
    assert pytest.approx((1.2564, 1.9542, 0.1629), abs=1e-4) == INSTANTANEOUS
    assert pytest.approx((2.3367, 1.2254, 0.2598), abs=1e-4) == PROGRESSIVE
    for numbers, multiple in ((INSTANTANEOUS, 2), (PROGRESSIVE, 4)):
        x = numbers.exponent
        assert math.log1p(multiple * x) == pytest.approx(x, rel=1e-15)
    assert pytest.approx(96485.33212, abs=1e-5) == FARADAY


@pytest.mark.parametrize("curve", [reduced_instantaneous, reduced_progressive])
def test_reduced_curves_are_highest_at_one(
    curve: Callable[[float], NDArray[np.float64]],
) -> None:
    place, height = highest(lambda x: float(curve(x)), 0.2, 4.0)
    assert place == pytest.approx(1.0, abs=1e-6)
    assert height == pytest.approx(1.0, abs=1e-12)
    assert curve(1.0) == pytest.approx(1.0, abs=1e-15)
    assert curve(0.0) == 0.0


def test_reduced_curves_where_the_zones_cover_all() -> None:
    late = np.array([20.0, 50.0])
    np.testing.assert_allclose(reduced_instantaneous(late) * late, INSTANTANEOUS.factor, rtol=1e-9)
    np.testing.assert_allclose(reduced_progressive(late) * late, PROGRESSIVE.factor, rtol=1e-9)


@given(st.floats(0.01, 0.99))
def test_instantaneous_nuclei_rise_sooner(x: float) -> None:
    assert reduced_instantaneous(x) > reduced_progressive(x)
    assert reduced_instantaneous(1.0 / x) > reduced_progressive(1.0 / x)


@given(st.floats(1e8, 1e16), deposits)
def test_maxima_are_where_they_are_told(number: float, deposit: Deposit) -> None:
    told = instantaneous_maximum(number, deposit)
    place, height = highest(
        lambda t: float(instantaneous_current(t, number, deposit)), 0.2 * told.time, 4.0 * told.time
    )
    assert place == pytest.approx(told.time, rel=1e-6)
    assert height == pytest.approx(told.current, rel=1e-12)
    told = progressive_maximum(number, deposit)
    place, height = highest(
        lambda t: float(progressive_current(t, number, deposit)), 0.2 * told.time, 4.0 * told.time
    )
    assert place == pytest.approx(told.time, rel=1e-6)
    assert height == pytest.approx(told.current, rel=1e-12)


@given(st.floats(1e8, 1e16), deposits)
def test_a_maximum_tells_the_diffusivity(number: float, deposit: Deposit) -> None:
    for maximum, numbers in (
        (instantaneous_maximum(number, deposit), INSTANTANEOUS),
        (progressive_maximum(number, deposit), PROGRESSIVE),
    ):
        found = diffusivity_from_maximum(maximum, numbers, deposit.concentration, deposit.charges)
        assert found == pytest.approx(deposit.diffusivity, rel=1e-12)


def test_closed_forms_of_the_maxima() -> None:
    """The formulae that the paper prints for t_m and I_m, with its rounded numbers."""
    k = math.sqrt(8.0 * math.pi * LITHIUM.concentration * LITHIUM.molar_volume)
    zfc, d = FARADAY * LITHIUM.concentration, LITHIUM.diffusivity
    at_once = instantaneous_maximum(1e12, LITHIUM)
    assert at_once.time == pytest.approx(1.2564 / (1e12 * math.pi * k * d), rel=1e-4)
    assert at_once.current == pytest.approx(0.6382 * zfc * d * math.sqrt(k * 1e12), rel=1e-4)
    steady = progressive_maximum(1e14, LITHIUM)
    k *= 4.0 / 3.0
    assert steady.time == pytest.approx(math.sqrt(4.6733 / (1e14 * math.pi * k * d)), rel=1e-4)
    height = 0.4615 * zfc * d**0.75 * (k * 1e14) ** 0.25
    assert steady.current == pytest.approx(height, rel=1e-4)


def test_transients_start_as_single_nuclei_and_end_as_a_plane() -> None:
    """Early: every nucleus takes zFc pi (2 D)^3/2 (c V_m t)^1/2; late: Cottrell's law."""
    d, zfc = LITHIUM.diffusivity, LITHIUM.charge_density
    number, early = 1e10, 1e-6
    one = zfc * math.pi * (2.0 * d) ** 1.5
    one *= math.sqrt(LITHIUM.concentration * LITHIUM.molar_volume * early)
    found = instantaneous_current(early, number, LITHIUM)
    assert found == pytest.approx(number * one, rel=1e-4)
    # At a constant rate each of J dt' nuclei has had t - t': the integral gives two thirds.
    found = progressive_current(early, number, LITHIUM)
    assert found == pytest.approx(number * one * 2.0 / 3.0 * early, rel=1e-4)
    cottrell = zfc * math.sqrt(d / (math.pi * 1e6))
    assert instantaneous_current(1e6, number, LITHIUM) == pytest.approx(cottrell, rel=1e-12)
    assert progressive_current(1e6, number, LITHIUM) == pytest.approx(cottrell, rel=1e-12)
    assert instantaneous_current([0.0], number, LITHIUM)[0] == 0.0


@pytest.mark.parametrize(
    ("curve", "exponent"),
    [
        (lambda t: instantaneous_current(t, 1e10, LITHIUM), 0.5),
        (lambda t: progressive_current(t, 1e10, LITHIUM), 1.5),
        (lambda t: coverage_progressive(t, 1e6, 1e-6), 3.0),
        (lambda t: coverage(t, 1e6, 1e-3, 1e-6), 3.0),
        (lambda t: coverage(t, 1e6, 1e9, 1e-6), 2.0),
    ],
)
def test_exponents_for_short_times(
    curve: Callable[[NDArray[np.float64]], NDArray[np.float64]], exponent: float
) -> None:
    assert slope(curve, 1e-4) == pytest.approx(exponent, abs=1e-3)


@given(positive, positive, positive)
def test_coverage_goes_over_into_both_limits(sites: float, speed: float, time: float) -> None:
    extended = sites * speed**2 * time**2
    fast = coverage(time, sites, 1e6 / time, speed)
    assert fast == pytest.approx(coverage_instantaneous(sites, speed * time), abs=1e-5)
    slow_rate = 1e-6 / time / max(1.0, extended)
    slow = coverage(time, sites, slow_rate, speed)
    expected = coverage_progressive(time, sites * slow_rate, speed)
    assert slow == pytest.approx(expected, rel=1e-6)


@given(positive, positive, positive)
def test_coverage_is_the_integral_over_the_ages(sites: float, rate: float, speed: float) -> None:
    time = 0.7 / rate
    nodes, weights = np.polynomial.legendre.leggauss(20)
    age = 0.5 * time * (1.0 + nodes)
    born = rate * np.exp(-rate * (time - age))
    extended = math.pi * sites * speed**2 * float((weights * born * age**2).sum()) * 0.5 * time
    assert coverage(time, sites, rate, speed) == pytest.approx(-math.expm1(-extended), rel=1e-10)


def test_series_of_coverage_meets_the_closed_form() -> None:
    below, above = coverage([0.02 * (1 - 1e-9), 0.02], 1.0, 1.0, 1.0)
    assert above == pytest.approx(below, rel=1e-7)
    assert np.diff(coverage(np.linspace(0.0, 2.0, 400), 1.0, 1.0, 1.0)).min() > 0.0


@given(st.lists(st.floats(0.0, 1e3), max_size=20), positive)
def test_counts(rates: list[float], time: float) -> None:
    mean, deviation = count_of_nuclei(time, rates)
    p = [1.0 - math.exp(-k * time) for k in rates]
    assert mean == pytest.approx(sum(p), abs=1e-12)
    assert deviation == pytest.approx(math.sqrt(sum(q * (1 - q) for q in p)), abs=1e-7)
    later, _ = count_of_nuclei([time, 2.0 * time, 1e9], rates)
    assert 0.0 <= later[0] <= later[1] <= later[2] <= len(rates)


@given(st.floats(1e8, 1e16), deposits, st.booleans(), st.floats(-0.5, 0.5))
def test_measured_transient_falls_on_its_curve(
    number: float, deposit: Deposit, progressive: bool, shift: float
) -> None:
    law = progressive_current if progressive else instantaneous_current
    peak = (progressive_maximum if progressive else instantaneous_maximum)(number, deposit)
    reduced = reduced_progressive if progressive else reduced_instantaneous
    time = peak.time * 0.05 * (np.arange(1, 80) + shift)
    x, square = reduced_transient(time, -law(time, number, deposit))
    np.testing.assert_allclose(x, time / peak.time, rtol=3e-3)
    np.testing.assert_allclose(square, reduced(time / peak.time), rtol=1e-4, atol=1e-12)


def test_uneven_samples_of_a_parabola_are_reduced_exactly() -> None:
    time = np.array([0.5, 1.0, 1.3, 2.2, 2.6])
    x, square = reduced_transient(time, 9.0 - (time - 1.7) ** 2)
    np.testing.assert_allclose(x, time / 1.7, rtol=1e-12)
    np.testing.assert_allclose(square, ((9.0 - (time - 1.7) ** 2) / 9.0) ** 2, rtol=1e-12)


def test_plateau_is_no_reason_to_fail() -> None:
    x, square = reduced_transient([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 2.0, 1.0])
    np.testing.assert_allclose(x, np.array([1.0, 2.0, 3.0, 4.0]) / 2.5)
    assert square.max() < 1.0


@pytest.mark.parametrize(
    ("time", "current", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "at least three"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "as many currents"),
        ([[1.0, 2.0, 3.0]], [[1.0, 2.0, 1.0]], "as many currents"),
        ([1.0, 2.0, 3.0], [1.0, math.nan, 1.0], "as many currents"),
        ([1.0, 1.0, 3.0], [1.0, 2.0, 1.0], "must rise"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "no maximum"),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], "no maximum"),
        ([-1.0, 2.0, 3.0], [1.0, 2.0, 1.0], "0 or more"),
    ],
)
def test_what_is_no_transient_is_refused(time: object, current: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reduced_transient(time, current)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "call",
    [
        lambda: reduced_instantaneous(-1.0),
        lambda: reduced_progressive([1.0, math.nan]),
        lambda: instantaneous_current(-1.0, 1.0, LITHIUM),
        lambda: instantaneous_current(1.0, 0.0, LITHIUM),
        lambda: progressive_current(1.0, math.inf, LITHIUM),
        lambda: instantaneous_maximum(-1.0, LITHIUM),
        lambda: progressive_maximum(1.0, LITHIUM._replace(concentration=0.0)),
        lambda: instantaneous_maximum(1.0, LITHIUM._replace(molar_volume=math.nan)),
        lambda: diffusivity_from_maximum(CurrentMaximum(0.0, 1.0), PROGRESSIVE, 1.0),
        lambda: coverage_instantaneous(1.0, -1.0),
        lambda: coverage_progressive(1.0, 1.0, 0.0),
        lambda: coverage(1.0, 1.0, 0.0, 1.0),
        lambda: count_of_nuclei(1.0, [-1.0]),
    ],
)
def test_bad_quantities_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must be (positive|numbers)"):
        call()
