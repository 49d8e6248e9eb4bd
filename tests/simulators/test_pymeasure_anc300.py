"""pymeasure's ANC300Controller, unchanged, on the simulated controller: TCP and serial.

The driver always logs in, as the network console wants it; over serial it is therefore attached
to a terminal of that console.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from stmtem_control.simulators.clock import WallClock
from stmtem_control.simulators.probe import ProbeController
from stmtem_control.simulators.server import PtyEndpoint, TcpEndpoint

attocube = pytest.importorskip("pymeasure.instruments.attocube", reason="pymeasure not installed")


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
        self.endpoint: TcpEndpoint | PtyEndpoint
        if wire == "tcp":
            self.endpoint = TcpEndpoint(self.probe.network)
            self.resource = f"TCPIP::127.0.0.1::{self.endpoint.port}::SOCKET"
        else:
            self.endpoint = PtyEndpoint(self.probe.network)
            self.resource = f"ASRL{self.endpoint.path}::INSTR"

    def open(self, password: str = "123456") -> Any:
        return attocube.ANC300Controller(
            self.resource,
            axisnames=["x", "y", "z"],
            passwd=password,
            query_delay=0.01,
            visa_library="@py",
            timeout=3000,
        )

    def close(self) -> None:
        self.probe.close()
        self.endpoint.close()
        self.clock.close()
        assert self.clock.failure is None


@pytest.fixture(params=["tcp", "serial"])
def rig(request: pytest.FixtureRequest) -> Iterator[_Rig]:
    made = _Rig(request.param)
    yield made
    made.close()


@pytest.fixture
def driver(rig: _Rig) -> Iterator[Any]:
    made = rig.open()
    yield made
    made.adapter.close()


def test_identity(driver: Any) -> None:
    version = driver.version
    assert "ANC300 controller" in version
    assert driver.controllerBoardVersion.startswith("ANC300")
    assert driver.x.serial_nr.startswith("ANM300")


def test_every_setting_reads_back(rig: _Rig, driver: Any) -> None:
    axis = driver.y
    for mode in ("gnd", "inp", "stp", "off", "stp+", "stp-"):
        axis.mode = mode
        assert rig.probe.axes[1].mode == mode
        assert axis.mode == mode.rstrip("+-")  # the driver cuts the sign off
    axis.voltage = 33.125
    assert axis.voltage == pytest.approx(33.125)
    axis.offset_voltage = 12.5
    assert axis.offset_voltage == pytest.approx(12.5)
    axis.frequency = 210
    # The instrument ends this one line in LF alone, which the driver's VISA layer remarks on.
    with pytest.warns(UserWarning, match="termination"):
        assert axis.frequency == 210
    axis.mode = "gnd"
    assert axis.output_voltage >= 0.0


def test_patterns(driver: Any) -> None:
    up = [n // 2 for n in range(256)]
    driver.x.pattern_up = up
    assert driver.x.pattern_up == up
    driver.x.pattern_down = up[::-1]
    assert driver.x.pattern_down == up[::-1]


def test_move_waits_and_grounds(rig: _Rig, driver: Any) -> None:
    driver.z.frequency = 1000
    with pytest.warns(UserWarning, match="termination"):
        driver.z.move(300)
    assert 300 * 50.0 < rig.rail.slider[2] < 300 * 70.0
    assert not rig.probe.moving
    assert rig.probe.axes[2].mode == "gnd"


def test_raw_moves_and_stop(rig: _Rig, driver: Any) -> None:
    driver.x.mode = "stp"
    driver.x.move_raw(float("-inf"))
    assert rig.probe.moving
    driver.stop_all()
    assert not rig.probe.moving
    assert rig.rail.slider[0] <= 0.0
    driver.ground_all()
    assert [axis.mode for axis in rig.probe.axes] == ["gnd"] * 3


def test_refusals_become_exceptions(rig: _Rig, driver: Any) -> None:
    driver.x.mode = "gnd"
    with pytest.raises(ValueError, match="Axis in wrong mode"):
        driver.x.move_raw(5)
    assert rig.rail.slider == [0.0, 0.0, 0.0]
    driver.x.voltage = 20.0
    assert driver.x.voltage == pytest.approx(20.0)


def test_capacitance(driver: Any) -> None:
    assert driver.x.capacity == "capacitance = ?"
    driver.x.mode = "cap"
    driver.ask("capw 1")
    assert driver.x.capacity == pytest.approx(1020.173401)


def test_wrong_password(rig: _Rig) -> None:
    with pytest.raises(Exception, match="authorization failed") as refused:
        rig.open("000000")
    assert "Authorization failed" in str(refused.value)
