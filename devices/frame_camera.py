"""The frame camera: a flyer whose frames go to disk, and whose table goes into the documents."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.errors import InstrumentError, InterlockError, RecordingError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import Timeline

from .camera_acquisition import START_S, CameraAcquisition
from .frame_documents import Columns, FrameDocuments, data_keys
from .frame_recording import FrameRecording
from .keithley_sequence import SequenceRun
from .live_state import state_of_camera
from .merlin import Merlin
from .signals import Setting, done, reading, setting
from .trigger_tie import mark_levels, record_edges, tie

SETTLE_S = 0.25  # wall seconds that a reading needs from its end to the recorder, at most


class FrameCamera(CameraAcquisition):
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
    tiff : {"auto", "classic", "bigtiff"}
        Which TIFF the files are.  "auto": BigTIFF where a full file may pass 3.5 GB, else classic,
        which every viewer opens; ImageJ's own reader takes no BigTIFF.
    process : bool, optional
        Whether the recorder is a process of its own; by default where the platform can.

    Notes
    -----
    How frames are dated is told in :class:`~.frame_times.Acquisition`; where a trigger line ties
    them to the source, in :mod:`.trigger_tie`.
    """

    pixel_size_nm = reading("Pixel size on the specimen.", "nm", kind="config")
    dose_rate = reading("Dose rate of the open beam.", "e/A^2/s", kind="config")
    phase = setting("Phase of the experiment, for frames from now on.", value="")
    cycle = setting("Cycle of the experiment, for frames from now on.", value=0)
    mode = setting(
        "Mode of the microscope, for frames from now on: imaging, survey or diffraction.",
        value="imaging",
    )
    camera_length_m = setting(
        "Camera length of diffraction, for frames from now on; 0: unknown.", "m"
    )
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
        ring_MB: float = 512.0,
        look_back_s: float = 0.0,
        method: str = "auto",
        compression: str | None = None,
        tiff: str = "auto",
        process: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name=name,
            merlin=merlin,
            clock=clock,
            timeline=timeline,
            counter_depth=counter_depth,
            ring_MB=ring_MB,
            look_back_s=look_back_s,
            process=process,
            **kwargs,
        )
        self.alignment: Any = None  # the ClockAlignment of this camera, where there is one
        self.last_row: dict[str, Any] = {}
        # What the rows need of the dose beyond its rate; put there before the folder of a run.
        self.site_dose = SiteDose(pixel_size_nm=pixel_size_nm)
        self.frames_per_file = frames_per_file
        self.settle_s = SETTLE_S
        self._reading_s = reading_s
        self._writing = {"method": method, "compression": compression, "tiff": tiff}
        self._directory: Path | None = None
        self._tied = False  # dated by a sequence of the source
        self._first_number = 0  # of the present acquisition, in the run
        self._before = 0  # frames of the run that came or were lost before it
        self._documents = FrameDocuments(name)
        self.pixel_size_nm.publish(pixel_size_nm)
        self.dose_rate.publish(dose_rate_e_per_A2_s)
        for signal in (self.phase, self.cycle, self.mode, self.camera_length_m):
            signal.apply = self._marker(signal.attr_name, signal)

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
        self._recording.begin_run(self._directory, self.dose_rate.get(), self.site_dose)
        for signal in (self.frames_captured, self.frames_written, self.dropped, self.total_dose):
            signal.publish(0)

    def mark(self, phase: str, cycle: int) -> None:
        """Say what phase of which cycle begins now."""
        self.phase.set(phase)
        self.cycle.set(cycle)

    def arm(self) -> Status:
        """Start an acquisition whose frames are kept for ``look_back_s``; see the base class.

        They are of the phase "look-back", whatever the run before has ended with.
        """
        status = super().arm()
        self.mark("look-back", 0)
        return status

    def unstage(self) -> list[object]:
        """End everything; the microscope is thought to be back in imaging."""
        for signal, value in ((self.mode, "imaging"), (self.camera_length_m, 0.0)):
            if signal.get() != value:
                signal.set(value)
        return super().unstage()

    # Flyable

    def kickoff(self) -> Status:
        """Start an acquisition; done when the camera has started.

        In one run there may be several, also after a :meth:`stop`: numbers and files go on.  A
        kickoff that the RunEngine repeats after a pause finds its acquisition under way, and is
        done at once.  An armed camera only begins to record, with the frames of the look-back.

        Raises
        ------
        RecordingError
            No folder to write to, it cannot be written, or its recorder was killed: then a new
            run is needed.
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
        if self._tied:
            self.set_clock(None)
            self._tied = False
        self._first_number = self._recording.captured
        self._before = self._recording.captured + self._recording.dropped
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
            # What hangs on triggers is known when all is over.
            "hold": self.trigger_settings.tied,
            **self._writing,
        }

    def tie(
        self,
        run: SequenceRun,
        *,
        master: str,
        frames_per_step: int = 1,
        marks: Sequence[tuple[int, str, int]] = (),
    ) -> None:
        """Tie the frames of a triggered acquisition to the levels of a sequence.

        Call it when all frames have come, and before :meth:`complete`: the rows are held until
        then.  Frames are dated by it, and edges belong to their frames by the trigger and not by
        the time.

        Parameters
        ----------
        run : SequenceRun
            What came of the sequence.
        master : {"source", "camera"}
            Who triggered whom.
        frames_per_step : int
            Frames that each level has started.
        marks : sequence of (int, str, int)
            From which level on which phase of which cycle was.

        Raises
        ------
        InstrumentError
            They are not as many as they must be; nothing is tied, and the times must tell.
        """
        try:
            tied = tie(
                self.samples(),
                run,
                master=master,
                frames_per_step=frames_per_step,
                started=self._start_exchange,
            )
        except InstrumentError:
            mark_levels(self.timeline, marks, [point.edge_t for point in run.points])
            raise
        self.set_clock(tied.model, "trigger")
        self._tied = True
        record_edges(self.timeline, run, tied, self._first_number)
        mark_levels(self.timeline, marks, [t for t, _ in tied.times])

    def complete(self) -> Status:
        """Stop the acquisition; done when the last frame is on disk.

        One that was told its ``frame_count`` is not stopped: it is done when so many frames have
        come, or have surely been lost; `prepare` with a ``frame_count`` of 0 ends that.

        The Status fails with the error that ended the recording, if one did and ``collect`` has
        not raised it yet, and when the camera did not take the stop: a :meth:`stop` tries again.
        """
        recording = self._recording
        with self._lock:
            counts = self._acquiring and self.running and bool(self.frame_count.get())
            due = self._due if counts else None
            self._acquiring = self._armed = False
            self._paused = self._may_be_replayed = False

        left_s = 0.0 if due is None else max(0.0, due - self.clock.now())
        longest_s = self.clock.wall_seconds(self._longest_s() + left_s)
        status = Status(self, timeout=START_S + longest_s)

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

        def came() -> None:
            if recording.captured + recording.dropped - self._before >= self._wanted:
                ended()
            else:  # it hangs, or was stopped by another
                self.merlin.command("STOPACQUISITION", safe=True).add_done_callback(stopped)

        if self._directory is None:
            status.set_finished()
            return status
        recording.expect(False)
        if due is not None:
            recording.finish(came)
        else:
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

    @property
    def recorded(self) -> int:
        """How many frames of this run are on disk, with their rows."""
        return self._recording.count

    def failure(self) -> Exception | None:
        """Return what ended the recording, or kept its files from being closed, if it is news."""
        return self._recording.unreported()

    def live_state(self) -> str:
        """Return rate, exposure, what it does, and how many frames of the run are on disk."""
        return state_of_camera(self, "armed" if self._armed else "recording")

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
