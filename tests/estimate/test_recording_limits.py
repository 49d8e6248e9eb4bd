"""What disk and camera can take, as far as it is known before a run."""

import pytest

from stmtem_control.config import Station, load_station
from stmtem_control.estimate.recording_limits import refuse_disk, warn_of_disk, warn_of_pace
from stmtem_control.estimate.result import Acquisition
from stmtem_control.interlock_table import InterlocksTable

SHAPE = (512, 512)
GB = 10**9


def frames(rate_Hz: float, exposure_s: float = 0.001) -> list[Acquisition]:
    return [Acquisition(0.0, 1.0, 10, True, exposure_s, rate_Hz, 100.0)]


@pytest.fixture
def lab() -> Station:
    return load_station("example_lab")


def disk(written: int, free: int, station: Station, rate_Hz: float = 25.0) -> list[str]:
    return warn_of_disk(written, free, station, frames(rate_Hz), SHAPE, 1.0)


def test_the_room_that_an_interlock_keeps_counts(lab: Station) -> None:
    """By default 0.2 GB, and ten seconds at the rate of the frames: 0.131 GB at 25 Hz."""
    assert disk(1 * GB, 10 * GB, lab) == []
    (kept,) = disk(1 * GB, 1 * GB + GB // 10, lab)
    assert "1 GB of 1.1 GB free" in kept
    assert "ends it when 0.2 GB are left ([interlocks] disk_free_GB)" in kept
    (fast,) = disk(1 * GB, 2 * GB, lab, rate_Hz=400.0)
    assert "ends it when 2.1 GB are left ([interlocks] disk_left_s)" in fast


def test_a_disk_that_gets_nearly_full_is_told(lab: Station) -> None:
    (full,) = disk(9 * GB, 10 * GB, lab)
    assert full.startswith("the run fills 90 % of what is free at ")
    off = lab.model_copy(
        update={"interlocks": InterlocksTable(disk_free_GB="off", disk_left_s="off")}
    )
    (full,) = disk(10 * GB, 10 * GB, off)
    assert full.startswith("the run fills 100 % of what is free at ")


def test_what_is_refused_is_not_told_again(lab: Station) -> None:
    assert disk(2 * GB, 1 * GB, lab) == []
    (refusal,) = refuse_disk(2 * GB, 1 * GB, lab)
    assert refusal.key == "disk"
    assert "writes 2 GB, and 1 GB are free" in refusal.message
    assert refuse_disk(1 * GB, 1 * GB, lab) == []


def test_a_merlin_cannot_read_out_so_fast(lab: Station) -> None:
    assert warn_of_pace(frames(610.0), SHAPE, lab) == []
    (slow,) = warn_of_pace(2 * frames(700.0), SHAPE, lab)
    assert "a Merlin needs 1.64 ms to read 12 bits out, and gives 610 at most" in slow


@pytest.mark.parametrize(
    ("speed", "size", "exposure_s", "too_fast"),
    [
        (1.0, 2048, 0.035, False),
        (5.0, 512, 0.035, False),
        (5.0, 1024, 0.035, True),
        (1.0, 2048, 0.1, True),  # a long exposure is the mean of several looks
        (30.0, 512, 0.035, True),
    ],
)
def test_a_simulated_camera_has_to_draw_its_frames(
    speed: float, size: int, exposure_s: float, too_fast: bool
) -> None:
    station = load_station("sim").with_bench(speed=speed, size=size)
    found = warn_of_pace(frames(25.0, exposure_s), (size, size), station)
    assert len(found) == too_fast
    for text in found:
        assert f"has to draw {25.0 * speed:g} frames of {size} x {size} pixels" in text
        assert "frames would be lost; lower [bench] speed or size" in text
