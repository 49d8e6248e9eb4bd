"""The timer of a source: when, on the station's clock, a reading was taken that it stamped.

The timer starts at zero when the source is switched on, or at ``:SYST:TIME:RES``, and its stamps
are whole milliseconds (User's Manual 2400S-900-01, sections 9 and 18).  It is a coarse clock: an
oscillator of 8192 Hz is taken for one of 8 kHz, so that on a 2400 it gains 24 ms in a second
(Keithley, "Using the Model 2400 Internal Timestamp Feature").  So its rate is measured like its
offset, by asking it for its time again and again.
"""

import logging
import math
import time

from stmtem_control.clock_model import ClockFit, ClockModel, StampedExchange
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport

from .scpi import Scpi

log = logging.getLogger(__name__)

TICK_S = 1e-3  # of the timer: it shows the last tick that has passed
LARGEST_DRIFT = 0.03  # see above, and something for the oscillator itself
DIGITS = 7  # of a number in the answers
LONGEST_S = 9000.0  # beyond 9999 s a digit is worth more than a tick: start at zero again
LOOKS_AT_START = 8
LOOK_EVERY_S = 0.5  # wall seconds between two questions for the time, while readings are taken
# Between the conversions of a reading and around them, at most, from the manual's speed tables.
OVERHEAD_S = 1.2e-3


def digit_s(stamp: float) -> float:
    """Return what the last digit of a time stamp is worth, in s."""
    return 10.0 ** (math.floor(math.log10(abs(stamp))) - DIGITS + 1) if stamp else 0.0


class SourceClock:
    """Asks the timer of a source for its time, and dates what it stamped.

    Parameters
    ----------
    scpi : Scpi
        How it is spoken to.

    Attributes
    ----------
    fit : ClockFit
        Of the stamps plus half a tick, which is the middle of what a stamp can mean.
    stamps_at_end : bool or None
        Whether a reading carries the time of its end (else of its beginning).  The manual does
        not say; readings whose exchange leaves only one of them tell.
    """

    def __init__(self, scpi: Scpi) -> None:
        self.fit = ClockFit(f"{scpi.name}: timer, round trips", max_drift=LARGEST_DRIFT)
        self.stamps_at_end: bool | None = None
        self._scpi = scpi
        self._running = False
        self._looked_at = -math.inf
        self._resets = 0

    @property
    def model(self) -> ClockModel | None:
        """From stamps plus half a tick to station time; None before the timer was asked."""
        return self.fit.model

    def start(self, transport: Transport) -> None:
        """Set the timer to zero and ask it for its time."""
        self._scpi.set(transport, ":SYST:TIME:RES")
        self.fit.reset()
        self._resets = self.fit.resets
        self._running = True
        self.look(transport, LOOKS_AT_START)

    def forget(self) -> None:
        """On a new connection: it may be another one, or have been switched off."""
        self.fit.reset()

    def look(self, transport: Transport, times: int = 1) -> None:
        """Ask the timer for its time."""
        for _ in range(times):
            stamp, exchange = self._scpi.timed_number(transport, ":SYST:TIME?")
            self._take(exchange, stamp)
        self._looked_at = time.monotonic()

    def look_now_and_then(self, transport: Transport) -> None:
        """Ask the timer if it was not asked lately; set it to zero before it gets coarse."""
        if not self._running or time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self.look(transport)
        model = self.model
        if model is not None and model.instrument_time(self._scpi.now())[0] > LONGEST_S:
            self.start(transport)
        elif self.fit.resets != self._resets:
            log.warning("%s: its timer was set, or ran wild; dated anew", self._scpi.name)
            self._resets = self.fit.resets

    def station_time(self, stamp: float, slack_s: float = 0.0) -> tuple[float, float] | None:
        """Return when the timer showed `stamp` (s), in station s, and how sure that is.

        `slack_s` is how much more, + or -, the stamp itself may be wrong.
        """
        model = self.model
        if model is None:
            return None
        t, uncertainty = model.station_time(stamp + 0.5 * TICK_S)
        return t, uncertainty + 0.5 * (TICK_S + digit_s(stamp)) + slack_s

    def since_beginning(self, shortest_s: float) -> tuple[float, float]:
        """Return how long after its beginning, at least and at most, a reading is stamped (s)."""
        if self.stamps_at_end is False:
            return 0.0, OVERHEAD_S
        longest = shortest_s + OVERHEAD_S
        return (shortest_s if self.stamps_at_end else 0.0), longest

    def until_end(self, shortest_s: float) -> tuple[float, float]:
        """Return how long before its end, at least and at most, a reading is stamped (s)."""
        if self.stamps_at_end:
            return 0.0, OVERHEAD_S
        longest = shortest_s + OVERHEAD_S
        return (shortest_s if self.stamps_at_end is False else 0.0), longest

    def date(self, stamp: float, exchange: Exchange, shortest_s: float) -> tuple[float, float]:
        """Return the middle of a reading in station s, and its uncertainty.

        Parameters
        ----------
        stamp : float
            Of the reading, in s.
        exchange : Exchange
            In which it was asked for and taken.
        shortest_s : float
            From the beginning of its first conversion to the end of its last, at least.

        Notes
        -----
        Two bounds are laid over each other.  The whole measurement lies in the exchange; and it
        ends, or begins, at the stamp.  The second does not depend on when this process woke up.
        """
        low, high = exchange.sent + 0.5 * shortest_s, exchange.answered - 0.5 * shortest_s
        if low > high:  # faster than it can be: a simulated clock, or a wrong line frequency
            low = high = exchange.t
        if self._running:
            self._take(exchange, stamp)
            stamped = self.station_time(stamp)
            if stamped is not None:
                self._learn(stamped, exchange, shortest_s)
                first, last = self._middle(stamped, shortest_s)
                if max(low, first) <= min(high, last):
                    low, high = max(low, first), min(high, last)
        return 0.5 * (low + high), 0.5 * (high - low)

    def date_stamp(
        self, stamp: float, shortest_s: float, slack_s: float = 0.0
    ) -> tuple[float, float]:
        """Return the middle of a reading of which there is nothing but its stamp."""
        stamped = self.station_time(stamp, slack_s)
        if stamped is None:
            return math.nan, math.inf
        first, last = self._middle(stamped, shortest_s)
        return 0.5 * (first + last), 0.5 * (last - first)

    def _middle(self, stamped: tuple[float, float], shortest_s: float) -> tuple[float, float]:
        """Return the bounds of the middle of a measurement whose stamp is dated."""
        t, uncertainty = stamped
        since, until = self.since_beginning(shortest_s), self.until_end(shortest_s)
        # Half of what is between stamp and end, less half of what is between beginning and stamp.
        first, last = 0.5 * (until[0] - since[1]), 0.5 * (until[1] - since[0])
        return t - uncertainty + first, t + uncertainty + last

    def _take(self, exchange: Exchange, stamp: float) -> None:
        resolution = 0.5 * (TICK_S + digit_s(stamp))
        middle = stamp + 0.5 * TICK_S
        self.fit.add(StampedExchange(exchange.sent, exchange.answered, middle, resolution))

    def _learn(self, stamped: tuple[float, float], exchange: Exchange, shortest_s: float) -> None:
        t, uncertainty = stamped
        if t - uncertainty > exchange.answered - shortest_s:  # too late for the beginning
            self.stamps_at_end = True
        elif t + uncertainty < exchange.sent + shortest_s:  # too early for the end
            self.stamps_at_end = False
