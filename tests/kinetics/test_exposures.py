"""Exposures over several instants, and the ground truth of a picture."""

import numpy as np
import pytest

from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.model import TRUTH


@pytest.fixture(scope="module")
def grown() -> KineticModel:
    """A fibre after 0.8 s at -5 V."""
    model = KineticModel(seed=1)
    model.advance(0.8, -5.0)
    return model


VIEW = {"shape": (200, 300), "pixel_size_nm": 3.0}


def test_parts_of_an_exposure_add_up(grown: KineticModel) -> None:
    whole, parts = (grown.exposure(shape=(200, 300), pixel_size_nm=3.0) for _ in range(2))
    whole.add(0.8)
    parts.add(0.5)
    parts.add(0.0)  # blanked
    parts.add(0.3)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-5)
    vacuum = whole.mean[:20]
    assert vacuum.mean() == pytest.approx(0.8 * 900.0, rel=0.01)


def test_noise_is_drawn_once_for_the_whole_exposure(grown: KineticModel) -> None:
    exposure = grown.exposure(shape=(400, 400), pixel_size_nm=1.0, underfocus_nm=0.0)
    for _ in range(4):
        exposure.add(0.1, origin_nm=(0.0, 500.0))  # vacuum
    counts = exposure.counts(index=3).astype(float)
    # 160 000 pixels of a mean of 40: 4.5 sigma, false alarm 7e-6 each
    assert counts.mean() == pytest.approx(40.0, abs=4.5 * np.sqrt(40.0 / counts.size))
    assert counts.var() / 40.0 == pytest.approx(1.0, abs=4.5 * np.sqrt(2.03 / counts.size))
    np.testing.assert_array_equal(exposure.counts(index=3), counts)
    assert (exposure.counts(index=4) != counts).any()
    dark = grown.exposure(shape=(50, 50)).counts(detector="ccd", offset=100.0, readout=0.0)
    assert (dark == 100).all()


def test_a_moving_specimen_is_blurred(grown: KineticModel) -> None:
    still, moved = (grown.exposure(shape=(200, 300), pixel_size_nm=3.0) for _ in range(2))
    still.add(1.0)
    moved.add(0.5)
    moved.add(0.5, origin_nm=(0.0, -30.0))
    up = grown.exposure(shape=(200, 300), pixel_size_nm=3.0)
    up.add(1.0, origin_nm=(0.0, -30.0))
    np.testing.assert_allclose(moved.mean, 0.5 * (still.mean + up.mean), rtol=1e-5)
    assert np.abs(moved.mean - still.mean).max() > 50.0


def test_frame_and_exposure_of_one_instant_agree(grown: KineticModel) -> None:
    exposure = grown.exposure(shape=(200, 300), pixel_size_nm=3.0)
    exposure.add(0.4)
    frame = grown.frame(shape=(200, 300), pixel_size_nm=3.0, electrons_per_A2=0.4, index=7)
    np.testing.assert_array_equal(exposure.counts(index=7), frame)


@pytest.mark.parametrize("dose", [-0.1, float("nan"), 1e9])
def test_bad_doses_are_refused(grown: KineticModel, dose: float) -> None:
    exposure = grown.exposure(shape=(20, 20))
    with pytest.raises(ValueError, match="electrons_per_A2 must lie in"):
        exposure.add(dose)
    assert not exposure.mean.any()


def test_ground_truth_names_what_the_picture_shows(grown: KineticModel) -> None:
    truth = grown.ground_truth((340, 700), 3.0)
    particles = grown.particles
    assert truth.dtype == TRUTH
    assert sorted(truth["uid"]) == sorted(particles["uid"])  # all of the fibre is in view
    by_uid = {row["uid"]: row for row in particles}
    for row in truth:
        particle = by_uid[row["uid"]]
        assert row["volume_in_view_nm3"] == pytest.approx(particle["volume_nm3"], rel=1e-5)
        # the centre of mass lies over the contact line's middle, along the fibre
        along = (row["column"] - 349.5) * 3.0 + 1000.0
        assert along == pytest.approx(particle["s_nm"], abs=3.0)
        height = (169.5 - row["row"]) * 3.0
        inner, outer = 140.0, 150.0 + particle["height_nm"]
        azimuth = particle["y_nm"] / 150.0
        assert min(inner * np.cos(azimuth), outer * np.cos(azimuth)) - 4.0 <= height
        assert height <= max(inner * np.cos(azimuth), outer * np.cos(azimuth)) + 4.0
        assert row["top"] <= row["row"] <= row["bottom"]
        assert row["left"] <= row["column"] <= row["right"]
        assert row["far_side"] == (particle["y_nm"] > np.pi * 150.0)
    thickness = grown.thickness((340, 700), 3.0)
    lonely = max(truth, key=lambda row: row["thickest_nm"])
    assert thickness.max() >= lonely["thickest_nm"] * 0.999


def test_ground_truth_of_a_part_of_the_fibre(grown: KineticModel) -> None:
    part = grown.ground_truth((100, 100), 2.0, (300.0, 100.0))
    assert 0 < len(part) < len(grown.particles)
    assert (part["volume_in_view_nm3"] <= part["volume_nm3"] * 1.00001).all()
    for name, most in (("top", 99), ("bottom", 99), ("left", 99), ("right", 99)):
        assert (part[name] >= 0).all()
        assert (part[name] <= most).all()
    total = float(grown.thickness((100, 100), 2.0, (300.0, 100.0)).sum(dtype=np.float64)) * 4.0
    assert part["volume_in_view_nm3"].sum() == pytest.approx(total, rel=1e-5)
    assert len(grown.ground_truth((10, 10), 1.0, (0.0, 5000.0))) == 0
    with pytest.raises(ValueError, match="pixel_size_nm must lie in"):
        grown.ground_truth((10, 10), 0.0)
