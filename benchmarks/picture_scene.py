"""What is in a picture, in numbers that any code can draw: the input of the frame benchmark.

Follows ``simulators/kinetics`` (image.h, projection.c, scene.c, contrast.h): spheres cut by their
fibre and, from a facet order of 0.1 on, by the twelve {110} planes of their lattice; rough edges
and mottling of the carbon; attenuation, diffraction contrast and fringes.  The codes get all this
ready made and draw it; the C core derives it anew for each frame, which is work on its side only.
"""

from math import pi, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stmtem_control.simulators import KineticModel

__all__ = ["GRAIN_STEPS", "SKIN_NM", "TEXEL_NM", "Scene", "scene"]

Array = NDArray[np.floating[Any]]
Singles = NDArray[np.float32]

SKIN_NM: Final = 3.5  # oxide on the metal
GRAIN_STEPS: Final = 64
TEXEL_NM: Final = 3.0
_TEXTURE_SIZE: Final = 128
_ENERGY_KEV: Final = 200.0
_UNDERFOCUS_NM: Final = 1000.0
_PHASE_OVER_LOSS: Final = 12.0


class Scene(NamedTuple):
    """A view of a specimen, and the camera.  Lengths in nm; arrays by particle first."""

    height: int
    width: int
    pixel: float
    origin_x: float
    origin_y: float
    # particles: one body, or two while a neck is open
    bodies: NDArray[np.int64]
    body: Array  # (particle, 2, 4): x, y, z, radius
    faces: NDArray[np.int64]  # (particle, 2): 0 or 12
    face: Array  # (particle, 2, 12, 3)
    face_distance: Array  # (particle, 2)
    outward: Array  # (particle, 2, 2): y, z
    fibre_y: Array
    volume: Array
    grain_loss: Singles  # (particle, GRAIN_STEPS + 2)
    grain_per_nm: Array
    # carbon
    fibre_radius: float
    fibre_centre: Array
    edge: Singles  # (fibre, 2, width): upper, lower
    texture: Singles
    # beam
    metal: float  # attenuation, 1/nm
    carbon: float
    oxide: float
    fringe: float
    electrons: float  # a pixel, in vacuum
    # camera
    gain: float
    offset: float
    readout: float
    spread: float


def scene(
    model: KineticModel,
    shape: tuple[int, int],
    *,
    pixel_size_nm: float,
    electrons_per_pixel: float,
    origin_nm: tuple[float, float] = (0.0, 0.0),
    gain: float = 8.0,
    offset: float = 100.0,
    readout: float = 3.0,
    spread: float = 0.08,
) -> Scene:
    """Describe a view as ``KineticModel.frame`` draws it without a probe, 200 keV, 1 um underfocus.

    Raises
    ------
    ValueError
        A particle has two grains, whose lattices the model does not tell.
    """
    particles, parameters = model.particles, model.parameters
    if (particles["grains"] > 1).any():
        raise ValueError("a particle has two grains")
    fibres = range(int(parameters["fibre_count"]))
    centres: Array = np.array(
        [(f - 0.5 * (len(fibres) - 1)) * parameters["fibre_spacing_nm"] for f in fibres]
    )
    solids = _solids(model, particles, centres)
    x = origin_nm[0] + (np.arange(shape[1]) + 0.5 - 0.5 * shape[1]) * pixel_size_nm
    edge = [[_edge(model, 4 * fibre + 2 * side, x) for side in range(2)] for fibre in fibres]
    loss, per_nm = _grains(model, particles, solids["body"][:, 0, 3])
    metal, carbon, oxide = _attenuation()
    return Scene(
        height=shape[0],
        width=shape[1],
        pixel=pixel_size_nm,
        origin_x=origin_nm[0],
        origin_y=origin_nm[1],
        **solids,
        fibre_y=centres[particles["fibre"]],
        volume=particles["volume_nm3"].copy(),
        grain_loss=loss,
        grain_per_nm=per_nm,
        fibre_radius=parameters["fibre_radius_nm"],
        fibre_centre=centres,
        edge=np.array(edge, dtype=np.float32),
        texture=_texture(model.seed),
        metal=metal,
        carbon=carbon,
        oxide=oxide,
        fringe=_wavelength() * _UNDERFOCUS_NM / (2.0 * pi) * _PHASE_OVER_LOSS / pixel_size_nm**2,
        electrons=electrons_per_pixel,
        gain=gain,
        offset=offset,
        readout=readout,
        spread=spread,
    )


