"""The frame camera: a flyer whose frames go to disk, and whose table goes into the documents."""

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.errors import (
    InterlockError,
    LimitError,
    RecordingError,
    StmTemError,
)
from stmtem_control.timeline import Timeline

from .frame_documents import data_keys, event_page, stream_resource
from .frame_reader import FrameReader
from .merlin import DEPTH_OF_COUNTER, Merlin
from .merlin_stream import DEPTHS, FrameStream
from .signals import Setting, done, follow, problem_of, reading, setting

log = logging.getLogger(__name__)

STOP_S = 0.5  # wall seconds that a stop waits for the camera, and again for the reader
START_S = 10.0


class FrameCamera(Device):
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
    """

    exposure_s = setting("Exposure time of a frame.", "s", value=0.035, kind="config")
    frame_rate_Hz = setting("Frames in a second.", "Hz", value=25.0, kind="config")
    pixel_size_nm = reading("Pixel size on the specimen.", "nm", kind="config")
    dose_rate = reading("Dose rate of the open beam.", "e/A^2/s", kind="config")
    software_version = reading("Version of the camera's software.", value="", kind="config")
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
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.merlin = merlin
        self.clock = clock
        self.timeline = timeline
        self.unsafe: str | None = None
        self.last_row: dict[str, Any] = {}
        self.frames_per_file = frames_per_file
        self._counter_depth = counter_depth
        self._dtype = np.dtype(DEPTHS[DEPTH_OF_COUNTER[counter_depth]]).newbyteorder("<")
        self._shape: tuple[int, int] | None = None
        self._directory: Path | None = None
        self._reader: FrameReader | None = None
        self._lock = threading.RLock()
        self._acquiring = False
        self._paused = False
        self._resource: Any = None
        self._declared = 0
        self._batch: list[dict[str, Any]] = []
        self._reported: Exception | None = None
        self.pixel_size_nm.publish(pixel_size_nm)
        self.dose_rate.publish(dose_rate_e_per_A2_s)
        self.exposure_s.apply = lambda value: self._set_timing(exposure_s=value)
        self.frame_rate_Hz.apply = lambda value: self._set_timing(frame_rate_Hz=value)
        for channel, signal in (("phase", self.phase), ("cycle", self.cycle)):
            signal.apply = self._marker(channel, signal)

    # Life

    def connect(self, timeout: float = 10.0) -> None:
        """Open the control link, make sure who is there, and learn the size of its images.

        Raises
        ------
        TransportError
            Nothing answers.
        IdentityError
            What answers is no Merlin.
        InstrumentError
            It refuses a setting.
        """
        self.merlin.link.open(timeout)
        self.software_version.publish(self.merlin.open().result(timeout))
        self.merlin.make_idle().result(timeout)
        self.merlin.set("COUNTERDEPTH", self._counter_depth).result(timeout)
        self._shape = self.merlin.image_size().result(timeout)

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
        with self._lock:
            self._end_reader()
            self._directory = Path(folder)
            self._reader = None
            self._resource = None
            self._declared = 0
            self._batch = []
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

    # Configurable, Preparable

    def check_timing(self, *, exposure_s: float, frame_rate_Hz: float) -> None:
        """Raise LimitError when frames of that exposure cannot come at that rate."""
        for name, value in (("exposure_s", exposure_s), ("frame_rate_Hz", frame_rate_Hz)):
            if not (math.isfinite(value) and value > 0.0):
                raise LimitError(f"{self.name}: {name} is {value:g}; give a positive number")
        if exposure_s * frame_rate_Hz > 1.0 + 1e-9:
            raise LimitError(
                f"{self.name}: an exposure of {exposure_s:g} s does not fit "
                f"{frame_rate_Hz:g} frames a second; at most {1.0 / frame_rate_Hz:.4g} s does"
            )

    def configure(
        self, d: Mapping[str, Any] | None = None, **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set ``exposure_s`` and ``frame_rate_Hz``, together; return old and new configuration.

        Raises
        ------
        LimitError
            The two do not fit, or a setting is not known.
        InstrumentError
            The camera refuses them.
        """
        old: Any = self.read_configuration()
        self.prepare({**(d or {}), **settings}).wait(STOP_S + 1.0)
        new: Any = self.read_configuration()
        return old, new

    def prepare(self, value: Mapping[str, Any]) -> Status:
        """Set ``exposure_s`` and ``frame_rate_Hz``; the Status ends when the camera has them."""
        unknown = set(value) - {"exposure_s", "frame_rate_Hz"}
        if unknown:
            raise LimitError(
                f"{self.name}: {', '.join(sorted(unknown))} cannot be set; exposure_s and "
                "frame_rate_Hz can"
            )
        return self._set_timing(**value)

    def mark(self, phase: str, cycle: int) -> None:
        """Say what phase of which cycle begins now."""
        self.phase.set(phase)
        self.cycle.set(cycle)

    # Flyable

    def kickoff(self) -> Status:
        """Start an acquisition; done when the camera has started.

        Raises
        ------
        RecordingError
            No folder to write to, or it cannot be written.
        InterlockError
            Frames are being taken already.
        """
        with self._lock:
            if self._directory is None:
                raise RecordingError(
                    f"{self.name}: no folder for the frames; set {self.name}.directory, or run the "
                    "plan in a session, which gives each run its folder"
                )
            if self._shape is None:
                raise InterlockError(f"{self.name}: not connected")
            if self._reader is not None and self._reader.running:
                raise InterlockError(f"{self.name}: frames are being taken already; complete first")
            if self._reader is None:
                self._reader = self._new_reader(self._directory)
            reader = self._reader
            reader.error = self._reported = None
            exposure, rate = self.exposure_s.get(), self.frame_rate_Hz.get()
            self._paused = False
            self._acquiring = True

        def begin(stream: FrameStream) -> None:
            reader.begin(stream, exposure, 1.0 / rate)

        return follow(
            self.merlin.start(exposure_s=exposure, period_s=1.0 / rate),
            self,
            timeout=START_S,
            publish=begin,
        )

    def complete(self) -> Status:
        """Stop the acquisition; done when the last frame is on disk.

        The Status fails with the error that ended the recording, if one did and ``collect`` has
        not raised it yet.
        """
        status = Status(self, timeout=START_S + self.clock.wall_seconds(self._longest_s()))
        with self._lock:
            reader, self._acquiring = self._reader, False
        if reader is None:
            status.set_finished()
            return status

        def ended() -> None:
            error = self._unreported(reader)
            if error is None:
                status.set_finished()
            else:
                status.set_exception(error)

        reader.expect(False)
        future = self.merlin.command("STOPACQUISITION", safe=True)
        # Whether or not the camera took it: what has come is written, and the thread ends.
        future.add_done_callback(lambda _: reader.finish(ended))
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
            # An error is told once; then what was written before it can still be collected.
            error = self._unreported(reader)
            if error is not None:
                raise error
            first, rows = reader.take()
            self._batch += rows
            if not rows:
                return
            if self._resource is None:
                self._resource = stream_resource(self.name, reader.writer)
                yield "stream_resource", dict(self._resource.stream_resource_doc)
            stop = first + len(rows)
            datum = self._resource.compose_stream_datum({"start": first, "stop": stop})
            yield "stream_datum", dict(datum)

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield the table's rows for exactly the frames of the last stream datum."""
        with self._lock:
            rows, self._batch = self._batch, []
        if not rows:
            return
        start = self.timeline.run_start
        yield event_page(
            self.name, rows, [self.clock.wall_time(row["run_time_s"] + start) for row in rows]
        )

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """End acquisition, thread and files, whatever their state; never raises."""
        with self._lock:
            was_acquiring, self._acquiring = self._acquiring, False
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
            reader = self._reader
            if reader is None or not reader.running or not self._acquiring:
                return
            self._paused = True
            reader.expect(False)
        self._stop_camera()

    def resume(self) -> None:
        """Start again after a pause; the frames' numbers go on.

        Raises
        ------
        StmTemError
            The camera did not start.
        """
        with self._lock:
            reader, paused, self._paused = self._reader, self._paused, False
        if reader is None or not paused or not reader.running:
            return
        try:
            self.merlin.command("STARTACQUISITION").result(STOP_S + 0.5)
        except TimeoutError as error:
            raise StmTemError(f"{self.name}: did not start again after the pause") from error
        reader.expect(True)

    def unstage(self) -> list[object]:
        """End acquisition, thread and files."""
        self.stop()
        return list(super().unstage())

    # The rest is for this class.

    def _longest_s(self) -> float:
        return float(self.exposure_s.get() + 1.0 / self.frame_rate_Hz.get())

    def _marker(self, channel: str, signal: Setting) -> Any:
        def apply(value: Any) -> Status:
            t = self.clock.now()
            signal.publish(value, self.clock.wall_time(t))
            self.timeline.record(channel, t, signal.get())
            return done(signal)

        return apply

    def _set_timing(
        self, exposure_s: float | None = None, frame_rate_Hz: float | None = None
    ) -> Status:
        exposure = float(self.exposure_s.get() if exposure_s is None else exposure_s)
        rate = float(self.frame_rate_Hz.get() if frame_rate_Hz is None else frame_rate_Hz)
        self.check_timing(exposure_s=exposure, frame_rate_Hz=rate)
        if self._reader is not None and self._reader.running:
            raise InterlockError(f"{self.name}: frames are being taken; complete first")

        def publish(_: None) -> None:
            self.exposure_s.publish(exposure)
            self.frame_rate_Hz.publish(rate)

        future = self.merlin.set_timing(exposure_s=exposure, period_s=1.0 / rate)
        return follow(future, self, timeout=START_S, publish=publish)

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
            on_frame=self._on_frame,
        )

    def _on_frame(self, row: dict[str, Any], mean: float) -> None:
        reader = self._reader
        self.last_row = row
        if reader is not None:
            self.frames_captured.publish(reader.captured)
            self.dropped.publish(reader.dropped)
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
        problem = problem_of(self.merlin.command("STOPACQUISITION", safe=True), STOP_S)
        if problem is None:
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
