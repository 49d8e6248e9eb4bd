"""A frame in Numba, plainly: loops over pixels, ``np.random.poisson`` and normal numbers."""

from math import ceil, floor, sqrt
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .picture_scene import GRAIN_STEPS, SKIN_NM, TEXEL_NM, Scene, Singles

__all__ = ["draw_fibres", "draw_particles", "expected", "frame", "seed"]

Frame = NDArray[np.uint16]

# Division by zero is not looked for: then loops become vector code.
_fast = numba.njit(error_model="numpy")


@_fast
def _body_path(view: Scene, n: int, which: int, x: float, y: float, skin: float) -> float:
    dx, dy = x - view.body[n, which, 0], y - view.body[n, which, 1]
    radius = view.body[n, which, 3] - skin
    inside = radius * radius - dx * dx - dy * dy
    if radius <= 0.0 or inside <= 0.0:
        return 0.0
    high = sqrt(inside)
    low = -high
    for f in range(view.faces[n, which]):
        face = view.face[n, which, f]
        room = view.face_distance[n, which] - skin - face[0] * dx - face[1] * dy
        if face[2] > 1e-9:
            high = min(high, room / face[2])
        elif face[2] < -1e-9:
            low = max(low, room / face[2])
        elif room < 0.0:
            return 0.0
    low += view.body[n, which, 2]
    high += view.body[n, which, 2]
    from_axis = y - view.fibre_y[n]
    out_y, out_z = view.outward[n, which, 0], view.outward[n, which, 1]
    if out_z > 1e-9:
        low = max(low, -from_axis * out_y / out_z)
    elif out_z < -1e-9:
        high = min(high, -from_axis * out_y / out_z)
    elif from_axis * out_y < 0.0:
        return 0.0
    if high <= low:
        return 0.0
    carbon = view.fibre_radius * view.fibre_radius - from_axis * from_axis
    if carbon <= 0.0:
        return high - low
    wall = sqrt(carbon)
    return max(0.0, min(high, -wall) - low) + max(0.0, high - max(low, wall))


@_fast
def _path(view: Scene, n: int, x: float, y: float, fine: int, skin: float) -> float:
    total = 0.0
    for i in range(fine):
        for j in range(fine):
            fine_x = x + ((i + 0.5) / fine - 0.5) * view.pixel
            fine_y = y + ((j + 0.5) / fine - 0.5) * view.pixel
            path = _body_path(view, n, 0, fine_x, fine_y, skin)
            if view.bodies[n] > 1:
                path = max(path, _body_path(view, n, 1, fine_x, fine_y, skin))
            total += path
    return total / (fine * fine)


@_fast
def draw_particles(view: Scene, target: Singles) -> None:
    """Add the loss in all particles to a map."""
    pixel, height, width = view.pixel, view.height, view.width
    middle_x, middle_y = 0.5 * width - 0.5, 0.5 * height - 0.5
    for n in range(len(view.volume)):
        left = bottom = np.inf
        right = top = -np.inf
        for which in range(view.bodies[n]):
            x, y = view.body[n, which, 0], view.body[n, which, 1]
            radius = view.body[n, which, 3]
            left, right = min(left, x - radius), max(right, x + radius)
            bottom, top = min(bottom, y - radius), max(top, y + radius)
        first_column = floor((left - view.origin_x) / pixel + middle_x)
        last_column = ceil((right - view.origin_x) / pixel + middle_x)
        first_row = floor(middle_y - (top - view.origin_y) / pixel)
        last_row = ceil(middle_y - (bottom - view.origin_y) / pixel)
        if last_column < 0 or last_row < 0 or first_column >= width or first_row >= height:
            continue
        wide = right - left
        fine = 6 if wide < 3.0 * pixel else (2 if wide < 8.0 * pixel else 1)
        path = np.empty((last_row - first_row + 1, last_column - first_column + 1))
        total = 0.0
        for r in range(path.shape[0]):
            y = view.origin_y - (r + first_row + 0.5 - 0.5 * height) * pixel
            for c in range(path.shape[1]):
                x = view.origin_x + (c + first_column + 0.5 - 0.5 * width) * pixel
                path[r, c] = _path(view, n, x, y, fine, 0.0)
                total += path[r, c]
        scale = view.volume[n] / (total * pixel * pixel)
        for r in range(max(0, first_row), min(height, last_row + 1)):
            y = view.origin_y - (r + 0.5 - 0.5 * height) * pixel
            for c in range(max(0, first_column), min(width, last_column + 1)):
                thick = scale * path[r - first_row, c - first_column]
                if thick <= 0.0:
                    continue
                x = view.origin_x + (c + 0.5 - 0.5 * width) * pixel
                core = scale * _path(view, n, x, y, fine, SKIN_NM)
                place = min(core * view.grain_per_nm[n], float(GRAIN_STEPS))
                k = int(place)
                first = view.grain_loss[n, k]
                diffracted = first + (place - k) * (view.grain_loss[n, k + 1] - first)
                loss = view.metal * core + view.oxide * (thick - core) + diffracted
                target[r, c] += np.float32(loss)


