"""The recorder's writing thread: frames from the ring to disk, and their rows.

A page is on disk as soon as the disk takes it, with what is known of its frame then; its row is
made again, for good, when all readings of the exposure are in.  Only then is the frame told to the
session, so that what the documents say is on disk is there, with the row that they give.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, StmTemError
from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.ring import FrameRing
from stmtem_control.recording.rows import build_rows, row_json
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import Timeline

from .frame_dating import FrameDating
from .frame_reader import ReceivedFrame
from .loss_log import LossLog
from .recorder_protocol import ROWS, Message, error_message
from .run_files import RunFiles

log = logging.getLogger(__name__)

TELL_S = 0.1  # wall seconds between two words to the session
DATE_S = 2.0  # wall seconds after which a start that the session did not tell is given up
BATCH_BYTES = 1 << 25  # that are written in one go, so that slots are freed at times
# Small frames cost less together: so many bytes, or as many as come in so many wall seconds.
GATHER_BYTES, GATHER_PAGES, GATHER_S = 1 << 22, 64, 0.005
NAMES = [column.name for column in COLUMNS]


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
        self._unsettled: deque[ReceivedFrame] = deque()  # on disk, row not final
        self._files: RunFiles | None = None
        self._run = 0
        self._recording = self._failed = False
        self._look_back_s = 0.0
        self._settle_s = 0.0
        self._held = False  # no row is final before the end of the acquisition
        self._captured = self._dropped = self._twice = 0
        self._told: tuple[int, int] = (0, 0)
        self._next_tell = 0.0
        self._losses = LossLog(name)
        self._repeats = LossLog(name, "repeated")
        self._ended: tuple[Exception | None, bool] | None = None
        self._finishing: list[int] = []
        self._reading = self._quit = False
        self._most = max(1, min(BATCH_BYTES // ring.slot_bytes, ring.slots // 2))
        self._enough = max(1, min(GATHER_BYTES // ring.slot_bytes, GATHER_PAGES, ring.slots // 4))
        self._thread = threading.Thread(target=self._work, name=f"{name} writer", daemon=True)
        self._thread.start()

    # From the reading thread

    def receive(self, frame: ReceivedFrame) -> None:
        """Take a frame that is in the ring."""
        with self._changed:
            self._waiting.append(frame)
            if self._recording:
                self._captured += 1
                # The first makes the writer look at the clock; it is not woken by each.
                if len(self._waiting) in (1, self._enough):
                    self._changed.notify()
            elif frame.monotonic - self._waiting[0].monotonic > self._look_back_s:
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
        with self._changed:
            if not self._recording:
                return
            self._dropped += count
            total = self._dropped
        self._losses.lost(count, how, total)
        self._tell_counts(time.monotonic())

    def came_twice(self) -> None:
        """Count a frame that came once more, and was thrown away."""
        with self._changed:
            if not self._recording:
                return
            self._twice += 1
            total = self._twice
        self._repeats.lost(1, "came twice and were kept once", total)

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
            self._held = False
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
            self._captured = self._dropped = self._twice = 0
            self._told = (0, 0)
            self._losses.begin()
            self._repeats.begin()
            self._unsettled.clear()
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
        self._settle_s = float(settings["settle_s"])
        self._held = bool(settings.get("hold", False))
        frames_per_file = self._files.open_pages(self._ring.shape, self._ring.dtype, settings)
        with self._changed:
            self._failed = False
            if not self._recording:
                self._recording = True
                oldest = time.monotonic() - self._look_back_s
                while self._waiting and self._waiting[0].monotonic < oldest:
                    self._forget_oldest()
                self._captured += len(self._waiting)
                if self._waiting:
                    self._waiting[0].dropped_before = 0  # what was before was not to be recorded
                self._dropped += sum(frame.dropped_before for frame in self._waiting)
        return {"frames_per_file": frames_per_file}

    def close_files(self) -> None:
        """Settle what is on disk, and close pages and table; a later recording opens them again."""
        try:
            self._settle(hurry=True)
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
                self._settle(hurry=leaving or self._failed or (ended is not None and ended[1]))
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
            or (self._ended is not None and not self._unsettled)
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
        now = time.monotonic()
        if self._held:
            return TELL_S
        if self._unsettled and not self._failed:
            due = self._due(self._unsettled[0], now)
            return max(0.001, (due if self._ended else max(due, self._next_tell)) - now)
        if self._files is not None and self._files.open:
            return TELL_S
        return None

    def _due(self, frame: ReceivedFrame, now: float) -> float:
        if not frame.acquisition.known and now < frame.monotonic + DATE_S:
            return max(now + 0.01, frame.monotonic + self._settle_s)
        return frame.monotonic + self._settle_s

    def _write(self) -> None:
        """Write what waits, in a few gathered writes."""
        while True:
            with self._changed:
                if self._failed:
                    self._discard()
                    return
                if not self._recording or not self._waiting:
                    return
                most = min(self._most, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(most)]
            assert self._files is not None
            pages, rate = self._files.pages, self._files.dose_rate
            try:
                for number, frame in enumerate(batch, pages.count):
                    frame.number = number
                images = [self._ring.image(frame.slot) for frame in batch]
                rows = [row_json(row, False) for row in self.dating.first_rows(batch, rate)]
                pages.write(list(zip(images, rows, strict=True)))
            finally:
                written = [frame for frame in batch if 0 <= frame.number < pages.count]
                self._unsettled.extend(written)
                self._ring.give_back(frame.slot for frame in batch)
                with self._changed:
                    self._dropped += len(batch) - len(written)
            if time.monotonic() >= self._next_tell or len(self._waiting) < self._enough:
                return

    def _discard(self) -> None:
        """Give up frames that cannot be written, and count them."""
        self._ring.give_back(frame.slot for frame in self._waiting)
        self._dropped += len(self._waiting)
        self._waiting.clear()

    def _settle(self, *, hurry: bool) -> None:
        """Make the rows final whose readings are in, and tell the session."""
        now = time.monotonic()
        with self._changed:
            ended = self._ended is not None
        if not hurry and not ended and now < self._next_tell:
            return
        ready: list[ReceivedFrame] = []
        for frame in self._unsettled:
            if not hurry and (self._held or self._due(frame, now) > now):
                break
            ready.append(frame)
        files = self._files
        if files is not None:
            files.journal_flush()
        if ready and files is not None:
            self._next_tell = now + TELL_S
            facts = [self.dating.facts(frame) for frame in ready]
            after = self._unsettled[len(ready)] if len(ready) < len(self._unsettled) else None
            rows = build_rows(
                self._timeline,
                facts,
                dose_rate_e_per_A2_s=files.dose_rate,
                clock=self._clock,
                following=None if after is None else self.dating.facts(after),
                site=files.site_dose,
            )
            files.settle(rows)
            # What could not be settled is tried again, when there is room.
            for _ in ready:
                self._unsettled.popleft()
            with self._changed:
                self._told = (self._captured, self._dropped)
            counts = {"captured": self._told[0], "dropped": self._told[1]}
            columns = {name: [row[name] for row in rows] for name in NAMES}
            first = ready[0].number
            self._say({"say": ROWS, "run": self._run, "first": first, "columns": columns, **counts})
        else:
            self._tell_counts(now)

    def _tell_counts(self, now: float) -> None:
        with self._changed:
            counts = (self._captured, self._dropped)
            if counts == self._told or now < self._next_tell:
                return
            self._told, self._next_tell = counts, now + TELL_S
        self._say({"say": "counts", "run": self._run, "captured": counts[0], "dropped": counts[1]})

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
            if self._waiting or (self._unsettled and not self._failed) or self._jobs:
                return
            self._ended, self._reading, self._recording = None, False, False
        if error is not None:
            log.error("%s", error)
            self._say({"say": "error", "run": self._run, **error_message(error)})
        self._next_tell = 0.0
        self._tell_counts(time.monotonic())
        self._say({"say": "ended", "run": self._run})

    def _reply(self) -> None:
        with self._changed:
            if self._reading or not self._finishing:
                return
            numbers, self._finishing = self._finishing, []
        for number in numbers:
            self._say({"say": "reply", "id": number})
