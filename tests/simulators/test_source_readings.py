"""What the SourceMeter measures, and how long it takes."""

import math
import statistics
from collections.abc import Iterator

import pytest

from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.server import Channel
from stmtem_control.simulators.source_timer import Timer

OVERFLOW, MISSING = 9.9e37, 9.91e37


class _Load:
    """A resistor in series with a current that grows in time, and noise."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.ohms = 1e9
        self.ramp = 0.0  # A/s, beside the resistor
        self.noise_density = 0.0  # A/sqrt(Hz)
        self.volts: float | None = None
        self.limit = 0.0
        self.coulombs = self.since = 0.0

    def _amps(self, t: float) -> float:
        if self.volts is None:
            return 0.0
        amps = self.volts / self.ohms + self.ramp * t
        return max(-self.limit, min(self.limit, amps))

    def charge(self) -> float:
        now = self.clock.now()
        self.coulombs += 0.5 * (self._amps(self.since) + self._amps(now)) * (now - self.since)
        self.since = now
        return self.coulombs

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.charge()
        self.volts, self.limit = volts, compliance_A

    def voltage(self) -> float:
        return self._amps(self.clock.now()) * self.ohms

    def limiting(self) -> bool:
        return self.volts is not None and abs(self._amps(self.clock.now())) >= self.limit

    def noise(self, bandwidth_Hz: float) -> float:
        return self.noise_density * math.sqrt(bandwidth_Hz)


class _Recorder(Channel):
    def __init__(self) -> None:
        super().__init__("tcp")
        self.got = b""

    def _write(self, data: bytes) -> None:
        self.got += data


class _Desk:
    """A source with its output on, a load and one client."""

    def __init__(self, model: str = "6430", seed: int = 1) -> None:
        self.clock = HandClock()
        self.load = _Load(self.clock)
        self.source = SourceMeter(self.clock, self.load, model=model, seed=seed)
        self.channel = _Recorder()
        self.source.opened(self.channel)
        self.ask("*RST;:OUTP ON")

    def ask(self, message: str) -> str:
        self.channel.got = b""
        self.source.received(self.channel, message.encode() + b"\n")
        return self.channel.got.decode().strip()

    def numbers(self, message: str) -> list[float]:
        return [float(part) for part in self.ask(message).split(",")]

    def took(self, message: str) -> float:
        before = self.clock.now()
        assert self.ask(message)
        elapsed: float = self.clock.now() - before
        return elapsed


@pytest.fixture
def desk() -> Iterator[_Desk]:
    made = _Desk()
    yield made
    assert made.ask("SYST:ERR?") == '0,"No error"'
    made.source.close()


# From the manual's speed tables, 50 Hz, current measured, ms; source delay 1 ms comes on top.
SPEED = [("1", "ON", 62.7), ("1", "OFF", 20.8), ("0.1", "ON", 8.7), ("0.1", "OFF", 2.8)]
SPEED += [("0.01", "ON", 3.3), ("0.01", "OFF", 1.0)]


@pytest.mark.parametrize(("nplc", "zero", "ms"), SPEED)
def test_a_reading_takes_the_time_of_the_manual(
    desk: _Desk, nplc: str, zero: str, ms: float
) -> None:
    desk.ask(f"SENS:CURR:NPLC {nplc};:SYST:AZER {zero};:SOUR:DEL 0;:SENS:CURR:PROT 1e-6;RANG 1e-6")
    assert desk.took("READ?") * 1e3 == pytest.approx(ms, abs=0.06)
    desk.ask("SENS:AVER:COUN 5;STAT ON")
    assert desk.took("READ?") * 1e3 == pytest.approx(5 * ms, abs=0.3)
    desk.ask("SENS:AVER:TCON MOV")
    assert desk.took("READ?") * 1e3 == pytest.approx(ms, abs=0.06)
    desk.ask("SENS:AVER OFF;:SOUR:DEL 0.25;:TRIG:DEL 0.5;COUN 3")
    assert desk.took("READ?") * 1e3 == pytest.approx(3 * (750 + ms), abs=0.3)


def test_at_60_hz_a_cycle_is_shorter(desk: _Desk) -> None:
    slow = desk.took("READ?")
    desk.ask("SYST:LFR 60")
    assert slow - desk.took("READ?") == pytest.approx(3 * (1 / 50 - 1 / 60), rel=1e-6)


def test_the_elements_of_a_reading(desk: _Desk) -> None:
    desk.ask("SOUR:VOLT 5;:SYST:TIME:RES")
    volts, amps, ohms, time, status = desk.numbers("READ?")
    assert volts == 5.0  # programmed, not measured
    assert amps == pytest.approx(5e-9, abs=2e-9)
    assert ohms == MISSING
    shown = 1.024 * desk.clock.now()  # its timer is fast, and coarse
    assert shown - 1.0e-3 < time <= shown
    assert time == pytest.approx(round(1e3 * time) / 1e3, abs=1e-12)
    assert int(status) == 1 << 2 | 1 << 12 | 1 << 14
    desk.ask("SENS:RES:MODE MAN;:SENS:FUNC:ALL;:SYST:RSEN ON;:SENS:AVER ON")
    volts, amps, ohms, _, status = desk.numbers("READ?")
    assert volts == pytest.approx(5.0, abs=1e-3)
    assert ohms == pytest.approx(1e9, rel=1e-3)
    bits = {bit for bit in range(24) if int(status) & 1 << bit}
    assert bits == {1, 2, 11, 12, 13, 14, 22}
    assert desk.numbers("FORM:ELEM CURR,VOLT;:FETC?") == pytest.approx([volts, amps])


def test_the_manual_s_example_status_word() -> None:
    # bits 2, 10, 11, 12, 13 and 15: auto ohms with a 10 kOhm resistor, 100 uA sourced
    desk = _Desk("2400")
    desk.load.ohms = 10e3
    desk.ask("OUTP OFF;:SENS:FUNC 'VOLT','CURR','RES';:SENS:RES:RANG 20E3;:OUTP ON")
    volts, amps, ohms, _, status = desk.numbers("READ?")
    assert int(status) == 48132
    assert volts == pytest.approx(1.0, rel=1e-3)
    assert amps == pytest.approx(1e-4, rel=1e-3)
    assert ohms == pytest.approx(1e4, rel=1e-3)
    desk.ask("SENS:RES:RANG:AUTO ON")
    desk.load.ohms = 1.5e6
    assert desk.numbers("MEAS:RES?")[2] == pytest.approx(1.5e6, rel=1e-3)
    assert desk.numbers("SENS:RES:RANG?") == pytest.approx([2.1e6])


def test_the_current_is_the_charge_of_the_aperture(desk: _Desk) -> None:
    desk.load.ramp = 1e-9
    desk.ask("SOUR:VOLT 0;:SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 1e-8;RANG 1e-8;NPLC 10")
    start = desk.clock.now()
    amps = desk.numbers("READ?")[1]
    end = desk.clock.now()
    # the last 200 ms of the reading are integrated: their mean is the middle's value
    assert amps == pytest.approx(1e-9 * (end - 0.1), abs=5e-13)
    assert end - start > 0.6


def test_the_sign_is_that_of_the_current_out_of_hi(desk: _Desk) -> None:
    desk.ask("SENS:CURR:PROT 1e-6;RANG 1e-6;:SOUR:VOLT -5")
    assert desk.numbers("READ?")[1] == pytest.approx(-5e-9, abs=2e-11)


def test_readings_come_in_steps_of_the_resolution(desk: _Desk) -> None:
    desk.ask("SENS:CURR:PROT 1e-6;RANG 1e-6;NPLC 0.01;:SOUR:VOLT 3;:TRIG:COUN 50;:FORM:ELEM CURR")
    steps = [value / 1e-11 for value in desk.numbers("READ?")]
    assert all(abs(step - round(step)) < 1e-3 for step in steps)
    assert len({round(step) for step in steps}) > 3


def test_noise_is_that_of_load_and_meter_in_the_bandwidth(desk: _Desk) -> None:
    desk.ask("SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 1e-8;RANG 1e-8")
    desk.ask("SOUR:VOLT 5;:SYST:AZER OFF;:TRIG:COUN 1000;:FORM:ELEM CURR")
    for nplc, density in [(1.0, 0.0), (0.1, 0.0), (1.0, 2e-13)]:
        desk.load.noise_density = density
        found = statistics.stdev(desk.numbers(f"SENS:CURR:NPLC {nplc};:READ?"))
        expected = math.hypot(5e-14 / math.sqrt(nplc), density * math.sqrt(25.0 / nplc))
        assert found == pytest.approx(expected, rel=0.2)  # a step of 1e-13 is part of it


def test_the_same_seed_gives_the_same_readings() -> None:
    script = "SOUR:VOLT 5;:SENS:CURR:PROT 1e-6;RANG 1e-6;:TRIG:COUN 20;:READ?"
    answers = [_Desk(seed=seed).ask(script) for seed in (3, 3, 4)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_a_fixed_range_overflows_at_105_percent() -> None:
    desk = _Desk()
    desk.ask("SENS:CURR:PROT 1e-6;RANG 1e-7;:FORM:ELEM CURR,STAT;:SOUR:VOLT 104")
    assert desk.numbers("READ?")[0] == pytest.approx(1.04e-7, abs=1e-11)
    # the load noise goes over what the range takes
    desk.load.noise_density = 1e-8
    seen = [desk.numbers("READ?") for _ in range(30)]
    over = [status for amps, status in seen if amps == OVERFLOW]
    assert over
    assert all(int(status) & 1 for status in over)
    assert int(desk.ask("STAT:MEAS?")) & 1 << 7


def test_the_automatic_range_follows_the_current(desk: _Desk) -> None:
    desk.ask("SOUR:VOLT:RANG 200;:FORM:ELEM CURR")
    for volts, amps, full in [
        (5.0, 5e-9, 1.05e-8),
        (0.05, 5e-11, 1.05e-10),
        (100.0, 1e-7, 1.05e-7),
        (-0.5, -5e-10, 1.05e-9),
    ]:
        desk.ask(f"SOUR:VOLT {volts};:READ?")  # down only after a reading, up at once
        assert desk.numbers("READ?")[0] == pytest.approx(amps, rel=1e-3)
        assert desk.numbers("SENS:CURR:RANG?") == pytest.approx([full])
    desk.ask("SENS:CURR:RANG:AUTO:LLIM 1e-6;:READ?")
    up = desk.took("SOUR:VOLT 5;:READ?")
    assert up == pytest.approx(0.0627 + 0.001, abs=1e-3)


def test_ranging_up_costs_another_conversion(desk: _Desk) -> None:
    desk.ask("SOUR:VOLT 5;:READ?")
    usual = desk.took("READ?")
    assert desk.took("SOUR:VOLT 20;:READ?") == pytest.approx(2 * usual, rel=0.05)


def test_an_automatic_range_stays_within_compliance() -> None:
    desk = _Desk()
    desk.ask("SENS:CURR:PROT 1e-6;:SOUR:VOLT 5;:FORM:ELEM CURR,STAT;:READ?")
    desk.load.ohms = 1e3
    amps, status = desk.numbers("READ?")
    assert amps == pytest.approx(1e-6, rel=1e-3)
    assert int(status) & (1 << 3 | 1 << 16) == 1 << 3
    assert desk.numbers("SENS:CURR:RANG?") == pytest.approx([1.05e-6])


def test_a_fixed_range_below_the_compliance_limits_at_105_percent() -> None:
    desk = _Desk()
    desk.ask("SENS:CURR:RANG 1e-7;:SOUR:VOLT 5;:FORM:ELEM VOLT,CURR,STAT;:SENS:FUNC 'VOLT'")
    desk.load.ohms = 1e6
    assert desk.ask("SENS:CURR:PROT:TRIP?") == "1"
    volts, amps, status = desk.numbers("READ?")
    assert desk.load.limit == pytest.approx(1.05e-7)
    assert volts == pytest.approx(0.105, rel=1e-2)
    assert amps == pytest.approx(1.05e-7, rel=1e-3) or amps == OVERFLOW
    assert int(status) & (1 << 3 | 1 << 16) == 1 << 16
    assert int(desk.ask("STAT:MEAS:COND?")) & 1 << 14
    desk.load.ohms = 1e9
    assert desk.ask("SENS:CURR:PROT:TRIP?") == "0"


def test_the_moving_filter_starts_full_and_then_follows(desk: _Desk) -> None:
    desk.ask("SENS:CURR:PROT 1e-6;RANG 1e-6;:SENS:AVER:TCON MOV;COUN 4;STAT ON;:FORM:ELEM CURR")
    desk.ask("SOUR:VOLT 10")
    first = desk.numbers("READ?")[0]
    assert first == pytest.approx(1e-8, abs=3e-11)
    desk.ask("SOUR:VOLT 20")
    seen = [desk.numbers("READ?")[0] for _ in range(4)]
    assert seen == pytest.approx([1.25e-8, 1.5e-8, 1.75e-8, 2e-8], abs=3e-11)


def test_the_data_store_fills_once(desk: _Desk) -> None:
    desk.ask("FORM:ELEM VOLT,TIME;:TRAC:POIN 4;FEED SENS;FEED:CONT NEXT;:TRIG:COUN 6")
    assert desk.ask("TRAC:FEED?;FEED:CONT?;:TRAC:POIN:ACT?") == "SENS;NEXT;0"
    desk.ask("SOUR:VOLT 2;:INIT")
    assert desk.ask("*OPC?") == "1"
    assert desk.ask("TRAC:POIN:ACT?;:TRAC:FEED:CONT?") == "4;NEV"
    data = desk.numbers("TRAC:DATA?")
    each = desk.took("TRIG:COUN 1;:READ?")
    assert data[::2] == [2.0] * 4
    each *= 1.024
    assert data[1::2] == pytest.approx([0.0, each, 2 * each, 3 * each], abs=1e-3)
    delta = desk.numbers("TRAC:TST:FORM DELT;:DATA:DATA?")[1::2]
    assert delta == pytest.approx([0.0, each, each, each], abs=1e-3)
    assert len(desk.ask("FETC?").split(",")) == 2
    assert desk.ask("TRAC:CLE;POIN:ACT?") == "0"


def test_the_buffer_cannot_be_changed_while_it_fills() -> None:
    desk = _Desk()
    desk.ask("TRAC:FEED:CONT NEXT;:TRAC:POIN 5")
    assert desk.ask("SYST:ERR?") == '+800,"Illegal with storage active"'
    desk.ask("TRAC:FEED CALC")
    assert desk.ask("SYST:ERR?") == '+800,"Illegal with storage active"'
    assert desk.ask("TRAC:POIN?") == "100"
    desk.ask("TRAC:FEED:CONT NEV;:TRAC:POIN 5")
    assert desk.ask("TRAC:POIN?;:SYST:ERR?") == '5;0,"No error"'


def test_a_full_buffer_shows_in_the_status_byte(desk: _Desk) -> None:
    desk.ask("STAT:PRES;*CLS;*SRE 1;:STAT:MEAS:ENAB 512;:TRAC:CLE;POIN 3;:TRIG:COUN 3")
    desk.ask("TRAC:FEED SENS;FEED:CONT NEXT")
    assert int(desk.ask("*STB?")) & 65 == 0
    desk.ask("INIT")
    assert int(desk.ask("*STB?")) & 65 == 65
    assert int(desk.ask("STAT:MEAS?")) & (1 << 6 | 1 << 8 | 1 << 9) == 1 << 6 | 1 << 8 | 1 << 9
    assert int(desk.ask("*STB?")) & 65 == 0
    assert int(desk.ask("STAT:MEAS:COND?")) & 1 << 9
    desk.ask("TRAC:CLE")
    assert not int(desk.ask("STAT:MEAS:COND?")) & 1 << 9


def test_statistics_of_the_buffer(desk: _Desk) -> None:
    desk.ask("TRAC:POIN 5;FEED:CONT NEXT;:SOUR:VOLT:STAR 1;STOP 5;MODE SWE;:SOUR:SWE:POIN 5")
    desk.ask("TRIG:COUN 5;:INIT")
    for kind, expected in [("MEAN", 3.0), ("MAX", 5.0), ("MIN", 1.0), ("PKPK", 4.0)]:
        volts, amps, ohms = desk.numbers(f"CALC3:FORM {kind};DATA?")
        assert volts == pytest.approx(expected)
        assert amps == pytest.approx(expected * 1e-9, rel=0.5)
        assert ohms == MISSING
    spread = desk.numbers("CALC3:FORM SDEV;DATA?")[0]
    assert spread == pytest.approx(statistics.stdev([1, 2, 3, 4, 5]), rel=1e-5)


def test_fetch_repeats_and_read_renews(desk: _Desk) -> None:
    desk.ask("SOUR:VOLT 1;:READ?")
    again = desk.ask("FETC?")
    assert desk.ask("FETC?;:SENS:DATA:LAT?;:DATA?") == ";".join([again] * 3)
    assert desk.ask("READ?") != again


def test_auto_output_off_is_on_only_for_the_reading(desk: _Desk) -> None:
    desk.ask("OUTP OFF;:SOUR:VOLT 5;:SOUR:CLE:AUTO ON;:OUTP:SMOD HIMP")
    assert desk.numbers("READ?")[1] == pytest.approx(5e-9, rel=0.5)
    assert desk.ask("OUTP?") == "0"
    assert desk.load.volts is None


def test_a_perfect_timer_counts_as_the_clock_does() -> None:
    timer = Timer(rate=1.0, tick_s=0.0)
    timer.reset(3.0)
    assert timer.stamp(4.25) == 1.25
    assert timer.stamp(3.0 + 99999.999 + 2.0) == pytest.approx(2.0)
