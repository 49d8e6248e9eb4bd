"""Approaches to many specimens on simulated time; what was true is asked of the specimen.

The large sample is ``python -m benchmarks approach``.
"""

from itertools import groupby, pairwise
from typing import Any

import pytest

from benchmarks.approach import approach, trouble
from benchmarks.approach_rig import Rig, Trouble
from stmtem_control.errors import ApproachError, LimitError
from stmtem_control.plans import approach_contact, leakage_baseline, retract


def approached(rig: Rig, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = rig.run(approach_contact(rig.probe, rig.bias, rig.beam, **options))
    return found


def measured(rig: Rig, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = rig.run(leakage_baseline(rig.bias, rig.beam, **options))
    return found


@pytest.mark.parametrize("seed", range(400, 408))
def test_an_approach_ends_well_or_says_why(seed: int) -> None:
    result = approach(seed)
    assert not result.crashed
    assert result.safe
    assert result.right, (result, trouble(seed))


def test_it_stops_within_a_fine_step_of_contact() -> None:
    rig = Rig(1, Trouble())
    found = approached(rig)
    assert found["kind"] == rig.truth == "oxide"
    assert found["sure"]
    assert found["resistance_ohm"] == pytest.approx(20.66e9, rel=0.02)
    assert rig.specimen.deepest_nm < 5.0
    assert -1.5 < rig.specimen.gap_nm < 1.0
    assert rig.probe.contact.get() == "oxide"
    assert not rig.meter.output_on
    # At 10 nm/V a step of 60 nm is 6 V, one back 4.8 V; hysteresis of the stack takes some.
    assert rig.probe.step_size.up_V.get() == pytest.approx(6.0, rel=0.08)
    assert rig.probe.step_size.down_V.get() == pytest.approx(4.8, rel=0.08)
    assert rig.probe.step_size.down_count.get() == 2


def test_close_to_contact_the_steps_are_small_and_the_gap_is_seen() -> None:
    rig = Rig(1, Trouble())
    approached(rig, learn_steps=False)
    touching = [p for p in rig.points if p.stage == "touch"]
    assert "tunnelling" in {p.kind for p in rig.points}
    fines = sorted({p.fine_V for p in touching})
    steps = [b - a for a, b in pairwise(fines)]
    assert min(steps) == pytest.approx(0.02)
    assert max(steps) <= 0.1 + 1e-9
    # Coarse steps only after the whole fine range was empty.
    coarse = [k for k, p in enumerate(rig.points) if p.stage == "coarse"]
    before = [p.fine_V for p in rig.points[: coarse[0]] if p.stage == "sweep"]
    assert max(before) == 20.0


def test_what_was_learned_makes_the_coarse_moves() -> None:
    rig = Rig(3, Trouble(gap_nm=100.0, step_nm=75.0))
    approached(rig)
    rig.run(retract(rig.probe, rig.bias, rig.beam, steps=12))
    assert rig.probe.contact.get() == "open"
    first = len(rig.points)
    approached(rig)
    moves = [
        len({p.coarse for p in points})
        for stage, points in groupby(rig.points[first:], lambda p: p.stage)
        if stage == "coarse"
    ]
    # 80 % of 20 V surely hold one step of 7.5 V, perhaps two; the default would have been three.
    assert len(moves) > 2
    assert set(moves) <= {1, 2}


def test_a_short_is_told_and_gone_from() -> None:
    rig = Rig(2, Trouble(skin="bare", gap_nm=100.0))
    with pytest.raises(ApproachError, match=r"is a short.*taken back 3 steps"):
        approached(rig)
    assert rig.specimen.contact_kind() == "open"
    assert rig.specimen.gap_nm > 50.0
    assert not rig.meter.output_on


def test_a_short_that_stays_is_told() -> None:
    rig = Rig(2, Trouble(skin="bare", gap_nm=100.0))
    rig.probe.z.coarse.value = 0
    rig.specimen.step(2, 99.0)
    rig.controller.axes[2].stuck = True
    with pytest.raises(ApproachError, match=r"slider does not move|sound holder"):
        approached(rig)
    assert not rig.meter.output_on


def test_a_slider_that_sticks_is_told() -> None:
    rig = Rig(4, Trouble(gap_nm=100.0, stuck=True))
    with pytest.raises(ApproachError, match="the slider is stuck; raise the step amplitude"):
        approached(rig)
    assert rig.probe.z.fine.get() == 0.0
    assert rig.probe.step_size.missed.get() == 3


def test_a_missed_step_is_seen_and_made_again() -> None:
    missed = 0
    for seed in range(4):
        rig = Rig(seed, Trouble(gap_nm=60.0, missed=0.3))
        found = approached(rig)
        assert found["kind"] == "oxide"
        assert rig.probe.step_size.down_V.get() == pytest.approx(4.8, rel=0.1)
        missed += rig.probe.step_size.missed.get()
    assert missed > 0


def test_out_of_reach_it_gives_up() -> None:
    rig = Rig(5, Trouble(gap_nm=1000.0))
    with pytest.raises(ApproachError, match=r"no contact after 4 coarse steps and 20 V"):
        approached(rig, max_coarse_steps=4)
    assert rig.probe.z.fine.get() == 0.0


def test_a_noisy_meter_is_refused_with_what_to_do() -> None:
    with pytest.raises(ApproachError, match=r"can be told from the leak.*raise approach_V"):
        approached(Rig(6, Trouble(model="2400")))


def test_glitches_are_no_contact() -> None:
    rig = Rig(7, Trouble(gap_nm=300.0, glitches=0.05))
    found = approached(rig)
    assert found["kind"] == rig.truth == "oxide"
    assert rig.specimen.deepest_nm < 12.0


def test_who_starts_in_contact_is_told_from_a_leak() -> None:
    rig = Rig(8, Trouble(gap_nm=-1.0))
    found = approached(rig)
    assert found["at_start"]
    assert found["kind"] == rig.truth == "oxide"
    assert found["leak_A"] < 1e-12
    assert rig.specimen.deepest_nm < 12.0


def test_steps_too_long_for_the_range_are_refused() -> None:
    rig = Rig(9, Trouble(gap_nm=400.0))
    sizes = rig.probe.step_size
    sizes.up_V.value, sizes.up_std_V.value, sizes.up_count.value = 30.0, 1.0, 3
    with pytest.raises(ApproachError, match="raise fine_range_V, or lower the step amplitude"):
        approached(rig)


def test_a_bad_parameter_is_named() -> None:
    rig = Rig(10, Trouble())
    for name, value in (
        ("approach_V", 0.0), ("sigmas", 0.5), ("readings", 1), ("oxide_GOhm", -1.0),
        ("least_step_V", 1.0), ("fine_range_V", float("nan")), ("learn_steps", 1),
        ("short_A", 1e-12), ("coarse_step", 1.5),
    ):  # fmt: skip
        with pytest.raises(LimitError, match=name):
            approached(rig, **{name: value})
    rig.bias.compliance.value = 5e-11
    with pytest.raises(LimitError, match="raise the compliance or lower threshold_A"):
        approached(rig)
    assert rig.points == []


# ---- the leak ----------------------------------------------------------------------------------


def test_the_leak_comes_out_within_its_error() -> None:
    for seed in range(3):
        rig = Rig(seed, Trouble(leak_GOhm=36.0))
        found = measured(rig, probe=rig.probe)
        off = abs(found["leak_S"] - 1.0 / 36e9)
        assert off < 4.0 * found["leak_std_S"] + 1e-16
        assert found["leak_std_S"] < 1e-2 * found["leak_S"]
        assert abs(found["offset_A"]) < 4.0 * found["offset_std_A"] + 1e-15
        assert rig.bias.leak.get() == found["leak_S"]
        assert rig.bias.baseline.noise.get() == found["noise_A"] > 0.0
    assert rig.noted["leak"]["leakage_leak_S"] == found["leak_S"]
    assert not rig.meter.output_on


def test_the_tail_of_the_cable_is_waited_out() -> None:
    slow = Trouble(leak_GOhm=36.0, absorption_pF=5.0, absorption_s=1.0)
    rig = Rig(1, slow)
    found = measured(rig, probe=rig.probe)
    assert found["leak_S"] == pytest.approx(1.0 / 36e9, rel=5e-3)
    hasty = Rig(1, slow)
    found = measured(hasty, probe=hasty.probe, longest_s=0.1)
    assert found["leak_S"] > 1.008 / 36e9
    assert rig.clock.now() > hasty.clock.now()


def test_a_contact_is_no_leak() -> None:
    rig = Rig(1, Trouble(gap_nm=-1.0))
    with pytest.raises(ApproachError, match=r"it was in contact; retract it"):
        measured(rig, probe=rig.probe)
    assert rig.bias.leak.get() == 0.0
    assert rig.bias.baseline.measured_at.get() == 0.0
    assert not rig.meter.output_on


def test_less_than_a_holder_insulates_is_refused() -> None:
    rig = Rig(1, Trouble(leak_GOhm=2.0))
    with pytest.raises(ApproachError, match=r"2 GOhm is less than the 10 GOhm"):
        measured(rig)
    short = Rig(1, Trouble(skin="bare", gap_nm=-1.0))
    with pytest.raises(ApproachError, match=r"0 GOhm is less"):
        measured(short)


def test_the_leak_is_subtracted_from_the_contact() -> None:
    rig = Rig(11, Trouble(leak_GOhm=40.0))
    measured(rig, probe=rig.probe)
    found = approached(rig)
    assert found["leak_A"] == pytest.approx(0.5 / 40e9, rel=0.02)
    assert found["resistance_ohm"] == pytest.approx(20.66e9, rel=0.02)
    assert found["current_A"] == pytest.approx(0.5 / 20.66e9 + 0.5 / 40e9, rel=0.03)


def test_a_leak_that_has_changed_is_told() -> None:
    rig = Rig(12, Trouble(leak_GOhm=100.0))
    measured(rig, probe=rig.probe)
    rig.bias.leak.value = 5e-11
    with pytest.raises(ApproachError, match="run leakage_baseline again"):
        approached(rig)


def test_a_bad_parameter_of_the_baseline_is_named() -> None:
    rig = Rig(13, Trouble())
    for name, value in (("max_V", 0.0), ("levels", 0), ("readings", 2), ("longest_s", -1.0)):
        with pytest.raises(LimitError, match=name):
            measured(rig, **{name: value})
