"""What a plain client sees of faults of the source, the probe, the specimen and the beam."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stmtem_control.simulators import Bench, HandClock

Attach = Callable[[int], Any]
BIAS_V, COMPLIANCE_A = -2.0, 1e-8
CONTACT_NM = -5.0  # the gap: pressed in so far
pytestmark = [pytest.mark.bench(gap_nm=CONTACT_NM), pytest.mark.usefixtures("hand_clock")]


class Source:
    """A plain client of the source with the output on, biased against a specimen in contact."""

    def __init__(self, bench: Bench, client: Any) -> None:
        self.bench = bench
        self.client = client
        client.send(
            b":SENS:FUNC 'VOLT','CURR';:SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 1e-8;"
            b":FORM:ELEM VOLT,CURR,TIME,STAT;:OUTP:SMOD HIMP;:SOUR:VOLT -2;:OUTP ON\n"
        )
        self.errors()

    def ask(self, message: str) -> str:
        answer: bytes = self.client.ask(message.encode() + b"\n")
        return answer.decode().strip()

    def read(self) -> tuple[float, float, float, int]:
        volts, amps, time, status = (float(word) for word in self.ask(":READ?").split(","))
        return volts, amps, time, int(status)

    def errors(self) -> list[str]:
        found = []
        while not (error := self.ask(":SYST:ERR?")).startswith("0,"):
            found.append(error)
        return found


@pytest.fixture
def source(bench: Bench, hand_clock: HandClock, attach: Attach) -> Source:
    made = Source(bench, attach(bench.source_tcp.port))
    hand_clock.advance(0.5)
    return made


# -- the specimen -----------------------------------------------------------------------------


def test_without_faults_the_specimen_draws_some_picoamperes(source: Source) -> None:
    volts, amps, _, status = source.read()
    assert volts == pytest.approx(BIAS_V, abs=1e-3)
    assert 1e-12 < -amps < 1e-9
    assert not status & 1 << 3


@pytest.mark.parametrize("kind", ["compliance", "short"])
def test_too_much_current_trips_the_compliance(
    source: Source, hand_clock: HandClock, kind: str
) -> None:
    """The voltage collapses to what drives the compliance current through that resistance."""
    source.bench.inject(f"specimen:{kind}@seconds=3,amount=1e7")
    hand_clock.advance(0.5)
    volts, amps, _, status = source.read()
    assert amps == pytest.approx(-COMPLIANCE_A, rel=0.01)
    assert volts == pytest.approx(-COMPLIANCE_A * 1e7, abs=0.02)
    assert status & 1 << 3
    assert int(source.ask(":STAT:MEAS:COND?")) & 1 << 14
    assert source.ask(":SENS:CURR:PROT:TRIP?") == "1"
    hand_clock.advance(3.0)  # it heals
    volts, amps, _, status = source.read()
    assert -amps < 1e-9
    assert not status & 1 << 3


def test_a_whisker_tears_when_it_is_pulled(source: Source, hand_clock: HandClock) -> None:
    source.bench.inject("specimen:short")
    source.bench.specimen.step(2, -50.0)
    hand_clock.advance(0.1)
    assert source.read()[1] == pytest.approx(-COMPLIANCE_A, rel=0.01)
    source.bench.specimen.step(2, -80.0)
    hand_clock.advance(0.1)
    assert -source.read()[1] < 1e-10
    source.bench.specimen.step(2, 130.0)
    hand_clock.advance(0.1)
    assert -source.read()[1] < 1e-9


def test_a_leak_is_there_without_contact_too(source: Source, hand_clock: HandClock) -> None:
    source.bench.inject("specimen:contact_lost")
    hand_clock.advance(0.1)
    lost = -source.read()[1]
    source.bench.inject("specimen:leak@amount=4e9")
    hand_clock.advance(0.1)
    assert -source.read()[1] - lost == pytest.approx(2.0 / 4e9, abs=2e-11)


@pytest.mark.parametrize("fault", ["contact_lost", "oxide@amount=1e13"])
def test_current_that_falls_to_the_leak(source: Source, hand_clock: HandClock, fault: str) -> None:
    hand_clock.advance(1.0)
    before = -source.read()[1]
    source.bench.inject(f"specimen:{fault},seconds=2" if "@" in fault else f"specimen:{fault}")
    hand_clock.advance(0.1)
    assert -source.read()[1] < 0.5 * before
    source.bench.clear_faults()
    hand_clock.advance(0.5)
    assert -source.read()[1] > 0.5 * before


def test_a_crash_pierces_the_oxide_for_good(source: Source, hand_clock: HandClock) -> None:
    source.bench.inject("specimen:crash")
    source.bench.clear_faults()
    hand_clock.advance(0.1)
    assert source.bench.specimen.pierced
    assert source.read()[1] == pytest.approx(-COMPLIANCE_A, rel=0.01)


# -- the source -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "bit", "set_then", "error"),
    [
        ("output_interlock", 11, False, '+802,"OUTPUT blocked by output enable"'),
        ("overheat", 12, True, '+810,"OUTPUT blocked by Over Temp"'),
    ],
)
def test_what_switches_the_output_off(
    source: Source, hand_clock: HandClock, fault: str, bit: int, set_then: bool, error: str
) -> None:
    source.bench.inject(f"bias_source:{fault}@seconds=5")
    assert source.ask(":OUTP?") == "0"
    assert source.bench.safe()["output off"]
    assert bool(int(source.ask(":STAT:MEAS:COND?")) & 1 << bit) == set_then
    source.client.send(b":OUTP ON\n")
    assert source.errors() == [error]
    hand_clock.advance(5.0)
    assert source.ask(":OUTP?") == "0"  # it does not come back by itself
    source.client.send(b":OUTP ON\n")
    assert source.ask(":OUTP?") == "1"
    assert bool(int(source.ask(":STAT:MEAS:COND?")) & 1 << bit) != set_then


def test_a_2400_asks_the_line_only_when_told_to(source: Source) -> None:
    source.bench.inject("bias_source:output_interlock@amount=0")
    assert source.ask(":OUTP?") == "1"
    source.client.send(b":OUTP:ENAB ON\n")
    assert source.ask(":OUTP?") == "0"


def test_an_overheated_source_ends_what_it_measures(source: Source) -> None:
    source.client.send(b":ARM:COUN INF;:INIT\n")
    source.bench.inject("bias_source:overheat")
    assert int(source.ask(":STAT:OPER:COND?")) & 1 << 10  # idle
    assert source.ask(":OUTP?") == "0"


def test_readings_that_are_none(source: Source) -> None:
    true = source.read()
    source.bench.inject("bias_source:overflow@exchange=2")
    source.bench.inject("bias_source:not_a_number@exchange=3,count=2")
    rows = [source.read() for _ in range(5)]
    assert [row[1] for row in rows[1:4]] == [9.9e37, 9.91e37, 9.91e37]
    assert [row[3] & 1 for row in rows] == [0, 1, 0, 0, 0]
    for row in (rows[0], rows[4]):
        assert row[1] == pytest.approx(true[1], abs=2e-11)
    assert [event.exchange for event in source.bench.fault_log] == [2, 3, 4]


def test_readings_that_are_wrong(source: Source) -> None:
    true = source.read()
    source.bench.inject("bias_source:spike@amount=3e-8")
    assert source.read()[1] - true[1] == pytest.approx(3e-8, abs=1e-10)
    source.bench.inject("bias_source:range_glitch@amount=-0.25")
    assert source.read()[1] - true[1] == pytest.approx(-0.25 * 1e-6, rel=0.01)


def test_a_reading_that_is_old(source: Source) -> None:
    before = source.read()
    source.bench.inject("bias_source:stale_reading@count=2")
    assert [source.read(), source.read()] == [before, before]
    assert source.read()[2] > before[2]


def test_a_source_that_loses_its_power(
    source: Source, hand_clock: HandClock, attach: Attach
) -> None:
    bench = source.bench
    source.client.send(b"*ESE 8;*SRE 32;:SOUR2:TTL 0;:TRAC:FEED:CONT NEXT\n")
    source.read()
    assert not bench.safe()["beam blanked"]
    bench.inject("bias_source:reboot@when=:READ?")
    source.client.send(b":READ?\n")
    assert source.client.some() == b""
    # High impedance and 0 V; the digital port comes up high, which blanks the beam.
    assert all(bench.safe().values())
    hand_clock.advance(0.01)
    assert bench.specimen.voltage() == 0.0
    again = attach(bench.source_tcp.port)
    assert again.ask(b"*ESR?;*ESE?;*SRE?\n") == b"128;0;0\n"
    assert again.ask(b":SENS:CURR:PROT?;:OUTP:SMOD?;:TRAC:POIN:ACT?\n") == b"1.050000E-04;NORM;0\n"
    assert again.ask(b":SYST:ERR?\n") == b'0,"No error"\n'


def test_a_source_that_boots_slowly(source: Source, hand_clock: HandClock, attach: Attach) -> None:
    bench = source.bench
    serial = attach(bench.source_pty.path)  # type: ignore[arg-type]
    bench.inject("bias_source:reboot@seconds=8")
    with pytest.raises(ConnectionRefusedError):
        attach(bench.source_tcp.port)
    serial.send(b"*OPC?\r")
    assert serial.quiet()
    hand_clock.advance(8.0)
    assert attach(bench.source_tcp.port).ask(b"*OPC?\n") == b"1\n"
    assert serial.ask(b"*OPC?\r", b"\r") == b"1\r"


# -- the probe --------------------------------------------------------------------------------


@pytest.fixture
def probe(bench: Bench, attach: Attach) -> Callable[[str], str]:
    client = attach(bench.probe_pty.path)  # type: ignore[arg-type]
    client.ask(b"echo off\r\n", b"OK\r\n")

    def ask(message: str) -> str:
        client.send(message.encode() + b"\r\n")
        text = b""
        while not text.endswith((b"OK\r\n", b"ERROR\r\n")):
            text += client.take(1)
        return text.decode().replace("\r\n", " ").strip()

    ask("setm 3 stp")
    return ask


def moved_nm(bench: Bench, hand_clock: HandClock, probe: Callable[[str], str]) -> float:
    before = bench.specimen.probe_nm[2]
    assert probe("stepd 3 100") == "OK"
    hand_clock.advance(1.0)
    return before - bench.specimen.probe_nm[2]


@pytest.mark.parametrize(
    ("fault", "share", "scatter"),
    [
        ("missed_steps", 0.5, 0.15),  # each of a hundred by chance
        ("missed_steps@amount=0.1", 0.9, 0.09),
        ("stuck_steps", 0.0, 0.0),
        ("disconnected@amount=3", 0.0, 0.0),
        ("disconnected@amount=1", 1.0, 0.03),
    ],
)
def test_steps_that_are_not_made(
    bench: Bench,
    hand_clock: HandClock,
    probe: Callable[[str], str],
    fault: str,
    share: float,
    scatter: float,
) -> None:
    usual = moved_nm(bench, hand_clock, probe)
    assert usual > 1000.0
    bench.inject(f"probe:{fault}")
    moved = moved_nm(bench, hand_clock, probe)
    assert moved == pytest.approx(share * usual, abs=scatter * usual + 1e-9)
    assert bench.safe()["probe at rest"]
    bench.clear_faults()
    assert moved_nm(bench, hand_clock, probe) == pytest.approx(usual, rel=0.03)


@pytest.mark.parametrize(
    ("fault", "nanofarads"), [("disconnected", 0.2), ("wrong_capacitance", 0.5 * 987.551300)]
)
def test_a_capacitance_that_is_wrong(
    bench: Bench, hand_clock: HandClock, probe: Callable[[str], str], fault: str, nanofarads: float
) -> None:
    bench.inject(f"probe:{fault}")
    probe("setm 3 cap")
    hand_clock.advance(2.0)
    assert probe("getc 3") == f"capacitance = {nanofarads:.6f} nF OK"


def test_a_disconnected_stack_does_not_bend(
    bench: Bench, hand_clock: HandClock, probe: Callable[[str], str]
) -> None:
    probe("setm 3 off")
    probe("seta 3 20")
    hand_clock.advance(0.1)
    bent = bench.specimen.probe_nm[2]
    bench.inject("probe:disconnected")
    assert bench.specimen.probe_nm[2] < bent - 100.0
    bench.clear_faults()
    assert bench.specimen.probe_nm[2] == pytest.approx(bent, abs=10.0)


def test_somebody_at_the_front_panel(bench: Bench, probe: Callable[[str], str]) -> None:
    bench.inject("probe:front_panel")
    assert probe("stepd 3 10") == "Axis not in computer control mode ERROR"
    assert probe("stop 3") == "OK"
    bench.clear_faults()
    assert probe("stepd 3 10") == "OK"


# -- the beam and the view --------------------------------------------------------------------


def frame(bench: Bench, hand_clock: HandClock, index: int = 1) -> Any:
    start = hand_clock.now()
    hand_clock.advance(1.0)
    return bench.specimen.image(start, start + 1.0, (256, 256), index).astype(float)


def test_a_blanker_that_is_stuck(source: Source, hand_clock: HandClock) -> None:
    bench = source.bench
    source.client.send(b":SOUR2:TTL 0\n")
    source.ask("*OPC?")
    bench.inject("beam:blanker_stuck")
    source.client.send(b":SOUR2:TTL 15\n")
    assert source.ask(":SOUR2:TTL?") == "15"
    assert not bench.safe()["beam blanked"]
    assert bench.specimen.exposed(hand_clock.now(), hand_clock.now() + 1.0) == pytest.approx(1.0)
    bench.clear_faults()
    assert bench.safe()["beam blanked"]
    bench.inject("beam:blanker_stuck@amount=0")
    assert not bench.safe()["beam blanked"]


def test_the_beam_current_drops(bench: Bench, hand_clock: HandClock) -> None:
    bench.specimen.blank.drive(False)
    usual = frame(bench, hand_clock).mean()
    bench.inject("beam:beam_current@amount=0.25")
    assert frame(bench, hand_clock).mean() == pytest.approx(0.25 * usual, rel=0.01)
    bench.clear_faults()
    bench.inject("beam:beam_current@amount=0")
    assert frame(bench, hand_clock).max() == 0.0
    bench.clear_faults()
    assert frame(bench, hand_clock).mean() == pytest.approx(usual, rel=0.01)


def shift_px(one: Any, other: Any) -> int:
    """Return by how many pixels `other` is displaced along x, from their cross-correlation."""
    product = np.fft.rfft2(other - other.mean()) * np.conj(np.fft.rfft2(one - one.mean()))
    x = int(np.unravel_index(np.argmax(np.fft.irfft2(product)), one.shape)[1])
    return x - 256 if x > 128 else x


def test_the_stage_jumps(bench: Bench, hand_clock: HandClock) -> None:
    bench.specimen.blank.drive(False)
    before = frame(bench, hand_clock)
    bench.inject("specimen:stage_jump@amount=80")  # 4 nm a pixel
    assert shift_px(before, frame(bench, hand_clock)) == pytest.approx(20, abs=1)
    bench.clear_faults()
    assert shift_px(before, frame(bench, hand_clock)) == pytest.approx(0, abs=1)


def test_charging_decays(bench: Bench, hand_clock: HandClock) -> None:
    bench.specimen.blank.drive(False)
    before = frame(bench, hand_clock)
    bench.inject("specimen:charging@amount=80,seconds=50")
    bench.specimen.settle()
    assert bench.specimen.mishaps.displaced_nm(hand_clock.now())[0] == pytest.approx(80.0)
    hand_clock.advance(3.0)  # and the frame takes 1 s: 80 nm x exp(-5 x 4 / 50) = 54 nm
    assert shift_px(before, frame(bench, hand_clock)) == pytest.approx(13, abs=1)
    hand_clock.advance(46.0)
    assert bench.fault_log[-1].event == "over"
    assert shift_px(before, frame(bench, hand_clock)) == pytest.approx(0, abs=1)


def test_the_magnification_changes(bench: Bench) -> None:
    usual = bench.specimen.field_nm
    bench.inject("beam:magnification@amount=0.5")
    assert bench.specimen.field_nm == 0.5 * usual
    bench.clear_faults()
    assert bench.specimen.field_nm == usual
