"""The stop document of a run says why it ended, in the line that the person is told."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg
from bluesky.utils import RunEngineInterrupted

from stmtem_control.errors import LimitError
from stmtem_control.pytest_plugin import at_message
from stmtem_control.run_folder import summarise
from stmtem_control.session import Session
from stmtem_control.watch_documents import Lines

W = 5.0


class Seen:
    """What a subscriber of the session's RunEngine is told of the ends of runs."""

    def __init__(self, session: Session) -> None:
        self.stops: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.folders: list[Path] = []
        lines = Lines(self.lines.append)

        def take(name: str, doc: dict[str, Any]) -> None:
            lines(name, doc)
            if name == "start" and session.run_folder.folder is not None:
                self.folders.append(session.run_folder.folder)
            if name == "stop":
                self.stops.append(doc)

        session.RE.subscribe(take)


@pytest.fixture
def seen(session: Session) -> Seen:
    return Seen(session)


def scan(session: Session) -> Any:
    return bp.list_scan([session.bias], session.bias, [1.0, 2.0, 3.0])


def raising(error: Exception, wrap: Callable[[Any], Any] = lambda plan: plan) -> Any:
    """Raise an error in a run, within the plan itself."""

    def body() -> Any:
        yield Msg("null")
        raise error

    return wrap(bpp.run_wrapper(body()))


def left_open(error: Exception) -> Any:
    """Raise an error and leave it to the RunEngine to close the run."""
    yield from bps.open_run()
    raise error


def trip(session: Session) -> None:
    session.interlocks.trip_now("short", "a finger on the holder")
    assert session.interlocks.wait(W)


def call(action: Callable[[], Any]) -> Callable[[], None]:
    """Have another thread do something, as a person or a program elsewhere does."""
    return lambda: threading.Thread(target=action, daemon=True).start()


def copied(plan: Any) -> Any:
    """Hand a plan's messages on through another generator, as many preprocessors do."""
    return bpp.plan_mutator(plan, lambda _msg: (None, None))


Ends = dict[str, tuple[Callable[[Session], Any], str, str]]
ENDS: Ends = {
    "its end": (scan, "success", ""),
    "a trip": (
        lambda s: at_message(scan(s), "save", 2, lambda: trip(s)),
        "fail",
        "interlock short: a finger on the holder",
    ),
    "somebody's reason": (
        lambda s: at_message(scan(s), "save", 2, lambda: s.trip("the cat is out")),
        "abort",
        "the cat is out",
    ),
    "RE.abort": (
        lambda s: at_message(scan(s), "save", 2, call(lambda: s.RE.abort("I changed\nmy mind"))),
        "abort",
        "I changed my mind",
    ),
    "RE.stop": (
        lambda s: at_message(scan(s), "save", 2, call(s.RE.stop)),
        "abort",
        "the RunEngine was told to end",
    ),
    "RE.halt": (
        lambda s: at_message(scan(s), "save", 2, call(s.RE.halt)),
        "abort",
        "the RunEngine was told to end",
    ),
    "a pause": (
        lambda s: bpp.run_wrapper(bps.pause()),
        "abort",
        "paused by the plan",
    ),
    "an error of ours": (lambda _: raising(LimitError("too far")), "fail", "too far"),
    "an error without words": (lambda _: raising(ValueError()), "fail", "ValueError"),
    "another error": (lambda _: raising(KeyError("depth")), "fail", "KeyError: 'depth'"),
    "an error through a preprocessor": (
        lambda _: raising(KeyError("depth"), copied),
        "fail",
        "KeyError: 'depth'",
    ),
    "an error in a run left open": (lambda _: left_open(KeyError("x")), "fail", "KeyError: 'x'"),
    "sys.exit": (
        lambda _: left_open(SystemExit(3)),  # type: ignore[arg-type]
        "fail",
        "the plan called sys.exit() (SystemExit: 3)",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_stop_document_outcome_and_screens_tell_the_same(
    session: Session, seen: Seen, end: str
) -> None:
    plan, exit_status, reason = ENDS[end]
    outcome = session.run(plan(session))
    (stop,) = seen.stops
    assert stop["exit_status"] == exit_status
    assert reason in stop["reason"]
    assert stop["reason"].splitlines()[1:] == []
    assert "Status(" not in stop["reason"]
    assert bool(stop["reason"]) == (exit_status != "success")
    # The person, the folder, and who watches from elsewhere.
    assert outcome.reason == stop["reason"]
    assert outcome.folder is not None
    kept = summarise(outcome.folder)
    assert kept.reason == stop["reason"] == kept.outcome["reason"] == kept.stop["reason"]
    assert kept.status == exit_status
    assert kept.outcome["status"] == outcome.status
    assert (
        outcome.status == {"success": "success", "fail": "failed", "abort": "aborted"}[exit_status]
    )
    assert seen.lines[-1].endswith(f"{exit_status}: {reason}" if reason else "success")


def test_a_stop_at_the_prompt_is_a_success_with_a_reason(session: Session, seen: Seen) -> None:
    with pytest.raises(RunEngineInterrupted):
        session.RE(at_message(scan(session), "save", 2, call(session.RE.stop)))
    (stop,) = seen.stops
    assert (stop["exit_status"], stop["reason"]) == ("success", "RE.stop(), by a person")
    kept = summarise(seen.folders[0])
    assert (kept.state, kept.reason) == ("done", stop["reason"])


def test_every_run_of_a_plan_has_its_own_end(session: Session, seen: Seen) -> None:
    def plan() -> Any:
        try:
            yield from raising(LimitError("too far"))
        except LimitError:
            yield from scan(session)
        yield from bps.open_run()
        yield from bps.close_run("fail", "in the plan's\nown words")
        yield from scan(session)

    outcome = session.run(plan())
    ends = [(stop["exit_status"], stop["reason"]) for stop in seen.stops]
    own = ("fail", "in the plan's own words")
    assert ends == [("fail", "too far"), ("success", ""), own, ("success", "")]
    kept = [summarise(folder) for folder in seen.folders]
    assert [run.state for run in kept] == ["failed", "done", "failed", "done"]
    assert [(run.status, run.outcome["reason"]) for run in kept] == ends
    assert "another run" in kept[0].outcome["safe"]
    assert outcome.status == "success"
    assert outcome.folder == seen.folders[-1]


def test_what_fails_after_a_run_was_closed_is_told_beside_its_stop(
    session: Session, seen: Seen
) -> None:
    def plan() -> Any:
        yield from scan(session)
        raise LimitError("too far")

    outcome = session.run(plan())
    assert outcome.status == "failed"
    assert outcome.reason == "after the run was closed: too far"
    assert seen.stops[0]["exit_status"] == "success"


def test_a_run_that_failed_keeps_its_reason_whatever_comes_later(
    session: Session, seen: Seen
) -> None:
    def plan() -> Any:
        try:
            yield from raising(LimitError("too far"))
        finally:
            raise ValueError("and this")

    outcome = session.run(plan())
    assert seen.stops[0]["reason"] == "too far"
    assert outcome.reason == "too far; then ValueError: and this"
    assert json.loads((seen.folders[0] / "outcome.json").read_text())["status"] == "failed"
