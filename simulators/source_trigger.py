"""The trigger model of a SourceMeter: arm layer, trigger layer and the source-delay-measure cycle.

An operation is a generator that yields what it waits for: a time or a trigger.  Alarms of the
clock and trigger events drive it on; no thread belongs to it.
"""

import math
from collections.abc import Callable, Generator
from typing import Protocol

from .clock import Alarm, Clock
from .scpi import ScpiError
from .scpi_status import RegisterSet
from .source_models import fitting
from .source_output import OutputStage
from .source_readings import Meter, Reading, Step
from .source_settings import Layer, Settings

Operation = Generator[Step, float, None]

_TRIGGER_LINK, _BUS, _MANUAL, _START_LOW, _START_HIGH = "TLIN", "BUS", "MAN", "SOT-", "SOT+"


class Sequencer:
    """Runs one operation at a time.

    Parameters
    ----------
    clock : Clock
        Gives the time and the alarms.
    enter : Callable
        Calls a function with the instrument locked, and sees to what it left to do.
    """

    def __init__(self, clock: Clock, enter: Callable[[Callable[[], None]], None]) -> None:
        self._clock = clock
        self._enter = enter
        self._operation: Operation | None = None
        self._alarm: Alarm | None = None
        self._waiting: str | None = None
        self._latched: set[str] = set()
        self._turn = 0
        self.due: float | None = None

    @property
    def busy(self) -> bool:
        """True from the start of an operation to its end."""
        return self._operation is not None

    def start(self, operation: Operation) -> None:
        """Begin an operation."""
        self._operation = operation
        self._proceed(None)

    def stop(self) -> bool:
        """End the operation where it is; True if there was one."""
        operation, self._operation = self._operation, None
        self._rest()
        if operation is not None:
            operation.close()
        return operation is not None

    def forget_triggers(self) -> None:
        """Drop the triggers that came when nothing waited for them."""
        self._latched.clear()

    def signal(self, event: str, latch: bool = True) -> bool:
        """Give a trigger; True if an operation was waiting for it."""
        if self._waiting == event:
            self._rest()
            self._proceed(self._clock.now())
            return True
        if latch:
            self._latched.add(event)
        return False

    def overdue(self) -> tuple[float, Callable[[], None]] | None:
        """Return when the operation should have gone on (s), and what lets it; None if not late."""
        due = self.due
        if due is None or due > self._clock.now():
            return None
        turn = self._turn
        return due, lambda: self._ring(turn)

    def _rest(self) -> None:
        self._turn += 1
        self.due = self._waiting = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _proceed(self, time: float | None) -> None:
        operation = self._operation
        while operation is not None:
            try:
                step = next(operation) if time is None else operation.send(time)
            except StopIteration:
                if self._operation is operation:
                    self._operation = None
                return
            if not isinstance(step, str):
                self.due = step
                self._alarm = self._clock.call_at(step, self._ringer(self._turn, step))
                return
            if step not in self._latched:
                self._waiting = step
                return
            self._latched.discard(step)
            time = self._clock.now()

    def _ringer(self, turn: int, due: float) -> Callable[[], None]:
        def ring() -> None:
            with self._clock.at(due):
                self._enter(lambda: self._ring(turn))

        return ring

    def _ring(self, turn: int) -> None:
        if turn == self._turn and self.due is not None:
            due = self.due
            self._rest()
            self._proceed(due)


class Desk(Protocol):
    """What the trigger model does to the rest of the instrument."""

    settings: Settings
    output: OutputStage
    meter: Meter

    @property
    def operation(self) -> RegisterSet:
        """The operation status registers."""
        ...

    def pulse(self, line: int) -> None:
        """Send a pulse out of a trigger link line."""
        ...

    def recall(self, location: int) -> None:
        """Take the settings of a source memory location."""
        ...

    def take(self, reading: Reading) -> None:
        """Keep a reading."""
        ...


def source_points(settings: Settings) -> list[float] | None:
    """Return the levels (V or A) of the sweep or list of the source in use; None if fixed.

    Raises
    ------
    ScpiError
        +801 for an empty list, -221 for a logarithmic sweep through zero.
    """
    side = settings.source_side(settings.source)
    if side.mode == "LIST":
        if not side.values:
            raise ScpiError(801)
        first = min(side.list_start, len(side.values)) - 1
        if settings.sweep_direction == "DOWN":
            return side.values[::-1]
        return side.values[first:] + side.values[:first]
    if side.mode != "SWE":
        return None
    count = settings.sweep_points()
    if settings.spacing == "LOG":
        if side.start * side.stop <= 0.0:
            raise ScpiError(-221)
        ratio = math.log(side.stop / side.start)
        levels = [side.start * math.exp(ratio * i / max(1, count - 1)) for i in range(count)]
    else:
        step = (side.stop - side.start) / max(1, count - 1)
        levels = [side.start + i * step for i in range(count)]
    return levels if settings.sweep_direction == "UP" else levels[::-1]


