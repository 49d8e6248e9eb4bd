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
from .transport import BufferedTransport, Transport

log = logging.getLogger("stmtem_control.link")

T = TypeVar("T")
SAFE = 0  # priority of stop, abort and whatever makes the station safe
NORMAL = 1
LOOK = 2  # priority of what may wait, such as looking whether a motion has ended


class DroppedError(InterlockError):
    """A command that a stop overtook before it was sent, or cut short while it waited."""


class _Answer(Future[T]):
    """A Future whose waiting ends with the family's error: role, job and address in one line."""

    def __init__(self, what: Callable[[], tuple[str, str]]) -> None:
        super().__init__()
        self._what = what

    def result(self, timeout: float | None = None) -> T:
        """Return the result; waiting too long raises TransportTimeout."""
        try:
            return super().result(timeout)
        except TimeoutError:
            if self.done():  # it is the job that timed out, or it has just ended
                return super().result(0.0)
            what, where = self._what()
            raise TransportTimeout(f"{what} did not end within {timeout:g} s{where}") from None

    def set_exception(self, exception: BaseException | None) -> None:
        """End with an error; one of the wire, which knows addresses only, is given the role."""
        role = self._what()[0].partition(":")[0]
        if isinstance(exception, TransportError | ProtocolError) and role not in str(exception):
            exception = type(exception)(f"{role}: {exception}")
        super().set_exception(exception)


class _Job:
    def __init__(
        self,
        name: str,
        run: Callable[[Transport], Any],
        priority: int,
        topic: str,
        drops: Collection[str],
        blind: Callable[[Transport], None] | None,
        what: Callable[[], tuple[str, str]],
    ) -> None:
        self.name = name
        self.run = run
        self.priority = priority
        self.topic = topic
        self.drops = drops
        self.blind = blind
        self.said_to: Transport | None = None  # where the blind words have been written
        self.future: Future[Any] = _Answer(what)
        self.future.set_running_or_notify_cancel()  # nobody else ends it: no cancel() races


