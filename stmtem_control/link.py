"""One thing at a time for each instrument; what makes it safe comes first.

Replies carry no address: two threads on one connection get each other's answers.  So everything
that talks to an instrument is a job of its link, done by the link's worker thread, or by a thread
that waits for it while the line is free; and a stop overtakes what is waiting.
"""

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from typing import TypeVar, cast

from .connection import Connection
from .errors import TransportError
from .job_queue import LOOK, NORMAL, SAFE, DroppedError, Job, JobQueue
from .transport import Transport

__all__ = ["LOOK", "NORMAL", "SAFE", "DroppedError", "Link"]

log = logging.getLogger("stmtem_control.link")

T = TypeVar("T")
IDLE_S = 1.0  # how often the worker looks at a connection on which nothing is asked
PATIENT_S = 1.0  # who waits less does not do a job itself: it could not leave it in time


class Link:
    """The connection to one instrument, a queue of jobs for it, and a thread that does them.

    Parameters
    ----------
    open_transport : callable
        Opens the connection; called in the worker, before the first job and by :meth:`reopen`.
    name : str
        The instrument's name in the station file; it begins every error message.
    address : str
        For messages while no connection is open; an open one knows its own.

    Attributes
    ----------
    resync, identify, restore : callable, optional
        What the driver does in the worker, with the transport, after a doubt; see the notes.

    Notes
    -----
    After a time-out, an answer that does not parse, or bytes that nobody asked for, the next
    answer may belong to another question.  Before the next job the link then calls ``resync``:
    it must throw away what is late and make sure that the instrument is still the same.

    A link that broke stays broken for ordinary jobs until :meth:`open` or :meth:`reopen`: whoever
    goes on must know.  A SAFE job opens the connection again by itself, once, for the sample
    cannot wait.  On a connection that was opened again the link calls ``identify``: it logs in and
    makes sure who is there; without it ``resync`` is called.

    The instrument may have been switched off meanwhile, also behind a serial port or a gateway
    that stays open.  So after a lost answer and on a new connection, before the next job that is
    not SAFE, the link calls ``restore``: it reads back what was set, and puts it right, or raises
    InstrumentError; the link is then broken for that reason.  Whoever sets up everything anew
    opens the link with ``restore=False``.

    To hand a job to another thread and its result back wakes two threads, which on an idle machine
    takes as long as the exchange.  So a thread that waits for its job does it itself, where it is
    the next one and the connection is in order.  What makes safe, what opens or mends a
    connection, and what somebody follows with a callback, is always done by the worker, which
    goes on when whoever asked has gone.
    """

    def __init__(
        self, open_transport: Callable[[], Transport], *, name: str, address: str = ""
    ) -> None:
        self.name = name
        self.resync: Callable[[Transport], None] | None = None
        self.identify: Callable[[Transport], None] | None = None
        self.restore: Callable[[Transport], None] | None = None
        self._queue = JobQueue()
        self._connection = Connection(open_transport, self._queue, self, name, address)
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
            Called with the transport, in the worker or in a thread that waits for the Future.
            It keeps its own deadlines.
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
            Of a SAFE job: writes what makes safe and reads nothing.  It is called in the worker
            when an answer could not be had at once: the link is out of step, or another job, or
            this one, still waits for an answer after :data:`~.transport.SLICE_S`.  It need not be
            confirmed; `run` says it again.
        delay_s : float
            Wall seconds before the job is ready.

        Notes
        -----
        The Future fails with TransportError when the link is closed, or broken and cannot be
        opened again; waiting for it too long raises TransportTimeout.
        """
        job = Job(name or "a command", run, priority, topic, drops, blind, self._what)
        if priority != SAFE and delay_s <= 0.0:
            job.future.on_wait = partial(self._do_while_waiting, job, self._queue.claim)
        self._queue.put(job, delay_s)
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
            The job did not end within `timeout` wall seconds.  One that waits is not taken back;
            one that this thread does is given up, 0.2 s later at most, while it waits for an
            answer.
        TransportError
            The link is broken or closed.
        """
        if priority == SAFE:
            return self.submit(run, priority, name=name).result(timeout)
        job = Job(name or "a command", run, priority, "", (), None, self._what)
        self._do_while_waiting(job, self._queue.put_and_claim, timeout)
        if not job.future.done():
            self._queue.put(job)
        return cast("T", job.future.result(timeout))

    @property
    def alive(self) -> bool:
        """Whether the connection is open and not known to be broken."""
        return self._queue.refusal is None and not self._queue.closed

    @property
    def problem(self) -> str | None:
        """Why the link is broken, in one line; None while it is not."""
        refusal = self._queue.refusal
        return None if refusal is None else str(refusal)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called; nothing can be sent any more."""
        return self._queue.closed

    def open(self, timeout: float = 5.0, *, restore: bool = True) -> None:
        """Wait until the connection is open; one that broke is opened again.

        Parameters
        ----------
        timeout : float
            Wall seconds that it may take.
        restore : bool
            False for who sets up the whole instrument next: what it was set to before is not
            looked at.

        Raises
        ------
        TransportError
            It cannot be opened, or the instrument lost its settings.
        IdentityError
            Another instrument answers than before.
        """
        if self._queue.refusal is not None:
            self.reopen(timeout, restore=restore)
            return

        def look(_: Transport) -> None:
            if not restore:
                self._connection.unsettled = False

        self.call(look, NORMAL if restore else SAFE, timeout, name="opening")

    def reopen(self, timeout: float = 5.0, *, restore: bool = True) -> None:
        """Open a broken connection again; the driver checks who is there, and its settings.

        Parameters and errors as of :meth:`open`.
        """

        def mend(transport: Transport) -> None:
            if restore:
                self._connection.settle(transport)
            self._connection.unsettled = False
            self._queue.accept()

        # As a SAFE job it finds a connection on which the driver knows who is there.
        self.call(mend, SAFE, timeout, name="reopening")

    def close(self, timeout: float = 2.0) -> None:
        """End the thread and close the connection; what waits fails.  Safe to call again.

        A job that waits for its answer gives up, but one that makes safe.
        """
        self._queue.close(TransportError(f"{self.name}: the link is closed"))
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
        where = self._connection.address
        return f"{self.name}: {name}", f"; no answer from {where}" if where else ""

    def _do_while_waiting(
        self, job: Job, claim: Callable[[Job], bool], patience_s: float | None
    ) -> None:
        """Do a job in the thread that waits for it, if nothing speaks against it."""
        if not self._connection.in_order or (patience_s is not None and patience_s < PATIENT_S):
            return
        # A person's Ctrl-C may come between any two lines.
        try:
            if claim(job):
                job.leave_after(patience_s)
                self._connection.do(job)
        finally:
            if self._queue.leave(job.future) and not job.future.done():
                job.future.set_exception(DroppedError(f"{job.name} was interrupted"))

    # The rest runs in the worker.

    def _work(self) -> None:
        try:
            while not self._queue.closed:
                if (job := self._queue.next(IDLE_S)) is not None:
                    self._do(job)
                    job = None  # its result may be large
                elif not self._queue.closed and self._queue.take_line(self):
                    try:
                        self._connection.glance()
                    finally:
                        self._queue.leave(self)
        finally:
            self._queue.wait_for_line(self)
            self._connection.hang_up()

    def _do(self, job: Job) -> None:
        try:
            self._connection.do(job)
        except BaseException:  # who waits has been told; others wait too
            log.exception("%s", job.name)
        finally:
            self._queue.leave(job)