class TriggerModel:
    """Makes the operation that an ``:INITiate`` runs."""

    def __init__(self, clock: Clock, desk: Desk) -> None:
        self._clock = clock
        self._desk = desk
        self._origin = 0.0

    def operation(self) -> Operation:
        """Return the operation of the present settings.

        Raises
        ------
        ScpiError
            The sweep or list cannot be run.
        """
        settings = self._desk.settings
        return self._run(None if settings.memory_sweep else source_points(settings))

    def _run(self, points: list[float] | None) -> Operation:
        desk, settings = self._desk, self._desk.settings
        registers = desk.operation
        now = self._origin = self._clock.now()
        registers.hold(10, False)
        memory = settings.memory_sweep
        registers.hold(3, points is not None or memory)
        try:
            taken = armed = 0
            while armed < settings.arm.count:
                now = yield from self._arm(armed, now)
                if "TENT" in settings.arm.outputs:
                    desk.pulse(settings.arm.output_line)
                triggered = 0
                while triggered < settings.trigger.count:
                    now = yield from self._point(points, taken, triggered == 0, now)
                    taken += 1
                    triggered += 1
                    if self._must_stop(points):
                        self._auto_off()
                        return
                self._auto_off()
                if "TEX" in settings.arm.outputs:
                    desk.pulse(settings.arm.output_line)
                armed += 1
        finally:
            # Ended early, by an abort, the output stays on: auto output-off has not come to its
            # turn (manual, section 18, :ABORt).
            registers.hold(3, False)
            registers.hold(5, False)
            registers.hold(6, False)
            registers.hold(10, True)

    def _auto_off(self) -> None:
        """Switch the output off when the trigger count has expired, if that is wished."""
        if self._desk.settings.auto_off:
            self._desk.output.switch(False)

    def _arm(self, armed: int, now: float) -> Generator[Step, float, float]:
        arm = self._desk.settings.arm
        self._desk.operation.hold(6, True)
        if arm.source == "TLIN":
            now = yield from self._link(arm, armed == 0, now)
        elif arm.source == "TIM":
            due = self._origin + armed * self._desk.settings.arm_timer
            if due > now:
                now = yield due
        elif arm.source != "IMM":
            names = {"BUS": _BUS, "MAN": _MANUAL, "NST": _START_LOW, "PST": _START_HIGH}
            now = yield names.get(arm.source, "SOT")
        self._desk.operation.hold(6, False)
        return now

    def _link(self, layer: Layer, first: bool, now: float) -> Generator[Step, float, float]:
        """Wait for the trigger link, unless the first pass goes around the detector."""
        if layer.direction == "SOUR" and first:
            self._desk.pulse(layer.output_line)
            return now
        return (yield f"{_TRIGGER_LINK}{layer.input_line}")

    def _point(
        self, points: list[float] | None, index: int, first: bool, now: float
    ) -> Generator[Step, float, float]:
        desk, settings = self._desk, self._desk.settings
        trigger = settings.trigger

        def detect(name: str, now: float) -> Generator[Step, float, float]:
            if trigger.source != "TLIN" or name not in settings.trigger_inputs:
                return now
            desk.operation.hold(5, True)
            now = yield from self._link(trigger, first and name == "SOUR", now)
            desk.operation.hold(5, False)
            return now

        def event(name: str) -> None:
            if name in trigger.outputs:
                desk.pulse(trigger.output_line)

        now = yield from detect("SOUR", now)
        if settings.trigger_delay > 0.0:
            now = yield now + settings.trigger_delay
        self._source(points, index)
        event("SOUR")
        now = yield from detect("DEL", now)
        delay = 1e-3 if settings.delay_auto else settings.delay
        if delay > 0.0:
            now = yield now + delay
        event("DEL")
        now = yield from detect("SENS", now)
        if settings.compliance_abort == "EARL" and self._must_stop(points):
            return now
        reading = yield from desk.meter.read(now)
        desk.take(reading)
        event("SENS")
        if settings.auto_off and settings.auto_off_mode == "ALW":
            desk.output.switch(False)
        return reading.time

    def _source(self, points: list[float] | None, index: int) -> None:
        """Put the level of the point on the output."""
        desk, settings = self._desk, self._desk.settings
        if settings.memory_sweep:
            desk.recall((settings.memory_start - 1 + index % settings.memory_points) % 100 + 1)
        else:
            side = settings.source_side(settings.source)
            if points is not None:
                level = points[index % len(points)]
                scales = settings.model.scales(settings.source)
                if settings.sweep_ranging == "BEST":
                    side.range = fitting(scales, max(points, key=abs)).full
                elif settings.sweep_ranging == "AUTO":
                    side.range = fitting(scales, level).full
                desk.output.point = level
            elif side.triggered is not None:
                side.level, side.triggered = side.triggered, None
        if settings.auto_off and not desk.output.on:
            desk.output.switch(True)
        else:
            desk.output.apply()

    def _must_stop(self, points: list[float] | None) -> bool:
        """Tell whether a sweep ends here because the source is in compliance."""
        if points is None or self._desk.settings.compliance_abort == "NEV":
            return False
        return self._desk.output.in_compliance()
