"""The electron beam: blanked or open, through a TTL line of the source's digital port."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.device_limits import wants_blanked
from stmtem_control.dose.calibration import DoseCalibration
from stmtem_control.errors import InterlockError, LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.permit import Permit, always
from stmtem_control.timeline import Timeline

from .dose_guard import DoseGuard
from .keithley import Keithley2400
from .live_state import LiveState
from .signals import done, finish_within, follow, problem_of, reading, setting

log = logging.getLogger(__name__)

STOP_S = 1.5  # wall seconds that a stop may take, with a new connection, before it gives up
PAUSE_FOLLOWS_S = 10.0  # Bluesky stops before it pauses; a stop longer ago was another one

Beam = Literal["blanked", "open"]


class BeamBlanker(LiveState, Device):
    """The beam on the specimen; blanked at the start, at a stop, in a pause and at the end.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    source : Keithley2400
        The driver whose digital port drives the blanker.
    clock, timeline : StationClock, Timeline
        The station's clock, and where the state is noted for the dose of the frames.
    line : int
        Line of the digital port, 1 to 4.
    blanked_level : {"high", "low"}
        What the blanker takes for "blank".
    dose_rate_e_per_A2_s : float
        Calibrated dose rate of the open beam on the specimen, in electrons per square angstrom
        and second.
    energy_keV : float
        Of the electrons, for the record; 0 where the station does not say.

    Attributes
    ----------
    guard : DoseGuard or None
        Books the dose, refuses to open the beam on a site that has had it, and blanks it when the
        limit is reached.
    on_calibration : callable
        Takes a dose calibration that a plan has measured.
    """

    blanked = reading("Whether the beam is off the specimen.", value=True)
    dose_rate = reading("Dose rate of the open beam.", "e/A^2/s", kind="config")
    site = setting("Place on the specimen that is in the beam; empty: not said.", value="")
    energy_keV = reading("Energy of the electrons; 0: not said.", "keV", kind="config")

    def __init__(
        self,
        *,
        name: str = "beam",
        source: Keithley2400,
        clock: StationClock,
        timeline: Timeline,
        line: int = 1,
        blanked_level: Literal["high", "low"] = "high",
        dose_rate_e_per_A2_s: float,
        energy_keV: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.source = source
        self.clock = clock
        self.timeline = timeline
        self.unsafe: str | None = None
        self.guard: DoseGuard | None = None
        self.on_calibration: Callable[[DoseCalibration], None] = lambda _: None
        self.permit: Permit = always  # the interlocks put theirs in place
        self.site.apply = self._go_to_site
        self._line = line
        self._high_is_blanked = blanked_level == "high"
        self._lock = threading.RLock()
        self._open = False
        self._interrupted: float | None = None  # when a stop blanked an open beam
        self._open_on_resume = False
        self._stop_was_success = True
        self.dose_rate.publish(dose_rate_e_per_A2_s)
        self.energy_keV.publish(energy_keV)
        if energy_keV > 0.0:
            timeline.record("beam_energy_keV", clock.now(), energy_keV)

    def connect(self, timeout: float = 10.0) -> None:
        """Blank the beam; the source must be connected before.

        Raises
        ------
        TransportError, InstrumentError
            The source did not do it.
        """
        # What was before is not known; the dose counts from here.
        self._publish(True, self._send(True).result(timeout))

    def disconnect(self) -> None:
        """Blank the beam, on a new connection if need be; the link belongs to the source."""
        link = self.source.link
        if link.alive or (self.source.identity is not None and not link.closed):
            self.stop()

    def check_value(self, value: object, **_: Any) -> None:
        """Raise LimitError when `value` is not "blanked", "open" or a bool (true: blanked).

        Raises InterlockError when the beam may not be opened.
        """
        if not self._wants_blanked(value):
            self.permit("open")

    def set(self, value: Beam | bool) -> Status:
        """Blank (``"blanked"`` or True) or open (``"open"`` or False) the beam.

        Raises
        ------
        LimitError
            It is none of these.
        InterlockError, RecordingError
            An interlock or the dose forbids to open it, or the dose cannot be booked; nothing was
            sent.
        """
        self.check_value(value)
        blanked = self._wants_blanked(value)
        if self.guard is not None and not blanked:
            self.guard.opening()
        with self._lock:
            self._interrupted = None
            self._open_on_resume = False
            self._open = not blanked
            future = self._send(blanked, safe=False)

        def publish(taken: Exchange) -> None:
            self._publish(blanked, taken)
            self.unsafe = None

        return follow(
            future, self, timeout=5.0, publish=publish, forgive=lambda: self._stop_was_success
        )

    def check_exposure(self, open_s: float, md: Mapping[str, Any] | None = None) -> float:
        """Make sure that the beam may be open for so many seconds; return the dose in e/A^2.

        `md` is the metadata of the plan: its ``"sample"`` and ``"site"`` say where, if they are
        not those of the session.

        Raises
        ------
        InterlockError
            There is less left of the budget, or the calibration is too old.
        """
        if self.guard is None:
            return open_s * float(self.dose_rate.get())
        where = md or {}
        return self.guard.check_exposure(
            open_s, specimen=where.get("sample"), site=where.get("site")
        )

    def at_site(self, name: str, had_e_per_A2: float = 0.0) -> None:
        """Note which place is in the beam from now on, and the dose that it has had (e/A^2)."""
        t = self.clock.now()
        self.site.publish(name, self.clock.wall_time(t))
        self.timeline.record("site", t, name)
        self.timeline.record("prior_dose_e_per_A2", t, had_e_per_A2)

    def _go_to_site(self, name: Any) -> Status:
        """Book the dose at another place from now on; the person has moved the stage."""
        if not isinstance(name, str) or not name.strip():
            raise LimitError(f"{self.name}: site is {name!r}; give it a name, like 'fibre 2'")
        if not self.blanked.get():
            raise InterlockError(f"{self.name}: the beam is open; blank it before going to a site")
        if self.guard is not None:
            self.guard.change(site=name.strip())
        had = 0.0 if self.guard is None else self.guard.dose_e_per_A2()
        self.at_site(name.strip(), had)
        return done(self.site)

    @property
    def calibrating(self) -> bool:
        """Whether the dose rate is being measured: an old calibration is then no obstacle."""
        return self.guard is not None and self.guard.calibrating

    @calibrating.setter
    def calibrating(self, value: bool) -> None:
        if self.guard is not None:
            self.guard.calibrating = value

    def calibrate(self, folder: Path, *, setting: str = "", **how: Any) -> DoseCalibration:
        """Measure the dose rate from a run's frames, and go on with it.

        Parameters
        ----------
        folder : Path
            The run folder, with frames dark and lit in vacuum.
        setting : str
            Name of the beam setting; empty: the one in use.
        **how
            See :func:`~stmtem_control.dose.vacuum_series.measure_dose_rate`.

        Raises
        ------
        InstrumentError, LimitError, RecordingError
            The frames tell none, or it cannot be written; nothing has changed.
        """
        from stmtem_control.dose.vacuum_series import measure_dose_rate

        if not setting:
            setting = "default" if self.guard is None else self.guard.calibration.setting
        found = measure_dose_rate(folder, setting=setting, **how)
        self.on_calibration(found)
        return found

    def locate(self) -> dict[str, bool]:
        """Return what was asked for and what is, each as "blanked" (bool)."""
        return {"setpoint": not self._open, "readback": bool(self.blanked.get())}

    def stop(self, *, success: bool = True) -> None:
        """Blank the beam before all that waits; never raises, see ``unsafe``."""
        with self._lock:
            self._stop_was_success = success
            self._open_on_resume = False
            if self._open:
                self._interrupted = time.monotonic()
            self._open = False
        future = self._send(True)
        problem = problem_of(future, STOP_S)
        if problem is None:
            self._publish(True, future.result())
        else:
            log.error("%s: blanking NOT confirmed: %s", self.name, problem)
            problem = f"blanking not confirmed: {problem}"
        self.unsafe = problem

    def pause(self) -> None:
        """Blank the beam; remember whether it was open for :meth:`resume`."""
        with self._lock:
            stopped = self._interrupted
            just_stopped = stopped is not None and time.monotonic() - stopped < PAUSE_FOLLOWS_S
            was_open = self._open or just_stopped
        self.stop()
        with self._lock:
            self._interrupted = None
            self._open_on_resume = was_open

    def resume(self) -> None:
        """Open the beam again if the pause blanked it.

        Raises
        ------
        StmTemError
            The source did not do it.
        """
        with self._lock:
            reopen, self._open_on_resume = self._open_on_resume, False
        if reopen:
            finish_within(self.set("open"), STOP_S, f"{self.name}: opening again")

    def stage(self) -> list[object]:
        """Forget what an earlier run left behind."""
        with self._lock:
            self._interrupted = None
            self._open_on_resume = False
        return list(super().stage())

    def unstage(self) -> list[object]:
        """Blank the beam."""
        self.stop()
        with self._lock:
            self._interrupted = None
        return list(super().unstage())

    def live_state(self) -> str:
        """Return whether it is blanked, and the dose rate if not."""
        blanked = self.blanked.get()
        state = "blanked" if blanked else f"open, {self.dose_rate.get():g} e/A^2/s"
        return state if self.unsafe is None else f"{state}, NOT SAFE: {self.unsafe}"

    def _wants_blanked(self, value: object) -> bool:
        return wants_blanked(self.name, value)

    def _send(self, blanked: bool, *, safe: bool = True) -> "Future[Exchange]":
        return self.source.set_line(self._line, blanked == self._high_is_blanked, safe=safe)

    def _publish(self, blanked: bool, taken: Exchange) -> None:
        if self.guard is not None:
            (self.guard.blanked if blanked else self.guard.opened)(taken)
        self.timeline.record("blanked", taken.t, blanked, taken.uncertainty_s)
        self.blanked.publish(blanked, self.clock.wall_time(taken.t))
