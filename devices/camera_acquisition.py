"""A camera's acquisition: start, pause, stop, and look-back, with the recorder that reads it."""

import contextlib
import logging
import threading
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import InterlockError, LimitError, StmTemError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import DroppedError
from stmtem_control.timeline import Timeline

from .camera_settings import CameraSettings
from .frame_documents import Columns
from .frame_recording import FrameRecording
from .frame_samples import Sample
from .merlin import Joined, Merlin
from .merlin_trigger import INTERNAL
from .signals import check_range, done, follow, problem_of, setting

log = logging.getLogger(__name__)

STOP_S = 0.5  # wall seconds that a stop waits for the camera, and again for the recorder
START_S = 10.0
SPARE = 4  # slots of the ring that the look-back leaves to frames that come
LONGEST_LOOK_BACK_S = 3600.0


class CameraAcquisition(CameraSettings):
    """Starts and stops a Merlin detector, whose frames go to a recorder.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    merlin : Merlin
        The driver.
    clock, timeline : StationClock, Timeline
        The station's clock, and what was true when.
    counter_depth : {6, 12, 24}
        Bits of the detector's counters: pixels of one, two or four bytes.
    ring_MB : float
        Memory for frames that wait for the disk, and for the look-back.
    look_back_s : float
        Station seconds of frames that are kept while the camera is armed.
    process : bool, optional
        Whether the recorder is a process of its own; by default where the platform can.
    """

    look_back_s = setting("Frames kept while the camera is armed.", "s", value=0.0, kind="config")

    def __init__(
        self,
        *,
        name: str,
        merlin: Merlin,
        clock: StationClock,
        timeline: Timeline,
        counter_depth: int,
        ring_MB: float,
        look_back_s: float,
        process: bool | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            name=name, merlin=merlin, clock=clock, counter_depth=counter_depth, **kwargs
        )
        merlin.now = clock.now  # the frames are dated by the times of its exchanges
        self.timeline = timeline
        self.unsafe: str | None = None
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
        self._count = 0  # frames that the camera takes by itself; 0: until it is stopped
        self._wanted = 0  # the same, of the whole acquisition: a pause takes from the count
        self._due: float | None = None  # station time at which it must have taken them
        self._start_exchange: Exchange | None = None  # if it started the first exposure
        self._started: Status | None = None  # of the last start
        self._may_be_replayed = False  # Bluesky repeats messages after a pause, kickoff among them
        self.look_back_s.low, self.look_back_s.high = 0.0, LONGEST_LOOK_BACK_S
        self.look_back_s.apply = self._look_back
        self.look_back_s.set(look_back_s)

    # What the recorder tells

    def _take_rows(self, recording: FrameRecording, columns: Columns) -> None:
        """Take rows of frames that are on disk."""

    def _publish_counts(self, recording: FrameRecording) -> None:
        """Take new counts of frames."""

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
    def running(self) -> bool:
        """Whether frames are being taken, or wait to be written."""
        return self._recording.running

    @property
    def expecting(self) -> bool:
        """Whether frames should be coming now: recorded ones, that nothing external triggers."""
        with self._lock:
            wanted = self._acquiring and not (self._armed or self._paused)
            started = self._started is not None and self._started.done
            due = self._due
        if due is not None and self.clock.now() > due:
            return False  # it has taken as many as it was told
        return wanted and started and not self.trigger_settings.external

    @property
    def started_s(self) -> float | None:
        """When the camera began to take the frames that it was told to count, in station s."""
        with self._lock:
            exchange = self._start_exchange
            return exchange.t if self._count and exchange is not None else None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, uncompressed; 0 before the camera is connected."""
        return 0 if self._shape is None else int(np.prod(self._shape)) * self._dtype.itemsize

    def latest_frame(self) -> NDArray[Any] | None:
        """Return a copy of the newest frame, also while frames come; None before the first."""
        return self._recording.newest()

    def samples(self, most: int = 0) -> list[Sample]:
        """Return what is known of the newest frames of the present acquisition, oldest first.

        Parameters
        ----------
        most : int
            No more than so many; 0 for all that are remembered.

        Raises
        ------
        RecordingError
            The recorder does not answer.
        """
        return self._recording.samples(most)

    def set_clock(self, model: ClockModel | None, time_source: str = "clapperboard") -> None:
        """Date frames by a model of the camera's clock, from those whose rows are not final on.

        It holds until the run ends: a clock may be set between two runs.

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

    # Start

    def _start(self) -> Status:
        exposure, period = self.exposure_s.get(), 1.0 / self.frame_rate_Hz.get()
        trigger = self.trigger_settings
        self._paused, self._acquiring = False, True
        self._start_exchange = self._due = None
        # Who waits for a trigger, or keeps a look-back, does not count.
        count = 0 if trigger.external or self._armed else int(self.frame_count.get())
        self._count = self._wanted = count

        def begin(found: tuple[Joined, Exchange]) -> None:
            stream, exchange = found
            with self._lock:
                if self._acquiring:
                    self._due = exchange.answered + count * period if count else None
                    # What waits for a trigger is not dated by its start, and may be long silent.
                    self._start_exchange = None if trigger.external else exchange
                    self._recording.started(self._start_exchange)
                    if trigger.external:
                        self._recording.expect(False)
                    return
            stream.close()
            raise DroppedError(f"{self.name}: was stopped while it started")

        self._started = follow(
            self.merlin.start(
                exposure_s=exposure,
                period_s=period,
                trigger=trigger,
                frames=count,
                opener=lambda host, port: self._recording.open_stream(
                    host, port, exposure, period, count
                ),
            ),
            self,
            timeout=START_S,
            publish=begin,
        )
        return self._started

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """End acquisition, thread and files, whatever their state; never raises.

        A later kickoff in the same run goes on with the next number, in the same file.
        """
        with self._lock:
            was_acquiring, self._acquiring = self._acquiring, False
            self._may_be_replayed = self._armed = False
        # One that was not confirmed is sent again: the camera may go on taking frames.
        again = self.unsafe is not None
        self.unsafe = self._stop_camera() if was_acquiring or again or self.running else None
        self._end_recording()

    def ask(self) -> None:
        """Ask the camera for its state, and wait for nothing: its link learns whether it answers.

        Never raises.
        """
        with contextlib.suppress(StmTemError):
            self.merlin.get("DETECTORSTATUS")

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
        if self._count and not self._count_down():
            return  # it had taken them all
        recording.begin_again(self._count)

        def date(ended: "Future[Exchange]") -> None:
            recording.started(ended.result() if ended.exception() is None else None)

        try:
            if self._count:
                self.merlin.set("NUMFRAMESTOACQUIRE", self._count).result(STOP_S)
                self._due = self.clock.now() + self._count / self.frame_rate_Hz.get()
            future = self.merlin.command("STARTACQUISITION")
            future.add_done_callback(date)
            future.result(STOP_S + 0.5)
        except TimeoutError as error:
            raise StmTemError(f"{self.name}: did not start again after the pause") from error
        self._may_be_replayed = True

    def unstage(self) -> list[object]:
        """End acquisition, thread and files; the next one has the internal trigger again."""
        self.stop()
        self.frame_count.publish(0)
        for signal, value in (
            (self.trigger_in, INTERNAL.start),
            (self.frames_per_trigger, INTERNAL.frames),
            (self.trigger_out, INTERNAL.output),
            (self.trigger_out_inverted, INTERNAL.inverted),
        ):
            signal.publish(value)
        return list(super().unstage())

    # The rest is for this class.

    def _count_down(self) -> int:
        """Take what a stopped acquisition has taken from what it was told; return what is left."""
        taken = self._recording.samples(1)
        self._count = max(0, self._count - (taken[-1].sequence if taken else 0))
        return self._count

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
