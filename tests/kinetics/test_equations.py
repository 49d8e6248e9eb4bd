"""The equations of the model against closed forms, known numbers and what a run does with them."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stmtem_control.simulators._kinetics as _kinetics
import stmtem_control.simulators.equations as equations
from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.presets import PARAMETERS, PRESET_NOTES, PRESETS

E0, KB = 1.602176634e-19, 1.380649e-23
OMEGA, GAMMA, T = 0.02162, 0.49, 298.0  # nm3, J/m2, K
F = E0 / (KB * T)
MULLINS = 1e8 * GAMMA * 1e-18 * OMEGA ** (4 / 3) / (KB * T)
DEFAULTS = tuple(row.default for row in PARAMETERS.values())
ANGLES = np.linspace(0.02, 3.0, 150)
RADII = np.geomspace(1.0, 500.0, 60)


def test_constants_of_the_paper() -> None:
    assert equations.cap_area_constant(math.pi / 3) == pytest.approx(4.167517662942, abs=1e-12)
    assert equations.half_cube_area_constant() == pytest.approx(4.762203155905, abs=1e-12)
    assert math.degrees(equations.crossing_angle()) == pytest.approx(44.2667, abs=5e-5)
    at_crossing = equations.cap_area_constant(equations.crossing_angle())
    assert at_crossing == pytest.approx(3.0 * 2.0 ** (2 / 3), rel=1e-12)
    ratio = equations.cap_volume_factor(math.pi / 6) / equations.cap_volume_factor(math.pi / 3)
    assert ratio == pytest.approx(0.427688, abs=5e-7)
    assert equations.cap_volume_factor(math.pi / 3) == pytest.approx(1.0076663134634545, rel=1e-14)


def test_cap_of_sixty_degrees_is_that_of_equations_1_to_4() -> None:
    r = 70.0  # the paper's r; h = r/2
    a = r * math.sqrt(3.0) / 2.0
    theta = math.pi / 3
    assert equations.cap_radius_nm(a, theta) == pytest.approx(r, rel=1e-14)
    assert equations.cap_height_nm(a, theta) == pytest.approx(r / 2, rel=1e-14)
    assert equations.cap_free_area_nm2(a, theta) == pytest.approx(math.pi * r**2, rel=1e-14)
    volume = 5.0 * math.pi * r**3 / 24.0
    assert equations.cap_volume_factor(theta) * a**3 == pytest.approx(volume, rel=1e-14)
    assert equations.cap_base_radius_nm(volume, theta) == pytest.approx(a, rel=1e-14)


def test_contact_angle_and_volume_go_round() -> None:
    base = np.geomspace(0.5, 500.0, 20)[:, None]
    volume = equations.cap_volume_factor(ANGLES) * base**3
    np.testing.assert_allclose(
        equations.cap_angle(volume, base), np.broadcast_to(ANGLES, (20, 150)), atol=1e-12, rtol=0
    )


def test_cap_in_trigonometric_form() -> None:
    a, sine, cosine = 40.0, np.sin(ANGLES), np.cos(ANGLES)
    radius = a / sine
    np.testing.assert_allclose(equations.cap_radius_nm(a, ANGLES), radius, rtol=1e-12)
    np.testing.assert_allclose(equations.cap_height_nm(a, ANGLES), radius * (1 - cosine), rtol=1e-9)
    np.testing.assert_allclose(
        equations.cap_side_area_nm2(a, ANGLES), radius**2 * (ANGLES - sine * cosine), rtol=1e-9
    )


def test_contact_line_rests_between_its_angles() -> None:
    base = 50.0
    volume = equations.cap_volume_factor(np.radians([20.0, 45.0, 70.0])) * base**3
    slid = equations.slid_base_radius_nm(volume, base)
    assert slid[1] == base
    angles = np.degrees(equations.cap_angle(volume, slid))
    np.testing.assert_allclose(angles, [30.0, 45.0, 60.0], atol=1e-9)
    wide = equations.slid_base_radius_nm(volume, base, {"receding_angle_deg": 10.0})
    assert wide[0] == base


@pytest.mark.parametrize("phi", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("feed", [0.2, 1.0])
def test_particle_current(phi: float, feed: float) -> None:
    eta, a, theta = np.array([-0.1, -0.01, 0.02, 0.14, 0.3])[:, None], np.array([2.0, 60.0]), 1.0
    radius = a / math.sin(theta)
    area = 2.0 * math.pi * radius**2 * (1.0 - math.cos(theta))
    effective = eta - 2.0 * GAMMA * OMEGA * 1e-18 / E0 / radius
    forward = 1.5e-5 * area * np.exp(0.5 * F * effective)
    backward = 1.5e-5 * area * np.exp(-0.5 * F * effective)
    limits = 1.0 + forward / (0.19 * radius * feed) + backward / (0.42 * radius * feed)
    factor = np.where(forward > backward, 1.0 - 0.7 * phi, 1.0 - 0.92 * phi**2 * (3.0 - 2.0 * phi))
    expected = factor * (forward - backward) / limits * 1e-12
    current = equations.particle_current(eta, a, theta, phi=phi, feed=feed)
    assert current.shape == (5, 2)
    np.testing.assert_allclose(current, expected, rtol=1e-10)


def test_current_of_a_run_is_that_of_the_equation() -> None:
    model = KineticModel(seed=3, tick_s=1e-5)
    model.advance(0.3, -5.0)
    p = model.particles
    current = equations.particle_current(
        model.overpotential,
        p["base_radius_nm"],
        p["contact_angle_rad"],
        phi=p["phi"],
        feed=p["feed"],
        parameters=model,
    )
    # The run gives the mean of its last tick, 1e-5 s; the equation the end of it.
    np.testing.assert_allclose(p["current_A"], current, rtol=1e-3)


def test_nucleation() -> None:
    assert equations.critical_radius_nm(0.16) == pytest.approx(0.83, abs=0.005)
    assert equations.nucleation_rate(0.2) == pytest.approx(3.5, rel=1e-14)
    rates = equations.nucleation_rate([0.16, 0.0, -0.1])
    assert rates[0] == pytest.approx(3.5 * math.exp(-2.0 * ((0.2 / 0.16) ** 2 - 1.0)), rel=1e-13)
    assert rates[1:].tolist() == [0.0, 0.0]
    assert equations.nucleus_volume_nm3(0.16) == pytest.approx(100 * OMEGA, rel=1e-14)
    low = equations.nucleus_volume_nm3(0.02)
    r = 1.1 * 2.0 * GAMMA * OMEGA * 1e-18 / E0 / 0.02  # eq. 3 with r = 1.1 critical radii
    assert low == pytest.approx(5.0 * math.pi * r**3 / 24.0, rel=1e-12)


def test_diffusivities() -> None:
    surface = equations.surface_diffusivity_nm2_s(RADII)
    np.testing.assert_allclose(surface, 1e8 * np.exp(np.minimum(8.0 / RADII, 6.0)), rtol=1e-13)
    mean = equations.supported_diffusivity_nm2_s(RADII)
    free = equations.free_standing_diffusivity_nm2_s(RADII)
    np.testing.assert_allclose(surface / mean, 10.0, rtol=1e-14)  # one order of magnitude
    assert (np.diff(mean) <= 0.0).all()
    assert (free < 0.2 * mean).all()
    factors = equations.size_factor([2.0, 5.0, 50.0])
    np.testing.assert_allclose(factors, [55.0, 5.0, 1.2], rtol=0.03)
    whole = equations.migration_diffusivity_nm2_s(RADII, 0.5)
    expected = 0.3 * math.exp(-0.06 * F) * surface * OMEGA ** (4 / 3) / RADII**4 * 0.25
    np.testing.assert_allclose(whole, expected, rtol=1e-12)


def test_rounding() -> None:
    assert equations.mullins_coefficient_nm4_s(100.0) == pytest.approx(
        MULLINS * math.exp(0.08), rel=1e-12
    )
    assert equations.rounding_time(50.0) == pytest.approx(0.066, abs=0.0005)
    assert equations.rounding_time(100.0) == pytest.approx(1.145, abs=0.0005)
    times = equations.rounding_time(RADII)
    without_size = {"premelting_radius_nm": 0.0}
    power = np.diff(np.log(equations.rounding_time(RADII, without_size))) / np.diff(np.log(RADII))
    np.testing.assert_allclose(power, 4.0, rtol=1e-10)
    np.testing.assert_allclose(
        times, 0.89 * RADII**4 / (MULLINS * np.exp(np.minimum(8.0 / RADII, 6.0))), rtol=1e-12
    )


def test_neck_of_a_run_falls_with_the_rounding_time() -> None:
    model = KineticModel(site_count=0, kelvin=0)  # nothing dissolves
    model.place([900.0, 979.9], 0.0, 1.0077 * 40.0**3)
    model.advance(1e-3, None)
    necks = []
    for _ in range(40):
        necks.append(model.particles["neck_nm"][0])
        model.advance(1e-3, None)
    rate = -np.diff(np.log(necks)) / 1e-3
    tau = equations.rounding_time(model.particles["radius_nm"][0], model)
    np.testing.assert_allclose(rate * tau, 1.0, rtol=1e-9)


def test_facet_equilibrium() -> None:
    b = MULLINS * math.exp(8.0 / 250.0)
    ratio = equations.facet_ratio(250.0, 30.0)
    assert ratio == pytest.approx((3000.0 + 250.0 * 30.0) * 250.0**2 / (1.12 * b), rel=1e-12)
    resting = (3000.0 * 250.0**2) / (1.12 * b)
    np.testing.assert_allclose(equations.facet_ratio(250.0, [0.0, -5.0]), resting, rtol=1e-12)
    x, phi = np.array([0.0, 0.1, 0.25, 2.0, 20.0])[:, None], np.array([0.0, 0.5, 1.0])
    local = 0.3 * x**2 / (x**2 + 0.25**2)
    power = (x * (1.0 + 6.0 * phi) / 8.5) ** 4
    expected = local + (1.0 - local) * power / (1.0 + power)
    np.testing.assert_allclose(equations.facet_equilibrium(x, phi), expected, rtol=1e-12)


def test_facet_goal_of_the_tick_is_the_equilibrium_at_that_ratio() -> None:
    radius, speed, phi = RADII[:, None, None], np.array([-3.0, 0.0, 40.0])[:, None], [0.0, 0.3, 1.0]
    expected = equations.facet_equilibrium(equations.facet_ratio(radius, speed), phi)
    goal = equations.facet_goal(radius, speed, phi)
    np.testing.assert_allclose(goal, expected, rtol=1e-11, atol=1e-12)  # phi < 1e-12 counts as 0


def test_switch_is_steep_and_with_fewer_local_facets_two_valued() -> None:
    phi = np.linspace(0.0, 1.0, 2001)

    def stable(x: float, share: float = 0.3) -> list[float]:
        goal = np.asarray(equations.facet_equilibrium(x, phi, {"local_facet_share": share}))
        return [float(value) for value in phi[:-1][np.diff(np.sign(goal - phi)) < 0]]

    (low,), (high,) = stable(1.6), stable(1.8)
    assert low < 0.4
    assert high > 0.7
    droplet, faceted = stable(2.2, share=0.1)
    assert droplet < 0.2 < 0.8 < faceted


def test_crystalline_share() -> None:
    atoms = np.array([50.0, 250.0, 1000.0, 1e4, 1e5])
    share = equations.crystalline_share(atoms)
    np.testing.assert_allclose(share, [0.00, 0.16, 0.50, 0.74, 0.875], atol=0.005)
    radius = (3.0 * atoms * OMEGA / (4.0 * math.pi)) ** (1 / 3)
    core = np.maximum(0.0, 1.0 - 0.35 / radius) ** 3
    np.testing.assert_allclose(share, core / (1.0 + (250.0 / atoms) ** 3), rtol=1e-12)


def test_mean_share_is_that_of_the_atoms() -> None:
    model = KineticModel(site_count=0)
    assert equations.mean_crystalline_share(model.particles) == 0.0
    atoms = np.array([300.0, 5000.0])
    model.place([500.0, 1500.0], 0.0, atoms * OMEGA)
    shares = np.asarray(equations.crystalline_share(atoms, model))
    expected = (shares * atoms).sum() / atoms.sum()
    assert equations.mean_crystalline_share(model.particles) == pytest.approx(expected, rel=1e-12)


def test_boundary_life() -> None:
    np.testing.assert_allclose(equations.boundary_life([2.0, 50.0]), [4e-4, 0.25], rtol=1e-14)
    # Molecular dynamics: 0.55 ns at some 2 nm
    fast = equations.boundary_life(2.0, {"boundary_sweep_nm2_s": 7e9})
    assert fast == pytest.approx(0.55e-9, rel=0.05)


def test_parameters_come_from_a_model_a_mapping_or_the_defaults() -> None:
    sodium = KineticModel("na")
    default = equations.critical_radius_nm(0.1)
    assert equations.critical_radius_nm(0.1, {}) == default
    assert equations.critical_radius_nm(0.1, KineticModel("fig3c")) == default
    by_model = equations.critical_radius_nm(0.1, sodium)
    assert by_model == equations.critical_radius_nm(0.1, PRESETS["na"])
    assert by_model == pytest.approx(default * 0.24 / 0.49 * 0.0395 / OMEGA, rel=1e-12)
    with pytest.raises(ValueError, match="did you mean 'kelvin'"):
        equations.critical_radius_nm(0.1, {"kelvn": 0.0})


def test_softer_metals_facet_at_larger_sizes() -> None:
    """The prediction of the presets na and k, at rest and while growing alike."""
    for speed in (0.0, 30.0):
        lithium, sodium, potassium = (
            equations.facet_ratio(300.0, speed, PRESETS[name]) for name in ("fig2", "na", "k")
        )
        assert lithium > sodium > potassium


def test_numbers_give_numbers_and_arrays_are_broadcast() -> None:
    assert isinstance(equations.size_factor(10), np.float64)
    assert isinstance(equations.crossing_angle(), np.float64)
    assert equations.cap_radius_nm(np.ones((3, 1)), np.ones(4)).shape == (3, 4)
    assert equations.size_factor([]).shape == (0,)
    transposed = np.arange(1.0, 7.0).reshape(2, 3).T
    np.testing.assert_array_equal(
        equations.size_factor(transposed), equations.size_factor(transposed.copy())
    )
    with pytest.raises(ValueError, match="shape mismatch"):
        equations.cap_radius_nm(np.ones(3), np.ones(4))


def test_every_equation_of_the_core_has_a_function() -> None:
    for name, arity in _kinetics.EQUATIONS:
        found = [f for f in equations.__all__ if f == name or f.startswith(f"{name}_nm")]
        assert len(found) == 1, name
        function: Callable[..., Any] = getattr(equations, found[0])
        takes = [p for p in inspect.signature(function).parameters if p != "parameters"]
        assert len(takes) == arity
        assert function.__doc__


def test_arguments_outside_the_domain_raise_nothing() -> None:
    assert equations.critical_radius_nm(0.0) == math.inf
    assert math.isnan(equations.cap_angle(0.0, 0.0))


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((), TypeError, "a name and a tuple"),
        (("size_factor",), TypeError, "a name and a tuple"),
        ((1, DEFAULTS), TypeError, "bad argument"),
        (("no_such", DEFAULTS), ValueError, "there is no equation no_such"),
        (("size_factor", DEFAULTS), ValueError, "takes 1 columns, not 0"),
        (("crossing_angle", DEFAULTS, bytes(8)), ValueError, "takes 0 columns, not 1"),
        (("size_factor", DEFAULTS, bytes(9)), ValueError, "not doubles of one length"),
        (("cap_radius", DEFAULTS, bytes(8), bytes(16)), ValueError, "not doubles of one length"),
        (("size_factor", DEFAULTS, "12345678"), TypeError, "bytes"),
        (("size_factor", DEFAULTS[1:], bytes(8)), ValueError, "expected a tuple"),
        (("size_factor", list(DEFAULTS), bytes(8)), ValueError, "expected a tuple"),
        (("size_factor", ("x", *DEFAULTS[1:]), bytes(8)), TypeError, "real number"),
        (("size_factor", (math.nan, *DEFAULTS[1:]), bytes(8)), ValueError, "out of range"),
    ],
)
def test_core_refuses_what_does_not_fit(
    arguments: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        _kinetics.evaluate(*arguments)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_what_it_is_and_runs(name: str) -> None:
    note = PRESET_NOTES[name]
    assert note.endswith(("[paper]", "[assumption]", "[prediction]"))
    assert note[0].isupper()
    model = KineticModel(name, 2)
    model.advance(0.5, -5.0)
    assert model.lithium_volume_nm3 > 0.0
    assert set(PRESET_NOTES) == set(PRESETS)
