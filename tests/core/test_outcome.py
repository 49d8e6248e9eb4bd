"""What a person reads of an error."""

from types import SimpleNamespace

import pytest
from bluesky.utils import FailedStatus
from ophyd.status import Status
from ophyd.utils.errors import StatusTimeoutError

from stmtem_control.errors import InstrumentError
from stmtem_control.job_queue import DroppedError
from stmtem_control.outcome import before_drop, one_line


def failed(error: Exception) -> FailedStatus:
    status = Status(SimpleNamespace(name="camera"))
    status.set_exception(error)
    with pytest.raises(type(error)):
        status.wait(5.0)
    return FailedStatus(status)


def test_a_status_that_failed_tells_what_failed_it() -> None:
    assert one_line(failed(InstrumentError("camera: refused"))) == "camera: refused"


def test_a_status_that_timed_out_names_its_device() -> None:
    status = Status(SimpleNamespace(name="camera"), timeout=0.01)
    with pytest.raises(StatusTimeoutError):
        status.wait(5.0)
    told = one_line(FailedStatus(status))
    assert told == "camera: did not finish in time; look at the instrument, then run again"


def test_a_status_that_failed_in_other_words_names_its_device() -> None:
    assert one_line(failed(ValueError("what\n is it"))) == "camera: ValueError: what is it"


def test_other_errors_are_told_in_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"


def test_what_was_dropped_is_not_the_cause() -> None:
    """A plan raised; the stop of its clean-up dropped a level, and that failed the clean-up."""
    cause, dropped = ValueError("of the plan"), DroppedError("5 V was dropped, a stop came first")
    told = FailedStatus(dropped)
    told.__cause__, told.__context__ = dropped, cause
    assert before_drop(told) is cause
    assert before_drop(dropped) is dropped
    assert before_drop(cause) is cause
