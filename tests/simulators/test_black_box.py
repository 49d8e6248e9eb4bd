"""The bench's own record of what was safe, and since when."""

from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, HandClock
from stmtem_control.simulators.black_box import BlackBox

PARTS = {"bias 0 V", "output off", "beam blanked", "probe at rest"}
pytestmark = [pytest.mark.bench(gap_nm=420.0), pytest.mark.usefixtures("hand_clock")]


def test_a_bench_begins_safe(bench: Bench) -> None:
    assert set(bench.safe()) == PARTS
    assert bench.black_box.safe_since() == dict.fromkeys(PARTS, 0.0)
    assert bench.black_box.unsafe_s() == dict.fromkeys(PARTS, 0.0)


def test_what_happens_is_kept_with_its_time(
    bench: Bench, hand_clock: HandClock, attach: Callable[[int], Any]
) -> None:
    source = attach(bench.source_tcp.port)
    probe = attach(bench.probe_tcp.port)
    probe.until(b"code: ")
    probe.ask(b"123456\r\n", b"> ")
    hand_clock.advance(1.0)
    source.ask(b":SOUR:VOLT -3;:OUTP ON;:SOUR2:TTL 0;*OPC?\n")
    probe.ask(b"setm 1 stp\r\nstepu 1 500\r\n", b"OK\r\n> ")
    probe.ask(b"getf 1\r\n", b"OK\r\n> ")
    hand_clock.advance(0.25)
    assert bench.black_box.unsafe_s() == dict.fromkeys(PARTS, 0.25)
    assert bench.black_box.safe_since() == dict.fromkeys(PARTS)
    hand_clock.advance(0.75)
    source.ask(b":SOUR2:TTL 15;:OUTP OFF;*OPC?\n")
    hand_clock.advance(0.5)
    source.ask(b":SOUR:VOLT 0;*OPC?\n")
    assert bench.black_box.safe_since() == {
        "bias 0 V": 2.5,
        "output off": 2.0,
        "beam blanked": 2.0,
        "probe at rest": pytest.approx(1.5),
    }
    told = [(change.part, change.value) for change in bench.black_box.transitions[4:]]
    assert sorted(told) == sorted(
        [
            ("bias 0 V", -3.0),
            ("output off", 1.0),
            ("beam blanked", 1.0),
            ("probe at rest", 1.0),
            ("probe at rest", 0.0),
            ("beam blanked", 0.0),
            ("output off", 0.0),
            ("bias 0 V", 0.0),
        ]
    )
    for change in bench.black_box.transitions:
        assert change.safe == (change.value == 0.0)


def test_a_sequence_of_levels_is_kept(bench: Bench, attach: Callable[[int], Any]) -> None:
    source = attach(bench.source_tcp.port)
    source.ask(
        b":SOUR:VOLT:MODE LIST;:SOUR:LIST:VOLT 1,2,0;:TRIG:COUN 3;"
        b":SOUR:CLE:AUTO ON;:SOUR:CLE:AUTO:MODE TCO;:READ?\n"
    )
    levels = [c.value for c in bench.black_box.transitions if c.part == "bias 0 V"]
    assert levels == [0.0, 1.0, 2.0, 0.0]
    assert bench.safe()["output off"]


def test_a_stuck_blanker_is_told_as_it_is(bench: Bench, hand_clock: HandClock) -> None:
    bench.inject("beam:blanker_stuck@time=1,amount=0")
    hand_clock.advance(3.0)
    assert bench.black_box.unsafe_s()["beam blanked"] == 2.0


def test_only_the_last_ones_are_kept(hand_clock: HandClock) -> None:
    box = BlackBox(hand_clock, most=3)
    for value in (0.0, 1.0, 1.0, 2.0, 0.0):
        hand_clock.advance(1.0)
        box.note("bias 0 V", value)
    assert [change.value for change in box.transitions] == [1.0, 2.0, 0.0]
    assert box.lost == 1
    assert box.safe_since() == {"bias 0 V": 5.0}
