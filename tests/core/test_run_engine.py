"""A plan that somebody ends is ended, and has not failed of what the end cut short."""

import threading
from collections.abc import Iterator
from typing import Any

import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg
from bluesky.utils import FailedStatus, RunEngineInterrupted
from ophyd.status import Status

from stmtem_control.errors import InstrumentError, NoPlanError
from stmtem_control.link import DroppedError
from stmtem_control.run_engine import StationRunEngine


class Mover:
    """A device whose motion fails when it is stopped."""

    name, parent = "mover", None

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.status = Status(self)

    def set(self, _value: float) -> Status:
        """Begin to move, for ever."""
        return self.status

    def stop(self, *, success: bool = False) -> None:
        """Cut it short."""
        if not self.status.done:
            self.status.set_exception(self.error)


def moved(mover: Mover) -> Any:
    """Move, and clean up until what was cut short is told."""

    def clean_up() -> Any:
        told = mover.status.done
        yield Msg("stop", mover)
        for _ in range(0 if told else 500):
            yield Msg("sleep", None, 0.01)

    def body() -> Any:
        yield Msg("set", mover, 1.0, group="a")
        yield Msg("wait", None, group="a")

    return bpp.finalize_wrapper(body(), clean_up)


@pytest.fixture
def engine() -> Iterator[StationRunEngine]:
    made = StationRunEngine({}, resume_failed=lambda _: None, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join()
    made.loop.close()


def end(engine: StationRunEngine, how: str, helpers: list[threading.Thread]) -> None:
    """Have another thread end the plan while it waits."""

    def look(msg: Msg) -> None:
        if msg.command == "wait":
            helpers.append(threading.Thread(target=getattr(engine, how)))
            helpers[-1].start()

    engine.msg_hook = look


@pytest.mark.parametrize("how", ["stop", "abort"])
def test_what_the_end_cuts_short_is_no_failure(
    engine: StationRunEngine, helpers: list[threading.Thread], how: str
) -> None:
    end(engine, how, helpers)
    with pytest.raises(RunEngineInterrupted, match="mover: was dropped"):
        engine(moved(Mover(DroppedError("mover: was dropped"))))


def test_another_failure_is_one_though_somebody_ends_the_plan(
    engine: StationRunEngine, helpers: list[threading.Thread]
) -> None:
    end(engine, "stop", helpers)
    with pytest.raises(FailedStatus):
        engine(moved(Mover(InstrumentError("mover: it burns"))))


def test_what_a_plan_itself_cuts_short_is_its_failure(engine: StationRunEngine) -> None:
    mover = Mover(DroppedError("mover: was dropped"))
    mover.stop()
    with pytest.raises(FailedStatus):
        engine(moved(mover))


def a_plan(_bias: object) -> Any:
    """Do nothing."""
    yield Msg("null")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "RE\\(\\) was given no plan"),
        (("x",), "'x', which is no plan"),
        ((a_plan,), "a_plan was not called; write RE\\(a_plan\\(...\\)\\)"),
        ((5,), "5, which is no plan"),
        (({"a": 1},), "which is no plan"),
        (("long " * 100,), r" \.\.\., which is no plan"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(
    engine: StationRunEngine, given: tuple[Any, ...], words: str
) -> None:
    with pytest.raises(NoPlanError, match=words) as caught:
        engine(*given)
    assert isinstance(caught.value, TypeError)
    assert len(str(caught.value)) < 200
    assert engine.state == "idle"
    engine([Msg("null")])  # a list of messages is a plan
