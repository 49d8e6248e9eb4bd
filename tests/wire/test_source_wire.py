"""The simulated source on its wires, byte for byte.

Sources: 2400 Series user's manual (2400S-900-01): sections 14 (message syntax, RS-232), 15 and 16
(status, common commands), 17 and 18 (commands), figure 18-1 (reading string), appendix B (error
messages); an ``*IDN?`` answer and reset values that users recorded.
"""

import re
import socket
from collections.abc import Iterator

import pytest
import serial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.clock import HandClock, WallClock
from stmtem_control.simulators.server import Channel, PtyEndpoint, TcpEndpoint

NO_ERROR = b'0,"No error"\n'

# What is sent, and all that comes back; each line on a source that has just been switched on.
TABLE = [
    (
        b"*IDN?",
        b"KEITHLEY INSTRUMENTS INC.,MODEL 2400,1175680,C30   Mar 17 2006 09:29:29/A02  /K/J",
    ),
    (b"*OPC?", b"1"),
    (b"*RST;*OPC?", b"1"),
    (b":SYST:ERR?", b'0,"No error"'),
    (b":STAT:QUE?", b'0,"No error"'),
    (b"NOSUCH;:SYST:ERR?", b""),
    (b":SYST:VERS?", b"1996.0"),
    (b":OUTP?", b"0"),
    (b":OUTP ON;:OUTP?", b"1"),
    (b":OUTPUT1:STATE 1;STATE?", b"1"),
    (b"outp on;outp?", b"1"),
    (b":OUTP:SMOD?", b"NORM"),
    (b":OUTP:SMOD HIMPEDANCE;SMOD?", b"HIMP"),
    (b":SOUR:FUNC?", b"VOLT"),
    (b":SOUR:FUNC:MODE CURR;MODE?", b"CURR"),
    (b":SOUR:VOLT:MODE?", b"FIX"),
    (b":SOUR:VOLT:RANG?", b"2.100000E+01"),
    (b":SENS:CURR:RANG?", b"1.050000E-04"),
    (b":SENS:CURR:PROT?", b"1.050000E-04"),
    (b":SENS:CURR:PROT:TRIP?", b"0"),
    (b":SENS:FUNC?", b'"CURR:DC"'),
    (b":SENS:FUNC 'VOLT', \"CURR\";FUNC?", b'"VOLT:DC","CURR:DC"'),
    (b":SENS:AVER:COUN?;:SYST:LFR?;:TRIG:COUN?", b"10;50;1"),
    (b":FORM:ELEM?", b"VOLT,CURR,RES,TIME,STAT"),
    (b":FORMAT:ELEMENTS VOLTAGE, CURRENT;:FORM:ELEM?", b"VOLT,CURR"),
    (b":SOUR2:TTL?", b"15"),
    (b":SOUR2:TTL 9;TTL:ACT?", b"9"),
    (b"*STB?;*ESE?;*SRE?", b"0;0;0"),
    (b"*ESR?;*ESR?", b"128;0"),
    (b":STAT:OPER:COND?", b"1024"),
    (b"*ESE #H24;*ESE?", b"36"),
    (b":ARM:SOUR?;TIM?", b"IMM;1.000000E-01"),
    (b":TRIG:OUTP SENS,SOUR;OUTP?", b"SOUR,SENS"),
    (b":TRAC:POIN?;POIN:ACT?", b"100;0"),
    (b":SOUR:SWE:POIN? MAX", b"2500"),
    (b":ROUT:TERM?", b"FRON"),
    (b":SOUR:VOLT?;*OPC?;VOLT?", b"0.000000E+00;1;0.000000E+00"),
    (b"READ?", b""),
    (b"FETC?", b""),
    (b"NOSUCH?", b""),
    (b"*LANG?", b""),
    (b"*STB?;NOSUCH?;*STB?", b"0"),
    (b"", b""),
    (b" ; ", b""),
]

