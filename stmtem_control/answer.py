"""What becomes of a job: a Future that costs little and tells, in one line, who did not answer."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from .errors import ProtocolError, TransportError, TransportTimeout

log = logging.getLogger("stmtem_control.link")

T = TypeVar("T")


class Answer(Future[T]):
    """A Future whose waiting ends with the family's error: role, job and address in one line.

    It is running from the start and cannot be cancelled: who drops its job ends it.  Nothing of
    the library's own Future is used but its interface; that one makes a condition of five objects
    for each job, and takes its lock four times, a fifth of what a query costs.
    So the library's ``wait`` and ``as_completed``, which look inside, do not take it; callbacks do.

    Parameters
    ----------
    what : callable
        Returns, for the job's name, the text for a message and where that was.
    name : str
        Of the job.

    Attributes
    ----------
    on_wait : callable, optional
        Called with its patience, in wall seconds or None, by a thread that is about to wait while
        nobody follows with a callback; it may do the job.
    """

    def __init__(self, what: Callable[[str], tuple[str, str]], name: str) -> None:
        self._what = what
        self._name = name
        self._lock = threading.Lock()
        self._gate = threading.Lock()  # shut until the end; who passes leaves it open
        self._gate.acquire()
        self._ended = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._then: list[Callable[[Future[T]], object]] = []
        self.on_wait: Callable[[float | None], object] | None = None

    def cancel(self) -> bool:
        """Return False: it runs."""
        return False

    def cancelled(self) -> bool:
        """Return False."""
        return False

    def running(self) -> bool:
        """Return whether it has not ended."""
        return not self._ended

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._ended

    def result(self, timeout: float | None = None) -> T:
        """Return the result; waiting too long (wall seconds) raises TransportTimeout."""
        self._wait(timeout)
        if self._error is not None:
            try:
                raise self._error
            finally:
                self = None  # type: ignore[assignment]
        return self._value  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error, or None; waiting too long raises TransportTimeout."""
        self._wait(timeout)
        return self._error

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have `fn` called with this when it has ended; at once if it has."""
        with self._lock:
            if not self._ended:
                self._then.append(fn)
                return
        self._call(fn)

    def set_running_or_notify_cancel(self) -> bool:
        """Return True: it runs."""
        return True

    def set_result(self, result: T) -> None:
        """End well."""
        self._end(result, None)

    def set_exception(self, exception: BaseException | None) -> None:
        """End with an error; one of the wire, which knows addresses only, is given the role."""
        role = self._what(self._name)[0].partition(":")[0]
        if isinstance(exception, TransportError | ProtocolError) and role not in str(exception):
            exception = type(exception)(f"{role}: {exception}")
        self._end(None, exception)

    def __repr__(self) -> str:
        """Return what it is the answer to, and whether it is there."""
        state = "running" if not self._ended else "failed" if self._error else "done"
        return f"<answer to {self._what(self._name)[0]}: {state}>"

    def too_long(self, timeout: float) -> TransportTimeout:
        """Return the error of who waited for `timeout` wall seconds in vain."""
        what, where = self._what(self._name)
        return TransportTimeout(f"{what} did not end within {timeout:g} s{where}")

    def _wait(self, timeout: float | None) -> None:
        # Callbacks may need what the waiting thread holds: they are the worker's.
        if not self._ended and self.on_wait is not None and not self._then:
            self.on_wait(timeout)
        if self._ended:
            return
        if self._gate.acquire(timeout=-1.0 if timeout is None else max(0.0, timeout)):
            self._gate.release()
        elif not self._ended:
            raise self.too_long(timeout or 0.0)

    def _end(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                raise InvalidStateError(f"{self!r} has ended already")
            self._value, self._error, self._ended = value, error, True
            self.on_wait = None
        self._gate.release()
        for fn in self._then:
            self._call(fn)

    def _call(self, fn: Callable[[Future[T]], object]) -> None:
        try:
            fn(self)
        except Exception:  # as the library does
            log.exception("what follows %r failed", self)
