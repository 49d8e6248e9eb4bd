"""Whatever ends or interrupts a run: all is safe, and what is on disk agrees with itself."""

import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import tifffile
from bluesky import Msg
from bluesky.preprocessors import msg_mutator, plan_mutator
from bluesky.utils import RunEngineInterrupted

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError, TransportTimeout
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.plans.stubs import watch
from stmtem_control.run_folder import count_rows
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


class BoomError(RuntimeError):
    """An error that no one expects."""


def cycles(session: Session, deposit_s: float = 3.0) -> Any:
    return deposition_stripping_cycles(
        session.bias,
        session.camera,
        session.beam,
        cycles=1,
        frame_rate_Hz=10.0,
        exposure_s=0.08,
        deposit_s=deposit_s,
        strip_s=2.0,
    )


def at_reading(session: Session, number: int, action: Callable[[], None]) -> None:
    """Do something, once, when the n-th reading has been noted."""
    seen = []

    def look(name: str, _doc: dict[str, Any]) -> None:
        if name == "event":
            seen.append(name)
            if len(seen) == number:
                action()

    session.RE.subscribe(look)


def paused(session: Session, plan: Any, after_s: float = 0.0) -> Any:
    """Pause a plan `after_s` after the deposition began, or later on a busy computer, but in it."""
    done: list[Msg] = []

    def pause(msg: Msg) -> Any:
        times, levels, _ = session.timeline.entries("bias_set_V")
        if done or levels[-1:] != [-5.0] or session.clock.now() - times[-1] <= after_s:
            return None, None
        done.append(msg)

        def first() -> Any:
            yield Msg("pause", None, defer=False)
            return (yield msg)

        return first(), None

    return plan_mutator(plan, pause)


def check(session: Session, bench: Bench, status: str) -> int:
    """Check that all is safe, and that pages, rows and indices agree; return how many there are."""
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    session.wait_until_complete()
    folder = session.run_folder.folder
    assert folder is not None
    pages = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            pages += len(file.pages)
    declared, stop = declared_frames(folder)
    assert pages == count_rows(folder / "frames.csv") > 0
    assert pages == declared
    assert stop["exit_status"] == status
    # The camera is idle: nobody goes on to fill the disk.
    assert not bench.camera.busy
    return pages


def declared_frames(folder: Path) -> tuple[int, dict[str, Any]]:
    declared = 0
    stop: dict[str, Any] = {}
    for line in (folder / "documents.jsonl").read_text().splitlines():
        name, doc = json.loads(line)
        if name == "stream_datum":
            assert doc["indices"]["start"] == declared
            declared = doc["indices"]["stop"]
        elif name == "stop":
            stop = doc
    return declared, stop


@pytest.fixture
def contact(session: Session, bench: Bench) -> Session:
    """Provide a session with the probe in contact already."""
    bench.specimen.step(2, 41.0)
    return session


def test_an_exception_in_the_plan(contact: Session, bench: Bench) -> None:
    seen = []

    def fail(msg: Msg) -> Msg:
        if msg.command == "save":
            seen.append(msg)
            if len(seen) == 8:
                raise BoomError("from the plan")
        return msg

    outcome = contact.run(msg_mutator(cycles(contact), fail))
    assert isinstance(outcome.error, BoomError)
    assert outcome.exit_code == 1
    assert outcome.reason == "BoomError: from the plan"
    check(contact, bench, "fail")


def test_an_exception_in_a_subscriber(contact: Session, bench: Bench) -> None:
    def fail() -> None:
        raise BoomError("from a subscriber")

    at_reading(contact, 6, fail)
    outcome = contact.run(cycles(contact))
    assert isinstance(outcome.error, BoomError)
    check(contact, bench, "fail")


def test_files_that_cannot_be_closed_are_in_the_outcome(contact: Session, bench: Bench) -> None:
    def fail(name: str, _doc: dict[str, Any]) -> None:
        if name == "stop":
            contact.camera._recording.fail(RecordingError("frames_0000.tif cannot be closed"))

    contact.RE.subscribe(fail)
    outcome = contact.run(cycles(contact))
    assert outcome.exit_code == 1
    assert outcome.status == "failed"
    assert outcome.reason == "after the run was closed: frames_0000.tif cannot be closed"
    check(contact, bench, "success")


