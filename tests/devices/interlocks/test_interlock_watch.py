"""Judgements on probe, links, camera and computer."""

import math
import random
from typing import Any

import pytest

from stmtem_control.devices.interlocks.bias_steps import Measured
from stmtem_control.devices.interlocks.host_watch import (
    CameraSilent,
    ClockJump,
    DiskRoom,
    FramesLost,
    LinkLost,
    Silence,
    StaleReadings,
)
from stmtem_control.devices.interlocks.probe_watch import Overshoot, Travel, Unbidden
from stmtem_control.interlock_table import InterlocksTable

GB = 10**9


def table(**keys: Any) -> InterlocksTable:
    return InterlocksTable(**keys)


def test_silence_counts_only_while_the_guard_was_awake() -> None:
    silence = Silence()
    assert silence.see(0.0, 1, True) == 0.0
    assert silence.see(0.2, 1, True) == pytest.approx(0.2)
    assert silence.see(60.2, 1, True) == pytest.approx(0.7)  # the computer stood still
    assert silence.see(60.3, 2, True) == 0.0
    assert silence.see(60.5, 2, False) == 0.0
    assert silence.see(60.6, 2, True) == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(10))
def test_readings_go_stale_no_sooner_and_not_much_later(seed: int) -> None:
    rng = random.Random(seed)
    stale, t, count = StaleReadings(table(stale_s=3.0)), 0.0, 0
    for _ in range(100):
        t += rng.uniform(0.01, 0.3)
        count += 1
        assert stale.see(t, count, True) is None
    last = t
    while (found := stale.see(t, count, True)) is None:
        t += rng.uniform(0.01, 0.3)
    assert 3.0 - 0.5 <= t - last <= 3.5
    assert found.kind == "stale readings"


def test_with_the_output_off_no_reading_is_expected() -> None:
    stale = StaleReadings(table())
    assert [stale.see(0.2 * k, 0, False) for k in range(100)] == [None] * 100


def test_a_link_that_breaks_or_times_out_again_and_again() -> None:
    links = LinkLost(table(link_timeouts=3))
    assert links.see("bias_source", True, 2) is None
    found = links.see("bias_source", True, 3)
    assert found is not None
    assert "3 readings of bias_source" in found.seen
    broke = links.see("camera", False)
    assert broke is not None
    assert broke.seen == "the connection to camera broke"
    assert LinkLost(table(link_timeouts="off")).see("camera", False, 99) is None


def test_a_camera_is_silent_after_ten_periods_at_least() -> None:
    quick, slow = CameraSilent(table(camera_silent_s=4.0)), CameraSilent(table())
    found = [quick.see(0.2 * k, 7, 0.04, True) for k in range(30)]
    assert [f is not None for f in found].index(True) in (20, 21)
    assert [slow.see(0.2 * k, 7, 1.0, True) for k in range(49)] == [None] * 49
    assert slow.see(10.1, 7, 1.0, True) is not None
    assert slow.see(10.2, 8, 1.0, True) is None


def test_lost_frames_are_a_share_of_a_hundred() -> None:
    lost = FramesLost(table(lost_share=0.25))
    assert lost.see(0, 30) is None  # too few to tell
    assert lost.see(70, 30) is not None
    assert lost.see(145, 55) is None  # 25 of the next hundred
    assert lost.see(10, 0) is None  # another run
    assert lost.see(99, 2) is None


def test_the_disk_is_judged_by_room_and_by_seconds() -> None:
    room = DiskRoom(table(disk_free_GB=0.2, disk_left_s=10.0))
    assert room.see(0.0, 5 * GB, 0, 2_000_000) is None
    assert room.see(2.0, 5 * GB, 200, 2_000_000) is None  # 200 MB/s, 25 s
    found = room.see(4.0, int(1.5 * GB), 400, 2_000_000)
    assert found is not None
    assert "7.5 s at 200 MB/s" in found.seen
    low = DiskRoom(table(disk_left_s="off")).see(0.0, GB // 10, 0, 1)
    assert low is not None
    assert "0.1 GB are free" in low.seen
    assert DiskRoom(table(disk_free_GB="off")).see(0.0, 0, 0, 1) is None


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ((0.1, 0.1, 0.1), None),
        ((0.1, 2.2, 0.1), "jumped by +2.1 s"),
        ((0.1, -5.0, 0.1), "jumped by -5.1 s"),
        ((0.1, 30.1, 30.1), "slept for 30.0 s"),
        ((5.0, 5.0, 5.0), None),  # a guard that came late
    ],
)
def test_a_clock_may_not_jump(step: tuple[float, float, float], words: str | None) -> None:
    jump = ClockJump(table(clock_jump_s=2.0))
    assert jump.see(100.0, 1e9, 500.0, True) is None
    found = jump.see(100.0 + step[0], 1e9 + step[1], 500.0 + step[2], True)
    assert (found is None) if words is None else (found is not None and words in found.seen)


def test_a_clock_may_jump_while_nothing_is_on() -> None:
    jump = ClockJump(table())
    jump.see(0.0, 0.0, 0.0, False)
    assert jump.see(0.1, 3600.0, 0.1, False) is None
    assert jump.see(0.2, 3600.1, 0.2, True) is None


# ---- the probe ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "value", "trips"),
    [
        ("probe_z_steps", 200, False),
        ("probe_z_steps", -201, True),
        ("probe_z_V", 100.3, False),
        ("probe_z_V", 101.0, True),
        ("probe_x_V", -1.0, True),
    ],
)
def test_travel_has_ends(channel: str, value: float, trips: bool) -> None:
    found = Travel(100.0, 200).see(channel, value)
    assert (found is not None) == trips


def test_an_axis_at_rest_must_stay_at_rest() -> None:
    axis = Unbidden("probe_z")
    rest: dict[str, Any] = {"offset_V": 20.0, "amplitude_V": 30.0, "bidden": False}
    assert [axis.see(v, **rest) for v in (20.1, 0.0, -0.2, 19.8)] == [None] * 4
    assert axis.see(27.0, **rest) is None
    assert axis.see(20.0, **rest) is None
    assert axis.see(27.0, **{**rest, "bidden": True}) is None
    assert axis.see(27.0, **rest) is None
    found = axis.see(31.0, **rest)
    assert found is not None
    assert found.kind == "probe over-travel"


def test_overshoot_is_a_current_while_stepping_to_the_fibre() -> None:
    overshoot = Overshoot(table(overshoot_A=5e-9))
    high = Measured(1.0, 0.5, 6e-9, False)
    low = Measured(1.0, 0.5, 4e-9, False)
    assert overshoot.see(high, 1, True) is not None
    for found, heading, quiet in (
        (low, 1, True),
        (high, 0, True),
        (high, -1, True),
        (high, 1, False),
    ):
        assert overshoot.see(found, heading, quiet) is None
    off = Overshoot(table(overshoot_A="off"))
    assert not off.over(high)
    assert math.isinf(off.limit_A)
