"""A frame in Numba with the algorithm of the C core.

Particles are projected row by row.  The number of electrons comes from alias tables (Walker 1977,
Vose 1991) of Poisson distributions whose means lie on a grid of square roots, plus a small Poisson
number by inversion for what the mean exceeds the grid; xoshiro256++ (Blackman and Vigna 2019);
readout noise from a table of quantiles; all steps fused row by row, those that can be as vector
code.
"""

from math import exp, floor, lgamma, log, sqrt
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from .numba_frame import draw_fibres
from .numba_projection import draw_particles
from .picture_scene import Scene, Singles

__all__ = ["Room", "Tables", "frame", "room_for", "tables"]

Frame = NDArray[np.uint16]
Words = NDArray[np.uint64]

GRID: Final = 32  # levels a unit of the root of the mean
ENTRIES: Final = 256  # of one alias table
QUANTILES: Final = 4096
LANES: Final = 64  # generators side by side
CHUNK: Final = 256  # pixels whose rests are inverted together

# Division by zero is not looked for: then loops become vector code.
_fast = numba.njit(error_model="numpy")


class Tables(NamedTuple):
    """What :func:`frame` looks up."""

    alias: NDArray[np.uint32]  # ENTRIES a level: threshold in 24 bits, alias in 8
    base: NDArray[np.int32]  # of each level
    quantile: Singles
    terms: int  # of the inversion of a rest


def tables(largest_mean: float) -> Tables:
    """Make the tables for means up to this."""
    levels = int(GRID * sqrt(largest_mean)) + 2
    alias, base = np.empty((levels, ENTRIES), np.uint32), np.empty(levels, np.int32)
    for level in range(levels):
        base[level] = _alias_table((level / GRID) ** 2, alias[level])
    normal = NormalDist()
    quantile = [normal.inv_cdf((i + 0.5) / QUANTILES) for i in range(QUANTILES)]
    # The largest rest reaches to the next level; what is left out is below 2^-25.
    rest = (2.0 * sqrt(largest_mean) + 2.0 / GRID) / GRID
    chance = exp(-rest)
    tail, terms = 1.0 - chance, 1
    while tail > 2.0**-25:
        chance *= rest / terms
        tail -= chance
        terms += 1
    return Tables(alias.ravel(), base, np.array(quantile, dtype=np.float32), terms)


@_fast
def _alias_table(mean: float, entry: NDArray[np.uint32]) -> int:
    """Alias table of the Poisson distribution of this mean; returns its first number."""
    size, scale = len(entry), 2.0**24
    base = max(0, int(mean - 0.5 * size))
    weight = np.zeros(size)
    weight[0] = 1.0
    if mean > 0.0:
        for i in range(size):
            weight[i] = exp((base + i) * log(mean) - mean - lgamma(base + i + 1.0))
    weight *= size / weight.sum()
    small, large = np.empty(size, np.int64), np.empty(size, np.int64)
    smalls = larges = 0
    for i in range(size):
        entry[i] = np.uint32((int(scale) - 1) << 8 | i)
        if weight[i] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls and larges:
        smalls -= 1
        a, b = small[smalls], large[larges - 1]
        stay = min(floor(weight[a] * scale + 0.5), int(scale) - 1)
        entry[a] = np.uint32(stay << 8 | b)
        weight[b] -= 1.0 - weight[a]
        if weight[b] < 1.0:
            larges -= 1
            small[smalls] = b
            smalls += 1
    return base


class _Stream(NamedTuple):
    """Generators side by side, and the numbers they drew last."""

    a: Words
    b: Words
    c: Words
    d: Words
    drawn: Words


