"""A level that the source lets go of by itself: the dead-man's hold, renewed while the host lives.

A hold is an operation of the trigger model: so many readings at one level, with auto output-off
after the last of them.  An abort and a new start, in one message, renew it; the output stays on in
between, and is high-impedance when nobody has renewed it in time.  While it runs the source does
nothing else, so that every other command goes out between abort and start, in their message.

Source: User's Manual 2400S-900-01, sections 11 ("Idle and initiate": what is carried out while it
runs) and 18 (``:SOURce:CLEar:AUTO``, ``:ABORt``: "the output will remain on if operation is
terminated before the output has a chance to automatically turn off", ``:OUTPut``), and appendix C.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from stmtem_control.errors import InstrumentError, InterlockError, LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import Link
from stmtem_control.transport import Transport

from .hold_plan import HoldPlan, effective_dead_man_s, plan_hold
from .keithley_answers import parse_error
from .output_off import LINE, UNKNOWN, WHY_OFF, line_closed, why_off
from .scpi import ERRORS, Scpi, near, says

log = logging.getLogger(__name__)

OFF = ":ABOR;:SOUR:VOLT 0;:OUTP OFF"  # in this order: the output would wait for the hold's end
RENEW = ":ABOR;:OUTP?;:INIT"
RENEWALS = 4  # of a hold while it lasts
LATE = 0.9  # of a hold: later than that it may be over, and is not renewed
MARGIN_S = 5e-4  # wall seconds that are waited for a reading beyond its planned time
ON = ("1", "ON")
NOT_ALIVE = "the session does not say that it is alive"


@dataclass(frozen=True)
class Lapse:
    """A hold that ended though nobody here ended it.

    Attributes
    ----------
    reason : str
        What happened, in one line.
    t, uncertainty_s : float
        When the output went off, in station s, and how sure that is (+-).
    """

    reason: str
    t: float
    uncertainty_s: float


class BiasHold:
    """Begins, renews and ends the hold of a source; all of it runs in the worker of its link.

    Parameters
    ----------
    scpi : Scpi
        How the source is spoken to; what it sends while a hold runs goes through :meth:`frame`.
    link : Link
        Renewals are jobs of its worker.
    dead_man_s : float
        The source is to be let go of within so many seconds (of its own) after the last that it
        heard; 0 for never: then there are no holds.
    speed : float
        Instrument seconds in a wall second.
    line_frequency_Hz : float
        NPLC counts its periods.

    Attributes
    ----------
    alive : callable
        Asked before each renewal; a hold is not renewed when it says no.
    on_lapse : callable or None
        Told of a hold that was not ended here, in the worker.
    running : bool
        Whether the output is held, as far as is known here.
    lapse : Lapse or None
        Of the last hold; no other begins before the end, or :meth:`acknowledge`.
    margin_s : float
        Wall seconds that are waited for a reading beyond its planned time.
    waiting : list
        Readings under way; the first is the next to be complete.
    last_stamp : float or None
        Of the reading given out last.
    """

    def __init__(
        self,
        scpi: Scpi,
        link: Link,
        *,
        dead_man_s: float,
        speed: float,
        line_frequency_Hz: float,
    ) -> None:
        if not (dead_man_s >= 0.0 and math.isfinite(dead_man_s)):
            raise LimitError(
                f"{link.name}: dead_man_s is {dead_man_s}; give seconds, or 0 for none"
            )
        self.alive: Callable[[], bool] = lambda: True
        self.on_lapse: Callable[[Lapse], None] | None = None
        self.running = False
        self.lapse: Lapse | None = None
        self.asked = dead_man_s
        self.plan: HoldPlan | None = None
        self.margin_s = MARGIN_S
        self.waiting: list[object] = []
        self.last_stamp: float | None = None  # of a reading that was given out
        self._scpi = scpi
        self._link = link
        self._speed = speed
        self._line_frequency_Hz = line_frequency_Hz
        self._told: HoldPlan | None = None  # what the instrument is set up for
        self._line_was_closed = False  # the output enable line, then
        self._begun = 0.0  # station s before the last start was written
        self._before = 0.0  # the same of the start before it
        self._written = 0.0  # monotonic s of the last start
        self._confirmed = 0.0  # monotonic s of the last start that was answered
        self._scheduled = False
        scpi.hold = self

    @property
    def wanted(self) -> bool:
        """Whether levels are held at all, or stay until somebody ends them."""
        return self.asked > 0.0

    @property
    def dead_man_s(self) -> float:
        """The longest time (s of the source) that it holds on without hearing anything."""
        return effective_dead_man_s(self.asked, self._speed)

    @property
    def begun(self) -> float:
        """The station time (s) before the last start was sent."""
        return self._begun

    def set_nplc(self, nplc: float) -> None:
        """Plan holds of readings with this integration time; raises LimitError."""
        if self.wanted:
            self.plan = plan_hold(self.asked, nplc, self._line_frequency_Hz, self._speed)

    def forget(self) -> None:
        """Know nothing, as after a reset."""
        self.running = False
        self._told = self.lapse = None

    def not_set_up(self) -> None:
        """Set the instrument up anew before the next hold: its settings were changed."""
        self._told = None

    def end(self) -> None:
        """Know that it is ended: whoever calls sends :data:`OFF` next."""
        self.running = False
        self.lapse = None

    def begin(self, transport: Transport) -> Exchange:
        """Switch the output on at the level that is set; return the exchange of the edge.

        Raises
        ------
        InstrumentError
            The instrument refuses, for instance because its interlock is open.
        InterlockError
            The session does not say that it is alive.
        """
        plan, scpi = self.plan, self._scpi
        if plan is None:
            raise InstrumentError(f"{scpi.name}: it was not configured; connect it first")
        if not self.alive():
            raise InterlockError(f"{scpi.name}: no bias: {NOT_ALIVE}")
        if self._told != plan:
            for command, taken in (
                (":SOUR:CLE:AUTO:MODE TCO", says("TCO")),
                (":SOUR:CLE:AUTO ON", says("ON")),
                (f":SOUR:DEL {plan.delay_s:.6g}", near(plan.delay_s, 1e-4)),
                (":ARM:COUN 1", near(1)),
                (f":TRIG:COUN {plan.readings}", near(plan.readings)),
            ):
                scpi.set(transport, command, taken)
            self._line_was_closed = line_closed(scpi.query(transport, LINE))
            self._told = plan
        sent = scpi.now()
        self._note()
        # The second message tells whether the first was refused.
        scpi.write(transport, ":INIT", f":ABOR;{ERRORS};:OUTP?;:INIT")
        refused, _, on = scpi.answer(transport, ERRORS).rpartition(";")
        exchange = Exchange(sent, scpi.now())
        code, text = parse_error(refused)
        for _ in range(2):  # it may have been asked before its relay had closed
            if code or on in ON:
                break
            self._note()
            scpi.write(transport, RENEW)
            on = scpi.answer(transport, RENEW)
        if code or on not in ON:
            scpi.write(transport, OFF)
            errors = [f"{code:+d} {text}"] if code else []
            raise InstrumentError(
                f"{scpi.name}: the output does not go on: "
                + "; ".join([*errors, *scpi.errors(transport)] or ["no error is given"])
            )
        self._confirmed = self._written
        self.running = True
        self._schedule(self._period_s)
        return exchange

    def frame(self, transport: Transport, command: str) -> str:
        """Return the message that has `command` carried out; in a hold between abort and start.

        Its answer begins with that to ``:OUTP?``, for :meth:`confirm`.

        A hold that may be over is not started again: the output is switched off, and whoever
        listens is told.
        """
        if not self.running:
            return command
        if not self.alive():
            self._let_go(transport, f"the output was switched off: {NOT_ALIVE}")
            return command
        if not self.check(transport):
            return command
        self._note()
        # Whether it was on before the start is asked in the same message: a start switches it on.
        return f":ABOR;:OUTP?;{command};:INIT" if command else RENEW

    def renew(self, transport: Transport) -> None:
        """Start the hold anew, if it runs and may be renewed."""
        message = self.frame(transport, "")
        if self.running:
            self._scpi.write(transport, message)
            self.confirm(transport, self._scpi.answer(transport, message))

    def check(self, transport: Transport) -> bool:
        """Return whether the hold runs; one that may have run out is ended for good."""
        if self.running and self._late():
            since = time.monotonic() - self._confirmed
            why = "this computer was held up, or the line was" if self.alive() else NOT_ALIVE
            self._let_go(
                transport,
                f"the bias was not renewed for {since:.2g} s and the source has let it go by "
                f"itself (dead_man_s is {self.dead_man_s:g} s): {why}",
            )
        return self.running

    def confirm(self, transport: Transport, output: str) -> bool:
        """Take an answer to ``:OUTP?`` from before the last start; return whether it was on."""
        if output in ON:
            self._confirmed = self._written
            return True
        if self.running:
            self._went_off(transport)
        return False

    def require(self) -> None:
        """Raise InterlockError when the last hold was not ended here, and nobody has said so."""
        if self.lapse is not None:
            raise InterlockError(
                f"{self._scpi.name}: {self.lapse.reason}; stop, then set the bias again"
            )

    def acknowledge(self) -> None:
        """Take note of a lapse: a level may be set again."""
        self.lapse = None

    def first_left_s(self) -> float:
        """Return the wall seconds until the first reading since the last start is complete."""
        plan = self.plan
        step = 0.0 if plan is None else 1.01 * plan.step_s / self._speed
        return self._written + step + self.margin_s - time.monotonic()

    def wait_longer(self) -> None:
        """Wait twice as long for a reading, but never so long that the hold runs out meanwhile."""
        self.margin_s = min(2.0 * self.margin_s, self._period_s)

    def lost(self, why: str) -> None:
        """Know that the connection is gone: the source ends the hold."""
        if self.running:
            self.running = False
            self._tell(f"{why}; the source lets go by itself within {self.dead_man_s:g} s")

    # The rest is for this class.

    @property
    def _period_s(self) -> float:
        """Wall seconds from one renewal to the next."""
        assert self.plan is not None
        return self.plan.shortest_s / RENEWALS / self._speed

    def _late(self) -> bool:
        assert self.plan is not None
        elapsed = (time.monotonic() - self._confirmed) * self._speed
        return elapsed > LATE * self.plan.shortest_s

    def _note(self) -> None:
        """Note that a start is written now."""
        self._before, self._begun = self._begun, self._scpi.now()
        self._written = time.monotonic()

    def _let_go(self, transport: Transport, reason: str) -> None:
        """Switch the output off, though it should be off already, and tell."""
        self.running = False
        self._scpi.write(transport, OFF)
        self._tell(reason)

    def _went_off(self, transport: Transport) -> None:
        """Switch the output off, which is off already, and tell why it was."""
        self.running = False
        between = self._when_off()
        why = UNKNOWN
        try:
            self._scpi.write(transport, OFF)
            why = why_off(self._scpi.query(transport, WHY_OFF), self._line_was_closed)
        finally:
            self._tell(f"the source had switched its output off: {why}", between)

    def _when_off(self) -> tuple[float, float]:
        """Return the station times (s) between which an output that is off now went off."""
        first, now = self._before, self._scpi.now()
        if self.plan is not None and now - self._begun > self.plan.longest_s:
            return self._begun + self.plan.shortest_s, self._begun + self.plan.longest_s
        return first, now

    def _tell(self, reason: str, between: tuple[float, float] | None = None) -> None:
        first, last = between or self._when_off()
        self.lapse = Lapse(reason, 0.5 * (first + last), 0.5 * (last - first))
        if self.on_lapse is not None:
            self.on_lapse(self.lapse)

    def _schedule(self, seconds: float) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        future = self._link.submit(self._renew, name="renewing the bias", delay_s=seconds)
        future.add_done_callback(lambda ended: self._renewed(ended.exception()))

    def _renew(self, transport: Transport) -> None:
        if not self.check(transport) or not self.alive():
            return
        since = time.monotonic() - self._written
        waited_for = bool(self.waiting) and self.first_left_s() > 0.0
        if since < 0.9 * self._period_s or waited_for:
            return  # a reading or a command has done it, or is about to
        self.renew(transport)

    def _renewed(self, error: BaseException | None) -> None:
        """Renew again later, whatever became of this time; runs in the worker, or at its end."""
        self._scheduled = False
        if not self.running:
            return
        if not self._link.alive:
            self.lost(f"the connection is lost: {error}")
            return
        if error is not None:
            log.warning("%s: the bias could not be renewed: %s", self._scpi.name, error)
        left = self._written + self._period_s - time.monotonic()
        self._schedule(max(0.2 * self._period_s, left))
