"""Annular-dark-field survey of fibres, lithium and tip."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.diffraction import diffraction_pattern
from stmtem_control.simulators.survey import adf_signal, adf_survey

STRAY = 5e-4
STILL: dict[str, Any] = {"site_count": 0, "migration_factor": 0.0, "kelvin": 0}
QUIET: dict[str, Any] = {"line_noise": 0.0, "line_jitter_px": 0.0, "detector": "counting"}


def optical_depth(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum of scattering times thickness from the share of the beam on the detector."""
    return np.asarray(-np.log1p(-(signal.astype(float) - STRAY) / (1.0 - STRAY)))


@pytest.fixture(scope="module")
def grown() -> KineticModel:
    """A fibre after 2 s at -5 V."""
    model = KineticModel(seed=1)
    model.advance(2.0, -5.0)
    return model


def test_tip_coat_fibre_vacuum(grown: KineticModel) -> None:
    """Tungsten is brightest, then the tip's coat where it is thick, the fibre, and nothing."""
    picture = adf_signal(grown, (400, 512), origin_nm=(-500.0, 0.0), probe_nm=(-620.0, 0.0))
    # The tip's axis runs along the row in the middle; 380 nm behind the apex the core reaches
    # some 105 nm to either side and the coat 45 nm further.
    core = picture[195:205, :50]
    coat = picture[179:182, 88:93]
    fibre = picture[195:205, 300:400]
    vacuum = picture[:60]
    assert core.min() > 0.95
    assert core.mean() > 3.0 * coat.mean()
    assert coat.mean() > 1.2 * fibre.mean()
    assert fibre.mean() > 50.0 * vacuum.mean()
    np.testing.assert_allclose(vacuum, STRAY, rtol=1e-5)


def test_lithium_is_bright_on_dark(grown: KineticModel) -> None:
    view: dict[str, Any] = {"shape": (400, 512), "pixel_size_nm": 4.0}
    bare = KineticModel(seed=1)
    gain = adf_signal(grown, **view) - adf_signal(bare, **view)
    thick = grown.thickness(**view)
    assert (gain[thick > 5.0] > 0.0).all()
    np.testing.assert_array_equal(gain[thick == 0.0], 0.0)
    assert gain[thick > 80.0].mean() > 1.5 * gain[(thick > 5.0) & (thick < 30.0)].mean()


def test_carbon_follows_its_chord() -> None:
    signal = adf_signal(KineticModel(seed=1), pixel_size_nm=2.0)
    depth = optical_depth(signal)[:, 50:450].mean(axis=1)
    y = (255.5 - np.arange(512)) * 2.0
    inside = np.abs(y) < 130.0
    per_nm = depth[inside] / (2.0 * np.sqrt(150.0**2 - y[inside] ** 2))
    assert per_nm.std() / per_nm.mean() < 0.02
    assert np.abs(depth[np.abs(y) > 160.0]).max() < 1e-6
    # Rutherford scattering of carbon at 200 keV into 30 ... 150 mrad, 0.35 of 90.3 atoms per nm3.
    wave, gamma, bohr = 2.50793e-3, 1.391390, 0.0529177
    angles = 1.0 / 0.03**2 - 1.0 / 0.15**2
    atom = (6.0 * gamma) ** 2 * wave**4 / (4.0 * math.pi**3 * bohr**2) * angles
    assert per_nm.mean() == pytest.approx(0.35 * 90.3 * atom, rel=0.01)


def test_depths_add() -> None:
    def depth(places: list[float]) -> NDArray[np.float64]:
        model = KineticModel(seed=2, **STILL)
        if places:
            model.place(places, [150.0 * math.pi / 2] * len(places), 2e5)
        return optical_depth(adf_signal(model, pixel_size_nm=3.0))

    bare, left, right = depth([]), depth([900.0]), depth([960.0])
    both = depth([900.0, 960.0])
    lithium = left - bare
    assert lithium.max() > 10.0 * np.abs(both - left - right + bare).max()
    np.testing.assert_allclose(both - bare, (left - bare) + (right - bare), atol=2e-5)


