"""The ANC300 console driver, byte for byte."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.devices.anc300 import Anc300
from stmtem_control.devices.anc300_console import Console, parse_value, strip_telnet
from stmtem_control.devices.anc300_memory import SettingsMemory
from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.link import Link
from stmtem_control.transport import Transport

Scripted = Callable[[Sequence[tuple[bytes, bytes]]], Link]
ByTheManual = Callable[[str], tuple[Link, list[bytes]]]

OK = b"OK\r\n"
VERSION = (
    b"attocube ANC300 controller version 1.1.0-1304 2013-10-17 08:16\r\n"
    b"ANC150 compatibillity console\r\n"
)
OPENED = [
    (b"echo off\r\n", OK),
    (b"ver\r\n", VERSION + OK),
    (b"getser 1\r\n", b"ANM300A-M-1545-3010041\r\n" + OK),
]
IN_STEP = [OPENED[1], *[OPENED[2]] * 3]
W = 5.0  # wall seconds that a test waits at most


def test_everything_the_driver_sends_is_in_the_manual(by_the_manual: ByTheManual) -> None:
    link, sent = by_the_manual("anc300")
    probe = Anc300(link)
    controller = probe.open().result(W)
    assert controller.modules[2] == "ANM300A-M-1545-3010042"
    assert controller.version[1] == "ANC150 compatibillity console"
    assert sent[0] == b"echo off\r\n"
    probe.stop([1]).result(W)
    probe.setm(1, "stp+").result(W)
    assert probe.getm(1).result(W) == "gnd"  # the table's last answer
    probe.seta(1, 0.0).result(W)
    assert probe.geta(1).result(W) == 0.0
    probe.setf(1, 1000).result(W)
    assert probe.getf(1).result(W) == 1000.0  # past a stray empty line
    probe.setv(1, 30.0).result(W)
    assert probe.getv(1).result(W) == 30.0
    assert probe.geto(1).result(W) == 0.0
    assert probe.getc(1).result(W) is None
    probe.step(1, 3).result(W)
    assert probe.ground([1]).result(W) == [1]
    assert sent[-2:] == [b"stop 1\r\n", b"setm 1 gnd\r\n"]


def test_echo_and_prompt_of_a_console_as_it_powers_up(scripted: Scripted) -> None:
    probe = Anc300(
        scripted([(b"echo off\r\n", b"echo off\r\n" + OK + b"> "), *OPENED[1:]]), axes=(1,)
    )
    assert probe.open().result(W).modules == {1: "ANM300A-M-1545-3010041"}


def test_echo_after_a_prompt(scripted: Scripted) -> None:
    probe = Anc300(scripted([(b"getm 1\r\n", b"> getm 1\r\nmode = stp\r\n" + OK + b"> ")]))
    assert probe.getm(1).result(W) == "stp"


def test_log_in_over_the_network(scripted: Scripted) -> None:
    link = scripted(
        [(b"secret\r\n", b"******\r\nAuthorization success\r\n> "), *OPENED],
    )
    link.call(lambda transport: greet(transport), timeout=W)
    Anc300(link, axes=(1,), password="secret").open().result(W)


def greet(transport: object) -> None:
    """Put the greeting of the network console on the wire."""
    transport.arrived += b"\xff\xfb\x01\xff\xfb\x03Authorization code: "  # type: ignore[attr-defined]


def test_wrong_password(scripted: Scripted) -> None:
    link = scripted([(b"wrong\r\n", b"*****\r\nAuthorization failed\r\n")])
    link.call(lambda transport: greet(transport), timeout=W)
    with pytest.raises(IdentityError, match="refused the password"):
        Anc300(link, password="wrong").open().result(W)


def test_a_console_that_takes_no_password(scripted: Scripted) -> None:
    link = scripted([(b"wrong\r\n", b"*****\r\n")])
    link.call(lambda transport: greet(transport), timeout=W)
    with pytest.raises(IdentityError, match="did not accept"):
        Anc300(link, password="wrong", timeout_s=0.1).open().result(W)


def test_the_controllers_own_words_are_the_error(scripted: Scripted) -> None:
    probe = Anc300(
        scripted([(b"stepu 1 5\r\n", b"Axis not in computer control mode\r\nERROR\r\n")])
    )
    with pytest.raises(InstrumentError, match=r"'stepu 1 5'.*Axis not in computer control mode"):
        probe.step(1, 5).result(W)


def test_another_instrument_at_the_address(scripted: Scripted) -> None:
    probe = Anc300(scripted([OPENED[0], (b"ver\r\n", b"SmarAct MCS2\r\n" + OK)]))
    with pytest.raises(IdentityError, match="expected 'ANC300' at transcript, found 'SmarAct"):
        probe.open().result(W)


def test_missing_module(scripted: Scripted) -> None:
    probe = Anc300(
        scripted([*OPENED, (b"getser 5\r\n", b"Wrong axis type\r\nERROR\r\n")]), axes=(1, 5)
    )
    with pytest.raises(IdentityError, match=r"axis 5.*Wrong axis type"):
        probe.open().result(W)


def test_stop_tries_every_axis(scripted: Scripted) -> None:
    probe = Anc300(
        scripted(
            [
                (b"stop 1\r\n", b"Wrong axis type\r\nERROR\r\n"),
                (b"stop 2\r\n", OK),
                (b"stop 3\r\n", OK),
            ]
        )
    )
    with pytest.raises(InstrumentError, match="stop 1"):
        probe.stop().result(W)


def test_answers_that_are_late_are_thrown_away(scripted: Scripted) -> None:
    probe = Anc300(
        scripted(
            [
                *OPENED,
                (b"geto 1\r\n", b""),  # lost
                (b"echo off\r\n", b"voltage = 12.000000 V\r\n" + OK),
                *IN_STEP,
                (b"geto 1\r\n", b"voltage = 0.500000 V\r\n" + OK),
            ]
        ),
        axes=(1,),
        timeout_s=0.05,
    )
    probe.open().result(W)
    with pytest.raises(TransportTimeout, match="geto 1"):
        probe.geto(1).result(W)
    assert probe.geto(1).result(W) == 0.5


def test_a_stop_does_not_wait_for_a_late_answer(scripted: Scripted) -> None:
    """The stops go out first; what they are answered is thrown away with what is late."""
    late = b"voltage = 12.000000 V\r\n" + OK
    probe = Anc300(
        scripted(
            [
                *OPENED,
                (b"geto 1\r\n", b""),  # lost
                (b"stop 1\r\nstop 2\r\n", b""),
                (b"echo off\r\n", late + OK + OK),
                *IN_STEP,
                (b"stop 1\r\n", OK),
                (b"stop 2\r\n", OK),
            ]
        ),
        axes=(1,),
        timeout_s=0.05,
    )
    probe.open().result(W)
    with pytest.raises(TransportTimeout, match="geto 1"):
        probe.geto(1).result(W)
    assert probe.stop([1, 2]).result(W) == [1, 2]


def said(command: str, answer: str = "") -> tuple[bytes, bytes]:
    """Return a request and its answer."""
    lines = f"{answer}\r\n".encode() if answer else b""
    return command.encode() + b"\r\n", lines + OK


SET_UP = [
    said("setf 1 1000"),
    said("getf 1", "frequency = 1000 Hz"),
    said("setv 1 30.000000"),
    said("getv 1", "voltage = 30.000000 V"),
    said("setm 1 stp+"),
    said("seta 1 60.000000"),
    said("geta 1", "voltage = 60.000000 V"),
]


def set_up(probe: Anc300) -> None:
    """Bring axis 1 to a state that can be lost."""
    probe.open().result(W)
    probe.setf(1, 1000).result(W)
    probe.setv(1, 30.0).result(W)
    probe.setm(1, "stp+").result(W)
    probe.seta(1, 60.0).result(W)


def test_an_axis_that_lost_its_settings_gets_them_back(scripted: Scripted) -> None:
    """Frequency and amplitude before the mode; the offset, which would move the probe, is there."""
    link = scripted(
        [
            *OPENED,
            *SET_UP,
            (b"geto 1\r\n", b""),  # lost
            said("echo off"),
            *IN_STEP,
            said("geta 1", "voltage = 60.000000 V"),
            said("getf 1", "frequency = 200 Hz"),
            said("setf 1 1000"),
            said("getf 1", "frequency = 1000 Hz"),
            said("getv 1", "voltage = 30.000000 V"),
            said("getm 1", "mode = gnd"),
            said("setm 1 stp+"),
            said("geto 1", "voltage = 60.000000 V"),
        ]
    )
    probe = Anc300(link, axes=(1,), timeout_s=0.05)
    set_up(probe)
    with pytest.raises(TransportTimeout):
        probe.geto(1).result(W)
    assert probe.geto(1).result(W) == 60.0


def test_a_probe_that_moved_by_itself_is_not_moved_back(scripted: Scripted) -> None:
    link = scripted(
        [
            *OPENED,
            *SET_UP,
            (b"geto 1\r\n", b""),  # lost
            said("echo off"),
            *IN_STEP,
            said("geta 1", "voltage = 0.000000 V"),
        ]
    )
    probe = Anc300(link, axes=(1,), timeout_s=0.05)
    set_up(probe)
    with pytest.raises(TransportTimeout):
        probe.geto(1).result(W)
    for _ in range(2):
        with pytest.raises(
            TransportError,
            match=r"offset of axis 1 was 60 V and is now 0\.0+ V.*call probe\.connect",
        ):
            probe.geto(1).result(W)


def test_an_echo_shows_that_the_controller_was_switched_off(scripted: Scripted) -> None:
    """Behind a serial port nothing else does: the port stays open, and it answers at once."""
    link = scripted(
        [
            *OPENED,
            *SET_UP,
            (b"geto 1\r\n", b"geto 1\r\nvoltage = 0.000000 V\r\n" + OK + b"> "),
            (b"echo off\r\n", b"echo off\r\n" + OK + b"> "),
            *IN_STEP,
            said("geta 1", "voltage = 0.000000 V"),
        ]
    )
    probe = Anc300(link, axes=(1,), timeout_s=0.05)
    set_up(probe)
    with pytest.raises(ProtocolError, match="echoes 'geto 1': the controller was switched off"):
        probe.geto(1).result(W)
    with pytest.raises(TransportError, match="offset of axis 1 was 60 V"):
        probe.geto(1).result(W)


def test_a_setting_whose_answer_was_lost_may_be_the_old_or_the_new_one(
    scripted: Scripted,
) -> None:
    link = scripted(
        [
            *OPENED,
            *SET_UP[:2],
            (b"setf 1 500\r\n", b""),  # lost
            said("echo off"),
            *IN_STEP,
            said("getf 1", "frequency = 500 Hz"),
            said("setm 1 gnd"),
        ]
    )
    probe = Anc300(link, axes=(1,), timeout_s=0.05)
    probe.open().result(W)
    probe.setf(1, 1000).result(W)
    with pytest.raises(TransportTimeout):
        probe.setf(1, 500).result(W)
    probe.setm(1, "gnd").result(W)


@pytest.mark.parametrize(
    ("found", "right"), [("60.001100", True), ("6.000000", False), ("0.000000", False)]
)
def test_an_offset_that_was_not_taken_is_told(scripted: Scripted, found: str, right: bool) -> None:
    """An OK alone does not tell which offset was heard; half a step of the output is no matter."""
    read = said("geta 1", f"voltage = {found} V")
    probe = Anc300(scripted([said("seta 1 60.000000"), read]), axes=(1,))
    future = probe.seta(1, 60.0)
    if right:
        future.result(W)
        return
    with pytest.raises(InstrumentError, match=f"reads back {found}: the message was damaged"):
        future.result(W)


@pytest.mark.parametrize("now", ["40.000000", "60.000000", "20.000000"])
def test_an_offset_that_reads_back_as_no_number_may_be_the_old_or_the_new(now: str) -> None:
    """The answer was damaged: that says nothing of the offset, and must not break the next look."""

    class Asked(Console):
        """A console that answers, in turn, what it is to answer."""

        def __init__(self) -> None:
            super().__init__("probe", None, 1.0)
            self.offsets = ["40.000000", "60.0p0000", now]

        def request(self, transport: Transport, command: str) -> list[str]:
            asks = command.startswith("geta")
            return [f"voltage = {self.offsets.pop(0)} V"] if asks else []

    wire: Any = None
    memory = SettingsMemory(Asked())
    memory.set(wire, "a", 3, "40.000000")
    with pytest.raises(InstrumentError, match=r"reads back 60\.0p0000"):
        memory.set(wire, "a", 3, "60.000000")
    if now != "20.000000":
        memory.restore(wire)
        return
    with pytest.raises(InstrumentError, match=r"was 40 or 60 V and is now 20\.000000 V"):
        memory.restore(wire)


@pytest.mark.parametrize("axis", [1, 2])
def test_another_controller_of_the_same_make(scripted: Scripted, axis: int) -> None:
    """Its version is the same; a module is not."""
    modules = {1: "ANM300A-M-1545-3010041", 2: "ANM300A-M-1545-3010042"}
    asked = {k: said(f"getser {k}", module) for k, module in modules.items()}
    other = {**asked, axis: said(f"getser {axis}", "ANM300A-M-1545-3019999")}
    word = [other[2], other[1], other[1]]
    link = scripted(
        [
            *OPENED[:2],
            *asked.values(),
            (b"geto 1\r\n", b""),  # lost
            said("echo off"),
            OPENED[1],
            *(word[:1] if axis == 2 else word[:2]),
        ]
    )
    probe = Anc300(link, axes=(1, 2), timeout_s=0.05)
    probe.open().result(W)
    with pytest.raises(TransportTimeout):
        probe.geto(1).result(W)
    with pytest.raises(IdentityError, match=f"was 'ANM.*301004{axis}' and is now 'ANM.*9999'"):
        probe.geto(1).result(W)


def test_an_answer_without_a_number(scripted: Scripted) -> None:
    probe = Anc300(scripted([(b"getf 1\r\n", b"frequency = ? Hz\r\n" + OK)]))
    with pytest.raises(ProtocolError, match="no number"):
        probe.getf(1).result(W)


@pytest.mark.parametrize(
    "call",
    [
        lambda probe: probe.seta(1, 150.1),
        lambda probe: probe.seta(1, -0.1),
        lambda probe: probe.setv(1, 200.0),
        lambda probe: probe.setf(1, 0),
        lambda probe: probe.setm(1, "fly"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(
    scripted: Scripted, call: Callable[[Anc300], object]
) -> None:
    probe = Anc300(scripted([]))
    with pytest.raises(LimitError, match=r"^device: "):
        call(probe)


@settings(deadline=None)  # machines in use are slow at times
@given(st.binary())
def test_telnet_bytes_leave_text_only(data: bytes) -> None:
    assert all(byte < 0x80 for byte in strip_telnet(data))


@settings(deadline=None)  # machines in use are slow at times
@given(st.text(alphabet=st.characters(max_codepoint=0x7F)))
def test_plain_text_passes_the_telnet_filter(text: str) -> None:
    assert strip_telnet(text.encode()) == text.encode()


def test_subnegotiation_is_left_out() -> None:
    assert strip_telnet(b"a\xff\xfa\x18\x01\xff\xf0b\xff\xf9c") == b"abc"


@settings(deadline=None)  # machines in use are slow at times
@given(st.floats(min_value=0.0, max_value=150.0))
def test_any_voltage_survives_the_wire(volts: float) -> None:
    assert float(parse_value([f"voltage = {volts:.6f} V"], "voltage")) == pytest.approx(
        volts, abs=1e-6
    )
