"""The camera's reading thread: frames from the data socket to disk, each with its row.

A frame waits a moment before its row is made: a current reading whose middle lies in its exposure
ends after it.  Only what is on disk is counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, StmTemError, TransportError, TransportTimeout
from stmtem_control.exchanges import Exchange
from stmtem_control.frames import FrameWriter
from stmtem_control.timeline import Timeline

from .frame_rows import COLUMNS, frame_row
from .frame_times import Acquisition
from .merlin import IDLE
from .merlin_stream import FrameHeader, FrameStream

log = logging.getLogger(__name__)

SETTLE_S = 0.05  # wall seconds that a reading needs from its end to the timeline, at most
SILENCE_S = 2.0  # wall seconds without a frame that are an error, if five periods are shorter
TICK_S = 0.02
QUIET_S = 0.05  # wall seconds without a byte, after which a camera that is idle has sent all
LATE_S = 1.0  # the same, while a frame is overdue
PENDING_BYTES = 1 << 28


@dataclass
class _Pending:
    acquisition: Acquisition
    header: FrameHeader
    image: NDArray[Any]
    arrival: float  # of its first byte, in station time
    due: float  # monotonic time
    dropped_before: int


class FrameReader:
    """Reads, dates, and writes the frames of one run; survives pauses and repeated starts.

    Parameters
    ----------
    name : str
        The camera's name, for messages.
    directory : Path
        The run folder.
    clock, timeline : StationClock, Timeline
        Station time, and what was true when.
    pixel_size_nm : float
        For the files' axes.
    dose_rate_e_per_A2_s : float
        Of the open beam.
    frames_per_file : int
        Frames in one TIFF file.
    shape, dtype : tuple, numpy.dtype
        What was declared; a frame that differs is an error.
    reading_s : float
        Station seconds that one reading of the source takes.  Its time is that of its middle, and
        it is known half of its length later: so long each frame waits.
    ask_status : callable
        Asks the camera for its DETECTORSTATUS; returns a Future.
    on_frame : callable
        Called with the reader, and the row and the mean counts of each frame that is on disk.
    on_end : callable
        Called with the reader when its thread ends.
    """

    def __init__(
        self,
        *,
        name: str,
        directory: Path,
        clock: StationClock,
        timeline: Timeline,
        pixel_size_nm: float,
        dose_rate_e_per_A2_s: float,
        frames_per_file: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        frame_interval_s: float,
        reading_s: float,
        ask_status: Callable[[], "Future[str]"],
        on_frame: Callable[["FrameReader", dict[str, Any], float], None],
        on_end: Callable[["FrameReader"], None],
    ) -> None:
        self.name = name
        self.directory = directory
        self.captured = 0
        self.dropped = 0
        self.error: Exception | None = None
        self.writer = FrameWriter(
            directory,
            shape=shape,
            dtype=dtype,
            pixel_size_nm=pixel_size_nm,
            frame_interval_s=frame_interval_s,
            frames_per_file=frames_per_file,
            columns=COLUMNS,
        )
        self._clock = clock
        self._timeline = timeline
        self._dose_rate = dose_rate_e_per_A2_s
        self._settle_s = SETTLE_S + 0.5 * clock.wall_seconds(reading_s)
        self._ask_status = ask_status
        self._on_frame = on_frame
        self._on_end = on_end
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._taken = 0
        self._acquisition: Acquisition | None = None  # the last that was started
        self._lost_before = 0  # frames that were lost at the end of the acquisition before
        self._free: list[NDArray[Any]] = []
        self._stream: FrameStream | None = None
        self._thread: threading.Thread | None = None
        self._when_done: list[Callable[[], None]] = []
        self._expecting = False
        self._ending = False
        self._given_up = False
        self._status: Future[str] | None = None  # asked for, and perhaps not answered yet
        self._idle_at: float | None = None  # monotonic time at which the camera was found idle
        self._active_at = 0.0  # monotonic time of the last sign of life

    # Called by the camera, from any thread

    def begin(
        self, stream: FrameStream, started: Exchange, exposure_s: float, period_s: float
    ) -> None:
        """Start reading from a newly opened stream; all times are in station seconds.

        `started` is the exchange of the STARTACQUISITION that the stream belongs to.
        """
        with self._lock:
            self._stream = stream
            self._acquisition = Acquisition(exposure_s, period_s, started, self._acquisition)
            self._ending = self._given_up = False
            self._expecting = True
            self._status = self._idle_at = None
            self._active_at = time.monotonic()
            self._thread = threading.Thread(
                target=self._run, args=(stream,), name=f"{self.name} frames", daemon=True
            )
            self._thread.start()

    def begin_again(self) -> Acquisition:
        """Say that the stopped acquisition is about to be started again, on the same stream.

        Returns the new acquisition, for the times of its start when they are known.
        """
        with self._lock:
            before = self._acquisition
            assert before is not None
            self._acquisition = Acquisition(before.exposure_s, before.period_s, None, before)
            return self._acquisition

    def stopped(self, exchange: Exchange) -> None:
        """Say that the acquisition was stopped, by a STOPACQUISITION with these times."""
        with self._lock:
            if self._acquisition is not None and self._acquisition.stopped is None:
                self._acquisition.stopped = exchange

    def fail(self, error: Exception) -> None:
        """Note an error that ends the recording, to be told by the next collect."""
        with self._lock:
            self.error = self.error or error

    def make_ready(self) -> None:
        """Open the files again if an earlier stop, or an error, has closed them.

        Raises
        ------
        RecordingError
            They cannot be written any more.
        """
        self.writer.close()
        self.writer.reopen()

    @property
    def running(self) -> bool:
        """Whether the reading thread is at work."""
        with self._lock:
            return self._thread is not None

    def expect(self, frames: bool) -> None:
        """Say whether frames are on their way, so that silence is an error, or not."""
        with self._lock:
            self._expecting = frames
            self._active_at = time.monotonic()

    def finish(self, then: Callable[[], None] | None = None) -> None:
        """End the thread when what is under way has come; call `then` when it has ended."""
        with self._lock:
            self._expecting = False
            self._ending = True
            self._active_at = time.monotonic()
            if self._thread is not None:
                if then is not None:
                    self._when_done.append(then)
                return
        if then is not None:
            then()

    def end(self, timeout: float) -> bool:
        """End the thread within `timeout` wall seconds, waiting for late frames half of it."""
        self.finish()
        with self._lock:
            thread, stream = self._thread, self._stream
        if thread is None or stream is None:
            return True
        thread.join(0.5 * timeout)
        if thread.is_alive():
            self._given_up = True
            stream.interrupt()
            thread.join(0.5 * timeout)
        return not thread.is_alive()

    def take(self) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of the first row that was not yet taken, and all rows from there."""
        with self._lock:
            first, rows = self._taken, self._rows
            self._rows = []
            self._taken += len(rows)
            return first, rows

    def close(self) -> None:
        """Close the files; what is recorded stays readable."""
        self.writer.close()

    # The thread

    def _run(self, stream: FrameStream) -> None:
        pending: deque[_Pending] = deque()
        try:
            self._read(stream, pending)
        except Exception as error:
            self._note(error)
        finally:
            try:
                while pending and not isinstance(self.error, RecordingError):
                    self._record(pending.popleft())
                if self._acquisition is not None:
                    self._lost_before = self._count_missing(self._acquisition)
                self._on_end(self)
            except Exception as error:
                self._note(error)
            stream.close()
            with self._lock:
                self._thread = self._stream = None
                callbacks, self._when_done = self._when_done, []
            for callback in callbacks:
                callback()

    def _note(self, error: Exception) -> None:
        if self._given_up and isinstance(error, TransportError):
            return  # it was cut off on purpose
        if not isinstance(error, StmTemError):
            log.exception("%s: the reading thread failed", self.name, exc_info=error)
            error = RecordingError(f"{self.name}: the reading thread failed: {error}")
        elif not str(error).startswith(self.name):
            error = type(error)(f"{self.name}: {error}")
        log.error("%s", error)
        with self._lock:
            self.error = self.error or error

    def _read(self, stream: FrameStream, pending: deque[_Pending]) -> None:
        acquisition = self._acquisition
        while True:
            if stream.wait(TICK_S):
                arrival = self._clock.now()  # of the first byte; the last may be long in coming
                # A message that has begun must end: it is judged as silence is.
                got = stream.next_frame(time.monotonic() + self._patience_s(), self._buffer())
                self._active_at = time.monotonic()
                if got is None:  # the header of an acquisition: the numbers begin anew
                    acquisition = self._next_acquisition(acquisition)
                else:
                    pending.append(self._received(acquisition, *got, arrival))
            elif not pending and self._is_over():
                return
            now = time.monotonic()
            while pending and (pending[0].due <= now or self._too_many(pending)):
                self._record(pending.popleft())

    def _next_acquisition(self, old: Acquisition | None) -> Acquisition | None:
        with self._lock:
            new = self._acquisition
        if old is not None and new is not old:
            self._lost_before = self._count_missing(old)
        return new

    def _count_missing(self, acquisition: Acquisition) -> int:
        missing = acquisition.missing_at_end()
        if missing:
            log.warning("%s: %d frames before the stop did not come", self.name, missing)
            self.dropped += missing
        return missing

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
        if self._expecting and silence > self._patience_s():
            raise TransportTimeout(
                f"no frame for {silence:.1f} s, {self._patience_s():.2g} s are allowed; look at "
                "the camera"
            )
        if not self._ending or silence < QUIET_S:
            return False
        # A stop lets the frame under way end, and it may then be on its way as long as the others.
        acquisition, quiet = self._acquisition, QUIET_S
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
            return True
        self._status = None  # ask again, one tick later
        return False

    def _buffer(self) -> NDArray[Any]:
        if self._free:
            return self._free.pop()
        return np.empty(self.writer.shape, self.writer.dtype)

    def _too_many(self, pending: deque[_Pending]) -> bool:
        return len(pending) > 1 and len(pending) * pending[0].image.nbytes > PENDING_BYTES

    def _received(
        self,
        acquisition: Acquisition | None,
        header: FrameHeader,
        image: NDArray[Any],
        arrival: float,
    ) -> _Pending:
        assert acquisition is not None  # begin() has made it
        if image.shape != self.writer.shape or image.dtype != self.writer.dtype:
            raise RecordingError(
                f"frame {header.sequence} is {header.width} x {header.height} "
                f"{image.dtype.name}; declared were {self.writer.shape[1]} x "
                f"{self.writer.shape[0]} {self.writer.dtype.name}"
            )
        missing = acquisition.receive(header, arrival)
        self.captured += 1
        self.dropped += missing
        missing += self._lost_before
        self._lost_before = 0
        due = time.monotonic() + self._settle_s
        return _Pending(acquisition, header, image, arrival, due, missing)

    def _record(self, frame: _Pending) -> None:
        start, uncertainty = frame.acquisition.date(frame.header, frame.arrival)
        row = frame_row(
            self._timeline,
            frame.header,
            start,
            uncertainty,
            dose_rate_e_per_A2_s=self._dose_rate,
            number=self.writer.count,
            dropped_before=frame.dropped_before,
        )
        self.writer.write(frame.image, row)
        mean = float(frame.image.mean())
        if len(self._free) < 4:
            self._free.append(frame.image)
        with self._lock:
            self._rows.append(row)
        self._on_frame(self, row, mean)
