"""The recorder's writing thread: frames from the ring to disk, and their rows.

A page is on disk as soon as the disk takes it, with what is known of its frame then; its row is
made again, for good, when all readings of the exposure are in.  Only then is the frame told to the
session, so that what the documents say is on disk is there, with the row that they give.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, StmTemError
from stmtem_control.recording.ring import FrameRing
from stmtem_control.recording.rows import row_json
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import Timeline

from .frame_dating import FrameDating
from .loss_log import FrameCounts
from .received_frame import ReceivedFrame
from .recorder_protocol import Message, error_message
from .row_settler import TELL_S, RowSettler
from .run_files import RunFiles

log = logging.getLogger(__name__)

BATCH_BYTES = 1 << 25  # that are written in one go, so that slots are freed at times
# Small frames cost less together: so many bytes, or as many as come in so many wall seconds.
GATHER_BYTES, GATHER_PAGES, GATHER_S = 1 << 22, 64, 0.005
# Where frames are backed up, rows are made final while the disk writes: so many at once cost little
# each, and less time than the write takes.
SETTLE_ROWS = 128


class _Pages(NamedTuple):
    """Frames that are taken out of the queue, with what is written of each."""

    frames: list[ReceivedFrame]
    content: list[tuple[NDArray[Any], bytes]]


class FrameRecorder:
    """Writes what the reader puts into the ring, and tells of it.

    Parameters
    ----------
    name : str
        The camera's name, for messages.
    ring : FrameRing
        Where the frames are.
    clock, timeline : StationClock, Timeline
        Station time, and what was true when.
    say : callable
        Takes a message for the session, and never waits.
    """

    def __init__(
        self,
        *,
        name: str,
        ring: FrameRing,
        clock: StationClock,
        timeline: Timeline,
        say: Callable[[Message], None],
    ) -> None:
        self.name = name
        self.dating = FrameDating(clock, timeline)
        self._ring = ring
        self._clock = clock
        self._timeline = timeline
        self._say = say
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._waiting: deque[ReceivedFrame] = deque()  # in the ring, not on disk
        self._counts = FrameCounts(name)
        self._settler = RowSettler(
            clock=clock, timeline=timeline, dating=self.dating, counts=self._counts.now, say=say
        )
        self._files: RunFiles | None = None
        self._run = 0
        self._recording = self._failed = False
        self._look_back_s = 0.0
        self._ended: tuple[Exception | None, bool] | None = None
        self._finishing: list[int] = []
        self._reading = self._quit = False
        self._most = max(1, min(BATCH_BYTES // ring.slot_bytes, GATHER_PAGES, ring.slots // 4))
        self._enough = max(1, min(GATHER_BYTES // ring.slot_bytes, GATHER_PAGES, ring.slots // 4))
        self._thread = threading.Thread(target=self._work, name=f"{name} writer", daemon=True)
        self._thread.start()

    # From the reading thread

    def receive(self, frames: Sequence[ReceivedFrame]) -> None:
        """Take frames that are in the ring."""
        with self._changed:
            before, waiting = len(self._waiting), self._waiting
            waiting.extend(frames)
            if self._recording:
                self._counts.came(len(frames))
                # The first makes the writer look at the clock; it is not woken by each.
                if not before or before < self._enough <= len(waiting):
                    self._changed.notify()
                return
            for frame in frames:
                if frame.monotonic - waiting[0].monotonic > self._look_back_s:
                    self._forget_oldest()

    def make_room(self) -> bool:
        """Free a slot of the look-back, if nobody records; tell whether there is one now."""
        with self._changed:
            if self._recording or not self._waiting:
                return False
            self._forget_oldest()
            return True

    def _forget_oldest(self) -> None:
        self._ring.give_back([self._waiting.popleft().slot])

    def lost(self, count: int, how: str) -> None:
        """Count frames that did not come to the ring."""
        if self._recording:
            self._counts.lost(count, how)
            self._settler.tell_counts(time.monotonic())

    def came_twice(self) -> None:
        """Count a frame that came once more, and was thrown away."""
        if self._recording:
            self._counts.came_twice()

    def reading_ended(self, error: Exception | None, hurry: bool) -> None:
        """Note that no more frames come, and whether rows are final as they are now."""
        with self._changed:
            self._ended = (error, hurry)
            self._changed.notify()

    # From the thread that takes orders

    def do(self, job: Callable[[], None]) -> None:
        """Have something done by the writing thread, in its turn."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()

    def look_back(self, seconds: float) -> None:
        """Keep the frames of so many wall seconds in the ring while nobody records."""
        with self._changed:
            self._look_back_s = seconds

    def reading_begins(self) -> None:
        """Note that frames will come."""
        with self._changed:
            self._reading = True
            self._ended = None

    def finish(self, number: int) -> None:
        """Reply to an order when nothing is read, written or settled any more."""
        with self._changed:
            self._settler.held = False
            self._finishing.append(number)
            self._changed.notify()

    def quit(self, seconds: float) -> bool:
        """End the writing thread, with its files closed; tell whether it did within `seconds`."""
        with self._changed:
            self._quit = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # Jobs of the writing thread

    def begin_run(
        self,
        run: int,
        folder: Path,
        dose_rate_e_per_A2_s: float,
        site_dose: SiteDose | None = None,
    ) -> None:
        """Go on to another run: what belongs to the one before is ended."""
        self.end_run()
        self.dating.model = None  # a clock may be set between two runs
        with self._changed:
            self._run = run
            self._recording = self._failed = False
            self._counts.begin()
        self._settler.begin_run(run)
        self._files = RunFiles(folder, self._clock, self._timeline, dose_rate_e_per_A2_s, site_dose)
        self._files.open_journal(self._look_back_s * self._clock.speed)

    def end_run(self) -> None:
        """Settle what is on disk, and end all files of the run."""
        self.close_files()
        if self._files is not None:
            self._files.end()
            self._files = None

    def begin_recording(self, settings: Message) -> Message:
        """Open the files, and record from the oldest frame in the ring on.

        Raises
        ------
        RecordingError
            They cannot be written.
        """
        if self._files is None:
            raise RecordingError(f"{self.name}: no folder for the frames")
        self._settler.settle_s = float(settings["settle_s"])
        self._settler.held = bool(settings.get("hold", False))
        frames_per_file = self._files.open_pages(self._ring.shape, self._ring.dtype, settings)
        with self._changed:
            self._failed = False
            if not self._recording:
                self._recording = True
                oldest = time.monotonic() - self._look_back_s
                while self._waiting and self._waiting[0].monotonic < oldest:
                    self._forget_oldest()
                self._counts.came(len(self._waiting))
                if self._waiting:
                    self._waiting[0].dropped_before = 0  # what was before was not to be recorded
                self._counts.gave_up(sum(frame.dropped_before for frame in self._waiting))
        return {"frames_per_file": frames_per_file}

    def close_files(self) -> None:
        """Settle what is on disk, and close pages and table; a later recording opens them again."""
        try:
            self._settler.settle(self._files, hurry=True, ended=True)
        except StmTemError as error:
            self._fail(error)
        try:
            if self._files is not None:
                self._files.close()
        except StmTemError as error:
            self._fail(error)

    # The writing thread

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._wanted() and self._changed.wait(self._pause_s()):
                    pass
                jobs = list(self._jobs)
                self._jobs.clear()
                ended, leaving = self._ended, self._quit
            try:
                for job in jobs:
                    job()
                self._write()
                hurry = leaving or self._failed or (ended is not None and ended[1])
                self._settler.settle(self._files, hurry=hurry, ended=ended is not None)
            except Exception as error:
                if not isinstance(error, StmTemError):
                    log.exception("%s: the writing thread failed", self.name, exc_info=error)
                    error = RecordingError(f"{self.name}: the writing thread failed: {error}")
                self._fail(error)
            if ended is not None:
                self._end(*ended)
            self._reply()
            if leaving and not self._jobs and not self._reading:
                break
        self.end_run()

    def _wanted(self) -> bool:
        return bool(
            self._jobs
            or (self._quit and not self._reading)
            or (self._waiting and (self._failed or (self._recording and self._gather_s() <= 0.0)))
            or (self._ended is not None and not self._settler)
            or (self._ended is not None and self._ended[1])
            or (self._finishing and not self._reading)
        )

    def _gather_s(self) -> float:
        """Return how long to wait for more frames to write together with those that wait."""
        if len(self._waiting) >= self._enough or self._ended is not None or self._quit:
            return 0.0
        return self._waiting[0].monotonic + GATHER_S - time.monotonic()

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do, if nothing happens."""
        if self._waiting and self._recording:
            return max(1e-4, self._gather_s())
        if self._settler.held:
            return TELL_S
        if self._settler and not self._failed:
            return self._settler.pause_s(time.monotonic(), ended=self._ended is not None)
        if self._files is not None and self._files.open:
            return TELL_S
        return None

    def _write(self) -> None:
        """Write what waits, in a few gathered writes."""
        pages = self._next_pages(0)
        while pages is not None:
            pages = self._write_pages(pages)
            if pages is None and len(self._waiting) >= self._enough and not self._may_tell():
                pages = self._next_pages(0)

    def _may_tell(self) -> bool:
        return time.monotonic() >= self._settler.next_tell

    def _next_pages(self, ahead: int) -> "_Pages | None":
        """Take frames that wait, for the pages behind those on disk and `ahead` more."""
        with self._changed:
            if self._failed:
                self._discard()
                return None
            if not self._recording or not self._waiting:
                return None
            most = min(self._most, len(self._waiting))
            frames = [self._waiting.popleft() for _ in range(most)]
        try:
            assert self._files is not None
            for number, frame in enumerate(frames, self._files.pages.count + ahead):
                frame.number = number
            images = [self._ring.image(frame.slot) for frame in frames]
            made = self.dating.first_rows(frames, self._files.dose_rate)
            rows = [row_json(row, False) for row in made]
            return _Pages(frames, list(zip(images, rows, strict=True)))
        except BaseException:
            self._give_up(frames)
            raise

    def _write_pages(self, pages: "_Pages") -> "_Pages | None":
        """Write frames; return those that were made ready while the disk wrote, if any."""
        files, following = self._files, None
        assert files is not None
        frames = pages.frames

        def meanwhile() -> None:
            nonlocal following
            self._settler.settle_some(files, SETTLE_ROWS)
            if following is None and len(self._waiting) >= self._enough and not self._may_tell():
                following = self._next_pages(frames[-1].number + 1 - files.pages.count)

        backed_up = len(self._waiting) >= self._enough
        try:
            files.pages.write(pages.content, meanwhile if backed_up else None)
        except BaseException:
            if following is not None:
                self._give_up(following.frames)
            raise
        finally:
            count = files.pages.count
            written = [frame for frame in frames if 0 <= frame.number < count]
            self._settler.add(written)
            self._ring.give_back(frame.slot for frame in written)
            self._give_up(frames[len(written) :])
        return following

    def _give_up(self, frames: Collection[ReceivedFrame]) -> None:
        """Free the slots of frames that cannot be written, and count them."""
        self._ring.give_back(frame.slot for frame in frames)
        self._counts.gave_up(len(frames))

    def _discard(self) -> None:
        """Give up frames that cannot be written, and count them."""
        self._give_up(self._waiting)
        self._waiting.clear()

    def _fail(self, error: Exception) -> None:
        """Tell an error that ends the recording; what still comes is given up and counted."""
        with self._changed:
            first, self._failed = not self._failed, True
            self._discard()
        if first:
            log.error("%s", error)
            self._say({"say": "error", "run": self._run, **error_message(error)})

    def _end(self, error: Exception | None, hurry: bool) -> None:
        """Tell that the reading has ended, when all that it gave is settled."""
        with self._changed:
            if self._waiting and not self._recording:
                self._ring.give_back(frame.slot for frame in self._waiting)
                self._waiting.clear()
            if self._waiting or (self._settler and not self._failed) or self._jobs:
                return
            self._ended, self._reading, self._recording = None, False, False
        if error is not None:
            log.error("%s", error)
            self._say({"say": "error", "run": self._run, **error_message(error)})
        self._settler.next_tell = 0.0
        self._settler.tell_counts(time.monotonic())
        self._say({"say": "ended", "run": self._run})

    def _reply(self) -> None:
        with self._changed:
            if self._reading or not self._finishing:
                return
            numbers, self._finishing = self._finishing, []
        for number in numbers:
            self._say({"say": "reply", "id": number})
