"""Runs a bias sequence in a source, reads its buffer, and finds out when each level came."""

import math
import time
from collections.abc import Callable
from dataclasses import replace

from stmtem_control.errors import InstrumentError, TransportTimeout
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport

from .keithley_answers import Reading, parse_readings
from .keithley_clock import LARGEST_DRIFT, OVERHEAD_S, TICK_S, SourceClock
from .keithley_hold import OFF
from .keithley_sequence import (
    BACK_TO_FIXED,
    IN_A_COMMAND,
    BiasSequence,
    SequencePoint,
    SequenceRun,
)
from .keithley_settings import SourceSettings
from .scpi import Scpi, near, says

WAIT_S = 0.1  # wall seconds after which a wait lets a stop out, with any VISA library
POINT_S = 0.06  # wall seconds that a reading of the buffer may take on a serial line at 9600 baud
LOOKS = 4  # at the timer, before and after
# What the sample depends on is read back; that a reading is missing tells by itself.
READ_BACK = (
    ":SOUR:VOLT:MODE", ":SOUR:DEL", ":TRIG:DEL", ":ARM:COUN", ":TRIG:COUN",
    ":SOUR:CLE:AUTO", ":SOUR:CLE:AUTO:MODE",
)  # fmt: skip
SPARE = 1.1  # a sequence may take so much longer than planned: its timer is coarse

OnStep = Callable[[float, float], None]
Interval = tuple[float, float]


