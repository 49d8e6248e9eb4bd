"""The recorder's reading thread: frames from the camera's data socket into the shared ring.

It does nothing that could wait but read the socket: what becomes of a frame is decided elsewhere.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, StmTemError, TransportError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.ring import FrameRing

from .frame_times import Acquisition
from .merlin_headers import FrameHeader
from .merlin_stream import FrameStream
from .message_window import Burst
from .received_frame import ReceivedFrame, mean_counts
from .stream_silence import StreamSilence

log = logging.getLogger(__name__)

TICK_S = 0.02
LEAVE_S = 0.5  # wall seconds in which what has come is read when the session is gone
SAMPLES = 1 << 15


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
    on_frames : callable
        Called with frames that are in the ring.
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
        on_frames: Callable[[Sequence[ReceivedFrame]], None],
        on_lost: Callable[[int, str], None],
        on_twice: Callable[[], None],
        on_come: Callable[[float], None],
        on_end: Callable[[Exception | None, bool], None],
    ) -> None:
        self.name = name
        self._samples: deque[tuple[float, ...]] = deque(maxlen=SAMPLES)
        self._ring = ring
        self._clock = clock
        self._silence = StreamSilence(clock, ask_status)
        self._most = max(1, ring.slots // 4)  # frames at once, so that most of the ring stays
        self._make_room = make_room
        self._on_frames = on_frames
        self._on_lost = on_lost
        self._on_twice = on_twice
        self._on_come = on_come
        self._on_end = on_end
        self._lock = threading.Lock()
        self._acquisition: Acquisition | None = None  # the last that was started
        self._lost_before = 0  # frames that were lost since the last that came
        self._stream: FrameStream | None = None
        self._thread: threading.Thread | None = None
        self._given_up = False
        self._leave_at: float | None = None  # monotonic time to end at whatever comes

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
            self._given_up = self._silence.ending = False
            self._silence.expecting = False  # until it has started
            self._silence.begin()
            self._silence.active_at = time.monotonic()
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
            self._silence.begin()

    def started(self, exchange: Exchange | None) -> None:
        """Say when the acquisition was started, in station time; None if nobody knows."""
        with self._lock:
            if self._acquisition is not None:
                self._acquisition.started = exchange
                self._acquisition.answer_lost = exchange is None
            self._silence.expecting = True
            self._silence.active_at = time.monotonic()

    def stopped(self, exchange: Exchange) -> None:
        """Say that the acquisition was stopped, by a STOPACQUISITION with these times."""
        with self._lock:
            if self._acquisition is not None and self._acquisition.stopped is None:
                self._acquisition.stopped = exchange

    def expect(self, frames: bool) -> None:
        """Say whether frames are on their way, so that silence is an error, or not."""
        with self._lock:
            self._silence.expecting = frames
            self._silence.active_at = time.monotonic()

    def finish(self) -> None:
        """End the thread when what is under way has come."""
        with self._lock:
            self._silence.expecting = False
            self._silence.ending = True
            self._silence.active_at = time.monotonic()

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
        silence = self._silence
        while True:
            if stream.wait(0.0 if self._leave_at is not None else TICK_S):
                # Of the first byte; the last may be long in coming.
                arrival, monotonic = self._clock.now(), time.monotonic()
                # A message that has begun must end: it is judged as silence is.
                deadline = monotonic + silence.patience_s(self._acquisition)
                burst = stream.next_burst(deadline, self._most)
                if burst is not None:
                    self._take_burst(burst, acquisition, arrival, monotonic)
                elif (header := stream.next_header(deadline)) is not None:
                    self._take(stream, deadline, acquisition, header, arrival, monotonic)
                else:  # of an acquisition: the numbers begin anew
                    acquisition = self._next_acquisition(acquisition)
                    self._on_come(arrival)
                silence.active_at = time.monotonic()
                if self._leave_at is not None and silence.active_at > self._leave_at:
                    return
            elif self._leave_at is not None or silence.is_over(self._acquisition):
                return

    def _take_burst(
        self, burst: Burst, acquisition: Acquisition, arrival: float, monotonic: float
    ) -> None:
        """Put frames into the ring that were read at once; the first had begun at `arrival`."""
        self._check(burst.headers[0])
        came = [burst.others_s] * len(burst.headers)
        came[0] = monotonic if burst.first_s is None else burst.first_s
        kept: list[tuple[int, int]] = []  # which of them, and how many are missing before it
        came_t = [arrival + (t - monotonic) * self._clock.speed for t in came]
        for i, (header, t) in enumerate(zip(burst.headers, came_t, strict=True)):
            if acquisition.came_before(header):
                self._on_twice()
            else:
                kept.append((i, acquisition.receive(header, t)))
        slots = self._slots(len(kept))
        which = [i for i, _ in kept[: len(slots)]]
        pixels = burst.pixels[which] if len(which) < len(came) else burst.pixels
        try:
            self._ring.fill(slots, pixels)
            means = self._means(slots)
        except BaseException:
            for slot in slots:
                self._ring.refuse(slot)
            raise
        frames = []
        for n, (i, missing) in enumerate(kept):
            self._lose(missing, "did not come")
            if n >= len(slots):
                self._lose_to_full_ring()
                continue
            lost, self._lost_before = self._lost_before, 0
            header, slot, mean = burst.headers[i], slots[n], means[n]
            frames.append(ReceivedFrame(acquisition, header, slot, came_t[i], came[i], lost, mean))
        self._received(frames)

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
        self._check(header)
        if acquisition.came_before(header):
            stream.read_pixels(header, deadline, None)
            self._on_twice()
            return
        slots = self._slots(1)
        if not slots:
            stream.read_pixels(header, deadline, None)
            self._lose(acquisition.receive(header, arrival), "did not come")
            self._lose_to_full_ring()
            return
        try:
            stream.read_pixels(header, deadline, ring.image(slots[0]))
        except BaseException:
            ring.refuse(slots[0])
            raise
        self._lose(acquisition.receive(header, arrival), "did not come")
        lost, self._lost_before = self._lost_before, 0
        (mean,) = self._means(slots)
        self._received(
            [ReceivedFrame(acquisition, header, slots[0], arrival, monotonic, lost, mean)]
        )

    def _check(self, header: FrameHeader) -> None:
        shape, dtype = self._ring.shape, header.dtype.newbyteorder("=")
        if (header.height, header.width) != shape or dtype != self._ring.dtype:
            raise RecordingError(
                f"frame {header.sequence} is {header.width} x {header.height} {dtype.name}; "
                f"declared were {shape[1]} x {shape[0]} {self._ring.dtype.name}"
            )

    def _slots(self, count: int) -> list[int]:
        """Return so many slots to fill, or those that there are."""
        slots = self._ring.take_some(count)
        while len(slots) < count and self._make_room():
            slots += self._ring.take_some(1)
        return slots

    def _means(self, slots: Sequence[int]) -> list[float]:
        """Return the mean counts of the images in some slots."""
        together = self._ring.images(slots)
        if together is not None:
            return mean_counts(together)
        return [mean for slot in slots for mean in mean_counts(self._ring.image(slot)[None])]

    def _received(self, frames: Sequence[ReceivedFrame]) -> None:
        """Tell of frames that are in the ring now."""
        for frame in frames:
            self._ring.filled(frame.slot, frame.header.sequence)
        samples = [
            (
                frame.header.unix_time_s,
                frame.header.exposure_s,
                frame.acquisition.period_s,
                frame.mean_counts,
                frame.header.sequence,
                frame.dropped_before,
                frame.monotonic,
            )
            for frame in frames
        ]
        with self._lock:
            self._samples.extend(samples)
        self._on_frames(frames)

    def _lose_to_full_ring(self) -> None:
        self._lose(1, "found the ring full: the disk is too slow")

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
