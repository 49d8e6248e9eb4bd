"""Judgements on readings: what trips, what does not, and what a step must not trip."""

import math
import random
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from stmtem_control.devices.interlocks.bias_steps import BiasSteps, Lasting, Measured
from stmtem_control.devices.interlocks.currents import ReadingJudge
from stmtem_control.devices.interlocks.trip import Finding
from stmtem_control.interlock_table import InterlocksTable

COMPLIANCE_A = 1e-8
READING_S = 0.045


class Judge:
    """A judge that hears levels and readings as the timeline tells them."""

    def __init__(self, leak_S: float = 0.0, **keys: Any) -> None:  # noqa: N803
        self.judge = ReadingJudge(
            InterlocksTable(**keys),
            max_bias_V=10.0,
            reading_s=READING_S,
            compliance_A=lambda: COMPLIANCE_A,
            leak_S=lambda: leak_S,
        )

    def level(self, t: float, volts: float) -> None:
        self.judge.hear("bias_set_V", t, volts, 1e-3)

    def read(
        self, t: float, amperes: float, volts: float | None = None, limited: bool = False
    ) -> Finding | None:
        level = self.judge.steps.level(t)
        assert self.judge.hear("voltage_V", t, level if volts is None else volts, 0.0) is None
        assert self.judge.hear("current_A", t, amperes, 0.0) is None
        found = self.judge.hear("compliance", t, limited, 0.0)
        assert found is not None
        return self.judge.judge(found)


def times(start: float, stop: float, every: float = 0.05) -> Iterator[float]:
    for k in range(math.ceil((stop - start) / every)):
        yield start + k * every


def first(findings: Iterable[tuple[float, Finding | None]]) -> tuple[float, Finding] | None:
    return next(((t, found) for t, found in findings if found is not None), None)


# ---- short -------------------------------------------------------------------------------------


def test_a_short_trips_at_the_first_limited_reading() -> None:
    judge = Judge()
    judge.level(0.0, -5.0)
    assert [judge.read(t, -2.5e-10) for t in times(0.2, 1.0)] == [None] * 16
    found = judge.read(1.0, -9.9e-9, -0.01, limited=True)
    assert found is not None
    assert found.kind == "short"
    assert found.seen == "-9.90e-09 A at -5 V"
    assert found.limit == "5e-09 A, [interlocks] short_A"


@pytest.mark.parametrize("seed", range(20))
def test_a_short_is_found_whatever_came_before(seed: int) -> None:
    """Levels, readings and currents at random: none trips below the limits, all do above."""
    rng = random.Random(seed)
    judge = Judge(short_A_per_s="off", contact_lost_s="off", open_circuit_s="off")
    t = 0.0
    for _ in range(30):
        volts = rng.choice([-1, 1]) * rng.uniform(1.1, 10.0)
        judge.level(t, volts)
        t += rng.uniform(0.3, 1.0)
        for _ in range(rng.randint(1, 20)):
            t += rng.uniform(0.01, 0.5)
            assert judge.read(t, rng.uniform(-4.99e-9, 4.99e-9)) is None
    current = rng.choice([-1, 1]) * rng.uniform(5e-9, 1e-8)
    t += rng.uniform(0.01, 5.0)
    if rng.random() < 0.5:
        found = judge.read(t, current, limited=True)
    else:
        assert judge.read(t, current) is None
        assert judge.judge.suspects
        found = judge.read(t + 0.01, current)
    assert found is not None
    assert found.kind == "short"


@pytest.mark.parametrize("seed", range(20))
def test_the_displacement_current_of_any_step_trips_nothing(seed: int) -> None:
    """A capacitor within the stated one, charged at the compliance, then 0.1 s to settle."""
    rng = random.Random(100 + seed)
    judge = Judge()
    before, t = 0.0, 0.0
    for _ in range(40):
        volts = rng.uniform(-10.0, 10.0)
        t += rng.uniform(0.0, 1.0)
        judge.level(t, volts)
        farad = rng.uniform(0.0, 1e-10)
        charged = t + farad * abs(volts - before) / COMPLIANCE_A
        reading = t
        while reading < charged + 1.0:
            reading += READING_S  # the middle of it; it has begun half a reading ago
            charging = reading - 0.5 * READING_S < charged
            current = math.copysign(COMPLIANCE_A, volts - before) if charging else 2.5e-10
            at = volts if not charging else 0.5 * (volts + before)
            assert judge.read(reading, current, at, limited=charging) is None
        before, t = volts, reading


