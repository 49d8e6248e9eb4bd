"""Gap, adhesion, skin and tip of the simulated contact."""

import math

import pytest

from stmtem_control.simulators import HandClock, Specimen
from stmtem_control.simulators.contact import Contact, Insulation

LIMIT_A = 1e-8


def test_from_far_to_near_it_is_each_kind_in_turn() -> None:
    contact = Contact(gap_nm=10.0)
    kinds = []
    for gap in (5.0, 0.8, 0.3, -20.0, -80.0, -160.0):
        contact.bend(2, 10.0 - gap)
        kinds.append(contact.kind)
    assert kinds == ["open", "tunnelling", "oxide", "oxide", "ohmic", "short"]
    assert contact.pierced
    assert contact.crashed


def test_it_snaps_in_and_must_be_pulled_off_further() -> None:
    contact = Contact(gap_nm=10.0)
    contact.bend(2, 10.0 - 0.6)
    assert not contact.touching
    contact.bend(2, 10.0 - 0.45)
    assert contact.touching
    contact.bend(2, 10.0 - 0.9)
    assert contact.touching  # held by adhesion
    contact.bend(2, 10.0 - 1.1)
    assert not contact.touching
    contact.bend(2, 10.0 - 0.9)
    assert not contact.touching


def test_a_cracked_skin_conducts_the_better_the_deeper() -> None:
    contact = Contact(gap_nm=10.0, crack_nm=5.0)
    contact.step(2, 12.0)
    assert math.isinf(contact.film_ohm)
    contact.step(2, 5.0)  # 7 nm deep
    deep = contact.film_ohm
    contact.step(2, -6.0)  # 1 nm deep: the crack stays
    assert deep == pytest.approx(2.5e9)
    assert contact.film_ohm == pytest.approx(6.25e9)
    contact.step(2, -50.0)
    assert math.isinf(contact.film_ohm)


def test_a_crash_flattens_the_tip_for_good() -> None:
    contact = Contact(gap_nm=10.0, crack_nm=5.0, pierce_nm=500.0, crash_nm=150.0)
    contact.step(2, 20.0)
    contact.step(2, -10.0)
    sharp = contact.film_ohm
    contact.step(2, 180.0)
    assert contact.crashed
    assert contact.deepest_nm == pytest.approx(180.0)
    assert contact.flattened_nm == pytest.approx(30.0)
    contact.step(2, -180.0)
    assert contact.gap_nm == pytest.approx(0.0)
    assert contact.film_ohm < 0.2 * sharp
    assert contact.crashed


def test_the_gap_drifts_with_the_clock() -> None:
    clock = HandClock()
    specimen = Specimen(clock, contact=Contact(gap_nm=2.0, drift_nm_per_s=-0.1))
    assert specimen.contact_kind() == "open"
    clock.advance(12.0)
    assert specimen.contact_kind() == "tunnelling"
    assert specimen.gap_nm == pytest.approx(0.8)
    clock.advance(5.0)
    assert specimen.contact_kind() == "oxide"


def test_the_cracked_skin_is_in_the_current() -> None:
    clock = HandClock()
    specimen = Specimen(clock, contact=Contact(gap_nm=-1.0, crack_nm=0.5))
    specimen.drive(0.5, LIMIT_A)
    clock.advance(0.2)
    before = specimen.charge()
    clock.advance(0.1)
    amperes = (specimen.charge() - before) / 0.1
    assert specimen.contact_kind() == "ohmic"
    assert amperes == pytest.approx(0.5 / 20.66e9 + 0.5 / 6.25e9, rel=0.03)


def test_a_leak_and_a_dielectric_tail_of_ones_own() -> None:
    clock = HandClock()
    specimen = Specimen(
        clock,
        leak_GOhm=36.0,
        insulation=Insulation(absorption_pF=1.0, absorption_s=0.5),
    )

    def amperes() -> float:
        before = specimen.charge()
        clock.advance(0.02)
        return (specimen.charge() - before) / 0.02

    specimen.drive(5.0, LIMIT_A)
    clock.advance(0.5)
    # 139 pA through 36 GOhm, and the rest of 5 pC: 5 pA fall e times.
    assert amperes() == pytest.approx(5.0 / 36e9 + 1e-11 * math.exp(-1.02), rel=2e-3)
    clock.advance(5.0)
    assert amperes() == pytest.approx(5.0 / 36e9, rel=1e-3)


def test_steps_are_missed_and_wear() -> None:
    from stmtem_control.simulators.piezo import Gait

    gait = Gait(seed=1, axis=2)
    fresh = gait.lengths_nm(0, 400, 30.0, True)
    gait.missed, gait.wear_per_step = 0.25, 1e-3
    worn = gait.lengths_nm(0, 400, 30.0, True)
    moved = worn > 0.0
    assert 0.65 < moved.mean() < 0.85
    assert worn[moved][-1] / fresh[moved][-1] == pytest.approx(0.6, abs=0.02)
    # However the motion is cut up, a step is the same.
    assert list(gait.lengths_nm(17, 3, 30.0, True)) == list(worn[17:20])
