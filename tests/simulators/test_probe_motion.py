"""The simulated piezo controller moves its mount at the right times and by the right lengths."""

import math

import pytest

from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.piezo import Amplifier
from stmtem_control.simulators.probe import ProbeController
from stmtem_control.simulators.server import Channel


class _Wire(Channel):
    """A client that keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__("test")
        self.heard = b""

    def _write(self, data: bytes) -> None:
        self.heard += data


class _Rail:
    """A mount that only notes what happens to it, and when."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.steps: list[tuple[float, int, float]] = []
        self.slider = [0.0, 0.0, 0.0]
        self.bends = [0.0, 0.0, 0.0]
        self.bend_times: list[float] = []

    def step(self, axis: int, nm: float) -> None:
        self.steps.append((self.clock.now(), axis, nm))
        self.slider[axis] += nm

    def bend(self, axis: int, nm: float) -> None:
        self.bends[axis] = nm
        self.bend_times.append(self.clock.now())

    def capacitance_nF(self, axis: int) -> float:
        return 1000.5 + axis


class _Rig:
    """A controller on a rail with one attached terminal."""

    def __init__(
        self, seed: int = 1, modules: tuple[str, ...] = ("ANM300", "ANM300", "ANM300")
    ) -> None:
        self.clock = HandClock()
        self.rail = _Rail(self.clock)
        self.probe = ProbeController(self.clock, self.rail, seed=seed, modules=modules)
        self.wire = _Wire()
        self.probe.console.opened(self.wire)
        self.ask("echo off")

    def ask(self, request: str) -> str:
        """Send a line and return the reply without its OK."""
        self.wire.heard = b""
        self.probe.console.received(self.wire, request.encode() + b"\r\n")
        reply = self.wire.heard.decode()
        assert reply.endswith(("OK\r\n", "ERROR\r\n"))
        return reply.removesuffix("OK\r\n").rstrip("\r\n")

    def run(self, *requests: str) -> None:
        for request in requests:
            assert self.ask(request) == "", request


@pytest.fixture
def rig() -> _Rig:
    return _Rig()


def test_steps_fall_at_the_set_frequency(rig: _Rig) -> None:
    rig.run("setm 3 stp", "setf 3 200", "stepu 3 4")
    rig.clock.advance(1.0)
    assert [t for t, _, _ in rig.rail.steps] == pytest.approx([0.005, 0.010, 0.015, 0.020])
    assert {axis for _, axis, _ in rig.rail.steps} == {2}
    assert not rig.probe.moving


def test_nobody_need_ask_for_the_motion_to_happen(rig: _Rig) -> None:
    rig.run("setm 1 stp", "setf 1 100", "stepu 1 c")
    rig.clock.advance(0.055)
    assert len(rig.rail.steps) == 5


def test_a_step_of_30_volts_is_about_60_nm_up_and_a_fifth_less_down(rig: _Rig) -> None:
    rig.run("setm 3 stp", "setv 3 30", "stepu 3 400")
    rig.clock.advance(1.0)
    up = [nm for _, _, nm in rig.rail.steps]
    rig.run("stepd 3 400")
    rig.clock.advance(1.0)
    down = [nm for _, _, nm in rig.rail.steps[400:]]
    mean = sum(up) / 400
    assert mean == pytest.approx(60.0, rel=0.01)
    assert sum(down) / 400 == pytest.approx(-0.8 * mean, rel=0.01)
    scatter = math.sqrt(sum((nm - mean) ** 2 for nm in up) / 399) / mean
    assert 0.02 < scatter < 0.04


def test_steps_grow_with_the_amplitude_above_a_threshold(rig: _Rig) -> None:
    rig.run("setm 3 stp", "setv 3 5", "stepu 3 10")
    rig.clock.advance(0.1)
    assert rig.rail.steps == []
    rig.run("setv 3 50", "stepu 3 400")
    rig.clock.advance(1.0)
    assert rig.rail.slider[2] / 400 == pytest.approx(120.0, rel=0.01)