class Link:
    """A thread that owns the connection to one instrument.

    Parameters
    ----------
    open_transport : callable
        Opens the connection; called in the worker when the link is made and by :meth:`reopen`.
    name : str
        The instrument's name in the station file; it begins every error message.
    address : str
        For messages while no connection is open; an open one knows its own.

    Notes
    -----
    After a time-out or an answer that does not parse, the next answer may belong to the last
    question.  Before the next job the link then calls :attr:`resync`, which the driver sets: it
    must throw away what is late and make sure that the instrument is still the same.

    A link that broke stays broken for ordinary jobs until :meth:`open` or :meth:`reopen`: whoever
    goes on must know.  A SAFE job opens the connection again by itself, once, for the sample
    cannot wait.  On a connection that was opened again the link calls :attr:`identify`, which the
    driver sets: it logs in and makes sure who is there; without it :attr:`resync` is called.
    """

    def __init__(
        self, open_transport: Callable[[], Transport], *, name: str, address: str = ""
    ) -> None:
        self.name = name
        self.resync: Callable[[Transport], None] | None = None
        self.identify: Callable[[Transport], None] | None = None
        self._address = address
        self._open_transport = open_transport
        self._condition = threading.Condition()
        self._ready: list[tuple[int, int, _Job]] = []
        self._later: list[tuple[float, int, _Job]] = []
        self._numbers = count()
        self._closing = False
        self._broken: TransportError | None = None
        self._out_of_step = False
        self._transport: Transport | None = None
        self._unknown = False  # opened again, and who is there is not known
        self._current: _Job | None = None
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
        blind: Callable[[Transport], None] | None = None,
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
        blind : callable
            Of a SAFE job: writes what makes safe and reads nothing.  It is called before `run`,
            in the worker, when an answer could not be had at once: the link is out of step, or
            another job still waits for its answer after :data:`~.transport.SLICE_S`.  It need not
            be confirmed; `run` says it again.
        delay_s : float
            Wall seconds before the job is ready.

        Notes
        -----
        The Future fails with TransportError when the link is closed, or broken and cannot be
        opened again; waiting for it too long raises TransportTimeout.
        """
        what = name or "a command"
        job = _Job(what, run, priority, topic, drops, blind, lambda: self._what(what))
        dropped: list[_Job] = []
        failure: TransportError | None = None
        with self._condition:
            if self._closing:
                failure = TransportError(f"{self.name}: the link is closed")
            elif self._broken is not None and priority != SAFE:
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
        return self.submit(run, priority, name=name).result(timeout)

    @property
    def alive(self) -> bool:
        """Whether the connection is open and not known to be broken."""
        return self._broken is None and not self._closing

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called; nothing can be sent any more."""
        return self._closing

    def open(self, timeout: float = 5.0) -> None:
        """Wait until the connection is open; one that broke is opened again.

        Raises
        ------
        TransportError
            It cannot be opened.
        IdentityError
            Another instrument answers than before.
        """
        if self._broken is not None:
            self.reopen(timeout)
        else:
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

        def mend(_: Transport) -> None:
            with self._condition:
                self._broken = None

        # As a SAFE job it finds a connection on which the driver knows who is there.
        self.call(mend, SAFE, timeout, name="reopening")

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

    def _what(self, name: str) -> tuple[str, str]:
        where = self._transport.address if self._transport is not None else self._address
        return f"{self.name}: {name}", f"; no answer from {where}" if where else ""

    def _take_topics(self, topics: Collection[str]) -> list[_Job]:
        dropped = [job for _, _, job in (*self._ready, *self._later) if job.topic in topics]
        self._ready = [entry for entry in self._ready if entry[2].topic not in topics]
        self._later = [entry for entry in self._later if entry[2].topic not in topics]
        heapq.heapify(self._ready)
        heapq.heapify(self._later)
        return dropped

    def _take_all(self, *, but_safe: bool = False) -> list[_Job]:
        entries = (*self._ready, *self._later)
        jobs = [job for _, _, job in entries if not (but_safe and job.priority == SAFE)]
        self._ready = [entry for entry in self._ready if but_safe and entry[2].priority == SAFE]
        self._later = [entry for entry in self._later if but_safe and entry[2].priority == SAFE]
        heapq.heapify(self._ready)
        heapq.heapify(self._later)
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
            self._current = job
            try:
                result = self._attempt(job)
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

    def _attempt(self, job: _Job) -> Any:
        """Run a job; one that makes safe gets a second connection when the first proves dead."""
        fresh = self._transport is None or self._unknown
        try:
            return self._run(job)
        except (TransportTimeout, IdentityError):
            raise
        except TransportError as error:
            if fresh or job.priority != SAFE or self._closing:
                raise
            self._break(error)
        return self._run(job)

    def _run(self, job: _Job) -> Any:
        if self._unknown:
            self._hang_up()
        if self._transport is None:
            transport = self._connect()
            if self._broken is not None:
                self._find_out_who(transport, job)
        else:
            transport = self._transport
            if self._out_of_step:
                self._say(job, transport)
                self._get_back_in_step(transport)
        return job.run(transport)

    def _connect(self) -> Transport:
        transport = self._transport = self._open_transport()
        self._address = transport.address
        self._out_of_step = False
        if isinstance(transport, BufferedTransport):
            transport.on_wait = self._give_way
        return transport

    def _find_out_who(self, transport: Transport, job: _Job) -> None:
        """On a connection that was opened again: make sure that it leads where it did."""
        check = self.identify or self.resync
        self._unknown = True
        try:
            if check is not None:
                check(transport)
        except (TransportTimeout, ProtocolError):
            # It may be busy.  Nothing says that it is another one, and the sample cannot wait.
            # The connection stays open until the next try, so that the words arrive.
            self._say(job, transport)
            raise
        self._unknown = False
        log.info("%s: connected again", self.name)

    def _get_back_in_step(self, transport: Transport) -> None:
        try:
            while self._out_of_step:
                self._out_of_step = False  # a stop that is let through meanwhile sets it again
                if self.resync is None:
                    transport.drain(0.1)
                else:
                    self.resync(transport)
        except BaseException:
            self._out_of_step = True
            raise
        log.info("%s: in step again", self.name)

    def _say(self, job: _Job, transport: Transport) -> None:
        """Write the blind words of a job, once on each connection."""
        if job.blind is not None and job.said_to is not transport:
            job.said_to = transport
            log.info("%s: %s is sent without waiting for an answer", self.name, job.name)
            job.blind(transport)

    def _give_way(self) -> None:
        """Let stops out while the current job waits for its answer; called by the transport.

        Raises
        ------
        DroppedError
            The stop makes the current job pointless: it does not wait any longer.
        """
        transport, current = self._transport, self._current
        if transport is None or current is None or self._unknown:
            return
        with self._condition:
            stops = [job for _, _, job in self._ready if job.blind is not None]
        stops = [job for job in stops if job.said_to is not transport]
        for stop in stops:
            self._out_of_step = True  # the answer that is awaited may not come any more
            self._say(stop, transport)
        if any(current.topic in stop.drops for stop in stops):
            raise DroppedError(f"{self.name}: {current.name} was cut short, a stop came first")

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        self._unknown = False

    def _break(self, error: TransportError) -> None:
        log.warning("%s: %s", self.name, error)
        self._hang_up()
        with self._condition:
            if self._broken is None:
                self._broken = error
            # What makes safe stays in the queue: it will open the connection again.
            waiting = self._take_all(but_safe=True)
        _fail(waiting, error)


def _again(error: TransportError) -> TransportError:
    """Return a fresh copy: one exception object must not be raised in several threads."""
    kind = IdentityError if isinstance(error, IdentityError) else TransportError
    return kind(*error.args)


def _fail(jobs: list[_Job], error: TransportError) -> None:
    for job in jobs:
        job.future.set_exception(_again(error))
