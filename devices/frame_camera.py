"""The frame camera: a flyer whose frames go to disk, and whose table goes into the documents."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.errors import (
    InterlockError,
    RecordingError,
    StmTemError,
)
from stmtem_control.exchanges import Exchange
from stmtem_control.timeline import Timeline

from .camera_settings import CameraSettings
from .frame_documents import FrameDocuments, data_keys
from .frame_reader import FrameReader
from .merlin import Merlin
from .merlin_stream import FrameStream
from .signals import Setting, done, follow, problem_of, reading, setting

log = logging.getLogger(__name__)

STOP_S = 0.5  # wall seconds that a stop waits for the camera, and again for the reader
START_S = 10.0


class FrameCamera(CameraSettings):
    """A Merlin detector that records every frame from kickoff to complete.

    Frames go to ``directory`` while they come; ``collect`` tells the documents which are on disk,
    and gives the table's rows for them.

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
        self._reading_s = reading_s
        self._directory: Path | None = None
        self._reader: FrameReader | None = None
        self._lock = threading.RLock()
        self._acquiring = False
        self._paused = False
        self._started: Status | None = None  # of the last kickoff
        self._may_be_replayed = False  # Bluesky repeats messages after a pause, kickoff among them
        self._documents = FrameDocuments(name)
        self._reported: Exception | None = None
        self.pixel_size_nm.publish(pixel_size_nm)
        self.dose_rate.publish(dose_rate_e_per_A2_s)
        for channel, signal in (("phase", self.phase), ("cycle", self.cycle)):
            signal.apply = self._marker(channel, signal)

    # Life

    def disconnect(self) -> None:
        """End acquisition and thread, and close the link."""
        self.stop()
        self.merlin.link.close()

    @property
    def directory(self) -> Path | None:
        """The folder that frames are written to; a new one begins a new count."""
        return self._directory

    @directory.setter
    def directory(self, folder: Path | str) -> None:
        # Not under the lock: what waits for the reader's end needs it.
        self._end_reader()
        with self._lock:
            self._directory = Path(folder)
            self._reader = None
            self._documents = FrameDocuments(self.name)
            self._reported = None
            self.last_row = {}
            for signal in (
                self.frames_captured,
                self.frames_written,
                self.dropped,
                self.total_dose,
            ):
                signal.publish(0)

    @property
    def running(self) -> bool:
        """Whether frames are being taken, or wait to be written."""
        reader = self._reader
        return reader is not None and reader.running

    def mark(self, phase: str, cycle: int) -> None:
        """Say what phase of which cycle begins now."""
        self.phase.set(phase)
        self.cycle.set(cycle)

    # Flyable

    def kickoff(self) -> Status:
        """Start an acquisition; done when the camera has started.

        In one run there may be several, also after a :meth:`stop`: numbers and files go on.  A
        kickoff that the RunEngine repeats after a pause finds its acquisition under way, and is
        done at once.

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
            if self._shape is None:
                raise InterlockError(f"{self.name}: not connected")
            replayed, self._may_be_replayed = self._may_be_replayed, False
            reader = self._reader
            if reader is not None and reader.running:
                if replayed:
                    return done(self)
                raise InterlockError(f"{self.name}: frames are being taken already; complete first")
            if reader is None:
                reader = self._reader = self._new_reader(self._directory)
            error = self._unreported(reader)
            if error is not None:
                raise error
            reader.make_ready()
            reader.error = self._reported = None
            exposure, rate = self.exposure_s.get(), self.frame_rate_Hz.get()
            self._paused = False
            self._acquiring = True

        def begin(found: tuple[FrameStream, Exchange]) -> None:
            stream, exchange = found
            with self._lock:
                if self._acquiring:
                    reader.begin(stream, exchange, exposure, 1.0 / rate)
                    return
            stream.close()
            raise InterlockError(f"{self.name}: was stopped while it started")

        self._started = follow(
            self.merlin.start(exposure_s=exposure, period_s=1.0 / rate),
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
        with self._lock:
            reader, self._acquiring = self._reader, False
            self._paused = self._may_be_replayed = False
        if reader is None:
            status.set_finished()
            return status

        def ended() -> None:
            error = self._unreported(reader)
            if error is None:
                status.set_finished()
            else:
                status.set_exception(error)

        def stopped(future: "Future[Exchange]") -> None:
            error = future.exception()
            if error is None:
                reader.stopped(future.result())
                reader.finish(ended)
                return
            self._acquiring = True
            status.set_exception(self._unreported(reader) or error)

        reader.expect(False)
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
            reader = self._reader
            if reader is None:
                return
            self._may_be_replayed = False
            # An error is told once; then what was written before it can still be collected.
            error = self._unreported(reader)
            if error is not None:
                raise error
            documents = self._documents.assets(reader.writer, *reader.take())
        yield from documents

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield the table's rows for exactly the frames of the last stream datum."""
        start, documents = self.timeline.run_start, self._documents
        yield from documents.pages(lambda run_time: self.clock.wall_time(run_time + start))

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """End acquisition, thread and files, whatever their state; never raises.

        A later kickoff in the same run goes on with the next number, in the same file.
        """
        with self._lock:
            was_acquiring, self._acquiring = self._acquiring, False
            self._may_be_replayed = False
            reader = self._reader
            running = reader is not None and reader.running
        self.unsafe = self._stop_camera() if was_acquiring or running else None
        self._end_reader()

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
            reader = self._reader
            if reader is None or not reader.running:
                return
            self._paused = True
            reader.expect(False)
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
            reader, paused, self._paused = self._reader, self._paused, False
            acquiring = self._acquiring
        if reader is None or not paused:
            return
        if not acquiring:
            reader.fail(
                InterlockError(
                    f"{self.name}: was stopped during the pause, so no frames are taken any more; "
                    "run the plan again"
                )
            )
            return
        if not reader.running:
            return  # it failed, which is told already, or by the next collect
        self._wait_until_idle()
        acquisition = reader.begin_again()

        def date(ended: "Future[Exchange]") -> None:
            if ended.exception() is None:
                acquisition.started = ended.result()

        future = self.merlin.command("STARTACQUISITION")
        future.add_done_callback(date)
        try:
            future.result(STOP_S + 0.5)
        except TimeoutError as error:
            raise StmTemError(f"{self.name}: did not start again after the pause") from error
        reader.expect(True)
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

    def _new_reader(self, folder: Path) -> FrameReader:
        assert self._shape is not None
        return FrameReader(
            name=self.name,
            directory=folder,
            clock=self.clock,
            timeline=self.timeline,
            pixel_size_nm=self.pixel_size_nm.get(),
            dose_rate_e_per_A2_s=self.dose_rate.get(),
            frames_per_file=self.frames_per_file,
            shape=self._shape,
            dtype=self._dtype.newbyteorder("="),
            frame_interval_s=1.0 / self.frame_rate_Hz.get(),
            reading_s=self._reading_s,
            ask_status=lambda: self.merlin.get("DETECTORSTATUS"),
            on_frame=self._on_frame,
            on_end=self._publish_counts,
        )

    def _publish_counts(self, reader: FrameReader) -> None:
        if reader is self._reader:  # not one of a run before
            self.frames_captured.publish(reader.captured)
            self.dropped.publish(reader.dropped)

    def _on_frame(self, reader: FrameReader, row: dict[str, Any], mean: float) -> None:
        if reader is not self._reader:
            return
        self.last_row = row
        self._publish_counts(reader)
        self.frames_written.publish(row["frame"] + 1)
        self.total_dose.publish(row["total_dose_e_per_A2"])
        self.mean_counts.publish(mean)

    def _unreported(self, reader: FrameReader) -> Exception | None:
        with self._lock:
            if reader.error is None or reader.error is self._reported:
                return None
            self._reported = reader.error
            return reader.error

    def _stop_camera(self) -> str | None:
        """Send the stop; return what went wrong, or None."""
        future = self.merlin.command("STOPACQUISITION", safe=True)
        problem = problem_of(future, STOP_S)
        if problem is None:
            if self._reader is not None:
                self._reader.stopped(future.result())
            return None
        log.error("%s: stop NOT confirmed: %s", self.name, problem)
        return f"stop not confirmed: {problem}"

    def _end_reader(self) -> None:
        reader = self._reader
        if reader is None:
            return
        if reader.end(2.0 * STOP_S):
            reader.close()
        else:
            log.error("%s: the reading thread did not end; a disk may hang", self.name)
            reader.finish(reader.close)
