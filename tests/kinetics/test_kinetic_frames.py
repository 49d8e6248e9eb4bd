"""Pictures that the C core draws of the specimen."""

import math
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

VIEW: dict[str, Any] = {"shape": (256, 420), "pixel_size_nm": 5.0}


@pytest.fixture(scope="module")
def grown() -> KineticModel:
    """A fibre after 0.8 s at -5 V."""
    model = KineticModel(seed=1)
    model.advance(0.8, -5.0)
    return model


@pytest.mark.parametrize("electrons_per_A2", [0.002, 0.05, 0.8, 1.9])
def test_vacuum_is_poisson_of_the_dose(grown: KineticModel, electrons_per_A2: float) -> None:
    frames = [
        grown.frame(electrons_per_A2=electrons_per_A2, index=k)[:150].astype(float)
        for k in range(3)
    ]
    counts = np.concatenate(frames)
    mean = electrons_per_A2 * 25.0**2
    assert counts.mean() == pytest.approx(mean, abs=4.5 * math.sqrt(mean / counts.size))
    spread = 4.5 * math.sqrt((2.0 + 1.0 / mean) / counts.size)
    assert counts.var() / mean == pytest.approx(1.0, abs=spread)


def test_noise_of_pixels_and_frames_is_independent(grown: KineticModel) -> None:
    first, second = (grown.frame(index=k)[:150].astype(float) for k in (0, 1))
    limit = 4.5 / math.sqrt(first.size)
    for one, other in ((first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < limit


def test_thickness_holds_the_volume(grown: KineticModel) -> None:
    thickness = grown.thickness(**VIEW)
    assert thickness.dtype == np.float32
    total = float(thickness.sum(dtype=np.float64)) * 25.0
    assert total == pytest.approx(grown.lithium_volume_nm3, rel=1e-6)


def test_thickness_of_nuclei_smaller_than_a_pixel() -> None:
    model = KineticModel(seed=1)
    model.advance(0.1, -5.0)
    total = float(model.thickness((128, 210), 10.0).sum(dtype=np.float64)) * 100.0
    assert total == pytest.approx(model.lithium_volume_nm3, rel=1e-6)


def test_thickness_of_faceted_crystals() -> None:
    model = KineticModel("fig3c", seed=1)
    model.advance(6.0, -5.0)
    assert model.particles["phi"].max() > 0.9
    total = float(model.thickness((400, 700), 5.0).sum(dtype=np.float64)) * 25.0
    assert total == pytest.approx(model.lithium_volume_nm3, rel=1e-6)


def test_lithium_darkens_the_frame(grown: KineticModel) -> None:
    bare = KineticModel(seed=1)
    stack = range(20)

    def mean_frame(model: KineticModel) -> NDArray[np.float64]:
        frames = [model.frame(index=k, underfocus_nm=0.0, **VIEW) for k in stack]
        return np.asarray(np.mean(frames, axis=0))

    before, after = mean_frame(bare), mean_frame(grown)
    thick = grown.thickness(**VIEW) > 25.0
    assert thick.sum() > 100
    assert 0.6 < (after[thick] / before[thick]).mean() < 0.95
    clear = grown.thickness(**VIEW) == 0.0
    assert (after[clear] / before[clear]).mean() == pytest.approx(1.0, abs=1e-3)


def test_fibre_absorbs_along_its_chord() -> None:
    model = KineticModel(seed=1)
    frames = np.mean([model.frame(index=k, underfocus_nm=0.0) for k in range(10)], axis=0)
    profile = -np.log(frames[:, 50:450].mean(axis=1) / 500.0)
    y = (255.5 - np.arange(512)) * 2.5
    inside = np.abs(y) < 130.0
    chord = 2.0 * np.sqrt(150.0**2 - y[inside] ** 2)
    per_nm = profile[inside] / chord
    assert per_nm.std() / per_nm.mean() < 0.02
    assert np.abs(profile[np.abs(y) > 160.0]).max() < 0.01


def test_row_zero_is_the_top(grown: KineticModel) -> None:
    upper = grown.thickness((128, 1000), 2.5, (0.0, 160.0))
    whole = grown.thickness((256, 1000), 2.5)
    np.testing.assert_allclose(upper, whole[:128], atol=1e-4)
    particles = grown.particles
    lifted = particles[np.cos(particles["y_nm"] / 150.0) > 0.9]
    top = lifted[np.argmax(lifted["volume_nm3"])]
    column = round((top["s_nm"] - 1000.0) / 2.5 + 500.0)
    rows = np.flatnonzero(whole[:, column] > 0.0)
    assert rows.min() < 128 - 150.0 * 0.9 / 2.5


def test_origin_moves_the_picture(grown: KineticModel) -> None:
    here = grown.thickness((200, 200), 2.5)
    there = grown.thickness((200, 200), 2.5, (25.0, -50.0))
    np.testing.assert_allclose(there[:180, :190], here[20:, 10:], atol=2e-4)


def test_blanked_frame_has_no_electrons(grown: KineticModel) -> None:
    assert not grown.frame(electrons_per_A2=0.0, probe_nm=(0.0, 0.0)).any()
    dark = grown.frame(electrons_per_A2=0.0, detector="ccd", offset=100.0, readout=3.0)
    assert dark.mean() == pytest.approx(100.0, abs=0.05)
    assert dark.std() == pytest.approx(3.0, rel=0.03)


def test_ccd_spreads_and_amplifies(grown: KineticModel) -> None:
    frame = grown.frame(detector="ccd", gain=10.0, offset=50.0, readout=2.0, spread=0.1)
    vacuum = frame[:150].astype(float)
    assert vacuum.mean() == pytest.approx(5050.0, rel=1e-3)
    # The spread correlates neighbours and takes (0.8^2 + 2 0.1^2)^2 of the variance along.
    share = (0.8**2 + 2 * 0.1**2) ** 2
    assert vacuum.var() == pytest.approx(500.0 * 100.0 * share + 4.0, rel=0.03)
    pair = np.corrcoef(vacuum[:, 1:].ravel(), vacuum[:, :-1].ravel())[0, 1]
    assert pair == pytest.approx(2 * 0.8 * 0.1 / (0.8**2 + 2 * 0.1**2), abs=0.02)


def test_probe_is_a_dark_tip_whose_apex_is_where_told(grown: KineticModel) -> None:
    without = grown.frame(electrons_per_A2=8.0)
    frame = grown.frame(electrons_per_A2=8.0, probe_nm=(-300.0, 300.0))
    row, apex = 256 - 120, 256 - 120
    assert frame[row, : apex - 40].mean() < 0.05 * without[row, : apex - 40].mean()
    assert frame[row, apex + 2 :].mean() == pytest.approx(5000.0, rel=0.005)
    assert frame[row - 2 : row + 3, apex - 6 : apex].mean() < 0.9 * 5000.0
    np.testing.assert_array_equal(frame[400:], without[400:])


def test_frames_of_two_threads_are_equal(grown: KineticModel) -> None:
    frames: dict[int, NDArray[np.uint16]] = {}
    start = threading.Barrier(2)

    def draw(number: int) -> None:
        start.wait()
        for _ in range(5):
            frames[number] = grown.frame(index=3)

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], grown.frame(index=4))


def test_drawing_does_not_change_the_specimen() -> None:
    watched, unwatched = KineticModel(seed=7), KineticModel(seed=7)
    for _ in range(5):
        watched.advance(0.1, -5.0)
        watched.frame(shape=(64, 64))
        unwatched.advance(0.1, -5.0)
    assert watched.particles.tobytes() == unwatched.particles.tobytes()


def test_counts_saturate() -> None:
    frame = KineticModel().frame(shape=(32, 32), electrons_per_A2=300.0, origin_nm=(0.0, 600.0))
    assert (frame == 65535).all()


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (0, 10)},
        {"shape": (10,)},
        {"shape": (10, 1 << 20)},
        {"pixel_size_nm": 0.0},
        {"pixel_size_nm": math.nan},
        {"electrons_per_A2": -0.1},
        {"electrons_per_A2": math.nan},
        {"origin_nm": (math.inf, 0.0)},
        {"energy_keV": 1.0},
        {"index": -1},
        {"detector": "film"},
        {"readout": -1.0},
        {"spread": 0.5},
        {"probe_nm": (math.nan, 0.0)},
        {"underfocus_nm": math.inf},
    ],
)
def test_bad_views_raise(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must (lie|be)"):
        KineticModel().frame(**options)
