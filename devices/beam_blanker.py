"""The electron beam: blanked or open, through a TTL line of the source's digital port."""

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any, Literal

from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.errors import LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.permit import Permit, always
from stmtem_control.timeline import Timeline

from .keithley import Keithley2400
from .signals import finish_within, follow, problem_of, reading

log = logging.getLogger(__name__)

STOP_S = 1.5  # wall seconds that a stop may take, with a new connection, before it gives up
PAUSE_FOLLOWS_S = 10.0  # Bluesky stops before it pauses; a stop longer ago was another one

Beam = Literal["blanked", "open"]


class BeamBlanker(Device):
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
    """

    blanked = reading("Whether the beam is off the specimen.", value=True)
    dose_rate = reading("Dose rate of the open beam.", "e/A^2/s", kind="config")

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
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.source = source
        self.clock = clock
        self.timeline = timeline
        self.unsafe: str | None = None
        self.permit: Permit = always  # the interlocks put theirs in place
        self._line = line
        self._high_is_blanked = blanked_level == "high"
        self._lock = threading.RLock()
        self._open = False
        self._interrupted: float | None = None  # when a stop blanked an open beam
        self._open_on_resume = False
        self._stop_was_success = True
        self.dose_rate.publish(dose_rate_e_per_A2_s)

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
        InterlockError
            It may not be opened: an interlock has tripped and was not cleared.
        """
        self.check_value(value)
        blanked = self._wants_blanked(value)
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

    def make_safe(self) -> list[tuple[str, bool, str]]:
        """Blank, and tell whether it worked: (part, ok, what is wrong)."""
        self.stop(success=False)
        return [("beam blanked", self.unsafe is None, self.unsafe or "")]

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

    def _wants_blanked(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if value in ("blanked", "open"):
            return value == "blanked"
        raise LimitError(f'{self.name}: {value!r}; set it to "blanked" or "open"')

    def _send(self, blanked: bool, *, safe: bool = True) -> "Future[Exchange]":
        return self.source.set_line(self._line, blanked == self._high_is_blanked, safe=safe)

    def _publish(self, blanked: bool, taken: Exchange) -> None:
        self.timeline.record("blanked", taken.t, blanked, taken.uncertainty_s)
        self.blanked.publish(blanked, self.clock.wall_time(taken.t))
