"""A frame in NumPy: whole arrays, the generator's own Poisson and normal numbers."""

import numpy as np
from numpy.typing import NDArray

from .picture_scene import GRAIN_STEPS, SKIN_NM, TEXEL_NM, Array, Scene, Singles

__all__ = ["expected", "frame", "spread_out", "thickness"]

Frame = NDArray[np.uint16]


def _path(view: Scene, n: int, which: int, x: Array, y: Array, skin: float) -> Array:
    """Length of the beam's path through one body, at all (y, x)."""
    centre_x, centre_y, centre_z, outer = view.body[n, which]
    radius = outer - skin
    if radius <= 0.0:
        return np.zeros((len(y), len(x)))
    dx, dy = (x - centre_x)[None, :], (y - centre_y)[:, None]
    inside = radius * radius - dx * dx - dy * dy
    half = np.sqrt(np.maximum(inside, 0.0))
    low, high = -half, half
    for face in view.face[n, which, : view.faces[n, which]]:
        room = (view.face_distance[n, which] - skin - face[0] * dx) - face[1] * dy
        if face[2] > 1e-9:
            high = np.minimum(high, room / face[2])
        elif face[2] < -1e-9:
            low = np.maximum(low, room / face[2])
        else:
            high = np.where(room < 0.0, low, high)
    low, high = low + centre_z, high + centre_z
    from_axis = (y - view.fibre_y[n])[:, None]
    out_y, out_z = view.outward[n, which]
    if out_z > 1e-9:
        low = np.maximum(low, -from_axis * out_y / out_z)
    elif out_z < -1e-9:
        high = np.minimum(high, -from_axis * out_y / out_z)
    else:
        high = np.where(from_axis * out_y < 0.0, low, high)
    carbon = view.fibre_radius**2 - from_axis**2
    wall = np.sqrt(np.maximum(carbon, 0.0))
    cut = np.maximum(0.0, np.minimum(high, -wall) - low)
    cut += np.maximum(0.0, high - np.maximum(low, wall))
    path = np.where(carbon > 0.0, cut, np.maximum(0.0, high - low))
    return np.where(inside > 0.0, path, 0.0)


def _mean_path(view: Scene, n: int, x: Array, y: Array, fine: int, skin: float) -> Array:
    path = _path(view, n, 0, x, y, skin)
    if view.bodies[n] > 1:
        path = np.maximum(path, _path(view, n, 1, x, y, skin))
    if fine == 1:
        return path
    rows, columns = len(y) // fine, len(x) // fine
    means: Array = path.reshape(rows, fine, columns, fine).mean(axis=(1, 3))
    return means


def _particle(view: Scene, n: int, target: Singles, as_loss: bool) -> None:
    """Add one particle to a map of thickness or loss."""
    body = view.body[n, : view.bodies[n]]
    left, right = (body[:, 0] - body[:, 3]).min(), (body[:, 0] + body[:, 3]).max()
    bottom, top = (body[:, 1] - body[:, 3]).min(), (body[:, 1] + body[:, 3]).max()
    pixel, middle_x, middle_y = view.pixel, 0.5 * view.width - 0.5, 0.5 * view.height - 0.5
    first_column = int(np.floor((left - view.origin_x) / pixel + middle_x))
    last_column = int(np.ceil((right - view.origin_x) / pixel + middle_x))
    first_row = int(np.floor(middle_y - (top - view.origin_y) / pixel))
    last_row = int(np.ceil(middle_y - (bottom - view.origin_y) / pixel))
    if last_column < 0 or last_row < 0 or first_column >= view.width or first_row >= view.height:
        return
    wide = right - left
    fine = 6 if wide < 3.0 * pixel else (2 if wide < 8.0 * pixel else 1)
    columns = (np.arange((last_column - first_column + 1) * fine) + 0.5) / fine + first_column
    rows = (np.arange((last_row - first_row + 1) * fine) + 0.5) / fine + first_row
    x = view.origin_x + (columns - 0.5 * view.width) * pixel
    y = view.origin_y - (rows - 0.5 * view.height) * pixel
    path = _mean_path(view, n, x, y, fine, 0.0)
    scale = view.volume[n] / (path.sum() * pixel * pixel)
    path *= scale
    added = path
    if as_loss:
        core = scale * _mean_path(view, n, x, y, fine, SKIN_NM)
        added = view.metal * core + view.oxide * (path - core) + _diffracted(view, n, core)
    inside = (
        slice(max(0, -first_row), view.height - first_row),
        slice(max(0, -first_column), view.width - first_column),
    )
    target[max(0, first_row) : last_row + 1, max(0, first_column) : last_column + 1] += added[
        inside
    ].astype(np.float32)


