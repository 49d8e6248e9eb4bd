"""Signals that only remember: no exchange with an instrument in get, read or describe.

A device puts what it has learned; a person or a plan sets; the exchange in between is a job of the
instrument's link, and its end is a Status.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from ophyd import Component, Kind, Signal
from ophyd.status import Status
from ophyd.utils.errors import WaitTimeoutError

from stmtem_control.device_limits import check_range as check_range
from stmtem_control.errors import TransportTimeout
from stmtem_control.link import DroppedError
from stmtem_control.units import quantity

T = TypeVar("T")

DTYPES = {float: "number", int: "integer", bool: "boolean", str: "string"}
NUMPY = {float: "<f8", int: "<i8", bool: "|b1"}


class Reading(Signal):
    """A value that an instrument gave, or that follows from what was set.

    Parameters
    ----------
    unit : str
        As it stands in the documents, for example ``"V"``.
    about : str
        What the value means, in one sentence.
    scheme : str
        Where it comes from; with the name it makes the ``source`` of the documents.
    value : float, int, bool or str
        The first value; its type is the signal's type.
    """

    writable = False

    def __init__(
        self,
        *,
        name: str,
        value: Any = 0.0,
        unit: str = "",
        about: str = "",
        scheme: str = "stmtem",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, value=value, **kwargs)
        self.unit = unit
        self.about = about
        self.low: float | None = None
        self.high: float | None = None
        self._scheme = scheme
        self._type = type(value)
        self._metadata.update(write_access=self.writable)
        # What a person gets for "bias.current?": this signal, not the class.
        self.__doc__ = self._explained()

    def __repr__(self) -> str:
        """Return name and value in one line; nothing is asked of the instrument."""
        return f"<{type(self).__name__} {self.name}: {quantity(self.get(), self.unit)}>"

    __str__ = __repr__

    def _explained(self) -> str:
        kind = "can be set" if self.writable else "is read only"
        return (
            f"{self.about}\n\n"
            f"Unit: {self.unit or 'none'} ({self._type.__name__}); {kind}.\n"
            f"`{self.dotted}.get()` returns the value last known, and asks nothing of the "
            "instrument."
        )

    @property
    def dotted(self) -> str:
        """The name as it is typed at the prompt, for example ``bias.current``."""
        root = self.root
        return self.name if root is self else f"{root.name}.{self.dotted_name}"

    def publish(self, value: Any, timestamp: float | None = None) -> None:
        """Take a new value and tell the subscribers; for the device that owns the signal.

        `timestamp` is a Unix time in s, by default now.
        """
        super().put(self._type(value), timestamp=timestamp, force=True)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key: source, type, unit, and limits where there are some."""
        key: dict[str, Any] = {
            "source": f"{self._scheme}:{self.dotted_name or self.name}",
            "dtype": DTYPES[self._type],
            "shape": [],
        }
        if self._type in NUMPY:
            key["dtype_numpy"] = NUMPY[self._type]
        if self.unit:
            key["units"] = self.unit
        if self.low is not None and self.high is not None:
            key["lower_ctrl_limit"] = self.low
            key["upper_ctrl_limit"] = self.high
        return {self.name: key}


class Setting(Reading):
    """A value that can be set; what that takes is up to the device that owns the signal.

    The owner puts two functions in place: ``check`` raises LimitError, ``apply`` does the work and
    returns a Status.  Without ``apply`` the value is taken at once.
    """

    writable = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check: Callable[[Any], None] | None = None
        self.apply: Callable[[Any], Status] | None = None

    @property
    def limits(self) -> tuple[Any, Any]:
        """Lowest and highest value; (0, 0) when there are none, as ophyd has it."""
        return (0.0, 0.0) if self.low is None or self.high is None else (self.low, self.high)

    def check_value(self, value: Any, **_: Any) -> None:
        """Raise LimitError when `value` may not be set."""
        if self.check is not None:
            self.check(value)
        elif self.low is not None and self.high is not None:
            check_range(self.name, value, self.low, self.high, self.unit)

    def set(self, value: Any, **_: Any) -> Status:
        """Set the value; the Status ends when the instrument has it.

        Raises
        ------
        LimitError
            The value may not be set; nothing was sent.
        """
        self.check_value(value)
        if self.apply is not None:
            return self.apply(value)
        self.publish(value)
        return done(self)

    def put(self, value: Any, *, timeout: Any = 5.0, **_: Any) -> None:
        """Set the value and wait until the instrument has it, at most `timeout` wall seconds."""
        self.set(value).wait(timeout)


class StoppableSetting(Setting):
    """A setting that takes time and can be stopped on the way."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.halt: Callable[[bool], None] | None = None

    def stop(self, *, success: bool = False) -> None:
        """Stop on the way; `success` tells whether the Status then ends well."""
        if self.halt is not None:
            self.halt(success)


def reading(about: str, unit: str = "", *, value: Any = 0.0, kind: str = "normal") -> Any:
    """Return a component for a value that is only read."""
    return Component(Reading, about=about, doc=about, unit=unit, value=value, kind=Kind[kind])


def setting(
    about: str,
    unit: str = "",
    *,
    value: Any = 0.0,
    kind: str = "normal",
    cls: type[Setting] = Setting,
) -> Any:
    """Return a component for a value that can be set."""
    return Component(cls, about=about, doc=about, unit=unit, value=value, kind=Kind[kind])


def done(obj: Any) -> Status:
    """Return a Status that has already ended well."""
    status = Status(obj)
    status.set_finished()
    return status


def follow(
    future: "Future[T]",
    obj: Any,
    *,
    timeout: float,
    publish: Callable[[T], None] | None = None,
    forgive: Callable[[], bool] | None = None,
    forgiven: Callable[[], None] | None = None,
) -> Status:
    """Return a Status that ends with `future`.

    Parameters
    ----------
    future : Future
        Of a job on a link.
    obj : object
        Named in the Status.
    timeout : float
        Wall seconds until the Status fails by itself.
    publish : callable
        Called with the result before the Status ends; what it raises fails the Status.
    forgive : callable
        Asked when the job was dropped by a stop: if true the Status ends well, as Bluesky's
        stop(success=True) means it.
    forgiven : callable
        Called before the Status of a dropped job ends well, to say that there is no result.
    """
    status = Status(obj, timeout=timeout)

    def finish(ended: "Future[T]") -> None:
        error = ended.exception()
        try:
            if error is None:
                if publish is not None:
                    publish(ended.result())
            elif isinstance(error, DroppedError) and forgive is not None and forgive():
                error = None
                if forgiven is not None:
                    forgiven()
        except Exception as problem:
            error = problem
        if error is None:
            status.set_finished()
        else:
            status.set_exception(error)

    future.add_done_callback(finish)
    return status


def finish_within(status: Status, seconds: float, what: str) -> None:
    """Wait for a Status; raise what failed it, or TransportTimeout in one line when it lasts."""
    try:
        status.wait(seconds)
    except WaitTimeoutError:
        raise TransportTimeout(f"{what} was not confirmed within {seconds:g} s") from None


def problem_of(future: "Future[Any]", seconds: float) -> str | None:
    """Wait for a job that makes something safe; return what went wrong, or None. Never raises."""
    try:
        future.result(seconds)
    except Exception as error:
        return str(error) or f"{type(error).__name__} within {seconds:g} s"
    return None
