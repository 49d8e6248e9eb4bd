"""The oracle itself against closed forms, so that a reading it shares with the core is caught."""

import math

import numpy as np
import pytest

from stmtem_control.simulators.presets import PRESETS, resolve

from .oracle import Oracle
from .oracle_crystals import (
    BIRTH,
    BOUNDARY_END,
    DEPIN,
    FACET_ON,
    GONE,
    SITE_THRESHOLD,
    Crystal,
    cap_factor,
    draw,
    philox,
)

E0, KB = 1.602176634e-19, 1.380649e-23
THERMAL_V = KB * 298.0 / E0
ETA = 5.0 / 32.0  # V; a bias of so many binary places is not rounded
FARADAY = 0.02162 / E0 * 1e-12  # nm3 per pC of lithium

# One crystal at a time, alone, still, without capillarity.
ALONE = {"site_count": 0.0, "kelvin": 0.0, "migration_factor": 0.0}
# Nearly no resistance: the overpotential is the bias.  Nothing beside the crystals takes current.
STIFF = ALONE | {"series_resistance_GOhm": 1e-6, "parallel_resistance_GOhm": 1e9}
# The resistance alone sets the current.
OHMIC = ALONE | {
    "series_resistance_GOhm": 1000.0,
    "parallel_resistance_GOhm": 1e9,
    "exchange_current_pA_nm2": 1.0,
    "plating_limit_pA_nm": 1e6,
    "stripping_limit_pA_nm": 1e6,
}


def specimen(changes: dict[str, float], **more: float) -> Oracle:
    return Oracle(resolve("fig2", changes | more), 1)


def volume_of(radius: float) -> float:
    """Of a cap of 60 degrees: 5 pi R^3/24 (eq. 3 of the paper)."""
    return 5.0 * math.pi * radius**3 / 24.0


def times(oracle: Oracle, kind: int) -> list[float]:
    return [event.time for event in oracle.events if event.kind == kind]


def mullins(radius: float) -> float:
    """B = D_s gamma Omega^(4/3)/(kB T) of lithium, nm4/s."""
    diffusivity = 1e8 * math.exp(8.0 / radius)
    return diffusivity * 0.49e-18 * math.pow(0.02162, 4.0 / 3.0) / (KB * 298.0)


def test_philox_gives_its_known_answers() -> None:
    assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    known = (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)
    assert philox((ones, ones, ones, ones), (ones, ones)) == known


def test_constants_have_their_known_size() -> None:
    for metal, faraday in (("fig2", 1.3494e5), ("na", 2.465e5), ("k", 4.712e5)):
        laws = Oracle(resolve("fig2", dict(PRESETS[metal])), 1).laws
        assert laws.faraday == pytest.approx(faraday, rel=3e-4)
    laws = specimen({}).laws
    assert laws.critical / 0.16 == pytest.approx(0.83, abs=0.005)
    assert [laws.premelting(r) for r in (2.0, 5.0, 50.0)] == pytest.approx([55, 5, 1.2], rel=0.03)
    assert laws.rounding(100.0, 1.0) * 100.0**4 == pytest.approx(7.8e7, rel=0.01)
    # A pair of 50 nm is round after 66 ms, one of 100 nm after 1.15 s.
    assert 0.89 / laws.rounding(50.0, 1.0) == pytest.approx(0.066, rel=0.02)
    assert 0.89 / laws.rounding(100.0, 1.0) == pytest.approx(1.15, rel=0.01)
    assert cap_factor(math.pi / 3.0) == pytest.approx(1.0076663134634545, rel=1e-14)
    ratio = cap_factor(math.pi / 6.0) / cap_factor(math.pi / 3.0)
    assert ratio == pytest.approx(0.427688, abs=5e-7)


# ---- circuit -------------------------------------------------------------------------------


@pytest.mark.parametrize("tick_s", [1e-3, 1e-4])
def test_bare_fibre_charges_as_capacitor_and_two_resistors_do(tick_s: float) -> None:
    oracle = specimen({"site_count": 0.0, "tick_s": tick_s, "double_layer_pF": 2.0})
    rest, constant = 5.0 * 0.66 / 20.66, 2.0e-3 * 20.0 * 0.66 / 20.66  # V, s
    for n in range(1, 8):
        oracle.run(1, -5.0)
        time = n * tick_s
        risen = 1.0 - math.exp(-time / constant)
        assert oracle.eta == pytest.approx(rest * risen, rel=1e-12)
        # Through the series resistance flows (D - eta)/R_s, leak and cable besides.
        through = ((5.0 - rest) * time + rest * constant * risen) / 0.020
        beside = 5.0 * time / 1.0 + 20.0 * 5.0
        assert oracle.charge == pytest.approx(-through - beside, rel=1e-12)


