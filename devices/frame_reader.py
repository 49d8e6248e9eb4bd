"""The recorder's reading thread: frames from the camera's data socket into the shared ring.

It does nothing that could wait but read the socket: what becomes of a frame is decided elsewhere.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import RecordingError, StmTemError, TransportError, TransportTimeout
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.recording.ring import FrameRing

from .frame_times import Acquisition
from .merlin_stream import FrameHeader, FrameStream

log = logging.getLogger(__name__)

IDLE = "0"  # DETECTORSTATUS
SILENCE_S = 2.0  # wall seconds without a frame that are an error, if five periods are shorter
TICK_S = 0.02
QUIET_S = 0.05  # wall seconds without a byte, after which a camera that is idle has sent all
LATE_S = 1.0  # the same, while a frame is overdue
ASKING_S = 1.0  # wall seconds in which a silent camera may say that it has taken all its frames
LEAVE_S = 0.5  # wall seconds in which what has come is read when the session is gone
ALL_PIXELS = 256 * 256  # of a larger frame some rows stand for all
SAMPLES = 1 << 15


@dataclass(slots=True)
class ReceivedFrame:
    """A frame in the ring.

    Attributes
    ----------
    arrival : float
        Of its first byte, in station s.
    monotonic : float
        The same, on ``time.monotonic()``.
    dropped_before : int
        Frames that were taken but did not come to the ring, between the one before and this.
    mean_counts : float
        In a pixel.
    number : int
        In the run, from 0, when it is known.
    facts : FrameFacts or None
        What was found of it, if that cannot change any more, but with `dated_by`.
    dated_by : (ClockModel, str) or None
        The model of the camera's clock that it was dated by.
    """

    acquisition: Acquisition
    header: FrameHeader
    slot: int
    arrival: float
    monotonic: float
    dropped_before: int
    mean_counts: float
    number: int = -1
    facts: FrameFacts | None = None
    dated_by: tuple[ClockModel, str] | None = None


def mean_counts(image: NDArray[Any]) -> float:
    """Return the mean of all pixels, or of evenly spaced rows of an image that is large."""
    step = -(-image.size // ALL_PIXELS)
    rows = image[::step] if step > 1 else image
    if image.dtype.itemsize < 4 and rows.shape[1] <= 1 << 16:
        # Sums of rows fit into 32 bits, which are three times as fast as 64.
        total = int(np.add.reduce(np.add.reduce(rows, 1, np.uint32), 0, np.uint64))
    else:
        total = int(rows.sum(dtype=np.uint64))
    return total / rows.size


class FrameReader:
    """Reads one data stream after the other; survives pauses and repeated starts.

    Parameters
    ----------
    name : str
        The camera's name, for messages.
    ring : FrameRing
        Where frames go.
    clock : StationClock
        Station time.
    ask_status : callable
        Asks the camera for its DETECTORSTATUS; returns a Future.
    make_room : callable
        Called when the ring is full; tells whether a slot was freed.
    on_frame : callable
        Called with each frame that is in the ring.
    on_lost : callable
        Called with how many frames were found to be lost, and what lost them.
    on_twice : callable
        Called for each frame that came once more, and is thrown away.
    on_come : callable
        Called with the station time at which the first byte of an acquisition came.
    on_end : callable
        Called when the thread ends: with the error that ended it or None, and whether what is
        left shall be recorded at once.
    """

    def __init__(
        self,
        *,
        name: str,
        ring: FrameRing,
        clock: StationClock,
        ask_status: Callable[[], "Future[str]"],
        make_room: Callable[[], bool],
        on_frame: Callable[[ReceivedFrame], None],
        on_lost: Callable[[int, str], None],
        on_twice: Callable[[], None],
        on_come: Callable[[float], None],
        on_end: Callable[[Exception | None, bool], None],
    ) -> None:
        self.name = name
        self._samples: deque[tuple[float, ...]] = deque(maxlen=SAMPLES)
        self._ring = ring
        self._clock = clock
        self._ask_status = ask_status
        self._make_room = make_room
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_twice = on_twice
        self._on_come = on_come
        self._on_end = on_end
        self._lock = threading.Lock()
        self._acquisition: Acquisition | None = None  # the last that was started
        self._lost_before = 0  # frames that were lost since the last that came
        self._stream: FrameStream | None = None
        self._thread: threading.Thread | None = None
        self._expecting = False
        self._ending = False
        self._given_up = False
        self._leave_at: float | None = None  # monotonic time to end at whatever comes
        self._status: Future[str] | None = None  # asked for, and perhaps not answered yet
        self._idle_at: float | None = None  # monotonic time at which the camera was found idle
        self._active_at = 0.0  # monotonic time of the last sign of life

    # From any thread

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        with self._lock:
            return self._thread is not None

    def samples(self) -> list[tuple[float, ...]]:
        """Return what is known of the newest frames of the present acquisition, oldest first.

        Times on the camera's clock, exposure and period (s), mean counts, number, frames lost
        before it, and arrival on ``time.monotonic()``.
        """
        with self._lock:
            return list(self._samples)

    def begin(
        self, stream: FrameStream, exposure_s: float, period_s: float, frames: int = 0
    ) -> None:
        """Start reading from a newly opened stream, for an acquisition that is about to start.

        `frames` says how many will come; 0: until the camera is stopped.
        """
        with self._lock:
            self._stream = stream
            self._acquisition = Acquisition(exposure_s, period_s, None, self._acquisition, frames)
            self._ending = self._given_up = False
            self._expecting = False  # until it has started
            self._status = self._idle_at = None
            self._active_at = time.monotonic()
            self._thread = threading.Thread(
                target=self._run, args=(stream,), name=f"{self.name} frames", daemon=True
            )
            self._thread.start()

    def begin_again(self, frames: int = 0) -> None:
        """Say that the stopped acquisition is about to be started again, on the same stream."""
        with self._lock:
            before = self._acquisition
            assert before is not None
            self._acquisition = Acquisition(
                before.exposure_s, before.period_s, None, before, frames
            )
            self._status = self._idle_at = None

    def started(self, exchange: Exchange | None) -> None:
        """Say when the acquisition was started, in station time; None if nobody knows."""
        with self._lock:
            if self._acquisition is not None:
                self._acquisition.started = exchange
                self._acquisition.answer_lost = exchange is None
            self._expecting = True
            self._active_at = time.monotonic()

    def stopped(self, exchange: Exchange) -> None:
        """Say that the acquisition was stopped, by a STOPACQUISITION with these times."""
        with self._lock:
            if self._acquisition is not None and self._acquisition.stopped is None:
                self._acquisition.stopped = exchange

    def expect(self, frames: bool) -> None:
        """Say whether frames are on their way, so that silence is an error, or not."""
        with self._lock:
            self._expecting = frames
            self._active_at = time.monotonic()

    def finish(self) -> None:
        """End the thread when what is under way has come."""
        with self._lock:
            self._expecting = False
            self._ending = True
            self._active_at = time.monotonic()

    def cut(self) -> None:
        """End the thread now, in the middle of a frame if need be."""
        with self._lock:
            self._given_up = True
            stream = self._stream
        if stream is not None:
            stream.interrupt()

    def leave(self) -> None:
        """End the thread when what has come is read: nobody steers the camera any more."""
        with self._lock:
            self._leave_at = time.monotonic() + LEAVE_S

    # The thread

    def _run(self, stream: FrameStream) -> None:
        error: Exception | None = None
        try:
            self._read(stream)
        except Exception as problem:
            error = self._noted(problem)
        try:
            if self._acquisition is not None:
                self._count_missing(self._acquisition)
        finally:
            stream.close()
            with self._lock:
                self._thread = self._stream = None
                hurry = error is not None or self._given_up or self._leave_at is not None
            self._on_end(error, hurry)

    def _noted(self, error: Exception) -> Exception | None:
        if self._given_up and isinstance(error, TransportError):
            return None  # it was cut off on purpose
        if not isinstance(error, StmTemError):
            log.exception("%s: the reading thread failed", self.name, exc_info=error)
            return RecordingError(f"{self.name}: the reading thread failed: {error}")
        if not str(error).startswith(self.name):
            return type(error)(f"{self.name}: {error}")
        return error

    def _read(self, stream: FrameStream) -> None:
        acquisition = self._acquisition
        assert acquisition is not None  # begin() has made it
        while True:
            if stream.wait(0.0 if self._leave_at is not None else TICK_S):
                # Of the first byte; the last may be long in coming.
                arrival, monotonic = self._clock.now(), time.monotonic()
                # A message that has begun must end: it is judged as silence is.
                deadline = monotonic + self._patience_s()
                header = stream.next_header(deadline)
                if header is None:  # of an acquisition: the numbers begin anew
                    acquisition = self._next_acquisition(acquisition)
                    self._on_come(arrival)
                else:
                    self._take(stream, deadline, acquisition, header, arrival, monotonic)
                self._active_at = time.monotonic()
                if self._leave_at is not None and self._active_at > self._leave_at:
                    return
            elif self._leave_at is not None or self._is_over():
                return

    def _take(
        self,
        stream: FrameStream,
        deadline: float,
        acquisition: Acquisition,
        header: FrameHeader,
        arrival: float,
        monotonic: float,
    ) -> None:
        ring = self._ring
        if (header.height, header.width) != ring.shape or (
            header.dtype.newbyteorder("=") != ring.dtype
        ):
            raise RecordingError(
                f"frame {header.sequence} is {header.width} x {header.height} "
                f"{header.dtype.newbyteorder('=').name}; declared were {ring.shape[1]} x "
                f"{ring.shape[0]} {ring.dtype.name}"
            )
        if acquisition.came_before(header):
            stream.read_pixels(header, deadline, None)
            self._on_twice()
            return
        slot = ring.take()
        if slot is None and self._make_room():
            slot = ring.take()
        if slot is None:
            stream.read_pixels(header, deadline, None)
            self._lose(acquisition.receive(header, arrival), "did not come")
            self._lose(1, "found the ring full: the disk is too slow")
            return
        image = ring.image(slot)
        try:
            stream.read_pixels(header, deadline, image)
        except BaseException:
            ring.refuse(slot)
            raise
        self._lose(acquisition.receive(header, arrival), "did not come")
        lost, self._lost_before = self._lost_before, 0
        mean = mean_counts(image)
        ring.filled(slot, header.sequence)
        sample = (
            header.unix_time_s,
            header.exposure_s,
            acquisition.period_s,
            mean,
            header.sequence,
            lost,
            monotonic,
        )
        with self._lock:
            self._samples.append(sample)
        self._on_frame(ReceivedFrame(acquisition, header, slot, arrival, monotonic, lost, mean))

    def _lose(self, count: int, how: str) -> None:
        if count:
            self._lost_before += count
            self._on_lost(count, how)

    def _next_acquisition(self, old: Acquisition) -> Acquisition:
        with self._lock:
            new = self._acquisition
        assert new is not None
        if new is not old:
            self._count_missing(old)
        with self._lock:
            self._samples.clear()
        return new

    def _count_missing(self, acquisition: Acquisition) -> None:
        missing = acquisition.missing_at_end()
        if missing:
            log.warning("%s: %d frames before the stop did not come", self.name, missing)
            self._lose(missing, "before the stop did not come")

    def _longest_s(self) -> float:
        """Return the wall seconds until the frame under way has ended."""
        acquisition = self._acquisition
        seconds = 2.0 if acquisition is None else acquisition.exposure_s + acquisition.period_s
        return self._clock.wall_seconds(seconds)

    def _patience_s(self) -> float:
        acquisition = self._acquisition
        period = 1.0 if acquisition is None else acquisition.period_s
        return max(SILENCE_S, 5.0 * self._clock.wall_seconds(period))

    def _is_over(self) -> bool:
        """Return whether all has come; raise when nothing comes but should."""
        now = time.monotonic()
        silence = now - self._active_at
        acquisition, quiet = self._acquisition, QUIET_S
        if self._expecting and silence > self._patience_s() and not self._has_taken_all(now):
            raise TransportTimeout(
                f"no frame for {silence:.1f} s, {self._patience_s():.2g} s are allowed; look at "
                "the camera"
            )
        if not self._ending or silence < QUIET_S:
            return False
        if acquisition is not None and acquisition.complete:
            return True
        # A stop lets the frame under way end, and it may then be on its way as long as the others.
        if acquisition is not None and acquisition.missing_at_end():
            quiet = LATE_S
        elif acquisition is not None:
            quiet += 2.0 * self._clock.wall_seconds(acquisition.lateness_s)
        idle = self._is_idle(now)
        if idle and self._idle_at is not None:
            return now - max(self._active_at, self._idle_at) > quiet
        if idle is None:  # it does not tell
            return silence > self._longest_s() + quiet
        return silence > self._longest_s() + SILENCE_S

    def _has_taken_all(self, now: float) -> bool:
        """Return whether a camera that was told how many frames to take has done so.

        Its last frames may have been lost on their way: then it is idle, or still says so.
        """
        acquisition = self._acquisition
        if acquisition is None or not acquisition.frames:
            return False
        if acquisition.complete:
            return True
        asking = now - self._active_at < self._patience_s() + ASKING_S
        return self._is_idle(now) is True or asking

    def _is_idle(self, now: float) -> bool | None:
        """Return what the camera says of itself, or None if it does not answer; never waits."""
        if self._idle_at is not None:
            return True
        if self._status is None:
            self._status = self._ask_status()
        if not self._status.done():
            return False
        if self._status.exception() is not None:
            return None
        if self._status.result() == IDLE:
            self._idle_at = now
            if self._acquisition is not None:
                self._acquisition.found_idle = True
            return True
        self._status = None  # ask again, one tick later
        return False
