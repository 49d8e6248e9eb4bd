"""Diffraction patterns of the specimen against crystallography."""

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.diffraction import (
    bcc_reflections,
    diffraction_intensity,
    grain_orientations,
    lattice_constant_A,
)

Map = NDArray[np.float64]

# Nothing nucleates, moves or ripens by itself; the fibre is wide enough for many crystals.
STILL: dict[str, Any] = {"site_count": 0, "migration_factor": 0.0, "kelvin": 0}
WIDE: dict[str, Any] = STILL | {"fibre_radius_nm": 500.0, "fibre_length_nm": 8000.0}
PER_PX = 0.005


@cache
def grid() -> tuple[Map, Map, Map]:
    """X and y (up) of the pixels' middles and their distance from the beam, 1/A."""
    rows, columns = np.indices((512, 512))
    x = np.asarray((columns + 0.5 - 256) * PER_PX, dtype=float)
    y = np.asarray((256 - rows - 0.5) * PER_PX, dtype=float)
    return x, y, np.asarray(np.hypot(x, y))


def ring_mean(picture: Map, inverse_A: float, width: float = 0.005) -> float:
    return float(picture[np.abs(grid()[2] - inverse_A) < width].mean())


def profile(picture: Map, radii: Map) -> Map:
    return np.array([ring_mean(picture, radius, 0.003) for radius in radii])


def of_particles(model: KineticModel, **options: Any) -> Map:
    """Mean pattern of the particles: what the same fibre without any gives is taken away."""
    parameters: dict[str, Any] = dict(model.parameters)
    bare = KineticModel(model.preset, model.seed, **parameters)
    pair = [diffraction_intensity(m, **options).astype(float) for m in (model, bare)]
    return np.asarray(pair[0] - pair[1])


def powder(volume_nm3: float, count: int, preset: str = "fig2") -> KineticModel:
    """So many equal crystals with orientations at random, spread over the top of a fibre."""
    model = KineticModel(preset, 3, **WIDE)
    place = np.random.default_rng(5)
    s = place.uniform(2000.0, 6000.0, count)
    y = place.uniform(-300.0, 300.0, count) + 500.0 * math.pi / 2
    model.place(s, y, np.full(count, volume_nm3))
    return model


LARGE_VIEW: dict[str, Any] = {"aperture_nm": 5000.0, "electrons": 1e12}


@pytest.fixture(scope="module")
def powder_map() -> Map:
    """1500 crystals of some 20 nm."""
    return of_particles(powder(2000.0, 1500), **LARGE_VIEW)


def box(picture: Map, x: float, y: float, half: int = 4) -> float:
    """Sum over a square of pixels around a point in 1/A, less the level of its rim."""
    row = round(picture.shape[0] / 2 - y / PER_PX - 0.5)
    column = round(picture.shape[1] / 2 + x / PER_PX - 0.5)
    part = picture[row - half : row + half + 1, column - half : column + half + 1]
    rim = np.median(np.concatenate([part[0], part[-1], part[1:-1, 0], part[1:-1, -1]]))
    return float((part - rim).sum())


def spots(
    rotation: NDArray[np.float64], lattice_A: float, thickness_nm: float, odd: bool
) -> NDArray[np.float64]:
    """(x, y, h, k, l) of lattice points near the Ewald sphere (200 keV)."""
    span = np.arange(-3, 4)
    hkl = np.stack(np.meshgrid(span, span, span), axis=-1).reshape(-1, 3)
    hkl = hkl[(hkl.sum(axis=1) % 2 == int(odd)) & np.any(hkl, axis=1)]
    g = hkl @ rotation.T / lattice_A
    square = (g**2).sum(axis=1)
    deviation_nm = 10.0 * np.abs(g[:, 2] + 0.5 * 0.02508 * square)
    near = (deviation_nm < 0.3 / thickness_nm) & (square < 1.0)
    return np.column_stack([g[near, :2], hkl[near].astype(float)])


def apart(points: Map, others: Map, distance: float) -> Map:
    """Points (first two columns) that lie at least so far from all others, itself excepted."""
    gap = np.hypot(*(points[:, None, :2] - others[None, :, :2]).transpose(2, 0, 1))
    gap[gap == 0.0] = np.inf
    return np.asarray(points[gap.min(axis=1, initial=np.inf) > distance])


# ---- single grains ------------------------------------------------------------------------


