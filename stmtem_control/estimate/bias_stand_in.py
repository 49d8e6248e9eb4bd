"""The biasing source while a plan is walked through."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stmtem_control.clock import READING_PERIOD_S
from stmtem_control.config import Station
from stmtem_control.device_limits import (
    MOST_COMPLIANCE,
    check_bias,
    check_compliance,
    check_range,
)
from stmtem_control.devices import BiasSequence, plan_hold, typical_reading_s
from stmtem_control.errors import LimitError

from .latencies import Latencies
from .probe_stand_in import Circuit
from .stand_in import DeviceStandIn, SignalStandIn, signals
from .tally import Tally
from .walked_clock import WalkedClock

KNOWN = ("elapsed", "dose")  # conditions that come when the time has passed
SURE = 1.01  # of the planned time: so long is waited for a reading of a source that is held


class BiasStandIn(DeviceStandIn):
    """A biasing source: the level, readings of the circuit, and the limits of the real one.

    Parameters
    ----------
    name : str
    station : Station
    clock : WalkedClock
    latencies : Latencies
    circuit : Circuit
        What flows.
    tally : Tally
        Told of every level.
    """

    paused_s = 0.0
    lapse = None
    safe_state = None

    def __init__(
        self,
        name: str,
        station: Station,
        clock: WalkedClock,
        latencies: Latencies,
        circuit: Circuit,
        tally: Tally,
    ) -> None:
        super().__init__(name)
        table = station.bias_source
        self.clock = clock
        self.max_bias_V = table.max_bias_V
        self._highest_A = MOST_COMPLIANCE * table.compliance_A
        self._circuit = circuit
        self._tally = tally
        speed = clock.speed
        self._set_s = latencies.bias * speed
        self._off_s = latencies.source_off * speed
        self._reading_s = reading_s(station) + latencies.reading * speed
        self._reading_wall_s = self._reading_s / speed + latencies.save
        self.setpoint = SignalStandIn(f"{name}_setpoint")
        self.voltage = SignalStandIn(f"{name}_voltage")
        self.current = SignalStandIn(f"{name}_current")
        self._voltage, self._current = self.voltage.reading(), self.current.reading()
        self._readings = {f"{name}_voltage": self._voltage, f"{name}_current": self._current}
        self.output = SignalStandIn(f"{name}_output", False)
        self.in_compliance = SignalStandIn(f"{name}_in_compliance", False)
        self.compliance = SignalStandIn(
            f"{name}_compliance", table.compliance_A, check=self._check_compliance
        )
        self.nplc = SignalStandIn(f"{name}_nplc", table.nplc)
        self.leak = SignalStandIn(f"{name}_leak")
        self.baseline = signals(
            f"{name}_baseline", leak_std=0.0, offset=0.0, offset_std=0.0, noise=0.0,
            measured_at=0.0,
        )  # fmt: skip
        known = self.baseline
        self._kept = (
            self.setpoint, self.output, self.compliance, self.nplc, self.leak, known.leak_std,
            known.offset, known.offset_std, known.noise,
        )  # fmt: skip
        self.sequence = SequenceStandIn(f"{name}_sequence", self, station, latencies)

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest level in V."""
        return -self.max_bias_V, self.max_bias_V

    def check_value(self, value: Any, **_: Any) -> None:
        """Take note of a level (V) that the device would refuse."""
        try:
            check_bias(self.name, value, self.max_bias_V)
        except LimitError as error:
            self.refuse(error)

    def _check_compliance(self, amperes: Any) -> None:
        try:
            check_compliance(self.name, amperes, self._highest_A)
        except LimitError as error:
            self._tally.refuse("compliance", error)

    def set_compliance(self, amperes: float) -> float:
        """Set the limit of the current in A."""
        return self.compliance.set(amperes)

    def set(self, value: float) -> float:
        """Set the level in V and switch the output on."""
        self.check_value(value)
        self.take(float(value))
        return self._set_s

    def take(self, volts: float) -> None:
        """Be at a level, with the output on."""
        self.setpoint.value = volts
        self.output.value = True
        self._tally.set_bias(volts)

    def taken(self, readings: int) -> None:
        """Count readings of a sequence."""
        self._tally.readings += readings

    def skipped(self, wall_s: float) -> None:
        """Count the readings that a run takes while it holds a level for so many wall seconds."""
        if self.output.value:
            self._tally.readings += round(wall_s / max(READING_PERIOD_S, self._reading_wall_s))

    def refuse(self, error: LimitError) -> None:
        """Take note of what the device would refuse."""
        self._tally.refuse(self.name, error)

    def judges(self, condition: Any) -> bool:
        """Tell whether it is known here when a condition of ``until`` comes; if not, say so."""
        if condition.kind in KNOWN:
            self.clock.pace = 1.0  # it is judged at each reading
            return True
        self._tally.assume(f"until {condition}: counted to its time-out, the longest it can take")
        return False

    def state(self) -> dict[str, Any]:
        """Return what it is like, but for when the leak was measured."""
        known = self.baseline
        return {
            "signals": [signal.value for signal in self._kept],
            "measured": bool(known.measured_at.value),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be as it was once."""
        for signal, value in zip(self._kept, state["signals"], strict=True):
            signal.value = value
        self.baseline.measured_at.value = time.time() if state["measured"] else 0.0

    def locate(self) -> dict[str, float]:
        """Return the level set and the voltage last read, in V."""
        return {"setpoint": self.setpoint.value, "readback": self.voltage.value}

    def trigger(self) -> float:
        """Take one reading; with the output off there is nothing to measure, and it is NaN."""
        if not self.output.value:
            self._voltage["value"] = self._current["value"] = math.nan
            self.voltage.value = self.current.value = math.nan
            return 0.0
        self.take_readings(1)
        return self._reading_s

    def take_readings(self, count: int) -> tuple[list[float], list[bool]]:
        """Take readings of the circuit; return the currents in A, and whether each was limited."""
        volts, highest = self.setpoint.value, self.compliance.value
        currents = self._circuit.currents_A(volts, count)
        limited = [abs(amperes) >= highest for amperes in currents]
        self.voltage.value = volts
        self.current.value = currents[-1]
        self.in_compliance.value = limited[-1]
        self._voltage["value"], self._current["value"] = volts, currents[-1]
        self._tally.readings += count
        return currents, limited

    def read(self) -> Mapping[str, dict[str, Any]]:
        """Return voltage and current as read last."""
        return self._readings

    def stop(self, *, success: bool = True) -> float:
        """Go to 0 V and switch the output off."""
        self.setpoint.value = 0.0
        self.output.value = False
        self._tally.set_bias(0.0)
        return self._off_s


class SequenceStandIn(DeviceStandIn):
    """Levels that the source steps through in its own time.

    Parameters
    ----------
    name : str
    bias : BiasStandIn
        That it is a part of.
    station : Station
    latencies : Latencies
    """

    run = None

    def __init__(
        self, name: str, bias: BiasStandIn, station: Station, latencies: Latencies
    ) -> None:
        super().__init__(name)
        self._bias = bias
        self.begun: Callable[[int], None] = lambda levels: None
        self.trigger_s: Callable[[], float] = lambda: 0.0  # from one trigger to the next
        self._line_Hz = float(station.bias_source.line_frequency_Hz)
        self._latencies = latencies
        self.prepared: BiasSequence | None = None

    def check_value(self, value: Any, **_: Any) -> None:
        """Take note of a sequence that the device would refuse.

        Raises
        ------
        LimitError
            It is none, or the source could not run it.
        """
        self._checked(value)

    def _checked(self, value: Any) -> BiasSequence:
        try:
            sequence = value if isinstance(value, BiasSequence) else BiasSequence(**value)
        except TypeError as error:
            raise LimitError(f"{self.name}: {value!r} is no sequence: {error}") from error
        low, high = self._bias.limits
        try:
            for level in sequence.levels:
                check_range(self.name, level, low, high, "V", "[bias_source] max_bias_V")
        except LimitError as error:
            self._bias.refuse(error)
        sequence.delay_s(self._line_Hz)
        return sequence

    def prepare(self, value: Any) -> float:
        """Set a sequence up; return the station seconds that takes."""
        self.prepared = self._checked(value)
        self._bias.stop()
        latencies, levels = self._latencies, len(self.prepared.levels)
        return (latencies.prepare + levels * latencies.prepare_level) * self._bias.clock.speed

    def kickoff(self, **_: Any) -> float:
        """Start it."""
        return self._latencies.bias * self._bias.clock.speed

    def complete(self) -> float:
        """Return how long it goes on."""
        sequence, self.prepared = self.prepared, None
        if sequence is None:
            return 0.0
        clock, bias = self._bias.clock, self._bias
        step_s = sequence.step_s if sequence.step_line is None else self.trigger_s()
        before = bias.setpoint.value
        for place, level in enumerate(sequence.levels):
            if level != before:
                clock.at(clock.t + place * step_s, partial(bias.take, level))
            before = level
        bias.taken(len(sequence.levels))
        self.begun(len(sequence.levels_V))
        return len(sequence.levels) * step_s

    def stop(self, *, success: bool = True) -> float:
        """End it."""
        return self._bias.stop()


def reading_s(station: Station) -> float:
    """Return the station seconds that the conversions of a reading take, as it is held."""
    source = station.bias_source
    if source.dead_man_s <= 0.0:
        return typical_reading_s(source.nplc, source.line_frequency_Hz)
    speed = 1.0 if station.bench is None else station.bench.speed
    plan = plan_hold(source.dead_man_s, source.nplc, source.line_frequency_Hz, speed)
    return SURE * plan.step_s