def test_cable_keeps_its_charge_when_the_relay_opens() -> None:
    oracle = specimen({"site_count": 0.0, "leak_resistance_GOhm": 10.0})
    oracle.run(50, 4.0)
    oracle.run(100, None)
    assert oracle.current == 0.0
    oracle.run(1, 4.0, series_GOhm=math.inf)
    lost = 4.0 * (1.0 - math.exp(-0.1 / 0.2))  # R C = 10 GOhm x 20 pF = 0.2 s
    assert oracle.current == pytest.approx(4.0 / 0.010 + 20.0 * lost / 1e-3, rel=1e-12)


# ---- growth --------------------------------------------------------------------------------


def test_ohmic_limit_obeys_faraday() -> None:
    oracle = specimen(OHMIC)
    crystal = oracle.place(1000.0, 0.0, volume_of(50.0))
    oracle.run(100, -5.0)
    gained = FARADAY * 5.0 * 0.1  # 5 V over 1 TOhm for 0.1 s
    assert crystal.volume - volume_of(50.0) == pytest.approx(gained, rel=1e-4)
    assert oracle.faradaic_current == pytest.approx(5.0, rel=1e-4)


def test_charge_transfer_limit_grows_at_constant_speed() -> None:
    plain = STIFF | {"facet_growth_slowing": 0.0}
    oracle = specimen(plain, plating_limit_pA_nm=1e6, stripping_limit_pA_nm=1e6)
    crystal = oracle.place(1000.0, 0.0, volume_of(50.0))
    oracle.run(1, -0.2)
    start = crystal.radius
    oracle.run(50, -0.2)
    density = 1.5e-5 * 2.0 * math.sinh(0.5 * 0.2 / THERMAL_V)
    # dR/dt = j (Omega/e0) S R/(3 V), and S R/V = 24/5 at 60 degrees
    speed = FARADAY * density * 24.0 / 15.0
    assert (crystal.radius - start) / 0.05 == pytest.approx(speed, rel=1e-4)
    assert crystal.free_growth == pytest.approx(speed, rel=1e-4)


@pytest.mark.parametrize(
    ("bias", "phi", "limit"),
    [
        (-3.0, 0.0, 0.19),
        (-3.0, 0.5, 0.19 * (1.0 - 0.7 * 0.5)),
        (3.0, 0.0, -0.42),
        (3.0, 0.5, -0.42 * (1.0 - 0.92 * 0.5)),
    ],
)
def test_transport_limits_the_current_to_the_radius(bias: float, phi: float, limit: float) -> None:
    oracle = specimen(STIFF, tick_s=1e-5)
    crystal = oracle.place(1000.0, 0.0, volume_of(200.0), phi=phi, feed=1.5)
    oracle.run(2, bias)
    assert crystal.current == pytest.approx(limit * 200.0 * 1.5, rel=1e-4)


def test_transport_limit_grows_in_area() -> None:
    oracle = specimen(STIFF, facet_growth_slowing=0.0)
    crystal = oracle.place(1000.0, 0.0, volume_of(50.0))
    oracle.run(50, -3.0)
    gained = FARADAY * 0.19 * 2.0 / 3.0 / volume_of(1.0) * 0.05
    assert crystal.radius**2 - 50.0**2 == pytest.approx(gained, rel=1e-3)


def test_a_droplet_neither_grows_nor_dissolves_at_its_capillary_overpotential() -> None:
    laws = specimen({}).laws
    crystal = Crystal(1, 0, 0.0, 0.0, 1.0, 1.0, base=3.0, tau=math.tan(math.pi / 6.0))
    balance = 2.0 * 0.49e-18 * 0.02162 / E0 / crystal.radius
    x = laws.exchange(crystal)
    assert abs(laws.current(x, balance)) < 1e-12 * x.forward
    assert laws.current(x, balance - 1e-3) < 0.0 < laws.current(x, balance + 1e-3)


def test_constant_current_depins_and_dissolves_a_droplet_in_time() -> None:
    oracle = specimen(OHMIC, tick_s=1e-4)
    oracle.place(1000.0, 0.0, 1e5)
    oracle.run(1490, 5.0)
    needed = 1e5 / (FARADAY * 5.0)
    assert times(oracle, DEPIN) == [pytest.approx((1.0 - 0.427688) * needed, rel=1e-4)]
    assert times(oracle, GONE) == [pytest.approx(needed, abs=3e-4)]  # it ends in ticks
    assert oracle.crystals == []
    assert oracle.by_charge == pytest.approx(-1e5, rel=1e-12)


# ---- shape and fusion ----------------------------------------------------------------------