class Sequencer:
    """Sets up, runs and reads a sequence; runs in the worker of the link.

    Parameters
    ----------
    scpi : Scpi
        How the source is spoken to.
    settings : SourceSettings
        For the integration time, which a sequence changes and its end restores.
    clock : SourceClock
        Dates the readings.
    speed : float
        Instrument seconds in a wall second.
    line_frequency_Hz : float
        NPLC counts its periods.

    Attributes
    ----------
    prepared : BiasSequence or None
        What the instrument is set up for: then it is not in its ordinary mode.
    running : bool
        Whether its trigger model may be at work.
    """

    def __init__(
        self,
        scpi: Scpi,
        settings: SourceSettings,
        clock: SourceClock,
        *,
        speed: float,
        line_frequency_Hz: float,
    ) -> None:
        self.prepared: BiasSequence | None = None
        self.running = False
        self._scpi = scpi
        self._settings = settings
        self._clock = clock
        self._speed = speed
        self._line_frequency_Hz = line_frequency_Hz
        self._nplc_before = settings.nplc
        self._started: Exchange | None = None

    def forget(self) -> None:
        """Know of no sequence: after a reset the instrument is in its ordinary mode."""
        self.prepared = None
        self.running = False
        self._started = None

    def check(self, sequence: BiasSequence) -> None:
        """Raise LimitError when a step is too short for a reading."""
        sequence.delay_s(self._line_frequency_Hz)

    def prepare(self, transport: Transport, sequence: BiasSequence) -> None:
        """Set up from 0 V with the output off.

        Raises
        ------
        InstrumentError
            A command is refused, or the list does not read back as long as it is.
        """
        if self.prepared is None:
            self._nplc_before = self._settings.nplc
        self.prepared, self._started = sequence, None
        for command in sequence.commands(self._line_frequency_Hz):
            self._scpi.set(transport, command, _taken(command))
        self._settings.nplc = sequence.nplc
        found = self._scpi.number(transport, ":SOUR:LIST:VOLT:POIN?")
        if round(found) != len(sequence.levels):
            raise InstrumentError(
                f"{self._scpi.name}: a list of {len(sequence.levels)} levels was sent but it "
                f"holds {found:g}"
            )
        if len(sequence.levels) <= IN_A_COMMAND:  # one message: the list before may be as long
            self._check_levels(transport, sequence)
        self._clock.look(transport, LOOKS)

    def _check_levels(self, transport: Transport, sequence: BiasSequence) -> None:
        found = self._scpi.query(transport, ":SOUR:LIST:VOLT?").split(",")
        slack = 1e-3 * max(1.0, *(abs(level) for level in sequence.levels))
        if not all(
            near(level, slack)(text) for level, text in zip(sequence.levels, found, strict=False)
        ):
            raise InstrumentError(
                f"{self._scpi.name}: the list of levels reads back {','.join(found)[:60]}: its "
                "message was lost on its way; look at the cable"
            )

    def leave(self, transport: Transport) -> None:
        """Back to one level and one reading at a time; the output must be off."""
        if self.prepared is not None:
            for command in BACK_TO_FIXED:
                self._scpi.set(transport, command)
            self._settings.set_nplc(transport, self._nplc_before)
            self.forget()

    def run(
        self,
        transport: Transport,
        deadline_s: float,
        on_start: Callable[[float], None] | None,
        on_step: OnStep | None,
    ) -> None:
        """Start and wait for the end.

        Parameters
        ----------
        transport : Transport
        deadline_s : float
            Wall seconds that it may take.
        on_start : callable, optional
            Called when the start has been sent, with the station time before that (s).
        on_step : callable, optional
            Called when a level should come, with the station time (s) and the level (V).

        Raises
        ------
        InstrumentError
            There is nothing prepared, or the start was refused.
        TransportTimeout
            It did not end in time; 0 V and output off were sent.
        """
        sequence, name = self.prepared, self._scpi.name
        if sequence is None:
            raise InstrumentError(f"{name}: no sequence is prepared, or a stop came; prepare one")
        sent = self._scpi.now()
        self._started, self.running = Exchange(sent, math.inf), True
        # The second is answered when the trigger model is idle again: nothing else would be.
        self._scpi.write(transport, ":INIT", "*OPC?")
        if on_start is not None:
            on_start(sent)
        try:
            self._wait(transport, sequence, sent, deadline_s, on_step)
        except TransportTimeout:
            self._scpi.write(transport, OFF)
            raise TransportTimeout(
                f"{name}: the sequence did not end within {deadline_s:.3g} s; it was ended, "
                + ("did the triggers come?" if sequence.triggered else "0 V and output off")
            ) from None
        self._started, self.running = Exchange(sent, self._scpi.now()), False
        errors = self._scpi.errors(transport)
        if errors:
            raise InstrumentError(f"{name}: the sequence was refused: {'; '.join(errors)}")

    def _wait(
        self,
        transport: Transport,
        sequence: BiasSequence,
        start: float,
        deadline_s: float,
        on_step: OnStep | None,
    ) -> None:
        deadline = time.monotonic() + deadline_s
        due: list[tuple[float, float]] = []
        if on_step is not None and not sequence.triggered:
            first = start + sequence.wait_s(self._line_frequency_Hz)
            due = [(first + i * sequence.step_s, v) for i, v in enumerate(sequence.levels)]
        due.reverse()
        while True:
            until = min(deadline, time.monotonic() + WAIT_S)
            if due:
                left = (due[-1][0] - self._scpi.now()) / self._speed
                until = min(until, time.monotonic() + max(0.0, left))
            try:
                transport.read_until(b"\n", until)
            except TransportTimeout:
                if time.monotonic() >= deadline:
                    raise
            else:
                return
            while due and on_step is not None and due[-1][0] <= self._scpi.now():
                on_step(*due.pop())

    def deadline_s(self, sequence: BiasSequence) -> float:
        """Return the wall seconds that an untriggered sequence may take."""
        planned = len(sequence.levels) * sequence.step_s / self._speed
        return SPARE * planned + self._scpi.timeout_s

    def collect(self, transport: Transport) -> SequenceRun:
        """Read the buffer and date what is in it.

        Raises
        ------
        InstrumentError
            No sequence was run.
        """
        sequence, started = self.prepared, self._started
        if sequence is None or started is None:
            raise InstrumentError(f"{self._scpi.name}: no sequence was run; there is nothing")
        if not math.isfinite(started.answered):
            started = self._started = Exchange(started.sent, self._scpi.now())
        held = round(self._scpi.number(transport, ":TRAC:POIN:ACT?"))
        readings: list[Reading] = []
        if held:
            line = self._scpi.query(transport, ":TRAC:DATA?", POINT_S * held)
            readings = parse_readings(line)
            (last,) = parse_readings(self._scpi.query(transport, ":SENS:DATA:LAT?"))
            # Stamps of the buffer count from its first reading, that of the last from the start.
            first = last.instrument_time - readings[-1].instrument_time
            readings = [
                replace(one, instrument_time=first + one.instrument_time) for one in readings
            ]
        self._clock.look(transport, LOOKS)
        points = self._date(sequence, started, readings)
        return SequenceRun(sequence, started, tuple(points), self._clock.model)

    def _date(
        self, sequence: BiasSequence, started: Exchange, readings: list[Reading]
    ) -> list[SequencePoint]:
        shortest = sequence.shortest_reading_s(self._line_frequency_Hz)
        # Where the difference of two stamps was cut off to ticks, it is off by one at most.
        stamps = [self._clock.station_time(one.instrument_time, TICK_S) for one in readings]
        edges = self._edges(sequence, started, [stamp for stamp in stamps if stamp is not None])
        points: list[SequencePoint] = []
        for level, reading, (low, high) in zip(sequence.levels, readings, edges, strict=False):
            t, sure = self._clock.date_stamp(reading.instrument_time, shortest, TICK_S)
            dated = replace(reading, t=t, uncertainty_s=sure)
            points.append(SequencePoint(level, 0.5 * (low + high), 0.5 * (high - low), dated))
        return points

    def _edges(
        self, sequence: BiasSequence, started: Exchange, stamps: list[tuple[float, float]]
    ) -> list[Interval]:
        """Return between which station times (s) each level came, from the dated stamps."""
        shortest = sequence.shortest_reading_s(self._line_frequency_Hz)
        delay = sequence.delay_s(self._line_frequency_Hz)
        since, until = self._clock.since_beginning(shortest), self._clock.until_end(shortest)
        wait = sequence.wait_s(self._line_frequency_Hz)
        # The delays may be timed by the same poor oscillator.
        spread, waited = LARGEST_DRIFT * delay, LARGEST_DRIFT * wait
        edges: list[Interval] = []
        for i, (t, sure) in enumerate(stamps):
            # The level came a delay before its reading began ...
            edge = (t - sure - delay - spread - since[1], t + sure - delay + spread - since[0])
            if i and sequence.step_line is None:
                # ... and at once, or a wait later, when the reading before it had ended.
                before, known = stamps[i - 1]
                soonest = before - known + until[0] + wait - waited
                edge = _both(
                    edge, (soonest, before + known + until[1] + wait + waited + OVERHEAD_S)
                )
            edges.append(_both(edge, (started.sent, started.answered)))
        if len(edges) > 1 and sequence.step_line is None:
            # Nothing ended before the first level; but all levels last as long.
            step, know = stamps[1][0] - stamps[0][0], 2.0 * TICK_S + OVERHEAD_S
            low, high = edges[1]
            edges[0] = _both(edges[0], (low - step - know, high - step + know))
        return edges


def _taken(command: str) -> Callable[[str], bool] | None:
    """Return what judges the setting read back, for those that the sample depends on."""
    header, _, value = command.partition(" ")
    if header not in READ_BACK:
        return None
    return says(value) if value.isalpha() else near(float(value), 1e-4)


def _both(one: Interval, other: Interval) -> Interval:
    """Return what two intervals have in common; all of both if that is nothing."""
    low, high = max(one[0], other[0]), min(one[1], other[1])
    if low <= high:
        return low, high
    return min(one[0], other[0]), max(one[1], other[1])