def test_brightness_grows_with_atomic_number() -> None:
    def per_volume(preset: str) -> float:
        model = KineticModel(preset, 2, **STILL)
        bare = optical_depth(adf_signal(model, pixel_size_nm=3.0))
        model.place(1000.0, 150.0 * math.pi / 2, 1e6)
        return float((optical_depth(adf_signal(model, pixel_size_nm=3.0)) - bare).sum())

    lithium, sodium, potassium = (per_volume(preset) for preset in ("fig2", "na", "k"))
    # N Z^1.7 of the metals is as 1 : 5.0 : 6.6; the skin evens it out a little.
    assert 3.0 < sodium / lithium < 5.5
    assert 1.1 < potassium / sodium < 1.5


def test_angles_of_the_detector() -> None:
    model = KineticModel(seed=1)
    inner, outer, whole = (
        optical_depth(adf_signal(model, collection_mrad=angles))[200:300]
        for angles in ((30.0, 60.0), (60.0, 150.0), (30.0, 150.0))
    )
    inside = whole > 0.01
    np.testing.assert_allclose((inner + outer)[inside], whole[inside], rtol=1e-3)


def test_vacuum_is_poisson(grown: KineticModel) -> None:
    # 0.5 electrons a pixel of stray, in 200 x 512 pixels; false alarms below 1e-5.
    dose = 1000.0 / (100.0 * 6.0**2)
    counts = np.concatenate(
        [adf_survey(grown, electrons_per_A2=dose, index=k, **QUIET)[:200] for k in range(2)]
    ).astype(float)
    mean = 1000.0 * STRAY
    assert counts.mean() == pytest.approx(mean, abs=4.5 * math.sqrt(mean / counts.size))
    spread = 4.5 * math.sqrt((2.0 + 1.0 / mean) / counts.size)
    assert counts.var() / mean == pytest.approx(1.0, abs=spread)


def test_counts_follow_the_signal(grown: KineticModel) -> None:
    dose = 1000.0 / (100.0 * 6.0**2)
    view: dict[str, Any] = {"probe_nm": (-1100.0, 0.0)}
    counts = adf_survey(grown, electrons_per_A2=dose, **QUIET, **view).astype(float)
    mean = 1000.0 * adf_signal(grown, **view).astype(float)
    assert counts.sum() == pytest.approx(mean.sum(), abs=4.5 * math.sqrt(mean.sum()))
    lit = mean > 20.0
    chi2 = ((counts - mean) ** 2 / mean)[lit].mean()
    assert chi2 == pytest.approx(1.0, abs=4.5 * math.sqrt(2.05 / lit.sum()))


def test_row_zero_is_the_top(grown: KineticModel) -> None:
    whole = adf_signal(grown, (256, 512))
    upper = adf_signal(grown, (128, 512), origin_nm=(0.0, 64 * 6.0))
    np.testing.assert_allclose(upper, whole[:128], atol=1e-5)
    high = adf_signal(grown, (256, 512), probe_nm=(-1200.0, 600.0))
    assert high[:30, :20].max() > 0.9
    assert high[225:, :20].max() < 0.01


def test_lines_of_the_scan_jitter(grown: KineticModel) -> None:
    """The end of the fibre stands still without jitter and moves from line to line with it."""
    view: dict[str, Any] = {"origin_nm": (-1000.0, 0.0), "electrons_per_A2": 200.0}

    def edges(jitter: float) -> NDArray[np.float64]:
        picture = adf_survey(
            grown, **view, line_noise=0.0, line_jitter_px=jitter, detector="counting"
        ).astype(float)
        rows = picture[246:266]
        level = 0.5 * (rows[:, 280:300].mean(axis=1) + rows[:, :100].mean(axis=1))
        first = np.argmax(rows > level[:, None], axis=1)
        before, after = rows[np.arange(20), first - 1], rows[np.arange(20), first]
        return np.asarray(first - (after - level) / (after - before))

    still, shaken = edges(0.0), edges(2.0)
    moved = shaken - still
    # 20 lines: 3.5 sigma of an rms is 0.55 of it.
    assert 0.9 < moved.std() < 3.1
    assert np.abs(np.diff(still)).max() < 0.7


