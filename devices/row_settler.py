"""Rows made final when the readings of their exposures are in, and told to the session."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from stmtem_control.clock import StationClock
from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.rows import build_rows
from stmtem_control.timeline import Timeline

from .frame_dating import FrameDating
from .received_frame import ReceivedFrame
from .recorder_protocol import ROWS, Message
from .run_files import RunFiles

TELL_S = 0.1  # wall seconds between two words to the session
DATE_S = 2.0  # wall seconds after which a start that the session did not tell is given up
NAMES = [column.name for column in COLUMNS]


class RowSettler:
    """Keeps the frames that are on disk until their rows are final.

    The counts may be told from any thread, all else is for the one that writes.

    Parameters
    ----------
    clock, timeline : StationClock, Timeline
        Station time, and what was true when.
    dating : FrameDating
        Says when they were exposed.
    counts : callable
        Returns how many frames of the run were captured and dropped.
    say : callable
        Takes a message for the session, and never waits.

    Attributes
    ----------
    settle_s : float
        Wall seconds from a frame's arrival until all readings of its exposure are in.
    held : bool
        No row is final before the end of the acquisition.
    next_tell : float
        Monotonic time before which there is nothing to tell the session.
    """

    def __init__(
        self,
        *,
        clock: StationClock,
        timeline: Timeline,
        dating: FrameDating,
        counts: Callable[[], tuple[int, int]],
        say: Callable[[Message], None],
    ) -> None:
        self.settle_s = 0.0
        self.held = False
        self.next_tell = 0.0
        self._clock = clock
        self._timeline = timeline
        self._dating = dating
        self._counts = counts
        self._say = say
        self._run = 0
        self._lock = threading.Lock()
        self._told: tuple[int, int] = (0, 0)
        self._frames: deque[ReceivedFrame] = deque()  # on disk, row not final

    def __bool__(self) -> bool:
        """Whether there are frames whose rows are not final."""
        return bool(self._frames)

    def begin_run(self, run: int) -> None:
        """Go on to another run; what is left of the one before stays as it is on disk."""
        self._run = run
        with self._lock:
            self._told = (0, 0)
        self._frames.clear()

    def add(self, frames: Iterable[ReceivedFrame]) -> None:
        """Take frames that are on disk."""
        self._frames.extend(frames)

    def pause_s(self, now: float, *, ended: bool) -> float:
        """Return for how many wall seconds no row can be made final."""
        due = self._due(self._frames[0], now)
        return max(0.001, (due if ended else max(due, self.next_tell)) - now)

    def _due(self, frame: ReceivedFrame, now: float) -> float:
        if not frame.acquisition.known and now < frame.monotonic + DATE_S:
            return max(now + 0.01, frame.monotonic + self.settle_s)
        return frame.monotonic + self.settle_s

    def settle(self, files: RunFiles | None, *, hurry: bool, ended: bool) -> None:
        """Make the rows final whose readings are in, and tell the session.

        Parameters
        ----------
        files : RunFiles, optional
            Of the run.
        hurry : bool
            Whether rows are final as they are now.
        ended : bool
            Whether no more frames come, so that there is no need to gather them.

        Raises
        ------
        RecordingError
            They could not be written; they are tried again the next time.
        """
        now = time.monotonic()
        if not hurry and not ended and now < self.next_tell:
            return
        ready = list(self._frames) if hurry else self._ready(now, len(self._frames))
        if files is not None:
            files.journal_flush()
        if ready and files is not None:
            self.next_tell = now + TELL_S
            self._make_final(ready, files)
        else:
            self.tell_counts(now)

    def settle_some(self, files: RunFiles, count: int) -> None:
        """Make so many rows final, if so many are due; raises as :meth:`settle` does."""
        ready = self._ready(time.monotonic(), count)
        if len(ready) == count:
            files.journal_flush()
            self._make_final(ready, files)

    def _ready(self, now: float, most: int) -> list[ReceivedFrame]:
        ready: list[ReceivedFrame] = []
        if self.held:
            return ready
        for frame in self._frames:
            if len(ready) == most or self._due(frame, now) > now:
                break
            ready.append(frame)
        return ready

    def _make_final(self, ready: list[ReceivedFrame], files: RunFiles) -> None:
        after = self._frames[len(ready)] if len(ready) < len(self._frames) else None
        rows = build_rows(
            self._timeline,
            [self._dating.facts(frame) for frame in ready],
            dose_rate_e_per_A2_s=files.dose_rate,
            clock=self._clock,
            following=None if after is None else self._dating.facts(after),
            site=files.site_dose,
        )
        files.settle(rows)
        # What could not be settled is tried again, when there is room.
        for _ in ready:
            self._frames.popleft()
        with self._lock:
            told = self._told = self._counts()
        counts = {"captured": told[0], "dropped": told[1]}
        columns = {name: [row[name] for row in rows] for name in NAMES}
        first = ready[0].number
        self._say({"say": ROWS, "run": self._run, "first": first, "columns": columns, **counts})

    def tell_counts(self, now: float) -> None:
        """Tell the session how many frames were captured and dropped, if that is news."""
        with self._lock:
            counts = self._counts()
            if counts == self._told or now < self.next_tell:
                return
            self._told, self.next_tell = counts, now + TELL_S
        self._say({"say": "counts", "run": self._run, "captured": counts[0], "dropped": counts[1]})