# What is sent, and what the error queue then holds.
ERRORS = [
    (b":NOSUCH 1", b'-113,"Undefined header"'),
    (b":SOUR:VOLT", b'-109,"Missing parameter"'),
    (b"*RST 1", b'-108,"Parameter not allowed"'),
    (b":SOUR:VOLT 211", b'-222,"Parameter data out of range"'),
    (b":SENS:FUNC 'VOLT", b'-151,"Invalid string data"'),
    (b":ARM:COUN 100;:TRIG:COUN 100", b'-221,"Settings conflict"'),
    (b":FETC?", b'-230,"Data corrupt or stale"'),
    (b"*TRG", b'-211,"Trigger ignored"'),
    (b":READ?", b'+803,"Not permitted with OUTPUT off"'),
    (b":SENS:CURR:PROT 1e-9", b'+822,"Too small for sense range"'),
    (b":SENS:CURR:RANG 1", b'+824,"Cannot exceed compliance range"'),
    (b":TRAC:FEED:CONT NEXT;:TRAC:POIN 2", b'+800,"Illegal with storage active"'),
]


class _Resistor:
    """1 GOhm on the terminals."""

    def __init__(self, clock: HandClock | WallClock) -> None:
        self.clock = clock
        self.amps = self.coulombs = self.since = 0.0

    def charge(self) -> float:
        now = self.clock.now()
        self.coulombs += self.amps * (now - self.since)
        self.since = now
        return self.coulombs

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.charge()
        self.amps = max(-compliance_A, min(compliance_A, (volts or 0.0) / 1e9))

    def voltage(self) -> float:
        return self.amps * 1e9

    def limiting(self) -> bool:
        return False

    def noise(self, bandwidth_Hz: float) -> float:
        return 0.0


class _Recorder(Channel):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.got = b""

    def _write(self, data: bytes) -> None:
        self.got += data


def _made(kind: str = "tcp") -> tuple[SourceMeter, _Recorder]:
    clock = HandClock()
    source = SourceMeter(clock, _Resistor(clock), model="2400", serial_number="1175680")
    channel = _Recorder(kind)
    source.opened(channel)
    return source, channel


@pytest.mark.parametrize(("request_", "reply"), TABLE)
def test_requests_and_replies(request_: bytes, reply: bytes) -> None:
    source, channel = _made()
    source.received(channel, request_ + b"\n")
    assert channel.got == (reply + b"\n" if reply else b"")


@pytest.mark.parametrize(("request_", "error"), ERRORS)
def test_errors(request_: bytes, error: bytes) -> None:
    source, channel = _made()
    source.received(channel, request_ + b"\n")
    assert channel.got == b""
    source.received(channel, b":SYST:ERR?\n:SYST:ERR?\n")
    assert channel.got == error + b"\n" + NO_ERROR


def test_a_reading_has_the_form_of_the_manual_s_figure() -> None:
    source, channel = _made()
    source.received(channel, b":SENS:FUNC:OFF 'RES';:SOUR:VOLT 1;:OUTP ON;:READ?\n")
    number = rb"[+-]\d\.\d{6}E[+-]\d\d"
    assert re.fullmatch(rb",".join([number] * 5) + rb"\n", channel.got)
    assert channel.got.split(b",")[2] == b"+9.910000E+37"
    channel.got = b""
    source.received(channel, b":TRIG:COUN 3;:FORM:ELEM VOLT,STAT;:READ?\n")
    assert channel.got == b",".join([b"+1.000000E+00,+2.048400E+04"] * 3) + b"\n"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\r"]))
def test_bytes_may_come_cut_anywhere(data: st.DataObject, ending: bytes) -> None:
    messages = [b"*IDN?", b":OUTP ON;:OUTP?", b"NOSUCH", b":SYST:ERR?", b":SOUR:VOLT 2;VOLT?"]
    stream = b"".join(message + ending for message in messages)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    source, channel = _made()
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        source.received(channel, stream[start:stop])
    assert channel.got.endswith(b'\n1\n-113,"Undefined header"\n2.000000E+00\n')
    assert channel.got.count(b"\n") == 4


@pytest.mark.parametrize(
    ("ending", "reply_ending"),
    [(b"\r", b"\r"), (b"\n", b"\n"), (b"\r\n", b"\r\n"), (b"\n\r", b"\n\r")],
)
def test_the_serial_port_ends_replies_as_its_client_ends_messages(
    ending: bytes, reply_ending: bytes
) -> None:
    source, channel = _made("pty")
    source.received(channel, b"*OPC?" + ending)
    source.received(channel, b":OUTP?" + ending)
    assert channel.got == b"1" + reply_ending + b"0" + reply_ending


def test_a_fixed_serial_terminator_is_kept() -> None:
    clock = HandClock()
    source = SourceMeter(clock, _Resistor(clock), serial_terminator="\r\n")
    channel = _Recorder("pty")
    source.opened(channel)
    source.received(channel, b"*OPC?\r*OPC?\n")
    assert channel.got == b"1\r\n1\r\n"


