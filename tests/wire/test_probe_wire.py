"""The console of the simulated ANC300, byte for byte.

Sources: the command list of the ANC300's manual; exchanges that users of the instrument recorded
(prompt after each reply with the echo on, ``frequency = ... Hz`` ending in LF alone, the greeting
and the masked password of the network console).
"""

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.simulators.clock import HandClock, WallClock
from stmtem_control.simulators.probe import ProbeController
from stmtem_control.simulators.server import Channel, PtyEndpoint, TcpEndpoint

GREETING = (
    b"attocube ANC300 controller version 1.1.0-1304 2013-10-17 08:16\r\n"
    b"ANC150 compatibillity console\r\n"
    b"\r\n"
    b"Authorization code: "
)
TABLE = [
    (
        b"ver",
        b"attocube ANC300 controller version 1.1.0-1304 2013-10-17 08:16\r\n"
        b"ANC150 compatibillity console\r\nOK\r\n",
    ),
    (b"getcser", b"ANC300B-C-1514-3006076\r\nOK\r\n"),
    (b"getser 1", b"ANM300A-M-1545-3010041\r\nOK\r\n"),
    (b"getser 4", b"Wrong axis type\r\nERROR\r\n"),
    (b"getm 7", b"Wrong axis type\r\nERROR\r\n"),
    (b"getm 1", b"mode = gnd\r\nOK\r\n"),
    (b"setm 1 stp", b"OK\r\n"),
    (b"setm 1 stp+", b"OK\r\n"),
    (b"setf 1 210", b"OK\r\n"),
    (b"setf 1 210.000", b"OK\r\n"),
    (b"getf 1", b"frequency = 1000 Hz\nOK\r\n"),
    (b"setv 1 33.000", b"OK\r\n"),
    (b"getv 1", b"voltage = 30.000000 V\r\nOK\r\n"),
    (b"seta 1 12.5", b"OK\r\n"),
    (b"geta 1", b"voltage = 0.000000 V\r\nOK\r\n"),
    (b"geto 1", b"voltage = 0.000000 V\r\nOK\r\n"),
    (b"getc 1", b"capacitance = ?\r\nOK\r\n"),
    (b"capw 1", b"capacitance = 0.000000 nF\r\nOK\r\n"),
    (b"stepu 1 15", b"Axis in wrong mode\r\nERROR\r\n"),
    (b"stepw 1", b"OK\r\n"),
    (b"stop 1", b"OK\r\n"),
    (b"getaci 1", b"acin = off\r\nOK\r\n"),
    (b"getdci 1", b"dcin = off\r\nOK\r\n"),
    (b"gettu 1", b"trigger = off\r\nOK\r\n"),
    (b"settd 1 7", b"OK\r\n"),
    (b"getpu 1", b"".join(b"%d\r\n" % n for n in range(256)) + b"OK\r\n"),
    (b"getpd 1", b"".join(b"%d\r\n" % n for n in reversed(range(256))) + b"OK\r\n"),
]
REFUSED = [
    b"nonsense",
    b"getm",
    b"getm x",
    b"getm 0",
    b"setm 1",
    b"setm 1 fly",
    b"setf 1 0",
    b"setf 1 10001",
    b"setv 1 -1",
    b"setv 1 150.1",
    b"seta 1 151",
    b"seta 1 nan",
    b"setpu 1 1 2 3",
    b"settu 1 8",
    b"setaci 1 maybe",
    b"setfil 1 1600",
    b"setto 4 1",
    b"echo maybe",
]


class _Still:
    """A mount that nothing moves."""

    def step(self, axis: int, nm: float) -> None:
        raise AssertionError("nothing should move")

    def bend(self, axis: int, nm: float) -> None:
        pass

    def capacitance_nF(self, axis: int) -> float:
        return 1020.173401


