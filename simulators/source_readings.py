"""Readings of a SourceMeter: conversions in time, filters, data elements and the buffer."""

import math
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

import numpy as np

from .clock import Clock
from .ports import Terminals
from .source_models import NOT_A_NUMBER, OVERFLOW, Scale, fitting
from .source_output import OutputStage
from .source_settings import MOST_POINTS, Settings
from .source_timer import Timer

# A wait of the instrument: a time on its clock (s), or the name of a trigger.
Step = float | str

_CONVERSION = 185e-6  # of the A/D converter, beside its integration time, s
_OVERHEAD = {"VOLT": (0.3e-3, 1.8e-3), "CURR": (0.64e-3, 2.15e-3)}  # without, with autozero, s


@dataclass
class Reading:
    """One source-measure operation.

    Attributes
    ----------
    volts, amps, ohms : float
        Measured, or programmed, or not a number (9.91E37); overflow is 9.9E37.
    time : float
        End of the conversion on the instrument's clock, s.
    status : int
        The 24-bit status word.
    calc : float
        Result of the CALC1 expression.
    """

    volts: float
    amps: float
    ohms: float
    time: float
    status: int
    calc: float = NOT_A_NUMBER

    def element(self, name: str, stamp: Callable[[float], float] = float) -> float:
        """Return a data element; `stamp` tells what the timer shows at a time (s)."""
        values = {
            "VOLT": self.volts,
            "CURR": self.amps,
            "RES": self.ohms,
            "TIME": stamp(self.time),
            "STAT": float(self.status),
            "CALC": self.calc,
        }
        return values[name]


def encode(values: Iterable[float], data_format: str, swapped: bool) -> str | bytes:
    """Return values as the instrument sends them: ASCII, or an indefinite-length block."""
    if data_format == "ASC":
        return ",".join(f"{value:+.6E}" for value in values)
    order = "<" if swapped else ">"
    found = list(values)
    return b"#0" + struct.pack(f"{order}{len(found)}f", *found)


