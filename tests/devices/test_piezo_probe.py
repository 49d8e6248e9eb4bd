"""The probe: net steps that survive a pause, limits, and a stop that is always first."""

import threading
from typing import Any

import pytest
from bluesky.protocols import Movable, Pausable, Readable, Stoppable

from stmtem_control.devices import PiezoProbe
from stmtem_control.devices.anc300 import Anc300
from stmtem_control.errors import (
    InstrumentError,
    InterlockError,
    LimitError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most


def test_it_is_what_bluesky_expects(probe: PiezoProbe) -> None:
    for protocol in (Readable, Stoppable, Pausable):
        assert isinstance(probe, protocol)
    assert isinstance(probe.z.coarse, Movable)
    assert isinstance(probe.z.coarse, Stoppable)
    assert isinstance(probe.z.fine, Movable)


def test_connecting_brings_every_axis_to_a_known_state(probe: PiezoProbe, console: Any) -> None:
    """The offset goes to zero before the mode that puts it on the piezo."""
    of_z = [line for line in console.sent if line.split()[1:2] == ["3"]]
    assert of_z == [
        "getser 3",
        "stop 3",
        "seta 3 0.000000",
        "geta 3",
        "setm 3 stp+",
        "seta 3 0.000000",
        "geta 3",
        "setf 3 1000",
        "getf 3",
        "setv 3 30.000000",
        "getv 3",
        "getm 3",
    ]
    assert probe.z.mode.get() == "stp+"
    assert probe.z.frequency_Hz.get() == 1000
    assert probe.z.amplitude_V.get() == 30.0


@pytest.mark.parametrize(("module", "mode"), [("ANM150A-1", "stp"), ("ANM200A-1", "off")])
def test_modules_that_cannot_do_both(
    probe: PiezoProbe, console: Any, module: str, mode: str
) -> None:
    console.module = module
    probe.connect(W)
    assert probe.z.mode.get() == mode
    refused = probe.z.fine if mode == "stp" else probe.z.coarse
    with pytest.raises(InterlockError, match=rf"mode '{mode}'"):
        refused.set(1)


def test_coarse_is_absolute(probe: PiezoProbe, console: Any) -> None:
    for target, sent in ((20, "stepu 3 20"), (5, "stepd 3 15"), (-3, "stepd 3 8")):
        probe.z.coarse.set(target).wait(W)
        assert [line for line in console.sent if line.startswith("step")][-1] == sent
        assert probe.z.coarse.get() == target
    before = len(console.sent)
    probe.z.coarse.set(-3).wait(W)  # what Bluesky repeats after a pause moves nothing
    assert len(console.sent) == before


def test_a_set_waits_until_the_steps_have_ended(probe: PiezoProbe, console: Any) -> None:
    looked = threading.Event()
    real = console.answer

    def answer(line: str) -> str:
        if line == "geto 3":
            looked.set()
        return str(real(line))

    console.answer = answer
    console.endless = True
    status = probe.z.coarse.set(2)
    assert looked.wait(W)
    assert not status.done
    assert probe.z.moving
    with pytest.raises(InterlockError, match="still stepping"):
        probe.z.coarse.set(3)
    console.moving.clear()
    status.wait(W)
    assert not probe.z.moving


def test_rest_is_zero_or_the_fine_offset(probe: PiezoProbe) -> None:
    probe.z.fine.set(60.0).wait(W)
    assert probe.z._at_rest(60.0)
    assert probe.z._at_rest(0.0)
    assert not probe.z._at_rest(75.0)


@pytest.mark.parametrize("success", [True, False])
def test_a_stop_on_the_way_leaves_an_estimate(
    probe: PiezoProbe, console: Any, clock: Any, success: bool
) -> None:
    console.endless = True
    status = probe.z.coarse.set(100)
    began = threading.Event()
    probe.controller.link.submit(lambda _: began.set())
    assert began.wait(W)
    clock.t += 0.04  # 40 steps at 1000 Hz
    probe.z.coarse.stop(success=success)
    if success:
        status.wait(W)
    else:
        with pytest.raises(InterlockError, match="stopped after about 40 of 100"):
            status.wait(W)
    assert console.sent[-1] == "stop 3"
    assert probe.z.coarse.get() == 40
    console.endless = False
    probe.z.coarse.set(100).wait(W)
    assert "stepu 3 60" in console.sent


def test_a_stop_overtakes_steps_that_wait(probe: PiezoProbe, console: Any) -> None:
    console.gate = threading.Event()
    held = probe.controller.getm(1)
    status = probe.z.coarse.set(100)
    stopper = threading.Thread(target=probe.stop)
    stopper.start()
    status_of_x = probe.x.coarse.set(0)
    console.gate.set()
    stopper.join(W)
    held.result(W)
    status.wait(W)
    status_of_x.wait(W)
    assert "stepu 3 100" not in console.sent
    assert probe.z.coarse.get() == 0


def test_stopping_one_axis_leaves_the_others(probe: PiezoProbe, console: Any) -> None:
    console.endless = True
    status = probe.x.coarse.set(3)
    probe.z.stop()
    assert not status.done
    assert probe.x.moving
    assert console.sent.count("stop 1") == 1  # when it was connected
    probe.controller.link.submit(lambda _: console.moving.clear()).result(W)
    status.wait(W)
    assert probe.x.coarse.get() == 3


def test_steps_that_never_end_fail(
    probe: PiezoProbe, console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.devices.piezo_axis.LATE_S", 0.05)
    console.endless = True
    with pytest.raises(TransportError, match=r"probe_z: still stepping"):
        probe.z.coarse.set(2).wait(W)
    probe.stop()


def test_what_the_controller_refuses_fails_the_status(probe: PiezoProbe, console: Any) -> None:
    console.refuse = "step"
    with pytest.raises(InstrumentError, match="Axis not in computer control mode"):
        probe.z.coarse.set(2).wait(W)
    assert probe.z.coarse.get() == 0
    assert not probe.z.moving


@pytest.mark.parametrize("value", [201, -201, 1.5, float("nan"), "near"])
def test_coarse_limits(probe: PiezoProbe, console: Any, value: Any) -> None:
    before = len(console.sent)
    with pytest.raises(LimitError, match="probe_z_coarse: "):
        probe.z.coarse.set(value)
    assert len(console.sent) == before


@pytest.mark.parametrize("value", [-0.1, 100.1, float("nan"), "far"])
def test_fine_limits(probe: PiezoProbe, console: Any, value: Any) -> None:
    before = len(console.sent)
    with pytest.raises(LimitError, match=r"probe_z_fine: .* 0 to 100 V \(\[probe\] max_fine_V"):
        probe.z.fine.set(value)
    assert len(console.sent) == before


def test_fine_frequency_and_amplitude_are_sent(probe: PiezoProbe, console: Any) -> None:
    probe.z.fine.set(12.5).wait(W)
    probe.z.frequency_Hz.set(500).wait(W)
    probe.z.amplitude_V.set(40.0).wait(W)
    sent = [line for line in console.sent if line.startswith("set")]
    assert sent[-3:] == ["seta 3 12.500000", "setf 3 500", "setv 3 40.000000"]
    assert probe.z.fine.get() == 12.5
    with pytest.raises(LimitError):
        probe.z.frequency_Hz.set(10_001)


def test_a_stop_keeps_the_fine_offset(probe: PiezoProbe, console: Any) -> None:
    probe.z.fine.set(12.5).wait(W)
    probe.stop()
    probe.pause()
    probe.resume()
    assert console.values["a3"] == "12.500000"
    assert probe.z.fine.get() == 12.5
    assert probe.unsafe is None


def test_disconnecting_grounds_every_axis(probe: PiezoProbe, console: Any) -> None:
    probe.z.fine.set(12.5).wait(W)
    probe.disconnect()
    probe.disconnect()
    assert console.sent[-3:] == ["setm 1 gnd", "setm 2 gnd", "setm 3 gnd"]
    assert probe.z.mode.get() == "gnd"
    assert probe.z.fine.get() == 0.0


def test_a_dead_controller_is_told_and_not_raised(probe: PiezoProbe, console: Any) -> None:
    console.unplugged = True
    probe.stop()
    assert probe.unsafe is not None
    assert "stop not confirmed" in probe.unsafe
    with pytest.raises(TransportError):
        probe.ground()


def test_a_stop_is_sent_to_a_controller_that_does_not_answer(
    probe: PiezoProbe, console: Any
) -> None:
    console.endless = True
    probe.z.coarse.set(100)
    probe.controller.link.call(lambda _: None, timeout=W)
    console.dead = True
    with pytest.raises(TransportTimeout):
        probe.controller.getm(1).result(W)
    before = len(console.sent)
    probe.stop()
    assert probe.unsafe is not None
    assert console.sent[before : before + 4] == ["stop 1", "stop 2", "stop 3", "echo off"]
    console.dead = False
    probe.stop()
    assert probe.unsafe is None


def test_disconnecting_grounds_over_a_link_that_broke(probe: PiezoProbe, console: Any) -> None:
    console.unplugged = True
    probe.stop()
    assert not probe.controller.link.alive
    console.unplugged = False
    probe.disconnect()
    assert console.sent[-3:] == ["setm 1 gnd", "setm 2 gnd", "setm 3 gnd"]


def test_a_controller_that_dies_while_stepping_fails_the_status(
    probe: PiezoProbe, console: Any
) -> None:
    console.endless = True
    status = probe.z.coarse.set(5)
    console.unplugged = True
    with pytest.raises(TransportError, match="pulled out"):
        status.wait(W)
    assert not probe.z.moving


def test_documents_carry_units_and_limits(probe: PiezoProbe) -> None:
    keys: Any = probe.describe()
    assert set(keys) == set(probe.read())
    assert keys["probe_z_coarse"]["units"] == "step"
    assert keys["probe_z_coarse"]["dtype"] == "integer"
    assert keys["probe_z_fine"]["units"] == "V"
    assert keys["probe_z_fine"]["upper_ctrl_limit"] == 100.0
    configuration: Any = probe.describe_configuration()
    assert configuration["probe_z_frequency_Hz"]["units"] == "Hz"


def test_nothing_is_sent_to_look(probe: PiezoProbe, console: Any) -> None:
    before = len(console.sent)
    read: Any = probe.read()
    assert read["probe_z_mode"]["value"] == "stp+"
    assert probe.describe_configuration()
    assert len(console.sent) == before


def test_frames_know_where_the_probe_was(
    probe: PiezoProbe, timeline: Timeline, clock: Any, console: Any
) -> None:
    for axis in ("x", "y", "z"):
        assert timeline.entries(f"probe_{axis}_V") == ([0.0], [0.0], [0.0])
    assert timeline.last("probe_z_steps") == 0
    answer = console.answer

    def slowly(line: str) -> str:
        if line.startswith("seta"):
            clock.t += 0.02
        return str(answer(line))

    console.answer = slowly
    clock.t = 1.0
    probe.x.fine.set(12.5).wait(W)
    times, values, sure = timeline.entries("probe_x_V")
    assert values == [0.0, 12.5]
    assert times[1] == pytest.approx(1.01)  # the middle of the exchange
    assert sure[1] == pytest.approx(0.01)
    clock.t = 2.0
    probe.z.coarse.set(-7).wait(W)
    probe.x.coarse.set(3).wait(W)
    times, values, _ = timeline.entries("probe_z_steps")
    assert values == [0, -7]
    assert times[1] == pytest.approx(2.0, abs=0.02)
    clock.t = 3.0
    probe.ground()
    assert timeline.at("probe_x_V", 3.0) == 0.0
    assert timeline.last("probe_z_steps") == -7


def test_an_offset_that_a_module_cannot_have_is_unknown(
    console: Any, clock: Any, links: Any
) -> None:
    console.module = "ANM150A-1"
    timeline = Timeline()
    made = PiezoProbe(controller=Anc300(links(console)), clock=clock, timeline=timeline)
    made.connect(W)
    assert timeline.last("probe_z_V") is None
    assert timeline.last("probe_z_steps") == 0


def test_steps_that_were_stopped_are_noted_as_an_estimate(
    probe: PiezoProbe, timeline: Timeline, clock: Any, console: Any
) -> None:
    begun = threading.Event()
    answer = console.answer

    def noting(line: str) -> str:
        if line == "geto 3":
            begun.set()
        return str(answer(line))

    console.answer = noting
    console.endless = True
    status = probe.z.coarse.set(100)
    assert begun.wait(W)
    clock.t = 0.04
    probe.stop()
    status.wait(W)
    assert timeline.entries("probe_z_steps")[1] == [0, 40]


def test_an_offset_is_under_way_until_it_is_known_here(probe: PiezoProbe, console: Any) -> None:
    """The output is there before: who looks at it meanwhile must not take it for unbidden."""
    seen: list[tuple[float, tuple[int, bool]]] = []
    real = console.answer

    def answer(line: str) -> str:
        if line.startswith("geta 3"):  # it was taken, and is read back
            seen.append((float(probe.z.fine.get()), probe.z.commands))
        return str(real(line))

    before, _ = probe.z.commands
    console.answer = answer
    probe.z.fine.set(40.0).wait(W)
    assert seen == [(0.0, (before + 1, True))]
    probe.z.look().result(W)  # the worker has come to the end of the setting
    assert probe.z.commands == (before + 1, False)
    probe.z.coarse.set(2).wait(W)
    assert probe.z.commands == (before + 2, False)