def _stream(key: int, width: int) -> _Stream:
    """Make generators for rows of this width, seeded by the key."""
    words = np.random.SeedSequence(key).generate_state(4 * LANES, np.uint64).astype(np.uint64)
    a, b, c, d = (words[n * LANES : (n + 1) * LANES].copy() for n in range(4))
    return _Stream(a, b, c, d, np.zeros(-(-width // LANES) * LANES, np.uint64))


@_fast
def _draw(stream: _Stream, count: int) -> None:
    """Draw at least so many numbers of 64 bits by xoshiro256++."""
    a, b, c, d, drawn = stream.a, stream.b, stream.c, stream.d, stream.drawn
    up, down, shift = np.uint64(23), np.uint64(41), np.uint64(17)
    for start in range(0, count, LANES):
        out = drawn[start : start + LANES]
        for i in range(LANES):
            s0, s1, s2, s3 = a[i], b[i], c[i], d[i]
            x = s0 + s3
            out[i] = ((x << up) | (x >> down)) + s0
            t = s1 << shift
            s2 ^= s0
            s3 ^= s1
            b[i] = s1 ^ s2
            a[i] = s0 ^ s3
            c[i] = s2 ^ t
            d[i] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))


@_fast
def _transmission(loss: Any) -> Any:
    """exp(-loss) in single precision, by Taylor's series and powers of two."""
    x = np.float32(-1.44269504) * min(loss, np.float32(80.0))
    shifted = x + np.float32(12582912.0)  # 1.5 * 2^23: rounds to a whole number
    r = (x - (shifted - np.float32(12582912.0))) * np.float32(0.69314718)
    p = np.float32(1.0 / 720.0)
    p = p * r + np.float32(1.0 / 120.0)
    p = p * r + np.float32(1.0 / 24.0)
    p = p * r + np.float32(1.0 / 6.0)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    exponent = (np.float32(shifted).view(np.int32) - np.int32(0x4B400000 - 127)) << np.int32(23)
    return p * np.int32(exponent).view(np.float32)


@_fast
def _mean_row(view: Scene, loss: Singles, r: int, out: Singles) -> None:
    """Find the expected electrons of one row; the loop becomes vector code."""
    width = view.width
    here, above, below = loss[r], loss[max(0, r - 1)], loss[min(view.height - 1, r + 1)]
    strength, electrons = np.float32(view.fringe), np.float32(view.electrons)
    four, low, high = np.float32(4.0), np.float32(-0.4), np.float32(0.3)
    before, after, inner = here[: width - 2], here[2:], here[1 : width - 1]
    above_inner, below_inner, out_inner = above[1 : width - 1], below[1 : width - 1], out[1:]
    for c in range(width - 2):
        side = before[c] + after[c]
        fringe = strength * (above_inner[c] + below_inner[c] + side - four * inner[c])
        out_inner[c] = electrons * _transmission(inner[c] - min(max(fringe, low), high))
    for c in (0, width - 1):
        side = here[max(0, c - 1)] + here[min(width - 1, c + 1)]
        fringe = strength * (above[c] + below[c] + side - four * here[c])
        out[c] = electrons * _transmission(here[c] - min(max(fringe, low), high))


class _Row(NamedTuple):
    """Work space for one row."""

    mean: Singles
    level: NDArray[np.uint32]
    rest: Singles
    chance: Singles
    reached: Singles
    u: Singles
    more: NDArray[np.int32]
    counts: Singles


class Room(NamedTuple):
    """Work space for frames of one shape."""

    loss: Singles
    ring: Singles
    row: _Row


@_fast
def _split_row(row: _Row, high: NDArray[np.uint32]) -> None:
    """Split each mean into one of the grid and a rest; the loop becomes vector code."""
    grid, step = np.float32(GRID), np.float32(1.0 / GRID)
    to_unit = np.float32(2.0**-24)
    for c in range(len(row.mean)):
        level = np.int32(grid * np.sqrt(row.mean[c]))
        root = np.float32(level) * step
        row.level[c] = np.uint32(level)
        row.rest[c] = max(row.mean[c] - root * root, np.float32(0.0))
    for c in range(len(row.mean)):
        row.chance[c] = _transmission(row.rest[c])
        row.reached[c] = row.chance[c]
        row.more[c] = np.int32(0)
        row.u[c] = np.float32(np.int32(high[2 * c + 1] >> np.uint32(8))) * to_unit


@_fast
def _invert(
    terms: int,
    rest: Singles,
    u: Singles,
    chance: Singles,
    reached: Singles,
    more: NDArray[np.int32],
) -> None:
    """Add how many of the first values of the distribution function u has passed."""
    for j in range(1, terms + 1):
        share = np.float32(1.0 / j)
        for c in range(len(u)):
            more[c] += np.int32(u[c] >= reached[c])
            chance[c] *= rest[c] * share
            reached[c] += chance[c]


@_fast
def _electron_row(table: Tables, stream: _Stream, row: _Row) -> None:
    width = len(row.mean)
    _draw(stream, width)
    bits = stream.drawn.view(np.uint32)
    _split_row(row, bits)
    for start in range(0, width, CHUNK):
        part = slice(start, min(width, start + CHUNK))
        rest, u, more = row.rest[part], row.u[part], row.more[part]
        _invert(table.terms, rest, u, row.chance[part], row.reached[part], more)
    low, shift = np.uint64(ENTRIES - 1), np.uint64(8)
    for c in range(width):
        # Unsigned, so that an index is not looked at for being negative; without a branch, which
        # would be taken at random.
        word, level = np.uint64(bits[2 * c]), np.uint64(row.level[c])
        place = word & low
        entry = np.uint64(table.alias[(level << shift) + place])
        stays = np.uint64((np.int64(word >> shift) - np.int64(entry >> shift)) >> np.int64(63))
        n = np.int32((place & stays) | (entry & low & ~stays))
        row.counts[c] = np.float32(table.base[level] + n + row.more[c])


@_fast
def _spread_row(line: Singles, share: float, out: Singles) -> None:
    width = len(line)
    side, middle = np.float32(share), np.float32(1.0 - 2.0 * share)
    before, after, inner, out_inner = line[: width - 2], line[2:], line[1 : width - 1], out[1:]
    for c in range(width - 2):
        out_inner[c] = middle * inner[c] + side * (before[c] + after[c])
    for c in (0, width - 1):
        both = line[max(0, c - 1)] + line[min(width - 1, c + 1)]
        out[c] = middle * line[c] + side * both


@_fast
def _expose_row(
    view: Scene, table: Tables, stream: _Stream, loss: Singles, r: int, row: _Row, out: Singles
) -> None:
    _mean_row(view, loss, r, row.mean)
    _electron_row(table, stream, row)
    _spread_row(row.counts, view.spread, out)


@_fast
def _read_row(
    view: Scene,
    table: Tables,
    stream: _Stream,
    above: Singles,
    here: Singles,
    below: Singles,
    noise: Singles,
    out: Frame,
) -> None:
    width = len(out)
    _draw(stream, (width + 3) // 4)
    bits = stream.drawn.view(np.uint16)
    for c in range(width):
        noise[c] = table.quantile[bits[c] & np.uint16(QUANTILES - 1)]
    side, middle = np.float32(view.spread), np.float32(1.0 - 2.0 * view.spread)
    gain, readout = np.float32(view.gain), np.float32(view.readout)
    offset = np.float32(view.offset + 0.5)
    lowest, highest = np.float32(0.0), np.float32(65535.0)
    for c in range(width):
        charge = middle * here[c] + side * (above[c] + below[c])
        value = gain * charge + offset + readout * noise[c]
        out[c] = np.uint16(np.int32(min(max(value, lowest), highest)))


@_fast
def _draw_frame(view: Scene, table: Tables, stream: _Stream, room: Room, out: Frame) -> None:
    height, loss, ring, row = view.height, room.loss, room.ring, room.row
    loss[:] = np.float32(0.0)
    draw_fibres(view, loss)
    draw_particles(view, loss)
    _expose_row(view, table, stream, loss, 0, row, ring[0])
    for r in range(height):
        if r + 1 < height:
            _expose_row(view, table, stream, loss, r + 1, row, ring[(r + 1) % 3])
        above, below = ring[max(0, r - 1) % 3], ring[min(height - 1, r + 1) % 3]
        _read_row(view, table, stream, above, ring[r % 3], below, row.mean, out[r])


def room_for(shape: tuple[int, int]) -> Room:
    """Make work space for frames of this shape."""
    width = shape[1]
    mean, rest, chance, reached, u, counts = (np.empty(width, np.float32) for _ in range(6))
    level, more = np.empty(width, np.uint32), np.empty(width, np.int32)
    row = _Row(mean, level, rest, chance, reached, u, more, counts)
    return Room(np.empty(shape, np.float32), np.empty((3, width), np.float32), row)


def frame(view: Scene, table: Tables, key: int, room: Room) -> Frame:
    """Return one frame of the camera; `key` names the noise."""
    out = np.empty((view.height, view.width), dtype=np.uint16)
    _draw_frame(view, table, _stream(key, view.width), room, out)
    return out
