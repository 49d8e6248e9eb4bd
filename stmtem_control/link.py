"""One worker thread for each instrument; what makes it safe comes first.

Replies carry no address: two threads on one connection get each other's answers.  So everything
that talks to an instrument is a job of its link's worker, and a stop overtakes what is waiting.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from itertools import count
from typing import Any, TypeVar

from .errors import IdentityError, InterlockError, ProtocolError, TransportError, TransportTimeout
from .transport import Transport

log = logging.getLogger("stmtem_control.link")

T = TypeVar("T")
SAFE = 0  # priority of stop, abort and whatever makes the station safe
NORMAL = 1
LOOK = 2  # priority of what may wait, such as looking whether a motion has ended


class DroppedError(InterlockError):
    """A command that a stop overtook before it was sent."""


class _Job:
    def __init__(
        self, name: str, run: Callable[[Transport], Any], priority: int, topic: str
    ) -> None:
        self.name = name
        self.run = run
        self.priority = priority
        self.topic = topic
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # nobody else ends it: no cancel() races


class Link:
    """A thread that owns the connection to one instrument.

    Parameters
    ----------
    open_transport : callable
        Opens the connection; called in the worker when the link is made and by :meth:`reopen`.
    name : str
        The instrument's name in the station file; it begins every error message.

    Notes
    -----
    After a time-out or an answer that does not parse, the next answer may belong to the last
    question.  Before the next job the link then calls :attr:`resync`, which the driver sets: it
    must throw away what is late and make sure that the instrument is still the same.
    """

    def __init__(self, open_transport: Callable[[], Transport], *, name: str) -> None:
        self.name = name
        self.resync: Callable[[Transport], None] | None = None
        self._open_transport = open_transport
        self._condition = threading.Condition()
        self._ready: list[tuple[int, int, _Job]] = []
        self._later: list[tuple[float, int, _Job]] = []
        self._numbers = count()
        self._closing = False
        self._broken: TransportError | None = None
        self._out_of_step = False
        self._transport: Transport | None = None
        self._thread = threading.Thread(target=self._work, name=f"link {name}", daemon=True)
        self._thread.start()

    def submit(
        self,
        run: Callable[[Transport], T],
        priority: int = NORMAL,
        *,
        name: str = "",
        topic: str = "",
        drops: Collection[str] = (),
        delay_s: float = 0.0,
    ) -> "Future[T]":
        """Queue a job and return its Future at once.

        Parameters
        ----------
        run : callable
            Called with the transport, in the worker.  It keeps its own deadlines.
        priority : int
            0 for stop, abort and safe state; these overtake all that waits.
        name : str
            What the job is, for the message when it is dropped.
        topic : str
            A job with a topic can be dropped: it fails with :class:`DroppedError` when a job that
            ``drops`` the same topic is queued before it has begun.
        drops : collection of str
            The topics that this job, a stop, makes pointless.
        delay_s : float
            Wall seconds before the job is ready.

        Notes
        -----
        The Future fails with TransportError when the link is broken or closed.
        """
        job = _Job(name or "a command", run, priority, topic)
        dropped: list[_Job] = []
        failure: TransportError | None = None
        with self._condition:
            if self._closing:
                failure = TransportError(f"{self.name}: the link is closed")
            elif self._broken is not None:
                failure = self._broken
            else:
                if drops:
                    dropped = self._take_topics(drops)
                number = next(self._numbers)
                if delay_s > 0.0:
                    heapq.heappush(self._later, (time.monotonic() + delay_s, number, job))
                else:
                    heapq.heappush(self._ready, (priority, number, job))
                self._condition.notify()
        for old in dropped:
            old.future.set_exception(
                DroppedError(f"{self.name}: {old.name} was dropped, a stop came first")
            )
        if failure is not None:
            job.future.set_exception(_again(failure))
        return job.future

    def call(
        self,
        run: Callable[[Transport], T],
        priority: int = NORMAL,
        timeout: float | None = None,
        *,
        name: str = "",
    ) -> T:
        """Run a job and return its result.

        Raises
        ------
        TransportTimeout
            The job did not end within `timeout` wall seconds; it is not taken back.
        TransportError
            The link is broken or closed.
        """
        future = self.submit(run, priority, name=name)
        try:
            return future.result(timeout)
        except TimeoutError as error:
            if future.done():
                raise
            raise TransportTimeout(
                f"{self.name}: {name or 'a command'} did not end within {timeout} s"
            ) from error

    @property
    def alive(self) -> bool:
        """Whether the connection is open and not known to be broken."""
        return self._broken is None and not self._closing

    def open(self, timeout: float = 5.0) -> None:
        """Wait until the connection is open.

        Raises
        ------
        TransportError
            It cannot be opened.
        """
        self.call(lambda transport: None, timeout=timeout, name="opening")

    def reopen(self, timeout: float = 5.0) -> None:
        """Open a broken connection again, and let the driver check who is there.

        Raises
        ------
        TransportError
            It cannot be opened.
        IdentityError
            Another instrument answers.
        """
        with self._condition:
            if self._closing:
                raise TransportError(f"{self.name}: the link is closed")
            self._broken = None

        def check(transport: Transport) -> None:
            if self.resync is not None:
                self.resync(transport)

        self.call(check, SAFE, timeout, name="reopening")

    def close(self, timeout: float = 2.0) -> None:
        """End the thread and close the connection; what waits fails.  Safe to call again."""
        with self._condition:
            self._closing = True
            waiting = self._take_all()
            self._condition.notify()
        _fail(waiting, TransportError(f"{self.name}: the link is closed"))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
            if self._thread.is_alive():
                log.warning("%s: the link's thread did not end within %g s", self.name, timeout)

    def __enter__(self) -> "Link":
        """Return the link."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the link."""
        self.close()

    def _take_topics(self, topics: Collection[str]) -> list[_Job]:
        dropped = [job for _, _, job in (*self._ready, *self._later) if job.topic in topics]
        self._ready = [entry for entry in self._ready if entry[2].topic not in topics]
        self._later = [entry for entry in self._later if entry[2].topic not in topics]
        heapq.heapify(self._ready)
        heapq.heapify(self._later)
        return dropped

    def _take_all(self) -> list[_Job]:
        jobs = [job for _, _, job in (*self._ready, *self._later)]
        self._ready.clear()
        self._later.clear()
        return jobs

    def _next(self) -> _Job | None:
        with self._condition:
            while not self._closing:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    _, number, job = heapq.heappop(self._later)
                    heapq.heappush(self._ready, (job.priority, number, job))
                if self._ready:
                    return heapq.heappop(self._ready)[2]
                self._condition.wait(self._later[0][0] - now if self._later else None)
            return None

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                transport = self._transport or self._connect()
                if self._out_of_step:
                    self._get_back_in_step(transport)
                result = job.run(transport)
            except (TransportTimeout, ProtocolError) as error:
                self._out_of_step = True
                log.info("%s: %s", self.name, error)
                job.future.set_exception(error)
            except TransportError as error:
                self._break(error)
                job.future.set_exception(error)
            except BaseException as error:
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
        if self._transport is not None:
            self._transport.close()

    def _connect(self) -> Transport:
        self._transport = self._open_transport()
        self._out_of_step = False
        return self._transport

    def _get_back_in_step(self, transport: Transport) -> None:
        if self.resync is None:
            transport.drain(0.1)
        else:
            self.resync(transport)
        self._out_of_step = False
        log.info("%s: in step again", self.name)

    def _break(self, error: TransportError) -> None:
        log.warning("%s: %s", self.name, error)
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        with self._condition:
            self._broken = error
            waiting = self._take_all()
        _fail(waiting, error)


def _again(error: TransportError) -> TransportError:
    """Return a fresh copy: one exception object must not be raised in several threads."""
    kind = IdentityError if isinstance(error, IdentityError) else TransportError
    return kind(*error.args)


def _fail(jobs: list[_Job], error: TransportError) -> None:
    for job in jobs:
        job.future.set_exception(_again(error))