def test_queries_in_between_change_nothing() -> None:
    quiet, busy = _Rig(), _Rig()
    for rig in (quiet, busy):
        rig.run("setm 1 stp", "setf 1 313", "stepu 1 600")
    quiet.clock.advance(3.0)
    for _ in range(777):
        busy.ask("geto 1")
        busy.clock.advance(3.0 / 777)
    assert [nm for *_, nm in quiet.rail.steps] == [nm for *_, nm in busy.rail.steps]
    assert quiet.rail.slider == busy.rail.slider


def test_the_seed_makes_the_scatter() -> None:
    sliders = []
    for seed in (1, 1, 2):
        rig = _Rig(seed)
        rig.run("setm 1 stp", "stepu 1 50")
        rig.clock.advance(1.0)
        sliders.append(rig.rail.slider[0])
    assert sliders[0] == sliders[1] != sliders[2]


def test_stop_ends_the_steps_at_once(rig: _Rig) -> None:
    rig.run("setm 1 stp", "setf 1 100", "stepu 1 1000")
    rig.clock.advance(0.105)
    assert rig.probe.moving
    rig.run("stop 1")
    assert not rig.probe.moving
    rig.clock.advance(5.0)
    assert len(rig.rail.steps) == 10


def test_grounding_ends_the_steps(rig: _Rig) -> None:
    rig.run("setm 1 stp", "stepu 1 c")
    rig.clock.advance(0.0105)
    rig.run("setm 1 gnd")
    rig.clock.advance(1.0)
    assert len(rig.rail.steps) == 10


def test_a_new_frequency_holds_for_the_steps_that_are_left(rig: _Rig) -> None:
    rig.run("setm 1 stp", "setf 1 10", "stepu 1 4")
    rig.clock.advance(0.2)
    rig.run("setf 1 100")
    rig.clock.advance(1.0)
    assert [t for t, _, _ in rig.rail.steps] == pytest.approx([0.1, 0.2, 0.21, 0.22])


@pytest.mark.parametrize("mode", ["gnd", "inp", "off"])
def test_no_step_outside_the_stepping_modes(rig: _Rig, mode: str) -> None:
    rig.run(f"setm 1 {mode}")
    assert rig.ask("stepu 1 5") == "Axis in wrong mode\r\nERROR"
    rig.clock.advance(1.0)
    assert rig.rail.steps == []


@pytest.mark.parametrize("count", ["0", "-3", "1.5e9", "x", ""])
def test_a_wrong_number_of_steps_moves_nothing(rig: _Rig, count: str) -> None:
    rig.run("setm 1 stp")
    assert rig.ask(f"stepu 1 {count}").endswith("ERROR")
    rig.clock.advance(1.0)
    assert rig.rail.steps == []


def test_the_front_panel_locks_the_console_out(rig: _Rig) -> None:
    rig.run("setm 1 stp")
    rig.probe.axes[0].front_panel = True
    assert rig.ask("stepu 1 5") == "Axis not in computer control mode\r\nERROR"
    assert rig.ask("setm 1 gnd") == "Axis not in computer control mode\r\nERROR"
    assert rig.ask("getm 1") == "mode = stp"
    rig.run("stop 1")


def test_a_stuck_slider_stays(rig: _Rig) -> None:
    rig.run("setm 1 stp")
    rig.probe.axes[0].stuck = True
    rig.run("stepu 1 5")
    rig.clock.advance(1.0)
    assert rig.rail.steps == []
    assert not rig.probe.moving


def test_a_flat_pattern_makes_no_ramp_and_no_step(rig: _Rig) -> None:
    flat = " ".join(["128"] * 256)
    rig.run("setm 1 stp", f"setpu 1 {flat}", "stepu 1 5")
    rig.clock.advance(1.0)
    assert rig.rail.steps == []


def test_the_output_shows_whether_it_steps(rig: _Rig) -> None:
    rig.run("setm 1 stp", "setf 1 1000", "setv 1 30")
    assert rig.ask("geto 1") == "voltage = 0.000000 V"
    rig.run("stepu 1 5")
    for _ in range(10):
        volts = float(rig.ask("geto 1").split()[2])
        assert 0.0 < volts <= 30.0
        rig.clock.advance(0.0005)
    assert rig.ask("geto 1") == "voltage = 0.000000 V"