@pytest.mark.parametrize(("end", "status"), [("abort", "abort"), ("stop", "success")])
def test_ended_from_a_pause(contact: Session, bench: Bench, end: str, status: str) -> None:
    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact)))
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    getattr(contact.RE, end)()
    check(contact, bench, status)


def test_halted_without_any_clean_up_by_the_plan(contact: Session, bench: Bench) -> None:
    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact)))
    contact.RE.halt()
    check(contact, bench, "abort")


def test_pause_and_resume(contact: Session, bench: Bench) -> None:
    """How exactly the time is kept is tested by hand below; here a busy computer may be late.

    The pause comes between two messages of the deposition: however late these are, never after it.
    """
    line = contact.timeline
    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact, deposit_s=6.0), 3.0))
    # In the pause nothing is done to the sample.
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    assert line.last("bias_set_V") == 0.0
    charge = bench.specimen.charge()
    before = bench.clock.now()
    while bench.clock.now() < before + 6.0:
        bench.clock.wait_until(before + 6.0)
    assert bench.specimen.charge() == charge
    contact.RE.resume()
    check(contact, bench, "success")
    # The deposition went on after the pause, for the time that was left: it did not begin anew,
    # which would be 3 s longer at least, nor was the pause taken for a part of it.
    held = [
        stop - start
        for (start, volts), (stop, _) in pairwise(line.between("bias_set_V", -1.0, 1e9))
        if volts == -5.0
    ]
    assert len(held) == 2
    assert held[0] > 3.0
    assert 3.0 < sum(held) < 6.0 + held[0]


class HandPlanClock(StationClock):
    """Station time that a plan's sleeps move."""

    def __init__(self) -> None:
        super().__init__()
        self.t = 100.0

    def now(self) -> float:
        """Return what the sleeps have made of it."""
        return self.t


@pytest.mark.parametrize("pauses", [(), (3,), (0, 1, 7), (50,), (3, 50, 119)])
def test_time_is_kept_to_the_second_whatever_the_pauses(pauses: tuple[int, ...]) -> None:
    clock = HandPlanClock()
    bias = SimpleNamespace(
        clock=clock, paused_s=0.0, output=SimpleNamespace(get=lambda: False), name="bias"
    )
    plan: Any = watch(cast("Any", bias), cast("Any", SimpleNamespace(name="camera")), 6.0)
    sleeps = 0
    for msg in plan:
        if msg.command == "sleep":
            clock.t += msg.args[0]
            if sleeps in pauses:
                clock.t += 17.0
                bias.paused_s += 17.0
            sleeps += 1
    assert sleeps >= 120  # a reading every 0.05 s
    assert clock.t - 100.0 == pytest.approx(6.0 + 17.0 * len(pauses), abs=1e-6)


# Where a hard pause falls, as the n-th message of a kind.
PLACES = [
    ("stage", 1),
    ("open_run", 1),
    ("set probe_z_fine", 2),
    ("trigger", 3),
    ("declare_stream", 1),
    ("kickoff", 1),
    ("set beam", 1),
    ("set bias", 3),
    ("sleep", 4),
    ("save", 4),
    ("collect", 2),
    ("complete", 1),
    ("stop", 1),
]
IN_APPROACH = ("set probe_z_fine", "trigger")  # the others need none before them


@pytest.mark.parametrize(("kind", "number"), PLACES)
def test_a_pause_anywhere_can_be_resumed(
    session: Session, bench: Bench, helpers: list[threading.Thread], kind: str, number: int
) -> None:
    """Paused at whichever message, and resumed: the run is complete, and all is safe."""
    seen = 0

    def watch(msg: Msg) -> None:
        nonlocal seen
        name = f"set {msg.obj.name}" if msg.command == "set" else msg.command
        if name == kind:
            seen += 1
            if seen == number:
                thread = threading.Thread(target=session.RE.request_pause, args=(False,))
                helpers.append(thread)
                thread.start()

    session.RE.msg_hook = watch
    approach = kind in IN_APPROACH
    if not approach:
        bench.specimen.step(2, 41.0)
    plan = deposition_stripping_cycles(
        session.bias,
        session.camera,
        session.beam,
        probe=session.probe,
        approach=approach,
        cycles=1,
        frame_rate_Hz=10.0,
        exposure_s=0.08,
    )
    try:
        session.RE(plan)
    except RunEngineInterrupted:
        if session.RE.state == "paused":
            assert not bench.source.output_on
            session.RE.resume()
    assert seen >= number
    check(session, bench, "success")
    assert bench.specimen.gap_nm > 50.0


