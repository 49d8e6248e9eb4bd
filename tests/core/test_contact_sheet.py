"""The picture of a run, and the area that it shows, on frames whose truth is known."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from stmtem_control.contact_sheet import AreaMeter, draw_contact_sheet, measure, read_rows, smooth
from stmtem_control.errors import RecordingError

PIXEL_NM = 2.0
COUNTS = 300.0


def scene(radius_px: float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Draw a dark band with a disc, 20 % darker, half on it."""
    y, x = np.mgrid[0:128, 0:128]
    mean = np.where(abs(y - 64) < 20, 0.5 * COUNTS, COUNTS)
    mean = np.where((x - 64) ** 2 + (y - 44) ** 2 < radius_px**2, 0.8 * mean, mean)
    return rng.poisson(mean).astype(np.uint16)


def write_run(folder: Path, frames: list[NDArray[np.uint16]], phases: list[str]) -> None:
    with tifffile.TiffWriter(folder / "frames_0000.tif") as tif:
        for frame in frames:
            tif.write(frame, contiguous=False, metadata=None)
    with open(folder / "frames.csv", "w", newline="") as file:
        names = ["run_time_s", "phase", "cycle", "bias_set_V", "current_A", "dose_e_per_A2"]
        table = csv.DictWriter(file, [*names, "total_dose_e_per_A2"])
        table.writeheader()
        for number, phase in enumerate(phases):
            table.writerow(
                {
                    "run_time_s": 0.1 * number,
                    "phase": phase,
                    "cycle": 0 if phase == "pre-roll" else 1,
                    "bias_set_V": {"deposit": -5.0, "strip": 5.0}.get(phase, 0.0),
                    "current_A": -2.5e-10,
                    "dose_e_per_A2": 0.0 if phase == "dark" else 0.8,
                    "total_dose_e_per_A2": 0.8 * number,
                }
            )


def test_the_area_of_a_disc_is_measured() -> None:
    rng = np.random.default_rng(1)
    meter = AreaMeter([scene(0.0, rng) for _ in range(8)])
    for radius in (8.0, 14.0, 20.0):
        found = float(np.count_nonzero(meter.mask(scene(radius, rng))))
        # The averaging box moves the outline of a strong contrast outwards, by less than half.
        assert 0.95 * np.pi * radius**2 < found < np.pi * (radius + 3.0) ** 2
    # 4.5 standard deviations: a handful of pixels in 16384, at most.
    assert np.count_nonzero(meter.mask(scene(0.0, rng))) < 30


def test_dose_and_darkness_do_not_count_as_lithium() -> None:
    rng = np.random.default_rng(2)
    meter = AreaMeter([scene(0.0, rng) for _ in range(8)])
    dimmer = (scene(0.0, rng) * 0.7).astype(np.uint16)
    assert np.count_nonzero(meter.mask(dimmer)) < 100
    assert not meter.mask(np.zeros((128, 128), np.uint16)).any()


def test_smoothing_keeps_the_mean_of_a_flat_image() -> None:
    assert np.allclose(smooth(np.full((20, 30), 7.0)), 7.0)
    spike = np.zeros((21, 21))
    spike[10, 10] = 49.0
    assert smooth(spike, 7)[10, 10] == pytest.approx(1.0)
    assert smooth(spike, 7).sum() == pytest.approx(49.0)


def test_frames_without_a_reference_have_no_area(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    phases = ["pre-roll"] * 4 + ["deposit"] * 3 + ["dark"]
    frames = [scene(0.0 if p == "pre-roll" else 12.0, rng) for p in phases]
    write_run(tmp_path, frames, phases)
    areas = measure(tmp_path, read_rows(tmp_path), PIXEL_NM).areas_nm2
    assert np.isnan(areas[:4]).all()
    assert 0.95 * np.pi * 24.0**2 < areas[4] < np.pi * 30.0**2
    assert np.isnan(areas[7])


@pytest.mark.parametrize(
    "phases",
    [
        ["pre-roll"] * 4 + ["deposit"] * 12 + ["strip"] * 12 + ["rest"] * 3,
        ["deposit"] * 3,
        ["pre-roll"],
        ["dark"] * 3,
        ["pre-roll", "dark", "deposit", "dark"],
    ],
)
def test_a_picture_is_drawn_of_whatever_was_recorded(tmp_path: Path, phases: list[str]) -> None:
    rng = np.random.default_rng(4)
    frames = [scene(10.0 if p == "deposit" else 0.0, rng) for p in phases]
    write_run(tmp_path, frames, phases)
    path = draw_contact_sheet(tmp_path, PIXEL_NM, "a title")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_no_frames_no_picture(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"frames\.csv"):
        draw_contact_sheet(tmp_path, PIXEL_NM)
    write_run(tmp_path, [scene(0.0, np.random.default_rng(5))], [])
    with pytest.raises(RecordingError, match="no frames"):
        draw_contact_sheet(tmp_path, PIXEL_NM)