class Meter:
    """Takes conversions of voltage and current and makes readings of them."""

    def __init__(
        self,
        clock: Clock,
        terminals: Terminals,
        settings: Settings,
        output: OutputStage,
        line_hz: Callable[[], float],
        seed: int,
    ) -> None:
        self._clock = clock
        self._terminals = terminals
        self._settings = settings
        self._output = output
        self._line_hz = line_hz
        self._random = np.random.Generator(np.random.Philox(seed))
        self._moving: deque[tuple[float, float, float]] = deque()
        self._moving_key: tuple[object, ...] = ()
        # May change a reading on its way into the instrument's memory: an A/D converter gone bad.
        self.spoil: Callable[[Reading], None] = lambda reading: None

    @property
    def integration(self) -> float:
        """Integration time of one conversion, s."""
        return self._settings.nplc / self._line_hz()

    def duration(self) -> float:
        """Return the time (s) of one unfiltered reading, from the manual's speed tables."""
        settings = self._settings
        signals = self._signals()
        phases = len(signals) + (2 if settings.autozero else 0)
        overhead = max(_OVERHEAD[signal][settings.autozero] for signal in signals)
        return phases * (self.integration + _CONVERSION) + overhead

    def _signals(self) -> list[str]:
        functions = self._settings.functions
        ohms = "RES" in functions
        needed = [
            name
            for name in ("VOLT", "CURR")
            if name in functions or (ohms and (name == "VOLT" or not self._settings.auto_ohms))
        ]
        return needed or ["VOLT"]

    def read(self, start: float) -> Generator[Step, float, Reading]:
        """Take one reading, filtered if the filter is on; waits are yielded."""
        settings = self._settings
        count = settings.filter_count if settings.filter_on else 1
        now = start
        if settings.filter_on and settings.filter_type == "MOV":
            now, sample = yield from self._convert(now)
            samples = self._move(sample, count)
        else:
            samples = []
            for _ in range(count):
                now, sample = yield from self._convert(now)
                samples.append(sample)
        volts, amps, ohms = (
            OVERFLOW if OVERFLOW in values else fmean(values)
            for values in zip(*samples, strict=True)
        )
        reading = self._reading(volts, amps, ohms, now)
        self.spoil(reading)
        return reading

    def _move(
        self, sample: tuple[float, float, float], count: int
    ) -> list[tuple[float, float, float]]:
        """Put a sample into the moving filter; the first one fills all places."""
        settings = self._settings
        key = (count, settings.sense_scale("CURR"), settings.sense_scale("VOLT"), settings.source)
        if key != self._moving_key:
            self._moving_key = key
            self._moving = deque([sample] * count, maxlen=count)
        else:
            self._moving.append(sample)
        return list(self._moving)

    def forget(self) -> None:
        """Empty the moving filter."""
        self._moving_key = ()

    def _convert(
        self, start: float
    ) -> Generator[Step, float, tuple[float, tuple[float, float, float]]]:
        """Convert until the ranges fit; return the end time and volts, amps, ohms."""
        while True:
            integration = self.integration
            yield start + self.duration() - integration
            opened, charge = self._charge(integration)
            yield opened + integration
            closed, flowed = self._charge(integration)
            amps = (flowed - charge) / (closed - opened) if closed > opened else 0.0
            volts = self._terminals.voltage()
            if self._range_up(volts, amps):
                start = closed
                continue
            sample = self._sample(volts, amps, integration)
            if not self._range_ohms(sample[2]):
                return closed, sample
            self._output.apply()
            start = closed

    def _charge(self, integration: float) -> tuple[float, float]:
        """Return a time and the charge (C) at that time.

        The model may need a while to come up to now, and now moves meanwhile: ask a few times
        and take the answer whose moment is known best.
        """
        best = (math.inf, 0.0, 0.0)
        for _ in range(5):
            before = self._clock.now()
            charge = self._terminals.charge()
            after = self._clock.now()
            best = min(best, (after - before, 0.5 * (before + after), charge))
            if best[0] <= 1e-3 * integration:
                break
        return best[1], best[2]

    def _range_up(self, volts: float, amps: float) -> bool:
        """Leave an automatic range that is too small; True if the reading must be repeated."""
        settings = self._settings
        changed = False
        for function, value in (("CURR", amps), ("VOLT", volts)):
            side = settings.sense_side(function)
            if not side.auto_range or settings.source == function or settings.auto_ohms:
                continue
            present = settings.sense_scale(function)
            if abs(value) > present.limit:
                wanted = fitting(settings.model.scales(function), value)
                top = settings.compliance_scale(function)
                scale = wanted if wanted.full < top.full else top
                if scale.full > present.full:
                    side.range = scale.full
                    changed = True
        return changed

    def _range_down(self, volts: float, amps: float) -> None:
        """Choose a smaller automatic range for the next reading."""
        settings = self._settings
        for function, value in (("CURR", amps), ("VOLT", volts)):
            side = settings.sense_side(function)
            if not side.auto_range or settings.source == function or settings.auto_ohms:
                continue
            scales = settings.model.scales(function)
            floor = fitting(scales, side.lower_limit)
            wanted = fitting(scales, abs(value) / 0.95)  # not back up for a little noise
            scale = wanted if wanted.full > floor.full else floor
            top = settings.compliance_scale(function)
            side.range = min(side.range, max(scale.full, floor.full), max(top.full, floor.full))

    def _range_ohms(self, ohms: float) -> bool:
        """Step the auto ohms range; True if the reading must be repeated."""
        settings = self._settings
        if not (settings.auto_ohms and settings.ohms_auto_range):
            return False
        names = [full for full, _ in settings.model.ohms]
        place = min(range(len(names)), key=lambda i: abs(names[i] - settings.ohms_range))
        if (ohms == OVERFLOW or abs(ohms) > 1.05 * names[place]) and place + 1 < len(names):
            settings.ohms_range = names[place + 1]
            return True
        if abs(ohms) < 0.1 * names[place] and place > 0:
            settings.ohms_range = names[place - 1]
            return True
        return False

    def _sample(self, volts: float, amps: float, integration: float) -> tuple[float, float, float]:
        settings = self._settings
        cycles = settings.nplc
        amp_scale, volt_scale = self._scales(amps, volts)
        load = self._terminals.noise(0.5 / integration)
        meter = amp_scale.noise / math.sqrt(cycles)
        # Two draws a conversion, whatever is measured: the same seed gives the same readings.
        amp_draw, volt_draw = self._random.standard_normal(2)
        noisy_amps = amps + float(amp_draw) * math.hypot(load, meter)
        noisy_volts = volts + float(volt_draw) * volt_scale.noise / math.sqrt(cycles)
        measured_amps = _quantised(noisy_amps, amp_scale)
        measured_volts = _quantised(noisy_volts, volt_scale)
        output = self._output
        if settings.auto_ohms:
            current = output.level
            ohms = OVERFLOW if output.in_compliance() else measured_volts / current
        elif OVERFLOW in (measured_amps, measured_volts):
            ohms = OVERFLOW
        else:
            ohms = measured_volts / measured_amps if measured_amps else OVERFLOW
        self._range_down(measured_volts, measured_amps)
        return measured_volts, measured_amps, ohms

    def _scales(self, amps: float, volts: float) -> tuple[Scale, Scale]:
        settings = self._settings
        if settings.auto_ohms:
            # The meter's ranges are those that fit, and no settings of their own.
            return fitting(settings.model.amps, amps), fitting(settings.model.volts, volts)
        return settings.sense_scale("CURR"), settings.sense_scale("VOLT")

    def _reading(self, volts: float, amps: float, ohms: float, time: float) -> Reading:
        settings, output = self._settings, self._output
        functions, source = settings.functions, output.function
        overflow = any(
            value == OVERFLOW
            for name, value in (("VOLT", volts), ("CURR", amps), ("RES", ohms))
            if name in functions
        )
        limited = output.in_compliance()
        ranged = limited and output.range_compliance()
        flags = {
            0: overflow,
            1: settings.filter_on,
            2: settings.front,
            3: limited and not ranged,
            4: output.volts_clipped,
            5: settings.math,
            6: settings.null,
            10: settings.auto_ohms,
            11: "VOLT" in functions,
            12: "CURR" in functions,
            13: "RES" in functions,
            14: source == "VOLT",
            15: source == "CURR",
            16: ranged,
            17: settings.offset_compensated,
            22: settings.remote_sense,
        }
        programmed = {source: output.level}
        shown = [
            value if name in functions else programmed.get(name, NOT_A_NUMBER)
            for name, value in (("VOLT", volts), ("CURR", amps), ("RES", ohms))
        ]
        status = sum(1 << bit for bit, state in flags.items() if state)
        calc = shown[0] * shown[1] if settings.math else NOT_A_NUMBER
        if max(map(abs, shown[:2])) >= OVERFLOW:
            calc = NOT_A_NUMBER
        return Reading(shown[0], shown[1], shown[2], time, status, calc)


