"""A driver by others, unchanged, on the simulated source: over TCP and over the serial line."""

from collections.abc import Iterator
from typing import Any

import pytest

from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.clock import WallClock
from stmtem_control.simulators.server import PtyEndpoint, TcpEndpoint

keithley = pytest.importorskip(
    "pymeasure.instruments.keithley", reason="pymeasure is not installed (extra 'drivers')"
)


class _Resistor:
    """1 kOhm on the terminals."""

    ohms = 1e3

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock
        self.amps = self.coulombs = self.since = 0.0
        self.limited = False

    def charge(self) -> float:
        now = self.clock.now()
        self.coulombs += self.amps * (now - self.since)
        self.since = now
        return self.coulombs

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.charge()
        wanted = (volts or 0.0) / self.ohms
        self.amps = max(-compliance_A, min(compliance_A, wanted))
        self.limited = abs(wanted) > compliance_A

    def voltage(self) -> float:
        return self.amps * self.ohms

    def limiting(self) -> bool:
        return self.limited

    def noise(self, bandwidth_Hz: float) -> float:
        return 0.0


@pytest.fixture(scope="module", params=["tcp", "serial"])
def driver(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The driver on a 2400, in a time that runs twenty times faster."""
    clock = WallClock(20.0)
    clock.call_at(0.0, lambda: None)  # its thread is made now, and not within a test
    source = SourceMeter(clock, _Resistor(clock), model="2400")
    tcp, pty = TcpEndpoint(source), PtyEndpoint(source)
    ends = {"read_termination": "\n", "write_termination": "\n"}
    resource = f"TCPIP::{tcp.host}::{tcp.port}::SOCKET"
    if request.param == "serial":
        resource, ends = f"ASRL{pty.path}::INSTR", dict.fromkeys(ends, "\r")
    made = keithley.Keithley2400(resource, visa_library="@py", timeout=5000, **ends)
    yield made
    made.adapter.connection.close()
    made.adapter.manager.close()
    tcp.close()
    pty.close()
    source.close()
    clock.close()
    assert clock.failure is None


@pytest.fixture
def smu(driver: Any) -> Iterator[Any]:
    driver.reset()
    driver.clear()
    driver.reset_data_format()
    yield driver
    assert driver.check_errors() == []


RESET_STATE = {
    "source_enabled": False,
    "output_off_state": "NORM",
    "front_terminals_enabled": True,
    "current_range": 1.05e-4,
    "current_range_auto_enabled": True,
    "current_nplc": 1,
    "compliance_current": 1.05e-4,
    "voltage_range": 21,
    "voltage_range_auto_enabled": True,
    "voltage_nplc": 1,
    "compliance_voltage": 21,
    "resistance_mode_auto_enabled": True,
    "resistance_range": 2.1e5,
    "resistance_range_auto_enabled": True,
    "resistance_nplc": 1,
    "repeat_filter_enabled": True,
    "filter_count": 10,
    "filter_enabled": False,
    "auto_output_off_enabled": False,
    "source_mode": "voltage",
    "source_delay": 0.001,
    "source_delay_auto_enabled": True,
    "source_current_range": 1.05e-4,
    "source_current_range_auto_enabled": True,
    "source_current": 0,
    "source_voltage_range": 21,
    "source_voltage_range_auto_enabled": True,
    "source_voltage": 0,
    "auto_zero_enabled": True,
}
OFF_STATES = {"disconnected": "HIMP", "normal": "NORM", "zero": "ZERO", "guard": "GUAR"}


@pytest.mark.parametrize("name", RESET_STATE)
def test_the_state_after_a_reset(smu: Any, name: str) -> None:
    found = getattr(smu, name)
    if name == "output_off_state":
        found = OFF_STATES.get(found, found)
    assert found == RESET_STATE[name]


SET_AND_READ = [
    ("source_enabled", True),
    ("source_enabled", False),
    ("source_mode", "current"),
    ("source_mode", "voltage"),
    ("source_delay", 0.1),
    ("source_delay_auto_enabled", False),
    ("source_delay_auto_enabled", True),
    ("auto_zero_enabled", False),
    ("auto_zero_enabled", True),
    ("auto_output_off_enabled", True),
    ("auto_output_off_enabled", False),
    ("filter_enabled", True),
    ("filter_enabled", False),
    ("repeat_filter_enabled", False),
    ("repeat_filter_enabled", True),
    ("filter_count", 33),
    ("current_range", 1.05e-5),
    ("current_range_auto_enabled", False),
    ("current_range_auto_enabled", True),
    ("current_nplc", 0.1),
    ("compliance_current", 0.01),
    ("source_current", 0.002),
    ("source_current_range", 0.0105),
    ("source_current_range_auto_enabled", False),
    ("source_current_range_auto_enabled", True),
    ("voltage_range_auto_enabled", False),
    ("voltage_range_auto_enabled", True),
    ("voltage_nplc", 2.5),
    ("compliance_voltage", 1.0),
    ("source_voltage", -1.5),
    ("source_voltage_range", 2.1),
    ("source_voltage_range_auto_enabled", False),
    ("source_voltage_range_auto_enabled", True),
    ("resistance_mode_auto_enabled", False),
    ("resistance_mode_auto_enabled", True),
    ("resistance_range", 2100.0),
    ("resistance_range_auto_enabled", False),
    ("resistance_range_auto_enabled", True),
    ("resistance_nplc", 10.0),
    ("trigger_count", 7),
    ("trigger_delay", 0.5),
    ("arm_count", 9),
    ("arm_timer", 1.5),
    ("trigger_source", "trigger_link"),
    ("trigger_source", "immediate"),
    ("arm_source", "trigger_link"),
    ("arm_source", "timer"),
    ("arm_source", "manual"),
    ("arm_source", "bus"),
    ("arm_source", "immediate"),
    ("trigger_output_event", "source"),
    ("trigger_output_event", "delay"),
    ("trigger_output_event", "sense"),
    ("trigger_output_event", "none"),
    ("arm_output_event", "trigger_enter"),
    ("arm_output_event", "trigger_exit"),
    ("arm_output_event", "none"),
    ("trigger_input_line", 2),
    ("arm_input_line", 3),
    ("trigger_output_line", 4),
    ("arm_output_line", 1),
    ("buffer_points", 512),
    ("display_enabled", False),
    ("display_enabled", True),
    ("wires", 4),
    ("wires", 2),
    ("line_frequency", 60),
    ("line_frequency", 50),
    ("line_frequency_auto_enabled", False),
    ("line_frequency_auto_enabled", True),
    ("front_terminals_enabled", False),
    ("front_terminals_enabled", True),
]


@pytest.mark.parametrize(("name", "value"), SET_AND_READ)
def test_every_property_reads_back_what_was_set(smu: Any, name: str, value: object) -> None:
    setattr(smu, name, value)
    assert getattr(smu, name) == value


@pytest.mark.parametrize("name", OFF_STATES)
def test_the_output_off_state(smu: Any, name: str) -> None:
    smu.output_off_state = name
    assert OFF_STATES.get(smu.output_off_state, smu.output_off_state) == OFF_STATES[name]


def test_ranges_of_the_other_source(smu: Any) -> None:
    smu.source_mode = "current"
    smu.voltage_range = 2
    assert smu.voltage_range == 2.1
    assert smu.voltage_range_auto_enabled is False


def test_no_property_of_the_driver_was_forgotten() -> None:
    cls = keithley.Keithley2400
    settable = {
        name
        for name in dir(cls)
        if isinstance(prop := getattr(cls, name), property)
        and (prop.__doc__ or "").strip().startswith(("Control", "Set"))
    }
    old_names = {
        "auto_output_off",
        "auto_zero",
        "filter_state",
        "filter_type",
        "line_frequency_auto",
        "source_delay_auto",
    }
    tested = {name for name, _ in SET_AND_READ} | {"output_off_state", "voltage_range"}
    assert settable - tested <= old_names


def test_identity_and_errors(smu: Any) -> None:
    assert "MODEL 2400" in "".join(smu.id)
    smu.write("NOSUCH")
    assert [int(code) for code, _ in smu.check_errors()] == [-113]


def test_a_voltage_source(smu: Any) -> None:
    smu.compliance_current = 0.01
    smu.source_voltage = 2.0
    smu.enable_source()
    smu.resistance_mode_auto_enabled = False
    found = smu.measure_all()
    assert found["voltage"] == pytest.approx(2.0, rel=1e-3)
    assert found["current"] == pytest.approx(2e-3, rel=1e-3)
    assert found["resistance"] == pytest.approx(1e3, rel=1e-3)
    assert found["status"] & 1 << 14


def test_a_current_source(smu: Any) -> None:
    smu.source_mode = "current"
    smu.source_current = 5e-3
    smu.enable_source()
    smu.resistance_mode_auto_enabled = False
    found = smu.measure_all()
    assert found["current"] == pytest.approx(5e-3, rel=1e-3)
    assert found["voltage"] == pytest.approx(5.0, rel=1e-3)
    assert found["voltage"] == pytest.approx(found["current"] * found["resistance"], rel=1e-5)


def test_measuring_turns_the_output_on_with_the_default_compliance(smu: Any) -> None:
    smu.compliance_current = 0.01
    smu.source_voltage = 0.05
    assert smu.current == pytest.approx(5e-5, rel=1e-3)
    assert smu.source_enabled is True
    assert smu.compliance_current == 1.05e-4
    assert smu.voltage == pytest.approx(0.05, rel=1e-3)


def test_the_buffer(smu: Any) -> None:
    smu.compliance_current = 0.01
    smu.source_voltage = 1.0
    smu.enable_source()
    smu.config_buffer(points=10, delay=0.01)
    smu.start_buffer()
    smu.wait_for_buffer(timeout=5, interval=0.001)
    data = smu.buffer_data.reshape(10, 5)
    assert data[:, 1] == pytest.approx([1e-3] * 10, rel=1e-2)
    assert smu.mean_current == pytest.approx(1e-3, rel=1e-2)
    assert smu.max_voltage == 1.0
    assert smu.std_voltage == 0.0
    smu.reset_buffer()
    smu.disable_buffer()


def test_a_bus_trigger(smu: Any) -> None:
    smu.enable_source()
    smu.trigger_on_bus()
    smu.start_buffer()
    smu.trigger()
    assert "".join(smu.complete) == "1"
    smu.sample_continuously()
    smu.trigger_on_external(2)
    smu.clear_trigger()
    smu.reset_trigger()


def test_the_rest_of_the_driver(smu: Any) -> None:
    smu.auto_zero_once()
    smu.beep(440, 0.1)
    smu.compliance_current = 0.01
    smu.enable_source()
    smu.ramp_to_voltage(1.0, steps=5, pause=0)
    assert smu.source_voltage == 1.0
    smu.disable_output_triggers()
    smu.ramp_to_voltage(0.0, steps=2, pause=0)
    smu.stop_buffer()
    smu.disable_source()
    assert smu.source_enabled is False
