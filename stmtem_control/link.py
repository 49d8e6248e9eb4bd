"""One worker thread for each instrument; what makes it safe comes first.

Replies carry no address: two threads on one connection get each other's answers.  So everything
that talks to an instrument is a job of its link's worker, and a stop overtakes what is waiting.
"""

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, TypeVar

from .errors import (
    IdentityError,
    InstrumentError,
    ProtocolError,
    StmTemError,
    TransportError,
    TransportTimeout,
)
from .job_queue import LOOK, NORMAL, SAFE, DroppedError, Job, JobQueue, again
from .transport import BufferedTransport, Transport, excerpt

__all__ = ["LOOK", "NORMAL", "SAFE", "DroppedError", "Link"]

log = logging.getLogger("stmtem_control.link")

T = TypeVar("T")
IDLE_S = 1.0  # how often the worker looks at a connection on which nothing is asked


class _SettingsLost(TransportError):  # noqa: N818 - told as a TransportError
    """The driver cannot put the instrument's settings right; another connection is no help."""


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
    """

    def __init__(
        self, open_transport: Callable[[], Transport], *, name: str, address: str = ""
    ) -> None:
        self.name = name
        self.resync: Callable[[Transport], None] | None = None
        self.identify: Callable[[Transport], None] | None = None
        self.restore: Callable[[Transport], None] | None = None
        self._address = address
        self._open_transport = open_transport
        self._queue = JobQueue()
        # What follows belongs to the worker.
        self._out_of_step = False
        self._transport: Transport | None = None
        self._unknown = False  # opened again, and who is there is not known
        self._unsettled = False  # the instrument may have lost its settings
        self._current: Job | None = None
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
            The job did not end within `timeout` wall seconds; it is not taken back.
        TransportError
            The link is broken or closed.
        """
        return self.submit(run, priority, name=name).result(timeout)

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
                self._unsettled = False

        self.call(look, NORMAL if restore else SAFE, timeout, name="opening")

    def reopen(self, timeout: float = 5.0, *, restore: bool = True) -> None:
        """Open a broken connection again; the driver checks who is there, and its settings.

        Parameters and errors as of :meth:`open`.
        """

        def mend(transport: Transport) -> None:
            if restore:
                self._settle(transport)
            self._unsettled = False
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
        transport = self._transport
        where = transport.address if transport is not None else self._address
        return f"{self.name}: {name}", f"; no answer from {where}" if where else ""

    # The rest runs in the worker.

    def _work(self) -> None:
        try:
            while not self._queue.closed:
                if (job := self._queue.next(IDLE_S)) is not None:
                    self._current = job
                    self._do(job)
                    self._current = job = None  # its result may be large
                elif not self._queue.closed:
                    self._glance()
        finally:
            self._hang_up()

    def _do(self, job: Job) -> None:
        try:
            result = self._attempt(job)
        except (TransportTimeout, ProtocolError) as error:
            self._out_of_step = True
            if isinstance(self._transport, BufferedTransport):
                self._transport.give_up_early()
            log.info("%s: %s", self.name, error)
            job.future.set_exception(error)
            if job.priority == SAFE and isinstance(error, TransportTimeout):
                self._end_alike(error)
        except TransportError as error:
            self._break(error)
            job.future.set_exception(again(error))
        except BaseException as error:
            if not isinstance(error, StmTemError):
                self._out_of_step = True  # who knows where in an exchange it happened
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _end_alike(self, error: TransportTimeout) -> None:
        """End the stops whose words went out too while this one waited in vain for an answer.

        Each would wait for as long as this one, to learn the same.
        """
        transport = self._transport
        if isinstance(transport, BufferedTransport) and transport.silences > 1:
            for stop in self._queue.take_stops(lambda other: other.said_to is transport):
                stop.future.set_exception(TransportTimeout(*error.args))

    def _attempt(self, job: Job) -> Any:
        """Run a job; one that makes safe gets a second try when the wire let it down."""
        fresh = self._transport is None or self._unknown
        try:
            return self._run(job)
        except (TransportTimeout, IdentityError, _SettingsLost):
            raise
        except ProtocolError as error:
            if job.priority != SAFE or self._queue.closed:
                raise
            log.info("%s: once more: %s", self.name, error)
            self._out_of_step = True
        except TransportError as error:
            if fresh or job.priority != SAFE or self._queue.closed:
                raise
            self._break(error)
        return self._run(job)

    def _run(self, job: Job) -> Any:
        if self._unknown:
            self._hang_up()
        if self._transport is None:
            transport = self._connect()
            if self._queue.refusal is not None:
                self._find_out_who(transport, job)
        else:
            transport = self._transport
            if not self._out_of_step:
                self._listen(transport)
            if self._out_of_step:
                self._say(job, transport)
                self._get_back_in_step(transport)
        if self._unsettled and job.priority != SAFE:
            self._settle(transport)
        return job.run(transport)

    def _connect(self) -> Transport:
        transport = self._transport = self._open_transport()
        self._address = transport.address
        self._out_of_step = False
        if isinstance(transport, BufferedTransport):
            transport.on_wait = self._give_way
        return transport

    def _find_out_who(self, transport: Transport, job: Job) -> None:
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
        self._unsettled = True
        log.info("%s: connected again", self.name)

    def _listen(self, transport: Transport) -> None:
        """Bytes that nobody asked for would be taken for the next answer."""
        if isinstance(transport, BufferedTransport) and (stray := transport.unasked()):
            log.warning("%s: %s came unasked", self.name, excerpt(stray))
            self._out_of_step = True

    def _glance(self) -> None:
        """With nothing to do: notice that the connection was lost, before somebody needs it."""
        if self._transport is not None and not self._unknown and not self._out_of_step:
            try:
                self._listen(self._transport)
            except TransportError as error:
                self._break(error)

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
        self._unsettled = True
        log.info("%s: in step again", self.name)

    def _settle(self, transport: Transport) -> None:
        """Let the driver see that the instrument is set as it was, or break the link."""
        if self.restore is not None:
            try:
                self.restore(transport)
            except InstrumentError as error:
                raise _SettingsLost(str(error)) from error
        self._unsettled = False

    def _say(self, job: Job, transport: Transport) -> None:
        """Write the blind words of a job, once on each connection."""
        if job.blind is not None and job.said_to is not transport:
            job.said_to = transport
            log.info("%s is sent without waiting for an answer", job.name)
            job.blind(transport)

    def _give_way(self) -> None:
        """Let stops out while the current job waits for its answer; called by the transport.

        Raises
        ------
        DroppedError
            The stop makes the current job pointless: it does not wait any longer.
        TransportError
            The link is being closed.
        """
        transport, current = self._transport, self._current
        if transport is None or current is None or self._unknown:
            return
        # A stop may be the one that waits: its first command was lost, the others are not sent.
        stops = [job for job in (current, *self._queue.stops()) if job.blind is not None]
        stops = [job for job in stops if job.said_to is not transport]
        for stop in stops:
            self._out_of_step = True  # the answer that is awaited may not come any more
            self._say(stop, transport)
        if any(current.topic in stop.drops for stop in stops):
            raise DroppedError(f"{current.name} was cut short, a stop came first")
        if self._queue.closed and current.priority != SAFE:
            raise TransportError(f"{self.name}: the link is closed")

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        self._unknown = False

    def _break(self, error: TransportError) -> None:
        log.warning("%s: %s", self.name, error)
        self._hang_up()
        # What makes safe stays in the queue: it will open the connection again.
        told = isinstance(error, IdentityError | _SettingsLost)  # it says more than the first did
        self._queue.refuse(error, instead=told)
