"""One pattern gives the offset, two the drift, and the uncertainty says how far that reaches."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.clapperboard_scenes import Scene, Taken, take
from stmtem_control.errors import AlignmentError, RecordingError
from stmtem_control.recording.aligned_clock import (
    CLOCK,
    align_clock,
    drift_uncertainty,
    read_clock,
    write_clock,
)
from stmtem_control.recording.clapperboard import PatternFit, fit_pattern

FIT = PatternFit(1.79e9, -1.79e9, 4e-4, 8, 40, 0.3, 0.0, 0.003, 0.0)


def later(seconds: float, moved_s: float) -> PatternFit:
    return replace(FIT, reference_s=FIT.reference_s + seconds, offset_s=FIT.offset_s + moved_s)


def test_one_pattern_tells_no_drift() -> None:
    model = align_clock([FIT])
    assert model.drift == 0.0
    assert model.uncertainty_s(FIT.reference_s) == pytest.approx(FIT.half_width_s)
    assert drift_uncertainty(model) == pytest.approx(2e-4)
    # A minute away two quartz clocks may be 12 ms apart.
    assert model.uncertainty_s(FIT.reference_s + 60.0) == pytest.approx(0.012, rel=0.01)


def test_two_patterns_tell_the_drift() -> None:
    model = align_clock([FIT, later(100.0, 5e-3)])
    assert model.drift == pytest.approx(5e-5, rel=0.01)
    assert drift_uncertainty(model) == pytest.approx(4e-4 * 2**0.5 / 100.0, rel=0.02)
    t, sure = model.station_time(FIT.reference_s + 50.0)
    assert t - 50.0 == pytest.approx(2.5e-3, abs=2e-6)
    # What both have in common does not average out.
    assert sure == pytest.approx(FIT.half_width_s, rel=1e-6)


def test_more_than_two_make_a_line_through_all() -> None:
    model = align_clock([FIT, later(50.0, 2.6e-3), later(100.0, 5e-3)])
    assert model.drift == pytest.approx(5e-5, rel=0.01)
    assert drift_uncertainty(model) < 4e-4 * 2**0.5 / 100.0 * 1.02


def test_the_delay_of_the_blanker_is_common_to_all() -> None:
    sharp, wide = (
        align_clock([FIT, later(100.0, 5e-3)], delay_uncertainty_s=u) for u in (0.0, 3e-3)
    )
    at = sharp.reference_s
    assert wide.uncertainty_s(at) == pytest.approx((3e-3**2 + 4e-4**2) ** 0.5, rel=1e-3)
    assert drift_uncertainty(wide) == drift_uncertainty(sharp)


def test_stamps_that_scatter_date_no_better() -> None:
    rough = align_clock([replace(FIT, stamp_jitter_s=1e-3)])
    assert rough.uncertainty_s(FIT.reference_s) > 1.96e-3


def test_a_clock_that_was_set_is_no_drift() -> None:
    with pytest.raises(AlignmentError, match="was set meanwhile"):
        align_clock([FIT, later(10.0, 0.5)])
    with pytest.raises(AlignmentError, match="was set meanwhile"):
        align_clock([FIT, later(50.0, 4e-3), later(100.0, 0.0)])
    with pytest.raises(AlignmentError, match="no pattern"):
        align_clock([])


def station(taken: Taken, camera_time_s: float) -> float:
    return camera_time_s + taken.truth(camera_time_s)


@pytest.mark.parametrize("drift", [-8e-5, 3e-5])
def test_start_and_end_of_a_run_with_a_drifting_clock(drift: float) -> None:
    start = take(Scene(drift=drift, lost=0.05), 1)
    end = take(Scene(drift=drift, lost=0.05), 2, at_s=80.0)
    # The same camera clock: it goes on from the first pattern.
    stamp = (1.0 - drift) * 80.0 + start.camera_zero_s
    shift = stamp - end.camera_zero_s
    frames = [replace(f, camera_time_s=f.camera_time_s + shift) for f in end.frames]
    fits = [
        fit_pattern(start.frames, start.edges, expected_offset_s=start.expected_offset_s),
        fit_pattern(frames, end.edges, expected_offset_s=end.expected_offset_s - shift),
    ]
    model = align_clock(fits)
    assert abs(model.drift - drift) <= drift_uncertainty(model) < 3e-5
    for seconds in (0.0, 20.0, 40.0, 80.0):
        camera_time = start.camera_zero_s + seconds
        t, sure = model.station_time(camera_time)
        assert abs(t - station(start, camera_time)) <= sure < 2e-3


def test_the_file_in_the_run_folder(tmp_path: Path) -> None:
    model = align_clock([FIT, later(100.0, 5e-3)])
    path = write_clock(tmp_path, model, [FIT])
    assert path == tmp_path / CLOCK
    assert read_clock(tmp_path) == model
    assert '"half_width_s": 0.0004' in path.read_text("utf-8")
    path.write_text('{"model": {"drift": 0}}', "utf-8")
    with pytest.raises(RecordingError, match="holds no clock model"):
        read_clock(tmp_path)
    with pytest.raises(RecordingError, match="run the clapperboard"):
        read_clock(tmp_path / "other")
    with pytest.raises(RecordingError, match="cannot be written"):
        write_clock(tmp_path / "other", model, [FIT])