def single(seed: int, volume_nm3: float) -> tuple[KineticModel, Map, float]:
    """One crystal on top of the fibre, its rotation and its height."""
    model = KineticModel(seed=seed, **WIDE)
    model.place(4000.0, 500.0 * math.pi / 2, volume_nm3)
    (grain,) = grain_orientations(model)
    return model, np.asarray(grain["rotation"]), float(model.particles["height_nm"][0])


def lone_spots(rotation: Map, thickness_nm: float, distance: float = 0.05) -> Map:
    """Strong spots that no other spot, not even a weak one, comes near to."""
    weak = spots(rotation, 3.5097, thickness_nm / 12.0, odd=False)
    return apart(spots(rotation, 3.5097, thickness_nm, odd=False), weak, distance)


def test_spots_lie_on_the_lattice_and_none_at_odd_sums() -> None:
    bright, empty = [], []
    for seed in range(11, 21):
        model, rotation, thick = single(seed, 1500.0)
        picture = of_particles(model, aperture_nm=100.0, electrons=1e10)
        weak = spots(rotation, 3.5097, thick / 12.0, odd=False)
        odd = apart(spots(rotation, 3.5097, thick / 3.0, odd=True), weak, 0.08)
        bright += [box(picture, x, y) for x, y, *_ in lone_spots(rotation, thick)]
        empty += [box(picture, x, y) for x, y, *_ in odd]
    assert len(bright) >= 5
    assert len(empty) >= 5
    assert min(bright) > 0.0
    assert max(np.abs(empty)) < 0.01 * min(bright)


def test_a_spot_holds_what_a_column_diffracts() -> None:
    model, rotation, thick = single(14, 1500.0)
    particle = model.particles[0]
    picture = of_particles(model, aperture_nm=100.0, electrons=1e10)
    x, y, *hkl = lone_spots(rotation, thick)[0]
    g = np.array(hkl) @ rotation.T / 3.5097
    s = 10.0 * (g[2] + 0.5 * 0.0250793 * (g @ g))
    order = bcc_reflections(3.5097, 200.0)
    family = order[np.argmin(np.abs(order["inverse_d_A"] - math.sqrt(g @ g)))]
    xi = family["extinction_nm"] * math.exp(0.25 * 4.7 * (g @ g))
    # A cap seen from above, as thin rings of columns.
    a, radius = float(particle["base_radius_nm"]), float(particle["radius_nm"])
    r = (np.arange(2000) + 0.5) / 2000 * a
    t = np.sqrt(radius**2 - r**2) - (radius - thick)
    area = 2.0 * math.pi * r * a / 2000
    share = (np.sin(math.pi * t * s) / (xi * s)) ** 2
    expected = 1e10 / (math.pi * 50.0**2) * (area * share).sum() * particle["crystalline"]
    assert box(picture, x, y, 6) == pytest.approx(expected, rel=0.05)


def friedel(volume_nm3: float, energy_keV: float, loose: float, distance: float) -> Map:
    """Ratios of the spots g and -g of 110 of single crystals, the weaker over the stronger."""
    ratios: list[float] = []
    for seed in range(21, 171):
        model, rotation, thick = single(seed, volume_nm3)
        found = lone_spots(rotation, thick / loose, distance)
        found = found[np.hypot(found[:, 0], found[:, 1]) < 0.45]
        if not len(found):
            continue
        picture = of_particles(
            model,
            aperture_nm=400.0,
            electrons=1e12,
            energy_keV=energy_keV,
            beam_width_inverse_A=0.012,
        )
        for x, y, *_ in found:
            pair = box(picture, x, y, 8), box(picture, -x, -y, 8)
            ratios.append(min(pair) / max(pair))
    return np.array(ratios)


def test_friedel_pairs_are_equal_in_thin_crystals() -> None:
    thin = friedel(200.0, 1000.0, 1.0, 0.05)
    assert len(thin) >= 10
    assert thin.min() > 0.85
    # The Ewald sphere is curved: a thick crystal cannot be at g and -g at once.
    thick = friedel(3e5, 100.0, 4.0, 0.0)
    assert len(thick) >= 5
    assert np.median(thick) < 0.5


def test_disordered_matter_scatters_alike_to_both_sides() -> None:
    picture = diffraction_intensity(KineticModel(seed=1))
    np.testing.assert_allclose(picture, picture[::-1, ::-1], rtol=1e-5)


# ---- powder -------------------------------------------------------------------------------