def test_the_offset_bends_by_10_nm_a_volt_and_takes_time(rig: _Rig) -> None:
    rig.run("setm 3 off", "seta 3 100")
    assert rig.ask("geto 3") == "voltage = 0.000000 V"
    rig.clock.advance(0.005)
    assert rig.rail.bends[2] == pytest.approx(500.0, rel=0.01)
    rig.clock.advance(0.1)
    assert rig.ask("geto 3") == "voltage = 100.000000 V"
    assert rig.rail.bends[2] == pytest.approx(1000.0, rel=0.01)
    settled = len(rig.rail.bend_times)
    rig.clock.advance(1.0)
    assert len(rig.rail.bend_times) == settled


def test_the_bend_has_a_little_hysteresis(rig: _Rig) -> None:
    rig.run("setm 3 off", "seta 3 50")
    rig.clock.advance(1.0)
    rising = rig.rail.bends[2]
    rig.run("seta 3 100")
    rig.clock.advance(1.0)
    rig.run("seta 3 50")
    rig.clock.advance(1.0)
    assert 0.0 < rig.rail.bends[2] - rising < 10.0


def test_who_looks_late_does_not_see_the_output_beyond_its_way() -> None:
    """An alarm that rings late looks with the time at which it was due."""
    amplifier = Amplifier()
    amplifier.aim(1.0, 28.0, None)
    assert amplifier.volts(2.0) == 28.0
    amplifier.aim(2.0, 0.0, None)
    assert amplifier.volts(1.99) == 28.0
    assert amplifier.volts(2.001) == pytest.approx(18.0)


def test_the_filter_slows_the_output(rig: _Rig) -> None:
    rig.run("setm 3 off", "setfil 3 16", "seta 3 100")
    rig.clock.advance(1.0 / (2.0 * math.pi * 16.0))
    assert float(rig.ask("geto 3").split()[2]) == pytest.approx(100.0 * (1 - math.exp(-1)), abs=0.1)


def test_grounding_takes_the_offset_off_but_keeps_its_setting(rig: _Rig) -> None:
    rig.run("setm 3 off", "seta 3 20")
    rig.clock.advance(0.1)
    rig.run("setm 3 gnd")
    rig.clock.advance(0.1)
    assert rig.ask("geto 3") == "voltage = 0.000000 V"
    assert rig.ask("geta 3") == "voltage = 20.000000 V"
    assert rig.rail.bends[2] == pytest.approx(0.0, abs=5.0)


def test_in_stp_plus_offset_and_steps_add(rig: _Rig) -> None:
    rig.run("setm 3 stp+", "seta 3 20", "setv 3 30")
    rig.clock.advance(0.1)
    assert rig.ask("geto 3") == "voltage = 20.000000 V"
    rig.run("stepu 3 2")
    rig.clock.advance(0.0005)
    assert float(rig.ask("geto 3").split()[2]) == pytest.approx(35.0, abs=0.5)
    rig.run("setm 3 stp-")
    rig.clock.advance(0.1)
    rig.run("stepu 3 2")
    rig.clock.advance(0.0005)
    assert float(rig.ask("geto 3").split()[2]) == pytest.approx(5.0, abs=0.5)


def test_capacitance_takes_a_second_and_ends_grounded(rig: _Rig) -> None:
    assert rig.ask("getc 2") == "capacitance = ?"
    rig.run("setm 2 cap")
    rig.clock.advance(0.5)
    assert rig.ask("getm 2") == "mode = cap"
    assert rig.ask("getc 2") == "capacitance = ?"
    assert rig.ask("stepu 2 1") == "Axis in wrong mode\r\nERROR"
    assert rig.ask("capw 2") == "capacitance = 0.000000 nF"
    assert rig.clock.now() == pytest.approx(1.0)
    assert rig.ask("getm 2") == "mode = gnd"
    assert rig.ask("getc 2") == "capacitance = 1001.500000 nF"


