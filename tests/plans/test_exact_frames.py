"""A camera that is told how many frames to take: so many are on disk, or known to be lost."""

from collections import Counter
from typing import Any

import pytest
from bluesky.utils import RunEngineInterrupted

from stmtem_control.errors import LimitError
from stmtem_control.plans import deposit
from stmtem_control.plans.timetable import whole_frames
from stmtem_control.pytest_plugin import at_message
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

from .test_biasing_plans import all_safe, check_agreement, rows
from .test_interruptions import paused

TIMING: dict[str, Any] = {"frame_rate_Hz": 10.0, "exposure_s": 0.08}


def deposited(session: Session, **more: Any) -> Any:
    return deposit(session.bias, session.camera, session.beam, **{**TIMING, **more})


@pytest.mark.parametrize(
    ("seconds", "rate", "frames"),
    [(3.7, 25.0, 92), (1.5, 10.0, 15), (0.3, 10.0, 3), (0.01, 1.0, 1), (1e6, 25.0, 0)],
)
def test_as_many_frames_as_whole_periods(seconds: float, rate: float, frames: int) -> None:
    assert whole_frames(seconds, rate) == frames


def test_a_run_has_exactly_as_many_frames_as_planned(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 41.0)
    for duration in (1.0, 1.37):
        outcome = session.run(deposited(session, duration_s=duration))
        assert outcome.error is None
        assert outcome.frames + outcome.dropped == whole_frames(0.5 + duration, 10.0)
        assert check_agreement(outcome.folder) == outcome.frames  # type: ignore[arg-type]
    assert all_safe(bench)
    assert session.camera.frame_count.get() == 0  # the next acquisition is endless again


@pytest.mark.parametrize("numbers", [(3,), (14, 15), (15,)])
def test_lost_frames_count(session: Session, bench: Bench, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        bench.inject(f"camera_data:lost_frames@exchange={number}")
    outcome = session.run(deposited(session))
    assert outcome.error is None
    assert (outcome.frames, outcome.dropped) == (15 - len(numbers), len(numbers))


def test_a_pause_takes_no_frame_and_adds_none(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 41.0)
    with pytest.raises(RunEngineInterrupted):
        session.RE(paused(session, deposited(session, duration_s=6.0)))
    assert session.RE.state == "paused"
    session.RE.resume()
    folder = session.run_folder.folder
    assert folder is not None
    assert len(rows(folder)) + session.camera.dropped.get() == whole_frames(6.5, 10.0)
    assert max(int(row["sequence"]) for row in rows(folder)) < 65  # the camera began to count anew


def test_an_end_in_the_middle_waits_for_no_frames(session: Session, bench: Bench) -> None:
    def trip() -> None:
        session.trip("enough")

    plan = at_message(deposited(session, duration_s=200.0), "trigger", 4, trip)
    outcome: Outcome = session.run(plan)
    assert outcome.reason == "enough"
    assert 0 < outcome.frames + outcome.dropped < 100
    assert all_safe(bench)


def test_counts_that_make_no_sense_are_refused(session: Session) -> None:
    for count in (-1, 1.5, True, 100_001):
        with pytest.raises(LimitError, match="frame_count"):
            session.camera.prepare({"frame_count": count})


def test_frames_belong_to_what_was_planned(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 41.0)
    outcome = session.run(deposited(session, pre_roll_s=1.0, duration_s=2.0))
    assert outcome.folder is not None
    phases = Counter(row["phase"] for row in rows(outcome.folder))
    assert set(phases) == {"pre-roll", "deposit"}  # no frame after the last edge
    assert sum(phases.values()) == 30
