"""A reading of a source that is held: started anew, waited for outside it, and taken.

While the trigger model is at work nothing is answered, and a reading that is asked for must not be
from before it was: so the hold is started anew, and when its first reading is complete an abort
gives it out.  Readings that are asked for meanwhile wait for their turn: if each started the hold
anew, none would ever be complete.

Source: User's Manual 2400S-900-01, sections 11 and 17 (``[:SENSe]:DATA[:LATest]?`` returns the most
recent reading, also of an operation that was aborted).
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from stmtem_control.errors import InstrumentError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import DroppedError, Link
from stmtem_control.transport import Transport

from .keithley_answers import Reading, parse_reading
from .keithley_clock import SourceClock
from .keithley_hold import MARGIN_S, BiasHold
from .keithley_settings import SourceSettings
from .scpi import Scpi

CONVERSION_S = 2.5e-3  # of one, beside its integration time, at most
TAKE = ":SENS:DATA?"
TRIES = 8  # each waits twice as long beyond the planned time as the one before
OUTPUT_IS_OFF = "the output is off, so there is nothing to measure; set a level first (0 V will do)"


class HeldReading:
    """One reading; its jobs run in the worker of the link, and the waiting between them.

    A stop drops it, before it has begun as well as while it is waited for.

    Parameters
    ----------
    scpi : Scpi
        How the source is spoken to.
    link : Link
        Whose worker does it.
    hold : BiasHold
        That must run.
    clock : SourceClock
        Dates the reading.
    shortest_s : float
        From the beginning of its first conversion to the end of its last, at least.

    Attributes
    ----------
    answer : Future
        Ends with the reading.
    """

    def __init__(
        self, scpi: Scpi, link: Link, hold: BiasHold, clock: SourceClock, shortest_s: float
    ) -> None:
        self.answer: Future[Reading] = Future()
        self.answer.set_running_or_notify_cancel()
        self._scpi = scpi
        self._link = link
        self._hold = hold
        self._clock = clock
        self._shortest_s = shortest_s
        self._tries = 0
        self._asked = 0.0  # station s, in the worker
        self._follow(link.submit(self._start, name="a reading", topic="bias"))

    def _follow(self, job: "Future[Reading | None]") -> None:
        job.add_done_callback(self._ended)

    def _ended(self, job: "Future[Reading | None]") -> None:
        error = job.exception()
        reading = None if error is not None else job.result()
        if error is None and reading is None:
            return  # another job follows
        with contextlib.suppress(ValueError):
            self._hold.waiting.remove(self)
        if reading is None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(reading)

    def _start(self, transport: Transport) -> None:
        self._asked = self._scpi.now()
        if self._hold.running and not self._hold.waiting:
            self._hold.renew(transport)
        self._hold.require()
        if not self._hold.running:
            raise InstrumentError(f"{self._scpi.name}: {OUTPUT_IS_OFF}")
        self._hold.waiting.append(self)
        self._take_later()

    def _take_later(self) -> None:
        least = 0.0 if self._is_next() else MARGIN_S
        delay = max(least, self._hold.first_left_s())
        self._follow(self._link.submit(self._take, name="a reading", topic="bias", delay_s=delay))

    def _take(self, transport: Transport) -> Reading | None:
        self._must_run()
        if self._is_next() and self._hold.begun < self._asked:  # the one before came to nothing
            self._hold.renew(transport)
            self._must_run()
        # Another command has started the hold anew, or another reading comes first.
        if self._hold.first_left_s() > 0.0 or not self._is_next():
            self._take_later()
            return None
        begun = self._hold.begun
        numbers, taken = self._scpi.ask(transport, TAKE)
        self._must_run()
        reading = self._found(numbers, begun)
        if reading is None:
            self._wait_longer(transport)
            return None
        self._hold.margin_s = max(MARGIN_S, 0.98 * self._hold.margin_s)
        exchange = Exchange(begun, taken.answered)
        t, sure = self._clock.date(reading.instrument_time, exchange, self._shortest_s)
        self._clock.look_now_and_then(transport)
        return replace(reading, t=t, uncertainty_s=sure)

    def _is_next(self) -> bool:
        """Tell whether no reading that was asked for before is still waited for."""
        return self._hold.waiting[:1] == [self]

    def _must_run(self) -> None:
        self._hold.require()
        if not self._hold.running:
            raise DroppedError(f"{self._scpi.name}: a reading was dropped, a stop came first")

    def _found(self, numbers: str, begun: float) -> Reading | None:
        """Return the reading that was given out; None if it is from before the start."""
        if not numbers:
            return None
        reading = parse_reading(numbers)
        stamped = self._clock.station_time(reading.instrument_time)
        if stamped is None:  # nothing tells how old it is, but it was given out before
            fresh = reading.instrument_time != self._hold.last_stamp
        else:
            fresh = stamped[0] + stamped[1] >= begun + self._shortest_s
        self._hold.last_stamp = reading.instrument_time
        return reading if fresh else None

    def _wait_longer(self, transport: Transport) -> None:
        """Try again: it was not complete, so this source, or this line, is slower than planned."""
        self._scpi.errors(transport)  # it may have complained that there was nothing
        self._tries += 1
        if self._tries >= TRIES:
            raise InstrumentError(
                f"{self._scpi.name}: no reading was complete within "
                f"{self._hold.first_left_s():.3g} s of its start; is line_frequency_Hz right?"
            )
        self._hold.wait_longer()
        self._take_later()


class Readings:
    """How a source is read, held or not, and how long that takes.

    Parameters
    ----------
    scpi, link, hold, clock, settings
        Of the driver.
    speed : float
        Instrument seconds in a wall second.
    line_frequency_Hz : float
        50 or 60; NPLC counts its periods.
    """

    def __init__(
        self,
        scpi: Scpi,
        link: Link,
        hold: BiasHold,
        clock: SourceClock,
        settings: SourceSettings,
        *,
        speed: float,
        line_frequency_Hz: float,
    ) -> None:
        self._scpi = scpi
        self._link = link
        self._hold = hold
        self._clock = clock
        self._settings = settings
        self._speed, self._line_frequency_Hz = speed, line_frequency_Hz

    def longest_s(self, nplc: float) -> float:
        """Return what a reading takes at most, in s of the source: first volts, then amperes."""
        return 2.0 * (nplc / self._line_frequency_Hz + CONVERSION_S)

    def take(self, output_on: Callable[[], bool]) -> "Future[Reading]":
        """Measure voltage and current once, both from the same sample.

        The Future fails with InstrumentError when the output, asked for in the worker, is off.
        """
        if self._hold.wanted:
            shortest_s = self._shortest_s()
            return HeldReading(self._scpi, self._link, self._hold, self._clock, shortest_s).answer

        def job(transport: Transport) -> Reading:
            if not output_on():
                raise InstrumentError(f"{self._link.name}: {OUTPUT_IS_OFF}")
            line, exchange = self._scpi.ask(transport, ":READ?", self._most_wall_s())
            reading = parse_reading(line)
            t, sure = self._clock.date(reading.instrument_time, exchange, self._shortest_s())
            self._clock.look_now_and_then(transport)
            return replace(reading, t=t, uncertainty_s=sure)

        return self._link.submit(job, name="a reading", topic="bias")

    def _most_wall_s(self) -> float:
        """Return the wall seconds of one READ?, at most: with autozero all is done three times."""
        return 3.0 * self.longest_s(self._settings.nplc) / self._speed

    def _shortest_s(self) -> float:
        """Return the seconds of the two conversions of a reading, at least."""
        return 2.0 * self._settings.nplc / self._line_frequency_Hz