def test_stepw_waits_for_the_last_step(rig: _Rig) -> None:
    rig.run("setm 1 stp", "setf 1 50", "stepu 1 25", "stepw 1")
    assert rig.clock.now() == pytest.approx(0.5)
    assert len(rig.rail.steps) == 25
    rig.run("stepw 1")
    assert rig.clock.now() == pytest.approx(0.5)


def test_a_stop_from_the_other_console_ends_stepw(rig: _Rig) -> None:
    other = _Wire()
    rig.probe.network.opened(other)
    rig.probe.network.received(other, b"123456\r\necho off\r\n")

    def stop() -> None:
        rig.probe.network.received(other, b"stop 1\r\n")

    rig.run("setm 1 stp", "setf 1 100", "stepu 1 c")
    rig.clock.call_at(0.255, stop)
    rig.run("stepw 1")
    assert rig.clock.now() == pytest.approx(0.26, abs=0.011)
    assert len(rig.rail.steps) == 25


def test_a_trigger_edge_makes_one_step(rig: _Rig) -> None:
    rig.run("setm 1 stp", "settu 1 3", "settd 1 4")
    line = rig.probe.trigger_in[2]
    line.pulse()
    rig.clock.advance(0.1)
    rig.probe.trigger_in[3].pulse()
    rig.clock.advance(0.1)
    ups_and_downs = [nm > 0 for *_, nm in rig.rail.steps]
    assert ups_and_downs == [True, False]
    rig.run("settu 1 off")
    line.pulse()
    rig.clock.advance(0.1)
    assert len(rig.rail.steps) == 2


def test_trigger_outputs_follow_the_console(rig: _Rig) -> None:
    rig.run("setto 2 1")
    assert [line.level for line in rig.probe.trigger_out] == [False, True, False]
    assert rig.ask("getto 2") == "trigger = 1"


def test_modules_refuse_what_they_cannot_do() -> None:
    rig = _Rig(modules=("ANM150", "ANM200", "ANM300"))
    for request in ("setm 1 off", "seta 1 5", "setfil 1 16", "setdci 1 on"):
        assert rig.ask(request).endswith("ERROR"), request
    for request in ("setm 2 stp", "setf 2 100", "getf 2", "setv 2 10", "stepu 2 1", "gettu 2"):
        assert rig.ask(request).endswith("ERROR"), request
    rig.run("setm 1 stp", "stepu 1 1", "setm 2 off", "seta 2 5", "setfil 2 1.6")
    assert rig.ask("getser 1").startswith("ANM150")
    assert rig.ask("getser 2").startswith("ANM200")
    with pytest.raises(ValueError, match="ANM999"):
        _Rig(modules=("ANM999",))


def test_closing_ends_all_motion(rig: _Rig) -> None:
    rig.run("setm 1 stp", "stepu 1 c")
    rig.clock.advance(0.0105)
    rig.probe.close()
    rig.clock.advance(1.0)
    assert len(rig.rail.steps) == 10


def test_before_it_was_told_the_output_is_where_it_was() -> None:
    """A wired instrument that acts late, at the time at which it was due, asks for the past."""
    output = Amplifier()
    output.aim(1.0, 20.0, None)
    assert output.volts(2.0) == 20.0
    output.aim(3.0, 0.0, None)
    assert output.volts(2.9) == output.volts(3.0) == 20.0
    assert output.volts(3.001) == pytest.approx(10.0)


def test_a_look_back_in_time_moves_nothing() -> None:
    rig = _Rig()
    rig.ask("setm 3 stp+")
    rig.ask("seta 3 10")
    rig.clock.advance(0.1)
    rig.probe.settle()
    before = rig.clock.now()
    rig.ask("seta 3 0")
    rig.clock.advance(0.1)
    rig.probe.settle()
    bent = rig.rail.bends[2]
    rig.probe.axes[2].settle(before)
    assert rig.rail.bends[2] == bent == pytest.approx(0.0, abs=3.0)