@_fast
def draw_fibres(view: Scene, target: Singles) -> None:
    """Add the loss in all fibres to a map."""
    size = view.texture.shape[0]
    per_nm = np.float32(2.0 * view.carbon)
    columns = np.empty(view.width, dtype=np.int64)
    for c in range(view.width):
        x = view.origin_x + (c + 0.5 - 0.5 * view.width) * view.pixel
        columns[c] = floor(x / TEXEL_NM) % size
    for f in range(len(view.fibre_centre)):
        for r in range(view.height):
            stage_y = view.origin_y - (r + 0.5 - 0.5 * view.height) * view.pixel
            y = stage_y - view.fibre_centre[f]
            if abs(y) >= view.fibre_radius + 3.5:
                continue
            edge = view.edge[f, 0] if y > 0.0 else view.edge[f, 1]
            grain = view.texture[floor(stage_y / TEXEL_NM) % size]
            square = np.float32(y * y)
            for c in range(view.width):
                inside = edge[c] * edge[c] - square
                if inside > np.float32(0.0):
                    target[r, c] += per_nm * np.sqrt(inside) * grain[columns[c]]


@_fast
def _mean_row(view: Scene, loss: Singles, r: int, out: Singles) -> None:
    """Find the expected electrons of one row."""
    last_row, last = view.height - 1, view.width - 1
    here, above, below = loss[r], loss[max(0, r - 1)], loss[min(last_row, r + 1)]
    strength, electrons = np.float32(view.fringe), np.float32(view.electrons)
    four, low, high = np.float32(4.0), np.float32(-0.4), np.float32(0.3)
    for c in range(view.width):
        side = here[max(0, c - 1)] + here[min(last, c + 1)]
        fringe = strength * (above[c] + below[c] + side - four * here[c])
        out[c] = electrons * np.exp(min(max(fringe, low), high) - here[c])


@_fast
def expected(view: Scene) -> Singles:
    """Return the expected number of electrons of each pixel."""
    loss = np.zeros((view.height, view.width), dtype=np.float32)
    draw_fibres(view, loss)
    draw_particles(view, loss)
    mean = np.empty_like(loss)
    for r in range(view.height):
        _mean_row(view, loss, r, mean[r])
    return mean


@_fast
def seed(number: int) -> None:
    """Seed the random numbers of compiled code."""
    np.random.seed(number)


@_fast
def _spread_row(line: Any, share: float, out: Singles) -> None:
    last = len(line) - 1
    side, middle = np.float32(share), np.float32(1.0 - 2.0 * share)
    for c in range(len(line)):
        before, after = np.float32(line[max(0, c - 1)]), np.float32(line[min(last, c + 1)])
        out[c] = middle * np.float32(line[c]) + side * (before + after)


@_fast
def frame(view: Scene) -> Frame:
    """Return one frame of the camera."""
    mean = expected(view)
    height, width = view.height, view.width
    counts = np.empty((height, width), dtype=np.uint16)
    for r in range(height):
        for c in range(width):
            counts[r, c] = np.random.poisson(mean[r, c])
    along = np.empty((height, width), dtype=np.float32)
    for r in range(height):
        _spread_row(counts[r], view.spread, along[r])
    side, middle = view.spread, 1.0 - 2.0 * view.spread
    for r in range(height):
        above, below = along[max(0, r - 1)], along[min(height - 1, r + 1)]
        for c in range(width):
            charge = middle * along[r, c] + side * (above[c] + below[c])
            noise = view.readout * np.random.standard_normal()
            value = view.gain * charge + view.offset + 0.5 + noise
            counts[r, c] = min(max(value, 0.0), 65535.0)
    return counts
