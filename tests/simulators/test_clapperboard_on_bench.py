"""The clapperboard on the simulated source, specimen and camera, with the bench's own truth.

All 200 seeds: ``python -m benchmarks clapperboard``.
"""

import pytest

from benchmarks.clapperboard_bench import EPOCH_NS, Judged, run_seed
from stmtem_control.recording.aligned_clock import drift_uncertainty
from stmtem_control.simulators.camera import MerlinCamera
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.merlin_run import Stamps
from stmtem_control.simulators.specimen import Specimen

PERIOD_S = 0.04


def check(one: Judged) -> int:
    """Return how many of the four statements of a run are true."""
    assert all(2.0 * fit.half_width_s < 0.1 * PERIOD_S for fit in one.fits)
    return sum(
        (
            abs(one.errors_s[0]) <= one.fits[0].half_width_s,
            abs(one.errors_s[1]) <= one.fits[1].half_width_s,
            abs(one.middle_error_s) <= one.middle_width_s,
            abs(one.drift_error) <= drift_uncertainty(one.model),
        )
    )


def test_a_sample_of_the_seeds() -> None:
    judged = [run_seed(seed) for seed in range(6)]
    assert sum(check(one) for one in judged) == 4 * len(judged)
    # It was no easy game.
    assert sum(one.lost for one in judged) > 0
    assert max(abs(one.skewed.offset_s) for one in judged) > 5.0
    assert max(abs(one.skewed.drift) for one in judged) > 2e-5


def test_the_camera_of_the_bench_has_a_clock_of_its_own() -> None:
    stamps = Stamps(offset_s=3.0, drift=1e-3)
    assert stamps.of(0.0) == 3.0
    assert stamps.of(100.0) == pytest.approx(103.1)
    one = run_seed(3)
    # The first pattern is seconds after the bench's zero: the drift has done nothing yet.
    shown = one.fits[0].reference_s - EPOCH_NS * 1e-9
    assert shown == pytest.approx(one.skewed.offset_s, abs=3.0)


@pytest.mark.parametrize(
    "options",
    [
        {"clock_drift": 0.5},
        {"clock_offset_s": float("nan")},
        {"loss": 1.0},
        {"loss": -0.1},
    ],
)
def test_a_camera_that_cannot_be_is_refused(options: dict[str, float]) -> None:
    clock = HandClock()
    with pytest.raises(ValueError, match=r"camera clock: offset|loss of frames"):
        MerlinCamera(clock, Specimen(clock), size=256, **options)