class _Wire(Channel):
    """A client that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__("test")
        self.heard = b""
        self.hung_up = False

    def _write(self, data: bytes) -> None:
        self.heard += data

    def hang_up(self) -> None:
        self.hung_up = True

    def take(self) -> bytes:
        heard, self.heard = self.heard, b""
        return heard


def attached() -> tuple[ProbeController, _Wire]:
    probe = ProbeController(HandClock(), _Still())
    wire = _Wire()
    probe.console.opened(wire)
    return probe, wire


def logged_in() -> tuple[ProbeController, _Wire]:
    probe = ProbeController(HandClock(), _Still())
    wire = _Wire()
    probe.network.opened(wire)
    assert wire.take().endswith(GREETING)
    return probe, wire


@pytest.mark.parametrize(("request_line", "reply"), TABLE)
def test_reply_with_echo_off(request_line: bytes, reply: bytes) -> None:
    probe, wire = attached()
    probe.console.received(wire, b"echo off\r\n")
    assert wire.take() == b"echo off\r\nOK\r\n"
    probe.console.received(wire, request_line + b"\r\n")
    assert wire.take() == reply


@pytest.mark.parametrize(("request_line", "reply"), TABLE)
def test_reply_with_echo_on(request_line: bytes, reply: bytes) -> None:
    probe, wire = attached()
    probe.console.received(wire, request_line + b"\r\n")
    assert wire.take() == request_line + b"\r\n" + reply + b"> "


@pytest.mark.parametrize("request_line", REFUSED)
def test_refused_with_a_message_and_error(request_line: bytes) -> None:
    probe, wire = attached()
    probe.console.received(wire, b"echo off\r\n" + request_line + b"\r\n")
    message, error, rest = wire.take().removeprefix(b"echo off\r\nOK\r\n").split(b"\r\n")
    assert message.strip()
    assert (error, rest) == (b"ERROR", b"")


def test_echo_can_be_switched_on_again() -> None:
    probe, wire = attached()
    probe.console.received(wire, b"echo off\r\nstop 1\r\necho on\r\nstop 1\r\n")
    assert wire.take() == b"echo off\r\nOK\r\nOK\r\nOK\r\n> stop 1\r\nOK\r\n> "


def test_what_is_typed_is_echoed_as_it_comes() -> None:
    probe, wire = attached()
    for key in (b"s", b"t", b"p", b"\x7f", b"o", b"p", b" 1"):
        probe.console.received(wire, key)
    assert wire.take() == b"stp\b \bop 1"
    probe.console.received(wire, b"\r")
    assert wire.take() == b"\r\nOK\r\n> "


@pytest.mark.parametrize("end", [b"\r\n", b"\r", b"\n"])
def test_line_ends(end: bytes) -> None:
    probe, wire = attached()
    probe.console.received(wire, b"echo off" + end + b"getm 1" + end + b"getm 1" + end)
    assert wire.take() == b"echo off\r\nOK\r\n" + 2 * b"mode = gnd\r\nOK\r\n"


def test_help_names_every_command() -> None:
    probe, wire = attached()
    probe.console.received(wire, b"echo off\r\nhelp\r\n")
    reply = wire.take()
    for request_line, _ in TABLE:
        assert request_line.split()[0] in reply


@given(
    st.lists(st.sampled_from([line for line, _ in TABLE if b"w" not in line[:5]]), max_size=5),
    st.lists(st.integers(1, 20), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_requests_may_be_cut_anywhere(lines: list[bytes], cuts: list[int]) -> None:
    data = b"echo off\r\n" + b"".join(line + b"\r\n" for line in lines)
    heard = []
    for sizes in (cuts, [len(data)]):
        probe, wire = attached()
        start = turn = 0
        while start < len(data):
            size = sizes[turn % len(sizes)]
            probe.console.received(wire, data[start : start + size])
            start, turn = start + size, turn + 1
        heard.append(wire.take())
    assert heard[0] == heard[1]


def test_two_consoles_share_the_instrument_but_not_the_echo() -> None:
    probe, serial = attached()
    network = _Wire()
    probe.network.opened(network)
    probe.network.received(network, b"123456\r\necho off\r\nsetm 2 stp\r\n")
    probe.console.received(serial, b"getm 2\r\n")
    assert serial.take() == b"getm 2\r\nmode = stp\r\nOK\r\n> "


def test_network_login() -> None:
    probe, wire = logged_in()
    probe.network.received(wire, b"123456\r\n")
    assert wire.take() == b"******\r\nAuthorization success\r\n> "
    probe.network.received(wire, b"echo off\r\n")
    assert wire.take() == b"echo off\r\nOK\r\n"


def test_network_greets_with_telnet_negotiation() -> None:
    probe = ProbeController(HandClock(), _Still())
    wire = _Wire()
    probe.network.opened(wire)
    greeting = wire.take()
    negotiation = greeting.removesuffix(GREETING)
    assert negotiation[0] == 0xFF
    assert len(negotiation) % 3 == 0


def test_wrong_password_is_refused_and_nothing_else_is_heard() -> None:
    probe, wire = logged_in()
    probe.network.received(wire, b"guess\r\n")
    assert wire.take() == b"*****\r\nAuthorization failed\r\nAuthorization code: "
    probe.network.received(wire, b"setm 1 stp\r\n")
    assert b"OK" not in wire.take()
    assert not wire.hung_up
    probe.network.received(wire, b"\r\n")
    assert wire.hung_up
    assert probe.axes[0].mode == "gnd"


def test_telnet_answers_are_no_input() -> None:
    probe, wire = logged_in()
    answers = b"\xff\xfd\x01\xff\xfd\x03\xff\xfa\x18\x00xterm\xff\xf0"
    data = answers + b"1234\xff\xf156\r\x00" + b"echo off\r\n"
    for place in range(len(data)):
        probe.network.received(wire, data[place : place + 1])
    assert wire.take() == b"******\r\nAuthorization success\r\n> echo off\r\nOK\r\n"


def _read_until(connection: socket.socket, end: bytes) -> bytes:
    heard = b""
    while not heard.endswith(end):
        data = connection.recv(4096)
        assert data, heard
        heard += data
    return heard


def test_a_stop_over_the_network_ends_stepw_on_another_connection() -> None:
    clock = WallClock()
    probe = ProbeController(clock, _Anything())
    endpoint = TcpEndpoint(probe.network)
    with (
        socket.create_connection((endpoint.host, endpoint.port), 5.0) as first,
        socket.create_connection((endpoint.host, endpoint.port), 5.0) as second,
    ):
        for connection in (first, second):
            connection.sendall(b"123456\r\necho off\r\n")
            _read_until(connection, b"OK\r\n")
        first.sendall(b"setm 1 stp\r\nstepu 1 c\r\n")
        _read_until(first, b"OK\r\nOK\r\n")
        first.sendall(b"stepw 1\r\nstop 2\r\n")
        assert probe.moving
        second.sendall(b"stop 1\r\n")
        assert _read_until(second, b"\r\n") == b"OK\r\n"
        assert _read_until(first, b"OK\r\nOK\r\n") == b"OK\r\nOK\r\n"
        assert not probe.moving
    probe.close()
    endpoint.close()
    clock.close()


@pytest.mark.parametrize("first", ["controller", "clock"])
def test_close_releases_a_console_that_waits(first: str) -> None:
    clock = WallClock()
    probe = ProbeController(clock, _Anything())
    endpoint, terminal = TcpEndpoint(probe.network), PtyEndpoint(probe.console)
    with socket.create_connection((endpoint.host, endpoint.port), 5.0) as connection:
        connection.sendall(b"123456\r\necho off\r\nsetm 1 stp\r\nstepu 1 c\r\nstepw 1\r\n")
        _read_until(connection, b"OK\r\nOK\r\nOK\r\n")
        if first == "controller":
            probe.close()
            assert _read_until(connection, b"OK\r\n") == b"OK\r\n"
        else:
            clock.close()
        endpoint.close()
    terminal.close()
    probe.close()
    clock.close()
    assert clock.failure is None


class _Anything(_Still):
    """A mount that may be moved."""

    def step(self, axis: int, nm: float) -> None:
        pass