def test_readings_go_on_after_a_pause(
    contact: Session, bench: Bench, helpers: list[threading.Thread]
) -> None:
    def pause() -> None:
        thread = threading.Thread(target=contact.RE.request_pause, args=(True,))
        helpers.append(thread)
        thread.start()

    at_reading(contact, 2, pause)
    with pytest.raises(RunEngineInterrupted):
        # The RunEngine takes half a second to pause: 2.5 s of the bench's time, or more.
        contact.RE(cycles(contact, deposit_s=12.0))
    before = bench.clock.now()
    bench.clock.wait_until(before + 5.0)
    resumed = contact.clock.now()
    contact.RE.resume()
    assert len(contact.timeline.between("current_A", resumed, 1e9)) >= 2
    check(contact, bench, "success")


@pytest.mark.parametrize("stuck", ["bias", "beam", "camera"])
def test_a_device_that_cannot_go_on_ends_the_plan(
    contact: Session,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    stuck: str,
) -> None:
    """Bluesky would leave it paused, with what had gone on before it: the bias, or the beam."""

    def refuse() -> None:
        raise TransportTimeout(f"{stuck}: no answer")

    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact)))
    monkeypatch.setattr(getattr(contact, stuck), "resume", refuse)
    with pytest.raises(TransportTimeout, match=f"^{stuck}: no answer$"):
        contact.RE.resume()
    assert contact.RE.state == "idle"
    check(contact, bench, "abort")
    folder = contact.run_folder.folder
    assert folder is not None
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["status"] == "aborted"
    assert outcome["reason"] == f"no way on after the pause: {stuck}: no answer"


def test_a_device_that_cannot_go_on_while_another_thread_ends_the_plan(
    contact: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interlock trips while devices go on: who resumed is told when the run is closed."""

    def refuse() -> None:
        contact.trip("it was enough")
        deadline = time.monotonic() + 5.0
        while contact.RE.state != "aborting" and time.monotonic() < deadline:
            threading.Event().wait(1e-3)
        raise TransportTimeout("bias: no answer")

    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact)))
    monkeypatch.setattr(contact.bias, "resume", refuse)
    with pytest.raises(TransportTimeout, match=r"^bias: no answer$"):
        contact.RE.resume()
    assert contact.RE.state == "idle"
    check(contact, bench, "abort")
    folder = contact.run_folder.folder
    assert folder is not None
    assert json.loads((folder / "outcome.json").read_text())["reason"] == "it was enough"


def test_a_second_run_after_an_abort(contact: Session, bench: Bench) -> None:
    with pytest.raises(RunEngineInterrupted):
        contact.RE(paused(contact, cycles(contact)))
    contact.RE.abort()
    outcome = contact.run(cycles(contact))
    assert outcome.exit_code == 0, outcome.reason
    check(contact, bench, "success")


def test_the_safe_state_needs_no_run_engine(contact: Session, bench: Bench) -> None:
    contact.bias.set(-5.0).wait(5.0)
    contact.beam.set("open").wait(5.0)
    assert bench.source.output_on
    assert not bench.specimen.blanked
    assert [part.ok for part in contact.safe_state().parts] == [True] * 4
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    assert [part.ok for part in contact.safe_state().parts] == [True] * 4


def test_closing_the_session_makes_it_safe(
    open_session: Callable[[], Session], bench: Bench
) -> None:
    session = open_session()
    session.bias.set(2.0).wait(5.0)
    session.beam.set("open").wait(5.0)
    session.close()
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    session.close()
