"""Frames and levels are tied by counting, and their times must agree."""

import math
from typing import Any

import pytest

from stmtem_control.clock_model import ClockModel
from stmtem_control.devices.frame_samples import Sample
from stmtem_control.devices.keithley_answers import Reading
from stmtem_control.devices.keithley_sequence import BiasSequence, SequencePoint, SequenceRun
from stmtem_control.devices.merlin_trigger import MerlinTrigger
from stmtem_control.devices.trigger_tie import tie
from stmtem_control.errors import InstrumentError, LimitError
from stmtem_control.exchanges import Exchange

STEP = 0.04
STEPS = 60
UNIX = 1.7e9  # the camera's time at the station's zero


def frames(count: int, *, lost: tuple[int, ...] = (), period: float = STEP) -> list[Sample]:
    """Return frames of 30 ms, numbered from 1, without the lost numbers."""
    return [
        Sample(UNIX + period * (n - 1), 0.03, period, 1.0, n, 0, 0.0)
        for n in range(1, count + 1)
        if n not in lost
    ]


def run(*, late: dict[int, float] | None = None, first: float = 0.0, points: int = STEPS) -> Any:
    """Return a sequence of levels, a step apart; some are late by so much."""
    levels = tuple(float(1 + n % 2) for n in range(STEPS - 1))
    sequence = BiasSequence((*levels, 0.0), STEP)
    nothing = Reading(math.nan, math.nan, math.nan, False, 0, math.nan)
    came = [first + STEP * n + (late or {}).get(n, 0.0) for n in range(points)]
    return SequenceRun(
        sequence,
        Exchange(-0.1, 10.0),
        tuple(
            SequencePoint(level, t, 2e-3, nothing)
            for level, t in zip(sequence.levels, came, strict=False)
        ),
        None,
    )


def error_ms(model: ClockModel) -> float:
    return 1e3 * abs(model.station_time(UNIX + 1.0)[0] - 1.0)


def test_the_source_starts_a_burst_at_each_level() -> None:
    found = tie(frames(3 * STEPS, period=STEP / 3), run(), master="source", frames_per_step=3)
    assert found.frames == tuple(range(0, 3 * STEPS, 3))
    assert error_ms(found.model) < 1.0
    for n, (t, sure) in enumerate(found.times):
        assert t == pytest.approx(STEP * n, abs=sure + 1e-6)


def test_the_end_of_an_exposure_steps_the_source() -> None:
    started = Exchange(-2e-4, 3e-4)
    found = tie(frames(STEPS + 5), run(first=0.03), master="camera", started=started)
    assert found.frames == tuple(range(STEPS))
    assert found.times[3][0] == pytest.approx(0.03 + 3 * STEP, abs=5e-4)
    assert found.times[3][1] < 5e-4  # the camera's start knows more than the source's timer


def test_a_frame_that_was_lost_leaves_the_others_where_they_are() -> None:
    found = tie(frames(STEPS, lost=(7, 8)), run(), master="source")
    assert found.frames[5:9] == (5, -1, -1, 6)
    assert found.times[6][0] == pytest.approx(6 * STEP, abs=5e-3)
    assert found.frames[-1] == STEPS - 3


@pytest.mark.parametrize("count", [STEPS - 1, STEPS + 1])
def test_another_number_of_frames_is_told(count: int) -> None:
    with pytest.raises(InstrumentError, match=f"last frame is number {count}"):
        tie(frames(count), run(), master="source")


@pytest.mark.parametrize("place", [1, 20, STEPS - 1])
@pytest.mark.parametrize("shift", [STEP, -STEP])
def test_a_trigger_that_was_lost_or_came_twice_is_told(place: int, shift: float) -> None:
    late = dict.fromkeys(range(place, STEPS), shift)
    with pytest.raises(InstrumentError, match=f"from level {place} of .* a trigger was lost"):
        tie(frames(STEPS + 2), run(first=0.03, late=late), master="camera")


def test_a_reading_that_was_late_alone_tells_nothing() -> None:
    late = {9: 0.035, 30: 0.035}
    found = tie(frames(STEPS), run(late=late), master="source")
    assert found.frames == tuple(range(STEPS))
    assert error_ms(found.model) < 4.0


@pytest.mark.parametrize("late_s", [-8e-3, 8e-3])
def test_single_levels_that_contradict_the_others_move_nothing(late_s: float) -> None:
    found = tie(frames(STEPS), run(late={7: late_s, 30: late_s}), master="source")
    assert error_ms(found.model) < 1.0
    assert found.times[7][0] == pytest.approx(7 * STEP, abs=1e-3)


def test_a_sequence_that_was_ended_cannot_be_tied() -> None:
    with pytest.raises(InstrumentError, match="went through 10 of 60 levels"):
        tie(frames(STEPS), run(points=10), master="source")
    with pytest.raises(InstrumentError, match="last frame is number 0"):
        tie([], run(), master="source")


def test_what_the_manual_says_of_the_triggers() -> None:
    assert MerlinTrigger().variables() == [
        ("NUMFRAMESPERTRIGGER", 1), ("TRIGGERSTART", 0), ("TRIGGERSTOP", 0),
    ]  # fmt: skip
    assert MerlinTrigger("ttl falling", 8, "follow shutter", True).variables() == [
        ("NUMFRAMESPERTRIGGER", 8), ("TRIGGERSTART", 2), ("TRIGGERSTOP", 0),
        ("TriggerOutTTL", 4), ("TriggerOutTTLInvert", 1),
    ]  # fmt: skip
    assert [MerlinTrigger(s).variables()[1][1] for s in ("ttl rising", "software")] == [1, 5]
    assert not MerlinTrigger(output="busy").tied
    assert MerlinTrigger("ttl rising").external


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"start": "lvds"}, "trigger_in is 'lvds'"),
        ({"frames": 0}, "frames_per_trigger is 0"),
        ({"frames": True}, "frames_per_trigger is True"),
        ({"output": "shutter"}, "trigger_out is 'shutter'"),
    ],
)
def test_triggers_that_the_camera_has_not_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(LimitError, match=why):
        MerlinTrigger(**wrong)
