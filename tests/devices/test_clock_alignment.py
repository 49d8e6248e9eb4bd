"""The alignment of the camera's clock, on a camera that is only a list of frames."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ophyd import Signal

from benchmarks.clapperboard_scenes import Scene, Taken, take
from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.devices import ClockAlignment
from stmtem_control.devices import clock_alignment as module
from stmtem_control.errors import RecordingError
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.timeline import Timeline

from .conftest import W

PATTERN_S = 2.0  # more than the pattern takes, with the frames around it


class ListedCamera:
    """A camera whose frames are a list."""

    def __init__(self) -> None:
        self.name = "camera"
        self.exposure_s = Signal(name="exposure", value=0.035)
        self.frame_rate_Hz = Signal(name="rate", value=25.0)
        self.running = False
        self.frames: list[FrameFacts] = []
        self.models: list[ClockModel | None] = []
        self.asked = threading.Event()

    def samples(self, most: int = 0) -> list[FrameFacts]:
        """Return the newest frames."""
        self.asked.set()
        return self.frames[-most:]

    def set_clock(self, model: ClockModel | None, time_source: str = "clapperboard") -> None:
        """Note what frames are dated by."""
        self.models.append(model)


class Stage:
    """A clock that stands still after a pattern, the pattern's edges, and its frames."""

    def __init__(self) -> None:
        self.clock = StationClock()
        self.timeline = Timeline()
        self.camera = ListedCamera()
        self.alignment = ClockAlignment(
            name="alignment",
            camera=self.camera,
            clock=self.clock,
            timeline=self.timeline,
            delay_uncertainty_s=1e-4,
        )

    def play(self, taken: Taken) -> None:
        """Let a pattern have happened: marks, edges and frames as they came."""
        at = min(taken.frames[0].start_s, taken.edges[0].t) - 0.01
        self.timeline.record("blanked", at - 5.0, True)
        self.timeline.record("blanked", at - 0.5, False)
        self.timeline.record("phase", at, "clapperboard")
        for edge in taken.edges:
            self.timeline.record("blanked", edge.t, edge.blanked, edge.uncertainty_s)
        zero = self.clock.mapping()["monotonic0"]
        # The recorder sees a frame 30 ms after its exposure has ended.
        self.camera.frames = [
            replace(f, host_monotonic_s=zero + f.start_s + f.exposure_s + 0.03)
            for f in taken.frames
        ]
        self.clock.now = lambda: at + PATTERN_S  # type: ignore[method-assign]

    def held(self, taken: Taken) -> bool:
        """Tell whether the model that the camera has been given is right."""
        model = self.camera.models[-1]
        assert model is not None
        t, sure = model.station_time(model.reference_s)
        return abs(t - model.reference_s - taken.truth(model.reference_s)) <= sure


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.alignment.stop()


def values(alignment: ClockAlignment) -> dict[str, Any]:
    return {name.split("_", 1)[1]: read["value"] for name, read in alignment.read().items()}


def test_it_finds_the_pattern_and_tells_the_camera(stage: Stage) -> None:
    taken = take(Scene(), 1, at_s=100.0)
    stage.play(taken)
    stage.alignment.trigger().wait(W)
    assert stage.held(taken)
    read = values(stage.alignment)
    model = stage.alignment.model
    assert model is not None
    assert read["offset_s"] == model.offset_s
    assert read["reference_s"] == model.reference_s
    assert 1e-4 < read["offset_uncertainty_s"] < 2e-3
    assert (read["drift"], read["drift_uncertainty"]) == (0.0, pytest.approx(2e-4))
    assert (read["edges"], read["patterns"], read["source"]) == (8, 1, "clapperboard")


def test_the_second_pattern_tells_the_drift(stage: Stage) -> None:
    for seed, at in ((1, 100.0), (2, 160.0)):
        taken = take(Scene(drift=0.0), seed, at_s=at, camera_s=1.79e9 + at)
        # The same camera clock in both.
        shift = taken.offset_s - (-1.79e9)
        stage.play(
            replace(
                taken,
                frames=[replace(f, camera_time_s=f.camera_time_s + shift) for f in taken.frames],
            )
        )
        stage.alignment.trigger().wait(W)
    read = values(stage.alignment)
    assert read["patterns"] == 2
    assert read["edges"] == 16
    assert abs(read["drift"]) <= read["drift_uncertainty"] < 4e-5
    assert abs(read["offset_s"] + 1.79e9) <= read["offset_uncertainty_s"]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda frames: [replace(f, mean_counts=1.0) for f in frames], "do not follow"),
        (lambda frames: frames[:12], "no frames came after the pattern"),
    ],
)
def test_a_pattern_that_is_not_found_changes_nothing(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[list[FrameFacts]], list[FrameFacts]],
    told: str,
) -> None:
    monkeypatch.setattr(module, "FRAMES_S", 0.0)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    stage.play(take(Scene(), 1, at_s=100.0))
    stage.camera.frames = spoil(stage.camera.frames)
    stage.alignment.trigger().wait(W)
    assert told in values(stage.alignment)["problem"]
    assert stage.camera.models == []
    assert values(stage.alignment)["source"] == "start"


def test_without_a_pattern_it_says_so(stage: Stage) -> None:
    stage.alignment.trigger().wait(W)
    assert "use the plan stub clapperboard" in values(stage.alignment)["problem"]


def test_other_errors_come_in_one_line(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.play(take(Scene(), 1, at_s=100.0))

    def broken(most: int = 0) -> list[FrameFacts]:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(stage.camera, "samples", broken)
    stage.alignment.trigger().wait(W)
    assert values(stage.alignment)["problem"] == "alignment: the fit failed: by zero"
    # The next one starts afresh.
    monkeypatch.undo()
    stage.alignment.trigger().wait(W)
    assert values(stage.alignment)["problem"] == ""


def test_a_stop_ends_the_waiting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", W)
    stage.play(take(Scene(), 1, at_s=100.0))
    stage.camera.frames = stage.camera.frames[:12]
    status = stage.alignment.trigger()
    assert stage.camera.asked.wait(W)
    stage.alignment.stop()
    status.wait(W)
    assert "no frames came" in values(stage.alignment)["problem"]


def test_a_new_run_begins_without_a_model(stage: Stage) -> None:
    stage.alignment.begin_run()
    assert stage.camera.models == []  # nothing to forget
    stage.play(take(Scene(), 1, at_s=100.0))
    stage.alignment.trigger().wait(W)
    stage.alignment.begin_run()
    assert stage.camera.models[-1] is None
    assert stage.alignment.model is None
    read = values(stage.alignment)
    assert (read["patterns"], read["edges"], read["source"]) == (0, 0, "start")


def test_a_run_is_dated_again_only_with_a_model(stage: Stage, tmp_path: Path) -> None:
    assert not stage.alignment.finish_run(tmp_path)
    assert list(tmp_path.iterdir()) == []
    stage.play(take(Scene(), 1, at_s=100.0))
    stage.alignment.trigger().wait(W)
    with pytest.raises(RecordingError, match=r"timeline\.jsonl is missing"):
        stage.alignment.finish_run(tmp_path)


def test_the_pattern_follows_camera_and_clock(stage: Stage) -> None:
    assert len(stage.alignment.pattern()) == 7
    assert min(stage.alignment.pattern()) == pytest.approx(1.618 * 0.04, rel=1e-3)
    stage.camera.exposure_s.put(0.005)
    assert len(stage.alignment.pattern()) == 15
    stage.clock.speed = 20.0
    assert min(stage.alignment.pattern()) > 20.0 * module.EDGE_S
