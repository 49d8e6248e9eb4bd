"""Simulated time: alarms in order, waits that end, threads that go."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.simulators import HandClock, WallClock
from stmtem_control.simulators.clock import ClockClosed
from stmtem_control.simulators.lines import Line, wire


@given(st.lists(st.floats(0.0, 10.0), max_size=20), st.floats(0.0, 10.0))
def test_alarms_run_in_order_up_to_now(times: list[float], until: float) -> None:
    clock = HandClock()
    rung: list[tuple[float, float]] = []
    for t in times:
        clock.call_at(t, lambda t=t: rung.append((t, clock.now())))  # type: ignore[misc]
    clock.wait_until(until)
    assert rung == [(t, t) for t in sorted(times) if t <= until]
    assert clock.now() == until


def test_an_alarm_may_set_another_and_cancel_a_third() -> None:
    clock = HandClock()
    rung: list[str] = []
    third = clock.call_at(3.0, lambda: rung.append("third"))

    def first() -> None:
        rung.append("first")
        clock.call_at(clock.now() + 1.0, lambda: rung.append("second"))
        third.cancel()

    clock.call_at(1.0, first)
    clock.advance(5.0)
    assert rung == ["first", "second"]


def test_time_does_not_run_backwards() -> None:
    clock = HandClock(2.0)
    with pytest.raises(ValueError, match="-1"):
        clock.advance(-1.0)
    clock.wait_until(1.0)
    assert clock.now() == 2.0


def test_the_wall_clock_runs_at_its_speed() -> None:
    clock = WallClock(100.0)
    rung = threading.Event()
    due = clock.now() + 5.0
    clock.call_at(due, rung.set)
    wall = time.monotonic()
    clock.wait_until(due)
    assert clock.now() >= due
    assert time.monotonic() - wall < 3.0
    assert rung.wait(5.0)
    clock.close()


def test_what_rings_late_may_act_at_its_time_in_its_own_thread() -> None:
    clock = WallClock(1.0)
    seen: list[float] = []
    with clock.at(-2.0), clock.at(-1.0):
        thread = threading.Thread(target=lambda: seen.append(clock.now()))
        thread.start()
        thread.join(5.0)
        assert clock.now() == -1.0
    assert seen[0] >= 0.0
    assert clock.now() >= 0.0
    clock.close()


def test_closing_wakes_who_waits() -> None:
    clock = WallClock(1.0)
    ended: list[str] = []

    def wait() -> None:
        try:
            clock.wait_until(1e6)
        except ClockClosed:
            ended.append("woken")

    thread = threading.Thread(target=wait)
    thread.start()
    clock.call_at(1e6, lambda: ended.append("never"))
    clock.close()
    thread.join(5.0)
    assert ended == ["woken"]
    assert clock.call_at(0.0, lambda: ended.append("never")).function is None


def test_one_alarm_that_fails_does_not_stop_the_others() -> None:
    clock = WallClock(100.0)
    rung = threading.Event()

    def fail() -> None:
        raise ValueError("an instrument is broken")

    clock.call_at(clock.now(), fail)
    clock.call_at(clock.now() + 1.0, rung.set)
    assert rung.wait(5.0)
    clock.close()
    assert isinstance(clock.failure, ValueError)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        WallClock(speed)


def test_a_wired_line_follows_its_output() -> None:
    output, first, second = Line("out", True), Line("a"), Line("b")
    wire(output, first, second)
    assert first.level
    assert second.level
    edges: list[bool] = []
    first.listen(edges.append)
    output.drive(True)
    output.pulse()
    assert edges == [False, True]
    output.drive(False)
    assert not second.level
