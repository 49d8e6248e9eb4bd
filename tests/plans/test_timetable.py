"""Blocks on a timetable: late commands do not add up, pauses do not count."""

from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.plans.timetable import LATE_S, Timetable


class Hand:
    """A source with a clock that is moved by hand."""

    def __init__(self, speed: float = 1.0) -> None:
        self.t = 100.0
        self.paused_s = 0.0
        self.clock = SimpleNamespace(now=lambda: self.t, speed=speed)


def test_what_is_late_does_not_make_the_rest_late() -> None:
    hand: Any = Hand()
    table = Timetable(hand)
    assert table.extend(1.0) == 1.0
    hand.t += 1.01  # the edge came late
    table.began(2.0)
    assert table.extend(2.0) == pytest.approx(1.99)
    hand.t += 1.99
    assert table.left() == 0.0


def test_a_command_that_hangs_shortens_no_step_by_more_than_a_little() -> None:
    for speed in (1.0, 10.0):
        hand: Any = Hand(speed)
        table = Timetable(hand)
        table.extend(1.0)
        hand.t += 1.0 + 3.0 * speed
        table.began(5.0)
        assert table.extend(5.0) == pytest.approx(5.0 - min(LATE_S * speed, 0.5))


def test_pauses_do_not_count() -> None:
    hand: Any = Hand()
    table = Timetable(hand)
    table.extend(1.0)
    hand.t += 60.5
    hand.paused_s += 60.0
    assert table.passed() == pytest.approx(0.5)
    assert table.left() == pytest.approx(0.5)


def test_a_step_that_ends_early_is_cut() -> None:
    hand: Any = Hand()
    table = Timetable(hand)
    table.extend(20.0)
    hand.t += 3.0
    table.cut()
    assert table.due == pytest.approx(3.0)
    assert table.extend(1.0) == pytest.approx(1.0)