def test_clients_do_not_mix() -> None:
    source, first = _made()
    second = _Recorder("pty")
    source.opened(second)
    source.received(first, b":SOUR:VO")
    source.received(second, b"*OPC?\r")
    source.received(first, b"LT 3;VOLT?\n")
    assert (first.got, second.got) == (b"3.000000E+00\n", b"1\r")


def test_a_break_drops_what_was_sent_and_ends_what_runs() -> None:
    source, channel = _made("pty")
    source.received(channel, b":ARM:SOUR BUS;:OUTP ON\r:READ?\r:SOUR:VOLT 9\r:SOUR:VO\x03*OPC?\r")
    assert channel.got == b"1\r"
    source.received(channel, b":SOUR:VOLT?\r:SYST:ERR?\r")
    assert channel.got == b'1\r0.000000E+00\r0,"No error"\r'


def test_a_message_without_end_is_refused() -> None:
    source, channel = _made()
    for _ in range(70):
        source.received(channel, b"A" * 1024)
    source.received(channel, b"\n:SYST:ERR?\n")
    assert channel.got == b'-363,"Input buffer overrun"\n'


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_is_answered_by_errors_only(garbage: bytes) -> None:
    source, channel = _made()
    source.received(channel, garbage + b"\n")
    channel.got = b""
    source.received(channel, b"*RST;*CLS;*OPC?\n")
    assert channel.got == b"1\n"


@pytest.fixture
def wires() -> Iterator[tuple[SourceMeter, TcpEndpoint, PtyEndpoint]]:
    clock = WallClock()
    source = SourceMeter(clock, _Resistor(clock))
    tcp, pty = TcpEndpoint(source), PtyEndpoint(source)
    yield source, tcp, pty
    tcp.close()
    pty.close()
    source.close()
    clock.close()
    assert clock.failure is None


def test_over_a_socket(wires: tuple[SourceMeter, TcpEndpoint, PtyEndpoint]) -> None:
    _, tcp, _ = wires
    with socket.create_connection((tcp.host, tcp.port), timeout=5) as connection:
        connection.sendall(b"*RST;:SOUR:VOLT 1;:OUTP ON;:FORM:ELEM VOLT;:READ?\n")
        assert connection.recv(100) == b"+1.000000E+00\n"


def test_over_a_serial_line(wires: tuple[SourceMeter, TcpEndpoint, PtyEndpoint]) -> None:
    _, _, pty = wires
    with serial.Serial(pty.path, 9600, timeout=5) as port:
        port.write(b"*OPC?\r")
        assert port.read_until(b"\r") == b"1\r"
        port.write(b":SOUR:VOLT 1;:OUTP ON;:FORM:ELEM VOLT;:READ?\r")
        assert port.read_until(b"\r") == b"+1.000000E+00\r"


@pytest.mark.parametrize("stop", [b":ABOR", b":OUTP OFF", b":OUTP OFF;:ABOR"])
def test_a_second_client_stops_a_long_reading(
    wires: tuple[SourceMeter, TcpEndpoint, PtyEndpoint], stop: bytes
) -> None:
    source, tcp, pty = wires
    with (
        socket.create_connection((tcp.host, tcp.port), timeout=5) as connection,
        serial.Serial(pty.path, 9600, timeout=5) as port,
    ):
        connection.sendall(b":SENS:CURR:NPLC 10;:TRIG:COUN 100;:OUTP ON;*OPC?;:READ?\n")
        while not source.output_on:
            port.write(b"")
        port.write(stop + b";*OPC?\r")
        assert port.read_until(b"\r") == b"1\r"
        assert source.output_on is (stop == b":ABOR")
        assert connection.recv(100) == b"1\n"  # of *OPC?; the reading has no answer
        connection.sendall(b":SYST:ERR?\n")
        assert connection.recv(100) == NO_ERROR


def test_a_serial_client_breaks_its_own_reading(
    wires: tuple[SourceMeter, TcpEndpoint, PtyEndpoint],
) -> None:
    _, _, pty = wires
    with serial.Serial(pty.path, 9600, timeout=5) as port:
        port.write(b":SENS:CURR:NPLC 10;:TRIG:COUN 100;:OUTP ON;:READ?\r")
        port.write(b"\x18:OUTP OFF;:OUTP?\r")
        assert port.read_until(b"\r") == b"0\r"