def test_ring_radii(powder_map: Map) -> None:
    found = []
    for row in bcc_reflections(3.5097, 200.0, largest_inverse_A=1.0):
        expected = float(row["inverse_d_A"])
        radii = np.arange(expected - 0.03, expected + 0.03, 0.001)
        line = np.array([ring_mean(powder_map, r, 0.0025) for r in radii])
        line -= np.linspace(line[:10].mean(), line[-10:].mean(), len(line))
        top = np.clip(line - 0.5 * line.max(), 0.0, None)
        found.append((top * radii).sum() / top.sum())
    ratios = np.array(found) / found[0]
    np.testing.assert_allclose(ratios, np.sqrt([1, 2, 3, 4, 5, 6]), rtol=0.004)
    assert found[0] == pytest.approx(math.sqrt(2.0) / 3.5097, rel=0.003)


def test_ring_intensities(powder_map: Map) -> None:
    """Electrons in a ring: dose times volume times (pi/xi)^2 d/2 for each reflection."""
    _, _, radius = grid()
    dose = 1e12 / (math.pi * 2500.0**2)
    crystalline = float(powder(2000.0, 1).particles["crystalline"][0])
    volume = 1500 * 2000.0 * crystalline
    for row in bcc_reflections(3.5097, 200.0, largest_inverse_A=0.75):
        g, order = float(row["inverse_d_A"]), tuple(row["hkl"])
        inside = np.abs(radius - g) < 0.02
        rims = (np.abs(radius - g) > 0.02) & (np.abs(radius - g) < 0.024)
        found = powder_map[inside].sum() - np.median(powder_map[rims]) * inside.sum()
        strength = (math.pi / float(row["extinction_nm"])) ** 2 * math.exp(-0.5 * 4.7 * g * g)
        expected = dose * volume * strength * int(row["multiplicity"]) * 0.05 / g
        # Several hundred spots of unequal strength: 10 % rms at most.
        assert found == pytest.approx(expected, rel=0.3), order


def test_sodium_and_potassium_have_their_own_rings() -> None:
    for preset, lattice_A in (("na", 4.29), ("k", 5.325)):
        model = powder(3000.0, 600, preset)
        assert lattice_constant_A(model) == pytest.approx(lattice_A, abs=0.01)
        picture = of_particles(model, **LARGE_VIEW)
        expected = math.sqrt(2.0) / lattice_constant_A(model)
        radii = np.arange(expected - 0.04, expected + 0.04, 0.002)
        assert radii[np.argmax(profile(picture, radii))] == pytest.approx(expected, abs=0.004)


# ---- disorder -----------------------------------------------------------------------------


def test_halo_of_tiny_nuclei_vanishes_in_crystals() -> None:
    tiny = of_particles(powder(100.0 * 0.02162, 1500), **LARGE_VIEW) / (1500 * 100.0 * 0.02162)
    large = of_particles(powder(1e6, 40), **LARGE_VIEW) / (40 * 1e6)
    _, _, radius = grid()
    radii = np.arange(0.33, 0.55, 0.005)
    halo = profile(tiny, radii)
    # Broad and smooth, with its top near d = 2.5 A.
    assert 1.0 / radii[np.argmax(halo)] == pytest.approx(2.5, abs=0.15)
    above = radii[halo > 0.5 * halo.max()]
    assert above[-1] - above[0] > 0.05
    ring = np.abs(radius - 0.40) < 0.004
    assert tiny[ring].std() < 0.05 * tiny[ring].mean()

    # Crystals have sharp spots, and between them no bump there.
    def bump(picture: Map) -> float:
        level = [np.median(picture[np.abs(radius - g) < 0.004]) for g in (0.34, 0.385, 0.46)]
        return float(level[1] - 0.5 * (level[0] + level[2]))

    assert bump(large) < 0.02 * bump(tiny)
    assert large[ring].std() > large[ring].mean()


def peak_share(volume_nm3: float) -> float:
    """Share of a spot in its brightest pixel: 110 of the first crystal that shows it alone."""
    for seed in range(40, 120):
        model, rotation, thick = single(seed, volume_nm3)
        near = [p for p in lone_spots(rotation, thick) if math.hypot(p[0], p[1]) < 0.45]
        if not near:
            continue
        picture = of_particles(model, aperture_nm=200.0, electrons=1e12)
        row, column = int(256 - near[0][1] / PER_PX), int(256 + near[0][0] / PER_PX)
        part = picture[row - 8 : row + 9, column - 8 : column + 9]
        part = part - np.median(part)
        return float(part.max() / part.sum())
    raise AssertionError("no crystal shows a spot")


def test_spots_of_small_crystals_are_broad() -> None:
    assert peak_share(300.0) < 0.5 * peak_share(20000.0)