def test_the_blanking_time_is_as_stated() -> None:
    steps = BiasSteps(InterlocksTable(settle_s=0.1, holder_pF=100.0), READING_S)
    assert steps.blanking_s(10.0, 1e-8) == pytest.approx(0.1 + 1e-10 * 10.0 / 1e-8)
    steps.note(1.0, 10.0, 0.01)
    end = 1.0 + 0.01 + 0.2 + 0.5 * READING_S
    assert not steps.quiet(end - 1e-6, 1e-8)
    assert steps.quiet(end + 1e-6, 1e-8)
    assert steps.quiet(0.95, 1e-8)  # it had ended before the step
    assert not steps.quiet(0.98, 1e-8)  # it had not


def test_a_short_at_the_step_itself_trips_after_the_blanking() -> None:
    judge = Judge()
    judge.level(0.0, -5.0)
    found = first((t, judge.read(t, -1e-8, -0.01, limited=True)) for t in times(0.0, 1.0))
    assert found is not None
    assert 0.1 < found[0] < 0.3
    assert found[1].kind == "short"


def test_a_fast_rise_is_a_short_and_a_slow_one_is_not() -> None:
    judge = Judge(short_A="off")
    judge.level(0.0, -5.0)
    slow = [judge.read(0.5 + 0.01 * k, -2e-12 * k) for k in range(200)]  # 2e-10 A/s
    assert slow == [None] * 200
    assert judge.read(2.51, -3.5e-9) is None
    assert judge.judge.suspects
    found = judge.read(2.52, -3.4e-9)
    assert found is not None
    assert found.kind == "short"
    assert "rose by" in found.seen
    # A fall is none, nor is a rise between readings that are far apart.
    assert judge.read(2.53, -1e-10) is None
    assert judge.read(4.0, -4.9e-9) is None
    assert judge.read(4.01, -4.9e-9) is None


@pytest.mark.parametrize("glitch", [5.3e-9, 1e-6, -1e-6, math.nan])
def test_one_glitch_of_the_instrument_trips_nothing(glitch: float) -> None:
    judge = Judge()
    judge.level(0.0, -5.0)
    for k in range(20):
        assert judge.read(1.0 + 0.1 * k, -2.5e-10) is None
        assert judge.read(1.05 + 0.1 * k, glitch) is None


def test_more_readings_in_a_row_can_be_asked_for() -> None:
    judge = Judge(short_readings=3, short_A_per_s="off")
    judge.level(0.0, -5.0)
    currents = [-8e-9, -8e-9, -1e-10, -8e-9, -8e-9, -8e-9]
    found = [judge.read(1.0 + 0.05 * k, current) for k, current in enumerate(currents)]
    assert [f is not None for f in found] == [False] * 5 + [True]


def test_the_approach_has_time_to_react_by_itself() -> None:
    judge = Judge()
    judge.level(0.0, 0.5)
    early = [judge.read(t, 9e-9, 0.009, limited=True) for t in times(0.5, 5.0)]
    assert early == [None] * len(early)
    late = first((t, judge.read(t, 9e-9, 0.009, limited=True)) for t in times(5.0, 7.0))
    assert late is not None
    assert late[0] == pytest.approx(5.5, abs=0.06)
    assert "approach_hold_s" in late[1].limit


# ---- compliance and contact --------------------------------------------------------------------


def test_compliance_may_last_for_a_while() -> None:
    judge = Judge(short_A="off", short_A_per_s="off")
    judge.level(0.0, 5.0)
    for start in (0.5, 1.5):  # each for 0.4 s
        for t in times(start, start + 0.4):
            assert judge.read(t, 1e-8, 1.0, limited=True) is None
        assert judge.read(start + 0.5, 1e-10) is None
    found = first((t, judge.read(t, 1e-8, 1.0, limited=True)) for t in times(3.0, 5.0))
    assert found is not None
    assert found[0] == pytest.approx(3.5, abs=0.06)
    assert found[1].kind == "compliance"
    assert "1e-08" in found[1].seen.replace("1.00e-08", "1e-08")


def test_a_contact_that_is_lost_trips_and_one_that_flickers_does_not() -> None:
    leak = 1.0 / 36e9
    judge = Judge(leak_S=leak)
    judge.level(0.0, -5.0)
    assert [judge.read(t, -3e-10) for t in times(0.5, 2.0)] == [None] * 30
    for t in times(2.0, 3.9):
        assert judge.read(t, -5.0 * leak) is None
    assert judge.read(3.9, -3e-10) is None
    found = first((t, judge.read(t, -5.0 * leak - 5e-12)) for t in times(4.0, 7.0))
    assert found is not None
    assert found[0] == pytest.approx(6.0, abs=0.06)
    assert found[1].kind == "contact lost"


def test_a_deposition_without_any_current_is_an_open_circuit() -> None:
    judge = Judge()
    judge.level(0.0, -5.0)
    found = first((t, judge.read(t, -5e-12)) for t in times(0.5, 20.0))
    assert found is not None
    assert found[0] == pytest.approx(10.5, abs=0.06)
    assert found[1].kind == "open circuit"


