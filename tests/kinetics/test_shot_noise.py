"""Counts of electrons are Poisson, and the thickness map holds the volume to the last crystal.

The false-alarm rate of a test is the chance that a correct model fails it with another seed.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

MEANS = [0.7, 5.3, 61.7, 999.0]


@pytest.fixture(scope="module")
def model() -> KineticModel:
    """A bare fibre."""
    return KineticModel(seed=31, site_count=0)


def vacuum(model: KineticModel, mean: float, index: int, side: int) -> NDArray[np.uint16]:
    """A frame far from the fibre with this many electrons a pixel on average."""
    return model.frame(
        shape=(side, side),
        pixel_size_nm=1.0,
        electrons_per_A2=mean / 100.0,
        origin_nm=(0.0, 1e5),
        index=index,
    )


def poisson(mean: float) -> NDArray[np.float64]:
    """Probabilities of 0, 1, 2 ... up to far beyond the mean."""
    k = np.arange(int(mean + 12.0 * math.sqrt(mean) + 20.0))
    logs = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    return np.asarray(np.exp(k * math.log(mean) - mean - logs))


def chi2(counts: NDArray[np.uint16], mean: float) -> tuple[float, int]:
    """Goodness of fit over the counts expected ten times or more, the rest in two bins."""
    expected = poisson(mean) * counts.size
    seen = np.bincount(counts.ravel(), minlength=len(expected))[: len(expected)]
    low, high = np.flatnonzero(expected >= 10.0)[[0, -1]]
    edges = np.array([0, *range(low + 1, high + 2)])
    folded, told = np.add.reduceat(seen, edges), np.add.reduceat(expected, edges)
    return float(((folded - told) ** 2 / told).sum()), len(edges) - 1


@pytest.mark.parametrize(("mean", "frames"), [(0.7, 115), (5.3, 45), (61.7, 13), (999.0, 4)])
def test_distribution_of_a_million_pixels(model: KineticModel, mean: float, frames: int) -> None:
    total, freedom = 0.0, 0
    for index in range(frames):
        one, degrees = chi2(vacuum(model, mean, index, 1000), mean)
        total, freedom = total + one, freedom + degrees
    # Mean of chi2/dof over frames of 1e6 pixels, in as many frames as make 0.8 ... 1.2 four sigma:
    # false alarm 6e-5 for each of four.  (One frame at 0.7 has 7 degrees of freedom and scatters
    # by 0.5.)
    assert 4.0 * math.sqrt(2.0 / freedom) <= 0.2
    assert 0.8 <= total / freedom <= 1.2


@pytest.mark.parametrize("mean", MEANS)
def test_variance_is_the_mean(model: KineticModel, mean: float) -> None:
    counts = np.concatenate([vacuum(model, mean, 1000 + k, 2048).ravel() for k in range(2)])
    sigma = math.sqrt((2.0 + 1.0 / mean) / counts.size)
    # Eight million pixels make 0.003 at least 4.6 sigma: false alarm 4e-6 for each of four.
    assert 0.003 / sigma > 4.5
    assert counts.var(dtype=np.float64) / counts.mean(dtype=np.float64) == pytest.approx(
        1.0, abs=0.003
    )
    assert counts.mean(dtype=np.float64) == pytest.approx(
        mean, abs=4.0 * math.sqrt(mean / counts.size)
    )


@pytest.mark.parametrize("electrons", [2.0, 60.0, 900.0])
def test_pixels_behind_the_specimen_are_poisson_too(electrons: float) -> None:
    """Index of dispersion of each pixel over 20 frames: its mean need not be known."""
    model = KineticModel(seed=32)
    model.advance(0.8, -5.0)
    stack = np.stack(
        [
            model.frame(
                shape=(250, 800), pixel_size_nm=1.0, electrons_per_A2=electrons / 100.0, index=k
            )
            for k in range(20)
        ]
    ).astype(np.float64)
    middle, spread = stack.mean(axis=0), stack.var(axis=0, ddof=1)
    assert 0.5 * electrons < middle.mean() < 0.8 * electrons  # carbon and lithium, no vacuum
    # 3.8e6 degrees of freedom: 1 +- 0.0007, with few electrons +- 0.0008.
    # 0.003 is 3.6 sigma or more: false alarm below 4e-4 for each of three.
    assert (spread.sum() / middle.sum()) == pytest.approx(1.0, abs=0.003)
    first, last = stack[:10].mean(axis=0) - middle, stack[10:].mean(axis=0) - middle
    assert abs(np.corrcoef((first - last)[:, 1:].ravel(), (first - last)[:, :-1].ravel())[0, 1]) < (
        4.0 / math.sqrt(first.size)
    )  # neighbours are independent: 4 sigma, false alarm 6e-5


def held(model: KineticModel, **view: Any) -> float:
    """Volume in the thickness map over the volume on the fibres."""
    thickness = model.thickness(**view)
    assert thickness.dtype == np.float32
    volume = float(thickness.sum(dtype=np.float64)) * view["pixel_size_nm"] ** 2
    return float(volume / model.lithium_volume_nm3)


@pytest.mark.parametrize("pixel", [1.0, 2.5, 7.3, 40.0])
def test_map_holds_the_volume_of_droplets_necks_and_facets_on_three_fibres(pixel: float) -> None:
    model = KineticModel(
        "fig3b", seed=33, site_count=0, exchange_current_pA_nm2=0.0, migration_factor=0.0,
        switch_rate=0.0,
    )  # fmt: skip
    random = np.random.default_rng(33)
    fibre, s = np.repeat([0, 1, 2], 4), np.tile([200.0, 700.0, 1200.0, 1700.0], 3)
    y = random.uniform(0.0, 900.0, 12)
    volume = np.exp(random.uniform(7.0, 14.5, 12))
    phi = np.tile([0.0, 0.05, 0.4, 1.0], 3)
    model.place(s, y, volume, fibre=fibre, phi=phi)
    # Partners that touch: they fuse, with a neck, in the first tick.
    model.place(s + 5.0, y, 0.3 * volume, fibre=fibre, phi=phi)
    model.advance(1e-3, None)
    crystals = model.particles
    assert len(crystals) == 12
    assert (crystals["neck_nm"] > 0.0).sum() >= 6
    assert (crystals["phi"] > 0.6).sum() == 3
    shape = (math.ceil(2000.0 / pixel), math.ceil(2600.0 / pixel))
    assert held(model, shape=shape, pixel_size_nm=pixel) == pytest.approx(1.0, abs=1e-6)


def test_map_holds_the_volume_while_crystals_grow_fuse_and_strip() -> None:
    model = KineticModel(seed=34)
    view = {"shape": (200, 450), "pixel_size_nm": 5.0}
    necks = 0
    for bias in (-5.0, 5.0):
        for _ in range(60):
            model.advance(0.01, bias)
            if not len(model.particles):
                break
            necks += int((model.particles["neck_nm"] > 0.0).sum())
            assert held(model, **view) == pytest.approx(1.0, abs=1e-6)
    assert necks > 0


def test_tiles_of_a_picture_share_the_volume() -> None:
    """A crystal cut by the edge of the view is on both sides of it what it is as a whole."""
    model = KineticModel(seed=35)
    model.advance(0.8, -5.0)
    whole = model.thickness(shape=(160, 440), pixel_size_nm=5.0)
    tiles = [
        model.thickness(shape=(80, 220), pixel_size_nm=5.0, origin_nm=(x, y))
        for y in (200.0, -200.0)
        for x in (-550.0, 550.0)
    ]
    joined = np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])
    np.testing.assert_allclose(joined, whole, atol=1e-3)
    volume = float(joined.sum(dtype=np.float64)) * 25.0
    assert volume == pytest.approx(model.lithium_volume_nm3, rel=1e-6)
