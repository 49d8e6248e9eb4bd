"""The inside of a SourceMeter, behind its command table: state, status, readings, memories."""

from collections import deque
from collections.abc import Callable
from dataclasses import fields

from .clock import Clock
from .ports import Terminals
from .scpi import STANDARD_ERRORS, Reply, ScpiError
from .scpi_status import RegisterSet, StatusModel
from .source_models import OVERFLOW, SOURCE_ERRORS, Model
from .source_output import OutputStage
from .source_readings import Meter, Reading, TraceBuffer, encode
from .source_settings import MOST_POINTS, Settings
from .source_timer import Timer
from .source_trigger import Sequencer, TriggerModel

# What a source memory location does not hold (tables 18-1 to 18-11, column "source memory").
_OUTSIDE_MEMORY = frozenset(
    {
        "model", "memory_sweep", "memory_points", "memory_start", "points", "spacing",
        "sweep_direction", "sweep_ranging", "compliance_abort", "auto_off", "auto_off_mode",
        "off_state", "output_enable", "arm", "arm_timer", "trigger", "trigger_inputs",
        "data_format", "swapped", "elements", "calc_elements", "register_format",
        "pattern_format", "front", "time_auto_reset",
    }
)  # fmt: skip


class SourceCore:
    """One instrument's state; whoever calls holds its lock.

    Parameters
    ----------
    clock : Clock
        Times everything.
    terminals : Terminals
        What is biased and measured.
    model : Model
        Which instrument this is.
    serial_number : str
        Its serial number.
    seed : int
        Of the meter's noise.
    timer : Timer
        Gives the time stamps.
    enter : Callable
        Calls a function with the lock held; given to the alarms.
    post : Callable
        Takes a function to be called once the lock is free.
    send_pulse, send_pattern : Callable
        A trigger link line (1 to 4) pulses; the digital port takes a pattern.
    """

    def __init__(
        self,
        clock: Clock,
        terminals: Terminals,
        model: Model,
        serial_number: str,
        seed: int,
        timer: Timer,
        *,
        enter: Callable[[Callable[[], None]], None],
        send_pulse: Callable[[int], None],
        send_pattern: Callable[[int], None],
    ) -> None:
        self.clock = clock
        self.model = model
        self.serial_number = serial_number
        self.settings = Settings(model)
        self.output = OutputStage(terminals, self.settings)
        self.line_hz = 50
        self.line_auto = True
        self.meter = Meter(
            clock, terminals, self.settings, self.output, lambda: float(self.line_hz), seed
        )
        self.status = StatusModel({**STANDARD_ERRORS, **SOURCE_ERRORS})
        self.status.operation.hold(10, True)
        self.status.measurement.hold(11, True)
        self.trace = TraceBuffer(timer)
        self.samples: deque[Reading] = deque(maxlen=MOST_POINTS)
        self._overwrite = False
        self.sequencer = Sequencer(clock, enter)
        self.trigger_model = TriggerModel(clock, self)
        self.memories: dict[int, Settings] = {}
        self.setups: dict[int, Settings] = {}
        self.timer = timer
        timer.reset(clock.now())
        self.serial_port = False  # how the present command came in
        self.last_key = 0
        self._send_pulse = send_pulse
        self._send_pattern = send_pattern
        self.actual_pattern = self.settings.pattern

    @property
    def operation(self) -> RegisterSet:
        """The operation registers, for the trigger model."""
        return self.status.operation

    # -- output -----------------------------------------------------------------------------

    def switch_output(self, on: bool) -> None:
        """Turn the output on or off; off ends a running operation.

        Raises
        ------
        ScpiError
            +802 while the output enable line forbids it, +810 while it is too hot.
        """
        if on and self.output.blocked:
            raise ScpiError(self.output.blocked_code)
        if on != self.output.on:
            self.output.switch(on)
        if not on:
            self.abort()

    def set_enable_line(self, closed: bool) -> None:
        """Close or open the output enable line of the rear panel."""
        self.output.enable_line = closed
        self.status.measurement.hold(11, closed)
        if self.output.blocked:
            self.switch_output(False)

    def set_hot(self, hot: bool) -> None:
        """Overheat, or cool down: the output stays off then, as the manual says."""
        self.output.hot = hot
        self.status.measurement.hold(12, hot)
        if hot:
            self.switch_output(False)

    def set_level(self, function: str, level: float) -> None:
        """Program the level of a source and put it out."""
        self.settings.set_level(function, level)
        self.output.point = None
        self.output.apply()

    def set_pattern(self, pattern: int) -> None:
        """Program the digital port."""
        self.settings.pattern = pattern
        self.show_pattern(pattern)

    def show_pattern(self, pattern: int) -> None:
        """Put a pattern on the lines of the digital port."""
        self.actual_pattern = pattern
        self._send_pattern(pattern)

    # -- operation --------------------------------------------------------------------------

    def initiate(self) -> None:
        """Leave idle.

        Raises
        ------
        ScpiError
            +803 with the output off and not automatic, +802 blocked, and what a sweep cannot do.
        """
        if not self.output.on and not self.settings.auto_off:
            raise ScpiError(803)
        if self.output.blocked:
            raise ScpiError(self.output.blocked_code)
        operation = self.trigger_model.operation()
        self._overwrite = True
        if self.settings.time_auto_reset:
            self.timer.reset(self.clock.now())
        self.sequencer.start(operation)

    def abort(self) -> None:
        """Return to idle; the output stays as it is, also with auto output-off."""
        self.sequencer.stop()

    def fetch(self) -> Reply:
        """Return the data elements of the readings of the last operation that took any."""
        return self.encoded(list(self.samples))

    def encoded(self, readings: list[Reading]) -> Reply:
        """Return data elements of readings in the present format; -230 if there are none."""
        if not readings:
            raise ScpiError(-230)
        values = [
            reading.element(name, self.timer.stamp)
            for reading in readings
            for name in self.settings.elements
        ]
        return self.pack(values)

    def pack(self, values: list[float]) -> Reply:
        """Return numbers in the present data format."""
        return encode(values, self.settings.data_format, self.settings.swapped)

    def pulse(self, line: int) -> None:
        """Send a pulse out of a trigger link line."""
        self._send_pulse(line)

    def take(self, reading: Reading) -> None:
        """Keep a reading: sample buffer, data store, limit tests, status."""
        self._test_limits(reading)
        if self._overwrite:  # what was there stays until then (manual, appendix C)
            self.samples.clear()
            self._overwrite = False
        self.samples.append(reading)
        self.trace.store(reading)
        registers = self.status.measurement
        registers.strike(6)
        registers.hold(7, bool(reading.status & 1))
        registers.hold(13, bool(reading.status & 1 << 4))
        registers.hold(14, bool(reading.status & (1 << 3 | 1 << 16)))
        self.mark_buffer()

    def mark_buffer(self) -> None:
        """Bring the buffer bits of the measurement status up to date."""
        self.status.measurement.hold(8, len(self.trace.readings) >= 2)
        self.status.measurement.hold(9, self.trace.full)

    def look_at_source(self) -> None:
        """Bring the compliance bits of the measurement status up to date."""
        self.status.measurement.hold(13, self.output.volts_clipped)
        self.status.measurement.hold(14, self.output.in_compliance())

    def limit_value(self, reading: Reading) -> float:
        """Return what the limit tests look at, less the null offset."""
        value = reading.element(self.settings.limit_feed)
        if self.settings.null and abs(value) < OVERFLOW:
            value -= self.settings.null_offset
        return value

    def _test_limits(self, reading: Reading) -> None:
        settings = self.settings
        tests = [limit for limit in settings.limits.values() if limit.state]
        if not tests and not settings.compliance_test:
            return
        limited = bool(reading.status & (1 << 3 | 1 << 16))
        failed = limited == (settings.compliance_test_fail == "IN")
        settings.compliance_test_failed = settings.compliance_test and failed
        registers = self.status.measurement
        registers.hold(0, settings.compliance_test_failed)
        value = self.limit_value(reading)
        for name, limit in settings.limits.items():
            low = limit.state and value < limit.lower
            high = limit.state and value > limit.upper
            limit.failed = low or high
            if name in (2, 3):
                registers.hold(1 + 2 * (name - 2), low)
                registers.hold(2 + 2 * (name - 2), high)
        passed = not settings.compliance_test_failed and not any(t.failed for t in tests)
        registers.hold(5, passed)
        reading.status |= 1 << 7

    # -- set-ups ----------------------------------------------------------------------------

    def reset(self, swapped: bool = False) -> None:
        """Put the instrument into its ``*RST`` (or ``:SYSTem:PRESet``) state."""
        self._quiet()
        self.settings.reset()
        self.settings.swapped = swapped
        self._restored()

    def recall_setup(self, location: int) -> None:
        """Take a set-up that ``*SAV`` kept; an unused location holds the ``*RST`` state."""
        self._quiet()
        self.settings.restore(self.setups.get(location, Settings(self.model)))
        self._restored()

    def _quiet(self) -> None:
        self.output.switch(False)
        self.abort()
        self.sequencer.forget_triggers()
        self.samples.clear()
        self.meter.forget()

    def _restored(self) -> None:
        self.output.apply()
        self.show_pattern(self.settings.pattern)

    def recall(self, location: int) -> None:
        """Take the settings of a source memory location."""
        kept = self.memories.get(location)
        if kept is None:
            return  # an untouched location holds the settings at power-on of the sweep
        taken = kept.snapshot()
        for item in fields(Settings):
            if item.name not in _OUTSIDE_MEMORY:
                setattr(self.settings, item.name, getattr(taken, item.name))
        self.output.point = None
        self.output.apply()

    def configure(self, functions: list[str]) -> None:
        """Set up for a one-shot measurement (``:CONFigure``); the output turns on."""
        settings, fresh = self.settings, Settings(self.model)
        self.abort()
        settings.functions = functions
        for name in functions:
            if name == "RES":
                for path in ("ohms_mode", "ohms_range", "ohms_auto_range", "offset_compensated"):
                    settings.put(path, fresh.get(path))
            else:
                path = "sense_volt" if name == "VOLT" else "sense_curr"
                settings.put(path, fresh.get(path))
        settings.nplc = fresh.nplc
        settings.arm.source = settings.trigger.source = "IMM"
        settings.arm.count = settings.trigger.count = 1
        settings.trigger_delay = 0.0
        settings.math = settings.null = settings.compliance_test = False
        for limit in settings.limits.values():
            limit.state = False
        self.trace.active = False
        settings.autozero = True
        self.switch_output(True)
        self.output.apply()
