"""Projection of particles in Numba as the C core does it: rows at a time, in single precision.

The loops over a row have no branches, so that they become vector code.
"""

from math import ceil, floor, sqrt

import numba
import numpy as np

from .picture_scene import GRAIN_STEPS, SKIN_NM, Scene, Singles

__all__ = ["draw_particles"]

# Division by zero is not looked for: then loops become vector code.
_fast = numba.njit(error_model="numpy")


@_fast
def _cut_by_faces(
    view: Scene, n: int, which: int, skin: float, dy: float, x: Singles, low: Singles, high: Singles
) -> None:
    for f in range(view.faces[n, which]):
        face = view.face[n, which, f]
        depth = np.float32(view.face_distance[n, which] - skin - face[1] * dy)
        along, up = np.float32(face[0]), face[2]
        across = np.float32(1.0 / (up if abs(up) > 1e-6 else 1e-6))
        if across > 0.0:
            for c in range(len(x)):
                high[c] = min(high[c], (depth - along * x[c]) * across)
        else:
            for c in range(len(x)):
                low[c] = max(low[c], (depth - along * x[c]) * across)


@_fast
def _body_row(
    view: Scene,
    n: int,
    which: int,
    y: float,
    left: float,
    skin: float,
    work: Singles,
    out: Singles,
) -> None:
    """Path through one body at y and x = left, left + pixel, ..."""
    radius, dy = view.body[n, which, 3] - skin, y - view.body[n, which, 1]
    row = radius * radius - dy * dy
    if radius <= 0.0 or row <= 0.0:
        out[:] = np.float32(0.0)
        return
    count = len(out)
    x, inside, low, high = work[0, :count], work[1, :count], work[2, :count], work[3, :count]
    first, step = np.float32(left - view.body[n, which, 0]), np.float32(view.pixel)
    square, zero = np.float32(row), np.float32(0.0)
    for c in range(count):
        x[c] = first + step * np.float32(c)
        inside[c] = square - x[c] * x[c]
    for c in range(count):
        high[c] = np.sqrt(max(inside[c], zero))
        low[c] = -high[c]
    _cut_by_faces(view, n, which, skin, dy, x, low, high)
    # Its own side of the fibre, and outside it: the same for the whole row.
    from_axis = y - view.fibre_y[n]
    out_y, out_z = view.outward[n, which, 0], view.outward[n, which, 1]
    side_low, side_high = -np.inf, np.inf
    if out_z > 1e-9:
        side_low = -from_axis * out_y / out_z
    elif out_z < -1e-9:
        side_high = -from_axis * out_y / out_z
    elif from_axis * out_y < 0.0:
        side_high = -np.inf
    z, least, most = np.float32(view.body[n, which, 2]), np.float32(side_low), np.float32(side_high)
    for c in range(count):
        low[c] = max(low[c] + z, least)
        high[c] = min(high[c] + z, most)
    carbon = view.fibre_radius * view.fibre_radius - from_axis * from_axis
    if carbon > 0.0:
        wall = np.float32(sqrt(carbon))
        for c in range(count):
            front = max(min(high[c], -wall) - low[c], zero)
            out[c] = front + max(high[c] - max(low[c], wall), zero)
    else:
        for c in range(count):
            out[c] = max(high[c] - low[c], zero)
    for c in range(count):
        out[c] = out[c] if inside[c] > zero else zero


@_fast
def _path_row(
    view: Scene,
    n: int,
    r: int,
    first_column: int,
    fine: int,
    skin: float,
    work: Singles,
    out: Singles,
) -> None:
    """Mean path over each pixel of a row, from a column on."""
    count = len(out)
    one, other = work[4, :count], work[5, :count]
    out[:] = np.float32(0.0)
    for j in range(fine):
        place_y = r + 0.5 + ((j + 0.5) / fine - 0.5) - 0.5 * view.height
        y = view.origin_y - place_y * view.pixel
        for i in range(fine):
            place_x = first_column + 0.5 + ((i + 0.5) / fine - 0.5) - 0.5 * view.width
            left = view.origin_x + place_x * view.pixel
            _body_row(view, n, 0, y, left, skin, work, one)
            if view.bodies[n] > 1:
                _body_row(view, n, 1, y, left, skin, work, other)
                for c in range(count):
                    one[c] = max(one[c], other[c])
            for c in range(count):
                out[c] += one[c]
    share = np.float32(1.0 / (fine * fine))
    for c in range(count):
        out[c] *= share


@_fast
def _add_row(view: Scene, n: int, scale: float, path: Singles, core: Singles, to: Singles) -> None:
    metal = np.float32(scale * (view.metal - view.oxide))
    oxide = np.float32(scale * view.oxide)
    for c in range(len(to)):
        to[c] += metal * core[c] + oxide * path[c]
    per_nm, last = np.float32(scale * view.grain_per_nm[n]), np.float32(GRAIN_STEPS)
    table = view.grain_loss[n]
    for c in range(len(to)):
        place = min(core[c] * per_nm, last)
        k = np.int32(place)
        to[c] += table[k] + (place - np.float32(k)) * (table[k + 1] - table[k])


@_fast
def draw_particles(view: Scene, target: Singles) -> None:
    """Add the loss in all particles to a map."""
    pixel, height, width = view.pixel, view.height, view.width
    middle_x, middle_y = 0.5 * width - 0.5, 0.5 * height - 0.5
    for n in range(len(view.volume)):
        body = view.body[n, : view.bodies[n]]
        left, right = np.min(body[:, 0] - body[:, 3]), np.max(body[:, 0] + body[:, 3])
        bottom, top = np.min(body[:, 1] - body[:, 3]), np.max(body[:, 1] + body[:, 3])
        first_column = floor((left - view.origin_x) / pixel + middle_x)
        last_column = ceil((right - view.origin_x) / pixel + middle_x)
        first_row = floor(middle_y - (top - view.origin_y) / pixel)
        last_row = ceil(middle_y - (bottom - view.origin_y) / pixel)
        if last_column < 0 or last_row < 0 or first_column >= width or first_row >= height:
            continue
        wide = right - left
        fine = 6 if wide < 3.0 * pixel else (2 if wide < 8.0 * pixel else 1)
        count = last_column - first_column + 1
        work, core = np.empty((6, count), np.float32), np.empty(count, np.float32)
        path = np.empty((last_row - first_row + 1, count), np.float32)
        total = 0.0
        for r in range(first_row, last_row + 1):
            row = path[r - first_row]
            _path_row(view, n, r, first_column, fine, 0.0, work, row)
            for c in range(count):
                total += row[c]
        scale = view.volume[n] / (total * pixel * pixel)
        skip, end = max(0, -first_column), min(width, last_column + 1) - first_column
        for r in range(max(0, first_row), min(height, last_row + 1)):
            _path_row(view, n, r, first_column, fine, SKIN_NM, work, core)
            to = target[r, first_column + skip : first_column + end]
            _add_row(view, n, scale, path[r - first_row, skip:end], core[skip:end], to)
