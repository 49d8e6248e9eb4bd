"""Sweeps, lists, memories, trigger layers, and how an operation is stopped."""

import threading
from collections.abc import Iterator

import pytest

from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.clock import Clock, HandClock, WallClock
from stmtem_control.simulators.lines import wire
from stmtem_control.simulators.server import Channel


class _Load:
    """A resistor of 1 GOhm that keeps a chart of how it was driven."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.chart: list[tuple[float, float | None]] = []
        self.limit = 0.0
        self.coulombs = self.since = 0.0

    def _amps(self) -> float:
        volts = self.chart[-1][1] if self.chart else None
        return 0.0 if volts is None else max(-self.limit, min(self.limit, volts / 1e9))

    def charge(self) -> float:
        now = self.clock.now()
        self.coulombs += self._amps() * (now - self.since)
        self.since = now
        return self.coulombs

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.charge()
        self.limit = compliance_A
        if not self.chart or self.chart[-1][1] != volts:
            self.chart.append((self.clock.now(), volts))

    def voltage(self) -> float:
        return self._amps() * 1e9

    def limiting(self) -> bool:
        volts = self.chart[-1][1]
        return volts is not None and abs(volts) / 1e9 > self.limit

    def noise(self, bandwidth_Hz: float) -> float:
        return 0.0


class _Recorder(Channel):
    def __init__(self, kind: str = "tcp") -> None:
        super().__init__(kind)
        self.got = b""
        self.answered = threading.Event()

    def _write(self, data: bytes) -> None:
        self.got += data
        self.answered.set()


class _Desk:
    def __init__(self, clock: Clock) -> None:
        self.load = _Load(clock)
        self.source = SourceMeter(clock, self.load)
        self.channel = _Recorder()
        self.source.opened(self.channel)

    def send(self, message: str, channel: _Recorder | None = None) -> None:
        self.source.received(channel or self.channel, message.encode() + b"\n")

    def ask(self, message: str) -> str:
        self.channel.got = b""
        self.send(message)
        return self.channel.got.decode().strip()

    def numbers(self, message: str) -> list[float]:
        return [float(part) for part in self.ask(message).split(",")]

    def volts(self) -> list[float | None]:
        return [volts for _, volts in self.load.chart]

    def pulses(self, line: int) -> list[tuple[float, bool]]:
        """Record the edges of a trigger link output."""
        seen: list[tuple[float, bool]] = []
        clock = self.load.clock
        self.source.trigger_out[line - 1].listen(lambda level: seen.append((clock.now(), level)))
        return seen


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def desk(clock: HandClock) -> Iterator[_Desk]:
    made = _Desk(clock)
    made.send("FORM:ELEM VOLT;:SYST:AZER OFF;:SENS:CURR:NPLC 0.1;:SOUR:VOLT:RANG 20")
    made.load.chart.clear()
    yield made
    made.source.close()


def test_a_linear_sweep(desk: _Desk) -> None:
    desk.send("SOUR:VOLT:STAR -1;STOP 1;STEP 0.5;MODE SWE;:TRIG:COUN 5;:OUTP ON")
    assert desk.ask("SOUR:SWE:POIN?") == "5"
    assert desk.numbers("READ?") == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert desk.numbers("SOUR:SWE:DIR DOWN;:READ?") == [1.0, 0.5, 0.0, -0.5, -1.0]
    assert desk.numbers("SOUR:SWE:POIN 3;DIR UP;:TRIG:COUN 4;:READ?") == [-1.0, 0.0, 1.0, -1.0]
    assert desk.numbers("SOUR:VOLT:STEP?") == [1.0]
    assert desk.numbers("SOUR:VOLT:CENT 2;SPAN?") == [2.0]
    assert desk.numbers("TRIG:COUN 3;:READ?") == [1.0, 2.0, 3.0]


def test_a_logarithmic_sweep(desk: _Desk) -> None:
    desk.send("SOUR:VOLT:STAR 0.01;STOP 10;MODE SWE;:SOUR:SWE:SPAC LOG;POIN 4;:TRIG:COUN 4")
    assert desk.numbers("OUTP ON;:READ?") == pytest.approx([0.01, 0.1, 1.0, 10.0])
    desk.send("SOUR:VOLT:STAR -1;:READ?")
    assert desk.ask("SYST:ERR?") == '-221,"Settings conflict"'


def test_a_list_is_run_point_by_point(desk: _Desk, clock: HandClock) -> None:
    desk.send("SOUR:LIST:VOLT -5, 5,0;:SOUR:VOLT:MODE LIST;:TRIG:COUN 3;:SOUR:DEL 0.1;:OUTP ON")
    assert desk.ask("SOUR:LIST:VOLT:POIN?;:SOUR:LIST:VOLT?") == (
        "3;-5.000000E+00,+5.000000E+00,+0.000000E+00"
    )
    desk.load.chart.clear()
    assert desk.numbers("READ?") == [-5.0, 5.0, 0.0]
    times = [time for time, _ in desk.load.chart]
    assert desk.volts() == [-5.0, 5.0, 0.0]
    each = times[1] - times[0]
    assert each == pytest.approx(0.1 + 0.002 + 185e-6 + 0.64e-3)
    assert times[2] - times[1] == pytest.approx(each)
    assert desk.source.level == 0.0  # and stays where the list ends
    assert desk.numbers("SOUR:LIST:VOLT:STAR 2;:READ?") == [5.0, 0.0, -5.0]


def test_a_long_list_is_appended(desk: _Desk) -> None:
    desk.send("SOUR:LIST:VOLT " + ",".join(["1"] * 100))
    for _ in range(24):
        desk.send("SOUR:LIST:VOLT:APP " + ",".join(["2"] * 100))
    assert desk.ask("SOUR:LIST:VOLT:POIN?;:SYST:ERR?") == '2500;0,"No error"'
    desk.send("SOUR:LIST:VOLT:APP 3")
    assert desk.ask("SOUR:LIST:VOLT:POIN?;:SYST:ERR?") == '2500;-223,"Too much data"'


def test_an_empty_list_cannot_be_run(desk: _Desk) -> None:
    desk.send("SOUR:VOLT:MODE LIST;:OUTP ON;:INIT")
    assert desk.ask("SYST:ERR?") == '+801,"Insufficient vector data"'


def test_source_memories_are_swept(desk: _Desk) -> None:
    for place, volts in enumerate((1, 4, 2), 1):
        desk.send(f"SOUR:VOLT {volts};:SENS:CURR:NPLC {place};:SOUR:MEM:SAVE {place}")
    desk.send("SOUR:VOLT 0;:SOUR:FUNC MEM;:SOUR:MEM:POIN 3;STAR 1;:TRIG:COUN 3;:OUTP ON")
    assert desk.ask("SOUR:FUNC?") == "MEM"
    assert desk.numbers("READ?") == [1.0, 4.0, 2.0]
    assert desk.numbers("SENS:CURR:NPLC?") == [3.0]
    desk.send("SOUR:FUNC VOLT;:SOUR:MEM:REC 2")
    assert desk.ask("SOUR:FUNC?") == "VOLT"
    assert desk.source.level == 4.0


@pytest.mark.parametrize(("kind", "points"), [("NEV", 5), ("LATE", 3), ("EARL", 2)])
def test_a_sweep_can_end_at_compliance(desk: _Desk, kind: str, points: int) -> None:
    # 1 GOhm and 2.5 nA: the third point, 3 V, is limited
    desk.send("SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 2.5e-9")
    desk.send(f"SOUR:VOLT:STAR 1;STOP 5;STEP 1;MODE SWE;:SOUR:SWE:CAB {kind};:TRIG:COUN 5")
    desk.send("OUTP ON;:INIT")
    assert desk.ask("*OPC?") == "1"
    assert desk.numbers("FETC?") == [1.0, 2.0, 3.0, 4.0, 5.0][:points]


@pytest.mark.parametrize("event", ["SOUR", "DEL", "SENS"])
def test_output_triggers_come_after_their_phase(desk: _Desk, event: str) -> None:
    seen = desk.pulses(3)
    desk.send(f"TRIG:OLIN 3;OUTP {event};COUN 4;:SOUR:DEL 0.05;:OUTP ON;:READ?")
    assert [level for _, level in seen] == [False, True] * 4
    falls = [time for time, level in seen if not level]
    each = falls[1] - falls[0]
    offset = {"SOUR": 0.0, "DEL": 0.05, "SENS": each}[event]
    assert each == pytest.approx(0.05 + 0.002 + 185e-6 + 0.64e-3)
    assert falls == pytest.approx([offset + each * n for n in range(4)])


def test_the_arm_layer_pulses_around_the_trigger_layer(desk: _Desk) -> None:
    seen = desk.pulses(1)
    desk.send("ARM:OLIN 1;OUTP TENT,TEX;COUN 2;:TRIG:COUN 3;:OUTP ON;:READ?")
    falls = [time for time, level in seen if not level]
    assert len(falls) == 4
    assert falls[0] == 0.0
    assert falls[1] == falls[2] == pytest.approx(falls[3] / 2)
    assert desk.ask("ARM:OUTP?") == "TENT,TEX"


def test_the_timer_starts_at_once_and_then_keeps_its_pace(desk: _Desk, clock: HandClock) -> None:
    desk.send("ARM:SOUR TIM;COUN 4;TIM 2;:FORM:ELEM TIME;:OUTP ON;:SYST:TIME:RES")
    times = desk.numbers("READ?")
    assert times[0] < 0.01
    # The time stamps' own timer gains 24 ms in a second.
    assert [t - times[0] for t in times] == pytest.approx([0.0, 2.048, 4.096, 6.144], abs=1e-3)


def test_a_trigger_link_edge_starts_each_point(desk: _Desk, clock: HandClock) -> None:
    desk.send("TRIG:SOUR TLIN;ILIN 4;COUN 3;:OUTP ON;:SOUR:LIST:VOLT 1,2,3;:SOUR:VOLT:MODE LIST")
    line = desk.source.trigger_in[3]
    desk.send("INIT")
    assert desk.ask("") == ""
    seen = []
    for _ in range(3):
        clock.advance(1.0)
        desk.source.trigger_in[0].pulse()  # another line
        seen.append(desk.source.level)
        line.pulse()
        seen.append(desk.source.level)
        clock.advance(1.0)
    assert seen == [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    assert desk.numbers("FETC?") == [1.0, 2.0, 3.0]


def test_pending_triggers_are_latched_until_cleared(desk: _Desk, clock: HandClock) -> None:
    desk.source.trigger_in[0].pulse()
    desk.send("TRIG:CLE;SOUR TLIN;:OUTP ON;:INIT")
    clock.advance(1.0)
    desk.send("ABOR;:FETC?")
    assert desk.ask("SYST:ERR?") == '-230,"Data corrupt or stale"'
    desk.source.trigger_in[0].pulse()
    assert len(desk.numbers("READ?")) == 1


def test_the_first_pass_may_go_around_the_detector(desk: _Desk) -> None:
    seen = desk.pulses(2)
    desk.send("TRIG:SOUR TLIN;DIR SOUR;:OUTP ON")
    assert len(desk.numbers("READ?")) == 1
    assert len(seen) == 2


def test_each_action_of_a_point_can_wait(desk: _Desk, clock: HandClock) -> None:
    desk.send("TRIG:SOUR TLIN;INP SOUR,DEL,SENS;:OUTP ON;:INIT")
    assert desk.ask("") == ""
    for _ in range(3):
        desk.send("SYST:KEY 23")
        clock.advance(1.0)
        assert desk.channel.got == b""
        desk.source.trigger_in[0].pulse()
    desk.send("FETC?")
    clock.advance(1.0)
    assert desk.channel.got.startswith(b"+0.000000E+00")


def test_a_camera_and_the_source_in_a_ring(desk: _Desk, clock: HandClock) -> None:
    """The source triggers a device that triggers the source: no lock stands in the way."""
    desk.send("TRIG:SOUR TLIN;DIR SOUR;OLIN 2;ILIN 1;OUTP SENS;COUN 5;:OUTP ON")
    wire(desk.source.trigger_out[1], desk.source.trigger_in[0])
    desk.send("TRIG:CLE")
    assert len(desk.numbers("READ?")) == 5


@pytest.mark.parametrize(("source", "message"), [("BUS", "*TRG"), ("MAN", "SYST:KEY 20")])
def test_bus_and_key_give_the_arm_event(desk: _Desk, source: str, message: str) -> None:
    desk.send(f"ARM:SOUR {source};COUN 2;:OUTP ON;:READ?")
    desk.send(message)
    assert desk.channel.got == b""
    desk.send(message)
    assert desk.channel.got == b"+0.000000E+00,+0.000000E+00\n"
    assert desk.ask("SYST:ERR?") == '0,"No error"'


@pytest.mark.parametrize(
    ("source", "edges"), [("NST", [False]), ("PST", [False, True]), ("BST", [False])]
)
def test_the_start_of_test_line_gives_the_arm_event(
    desk: _Desk, source: str, edges: list[bool]
) -> None:
    desk.send(f"ARM:SOUR {source};:OUTP ON;:INIT")
    for level in edges[:-1]:
        desk.source.start_of_test.drive(level)
        assert desk.source._core.sequencer.due is None
    desk.source.start_of_test.drive(edges[-1])
    assert desk.source._core.sequencer.due is not None


def test_initiate_runs_by_itself(desk: _Desk, clock: HandClock) -> None:
    desk.send("SOUR:LIST:VOLT 1,2;:SOUR:VOLT:MODE LIST;:SOUR:DEL 1;:TRIG:COUN 2;:OUTP ON;:INIT")
    assert clock.now() == 0.0
    assert desk.source.level == 1.0
    clock.advance(1.5)
    assert desk.source.level == 2.0
    clock.advance(1.0)
    assert desk.ask("STAT:OPER?") == str(1 << 3 | 1 << 6 | 1 << 10)
    assert clock.now() == 2.5


def test_the_operation_register_shows_what_is_waited_for(desk: _Desk, clock: HandClock) -> None:
    registers = desk.source._core.status.operation
    assert registers.condition == 1 << 10
    desk.send("ARM:SOUR BUS;:TRIG:SOUR TLIN;:OUTP ON;:INIT")
    assert registers.condition == 1 << 6
    desk.send("*TRG")
    assert registers.condition == 1 << 5
    desk.send("ABOR")
    assert registers.condition == 1 << 10


def test_commands_wait_until_idle_in_their_order(desk: _Desk, clock: HandClock) -> None:
    other = _Recorder()
    desk.source.opened(other)
    desk.send("ARM:SOUR BUS;:OUTP ON;:INIT")
    desk.send("SOUR:VOLT 3;:SOUR:VOLT?;*OPC?")
    desk.send("*IDN?", other)
    clock.advance(100.0)
    assert desk.channel.got == other.got == b""
    desk.send("*TRG", other)
    assert desk.channel.got == b"3.000000E+00;1\n"
    assert other.got.startswith(b"KEITHLEY")


ENDS = [b":ABOR\n", b"*RST\n", b":OUTP OFF\n", b":SOUR:CLE\n", b"SYST:PRES\n", b"*RCL 0\n"]
ENDS += [b"\x03", b"\x18", b":OUTP OFF;:ABOR\n", b":SYST:KEY 24\n"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("same", [True, False])
def test_an_operation_is_ended(desk: _Desk, clock: HandClock, end: bytes, same: bool) -> None:
    other = desk.channel if same else _Recorder("pty")
    if not same:
        desk.source.opened(other)
    desk.send("ARM:COUN INF;SOUR TIM;TIM 50;:SOUR:VOLT 5;:OUTP ON;:INIT")
    desk.send("SOUR:VOLT 7")  # waits for idle, and is dropped by a break only
    clock.advance(120.0)
    assert desk.source.level == 5.0
    desk.source.received(other, end)
    assert desk.source.output_on is (end in (b":ABOR\n", b"\x03", b"\x18"))
    assert desk.source.level == (5.0 if same and end in (b"\x03", b"\x18") else 7.0)
    assert desk.ask("SYST:ERR?") == '0,"No error"'


def _five_readings_at_5_V(desk: _Desk) -> None:
    desk.send("OUTP:SMOD HIMP;:SOUR:CLE:AUTO ON;AUTO:MODE TCO;:SOUR:DEL 0.1;:TRIG:COUN 5")
    desk.send("SOUR:VOLT 5")
    desk.load.chart.clear()
    desk.send("INIT")
    assert desk.source.output_on


def test_auto_output_off_comes_with_the_end_of_the_trigger_count(
    desk: _Desk, clock: HandClock
) -> None:
    _five_readings_at_5_V(desk)
    clock.advance(0.5)
    assert desk.source.output_on
    clock.advance(0.1)
    assert not desk.source.output_on
    assert desk.numbers("FETC?") == [5.0] * 5
    assert desk.volts() == [5.0, None]


def test_an_abort_leaves_the_output_on_though_it_goes_off_by_itself(
    desk: _Desk, clock: HandClock
) -> None:
    """Section 18, :ABORt: terminated before it has had the chance to go off."""
    _five_readings_at_5_V(desk)
    clock.advance(0.25)
    assert desk.numbers("ABOR;:SENS:DATA?") == [5.0]
    assert desk.source.output_on
    clock.advance(100.0)
    assert desk.source.output_on
    # And a new start has the whole count again, without an edge on the terminals.
    for _ in range(100):
        clock.advance(0.4)
        desk.send("ABOR;:INIT")
    assert desk.volts() == [5.0]
    clock.advance(0.6)
    assert desk.volts() == [5.0, None]


@pytest.mark.parametrize("off", ["OUTP OFF", "SOUR:CLE"])
def test_switching_off_waits_while_that_is_automatic(
    desk: _Desk, clock: HandClock, off: str
) -> None:
    """Section 18, :OUTPut: it then does not put the instrument into idle."""
    _five_readings_at_5_V(desk)
    desk.send(off)
    assert desk.source.output_on
    desk.send(f"ABOR;:{off}")
    assert not desk.source.output_on
    clock.advance(10.0)
    assert desk.volts() == [5.0, None]


def test_old_readings_stay_until_a_new_one_comes(desk: _Desk, clock: HandClock) -> None:
    """Appendix C: until data from another source-measure cycle overwrites the buffer."""
    _five_readings_at_5_V(desk)
    clock.advance(0.25)
    desk.send("ABOR;:SOUR:VOLT 2;:INIT")
    clock.advance(0.05)
    assert desk.numbers("ABOR;:FETC?;:INIT") == [5.0, 5.0]
    clock.advance(0.11)
    assert desk.numbers("ABOR;:FETC?") == [2.0]


def test_bytes_do_not_end_a_reading_that_was_complete(desk: _Desk) -> None:
    """Though the alarm of a busy computer is late."""
    clock = WallClock(100.0)
    late = _Desk(clock)
    try:
        late.send("FORM:ELEM VOLT;:SYST:AZER OFF;:SOUR:VOLT 3;:OUTP ON")
        with late.source._lock:  # no alarm gets in
            late.send("INIT")
            clock.wait_until(clock.now() + 0.1)
            assert late.numbers("ABOR;:FETC?") == [3.0]
    finally:
        late.source.close()
        clock.close()


def test_a_reading_that_is_cut_short_has_no_answer(desk: _Desk) -> None:
    other = _Recorder()
    desk.source.opened(other)
    for channel, error in [(desk.channel, '-410,"Query INTERRUPTED"'), (other, '0,"No error"')]:
        desk.send("ARM:SOUR BUS;:OUTP ON")
        desk.channel.got = b""
        desk.send("READ?;:SOUR:VOLT?")
        desk.send(":ABOR", channel)
        assert desk.channel.got == b"0.000000E+00\n"
        assert desk.ask("SYST:ERR?") == error


@pytest.mark.parametrize("end", [";", "\n"])
def test_a_bus_trigger_may_follow_at_once(desk: _Desk, end: str) -> None:
    assert desk.ask(f"ARM:SOUR BUS;:OUTP ON;:INIT{end}*TRG{end}*OPC?") == "1"
    assert desk.ask("SYST:ERR?") == '0,"No error"'


def test_in_one_message_an_abort_comes_after_the_reading(desk: _Desk) -> None:
    assert desk.numbers("OUTP ON;:SOUR:VOLT 2;:READ?;:ABOR") == [2.0]


def test_an_endless_operation_is_not_for_read(desk: _Desk) -> None:
    desk.send("ARM:COUN INF;:OUTP ON;:READ?")
    assert desk.ask("ARM:COUN?;:SYST:ERR?") == '9.900000E+37;+830,"Invalid with INF ARM:COUNT"'


def test_auto_off_ends_a_list_with_the_output_off(desk: _Desk) -> None:
    desk.send("SOUR:CLE:AUTO ON;AUTO:MODE TCO;:SOUR:LIST:VOLT 1,2;:SOUR:VOLT:MODE LIST")
    desk.send("TRIG:COUN 2;:OUTP:SMOD HIMP")
    desk.load.chart.clear()
    assert desk.numbers("READ?") == [1.0, 2.0]
    assert desk.volts() == [1.0, 2.0, None]
    desk.load.chart.clear()
    assert desk.numbers("SOUR:CLE:AUTO:MODE ALW;:READ?") == [1.0, 2.0]
    assert desk.volts() == [1.0, None, 2.0, None]


def test_a_gone_client_leaves_the_others_working(desk: _Desk) -> None:
    other = _Recorder()
    desk.source.opened(other)
    desk.send("ARM:SOUR BUS;:OUTP ON;:READ?", other)
    desk.source.closed(other)
    desk.send("SOUR:VOLT?")
    desk.send("*TRG")
    assert desk.channel.got == b"0.000000E+00\n"
    assert other.got == b""


@pytest.mark.parametrize("stop", ["ABOR", "OUTP OFF;:ABOR"])
def test_in_real_time_a_second_client_stops_a_long_reading(stop: str) -> None:
    clock = WallClock()
    try:
        desk = _Desk(clock)
        other = _Recorder("pty")
        desk.source.opened(other)
        # 10 power line cycles, autozero, 100 times: a minute
        desk.send("SENS:CURR:NPLC 10;:TRIG:COUN 100;:SOUR:VOLT 5;:OUTP ON;:READ?")
        started = clock.now()
        assert not desk.channel.answered.wait(0.05)
        desk.send(f":{stop};:SOUR:VOLT 0;:SOUR:VOLT?;:OUTP?", other)
        assert other.answered.wait(1.0)
        assert clock.now() - started < 1.0
        assert other.got == b"0.000000E+00;%d\n" % (stop == "ABOR")
        assert desk.source.level == 0.0
        assert desk.channel.got == b""
        desk.send("*OPC?")
        assert desk.channel.got == b"1\n"
        desk.source.close()
    finally:
        clock.close()


def test_at_fifty_times_the_speed_readings_are_right() -> None:
    clock = WallClock(50.0)
    try:
        desk = _Desk(clock)
        desk.send("SENS:CURR:PROT 1e-6;RANG 1e-6;:SOUR:VOLT 5;:FORM:ELEM CURR,TIME;:TRIG:COUN 30")
        desk.send("OUTP ON;:READ?")
        assert desk.channel.answered.wait(5.0)
        values = [float(part) for part in desk.channel.got.split(b",")]
        assert values[::2] == pytest.approx([5e-9] * 30, abs=3e-11)
        steps = [b - a for a, b in zip(values[1::2], values[3::2], strict=False)]
        assert min(steps) > 0.0636
        desk.source.close()
    finally:
        clock.close()
    assert clock.failure is None