def _quantised(value: float, scale: Scale) -> float:
    if abs(value) > scale.limit:
        return OVERFLOW
    return round(value / scale.resolution) * scale.resolution


class TraceBuffer:
    """The data store: up to 2500 readings, filled once and then kept.

    Parameters
    ----------
    timer : Timer
        Its stamps count from the first reading that is kept, or from the one before.
    """

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self.size = 100
        self.feed = "SENS"
        self.active = False
        self.delta = False
        self.readings: list[Reading] = []
        self._fresh = False

    def activate(self) -> None:
        """Fill the buffer from its beginning with the readings to come."""
        self.active = True
        self._fresh = True

    def store(self, reading: Reading) -> bool:
        """Take a reading if storage is on; True if that filled the buffer."""
        if not self.active:
            return False
        if self._fresh:
            self.readings, self._fresh = [], False
        self.readings.append(reading)
        self.active = len(self.readings) < self.size
        return not self.active

    def clear(self) -> None:
        """Forget all readings."""
        self.readings = []

    @property
    def full(self) -> bool:
        """True while as many readings are held as the buffer is to take."""
        return len(self.readings) >= self.size

    def free(self) -> tuple[int, int]:
        """Return the bytes that are free and those that are reserved."""
        each = 24
        return each * (MOST_POINTS - self.size), each * self.size

    def values(self, elements: Sequence[str]) -> list[float]:
        """Return the data elements of all readings; times are within the buffer."""
        found = []
        origin = self.readings[0].time if self.readings else 0.0
        for reading in self.readings:
            stamp = partial(self._timer.between, origin)
            found += [reading.element(name, stamp) for name in elements]
            if self.delta:
                origin = reading.time
        return found

    def statistic(self, kind: str, elements: Sequence[str]) -> list[float]:
        """Return MEAN, SDEV, MAX, MIN or PKPK of each of the elements."""
        results = []
        for name in elements:
            column = [reading.element(name) for reading in self.readings]
            good = [value for value in column if value < OVERFLOW]
            if not good:
                results.append(NOT_A_NUMBER)
            elif kind == "MEAN":
                results.append(fmean(good))
            elif kind == "SDEV":
                results.append(stdev(good) if len(good) > 1 else 0.0)
            elif kind == "MAX":
                results.append(max(good))
            elif kind == "MIN":
                results.append(min(good))
            else:
                results.append(max(good) - min(good))
        return results
