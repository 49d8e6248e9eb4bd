"""The alignment of the camera's clock with the station's, by the clapperboard."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import AlignmentError, StmTemError
from stmtem_control.recording.aligned_clock import align_clock, drift_uncertainty, write_clock
from stmtem_control.recording.blank_edges import EDGE_S, Blanker, coded_pattern, edges_between
from stmtem_control.recording.clapperboard import PatternFit, fit_pattern
from stmtem_control.recording.rebuild import rebuild_tables
from stmtem_control.recording.stamped_frames import DatedFrame
from stmtem_control.timeline import Timeline
from stmtem_control.units import si

from .live_state import LiveState
from .signals import reading

log = logging.getLogger(__name__)

PHASE = "clapperboard"
ARRIVAL_S = 0.5  # wall seconds that a frame is at most under way, from its exposure to the recorder
FRAMES_S = 3.0  # wall seconds that the last frames of a pattern are waited for
POLL_S = 0.02
STOP_S = 2.0


class SampledFrame(DatedFrame, Protocol):
    """What a camera tells of a frame before its row is final."""

    @property
    def host_monotonic_s(self) -> float:
        """Arrival of its first byte, on ``time.monotonic()``."""
        ...


class AlignedCamera(Protocol):
    """What is needed of the camera: its newest frames, and that it takes a clock model."""

    @property
    def name(self) -> str:
        """Its name, for messages."""
        ...

    @property
    def exposure_s(self) -> Any:
        """Signal of the exposure in s."""
        ...

    @property
    def frame_rate_Hz(self) -> Any:
        """Signal of the frames in a second."""
        ...

    @property
    def running(self) -> bool:
        """Whether frames are being taken."""
        ...

    def samples(self, most: int = 0) -> Sequence[SampledFrame]:
        """Return what is known of the newest frames, oldest first; `most` of them, 0 for all."""
        ...

    def set_clock(self, model: ClockModel | None, time_source: str = "clapperboard") -> None:
        """Date frames by `model` from now on."""
        ...


class ClockAlignment(LiveState, Device):
    """Finds how far the camera's clock is from the station's, and dates the frames by it.

    A plan marks the phase "clapperboard", blanks the beam in the code of :meth:`pattern`, then
    triggers this device: it takes the camera's newest frames and the edges of the blanker since
    that mark from the timeline, fits, and tells the camera.
    The first pattern of a run gives the offset; each further one the drift, too.  When the run has
    been closed, :meth:`finish_run` dates all its frames by the final model.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    camera : AlignedCamera
        Whose clock it is.
    clock, timeline : StationClock, Timeline
        The station's.
    delay_s, delay_uncertainty_s, rise_s : float
        Of the beam behind the blanker's line, see :class:`.recording.blank_edges.Blanker`.
    """

    offset_s = reading("Station time minus camera time, at the reference.", "s")
    offset_uncertainty_s = reading("The offset is right within so much, + or - (95 %).", "s")
    reference_s = reading("Camera time for which the offset is, Unix time.", "s")
    drift = reading("Seconds that the offset grows in a second.")
    drift_uncertainty = reading("The drift is right within so much, + or - (95 %).")
    edges = reading("Edges of the beam that the model rests on.", value=0)
    patterns = reading("Patterns of this run that the model rests on.", value=0)
    source = reading("How the camera's clock is known: start or clapperboard.", value="start")
    problem = reading("Why the last pattern was not found; empty if it was.", value="")

    def __init__(
        self,
        *,
        name: str = "alignment",
        camera: AlignedCamera,
        clock: StationClock,
        timeline: Timeline,
        delay_s: float = 0.0,
        delay_uncertainty_s: float = 0.0,
        rise_s: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.camera = camera
        self.clock = clock
        self.timeline = timeline
        self.blanker = Blanker(delay_s, delay_uncertainty_s, rise_s)
        self.fits: list[PatternFit] = []
        self.model: ClockModel | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def pattern(
        self, frame_rate_Hz: float | None = None, exposure_s: float | None = None
    ) -> tuple[float, ...]:
        """Return how long the beam shall be dark, lit, dark, ... and dark at last, in station s.

        Frame rate (Hz) and exposure (s) are those that the camera is set to, unless given.
        """
        return coded_pattern(
            1.0 / (frame_rate_Hz or self.camera.frame_rate_Hz.get()),
            exposure_s or self.camera.exposure_s.get(),
            shortest_s=EDGE_S * self.clock.speed,
        )

    def trigger(self) -> Status:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Find the pattern that has just been blanked; done when the camera dates by it.

        When the pattern is not found for certain, the camera goes on as before and ``problem``
        says why.  The Status ends well all the same: a failed one would end the run, and whether
        that is wanted is for the plan to say.
        """
        status = Status(self, timeout=FRAMES_S + 15.0)
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._align, args=(status,), name=f"{self.name} fit", daemon=True
        )
        self._thread.start()
        return status

    def live_state(self) -> str:
        """Return how the camera's clock is known, and how well."""
        source = self.source.get()
        if source == "start":
            return "frames dated by their start"
        sure = si(self.offset_uncertainty_s.get(), "s")
        return f"frames dated by the {source}, right within {sure}"

    def begin_run(self) -> None:
        """Forget the patterns of the run before, and have the camera date by its start again."""
        self.fits = []
        if self.model is not None:
            self.model = None
            self.camera.set_clock(None)
        for signal in (self.offset_s, self.offset_uncertainty_s, self.reference_s, self.drift):
            signal.publish(0.0)
        self.drift_uncertainty.publish(0.0)
        self.edges.publish(0)
        self.patterns.publish(0)
        self.source.publish("start")
        self.problem.publish("")

    def finish_run(self, folder: Path) -> bool:
        """Date all frames of a run that is closed by the final model; False if there is none.

        The documents keep what was known while the frames came; ``frames.csv``, the pages and
        ``clock.json`` have the final times.

        Raises
        ------
        RecordingError
            The tables cannot be read or written.
        """
        model = self.model
        if model is None:
            return False
        write_clock(folder, model, self.fits)
        rebuild_tables(folder, model)
        return True

    def stop(self, *, success: bool = True) -> None:
        """Give up waiting for frames; never raises."""
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_S)

    # The thread

    def _align(self, status: Status) -> None:
        problem = ""
        try:
            self._fit()
        except StmTemError as error:
            problem = str(error)
        except Exception as error:
            log.exception("%s: the fit failed", self.name)
            problem = f"{self.name}: the fit failed: {error}"
        self.problem.publish(problem)
        with contextlib.suppress(Exception):  # it may have timed out meanwhile
            status.set_finished()

    def _fit(self) -> None:
        now = self.clock.now()
        marks = zip(*self.timeline.entries("phase")[:2], strict=True)
        begun = max((t for t, phase in marks if phase == PHASE), default=now)
        history = self.timeline.entries("blanked")
        period = 1.0 / self.camera.frame_rate_Hz.get()
        pattern = edges_between(history, begun, now)
        if not pattern:
            raise AlignmentError(
                f"{self.name}: the beam was not blanked since phase {PHASE!r} was marked; use the "
                "plan stub clapperboard"
            )
        late = ARRIVAL_S * self.clock.speed
        before = begun - late - 8.0 * period
        number = math.ceil((now - before + late) / period) + 32
        samples = self._samples_after(pattern[-1].t + self.blanker.delay_s + 2.0 * period, number)
        latest = min(
            self._station(sample.host_monotonic_s) - sample.exposure_s - sample.camera_time_s
            for sample in samples
        )
        fit = fit_pattern(
            samples,
            # All changes near, lest one of them be taken for one of the pattern's.
            edges_between(history, before, now),
            blanker=self.blanker,
            expected_offset_s=latest - 0.5 * late,
            search_s=0.5 * late + 2.0 * period,
        )
        fits = [*self.fits, fit]
        model = align_clock(
            fits,
            delay_uncertainty_s=self.blanker.delay_uncertainty_s,
            source=f"{self.camera.name}, clapperboard",
        )
        if self._stopped.is_set():
            raise AlignmentError(f"{self.name}: was stopped while it aligned the clocks")
        self.camera.set_clock(model)
        self.fits, self.model = fits, model
        self._publish(model)

    def _samples_after(self, t: float, number: int) -> Sequence[SampledFrame]:
        """Return the newest frames, once some have come that were exposed after `t` (station s).

        Which those are is judged by their arrival: no frame arrives before it was exposed, and
        the first that arrive after `t` may have been exposed before.
        """
        deadline = (
            time.monotonic()
            + FRAMES_S
            + 3.0
            * self.clock.wall_seconds(
                1.0 / self.camera.frame_rate_Hz.get() + self.camera.exposure_s.get()
            )
        )
        while True:
            samples = self.camera.samples(number)
            if sum(self._station(s.host_monotonic_s) >= t for s in samples) >= 3:
                return samples
            if time.monotonic() > deadline or self._stopped.wait(POLL_S):
                raise AlignmentError(
                    f"{self.name}: no frames came after the pattern; take frames throughout"
                )

    def _station(self, monotonic_s: float) -> float:
        return self.clock.station_time(self.clock.unix_time(monotonic_s))

    def _publish(self, model: ClockModel) -> None:
        now = self.clock.wall_time(self.clock.now())
        for signal, value in (
            (self.offset_s, model.offset_s),
            (self.offset_uncertainty_s, model.uncertainty_s(model.reference_s)),
            (self.reference_s, model.reference_s),
            (self.drift, model.drift),
            (self.drift_uncertainty, drift_uncertainty(model)),
            (self.edges, sum(fit.edges for fit in self.fits)),
            (self.patterns, len(self.fits)),
            (self.source, "clapperboard"),
        ):
            signal.publish(value, now)
        log.info(
            "%s: offset %.6f s +- %.2g s, drift %.2g +- %.2g, from %d edges",
            self.name,
            model.offset_s,
            model.uncertainty_s(model.reference_s),
            model.drift,
            drift_uncertainty(model),
            sum(fit.edges for fit in self.fits),
        )
