"""Tables of reflections, counting of patterns, and the options of both."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.diffraction import (
    bcc_reflections,
    diffraction_intensity,
    diffraction_pattern,
    grain_orientations,
    scale_inverse_A,
)

# hkl, d, 1/d, 2 theta at 200 and 300 kV, f_e, extinction at 200 and 300 kV, powder with and
# without thermal motion: lithium, a = 3.51 A.
TABLE = [
    ((1, 1, 0), 2.4819, 0.4029, 10.1, 7.9, 0.744, 262, 292, 100.0, 100.0),
    ((2, 0, 0), 1.7550, 0.5698, 14.3, 11.2, 0.429, 454, 507, 11.3, 16.6),
    ((2, 1, 1), 1.4330, 0.6979, 17.5, 13.7, 0.315, 617, 689, 16.7, 35.9),
    ((2, 2, 0), 1.2410, 0.8058, 20.2, 15.9, 0.256, 761, 850, 3.8, 11.8),
    ((3, 1, 0), 1.1100, 0.9009, 22.6, 17.7, 0.218, 892, 996, 3.7, 17.2),
    ((2, 2, 2), 1.0132, 0.9869, 24.8, 19.4, 0.192, 1015, 1134, 0.7, 4.4),
]


# ---- tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("energy_keV", [200.0, 300.0])
def test_reflections_of_lithium(energy_keV: float) -> None:
    rows = bcc_reflections(3.51, energy_keV, largest_inverse_A=1.0)
    assert len(rows) == len(TABLE)
    at_300 = energy_keV == 300.0
    for row, (hkl, d, inverse, t200, t300, f, xi200, xi300, moving, static) in zip(
        rows, TABLE, strict=True
    ):
        assert tuple(row["hkl"]) == hkl
        assert row["d_A"] == pytest.approx(d, abs=6e-5)
        assert row["inverse_d_A"] == pytest.approx(inverse, abs=6e-5)
        assert row["two_theta_mrad"] == pytest.approx(t300 if at_300 else t200, abs=0.06)
        assert row["f_e_A"] == pytest.approx(f, abs=6e-4)
        assert row["extinction_nm"] == pytest.approx(xi300 if at_300 else xi200, abs=1.0)
        assert row["powder"] == pytest.approx(moving, abs=0.06)
        assert row["powder_static"] == pytest.approx(static, abs=0.06)
        assert row["ring"] == pytest.approx(row["powder"] * row["d_A"] / rows[0]["d_A"])


@pytest.mark.parametrize("metal", ["Li", "Na", "K"])
def test_families_are_complete(metal: Any) -> None:
    rows = bcc_reflections(4.0, 200.0, metal=metal, largest_inverse_A=2.0)
    span = np.arange(-8, 9)
    hkl = np.stack(np.meshgrid(span, span, span), axis=-1).reshape(-1, 3)
    square = (hkl**2).sum(axis=1)
    good = (hkl.sum(axis=1) % 2 == 0) & (square > 0) & (square <= 64)
    assert rows["multiplicity"].sum() == good.sum()
    assert not (rows["hkl"].sum(axis=1) % 2).any()
    assert (np.diff(rows["inverse_d_A"]) >= 0.0).all()
    once = {tuple(row) for row in rows["hkl"]}
    assert len(once) == len(rows)
    assert {(3, 3, 0), (4, 1, 1)} <= once  # same d, two families


def test_heavier_metals_scatter_more() -> None:
    f = [bcc_reflections(4.0, 200.0, metal=m)[0]["f_e_A"] for m in ("Li", "Na", "K")]
    assert f[0] < f[1] < f[2]


def test_scale_of_a_camera() -> None:
    # r = L lambda / d: 110 of lithium lies 10.1 mm from the beam at 1 m and 200 kV.
    per_px = scale_inverse_A(1000.0, 10.0, 200.0)
    assert 0.40290985 / per_px * 0.01 == pytest.approx(10.105, abs=0.001)


# ---- counting -----------------------------------------------------------------------------

OPEN: dict[str, Any] = {"electrons": 2e6, "beam_width_inverse_A": 0.1}


@pytest.fixture(scope="module")
def grown() -> KineticModel:
    model = KineticModel(seed=1)
    model.advance(0.8, -5.0)
    return model


def test_counts_are_poisson_of_the_intensity(grown: KineticModel) -> None:
    mean = diffraction_intensity(grown, **OPEN).astype(float)
    assert mean.max() < 60000.0
    counts = [diffraction_pattern(grown, index=k, **OPEN).astype(float) for k in range(4)]
    # False alarms below 1e-5 each.
    total = mean.sum()
    for picture in counts:
        assert picture.sum() == pytest.approx(total, abs=4.5 * math.sqrt(total))
    lit = mean > 5.0
    chi2 = np.mean([((c - mean) ** 2 / mean)[lit].mean() for c in counts])
    assert chi2 == pytest.approx(1.0, abs=4.5 * math.sqrt(2.2 / (4 * lit.sum())))


def test_no_electron_is_lost_or_made(grown: KineticModel) -> None:
    for model in (grown, KineticModel(seed=1)):
        total = diffraction_intensity(model, (1000, 1000), **OPEN).sum(dtype=float)
        assert total == pytest.approx(2e6, rel=0.01)


def test_electrons_scale_the_intensity(grown: KineticModel) -> None:
    one, three = (diffraction_intensity(grown, electrons=e) for e in (1e7, 3e7))
    np.testing.assert_allclose(three, 3.0 * one, rtol=1e-5)


def test_index_names_the_noise(grown: KineticModel) -> None:
    first, again, other = (diffraction_pattern(grown, index=k, **OPEN) for k in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    grown.frame(shape=(16, 16), electrons_per_A2=5.0)  # leaves no trace in the tables
    np.testing.assert_array_equal(first, diffraction_pattern(grown, index=7, **OPEN))


def test_pattern_and_frame_share_no_noise(grown: KineticModel) -> None:
    dark: dict[str, Any] = {"shape": (128, 128), "detector": "ccd", "index": 5}
    pattern = diffraction_pattern(grown, electrons=0.0, **dark).astype(float)
    frame = grown.frame(electrons_per_A2=0.0, **dark).astype(float)
    correlation = np.corrcoef(pattern.ravel(), frame.ravel())[0, 1]
    assert abs(correlation) < 4.5 / 128.0


def test_blank_beam_leaves_the_detector(grown: KineticModel) -> None:
    assert not diffraction_pattern(grown, electrons=0.0).any()
    dark = diffraction_pattern(grown, electrons=0.0, detector="ccd", offset=120.0, readout=4.0)
    assert dark.mean() == pytest.approx(120.0, abs=0.05)
    assert dark.std() == pytest.approx(4.0, rel=0.03)


def test_ccd_amplifies(grown: KineticModel) -> None:
    mean = diffraction_intensity(grown, **OPEN).astype(float)
    counts = diffraction_pattern(grown, detector="ccd", gain=2.0, offset=50.0, **OPEN)
    away = mean < 100.0
    assert counts[away].mean() == pytest.approx(50.0 + 2.0 * mean[away].mean(), rel=0.01)


def test_beam_stop_hides_the_middle(grown: KineticModel) -> None:
    free = diffraction_intensity(grown)
    stopped = diffraction_intensity(grown, beam_stop_inverse_A=0.1, beam_stop_deg=90.0)
    rows, columns = np.indices((512, 512))
    x, y = (columns - 255.5) * 0.005, (255.5 - rows) * 0.005
    radius = np.hypot(x, y)
    shadow = (radius < 0.09) | ((np.abs(x) < 0.04) & (y > 0.0))
    clear = (radius > 0.11) & ((np.abs(x) > 0.06) | (y < 0.0))
    assert not stopped[shadow].any()
    np.testing.assert_array_equal(stopped[clear], free[clear])
    assert stopped[:100, 250:262].max() == 0.0  # the shaft leaves at the top


def test_patterns_leave_the_specimen_alone(grown: KineticModel) -> None:
    before = grown.save()
    diffraction_pattern(grown)
    grain_orientations(grown)
    assert grown.save() == before


def test_degenerate_pictures() -> None:
    model = KineticModel(seed=1)
    model.advance(0.1, -5.0)
    for shape in ((1, 1), (1, 7), (5, 1)):
        assert diffraction_intensity(model, shape, beam_width_inverse_A=0.0).shape == shape
    assert np.isfinite(diffraction_intensity(model, (8, 8), pixel_inverse_A=1.0)).all()
    assert np.isfinite(diffraction_intensity(model, (8, 8), pixel_inverse_A=1e-5)).all()


def test_grains_of_nothing() -> None:
    assert len(grain_orientations(KineticModel())) == 0


def raises(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (0, 10)},
        {"shape": (10,)},
        {"pixel_inverse_A": 0.0},
        {"pixel_inverse_A": math.nan},
        {"electrons": -1.0},
        {"electrons": math.inf},
        {"energy_keV": 10.0},
        {"aperture_nm": 0.0},
        {"aperture_centre_nm": (math.nan, 0.0)},
        {"beam_width_inverse_A": -0.1},
        {"beam_stop_inverse_A": 2.0},
        {"beam_stop_deg": math.inf},
        {"index": -1},
        {"detector": "film"},
        {"gain": -1.0},
        {"spread": 0.5},
    ],
    ids=lambda options: next(iter(options)),
)
def test_wrong_options_raise(options: dict[str, Any]) -> None:
    raises(lambda: diffraction_pattern(KineticModel(), **options), next(iter(options)))


def test_wrong_tables_raise() -> None:
    raises(lambda: bcc_reflections(0.1, 200.0), "lattice_A")
    raises(lambda: bcc_reflections(3.5, 2.0), "energy_keV")
    wrong: Any = "Mg"
    raises(lambda: bcc_reflections(3.5, 200.0, metal=wrong), "metal")
    raises(lambda: bcc_reflections(3.5, 200.0, largest_inverse_A=9.0), "largest_inverse_A")
    raises(lambda: scale_inverse_A(0.0, 10.0, 200.0), "camera_length_mm")
    raises(lambda: scale_inverse_A(100.0, math.nan, 200.0), "pixel_um")