def test_carbon_rings_come_from_the_fibre_in_the_aperture() -> None:
    model = KineticModel(seed=1)
    picture = diffraction_intensity(model).astype(float)
    for spacing, width in ((3.5, 0.04), (2.1, 0.03)):
        radii = np.arange(1 / spacing - width, 1 / spacing + width, 0.002)
        line = profile(picture, radii)
        top = int(np.argmax(line))
        assert 0 < top < len(radii) - 1
        assert radii[top] == pytest.approx(1.0 / spacing, abs=0.02)
    # Layers lie along the fibre: (002) is stronger across it.
    x, y, radius = grid()
    ring = np.abs(radius - 0.286) < 0.01
    across, along = ring & (np.abs(x) < 0.05), ring & (np.abs(y) < 0.05)
    assert picture[across].mean() > 1.15 * picture[along].mean()
    beside = diffraction_intensity(model, aperture_centre_nm=(0.0, 700.0)).astype(float)
    assert ring_mean(beside, 0.286) == 0.0
    beyond = diffraction_intensity(model, aperture_centre_nm=(-1500.0, 0.0)).astype(float)
    assert ring_mean(beyond, 0.286) == 0.0


def test_oxide_rings_come_with_the_age_of_lithium() -> None:
    model = KineticModel(seed=3, **WIDE, tick_s=0.01)
    place = np.arange(2000.0, 6000.0, 100.0)
    model.place(place, 500.0 * math.pi / 2, 2000.0)
    _, _, radius = grid()

    def contrast() -> Map:
        picture = of_particles(model, **LARGE_VIEW)
        levels = [
            np.median(picture[np.abs(radius - g) < 0.003])
            for g in (1 / 2.667, 0.335, 1 / 1.633, 0.655)
        ]
        return np.array([levels[0] / levels[1], levels[2] / levels[3]])

    assert contrast().max() < 1.2
    model.advance(10.0, None)
    assert contrast().min() > 2.0


# ---- bicrystals ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [12, 20, 32])  # both lattices have a spot that stands alone
def test_two_sets_of_spots_while_a_bicrystal_lives(seed: int) -> None:
    model = KineticModel(seed=seed, **WIDE, boundary_sweep_nm2_s=2000.0)
    top = 500.0 * math.pi / 2
    model.place([4000.0, 4026.0], [top, top], 4000.0)
    two = grain_orientations(model)
    assert len(two) == 2
    model.advance(0.002, None)
    assert len(model.particles) == 1
    both = grain_orientations(model)
    assert both["lattice"].tolist() == two["lattice"].tolist()
    assert both["volume_nm3"].sum() == pytest.approx(8000.0)

    def spot_sum(which: int) -> float:
        """Electrons in the spots of one lattice that the other one does not come near to."""
        picture = of_particles(model, aperture_nm=200.0, electrons=1e10)
        thick = float(model.particles["height_nm"][0])
        weak = [spots(g["rotation"], 3.5097, thick / 6.0, odd=False) for g in both]
        own = spots(both["rotation"][which], 3.5097, thick / 2.0, odd=False)
        alone = apart(own, np.concatenate(weak), 0.03)
        assert len(alone) >= 1
        return sum(box(picture, x, y, 3) for x, y, *_ in alone)

    first, second = spot_sum(0), spot_sum(1)
    assert first > 0.0
    assert second > 0.0
    life = float(model.particles["boundary_life_s"][0])
    model.advance(life + 0.002, None)
    ends = model.events[model.events["kind"] == KineticModel.EVENT_KINDS["boundary_end"]]
    assert len(ends) == 1
    (left,) = grain_orientations(model)
    assert left["lattice"] == both["lattice"][0]
    assert spot_sum(0) > 1.3 * first
    assert abs(spot_sum(1)) < 0.02 * second


def test_aperture_selects_particles() -> None:
    model = KineticModel(seed=4, **WIDE)
    top = 500.0 * math.pi / 2
    model.place([3000.0, 5000.0], [top, top], [4000.0, 4000.0])
    view: dict[str, Any] = {"electrons": 1e10, "aperture_nm": 400.0}
    left, right, none = (
        of_particles(model, aperture_centre_nm=(x, 0.0), **view) for x in (-1000.0, 1000.0, 0.0)
    )
    assert not none.any()
    _, _, radius = grid()
    outside = radius > 0.2
    bright = outside & (left > 0.3 * left[outside].max())
    assert right[bright].mean() < 0.1 * left[bright].mean()
    # An aperture whose edge runs through a particle takes a part of it.
    cut = of_particles(model, aperture_centre_nm=(-1200.0, 0.0), **view)
    assert 0.2 < cut[outside].sum() / left[outside].sum() < 0.8
