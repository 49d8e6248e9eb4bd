"""The clapperboard in a run on the bench: what it leaves in files, documents, and the beam."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import Station
from stmtem_control.devices.clock_alignment import ClockAlignment
from stmtem_control.errors import AlignmentError, LimitError
from stmtem_control.plans import clapperboard, deposit, strip
from stmtem_control.recording.aligned_clock import CLOCK, read_clock
from stmtem_control.recording.frame_files import read_rows
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

OFFSET_S, DRIFT = -42.5, 6e-5
SPEED = 5.0
# Its camera has a wrong clock and loses frames.
pytestmark = pytest.mark.bench(
    speed=SPEED,
    seed=2,
    camera_clock_offset=OFFSET_S,
    camera_clock_drift=DRIFT,
    camera_loss=0.03,
)


@pytest.fixture
def station(station: Station) -> Station:
    """Let a busy computer lose more of its frames: how many may be lost is tested elsewhere."""
    table = station.interlocks.model_copy(update={"lost_share": "off"})
    return station.model_copy(update={"interlocks": table})


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "frames.csv").read_text("utf-8").splitlines()))


def events(folder: Path, stream: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    streams = {doc["uid"]: doc["name"] for name, doc in lines if name == "descriptor"}
    return [
        doc["data"]
        for name, doc in lines
        if name == "event" and streams[doc["descriptor"]] == stream
    ]


def bench_time(session: Session, bench: Bench, station_s: float) -> float:
    """Return the bench's time at a station time; both count from the same monotonic clock."""
    origin: float = bench.clock._origin  # type: ignore[attr-defined]
    return station_s + (session.clock.mapping()["monotonic0"] - origin) * SPEED


def true_start(bench: Bench, camera_time_s: float) -> float:
    """Return the bench's time at which an exposure began that the camera has so stamped."""
    engine: Any = bench.camera._engine
    since = camera_time_s - engine._epoch_ns * 1e-9 - OFFSET_S
    return float(since / (1.0 + DRIFT))


def test_all_frames_of_a_run_are_dated_by_it(session: Session, bench: Bench) -> None:
    plan = deposit(session.bias, session.camera, session.beam, duration_s=1.0, clapperboard=True)
    outcome = session.run(plan)
    assert (outcome.status, outcome.reason) == ("success", "")
    assert outcome.folder is not None
    assert all(bench.safe().values())
    table = rows(outcome.folder)
    assert {row["time_source"] for row in table} == {"clapperboard"}
    start = session.timeline.run_start
    for row in table:
        station = float(row["run_time_s"]) + start
        error = bench_time(session, bench, station) - true_start(bench, float(row["camera_time_s"]))
        assert abs(error) <= float(row["time_uncertainty_s"]) < 0.01
    phases = Counter(row["phase"] for row in table)
    assert phases["clapperboard"] > 30
    assert phases["deposit"] > 15
    assert {row["bias_set_V"] for row in table if row["phase"] == "clapperboard"} == {"0.0"}
    # In the pages as in the table, and in clock.json what it rests on.
    in_pages = [row["run_time_s"] for row in read_rows(outcome.folder)]
    assert in_pages == [float(row["run_time_s"]) for row in table]
    assert read_clock(outcome.folder) == session.alignment.model
    patterns = json.loads((outcome.folder / CLOCK).read_text())["patterns"]
    assert [pattern["edges"] >= 6 for pattern in patterns] == [True, True]
    # The documents tell what was known when.
    first, last = events(outcome.folder, "alignment")
    assert (first["alignment_patterns"], last["alignment_patterns"]) == (1, 2)
    assert first["alignment_drift_uncertainty"] > last["alignment_drift_uncertainty"] > 0.0
    assert abs(last["alignment_drift"] + DRIFT) <= last["alignment_drift_uncertainty"]
    model = session.alignment.model
    assert model is not None
    assert last["alignment_offset_s"] == model.offset_s
    # The next run begins without it.
    outcome = session.run(strip(session.bias, session.camera, session.beam, duration_s=0.5))
    assert outcome.folder is not None
    assert not (outcome.folder / CLOCK).exists()
    assert {row["time_source"] for row in rows(outcome.folder)} <= {"start", "arrival"}