def _diffracted(view: Scene, n: int, core: Array) -> Array:
    place = np.minimum(core * view.grain_per_nm[n], GRAIN_STEPS)
    k = place.astype(np.int64)
    table = view.grain_loss[n]
    loss: Array = table[k] + (place - k) * (table[k + 1] - table[k])
    return loss


def thickness(view: Scene) -> Singles:
    """Return the thickness of metal along the beam, nm."""
    target = np.zeros((view.height, view.width), dtype=np.float32)
    for n in range(len(view.volume)):
        _particle(view, n, target, as_loss=False)
    return target


def _fibres(view: Scene, target: Singles) -> None:
    pixel, texture = view.pixel, view.texture
    size = len(texture)
    y = view.origin_y - (np.arange(view.height) + 0.5 - 0.5 * view.height) * pixel
    x = view.origin_x + (np.arange(view.width) + 0.5 - 0.5 * view.width) * pixel
    columns = np.floor(x / TEXEL_NM).astype(np.int64) % size
    for f, centre in enumerate(view.fibre_centre):
        rows = np.flatnonzero(np.abs(y - centre) < view.fibre_radius + 3.5)
        lines = np.floor(y[rows] / TEXEL_NM).astype(np.int64) % size
        from_axis = (y[rows] - centre)[:, None]
        edge = np.where(from_axis > 0.0, view.edge[f, 0], view.edge[f, 1])
        chord = np.sqrt(np.maximum(edge**2 - from_axis**2, 0.0), dtype=np.float32)
        grain = texture[lines[:, None], columns[None, :]]
        target[rows] += np.float32(2.0 * view.carbon) * chord * grain


def expected(view: Scene) -> Singles:
    """Return the expected number of electrons of each pixel."""
    loss = np.zeros((view.height, view.width), dtype=np.float32)
    _fibres(view, loss)
    for n in range(len(view.volume)):
        _particle(view, n, loss, as_loss=True)
    padded = np.pad(loss, 1, mode="edge")
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    fringe = np.float32(view.fringe) * (neighbours - np.float32(4.0) * loss)
    np.clip(fringe, np.float32(-0.4), np.float32(0.3), out=fringe)
    mean: Singles = np.float32(view.electrons) * np.exp(fringe - loss)
    return mean


def spread_out(electrons: Singles, share: float) -> Singles:
    """Let each pixel give a share of its charge to each neighbour along rows and columns."""
    side, middle = np.float32(share), np.float32(1.0 - 2.0 * share)
    padded = np.pad(electrons, 1, mode="edge")
    along = middle * padded[:, 1:-1] + side * (padded[:, :-2] + padded[:, 2:])
    both = middle * along[1:-1] + side * (along[:-2] + along[2:])
    return both.astype(np.float32, copy=False)


def frame(view: Scene, random: np.random.Generator) -> Frame:
    """Return one frame of the camera."""
    counts = random.poisson(expected(view)).astype(np.float32)
    charge = spread_out(counts, view.spread)
    noise = random.standard_normal(charge.shape, dtype=np.float32)
    value = np.float32(view.gain) * charge + np.float32(view.offset + 0.5)
    value += np.float32(view.readout) * noise
    picture: Frame = np.clip(value, 0.0, 65535.0).astype(np.uint16)
    return picture
