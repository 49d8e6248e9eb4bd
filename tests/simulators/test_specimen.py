"""The physical world behind the instruments: gap, contact, circuit, beam."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.simulators import HandClock, Specimen

LIMIT_A = 1e-8


def current(specimen: Specimen, clock: HandClock, seconds: float = 0.05) -> float:
    """Return the mean current (A) over the next `seconds`, as a source would measure it."""
    before = specimen.charge()
    clock.advance(seconds)
    return (specimen.charge() - before) / seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def specimen(clock: HandClock) -> Specimen:
    return Specimen(clock, gap_nm=100.0)


def settled(specimen: Specimen, clock: HandClock, volts: float) -> float:
    specimen.drive(volts, LIMIT_A)
    clock.advance(0.2)
    return current(specimen, clock)


def test_far_away_only_the_holder_leaks(specimen: Specimen, clock: HandClock) -> None:
    # 36 GOhm to 1 TOhm are published for biasing holders; here 1 TOhm.
    assert settled(specimen, clock, 5.0) == pytest.approx(5.0 / 1e12, rel=1e-3)
    assert settled(specimen, clock, -5.0) == pytest.approx(-5.0 / 1e12, rel=1e-3)


def test_the_tunnelling_current_decays_exponentially(specimen: Specimen, clock: HandClock) -> None:
    # exp(-1.025 sqrt(phi/eV) gap/Angstrom), phi = 4 eV: a decade for each 1.12 Angstrom.
    currents = []
    for gap in (0.95, 0.9, 0.85):
        specimen.bend(2, 100.0 - gap)
        currents.append(settled(specimen, clock, 0.1) - 0.1 / 1e12)
    for far, near in pairwise(currents):
        assert near / far == pytest.approx(math.exp(1.025 * 2.0 * 0.5), rel=0.1)


def test_in_contact_the_oxide_limits(specimen: Specimen, clock: HandClock) -> None:
    specimen.step(2, 100.0)
    assert settled(specimen, clock, 0.5) == pytest.approx(0.5 / 20.66e9, rel=0.03)
    specimen.step(2, 5.0)
    assert settled(specimen, clock, 0.5) == pytest.approx(0.5 / 20.66e9, rel=0.03)


def test_a_step_of_bias_charges_the_cable_first(specimen: Specimen, clock: HandClock) -> None:
    specimen.drive(0.0, 1e-6)
    clock.advance(0.1)
    before = specimen.charge()
    specimen.drive(5.0, 1e-6)
    clock.advance(0.002)
    # 20 pF at 5 V; the leak adds nothing in 2 ms.
    assert specimen.charge() - before == pytest.approx(100e-12, rel=1e-3)


def test_a_small_compliance_slows_the_step_down(specimen: Specimen, clock: HandClock) -> None:
    specimen.drive(0.0, 1e-9)
    clock.advance(0.1)
    specimen.drive(5.0, 1e-9)
    clock.advance(0.02)
    # 1 nA into 20 pF is 50 V/s.
    assert specimen.voltage() == pytest.approx(1.0, rel=0.01)
    assert specimen.limiting()
    clock.advance(0.2)
    assert specimen.voltage() == pytest.approx(5.0)
    assert not specimen.limiting()


def test_compliance_holds_the_voltage_down(specimen: Specimen, clock: HandClock) -> None:
    specimen.step(2, 100.0)
    specimen.drive(5.0, 1e-10)
    clock.advance(1.0)
    assert specimen.limiting()
    assert specimen.voltage() == pytest.approx(1e-10 * 20.66e9, rel=0.01)
    assert current(specimen, clock) == pytest.approx(1e-10, rel=0.05)


def test_pressed_through_the_oxide_it_is_a_short(specimen: Specimen, clock: HandClock) -> None:
    specimen.step(2, 300.0)
    assert specimen.pierced
    assert specimen.deepest_nm == pytest.approx(200.0)
    specimen.drive(1.0, LIMIT_A)
    clock.advance(0.1)
    assert current(specimen, clock) == pytest.approx(LIMIT_A, rel=1e-3)
    assert specimen.limiting()
    specimen.step(2, -250.0)
    clock.advance(0.2)
    assert abs(current(specimen, clock)) < 2e-12


def test_an_open_circuit_carries_nothing(specimen: Specimen, clock: HandClock) -> None:
    specimen.step(2, 101.0)
    specimen.drive(None, LIMIT_A)
    clock.advance(1.0)
    assert current(specimen, clock) == 0.0
    assert specimen.voltage() == 0.0
    assert specimen.noise(100.0) == 0.0


def test_a_probe_to_the_side_meets_the_fibre_later(specimen: Specimen) -> None:
    specimen.step(2, 100.0)
    assert specimen.gap_nm == 0.0
    specimen.bend(0, 200.0)
    assert specimen.gap_nm == pytest.approx(200.0**2 / 4000.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-4, 0.3), min_size=1, max_size=12))
def test_how_often_one_looks_hardly_matters(looks: list[float]) -> None:
    def end(cuts: list[float]) -> tuple[float, int, float]:
        clock = HandClock()
        specimen = Specimen(clock, gap_nm=-1.0, seed=3)
        specimen.drive(-5.0, LIMIT_A)
        for cut in cuts:
            clock.wait_until(cut)
            specimen.settle()
        clock.wait_until(0.5)
        specimen.settle()
        model = specimen.model
        return specimen.charge(), len(model.particles), model.lithium_volume_nm3

    charge, count, volume = end([])
    # Where a look falls into the first bias ramp, the tick it cuts is a little different.
    same_charge, same_count, same_volume = end(sorted(looks))
    assert same_charge == pytest.approx(charge, rel=1e-3)
    assert same_count == count
    assert same_volume == pytest.approx(volume, rel=1e-3)


def test_blanked_time_exposes_nothing(specimen: Specimen, clock: HandClock) -> None:
    assert specimen.blanked
    clock.advance(1.0)
    specimen.blank.drive(False)
    clock.advance(0.5)
    specimen.blank.drive(True)
    clock.advance(1.0)
    specimen.blank.drive(False)
    clock.advance(0.25)
    assert specimen.exposed(0.0, 2.75) == pytest.approx(0.75)
    assert specimen.exposed(0.0, 1.0) == 0.0
    assert specimen.exposed(1.2, 1.4) == pytest.approx(0.2)
    assert specimen.exposed(1.4, 2.6) == pytest.approx(0.2)
    assert specimen.exposed(2.0, 2.0) == 0.0


def test_the_counts_follow_the_dose(specimen: Specimen, clock: HandClock) -> None:
    clock.advance(1.0)
    dark = specimen.image(0.9, 1.0, (64, 64), 1)
    assert dark.dtype == np.uint16
    assert dark.max() == 0
    specimen.blank.drive(False)
    clock.advance(1.0)
    short = specimen.image(1.5, 1.51, (256, 256), 2).astype(float).mean()
    long = specimen.image(1.5, 1.54, (256, 256), 3).astype(float).mean()
    assert long / short == pytest.approx(4.0, rel=0.01)


def test_the_probe_moves_in_the_picture(specimen: Specimen, clock: HandClock) -> None:
    specimen.blank.drive(False)
    clock.advance(1.0)
    far = specimen.image(0.5, 1.0, (128, 128), 1).astype(float)
    specimen.step(2, 100.0)
    near = specimen.image(0.5, 1.0, (128, 128), 2).astype(float)
    middle = slice(60, 68)
    assert near[middle, :24].mean() < far[middle, :24].mean()


def test_an_exposure_shows_all_that_happens_while_it_lasts() -> None:
    """The probe jumps halfway: where it was and where it is are both half dark."""
    clock = HandClock()
    specimen = Specimen(clock, gap_nm=20.0)
    specimen.blank.drive(False)
    clock.advance(1.0)
    specimen.shutter(1.0, 1.04, (128, 128))
    clock.advance(0.02)
    specimen.step(0, -200.0)
    clock.advance(0.02)
    blurred = specimen.image(1.0, 1.04, (128, 128), 0).astype(float)
    after = specimen.image(1.0, 1.039, (128, 128), 1).astype(float)  # of no known exposure
    row = 64
    tip = slice(0, 6)  # 70 nm and more behind where the apex was, and nothing where it is now
    vacuum = blurred[:20].mean()
    assert after[row - 2 : row + 3, tip].mean() > 0.8 * vacuum
    assert blurred[row - 2 : row + 3, tip].mean() == pytest.approx(0.5 * vacuum, rel=0.15)
