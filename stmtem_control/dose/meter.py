"""Counts the dose while the beam is open, and keeps the ledger ahead of it.

Times are station seconds.  Nothing here waits but for the disk: a thread that renews and settles
is in :mod:`stmtem_control.devices.dose_guard`.
"""

import math
import threading
import uuid
from dataclasses import dataclass

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.exchanges import Exchange

from .bookings import Account, Exposure
from .calibration import DoseCalibration
from .ledger import Ledger

LEASE_S = 4.0  # wall seconds of open beam that are booked ahead
RENEW_S = 3.0  # so many wall seconds are always still booked: longer than any guard needs


@dataclass
class _Lease:
    """What is booked ahead for some openings, and what has come of it."""

    account: Account
    first: float
    ahead: float = 0.0
    open_s: float = 0.0  # of intervals that have ended
    unsure_s: float = 0.0
    openings: int = 0


class DoseMeter:
    """The dose that one beam gives to the site in it; safe to use from any thread.

    An opening counts from when the command is sent, a blanking when it is confirmed, so that the
    sum is never too small.

    Parameters
    ----------
    ledger : Ledger
    clock : StationClock
    calibration : DoseCalibration
    specimen, site : str
        Where the beam is.

    Raises
    ------
    RecordingError
        The ledger cannot be read.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: StationClock,
        calibration: DoseCalibration,
        *,
        specimen: str,
        site: str,
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.calibration = calibration
        self.specimen, self.site, self.run = specimen, site, ""
        self._lock = threading.RLock()
        self._prior = ledger.dose(specimen, site)
        self._lease: _Lease | None = None
        self._since: float | None = None  # when the open interval began
        self._sure_s: float | None = None  # how well that is known; None: not confirmed
        self._again = False  # asked for again before it was confirmed: either may have opened it
        self._ended = -math.inf  # when the last interval ended

    # What is

    @property
    def open(self) -> bool:
        """Whether the beam is open, or may be."""
        with self._lock:
            return self._since is not None

    @property
    def unsettled(self) -> bool:
        """Whether something is booked ahead."""
        with self._lock:
            return self._lease is not None

    @property
    def dose_rate_e_per_A2_s(self) -> float:
        """Dose rate of the open beam in e/A^2/s."""
        return self.calibration.dose_rate_e_per_A2_s

    def blanked_s(self) -> float:
        """Return for how long (station s) the beam has been blanked; 0 while it is open."""
        with self._lock:
            return 0.0 if self._since is not None else self.clock.now() - self._ended

    def dose(self) -> float:
        """Return what the site has had up to now at most, in e/A^2."""
        with self._lock:
            return self._prior + self._given()

    def ahead_s(self) -> float:
        """Return for how many station seconds of open beam there is dose booked ahead."""
        with self._lock:
            if self._lease is None:
                return 0.0
            return (self._lease.ahead - self._given()) / self._lease.account.dose_rate_e_per_A2_s

    def _given(self) -> float:
        """Return what the lease has come to by now."""
        if self._lease is None:
            return 0.0
        going_on = 0.0 if self._since is None else max(0.0, self.clock.now() - self._since)
        return (self._lease.open_s + going_on) * self._lease.account.dose_rate_e_per_A2_s

    # What happens

    def opening(self) -> None:
        """Book ahead; to be called before the command that opens the beam is sent.

        Raises
        ------
        RecordingError
            It could not be booked; the beam must stay blanked.
        """
        with self._lock:
            lease = self._lease or self._new_lease()
            self._book(lease, self._given())
            self._lease = lease
            if self._since is None:
                lease.openings += 1
                # After the disk was asked: what is booked is counted from here on.
                self._since, self._sure_s = self.clock.now(), None
                self._again = False
            elif self._sure_s is None:
                self._again = True

    def opened(self, taken: Exchange) -> None:
        """Take in that the beam was opened in an exchange (station s).

        Raises
        ------
        RecordingError
            A blanking had overtaken the opening, which now could not be booked; it counts.
        """
        with self._lock:
            late = self._since is None
            if self._since is None:
                if taken.answered <= self._ended:
                    return  # it was blanked since
                self._since, self._again = taken.sent, False
            elif taken.answered < self._since:
                return  # it was blanked, and asked for anew
            if self._sure_s is None or late:
                if not self._again:
                    self._since = max(self._since, taken.sent)
                self._sure_s = max(0.0, taken.answered - self._since)
            if late:
                self._lease = self._lease or self._new_lease(self._since)
                self._lease.openings += 1
                self._book(self._lease, self._given())

    def blanked(self, taken: Exchange) -> None:
        """Take in that the beam was surely blanked in an exchange (station s)."""
        with self._lock:
            lease = self._lease
            if lease is None or self._since is None or taken.answered < self._since:
                return
            whole = taken.answered - self._since
            edge = taken.answered - max(taken.sent, self._since)
            lease.open_s += whole
            # Without a confirmed opening it may never have been open.
            lease.unsure_s += whole if self._sure_s is None else min(whole, self._sure_s + edge)
            self._since, self._ended = None, taken.answered

    def renew(self) -> None:
        """Book ahead as much as is missing for the next :data:`LEASE_S`.

        Raises
        ------
        RecordingError
            It could not be booked.
        """
        with self._lock:
            if self._lease is not None:
                self._book(self._lease, self._given())

    def settle(self) -> None:
        """Put what was given in the place of what was booked ahead.

        With the beam open, the interval is cut at now, and goes on in a lease of its own.

        Raises
        ------
        RecordingError
            It could not be written; what is booked ahead stays.
        """
        with self._lock:
            old = self._lease
            if old is None:
                return
            now = self.clock.now()
            if self._since is None:
                self._lease, last = None, self._ended
            else:
                # First the new one: between the two all is booked twice, and never too little.
                new = self._new_lease(now)
                self._book(new, 0.0)
                old.open_s += now - self._since
                old.unsure_s += now - self._since if self._sure_s is None else self._sure_s
                new.openings = 1
                self._sure_s = None if self._sure_s is None else 0.0
                self._lease, self._since, last = new, now, now
            dose = old.open_s * old.account.dose_rate_e_per_A2_s
            try:
                self.ledger.settle(
                    Exposure(
                        old.account,
                        dose_e_per_A2=dose,
                        uncertainty_e_per_A2=old.unsure_s * old.account.dose_rate_e_per_A2_s,
                        open_s=old.open_s,
                        openings=old.openings,
                        first_unix_s=self.clock.wall_time(old.first),
                        last_unix_s=self.clock.wall_time(last),
                    )
                )
            except RecordingError:
                dose = old.ahead  # which is what the ledger goes on to say
                raise
            finally:
                self._prior += dose

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
            The ledger could not be written or read; what is booked ahead stays.
        """
        with self._lock:
            lease_before = self._lease
            before = (self.specimen, self.site, self.run, self.calibration)
            if specimen is not None:
                self.specimen = specimen
            if site is not None:
                self.site = site
            if run is not None:
                self.run = run
            self.calibration = calibration or self.calibration
            if (self.specimen, self.site, self.run, self.calibration) == before:
                return
            try:
                self.settle()
                self.look_again()
            except RecordingError:
                if self._lease is lease_before:
                    self.specimen, self.site, self.run, self.calibration = before
                raise

    def look_again(self) -> None:
        """Take in what others have booked on the site; raises RecordingError."""
        with self._lock:
            lease = "" if self._lease is None else self._lease.account.lease
            self._prior = self.ledger.dose(self.specimen, self.site, without=lease)

    def _new_lease(self, now: float | None = None) -> _Lease:
        calibration = self.calibration
        account = Account(
            lease=uuid.uuid4().hex,
            specimen=self.specimen,
            site=self.site,
            run=self.run,
            setting=calibration.setting,
            dose_rate_e_per_A2_s=calibration.dose_rate_e_per_A2_s,
            relative_uncertainty=calibration.relative_uncertainty,
        )
        return _Lease(account, self.clock.now() if now is None else now)

    def _book(self, lease: _Lease, given: float) -> None:
        """Book ahead what is missing, with `given` (e/A^2) given already."""
        seconds = LEASE_S * self.clock.speed
        missing = given + seconds * lease.account.dose_rate_e_per_A2_s - lease.ahead
        if missing > 0.0:
            self.ledger.book_ahead(lease.account, missing)
            lease.ahead += missing
