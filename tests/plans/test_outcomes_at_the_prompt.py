"""Plans that a person runs at the prompt, with ``RE(plan)``: why they ended is kept and told."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from stmtem_control.errors import InterlockError, LimitError, TransportError
from stmtem_control.prompt import namespace, teller
from stmtem_control.pytest_plugin import at_message
from stmtem_control.run_folder import summarise
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

W = 5.0


@pytest.fixture
def scan(session: Session) -> Any:
    return bp.list_scan([session.bias], session.bias, [1.0, 2.0, 3.0])


@pytest.fixture
def link_that_breaks(session: Session, bench: Bench) -> Iterator[Any]:
    def break_it() -> None:
        bench.inject("bias_source:close")

    yield break_it
    bench.clear_faults()


def told(session: Session, error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    teller(session)(None, type(error), error, None)
    return capsys.readouterr().err


def test_a_plan_that_is_done(session: Session, scan: Any) -> None:
    session.RE(scan)
    folder = session.run_folder.folder
    assert folder is not None
    outcome = json.loads((folder / "outcome.json").read_text())
    assert (outcome["status"], outcome["reason"]) == ("success", "")
    assert outcome["safe"].startswith("bias 0 V, output off")


def test_a_trip_is_the_reason_in_the_run_and_on_the_screen(
    session: Session, scan: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def trip() -> None:
        session.interlocks.trip_now("short", "a finger on the holder")
        assert session.interlocks.wait(W)

    with pytest.raises((FailedStatus, RunEngineInterrupted, InterlockError)) as caught:
        session.RE(at_message(scan, "save", 2, trip))
    folder = session.run_folder.folder
    assert folder is not None
    assert "a finger on the holder" in summarise(folder).reason
    assert "a finger on the holder" in told(session, caught.value, capsys)
    # A later error is told in its own words.
    assert "something else" in told(session, LimitError("something else"), capsys)


def test_what_failed_is_told_in_words_and_not_as_a_status(
    session: Session, scan: Any, link_that_breaks: Any
) -> None:
    with pytest.raises((FailedStatus, RunEngineInterrupted, InterlockError, TransportError)):
        session.RE(at_message(scan, "save", 2, link_that_breaks))
    folder = session.run_folder.folder
    assert folder is not None
    summary = summarise(folder)
    assert summary.state in ("failed", "aborted")  # the device tells it first, or the interlock
    assert "bias_source" in summary.reason
    assert "Status(" not in summary.reason


def test_a_person_s_reason(session: Session, scan: Any) -> None:
    thread = threading.Thread(target=session.RE.request_pause, args=(False,))
    with pytest.raises(RunEngineInterrupted):
        session.RE(at_message(scan, "save", 2, thread.start))
    thread.join(W)
    session.RE.abort("I changed my mind")
    folder = session.run_folder.folder
    assert folder is not None
    summary = summarise(folder)
    assert (summary.state, summary.reason) == ("aborted", "I changed my mind")


def test_a_link_that_broke_is_opened_again_for_the_next_plan(
    session: Session, link_that_breaks: Any
) -> None:
    link = session.bias.source.link
    link_that_breaks()
    gone = threading.Event()
    for _ in range(500):
        if not link.alive:
            break
        gone.wait(0.01)
    assert not link.alive
    session.interlocks.clear()
    session.RE(bps.mv(session.bias, 1.0))
    assert link.alive


def test_the_plans_of_the_how_to_pages_are_at_hand(session: Session) -> None:
    names = namespace(session)
    for name in ("beam_blocked_control", "beam_irradiation_control", "dose_calibration"):
        assert callable(names[name])
    assert names["interlocks"] is session.interlocks