def test_two_fuse_in_their_centre_of_mass_and_get_round_exponentially() -> None:
    oracle = specimen(ALONE, boundary_sweep_nm2_s=1e5)
    large, small = volume_of(60.0), volume_of(40.0)
    period = 2.0 * math.pi * 150.0
    crystal = oracle.place(500.0, period - 10.0, large)
    oracle.place(540.0, 20.0, small)  # 50 nm away, over the seam
    oracle.run(1, 0.0)
    share = small / (large + small)
    assert oracle.crystals == [crystal]
    assert crystal.volume == large + small
    assert (crystal.s, crystal.y) == pytest.approx(
        (500.0 + 40.0 * share, (period - 10.0 + 30.0 * share) % period), rel=1e-12
    )
    assert crystal.neck_direction == pytest.approx(math.atan2(30.0, 40.0))
    assert crystal.neck == pytest.approx(50.0)
    radius = (60.0**3 + 40.0**3) ** (1.0 / 3.0)
    assert crystal.radius == pytest.approx(radius, rel=1e-12)
    oracle.run(80, 0.0)
    decay = 0.080 * mullins(radius) / (0.89 * radius**4)
    assert crystal.neck == pytest.approx(50.0 * math.exp(-decay), rel=1e-9)
    assert times(oracle, BOUNDARY_END) == [pytest.approx(0.001 + radius**2 / 1e5, rel=1e-12)]


def test_facets_at_rest_come_exponentially_to_their_equilibrium() -> None:
    radius = 100.0
    oracle = specimen(ALONE, switch_feedback=0.0)
    crystal = oracle.place(1000.0, 0.0, volume_of(radius))
    oracle.run(300, 0.0)
    develop, rounding = 3000.0 / radius**2, 1.12 * mullins(radius) / radius**4
    x = develop / rounding
    local = 0.30 * x**2 / (x**2 + 0.25**2)
    goal = local + (1.0 - local) * (x / 8.5) ** 4 / (1.0 + (x / 8.5) ** 4)
    rate = 6.0 * (develop + rounding)
    assert crystal.phi == pytest.approx(goal * -math.expm1(-0.3 * rate), rel=1e-9)
    (seen,) = times(oracle, FACET_ON)
    assert seen == pytest.approx(-math.log1p(-0.1 / goal) / rate, rel=1e-9)


# ---- chance --------------------------------------------------------------------------------


def nucleation(**changes: float) -> Oracle:
    """Sites at one overpotential, from the first tick on and whatever is born."""
    stiff = {name: value for name, value in STIFF.items() if name != "site_count"}
    quiet = {"site_scatter": 0.0, "exclusion_factor": 0.0, "exclusion_gap_nm": 0.0}
    oracle = specimen(stiff | quiet | changes)
    oracle.eta = ETA
    return oracle


def test_a_site_fires_when_its_threshold_is_reached() -> None:
    oracle = nucleation(site_count=1.0)
    rate = 3.5 * math.exp(-2.0 * ((0.2 / ETA) ** 2 - 1.0))
    due = -math.log(draw(1, SITE_THRESHOLD, 0, 0)[0]) / rate
    oracle.run(math.ceil(due / 1e-3), -ETA)
    assert times(oracle, BIRTH) == [pytest.approx(due, rel=1e-9)]
    (crystal,) = oracle.crystals
    nucleus = 5.0 * math.pi / 24.0 * (1.1 * 2.0 * 0.49e-18 * 0.02162 / (E0 * ETA)) ** 3
    assert oracle.laws.nucleus_volume(ETA) == pytest.approx(max(100 * 0.02162, nucleus))
    assert crystal.volume > oracle.laws.nucleus_volume(ETA)


def test_sites_fire_exponentially() -> None:
    oracle = nucleation(site_count=150.0, nucleation_rate_Hz=300.0)
    oracle.run(10, -ETA)
    share = -math.expm1(-300.0 * math.exp(-2.0 * ((0.2 / ETA) ** 2 - 1.0)) * 0.010)
    fired = len(times(oracle, BIRTH))
    # Four standard deviations of the binomial number: a false alarm in 16 000, with this seed none.
    assert abs(fired - 150.0 * share) < 4.0 * math.sqrt(150.0 * share * (1.0 - share))
    assert 0.2 < share < 0.9


def test_crystals_walk_with_the_diffusivity_of_their_size() -> None:
    oracle = specimen({"site_count": 0.0, "kelvin": 0.0}, fibre_length_nm=1e5, fibre_radius_nm=1e3)
    crystals = [oracle.place(100.0 + 200.0 * k, 3000.0, volume_of(5.0)) for k in range(300)]
    oracle.run(1, 0.0)
    steps = [(c.s - 100.0 - 200.0 * k, c.y - 3000.0) for k, c in enumerate(crystals)]
    surface = 1e8 * math.exp(8.0 / 5.0) * math.exp(-0.06 / THERMAL_V)
    diffusivity = 0.30 * surface * (0.02162 ** (1.0 / 3.0) / 5.0) ** 4
    square = np.array(steps) ** 2 / (2.0 * diffusivity * 1e-3)
    # Means of 300 squares of normal numbers, four standard deviations; with this seed no alarm.
    assert square.mean(axis=0) == pytest.approx([1.0, 1.0], abs=4.0 * math.sqrt(2.0 / 300.0))