def test_beam_phase_and_bias_are_afterwards_as_before(session: Session, bench: Bench) -> None:
    seen: list[Any] = []

    def state() -> tuple[Any, ...]:
        return (
            bench.specimen.blanked,
            session.camera.phase.get(),
            session.camera.cycle.get(),
            bench.source.level,
        )

    def during() -> Any:
        from stmtem_control.plans.stubs import mark

        yield from mark(session.camera, "look", 3)
        for beam in ("open", "blanked"):
            yield from mv(session.beam, beam)
            seen.append(state())
            yield from clapperboard(session.bias, session.camera, session.beam, bias_pulses_V=0.05)
            seen.append(state())

    outcome = session.run(with_frames(session, during))
    assert outcome.status == "success", outcome.reason
    assert seen == [(False, "look", 3, 0.0)] * 2 + [(True, "look", 3, 0.0)] * 2
    levels = session.timeline.between("bias_set_V", session.timeline.run_start, float("inf"))
    assert {level for _, level in levels} == {0.0, 0.05}
    # Pulse and darkness begin and end together, within a command or two.
    assert sum(level == 0.05 for _, level in levels) == 8


def mv(device: Any, value: Any) -> Any:
    import bluesky.plan_stubs as bps

    yield from bps.mv(device, value)


def with_frames(session: Session, during: Any) -> Any:
    """Run a plan stub inside a run, with frames taken throughout."""
    import bluesky.preprocessors as bpp

    from stmtem_control.plans import safe
    from stmtem_control.plans.frames import declare_frames
    from stmtem_control.plans.frames import with_frames as taken

    bias, camera, beam = session.bias, session.camera, session.beam

    def with_them() -> Any:
        yield from declare_frames(camera)
        yield from taken(bias, camera, beam, during)

    body = bpp.run_wrapper(with_them())
    return safe(bpp.stage_wrapper(body, [bias, beam, camera]), bias, beam, camera)


def test_a_start_that_is_not_found_ends_the_run_before_anything_is_done(
    session: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, times=1)
    plan = deposit(session.bias, session.camera, session.beam, clapperboard=True)
    outcome = session.run(plan)
    assert outcome.status == "failed"
    assert outcome.reason == "clapperboard: as the test wants it"
    assert outcome.folder is not None
    assert {row["bias_set_V"] for row in rows(outcome.folder)} <= {"0.0", ""}
    assert not (outcome.folder / CLOCK).exists()
    assert all(bench.safe().values())


def test_an_end_that_is_not_found_costs_the_drift_only(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, times=1, after=1)
    plan = deposit(session.bias, session.camera, session.beam, duration_s=0.5, clapperboard=True)
    outcome = session.run(plan)
    assert outcome.status == "success", outcome.reason
    assert outcome.folder is not None
    assert "as the test wants it; frames are dated as before" in caplog.text
    events_ = events(outcome.folder, "alignment")
    assert [event["alignment_patterns"] for event in events_] == [1, 1]
    assert read_clock(outcome.folder).drift == 0.0
    assert {row["time_source"] for row in rows(outcome.folder)} == {"clapperboard"}


def refuse(monkeypatch: pytest.MonkeyPatch, *, times: int, after: int = 0) -> None:
    """Let the fit fail, from the call with number `after` on, `times` times."""
    fit, calls = ClockAlignment._fit, []

    def failing(self: ClockAlignment) -> None:
        calls.append(self)
        if after < len(calls) <= after + times:
            raise AlignmentError("clapperboard: as the test wants it")
        fit(self)

    monkeypatch.setattr(ClockAlignment, "_fit", failing)


def test_what_cannot_be_is_refused_before_anything_moves(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias, camera, beam = session.bias, session.camera, session.beam
    with pytest.raises(LimitError, match="outside"):
        list(clapperboard(bias, camera, beam, bias_pulses_V=500.0))
    with pytest.raises(LimitError, match="mind the order"):
        list(clapperboard(camera, bias, beam))
    monkeypatch.setattr(camera, "alignment", None)
    with pytest.raises(LimitError, match="has no alignment"):
        list(clapperboard(bias, camera, beam))
    outcome = session.run(deposit(bias, camera, beam, clapperboard=True))
    assert outcome.folder is None
    assert "has no alignment" in outcome.reason
