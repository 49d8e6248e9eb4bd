"""The dead-man's hold, byte for byte, and how long it is."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.devices.hold_plan import plan_hold
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.keithley_hold import Lapse
from stmtem_control.errors import (
    InstrumentError,
    InterlockError,
    LimitError,
    ProtocolError,
    TransportTimeout,
)
from stmtem_control.link import Link

from .source_scripts import ASK, NONE, taken

Scripted = Callable[[Sequence[tuple[bytes, bytes]]], Link]

OFF = (b":ABOR;:SOUR:VOLT 0;:OUTP OFF\n", b"")
START = (b":ABOR;:OUTP?;:INIT\n", b"1\n")
TAKE = b":ABOR;:OUTP?;:SENS:DATA?;:INIT\n"
WHY = b":STAT:MEAS:COND?;:STAT:MEAS?\n"
W = 5.0  # wall seconds that a test waits at most


def held(
    scripted: Scripted,
    *steps: tuple[bytes, bytes],
    on: bytes = NONE[:-1] + b";1\n",
    line: bytes = b"2048\n",
) -> Keithley2400:
    """Return a driver whose first level, -5 V, begins a hold of 2 s; then come `steps`.

    `on` is the answer to its start, `line` that of the register with the output enable line.
    """
    source = Keithley2400(
        scripted(
            [
                *taken(b":SOUR:VOLT -5.0000000E+00", b":SOUR:CLE:AUTO:MODE TCO"),
                *taken(b":SOUR:CLE:AUTO ON", b":SOUR:DEL 0", b":ARM:COUN 1", b":TRIG:COUN 47"),
                (b":STAT:MEAS:COND?\n", line),
                (b":INIT\n", b""),
                (b":ABOR;:SYST:ERR?;:OUTP?;:INIT\n", on),
                *steps,
            ]
        ),
        dead_man_s=2.0,
    )
    source.hold.set_nplc(1.0)
    return source


def test_a_reading_is_started_anew_and_taken(scripted: Scripted) -> None:
    found = b"1;-5.000000E+00,-2.000000E-09,+2.000000E+00,+0.000000E+00\n"
    source = held(scripted, START, (TAKE, found))
    source.set_level(-5.0).result(W)
    reading = source.read().result(W)
    assert (reading.voltage, reading.current) == (-5.0, -2e-9)


def test_a_level_changes_in_one_message(scripted: Scripted) -> None:
    source = held(
        scripted,
        (b":ABOR;:OUTP?;:SOUR:VOLT 5.0000000E+00;:INIT\n", b"1\n"),
        (b":ABOR;:SYST:ERR?;:SOUR:VOLT?;:INIT\n", NONE[:-1] + b";5.0\n"),
    )
    source.set_level(-5.0).result(W)
    source.set_level(5.0).result(W)


def test_a_level_that_was_lost_in_a_hold_is_told(scripted: Scripted) -> None:
    source = held(
        scripted,
        (b":ABOR;:OUTP?;:SOUR:VOLT 5.0000000E+00;:INIT\n", b"1\n"),
        (b":ABOR;:SYST:ERR?;:SOUR:VOLT?;:INIT\n", NONE[:-1] + b";-5.0\n"),
    )
    source.set_level(-5.0).result(W)
    with pytest.raises(InstrumentError, match=r"reads back '-5\.0'"):
        source.set_level(5.0).result(W)


def test_a_stop_is_one_message_too(scripted: Scripted) -> None:
    """An abort by itself would leave the output on, without an end."""
    look = b":ABOR;:OUTP OFF;:SYST:ERR?;:SOUR:VOLT?;:OUTP?\n"
    source = held(scripted, OFF, (look, NONE[:-1] + b";0;0\n"))
    source.set_level(-5.0).result(W)
    source.zero_and_off().result(W)
    assert not source.hold.running


def test_a_slow_source_is_not_waited_for_until_its_hold_is_over(scripted: Scripted) -> None:
    """However many readings in a row were not complete in time."""
    source = held(scripted)
    source.set_level(-5.0).result(W)
    for _ in range(20):
        source.hold.wait_longer()
    plan = source.hold.plan
    assert plan is not None
    assert 0.1 < source.hold.first_left_s() < 0.5 * plan.shortest_s


def test_a_reading_that_is_not_complete_is_waited_for(scripted: Scripted) -> None:
    """The second answer is the old reading again, as the manual has it: the buffer is kept."""
    line = b"1;-5.000000E+00,-2.000000E-09,+2.000000E+00,+0.000000E+00\n"
    stale = [(b":ABOR;:OUTP?;:SYST:ERR?;:INIT\n", b'1;-230,"Data corrupt or stale"\n')]
    none = [(b":ABOR;:OUTP?;:SYST:ERR?;:INIT\n", b"1;" + NONE)]
    source = held(
        scripted,
        START, (TAKE, b"1\n"), *stale, *none, (TAKE, line),
        START, (TAKE, line), *none, (TAKE, line.replace(b"+2.000000E+00", b"+2.100000E+00")),
    )  # fmt: skip
    source.set_level(-5.0).result(W)
    assert source.read().result(W).instrument_time == 2.0
    assert source.read().result(W).instrument_time == 2.1
    assert source.hold.margin_s > 1e-3


def test_a_source_that_never_has_a_reading_is_told(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.devices.keithley_reading.TRIES", 2)
    none = (b":ABOR;:OUTP?;:SYST:ERR?;:INIT\n", b"1;" + NONE)
    source = held(scripted, START, *[(TAKE, b"1\n"), none] * 2)
    source.set_level(-5.0).result(W)
    with pytest.raises(InstrumentError, match="no reading was complete"):
        source.read().result(W)


def test_an_output_that_does_not_go_on(scripted: Scripted) -> None:
    source = held(scripted, OFF, ASK, on=b'+802,"Output blocked by interlock";0\n')
    with pytest.raises(InstrumentError, match=r"does not go on: \+802 Output blocked by interlock"):
        source.set_level(-5.0).result(W)
    assert not source.hold.running


def test_an_output_that_went_off_is_not_switched_on_again(scripted: Scripted) -> None:
    """Not even by the message that finds it out: it is followed by an end at once."""
    told: list[Lapse] = []
    source = held(
        scripted,
        START,
        (TAKE, b"0;-5.000000E+00,-2.000000E-09,+2.000000E+00,+0.000000E+00\n"),
        OFF,
        (WHY, b"2048;0\n"),
    )
    source.on_lapse = told.append
    source.set_level(-5.0).result(W)
    with pytest.raises(InterlockError, match=r"^device: the source had switched its output off"):
        source.read().result(W)
    assert len(told) == 1
    for again in (source.read, lambda: source.set_level(1.0)):
        with pytest.raises(InterlockError, match="stop, then set the bias again"):
            again().result(W)
    assert not source.output_on


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (b"2048", b"0;0", "its output interlock is open; close it"),
        (b"2048", b"2048;2048", "was opened, and is closed again"),
        (b"2048", b"6144;4096", "it is too hot; let it cool down"),
        (b"2048", b"4096;4096", "it is too hot; let it cool down"),
        (b"2048", b"2048;4096", "it got too hot, and has cooled down since"),
        (b"0", b"0;0", "somebody pressed the key"),  # nothing is plugged into the line
        (b"2048", b"2048;0", "somebody pressed the key"),
    ],
)
def test_why_the_output_went_off_is_told(
    scripted: Scripted, before: bytes, now: bytes, why: str
) -> None:
    """An opened interlock is told apart from a source that is too hot, and from the rest."""
    source = held(scripted, (*START[:1], b"0\n"), OFF, (WHY, now + b"\n"), line=before + b"\n")
    source.set_level(-5.0).result(W)
    with pytest.raises(InterlockError, match=why):
        source.read().result(W)


@pytest.mark.parametrize("answer", [b"noise\n", b""])
def test_an_output_that_went_off_is_told_though_the_reason_is_not(
    scripted: Scripted, answer: bytes
) -> None:
    source = held(scripted, (*START[:1], b"0\n"), OFF, (WHY, answer))
    source._scpi.timeout_s = 0.05
    source.set_level(-5.0).result(W)
    with pytest.raises((ProtocolError, TransportTimeout)):
        source.read().result(W)
    assert source.hold.lapse is not None
    assert "interlock opened, it got too hot, somebody" in source.hold.lapse.reason


def test_who_is_not_alive_gets_no_bias_and_keeps_none(scripted: Scripted) -> None:
    source = held(scripted, OFF)
    source.set_level(-5.0).result(W)
    source.hold.alive = lambda: False
    with pytest.raises(InterlockError, match="does not say that it is alive"):
        source.read().result(W)


@given(
    st.floats(0.5, 60.0), st.floats(0.01, 10.0), st.sampled_from([50.0, 60.0]),
    st.sampled_from([1.0, 1.0, 5.0, 50.0, 1000.0]), st.floats(-0.03, 0.03),
)  # fmt: skip
def test_a_hold_is_never_longer_than_it_may_be(
    dead_man_s: float, nplc: float, line_Hz: float, speed: float, drift: float
) -> None:
    reading = 2.0 * (nplc / line_Hz + 185e-6) + 0.64e-3
    try:
        plan = plan_hold(dead_man_s, nplc, line_Hz, speed)
    except LimitError:
        assert 3.2 * reading > dead_man_s
        return
    allowed = max(dead_man_s, speed) if speed > 1.0 else dead_man_s
    lasts = plan.readings * (reading + plan.delay_s) * (1.0 + drift)
    assert plan.shortest_s * (1 - 1e-9) <= lasts <= plan.longest_s <= allowed
    assert 3 <= plan.readings <= 2500
    # And it is not much shorter, but for one reading, or the time would be worth nothing.
    assert plan.longest_s > allowed - 1.05 * plan.step_s - 1e-3


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
def test_a_time_must_be_a_time(scripted: Scripted, seconds: float) -> None:
    with pytest.raises(LimitError, match="dead_man_s is"):
        Keithley2400(scripted([]), dead_man_s=seconds)
