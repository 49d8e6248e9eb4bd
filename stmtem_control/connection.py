"""The connection to one instrument: whether its answers can be believed, and how it is mended.

One thread at a time works with it, the one that holds the line; see :mod:`.job_queue`.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from .errors import (
    IdentityError,
    InstrumentError,
    ProtocolError,
    StmTemError,
    TransportError,
    TransportTimeout,
)
from .job_queue import SAFE, DroppedError, Job, JobQueue, again
from .transport import BufferedTransport, Transport, excerpt

log = logging.getLogger("stmtem_control.link")


class Driver(Protocol):
    """What an instrument's driver does after a doubt; see :class:`.Link`."""

    resync: Callable[[Transport], None] | None
    identify: Callable[[Transport], None] | None
    restore: Callable[[Transport], None] | None


class _SettingsLost(TransportError):  # noqa: N818 - told as a TransportError
    """The driver cannot put the instrument's settings right; another connection is no help."""


class Connection:
    """Does jobs on a transport, which it opens, and opens again for a stop.

    Parameters
    ----------
    open_transport : callable
        Opens the transport.
    queue : JobQueue
        Of the jobs that wait: stops among them are let out beside an awaited answer.
    driver : Driver
        What is done after a doubt.
    name, address : str
        Of the instrument, for messages; an open transport knows its own address.
    """

    def __init__(
        self,
        open_transport: Callable[[], Transport],
        queue: JobQueue,
        driver: Driver,
        name: str,
        address: str,
    ) -> None:
        self.name = name
        self.unsettled = False  # the instrument may have lost its settings
        self._address = address
        self._open_transport = open_transport
        self._queue = queue
        self._driver = driver
        self._out_of_step = False
        self._transport: Transport | None = None
        self._unknown = False  # opened again, and who is there is not known
        self._current: Job | None = None

    @property
    def address(self) -> str:
        """Where the instrument is."""
        transport = self._transport
        return self._address if transport is None else transport.address

    @property
    def in_order(self) -> bool:
        """Whether it is open, in step, and leads where it should."""
        return not (self._transport is None or self._unknown or self._out_of_step or self.unsettled)

    def do(self, job: Job) -> None:
        """Run a job and end its Future, whatever happens.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            In the thread of a person who waits for the job and interrupts it.
        """
        self._current = job
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
        except Exception as error:
            if not isinstance(error, StmTemError):
                self._out_of_step = True  # who knows where in an exchange it happened
            job.future.set_exception(error)
        except BaseException:
            self._out_of_step = True
            job.future.set_exception(DroppedError(f"{job.name} was interrupted"))
            raise
        else:
            job.future.set_result(result)
        finally:
            # Of a thread that was slow to give the line back, the worker may have taken it.
            if self._current is job:
                self._current = None

    def glance(self) -> None:
        """With nothing to do: notice that the connection was lost, before somebody needs it."""
        if self._transport is not None and not self._unknown and not self._out_of_step:
            try:
                self._listen(self._transport)
            except TransportError as error:
                self._break(error)

    def settle(self, transport: Transport) -> None:
        """Let the driver see that the instrument is set as it was, or break the link."""
        if self._driver.restore is not None:
            try:
                self._driver.restore(transport)
            except InstrumentError as error:
                raise _SettingsLost(str(error)) from error
        self.unsettled = False

    def hang_up(self) -> None:
        """Close the transport."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        self._unknown = False

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
            self.hang_up()
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
        if self.unsettled and job.priority != SAFE:
            self.settle(transport)
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
        check = self._driver.identify or self._driver.resync
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
        self.unsettled = True
        log.info("%s: connected again", self.name)

    def _listen(self, transport: Transport) -> None:
        """Bytes that nobody asked for would be taken for the next answer."""
        if isinstance(transport, BufferedTransport) and (stray := transport.unasked()):
            log.warning("%s: %s came unasked", self.name, excerpt(stray))
            self._out_of_step = True

    def _get_back_in_step(self, transport: Transport) -> None:
        try:
            while self._out_of_step:
                self._out_of_step = False  # a stop that is let through meanwhile sets it again
                if self._driver.resync is None:
                    transport.drain(0.1)
                else:
                    self._driver.resync(transport)
        except BaseException:
            self._out_of_step = True
            raise
        self.unsettled = True
        log.info("%s: in step again", self.name)

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
        TransportTimeout
            Whoever runs the job by waiting for it does not wait any longer.
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
        if time.monotonic() > current.leave_at:
            raise current.too_long()

    def _break(self, error: TransportError) -> None:
        log.warning("%s: %s", self.name, error)
        self.hang_up()
        # What makes safe stays in the queue: it will open the connection again.
        told = isinstance(error, IdentityError | _SettingsLost)  # it says more than the first did
        self._queue.refuse(error, instead=told)