def test_lines_of_the_scan_flicker(grown: KineticModel) -> None:
    view: dict[str, Any] = {"electrons_per_A2": 200.0, "line_jitter_px": 0.0}
    lines = adf_survey(grown, **view, line_noise=0.05, detector="counting")[:150].mean(axis=1)
    # 150 lines: 4.5 sigma of a standard deviation is 0.26 of it; shot noise adds next to nothing.
    assert lines.std() / lines.mean() == pytest.approx(0.05, rel=0.3)
    plain = adf_survey(grown, **view, line_noise=0.0, detector="counting")[:150].mean(axis=1)
    assert plain.std() / plain.mean() < 0.01


def test_blanked_beam_leaves_the_detector(grown: KineticModel) -> None:
    assert not adf_survey(grown, electrons_per_A2=0.0, detector="counting").any()
    dark = adf_survey(grown, electrons_per_A2=0.0, offset=150.0, readout=4.0)
    assert dark.mean() == pytest.approx(150.0, abs=0.05)
    assert dark.std() == pytest.approx(4.0, rel=0.03)


def test_analog_detector_amplifies_without_spread(grown: KineticModel) -> None:
    options: dict[str, Any] = {"electrons_per_A2": 0.5, "index": 3}
    quiet: dict[str, Any] = {"line_noise": 0.0, "line_jitter_px": 0.0}
    counts = adf_survey(grown, gain=10.0, offset=50.0, readout=0.0, **options, **quiet)
    electrons = adf_survey(grown, detector="counting", **options, **quiet)
    np.testing.assert_array_equal(counts, 50 + 10 * electrons.astype(int))


def test_index_names_the_noise(grown: KineticModel) -> None:
    first, again, other = (adf_survey(grown, index=k) for k in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pictures_of_other_kinds_share_no_noise(grown: KineticModel) -> None:
    shape = (128, 128)
    survey = adf_survey(grown, shape, electrons_per_A2=0.0, readout=3.0, index=6)
    frame = grown.frame(shape=shape, electrons_per_A2=0.0, detector="ccd", index=6)
    pattern = diffraction_pattern(grown, shape, electrons=0.0, detector="ccd", index=6)
    for other in (frame, pattern):
        correlation = np.corrcoef(survey.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4.5 / 128.0


def test_a_survey_leaves_specimen_and_frames_alone(grown: KineticModel) -> None:
    state, frame = grown.save(), grown.frame(index=2)
    adf_survey(grown, (64, 64), probe_nm=(0.0, 0.0))
    assert grown.save() == state
    np.testing.assert_array_equal(grown.frame(index=2), frame)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (0, 10)},
        {"shape": (2.5, 10)},
        {"pixel_size_nm": 0.0},
        {"pixel_size_nm": math.nan},
        {"origin_nm": (math.inf, 0.0)},
        {"electrons_per_A2": -1.0},
        {"energy_keV": 5.0},
        {"collection_mrad": (150.0, 30.0)},
        {"collection_mrad": (0.0, 30.0)},
        {"line_noise": -0.1},
        {"line_jitter_px": 100.0},
        {"probe_nm": (0.0, math.nan)},
        {"probe_axis_deg": math.inf},
        {"index": -1},
        {"detector": "ccd"},
        {"readout": math.nan},
    ],
    ids=str,
)
def test_wrong_options_raise(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        adf_survey(KineticModel(), **options)
    assert "\n" not in str(caught.value)