# ---- random numbers keyed by what they are for -------------------------------------------------

_EDGE, _TEXTURE, _ORIENTATION = 7, 6, 5


def _draw(seed: int, purpose: int, identity: ArrayLike, when: ArrayLike) -> NDArray[np.uint64]:
    """Philox4x32-10 blocks, as four words along the first axis."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    whom, moment = (np.asarray(each, np.int64).astype(np.uint64) for each in (identity, when))
    c = [
        whom & low,
        (whom >> half & np.uint64(0x00FFFFFF)) | np.uint64(purpose << 24),
        moment & low,
        moment >> half,
    ]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        first = np.uint64(0xD2511F53) * c[0]
        second = np.uint64(0xCD9E8D57) * c[2]
        c = [
            (second >> half) ^ c[1] ^ np.uint64(key[0]),
            second & low,
            (first >> half) ^ c[3] ^ np.uint64(key[1]),
            first & low,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(np.broadcast_arrays(*c))


def _uniform(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> Array:
    bits = ((high << np.uint64(32)) | low) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def _normal(block: NDArray[np.uint64]) -> Array:
    """Two normal numbers a block, along the last axis."""
    radius = np.sqrt(-2.0 * np.log(_uniform(block[0], block[1])))
    angle = 2.0 * pi * _uniform(block[2], block[3])
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


# ---- carbon ------------------------------------------------------------------------------------


def _texture(seed: int) -> Singles:
    pairs = np.arange(0, _TEXTURE_SIZE**2, 2)
    normal = _normal(_draw(seed, _TEXTURE, pairs, 0))
    return (1.0 + 0.015 * normal).astype(np.float32).reshape(_TEXTURE_SIZE, _TEXTURE_SIZE)


def _smooth_noise(seed: int, line: int, x: Array, period: float) -> Array:
    place = x / period
    knot = np.floor(place)
    t = place - knot
    value = []
    for side in (0.0, 1.0):
        block = _draw(seed, _EDGE, line, knot + side)
        value.append(2.0 * _uniform(block[0], block[1]) - 1.0)
    noise: Array = value[0] + (value[1] - value[0]) * t * t * (3.0 - 2.0 * t)
    return noise


def _edge(model: KineticModel, line: int, x: Array) -> Array:
    radius = model.parameters["fibre_radius_nm"]
    inside = (x + 0.5 * model.parameters["fibre_length_nm"]) / (0.9 * radius) + 0.5
    inside = np.clip(inside, 0.0, 1.0)
    edge: Array = np.sqrt(inside * (2.0 - inside)) * (
        radius
        + 2.5 * _smooth_noise(model.seed, line, x, 70.0)
        + _smooth_noise(model.seed, line + 1, x, 9.0)
    )
    return edge


# ---- particles ---------------------------------------------------------------------------------


def _rotations(seed: int, lattice: NDArray[np.int64]) -> Array:
    """Rotation matrix of each lattice."""
    first = _normal(_draw(seed, _ORIENTATION, lattice, 0))
    second = _normal(_draw(seed, _ORIENTATION, lattice, 1))
    q = np.concatenate([first, second], axis=-1)
    w, x, y, z = (q / np.linalg.norm(q, axis=-1, keepdims=True)).T
    rows = [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _faces() -> Array:
    """Return the twelve {110} normals of a crystal."""
    signs = [(u, v) for u in (-1.0, 1.0) for v in (-1.0, 1.0)]
    normals = [(0.0, u, v) for u, v in signs]
    normals += [(u, 0.0, v) for u, v in signs] + [(u, v, 0.0) for u, v in signs]
    return np.array(normals) / sqrt(2.0)


def _solids(model: KineticModel, particles: NDArray[np.void], centres: Array) -> dict[str, Any]:
    count, fibre_radius = len(particles), model.parameters["fibre_radius_nm"]
    tau = np.tan(0.5 * particles["contact_angle_rad"])
    factor = pi / 6.0 * tau * (3.0 + tau**2)
    volume, share = particles["volume_nm3"], particles["neck_share"]
    neck = np.where(share > 0.0, particles["neck_nm"], 0.0)
    touching = np.cbrt((1.0 - share) * volume / factor) + np.cbrt(share * volume / factor)
    opened = np.minimum(1.0, neck / touching)
    ds = neck * np.cos(particles["neck_direction_rad"])
    dy = neck * np.sin(particles["neck_direction_rad"])
    phi = particles["phi"]
    faceted = phi > 0.1
    body, outward = np.zeros((count, 2, 4)), np.zeros((count, 2, 2))
    for which in range(2):
        part = volume * (share if which else 1.0 - share * opened)
        moved = 1.0 - share if which else -share
        base = np.cbrt(part / factor)
        radius = base * (1.0 + tau**2) / (2.0 * tau)
        lift = fibre_radius - radius + base * tau
        azimuth = (particles["y_nm"] + moved * dy) / fibre_radius
        outward[:, which, 0], outward[:, which, 1] = np.cos(azimuth), np.sin(azimuth)
        body[:, which, 0] = (
            particles["s_nm"] + moved * ds - 0.5 * model.parameters["fibre_length_nm"]
        )
        body[:, which, 1] = centres[particles["fibre"]] + lift * outward[:, which, 0]
        body[:, which, 2] = lift * outward[:, which, 1]
        body[:, which, 3] = radius
    face = np.einsum("nij,fj->nfi", _rotations(model.seed, particles["uid"]), _faces())
    distance = body[:, :, 3] * (1.0 - 0.13 * phi)[:, None]
    body[:, :, 3] *= np.where(faceted, 1.0 + 0.2 * phi, 1.0)[:, None]
    return {
        "bodies": np.where(neck > 0.0, 2, 1),
        "body": body,
        "faces": np.repeat(np.where(faceted, 12, 0)[:, None], 2, axis=1),
        "face": np.repeat(face[:, None], 2, axis=1),
        "face_distance": distance,
        "outward": outward,
    }


# ---- beam --------------------------------------------------------------------------------------


def _wavelength() -> float:
    volts = _ENERGY_KEV * 1e3
    return float(1.226426 / sqrt(volts * (1.0 + _ENERGY_KEV / (2.0 * 510.99895))))


def _attenuation() -> tuple[float, float, float]:
    """Attenuation of lithium, porous carbon and oxide at 200 keV, 1/nm; see contrast.h."""

    def of(elastic_nm: float, number: float) -> float:
        loss = 7.6 * number**0.36
        relativistic = (1.0 + _ENERGY_KEV / 1022.0) / (1.0 + _ENERGY_KEV / 511.0) ** 2
        inelastic_nm = 106.0 * relativistic * _ENERGY_KEV / loss
        return float(1.0 / elastic_nm + 0.5 * np.log(20.0 * _ENERGY_KEV / loss) / inelastic_nm)

    return of(1446.0, 3.0), 0.35 * of(265.0, 6.0), of(235.0, 4.7)


def _grains(
    model: KineticModel, particles: NDArray[np.void], radius: Array
) -> tuple[Singles, Array]:
    """Loss by diffraction against thickness, and steps of that table per nm."""
    omega = model.parameters["atomic_volume_nm3"]
    lattice_nm = np.cbrt(2.0 * omega)
    per_nm = GRAIN_STEPS / (2.0 * radius)
    loss = np.zeros((len(particles), GRAIN_STEPS + 2), dtype=np.float32)
    steps = range(-2, 3)
    index = np.array([(h, k, m) for h in steps for k in steps for m in steps])
    square = (index**2).sum(axis=1)
    index, square = index[np.isin(square, [2, 4, 6])], square[np.isin(square, [2, 4, 6])]
    extinction = np.select([square == 2, square == 4], [262.0, 454.0], 617.0)
    rotations = _rotations(model.seed, particles["uid"])
    for n, rotation in enumerate(rotations):
        deviation = -(index @ rotation[2]) / lattice_nm
        deviation = deviation - 0.5 * _wavelength() * square / lattice_nm**2
        near = np.flatnonzero(extinction * np.abs(deviation) <= 8.0)[:8]
        xi = extinction[near]
        s = np.sqrt(deviation[near] ** 2 + xi**-2)
        t = np.arange(GRAIN_STEPS + 2)[:, None] / per_nm[n]
        wave = np.sin(pi * t * s) / (xi * s)
        diffracted = np.minimum((wave**2).sum(axis=1), 0.8) * particles["crystalline"][n]
        loss[n] = -np.log(1.0 - diffracted)
    return loss, per_nm
