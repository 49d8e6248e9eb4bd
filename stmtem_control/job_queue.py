"""Jobs of a link: which one is next, which ones a stop drops, and who holds the line.

Whoever does a job, or only looks at the connection, holds the line meanwhile: the link's worker,
or a thread that waits for that very job.
"""

import heapq
import math
import threading
import time
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from .answer import Answer
from .errors import IdentityError, InterlockError, TransportError, TransportTimeout
from .transport import Transport

SAFE = 0  # priority of stop, abort and whatever makes the station safe
NORMAL = 1
LOOK = 2  # priority of what may wait, such as looking whether a motion has ended
LAST_LOOK_S = 0.5  # how often a worker that ends looks whether the line is free


class DroppedError(InterlockError):
    """A command that a stop overtook before it was sent, or cut short while it waited."""


class Job:
    """What is to be done in the worker, and who waits for it; see :meth:`.Link.submit`.

    `what` returns, for the job's name, what a message calls it, and where that was.
    """

    __slots__ = (
        "_name",
        "_what",
        "blind",
        "drops",
        "future",
        "leave_at",
        "patience_s",
        "priority",
        "run",
        "said_to",
        "topic",
    )

    def __init__(
        self,
        name: str,
        run: Callable[[Transport], Any],
        priority: int,
        topic: str,
        drops: Collection[str],
        blind: Callable[[Transport], None] | None,
        what: Callable[[str], tuple[str, str]],
    ) -> None:
        self._name = name
        self._what = what
        self.run = run
        self.priority = priority
        self.topic = topic
        self.drops = drops
        self.blind = blind
        self.said_to: Transport | None = None  # where the blind words have been written
        self.patience_s: float | None = None  # of the thread that does it because it waits for it
        self.leave_at = math.inf  # monotonic time at which that ends
        self.future: Answer[Any] = Answer(what, name)

    @property
    def name(self) -> str:
        """What a message calls it, with the instrument."""
        return self._what(self._name)[0]

    def leave_after(self, patience_s: float | None) -> None:
        """Say how long the thread that does it waits for an answer, in wall seconds."""
        self.patience_s = patience_s
        self.leave_at = math.inf if patience_s is None else time.monotonic() + patience_s

    def too_long(self) -> TransportTimeout:
        """Return what to raise when that time is over."""
        return self.future.too_long(self.patience_s or 0.0)


