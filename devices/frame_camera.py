"""The frame camera: a flyer whose frames go to disk, and whose table goes into the documents."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import InterlockError, LimitError, RecordingError, StmTemError
from stmtem_control.exchanges import Exchange
from stmtem_control.timeline import Timeline

from .camera_settings import CameraSettings
from .frame_documents import Columns, FrameDocuments, data_keys
from .frame_recording import FrameRecording, Sample
from .merlin import Joined, Merlin
from .signals import Setting, check_range, done, follow, problem_of, reading, setting

log = logging.getLogger(__name__)

STOP_S = 0.5  # wall seconds that a stop waits for the camera, and again for the recorder
START_S = 10.0
SETTLE_S = 0.25  # wall seconds that a reading needs from its end to the recorder, at most
SPARE = 4  # slots of the ring that the look-back leaves to frames that come
LONGEST_LOOK_BACK_S = 3600.0


class FrameCamera(CameraSettings):
    """A Merlin detector that records every frame from kickoff to complete.

    A recorder of its own, see :mod:`.recorder_process`, reads the frames and writes them to
    ``directory`` while they come; ``collect`` tells the documents which are on disk, and gives the
    table's rows for them.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    merlin : Merlin
        The driver.
    clock, timeline : StationClock, Timeline
        The station's clock, and what was true when: bias, readings, phase, blanking.
    pixel_size_nm : float
        Of the image on the specimen.
    dose_rate_e_per_A2_s : float
        Calibrated dose rate of the open beam, in electrons per square angstrom and second.
    frames_per_file : int
        Frames in one TIFF file.
    counter_depth : {6, 12, 24}
        Bits of the detector's counters: pixels of one, two or four bytes.
    reading_s : float
        Instrument seconds that one reading of the source takes: a frame's row waits for half of
        that, so that a reading in the middle of which it was exposed is in it.
    ring_MB : float
        Memory for frames that wait for the disk, and for the look-back.
    look_back_s : float
        Station seconds of frames that are kept while the camera is armed.
    method : {"auto", "direct", "buffered"}
        How pages are written, see :class:`~stmtem_control.recording.page_writer.PageWriter`.
    compression : {"zstd", "deflate"}, optional
        Of the pages, without loss.
    process : bool, optional
        Whether the recorder is a process of its own; by default where the platform can.

    Notes
    -----
    Acquisitions use the camera's internal trigger; how frames are dated, and what would hold with
    another trigger, is told in :class:`~.frame_times.Acquisition`.
    """

    pixel_size_nm = reading("Pixel size on the specimen.", "nm", kind="config")
    dose_rate = reading("Dose rate of the open beam.", "e/A^2/s", kind="config")
    phase = setting("Phase of the experiment, for frames from now on.", value="")
    cycle = setting("Cycle of the experiment, for frames from now on.", value=0)
    frames_captured = reading("Frames that came from the camera in this run.", value=0)
    frames_written = reading("Frames that are on disk in this run.", value=0)
    dropped = reading("Frames that the camera took but that did not come.", value=0)
    total_dose = reading("Dose since the run began, up to the last frame on disk.", "e/A^2")
    mean_counts = reading("Mean counts in a pixel of the last frame.", "counts")
    look_back_s = setting("Frames kept while the camera is armed.", "s", value=0.0, kind="config")

    def __init__(
        self,
        *,
        name: str = "camera",
        merlin: Merlin,
        clock: StationClock,
        timeline: Timeline,
        pixel_size_nm: float,
        dose_rate_e_per_A2_s: float,
        frames_per_file: int = 256,
        counter_depth: int = 12,
        reading_s: float = 0.05,
        ring_MB: float = 512.0,
        look_back_s: float = 0.0,
        method: str = "auto",
        compression: str | None = None,
        process: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name=name, merlin=merlin, clock=clock, counter_depth=counter_depth, **kwargs
        )
        merlin.now = clock.now  # the frames are dated by the times of its exchanges
        self.timeline = timeline
        self.unsafe: str | None = None
        self.last_row: dict[str, Any] = {}
        self.frames_per_file = frames_per_file
        self.settle_s = SETTLE_S
        self._reading_s = reading_s
        self._writing = {"method": method, "compression": compression}
        self._directory: Path | None = None
        self._recording = FrameRecording(
            name=name,
            clock=clock,
            timeline=timeline,
            ask_status=lambda: merlin.get("DETECTORSTATUS"),
            on_rows=self._take_rows,
            on_counts=self._publish_counts,
            ring_bytes=int(ring_MB * 1e6),
            process=process,
        )
        self._lock = threading.RLock()
        self._acquiring = False
        self._armed = False  # acquiring, and nobody records
        self._paused = False
        self._started: Status | None = None  # of the last start
        self._may_be_replayed = False  # Bluesky repeats messages after a pause, kickoff among them
        self._documents = FrameDocuments(name)
        self.pixel_size_nm.publish(pixel_size_nm)
        self.dose_rate.publish(dose_rate_e_per_A2_s)
        self.look_back_s.low, self.look_back_s.high = 0.0, LONGEST_LOOK_BACK_S
        self.look_back_s.apply = self._look_back
        self.look_back_s.set(look_back_s)
        for channel, signal in (("phase", self.phase), ("cycle", self.cycle)):
            signal.apply = self._marker(channel, signal)

    # Life

    def connect(self, timeout: float = 10.0) -> None:
        """Connect as the settings do, and start the recorder; see there for what is raised.

        Raises
        ------
        ConfigError
            The ring is too small for the camera's frames.
        """
        super().connect(timeout)
        assert self._shape is not None
        self._recording.connect(self._shape, self._dtype.newbyteorder("="))

    def disconnect(self) -> None:
        """End acquisition and recorder, and close the link."""
        self.stop()
        self._recording.close()
        self.merlin.link.close()

    @property
    def directory(self) -> Path | None:
        """The folder that frames are written to; a new one begins a new count."""
        return self._directory

    @directory.setter
    def directory(self, folder: Path | str) -> None:
        # Not under the lock: what waits for the end of the recording needs it.
        if not self._armed:
            self._end_recording()
        with self._lock:
            self._directory = Path(folder)
            self._documents = FrameDocuments(self.name)
            self.last_row = {}
        self._recording.begin_run(self._directory, self.dose_rate.get())
        for signal in (self.frames_captured, self.frames_written, self.dropped, self.total_dose):
            signal.publish(0)

    @property
    def running(self) -> bool:
        """Whether frames are being taken, or wait to be written."""
        return self._recording.running

    def latest_frame(self) -> NDArray[Any] | None:
        """Return a copy of the newest frame, also while frames come; None before the first."""
        return self._recording.newest()

    def samples(self) -> list[Sample]:
        """Return what is known of the newest frames of the present acquisition, oldest first.

        Raises
        ------
        RecordingError
            The recorder does not answer.
        """
        return self._recording.samples()

    def set_clock(self, model: ClockModel | None, time_source: str = "clapperboard") -> None:
        """Date frames by a model of the camera's clock, from those whose rows are not final on.

        Parameters
        ----------
        model : ClockModel or None
            Station time of the camera's time stamps; None dates them by the start again.
        time_source : {"clapperboard", "trigger"}
            What the table says of it.

        Raises
        ------
        RecordingError
            The recorder does not answer.
        """
        self._recording.set_clock(model, time_source)

    def mark(self, phase: str, cycle: int) -> None:
        """Say what phase of which cycle begins now."""
        self.phase.set(phase)
        self.cycle.set(cycle)

    # Look-back

    def arm(self) -> Status:
        """Start an acquisition whose frames are kept for ``look_back_s`` and not recorded.

        A kickoff then begins with them.  Done when the camera has started.

        Raises
        ------
        LimitError
            The ring is too small for the look-back.
        InterlockError
            Frames are being taken already.
        """
        need = self.look_back_s.get() * self.frame_rate_Hz.get() + SPARE
        if need > self._recording.slots > 0:
            raise LimitError(
                f"{self.name}: a look-back of {self.look_back_s.get():g} s at "
                f"{self.frame_rate_Hz.get():g} frames a second needs room for {need:.0f} frames, "
                f"the ring has room for {self._recording.slots}; raise [camera] ring_MB"
            )
        with self._lock:
            if self._armed and self.running:
                return done(self)
            self._check_free()
            self._armed = True
        return self._start()

    def disarm(self) -> None:
        """End what :meth:`arm` began, if no kickoff has made a recording of it."""
        if self._armed:
            self.stop()

    def _look_back(self, seconds: float) -> Status:
        check_range(self.look_back_s.name, seconds, 0.0, LONGEST_LOOK_BACK_S, "s")
        self._recording.look_back(seconds)
        self.look_back_s.publish(seconds)
        return done(self.look_back_s)

    def _check_free(self) -> None:
        if self._shape is None:
            raise InterlockError(f"{self.name}: not connected")
        if self.running:
            raise InterlockError(f"{self.name}: frames are being taken already; complete first")

    # Flyable

    def kickoff(self) -> Status:
        """Start an acquisition; done when the camera has started.

        In one run there may be several, also after a :meth:`stop`: numbers and files go on.  A
        kickoff that the RunEngine repeats after a pause finds its acquisition under way, and is
        done at once.  An armed camera only begins to record, with the frames of the look-back.

        Raises
        ------
        RecordingError
            No folder to write to, or it cannot be written.
        InterlockError
            Frames are being taken already.
        StmTemError
            What ended an earlier acquisition of the run, if nobody was told yet.
        """
        with self._lock:
            if self._directory is None:
                raise RecordingError(
                    f"{self.name}: no folder for the frames; set {self.name}.directory, or run the "
                    "plan in a session, which gives each run its folder"
                )
            replayed, self._may_be_replayed = self._may_be_replayed, False
            if replayed and self.running:
                return done(self)
            if not self._armed:
                self._check_free()
        error = self._recording.unreported()
        if error is not None:
            raise error
        # Not under the lock: the thread that hears the answer may need it first.
        self._recording.record(self._settings())
        with self._lock:
            armed, self._armed = self._armed and self.running, False
        return (self._started or done(self)) if armed else self._start()

    def _settings(self) -> dict[str, Any]:
        return {
            "pixel_size_nm": self.pixel_size_nm.get(),
            "frame_interval_s": 1.0 / self.frame_rate_Hz.get(),
            "frames_per_file": self.frames_per_file,
            "settle_s": self.settle_s + 0.5 * self.clock.wall_seconds(self._reading_s),
            **self._writing,
        }

    def _start(self) -> Status:
        exposure, period = self.exposure_s.get(), 1.0 / self.frame_rate_Hz.get()
        self._paused, self._acquiring = False, True

        def begin(found: tuple[Joined, Exchange]) -> None:
            stream, exchange = found
            with self._lock:
                if self._acquiring:
                    self._recording.started(exchange)
                    return
            stream.close()
            raise InterlockError(f"{self.name}: was stopped while it started")

        self._started = follow(
            self.merlin.start(
                exposure_s=exposure,
                period_s=period,
                opener=lambda host, port: self._recording.open_stream(host, port, exposure, period),
            ),
            self,
            timeout=START_S,
            publish=begin,
        )
        return self._started

    def complete(self) -> Status:
        """Stop the acquisition; done when the last frame is on disk.

        The Status fails with the error that ended the recording, if one did and ``collect`` has
        not raised it yet, and when the camera did not take the stop: a :meth:`stop` tries again.
        """
        status = Status(self, timeout=START_S + self.clock.wall_seconds(self._longest_s()))
        recording = self._recording
        with self._lock:
            self._acquiring = self._armed = False
            self._paused = self._may_be_replayed = False

        def ended() -> None:
            error = recording.unreported()
            if error is None:
                status.set_finished()
            else:
                status.set_exception(error)

        def stopped(future: "Future[Exchange]") -> None:
            error = future.exception()
            if error is None:
                recording.stopped(future.result())
                recording.finish(ended)
                return
            self._acquiring = True
            status.set_exception(recording.unreported() or error)

        if self._directory is None:
            status.set_finished()
            return status
        recording.expect(False)
        self.merlin.command("STOPACQUISITION", safe=True).add_done_callback(stopped)
        return status

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of the stream "frames": the images, and the table's columns."""
        if self._shape is None:
            raise InterlockError(f"{self.name}: not connected")
        return data_keys(self.name, self._shape, self._dtype)

    def collect_asset_docs(self, index: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a stream datum for the frames that have reached the disk since the last call.

        Raises
        ------
        TransportError, RecordingError
            What ended the recording; once.
        """
        with self._lock:
            if self._directory is None or self._shape is None:
                return
            self._may_be_replayed = False
            # An error is told once; then what was written before it can still be collected.
            error = self._recording.unreported()
            if error is not None:
                raise error
            first, rows = self._recording.take()
            documents = self._documents.assets(
                self._directory, self._shape, self._recording.frames_per_file, first, rows
            )
        yield from documents

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield the table's rows for exactly the frames of the last stream datum."""
        start = self.clock.wall_time(self.timeline.run_start)
        yield from self._documents.pages(start, self.clock.wall_seconds(1.0))

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """End acquisition, thread and files, whatever their state; never raises.

        A later kickoff in the same run goes on with the next number, in the same file.
        """
        with self._lock:
            was_acquiring, self._acquiring = self._acquiring, False
            self._may_be_replayed = self._armed = False
        self.unsafe = self._stop_camera() if was_acquiring or self.running else None
        self._end_recording()

    def make_safe(self) -> list[tuple[str, bool, str]]:
        """Stop, and tell whether it worked: (part, ok, what is wrong)."""
        self.stop(success=False)
        return [("camera stopped", self.unsafe is None, self.unsafe or "")]

    def pause(self) -> None:
        """Stop the acquisition; frames that are under way are still recorded."""
        with self._lock:
            acquiring, started = self._acquiring, self._started
        if not acquiring:
            return
        if started is not None and not started.done:
            # What has begun to start is stopped when it has started, so that it can go on later.
            with contextlib.suppress(Exception):
                started.wait(STOP_S)
        with self._lock:
            if not self.running:
                return
            self._paused = True
            self._recording.expect(False)
        self._stop_camera()

    def resume(self) -> None:
        """Start again after a pause; the frames' numbers go on.

        If somebody has stopped the camera in the pause, it stays so, and the next collect (or
        kickoff) raises: a plan shall not go on without the frames that it counts on.

        Raises
        ------
        StmTemError
            The camera did not start.
        """
        with self._lock:
            paused, self._paused = self._paused, False
            acquiring, recording = self._acquiring, self._recording
        if not paused:
            return
        if not acquiring:
            recording.fail(
                InterlockError(
                    f"{self.name}: was stopped during the pause, so no frames are taken any more; "
                    "run the plan again"
                )
            )
            return
        if not self.running:
            return  # it failed, which is told already, or by the next collect
        self._wait_until_idle()
        recording.begin_again()

        def date(ended: "Future[Exchange]") -> None:
            recording.started(ended.result() if ended.exception() is None else None)

        future = self.merlin.command("STARTACQUISITION")
        future.add_done_callback(date)
        try:
            future.result(STOP_S + 0.5)
        except TimeoutError as error:
            raise StmTemError(f"{self.name}: did not start again after the pause") from error
        self._may_be_replayed = True

    def unstage(self) -> list[object]:
        """End acquisition, thread and files."""
        self.stop()
        return list(super().unstage())

    # The rest is for this class.

    def _marker(self, channel: str, signal: Setting) -> Any:
        def apply(value: Any) -> Status:
            t = self.clock.now()
            signal.publish(value, self.clock.wall_time(t))
            self.timeline.record(channel, t, signal.get())
            return done(signal)

        return apply

    def _publish_counts(self, recording: FrameRecording) -> None:
        self.frames_captured.publish(recording.captured)
        self.dropped.publish(recording.dropped)

    def _take_rows(self, recording: FrameRecording, columns: Columns) -> None:
        row = {name: values[-1] for name, values in columns.items()}
        self.last_row = row
        self._publish_counts(recording)
        self.total_dose.publish(row["total_dose_e_per_A2"])
        self.mean_counts.publish(row["mean_counts"])
        self.frames_written.publish(row["frame"] + 1)

    def _stop_camera(self) -> str | None:
        """Send the stop; return what went wrong, or None."""
        future = self.merlin.command("STOPACQUISITION", safe=True)
        problem = problem_of(future, STOP_S)
        if problem is None:
            self._recording.stopped(future.result())
            return None
        log.error("%s: stop NOT confirmed: %s", self.name, problem)
        return f"stop not confirmed: {problem}"

    def _end_recording(self) -> None:
        if not self._recording.end(2.0 * STOP_S):
            log.error("%s: the recording did not end; a disk may hang", self.name)
