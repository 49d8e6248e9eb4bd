"""Conditions and charge, judged on readings made by hand."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.errors import LimitError
from stmtem_control.plans.coulombs import Coulombs
from stmtem_control.plans.until import Ending, Look, check_detectors
from stmtem_control.protocol import Condition, parse_protocol


class Value:
    """A signal: what it is, and since when."""

    def __init__(self, value: Any = 0.0, t: float = 0.0) -> None:
        self.value, self.timestamp = value, t

    def get(self) -> Any:
        return self.value


class Hand:
    """A source whose readings, leak and clock are written by hand; station time is Unix time."""

    def __init__(self, leak_S: float = 0.0, noise_A: float = 1e-13) -> None:  # noqa: N803
        self.setpoint, self.voltage, self.current = Value(), Value(), Value()
        self.clock = SimpleNamespace(station_time=lambda t: t)
        self.paused_s = 0.0
        self.leak = Value(leak_S)
        self.baseline = SimpleNamespace(
            measured_at=Value(1.0 if leak_S else 0.0),
            leak_std=Value(0.0),
            offset=Value(0.0),
            offset_std=Value(0.0),
            noise=Value(noise_A),
        )
        self.camera = SimpleNamespace(frames_captured=Value(7), latest_frame=lambda: "newest")
        self.coulombs = Coulombs(self)

    def step(self, t: float, volts: float) -> None:
        self.setpoint = Value(volts, t)

    def read(self, t: float, amperes: float) -> None:
        self.voltage = Value(self.setpoint.value, t)
        self.current = Value(amperes, t)
        self.coulombs.take()

    def ending(self, *written: dict[str, str], goal_V: float = 0.0, **detectors: Any) -> Ending:
        began = self.current.timestamp
        conditions = [condition for one in written for condition in conditions_of(one)]
        return Ending(
            conditions,
            self,
            self.camera,
            self.coulombs,
            lambda: self.current.timestamp - began,
            dose_rate_e_per_A2_s=20.0,
            goal_V=goal_V,
            detectors=detectors,
        )


def conditions_of(written: dict[str, str]) -> tuple[Condition, ...]:
    ((key, value),) = written.items()
    step = f"{{hold: {{bias: 1 V, until: {{{key}: {value}}}, timeout: 1 h}}}}"
    (made,) = parse_protocol(f"protocol: x\nsteps:\n  - {step}\n").steps
    until: tuple[Condition, ...] = made.until  # type: ignore[union-attr]
    return until


def test_the_charge_is_the_integral_of_the_current() -> None:
    hand = Hand()
    hand.step(0.0, -5.0)
    for k in range(11):
        hand.read(0.1 * k, -1e-10 * k)  # a straight line from 0 to -1 nA
    assert hand.coulombs.charge_C == pytest.approx(-0.5e-9)


def test_the_leak_is_subtracted_where_it_is_known() -> None:
    for siemens, charge_C, known in ((1e-12, 0.0, True), (0.0, -5e-12, False)):
        hand = Hand(siemens)
        hand.step(0.0, -5.0)
        hand.read(0.0, -5e-12)
        hand.read(1.0, -5e-12)
        assert hand.coulombs.charge_C == pytest.approx(charge_C, abs=1e-18)
        assert hand.coulombs.corrected is known


def test_across_a_step_each_current_holds_up_to_it() -> None:
    hand = Hand()
    hand.step(0.0, -5.0)
    hand.read(1.0, -1e-10)
    hand.step(1.75, 5.0)
    hand.read(2.0, 1e-10)
    assert hand.coulombs.charge_C == pytest.approx(-0.75e-10 + 0.25e-10)


def test_pauses_and_parts_carry_no_charge() -> None:
    hand = Hand()
    hand.step(0.0, -5.0)
    hand.read(1.0, -1e-10)
    hand.paused_s = 50.0
    hand.read(61.0, -1e-10)  # the first after a pause
    assert hand.coulombs.charge_C == 0.0
    hand.step(61.5, 0.0)
    hand.coulombs.part()
    assert hand.coulombs.charge_C == pytest.approx(-0.5e-10)
    hand.read(99.0, -1e-10)
    assert hand.coulombs.charge_C == pytest.approx(-0.5e-10)
    hand.read(100.0, math.nan)  # a reading that a pause took away
    hand.read(101.0, -1e-10)
    assert hand.coulombs.charge_C == pytest.approx(-2.5e-10)


@pytest.mark.parametrize(
    ("start_C", "written", "currents", "ends_at"),
    [
        (0.0, "-0.35 nC", [-1e-10] * 8, 4.0),  # reached going down
        (-0.5e-9, "0 C", [1e-10] * 8, 5.0),  # reached going up
        (0.0, "below -0.2 nC", [-1e-10] * 8, 2.0),
        (0.0, "above 0.2 nC", [-1e-10] * 8, None),
    ],
)
def test_a_charge_is_reached(
    start_C: float,
    written: str,
    currents: list[float],
    ends_at: float | None,
) -> None:
    hand = Hand()
    hand.coulombs.charge_C = start_C
    hand.read(0.0, currents[0])
    ending = hand.ending({"charge": written})
    found = None
    for t, current in enumerate(currents, 1):
        hand.read(float(t), current)
        if found is None and ending.over():
            found = float(t)
    assert found == ends_at


def test_the_bias_says_which_way_a_charge_is_reached() -> None:
    # A deposit of which the last reading is old: the charge at the start of stripping is still
    # above 0, and is below it with the first reading of the stripping.
    hand = Hand()
    hand.step(0.0, -5.0)
    hand.read(0.1, -1e-10)
    hand.coulombs.charge_C = 5e-12
    ending = hand.ending({"charge": "0 C"}, goal_V=5.0)
    hand.step(1.1, 5.0)
    seen = []
    for t in (1.2, 1.6, 2.0, 2.1):
        hand.read(t, 1e-10)
        seen.append(ending.over())
    assert seen == [False, False, False, True]


def test_a_current_must_hold_for_two_readings_and_away_from_a_step() -> None:
    hand = Hand()
    hand.step(0.0, 5.0)
    hand.read(0.01, 1e-12)
    ending = hand.ending({"current": "below 10 pA"})
    seen = []
    for t, current in (
        (0.05, 1e-12),  # the cables are still being charged
        (0.15, 1e-12),
        (0.20, 1e-9),  # a glitch, the other way
        (0.25, -2e-12),
        (0.30, 3e-12),
    ):
        hand.read(t, current)
        seen.append(ending.over())
    assert seen == [False, False, False, False, True]
    assert ending.reason == "current below 10 pA: 3.00 pA"


@pytest.mark.parametrize(("name", "current"), [("lost", 1e-13), ("made", -2e-10)])
def test_a_contact_is_lost_or_made(name: str, current: float) -> None:
    hand = Hand(1e-13)
    hand.step(0.0, -1.0)
    hand.read(0.0, 0.0)
    ending = hand.ending({"contact": name})
    other = -2e-10 if name == "lost" else 1e-13
    found = []
    for t, value in ((1.0, other), (2.0, other), (3.0, current), (4.0, current)):
        hand.read(t, value)
        found.append(ending.over())
    assert found == [False, False, False, True]


def test_time_and_dose_count_from_the_begin_of_the_step() -> None:
    hand = Hand()
    hand.read(10.0, 0.0)
    both = hand.ending({"elapsed": "3 s"}, {"dose": "50 e/A^2"})
    hand.read(12.0, 0.0)
    assert not both.over()
    hand.read(12.5, 0.0)
    assert both.over()
    assert both.reason == "dose 50 e/A^2: 50 e/A^2"


class Facet:
    """A detector that sees what it is told to see."""

    def __init__(self) -> None:
        self.begun = 0
        self.looks: list[Look] = []

    def begin(self) -> None:
        self.begun += 1

    def seen(self, look: Look) -> bool:
        self.looks.append(look)
        return bool(look.elapsed_s > 1.5)


def test_a_detector_sees_an_event() -> None:
    hand, facet = Hand(), Facet()
    hand.read(0.0, 0.0)
    ending = hand.ending({"event": "facet"}, facet=facet)
    hand.read(1.0, 1e-10)
    assert not ending.over()
    hand.read(2.0, 1e-10)
    assert ending.over()
    assert ending.reason == "event facet: after 2 s"
    assert facet.begun == 1
    last = facet.looks[-1]
    assert (last.frames, last.newest(), last.current_A) == (7, "newest", 1e-10)


def test_an_event_that_nobody_sees_is_refused() -> None:
    with pytest.raises(LimitError, match="event 'facet': no detector of this name; none was"):
        check_detectors(["facet"], None)
    with pytest.raises(LimitError, match="there are burst"):
        check_detectors(["facet"], {"burst": Facet()})
    with pytest.raises(LimitError, match="no method seen"):
        check_detectors(["facet"], {"facet": object()})
    check_detectors(["facet"], {"facet": Facet()})
