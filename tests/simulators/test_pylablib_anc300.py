"""pylablib's ANC300, unchanged, on the simulated controller: TCP with login, serial without."""

from collections.abc import Iterator
from typing import Any

import pytest

from stmtem_control.simulators.clock import WallClock
from stmtem_control.simulators.probe import ProbeController
from stmtem_control.simulators.server import PtyEndpoint, TcpEndpoint

anc300 = pytest.importorskip("pylablib.devices.Attocube.anc300", reason="pylablib not installed")


class _Rail:
    """A mount that adds up its steps."""

    def __init__(self) -> None:
        self.slider = [0.0, 0.0, 0.0]

    def step(self, axis: int, nm: float) -> None:
        self.slider[axis] += nm

    def bend(self, axis: int, nm: float) -> None:
        pass

    def capacitance_nF(self, axis: int) -> float:
        return 1020.173401


class _Rig:
    """The driver at work on the simulator."""

    def __init__(self, wire: str) -> None:
        self.clock = WallClock(speed=20.0)
        self.rail = _Rail()
        self.probe = ProbeController(self.clock, self.rail)
        if wire == "tcp":
            network = TcpEndpoint(self.probe.network)
            self.endpoint: TcpEndpoint | PtyEndpoint = network
            self.driver: Any = anc300.ANC300(("127.0.0.1", network.port))
        else:
            terminal = PtyEndpoint(self.probe.console)
            self.endpoint = terminal
            self.driver = anc300.ANC300(terminal.path, backend="serial")

    def close(self) -> None:
        self.driver.close()
        self.probe.close()
        self.endpoint.close()
        self.clock.close()
        assert self.clock.failure is None


@pytest.fixture(params=["tcp", "serial"])
def rig(request: pytest.FixtureRequest) -> Iterator[_Rig]:
    made = _Rig(request.param)
    yield made
    made.close()


def test_identity_and_axes(rig: _Rig) -> None:
    info = rig.driver.get_device_info()
    assert info.serial.startswith("ANC300")
    assert "ANC150 compatibillity console" in info.version
    assert rig.driver.get_all_axes() == [1, 2, 3]
    assert rig.driver.get_axis_serial(2).startswith("ANM300")


def test_every_setting_reads_back(rig: _Rig) -> None:
    driver = rig.driver
    assert driver.set_voltage(1, 33.25) == pytest.approx(33.25)
    assert driver.set_offset(1, 12.5) == pytest.approx(12.5)
    assert driver.set_frequency(1, 210) == pytest.approx(210)
    for mode in ("gnd", "inp", "stp", "off", "stp+", "stp-"):
        assert driver.set_mode(1, mode) == mode
    assert driver.set_external_input_modes(1, acin=True, dcin=False) == (True, False)
    assert driver.set_trigger_input(1, up=3, down="off") == (3, "off")
    pattern = list(range(0, 256))
    assert list(driver.set_voltage_pattern(1, "down", pattern)) == pattern
    assert list(driver.set_voltage_pattern(1, "down")) == pattern[::-1]
    assert driver.get_full_info()


def test_move_and_wait(rig: _Rig) -> None:
    rig.driver.enable_axis(3)
    rig.driver.move_by(3, 300)
    rig.driver.wait_move(3)
    assert 300 * 50.0 < rig.rail.slider[2] < 300 * 70.0
    assert not rig.driver.is_moving(3)
    rig.driver.move_by(3, -300)
    rig.driver.wait_move(3)
    assert 0.0 < rig.rail.slider[2] < 300 * 20.0


def test_stop(rig: _Rig) -> None:
    rig.driver.enable_axis(1)
    rig.driver.set_frequency(1, 10)
    rig.driver.move_by(1, 100000)
    assert rig.driver.is_moving(1)
    rig.driver.stop(1)
    assert not rig.driver.is_moving(1)


def test_capacitance(rig: _Rig) -> None:
    assert rig.driver.get_capacitance(1) is None
    assert rig.driver.get_capacitance(1, measure=True) == pytest.approx(1020.173401e-9)
    assert rig.driver.get_mode(1) == "gnd"


def test_a_refused_move_is_an_error(rig: _Rig) -> None:
    rig.driver.disable_axis(1)
    with pytest.raises(rig.driver.Error, match="Axis in wrong mode"):
        rig.driver.move_by(1, 10)
    assert rig.rail.slider == [0.0, 0.0, 0.0]
