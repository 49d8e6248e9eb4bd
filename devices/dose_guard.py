"""Watches over the dose while the beam is open: books it, and blanks the beam at the limit."""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from stmtem_control.clock import StationClock
from stmtem_control.dose.budgets import Budget
from stmtem_control.dose.calibration import DoseCalibration, check_age
from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.meter import RENEW_S, DoseMeter
from stmtem_control.dose.planned import CURE, VACUUM, check_planned
from stmtem_control.errors import InterlockError, RecordingError
from stmtem_control.exchanges import Exchange

log = logging.getLogger(__name__)

SETTLE_S = 0.5  # wall seconds that the beam is blanked before its dose is settled
AGAIN_S = 0.25  # the same, until what did not work is tried again
LEAST_S = 0.001  # the same, that the thread sleeps at least

Tell = Callable[[str], None]


class Blanks(Protocol):
    """What can take the beam off the specimen at once."""

    unsafe: str | None

    def stop(self, *, success: bool = True) -> None:
        """Blank the beam before all that waits; never raises, see ``unsafe``."""
        ...


class DoseGuard:
    """Keeps the dose of a beam within its budget, whatever plan, or person, opens it.

    The beam blanker asks it before it opens, and tells it what the source has confirmed.  A thread
    of its own blanks the beam at the hard limit, in the middle of whatever runs; the bias stays as
    it is.  Nothing here depends on frames or on the RunEngine.

    Parameters
    ----------
    ledger : Ledger
        Of all doses.
    clock : StationClock
    calibration : DoseCalibration
        Of the beam setting in use.
    budget : Budget
        Of the phases that are present.
    specimen, site : str
        Where the beam is.
    allow_stale : bool
        Whether a calibration of any age will do.

    Attributes
    ----------
    on_limit : callable
        Called with the reason, in one line, when the beam was blanked at the hard limit, or
        because its dose could not be booked; in the thread of the guard.
    on_warning : callable
        Called with a text in one line, once for each old calibration and each site that is over
        the soft limit.
    calibrating : bool
        While the dose rate is being measured an old calibration is no obstacle.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: StationClock,
        calibration: DoseCalibration,
        budget: Budget,
        specimen: str,
        site: str,
        allow_stale: bool = False,
    ) -> None:
        self.budget = budget
        self.clock = clock
        self.allow_stale = allow_stale
        self.calibrating = False
        self.on_limit: Tell = log.error
        self.on_warning: Tell = log.warning
        self.tripped = ""  # why the beam was blanked last
        self.meter = DoseMeter(ledger, clock, calibration, specimen=specimen, site=site)
        self._beam: Blanks | None = None
        self._warned: set[tuple[str, str]] = set()
        self._changed = threading.Condition()
        self._stamp = 0  # counts what happened, so that nothing is slept through
        self._closing = False
        self._told = False
        self._thread: threading.Thread | None = None

    def watch(self, beam: Blanks, *, thread: bool = True) -> None:
        """Take charge of a beam; without `thread`, :meth:`check` has to be called."""
        self._beam = beam
        if thread and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dose guard", daemon=True)
            self._thread.start()

    # What is

    @property
    def specimen(self) -> str:
        """Name of the specimen in the beam."""
        return self.meter.specimen

    @property
    def site(self) -> str:
        """Name of the site in the beam."""
        return self.meter.site

    @property
    def calibration(self) -> DoseCalibration:
        """The calibration in use."""
        return self.meter.calibration

    def dose_e_per_A2(self) -> float:
        """Return what the site in the beam has had up to now, in e/A^2."""
        return self.meter.dose()

    def left_e_per_A2(self) -> float:
        """Return what is left to the hard limit of the most sensitive phase, in e/A^2."""
        if self.specimen == VACUUM:
            return float("inf")
        return self.budget.hard_e_per_A2 - self.meter.dose()

    # Before anything moves

    def check_exposure(
        self, open_s: float, *, specimen: str | None = None, site: str | None = None
    ) -> float:
        """Make sure that the beam may be open for so many seconds; return the dose in e/A^2.

        Parameters
        ----------
        open_s : float
            Seconds of open beam that are planned.
        specimen, site : str, optional
            Where, if not at the site that is in the beam.

        Raises
        ------
        InterlockError
            More dose than is left at the site, or the calibration is too old.
        RecordingError
            The ledger cannot be read.
        """
        specimen, site = specimen or self.specimen, site or self.site
        dose = open_s * self.meter.dose_rate_e_per_A2_s
        if specimen == VACUUM:
            return dose
        if open_s > 0.0:
            self.check_calibration()
        here = (specimen, site) == (self.specimen, self.site)
        had = self.meter.dose() if here else self.meter.ledger.dose(specimen, site)
        rate = self.meter.dose_rate_e_per_A2_s
        return check_planned(open_s, rate, had, self.budget.hard, specimen=specimen, site=site)

    def check_calibration(self) -> None:
        """Raise InterlockError when the calibration is too old; warn once of one that is old."""
        if self.calibrating:
            return
        now = self.clock.wall_time(self.clock.now())
        warning = check_age(self.calibration, now, allow_stale=self.allow_stale)
        if warning is not None:
            self._warn("calibration", warning)

    def _warn(self, what: str, text: str) -> None:
        key = (what, f"{self.specimen}\n{self.site}" if what == "soft" else repr(self.calibration))
        if key not in self._warned:
            self._warned.add(key)
            try:
                self.on_warning(text)
            except Exception:
                log.exception("the dose guard could not tell: %s", text)

    # What the beam blanker tells

    def opening(self) -> None:
        """Book the first seconds; before the command that opens the beam.

        Raises
        ------
        InterlockError
            The site has had its dose, or the calibration is too old: the beam stays blanked.
        RecordingError
            The dose cannot be booked: the same.
        """
        if self.specimen != VACUUM:
            self.check_calibration()
            had, hard = self.meter.dose(), self.budget.hard
            if had >= hard.hard_e_per_A2:
                raise InterlockError(f"beam stays blanked: {self._reached(had)}; {CURE}")
        self.meter.opening()
        self._told = False
        self._notify()

    def opened(self, taken: Exchange) -> None:
        """Take in that the beam was opened in an exchange (station s)."""
        try:
            self.meter.opened(taken)
        except RecordingError as error:
            log.error("%s", error)  # the watch, which follows, blanks the beam for it
        self._notify()

    def blanked(self, taken: Exchange) -> None:
        """Take in that the beam was surely blanked in an exchange (station s)."""
        self.meter.blanked(taken)
        self._notify()

    def _reached(self, had: float) -> str:
        hard = self.budget.hard
        return (
            f"site {self.site!r} of {self.specimen!r} has had {had:.5g} of "
            f"{hard.hard_e_per_A2:.5g} e/A^2, the most for {hard.name}"
        )

    # Where it is

    def change(
        self,
        *,
        specimen: str | None = None,
        site: str | None = None,
        run: str | None = None,
        calibration: DoseCalibration | None = None,
    ) -> None:
        """Go on at another site, in another run, or at another dose rate, from now on.

        Raises
        ------
        RecordingError
            The ledger could not be written or read.
        """
        self.meter.change(specimen=specimen, site=site, run=run, calibration=calibration)
        self._notify()

    # The watch

    def check(self) -> float | None:
        """Do what is due; return the wall seconds until something may be due, or None for never.

        Never raises: what goes wrong blanks the beam, and is told.
        """
        meter = self.meter
        try:
            if not meter.open:
                if not meter.unsettled:
                    return None
                waits = SETTLE_S - self.clock.wall_seconds(meter.blanked_s())
                if waits > 0.0:
                    return waits
                meter.settle()
                return None
            limited = self.specimen != VACUUM
            left = self.left_e_per_A2()
            if limited and left <= 0.0:
                return self._blank(f"{self._reached(meter.dose())}; {CURE}")
            if limited and (had := meter.dose()) >= self.budget.soft_e_per_A2:
                soft = self.budget.soft
                self._warn(
                    "soft",
                    f"dose: site {self.site!r} of {self.specimen!r} has had {had:.4g} e/A^2, over "
                    f"the soft limit of {soft.soft_e_per_A2:.4g} for {soft.name}",
                )
            if self.clock.wall_seconds(meter.ahead_s()) < RENEW_S:
                meter.renew()
            waits = self.clock.wall_seconds(meter.ahead_s()) - RENEW_S
            if limited:
                waits = min(waits, self.clock.wall_seconds(left / meter.dose_rate_e_per_A2_s))
        except RecordingError as error:
            if meter.open:
                return self._blank(f"its dose cannot be booked: {error}")
            log.error("%s", error)
            return AGAIN_S
        except Exception as error:  # a guard that fails must not fail open
            log.exception("the dose guard failed")
            return self._blank(f"its dose cannot be watched: {error!r}")
        return max(LEAST_S, waits)

    def _blank(self, why: str) -> float:
        """Blank the beam, and tell why, once; return when to look again."""
        assert self._beam is not None
        self._beam.stop()
        problem = self._beam.unsafe
        if not self._told:
            self._told = True
            self.tripped = f"beam blanked: {why}" if problem is None else f"{problem}; {why}"
            try:
                self.on_limit(self.tripped)
            except Exception:
                log.exception("the dose guard could not tell: %s", self.tripped)
        return AGAIN_S

    def _notify(self) -> None:
        with self._changed:
            self._stamp += 1
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                stamp, closing = self._stamp, self._closing
            if closing:
                return
            waits = self.check()
            with self._changed:
                if self._stamp == stamp and not self._closing:
                    self._changed.wait(waits)

    def close(self) -> None:
        """End the watch and settle; harmless when called again.

        An interval that is still open, for the blanking was never confirmed, stays booked ahead.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            if not self.meter.open:
                self.meter.settle()
            else:
                self.meter.renew()
                log.error(
                    "the beam was never confirmed blanked: the dose of site %r of %r is booked to "
                    "the end of the session only",
                    self.site,
                    self.specimen,
                )
        except RecordingError as error:
            log.error("%s", error)