class JobQueue:
    """Jobs in the order of their priority; jobs that are put off; and whether there may be any.

    Every method may be called from any thread, but :meth:`next`: that is the worker's alone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Lock()  # shut while the worker may wait; opened once for each wait
        self._wake.acquire()
        self._waits = False  # the worker does, and nobody has opened yet
        self._line: object | None = None  # for what the line is held
        self._ready: list[tuple[int, int, Job]] = []
        self._later: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self._closed: TransportError | None = None
        self._refusal: TransportError | None = None

    @property
    def closed(self) -> bool:
        """Whether there will be no job any more."""
        return self._closed is not None

    @property
    def refusal(self) -> TransportError | None:
        """What jobs that are not SAFE are refused with; None while they are taken."""
        return self._refusal

    def put(self, job: Job, delay_s: float = 0.0) -> None:
        """Take a job; what it drops, and a job that is refused, fails at once."""
        dropped: list[Job] = []
        with self._lock:
            failure = self._closed or (None if job.priority == SAFE else self._refusal)
            if failure is None:
                if job.drops:
                    dropped = self._take(lambda old: old.topic in job.drops)
                number = next(self._numbers)
                if delay_s > 0.0:
                    heapq.heappush(self._later, (time.monotonic() + delay_s, number, job))
                else:
                    heapq.heappush(self._ready, (job.priority, number, job))
                # Who leaves the line wakes the worker for what is ready.
                if self._line is None or delay_s > 0.0:
                    self._open()
        for old in dropped:
            old.future.set_exception(DroppedError(f"{old.name} was dropped, a stop came first"))
        if failure is not None:
            job.future.set_exception(again(failure))

    def put_and_claim(self, job: Job) -> bool:
        """Take the line for a new job that nothing is ahead of, and return True.

        It is held for the job's Future, not for the job: then the worker would hold it.
        """
        with self._lock:
            if self._line is not None or self._ready or self._closed or self._refusal:
                return False
            self._line = job.future
            return True

    def claim(self, job: Job) -> bool:
        """Take the line for the Future of a job that is the next, and return True."""
        with self._lock:
            if self._line is not None or not self._ready or self._ready[0][2] is not job:
                return False
            heapq.heappop(self._ready)
            self._line = job.future
            return True

    def take_line(self, purpose: object) -> bool:
        """Take the line, if it is free, for something that is no job; return whether it was."""
        with self._lock:
            if self._line is None:
                self._line = purpose
            return self._line is purpose

    def leave(self, purpose: object) -> bool:
        """Give the line back; return False if it was not held for that."""
        with self._lock:
            if self._line is not purpose:
                return False
            self._line = None
            if self._ready or self._closed is not None:
                self._open()
            return True

    def next(self, patience_s: float) -> Job | None:
        """Return the job whose turn it is, with the line; None when there was none in time.

        None as well when there will be none any more.
        """
        end: float | None = None
        while True:
            with self._lock:
                if self._closed is not None:
                    return None
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    _, number, job = heapq.heappop(self._later)
                    heapq.heappush(self._ready, (job.priority, number, job))
                if self._ready and self._line is None:
                    self._line = job = heapq.heappop(self._ready)[2]
                    return job
                end = now + patience_s if end is None else end
                if now >= end:
                    self._take_back()
                    return None
                until = min(end, self._later[0][0]) if self._later else end
                self._waits = True
            self._pause(until - now)

    def wait_for_line(self, purpose: object) -> None:
        """Take the line for good, as soon as it is free; for the worker, when it ends."""
        while not self.take_line(purpose):
            with self._lock:
                if self._line is not None:
                    self._waits = True
            self._pause(LAST_LOOK_S)
            with self._lock:
                self._take_back()

    def stops(self) -> list[Job]:
        """Return, in their order, the jobs that wait and can speak without an answer."""
        with self._lock:
            return [job for _, _, job in sorted(self._ready) if job.blind is not None]

    def take_stops(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Take out and return the waiting SAFE jobs that are `wanted`."""
        with self._lock:
            return self._take(lambda job: job.priority == SAFE and wanted(job))

    def refuse(self, error: TransportError, *, instead: bool = False) -> None:
        """Fail what waits, and what comes, but what makes safe.

        The first reason stays, unless this one comes `instead`.
        """
        with self._lock:
            if self._refusal is None or instead:
                self._refusal = error
            taken = self._take(lambda job: job.priority != SAFE)
        _fail(taken, error)

    def accept(self) -> None:
        """Take every job again."""
        with self._lock:
            self._refusal = None

    def close(self, error: TransportError) -> None:
        """Fail what waits and what comes."""
        with self._lock:
            self._closed = error
            taken = self._take(lambda job: True)
            self._open()
        _fail(taken, error)

    def _pause(self, seconds: float) -> None:
        """Wait until the queue is opened, but so long at most."""
        # Not a condition: that makes a lock for each wait, and is all Python.
        if not self._wake.acquire(timeout=seconds):
            with self._lock:
                if not self._waits:  # it was opened just now
                    self._wake.acquire()
                self._waits = False

    def _take_back(self) -> None:
        """Free a line that a person's Ctrl-C kept from being given back; with the lock held."""
        if isinstance(self._line, Answer) and self._line.done():
            self._line = None

    def _open(self) -> None:
        """Let the worker go on if it waits; with the lock held."""
        if self._waits:
            self._waits = False
            self._wake.release()

    def _take(self, wanted: Callable[[Job], bool]) -> list[Job]:
        taken = [job for _, _, job in (*self._ready, *self._later) if wanted(job)]
        if taken:
            self._ready = [entry for entry in self._ready if not wanted(entry[2])]
            self._later = [entry for entry in self._later if not wanted(entry[2])]
            heapq.heapify(self._ready)
            heapq.heapify(self._later)
        return taken


def again(error: TransportError) -> TransportError:
    """Return a fresh copy: one exception object must not be raised in several threads."""
    kind = IdentityError if isinstance(error, IdentityError) else TransportError
    return kind(*error.args)


def _fail(jobs: list[Job], error: TransportError) -> None:
    for job in jobs:
        job.future.set_exception(again(error))
