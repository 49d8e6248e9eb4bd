"""The dose of a session: which specimen and site are in the beam, and what they may still have."""

import logging
import math
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from stmtem_control.devices import BeamBlanker, DoseGuard, FrameCamera

from .clock import StationClock
from .config import Station
from .dose.bookings import Account, Exposure
from .dose.calibration import SIMULATED, CalibrationFile, DoseCalibration
from .dose.ledger import Ledger
from .errors import ConfigError, InterlockError, LimitError, RecordingError
from .recording.site_dose import SiteDose
from .station_dose import SITE, calibrations_path, find_calibration, ledger_path

log = logging.getLogger(__name__)


class SessionDose:
    """What is in the beam, what it has had, and what it may have.

    Parameters
    ----------
    station : Station
    clock : StationClock
    beam, camera : BeamBlanker, FrameCamera
        Connected, with the beam blanked.
    specimen : str
        What is in the beam, until :attr:`specimen` is set.
    opened : ExitStack
        Closes guard and ledger.

    Attributes
    ----------
    on_limit : callable
        Called with the reason, in one line, when the guard has blanked the beam; in its thread.
    tell : callable
        Called with every line that a person at the station should see: warnings, and the limit.
    limit : str
        That reason, if it was in the present run.

    Raises
    ------
    RecordingError
        Ledger or calibration file cannot be used.
    """

    def __init__(
        self,
        station: Station,
        clock: StationClock,
        beam: BeamBlanker,
        camera: FrameCamera,
        *,
        specimen: str,
        opened: ExitStack,
    ) -> None:
        self.station = station
        self.clock = clock
        self.metadata: dict[str, Any] = {}  # of the RunEngine: every run carries it
        self.busy: Callable[[], bool] = lambda: False
        self.on_limit: Callable[[str], None] = lambda _: None
        self.tell: Callable[[str], None] = lambda _: None
        self._beam, self._camera = beam, camera
        self.ledger = Ledger(ledger_path(station))
        opened.callback(self.ledger.close)
        self.guard = DoseGuard(
            ledger=self.ledger,
            clock=clock,
            calibration=find_calibration(station, station.beam.setting, time.time()),
            budget=station.dose.budget(),
            specimen=specimen,
            site=SITE,
            allow_stale=station.dose.allow_stale_dose,
        )
        self.guard.on_limit = self._limit_reached
        self.guard.on_warning = self._warn
        self.limit = ""
        self._home = (specimen, SITE)
        opened.callback(self.guard.close)
        beam.guard = self.guard
        beam.on_calibration = self.take_calibration
        self.guard.watch(beam)
        # Whatever happens, the beam is blanked before the guard's watch ends.
        opened.callback(beam.stop)
        self._publish()

    # What a person sets

    @property
    def specimen(self) -> str:
        """Name of the specimen in the beam; set it when another one is put in."""
        return self.guard.specimen

    @specimen.setter
    def specimen(self, name: str) -> None:
        self._go(name, self.guard.site)

    @property
    def site(self) -> str:
        """Name of the site in the beam; set it when the stage has moved."""
        return self.guard.site

    @site.setter
    def site(self, name: str) -> None:
        self._go(self.guard.specimen, name)

    @property
    def allow_stale(self) -> bool:
        """Whether a calibration of any age will do, in this session."""
        return self.guard.allow_stale

    @allow_stale.setter
    def allow_stale(self, value: bool) -> None:
        self.guard.allow_stale = bool(value)

    @property
    def setting(self) -> str:
        """Name of the beam setting; set it when magnification, spot or condenser have changed."""
        return self.guard.calibration.setting

    @setting.setter
    def setting(self, name: str) -> None:
        self._refuse_while_running("beam setting")
        self.guard.change(calibration=find_calibration(self.station, name, time.time()))
        self._publish()

    def take_calibration(self, calibration: DoseCalibration) -> None:
        """Keep a calibration that was just measured, and go on with it.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        CalibrationFile(calibrations_path(self.station)).append(calibration)
        self.guard.change(calibration=calibration)
        self._beam.dose_rate.publish(calibration.dose_rate_e_per_A2_s)
        # Frames of the run that measured it have the rate that the run began with.
        self._camera.dose_rate.publish(calibration.dose_rate_e_per_A2_s)

    def add_by_hand(self, open_s: float, why: str) -> float:
        """Book exposure that the station could not know of on the site in the beam; e/A^2.

        Such as a beam that was opened at the microscope.  There is no way to take dose back.

        Parameters
        ----------
        open_s : float
            Seconds of beam at the dose rate in use, at most.
        why : str
            What happened, as it shall stand in the ledger.

        Raises
        ------
        LimitError
            It is no time, or there is no reason.
        RecordingError
            It could not be booked.
        """
        if not (math.isfinite(open_s) and open_s > 0.0) or not why.strip():
            raise LimitError(
                f"dose by hand: {open_s!r} s, because {why!r}; give positive seconds and a reason"
            )
        calibration, now = self.guard.calibration, time.time()
        rate = calibration.dose_rate_e_per_A2_s
        account = Account(
            lease=uuid.uuid4().hex,
            specimen=self.specimen,
            site=self.site,
            run="",
            setting=f"{calibration.setting}, by hand: {why.strip()}",
            dose_rate_e_per_A2_s=rate,
            relative_uncertainty=calibration.relative_uncertainty,
        )
        times = (now - self.clock.wall_seconds(open_s), now)
        self.ledger.settle(Exposure(account, open_s * rate, 0.0, open_s, 1, *times))
        self.guard.meter.look_again()
        return open_s * rate

    def _go(self, specimen: str, site: str) -> None:
        for what, name in (("specimen", specimen), ("site", site)):
            if not isinstance(name, str) or not name.strip():
                raise ConfigError(f"{what} is {name!r}; give it a name, for example 'fibre 3'")
        self._refuse_while_running("specimen or site")
        self.guard.change(specimen=specimen.strip(), site=site.strip())
        self._home = (self.guard.specimen, self.guard.site)
        self._publish()

    def _refuse_while_running(self, what: str) -> None:
        if self.busy():
            raise InterlockError(f"{what} cannot be changed while a plan runs; end it first")

    def _publish(self) -> None:
        rate = self.guard.calibration.dose_rate_e_per_A2_s
        self._beam.dose_rate.publish(rate)
        self._camera.dose_rate.publish(rate)
        self.metadata["sample"], self.metadata["site"] = self.guard.specimen, self.guard.site

    def _limit_reached(self, reason: str) -> None:
        self.limit = reason
        log.error("%s", reason)
        self.tell(reason)
        self.on_limit(reason)

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        self.tell(text)

    # Runs

    def begin_run(self, start: Mapping[str, Any]) -> None:
        """Book on a run from here on; its start document may name specimen and site.

        Raises
        ------
        RecordingError
            The ledger cannot be written.
        """
        self.limit = ""
        home_specimen, home_site = self._home
        self.guard.change(
            specimen=str(start.get("sample") or home_specimen),
            site=str(start.get("site") or home_site),
            run=str(start["uid"]),
        )
        had = self.guard.dose_e_per_A2()
        self._beam.at_site(self.guard.site, had)
        self._camera.site_dose = SiteDose(
            prior_e_per_A2=had,
            pixel_size_nm=float(self._camera.pixel_size_nm.get()),
            calibrated_unix_s=self.calibrated_unix_s(),
        )

    def end_run(self) -> None:
        """Book on no run from here on; never raises: what is booked ahead stays."""
        specimen, site = self._home
        self.guard.calibrating = False
        try:
            self.guard.change(specimen=specimen, site=site, run="")
        except RecordingError as error:
            log.error("%s", error)

    def calibrated_unix_s(self) -> float:
        """Return when the dose rate was measured, Unix time in s; now, if it is simulated."""
        calibration = self.guard.calibration
        return time.time() if calibration.how == SIMULATED else calibration.calibrated_unix_s

    def one_line(self) -> str:
        """Return site, dose and what is left in one line."""
        guard = self.guard
        hard = guard.budget.hard
        return (
            f"{guard.site!r} of {guard.specimen!r}: {guard.dose_e_per_A2():.4g} of "
            f"{hard.hard_e_per_A2:.4g} e/A^2 ({hard.name}); "
            f"{guard.calibration.one_line(time.time())}"
        )