@pytest.mark.parametrize("volts", [5.0, 0.5, -0.5, 0.0])
def test_stripping_may_run_dry_and_an_approach_starts_without_current(volts: float) -> None:
    judge = Judge()
    judge.level(0.0, volts)
    judge.read(0.5, math.copysign(3e-10, volts))
    assert [judge.read(t, 0.0) for t in times(1.0, 60.0, 0.5)] == [None] * 118


def test_each_hold_begins_anew() -> None:
    judge = Judge()
    for k in range(5):
        judge.level(10.0 * k, -5.0)
        assert all(judge.read(10.0 * k + t, -1e-12) is None for t in times(0.5, 4.5))
        judge.level(10.0 * k + 5.0, 0.0)


def test_what_must_not_last_needs_time_and_readings() -> None:
    lasting = Lasting(1.0, readings=3)
    assert [lasting.see(t, True) for t in (0.0, 5.0)] == [None, None]
    assert lasting.see(6.0, True) == 6.0
    assert lasting.see(7.0, False) is None
    assert [lasting.see(t, True) for t in (7.1, 7.2, 7.3)] == [None] * 3


# ---- readings that are wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volts", "amperes", "words"),
    [
        (math.nan, math.nan, "nan V and nan A; finite numbers"),
        (-5.0, -3e-8, "-3.00e-08 A; 2e-08 A"),
        (40.0, -1e-10, "40 V; 20 V"),
        (-4.0, -1e-10, "-4 V at a level of -5 V; 0.25 V apart"),
        (math.inf, 0.0, "inf V"),
    ],
)
def test_readings_that_cannot_be_trip_when_they_come_in_a_row(
    volts: float, amperes: float, words: str
) -> None:
    judge = Judge(short_A="off", short_A_per_s="off")
    judge.level(0.0, -5.0)
    for start in (1.0, 2.0):
        assert judge.read(start, amperes, volts) is None
        assert judge.read(start + 0.1, amperes, volts) is None
        assert judge.read(start + 0.2, -1e-10) is None
    found = [judge.read(t, amperes, volts) for t in (3.0, 3.1, 3.2)]
    assert found[:2] == [None, None]
    assert found[2] is not None
    assert found[2].kind == "wrong readings"
    assert words in f"{found[2].seen}; {found[2].limit}"


def test_in_compliance_the_voltage_may_be_elsewhere() -> None:
    judge = Judge(short_A="off", compliance_s="off", short_A_per_s="off")
    judge.level(0.0, -5.0)
    assert [judge.read(t, -1e-8, -0.1, limited=True) for t in times(1.0, 2.0)] == [None] * 20


def test_a_reading_is_judged_once_it_is_whole_in_any_order() -> None:
    judge = Judge().judge
    assert judge.hear("compliance", 1.0, False, 0.0) is None
    assert judge.hear("voltage_V", 1.0, 0.5, 0.0) is None
    assert judge.hear("current_A", 0.9, 1e-12, 0.0) is None  # of another reading
    found = judge.hear("current_A", 1.0, 2e-12, 0.0)
    assert found == Measured(1.0, 0.5, 2e-12, False)


@pytest.mark.parametrize(
    "key", ["short_A", "compliance_s", "contact_lost_s", "open_circuit_s", "wrong_readings"]
)
def test_each_can_be_switched_off_by_itself(key: str) -> None:
    """The same history trips by others at the most when one is off."""

    def kinds(**keys: Any) -> set[str]:
        found: set[str] = set()
        for current, volts, limited in (
            (-9e-9, -5.0, False),
            (-4e-9, -1.0, True),
            (0.0, -5.0, False),
            (math.nan, math.nan, False),
        ):
            judge = Judge(approach_hold_s="off", short_A_per_s="off", **keys)
            judge.level(0.0, -5.0)
            judge.read(0.5, -3e-10)
            if current == 0.0:
                seen = [judge.read(t, current, volts, limited) for t in times(1.0, 15.0, 0.5)]
                other = Judge(**keys)
                other.level(0.0, -5.0)
                seen += [other.read(t, 0.0) for t in times(1.0, 15.0, 0.5)]
            else:
                seen = [judge.read(t, current, volts, limited) for t in times(1.0, 15.0, 0.5)]
            found |= {finding.kind for finding in seen if finding is not None}
        return found

    name = {
        "short_A": "short",
        "compliance_s": "compliance",
        "contact_lost_s": "contact lost",
        "open_circuit_s": "open circuit",
        "wrong_readings": "wrong readings",
    }[key]
    assert name in kinds()
    assert name not in kinds(**{key: "off"})
