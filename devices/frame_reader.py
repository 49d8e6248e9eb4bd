"""The camera's reading thread: frames from the data socket to disk, each with its row.

A frame waits a moment before its row is made: a current reading that began in its exposure ends
after it.  Only what is on disk is counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, StmTemError, TransportError, TransportTimeout
from stmtem_control.frames import Column, FrameWriter
from stmtem_control.timeline import Timeline

from .merlin_stream import FrameHeader, FrameStream

log = logging.getLogger(__name__)

SETTLE_S = 0.05  # wall seconds that a frame waits for readings of its exposure to come in
SILENCE_S = 2.0  # wall seconds without a frame that are an error, if five periods are shorter
TICK_S = 0.02
OFFSET_FRAMES = 1000  # the clocks' offset is the least delay of so many frames
PENDING_BYTES = 1 << 28

COLUMNS = (
    Column("frame", int, "", "Number in the run, from 0."),
    Column("camera_time_s", float, "s", "Start of exposure by the camera's own clock, Unix time."),
    Column("run_time_s", float, "s", "Start of exposure in run time."),
    Column("exposure_s", float, "s", "Exposure time."),
    Column("phase", str, "", "Phase of the experiment."),
    Column("cycle", int, "", "Cycle of the experiment, from 1; 0 outside."),
    Column("bias_set_V", float, "V", "Level of the source in the middle of the exposure."),
    Column("voltage_V", float, "V", "Mean voltage read in the exposure, or the last one before."),
    Column("current_A", float, "A", "Mean current read in the exposure, or the last one before."),
    Column("n_readings", int, "", "Readings of the source in the exposure."),
    Column("compliance", bool, "", "Whether one of them was limited."),
    Column("blanked", bool, "", "Whether the beam was off for most of the exposure."),
    Column("dose_e_per_A2", float, "e/A^2", "Dose of this exposure."),
    Column("total_dose_e_per_A2", float, "e/A^2", "Dose since the run began, in frames or not."),
    Column("dropped_before", int, "", "Frames that the camera took but that did not come."),
    Column("sequence", int, "", "The camera's own number, from 1 at each start."),
)


@dataclass
class _Pending:
    header: FrameHeader
    image: NDArray[Any]
    arrival: float  # station time
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
    on_frame : callable
        Called with the row and the mean counts of each frame that is on disk.
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
        on_frame: Callable[[dict[str, Any], float], None],
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
        self._on_frame = on_frame
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._taken = 0
        self._delays: deque[float] = deque(maxlen=OFFSET_FRAMES)
        self._free: list[NDArray[Any]] = []
        self._stream: FrameStream | None = None
        self._thread: threading.Thread | None = None
        self._when_done: list[Callable[[], None]] = []
        self._expecting = False
        self._ending = False
        self._given_up = False
        self._period_s = 1.0
        self._exposure_s = 1.0
        self._active_at = 0.0  # monotonic time of the last sign of life

    # Called by the camera, from any thread

    def begin(self, stream: FrameStream, exposure_s: float, period_s: float) -> None:
        """Start reading from a newly opened stream; times are in station seconds."""
        with self._lock:
            self._stream = stream
            self._exposure_s, self._period_s = exposure_s, period_s
            self._ending = self._given_up = False
            self._expecting = True
            self._active_at = time.monotonic()
            self._thread = threading.Thread(
                target=self._run, args=(stream,), name=f"{self.name} frames", daemon=True
            )
            self._thread.start()

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
        expected = 1
        while True:
            if stream.wait(TICK_S):
                # A message that has begun must end: it is judged as silence is.
                got = stream.next_frame(time.monotonic() + self._patience_s(), self._buffer())
                arrival = self._clock.now()
                self._active_at = time.monotonic()
                if got is None:  # the header of an acquisition: the numbers begin anew
                    expected = 1
                else:
                    header, image = got
                    pending.append(self._received(header, image, arrival, expected))
                    expected = header.sequence + 1
            elif self._is_over():
                return
            now = time.monotonic()
            while pending and (pending[0].due <= now or self._too_many(pending)):
                self._record(pending.popleft())

    def _patience_s(self) -> float:
        return max(SILENCE_S, 5.0 * self._clock.wall_seconds(self._period_s))

    def _is_over(self) -> bool:
        """Return whether all has come; raise when nothing comes but should."""
        silence = time.monotonic() - self._active_at
        if self._expecting and silence > self._patience_s():
            raise TransportTimeout(
                f"no frame for {silence:.1f} s, one is due every "
                f"{self._clock.wall_seconds(self._period_s):.2g} s; look at the camera"
            )
        # A stop lets the frame under way end, so it may come one exposure later.
        late = self._clock.wall_seconds(self._exposure_s + self._period_s) + 0.05
        return self._ending and silence > late

    def _buffer(self) -> NDArray[Any]:
        if self._free:
            return self._free.pop()
        return np.empty(self.writer.shape, self.writer.dtype)

    def _too_many(self, pending: deque[_Pending]) -> bool:
        return len(pending) > 1 and len(pending) * pending[0].image.nbytes > PENDING_BYTES

    def _received(
        self, header: FrameHeader, image: NDArray[Any], arrival: float, expected: int
    ) -> _Pending:
        if image.shape != self.writer.shape or image.dtype != self.writer.dtype:
            raise RecordingError(
                f"frame {header.sequence} is {header.width} x {header.height} "
                f"{image.dtype.name}; declared were {self.writer.shape[1]} x "
                f"{self.writer.shape[0]} {self.writer.dtype.name}"
            )
        missing = max(0, header.sequence - expected)
        self.captured += 1
        self.dropped += missing
        self._delays.append(arrival - (header.unix_time_s + header.exposure_s))
        return _Pending(header, image, arrival, time.monotonic() + SETTLE_S, missing)

    def _record(self, frame: _Pending) -> None:
        row = self._row(frame)
        self.writer.write(frame.image, row)
        mean = float(frame.image.mean())
        if len(self._free) < 4:
            self._free.append(frame.image)
        with self._lock:
            self._rows.append(row)
        self._on_frame(row, mean)

    def _row(self, frame: _Pending) -> dict[str, Any]:
        header, line = frame.header, self._timeline
        exposure = header.exposure_s
        # The frame that was least late tells the offset between the two clocks best.
        start = header.unix_time_s + min(self._delays)
        end = start + exposure
        voltage, _ = line.mean("voltage_V", start, end)
        current, n = line.mean("current_A", start, end)
        limited = [bool(value) for _, value in line.between("compliance", start, end)]
        dark = line.seconds_true("blanked", start, end, default=False)
        lit = max(0.0, end - line.run_start) - line.seconds_true(
            "blanked", line.run_start, end, default=False
        )
        level = line.at("bias_set_V", start + 0.5 * exposure)
        return {
            "frame": self.writer.count,
            "camera_time_s": header.unix_time_s,
            "run_time_s": line.run_time(start),
            "exposure_s": exposure,
            "phase": line.at("phase", start) or "",
            "cycle": int(line.at("cycle", start) or 0),
            "bias_set_V": float("nan") if level is None else float(level),
            "voltage_V": voltage,
            "current_A": current,
            "n_readings": n,
            "compliance": any(limited) if limited else bool(line.at("compliance", start)),
            "blanked": dark > 0.5 * exposure,
            "dose_e_per_A2": self._dose_rate * (exposure - dark),
            "total_dose_e_per_A2": self._dose_rate * lit,
            "dropped_before": frame.dropped_before,
            "sequence": header.sequence,
        }
