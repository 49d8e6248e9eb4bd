"""Where on a site the dose went: the frames of its runs, put where they were on the specimen.

The beam covers more than a frame shows; a map has what the frames saw of it.  Frames are placed by
the drift between them, found by cross-correlation, and by the shift of the stage where it is known.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import FrameFiles

SCHEMA = 1
TILE = 64  # pixels of the map on an edge of a tile
BINNED = 128  # pixels on an edge, at most, with which shifts are found
STEP = 6  # pixels that a picture may move in from one frame to the next
SMOOTH = 1.5  # pixels: finer than this is noise
KEPT = 0.9  # of the reference, when another frame is added to it

FloatArray = NDArray[np.float64]
Place = tuple[float, float]  # x, y in nm


@dataclass
class DoseMap:
    """Dose on the sample, in e/A^2, in tiles that are made where a frame was.

    Attributes
    ----------
    specimen, site : str
    pixel_size_nm : float
        Of the map, in nm.
    tiles : dict
        Arrays of 64 x 64 by their place (row, column); tile (0, 0) begins at x = y = 0 nm, which
        is the upper left corner of the first frame.
    runs : list of str
        Folders of the runs that are in it.
    """

    specimen: str
    site: str
    pixel_size_nm: float
    tiles: dict[tuple[int, int], FloatArray] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def add(self, dose_e_per_A2: float, corner_nm: Place, size_nm: Place) -> None:
        """Add a dose to a rectangle; pixels that it covers in part get that part.

        Parameters
        ----------
        dose_e_per_A2 : float
            In e/A^2.
        corner_nm, size_nm : (float, float)
            Left upper corner, and width and height, in nm.
        """
        if dose_e_per_A2 == 0.0:
            return
        first_x, share_x = _shares(corner_nm[0], size_nm[0], self.pixel_size_nm)
        first_y, share_y = _shares(corner_nm[1], size_nm[1], self.pixel_size_nm)
        rows = range(first_y // TILE, (first_y + len(share_y) - 1) // TILE + 1)
        columns = range(first_x // TILE, (first_x + len(share_x) - 1) // TILE + 1)
        for row in rows:
            in_y, of_y = _overlap(row, first_y, len(share_y))
            for column in columns:
                in_x, of_x = _overlap(column, first_x, len(share_x))
                tile = self.tiles.setdefault((row, column), np.zeros((TILE, TILE)))
                tile[in_y, in_x] += dose_e_per_A2 * np.outer(share_y[of_y], share_x[of_x])

    def image(self) -> tuple[FloatArray, Place]:
        """Return the whole map as one image, and its left upper corner in nm."""
        if not self.tiles:
            return np.zeros((0, 0)), (0.0, 0.0)
        rows, columns = zip(*self.tiles, strict=True)
        top, left = min(rows), min(columns)
        shape = ((max(rows) - top + 1) * TILE, (max(columns) - left + 1) * TILE)
        whole = np.zeros(shape)
        for (row, column), tile in self.tiles.items():
            y, x = (row - top) * TILE, (column - left) * TILE
            whole[y : y + TILE, x : x + TILE] = tile
        return whole, (left * TILE * self.pixel_size_nm, top * TILE * self.pixel_size_nm)

    @property
    def most_e_per_A2(self) -> float:
        """The largest dose in it, in e/A^2."""
        return max((float(tile.max()) for tile in self.tiles.values()), default=0.0)

    @property
    def mean_e_per_A2(self) -> float:
        """The mean over all that a frame has seen, in e/A^2."""
        seen = [tile[tile > 0.0] for tile in self.tiles.values()]
        values = np.concatenate(seen) if seen else np.zeros(0)
        return float(values.mean()) if values.size else 0.0

    def save(self, path: Path) -> None:
        """Write it; a map that is there is replaced at once, or stays as it is.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        about = {
            "schema": SCHEMA,
            "specimen": self.specimen,
            "site": self.site,
            "pixel_size_nm": self.pixel_size_nm,
            "runs": self.runs,
            "places": [list(place) for place in self.tiles],
        }
        half = path.with_suffix(".part")
        tiles = np.stack(list(self.tiles.values())) if self.tiles else np.zeros((0, TILE, TILE))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(half, "wb") as file:
                np.savez_compressed(
                    file, about=np.array(json.dumps(about)), tiles=tiles.astype(np.float32)
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, path)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from None

    @classmethod
    def load(cls, path: Path) -> "DoseMap":
        """Read a map.

        Raises
        ------
        RecordingError
            It is none, or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                about: dict[str, Any] = json.loads(str(stored["about"]))
                tiles = stored["tiles"].astype(np.float64)
            if about["schema"] != SCHEMA:
                raise ValueError(f"schema {about['schema']}, this program knows {SCHEMA}")
            return cls(
                about["specimen"],
                about["site"],
                float(about["pixel_size_nm"]),
                {
                    (int(place[0]), int(place[1])): tile
                    for place, tile in zip(about["places"], tiles, strict=True)
                },
                list(about["runs"]),
            )
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
            raise RecordingError(
                f"{path} is no dose map or damaged ({error}); move it away: it is made anew from "
                "the runs"
            ) from None


def _shares(start_nm: float, size_nm: float, pixel_nm: float) -> tuple[int, FloatArray]:
    """Return the first pixel of a stretch, and how much of each pixel it covers."""
    start, stop = start_nm / pixel_nm, (start_nm + size_nm) / pixel_nm
    first, last = math.floor(start), math.ceil(stop)
    edges = np.arange(first, last + 1)
    return first, np.diff(np.clip(edges, start, stop))


def _overlap(tile: int, first: int, count: int) -> tuple[slice, slice]:
    """Return where a stretch of pixels lies in a tile, and which of its pixels these are."""
    begin, end = max(first, tile * TILE), min(first + count, (tile + 1) * TILE)
    return slice(begin - tile * TILE, end - tile * TILE), slice(begin - first, end - first)


def find_shift(reference: NDArray[Any], image: NDArray[Any]) -> Place:
    """Return by how many pixels (x, y) what `image` shows lies further right and down; few.

    Phase correlation: all spatial frequencies count alike, but for the finest, which are noise.
    So the outline of a fibre, that looks the same wherever along it one looks, does not outweigh
    what is on it.  The peak is refined by a parabola through its neighbours.
    """
    one, two = _prepared(reference), _prepared(image)
    cross = np.fft.rfft2(two) * np.conj(np.fft.rfft2(one))
    y = np.fft.fftfreq(one.shape[0])[:, None]
    x = np.fft.rfftfreq(one.shape[1])[None, :]
    coarse = np.exp(-2.0 * (np.pi * SMOOTH) ** 2 * (x * x + y * y))
    size = np.abs(cross)
    correlation = np.fft.irfft2(coarse * cross / (size + 1e-12 * size.max() + 1e-300), s=one.shape)
    # Nothing drifts far from one frame to the next; what grows may look as if it did.
    near = np.full(one.shape, -np.inf)
    reach = np.arange(-STEP, STEP + 1)
    near[np.ix_(reach, reach)] = correlation[np.ix_(reach, reach)]
    peak = np.unravel_index(int(np.argmax(near)), near.shape)
    found = []
    for axis in (1, 0):
        length = correlation.shape[axis]
        index = int(peak[axis])
        values = [
            float(np.take(np.take(correlation, (index + d) % length, axis), peak[1 - axis]))
            for d in (-1, 0, 1)
        ]
        bend = values[0] - 2.0 * values[1] + values[2]
        part = 0.5 * (values[0] - values[2]) / bend if bend < 0.0 else 0.0
        found.append((index - length if index > length // 2 else index) + part)
    return found[0], found[1]


def _prepared(image: NDArray[Any]) -> FloatArray:
    values = np.asarray(image, dtype=np.float64)
    values = values - values.mean()
    window = np.outer(np.hanning(values.shape[0]), np.hanning(values.shape[1]))
    return np.asarray(values * window)


def find_drift(images: Iterable[NDArray[Any]]) -> list[Place]:
    """Return how far (x, y, pixels) each image lies from the first one.

    Each is compared with the mean of those before it, put upon each other: one frame at a low dose
    is too noisy.
    """
    reference: FloatArray | None = None
    found: list[Place] = []
    for image in images:
        binned, factor = _binned(image)
        if reference is None:
            reference = binned
            found.append((0.0, 0.0))
            continue
        # The last one is brought near first, so that both show the same piece of the specimen.
        last_x, last_y = (round(value / factor) for value in found[-1])
        near = np.roll(binned, (-last_y, -last_x), axis=(0, 1))
        x, y = find_shift(reference, near)
        found.append(((x + last_x) * factor, (y + last_y) * factor))
        back = np.roll(near, (-round(y), -round(x)), axis=(0, 1))
        reference = KEPT * reference + (1.0 - KEPT) * back
    return found


def _binned(image: NDArray[Any]) -> tuple[FloatArray, int]:
    factor = max(1, math.ceil(max(image.shape) / BINNED))
    rows, columns = (size // factor for size in image.shape)
    cut = np.asarray(image[: rows * factor, : columns * factor], dtype=np.float64)
    return cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3)), factor


def add_run(
    target: DoseMap,
    folder: Path,
    *,
    stage_nm: Place = (0.0, 0.0),
    drift_nm: Sequence[Place] | None = None,
    pixel_size_nm: float | None = None,
) -> None:
    """Put the frames of a run on a map; a run that is there already changes nothing.

    Each frame brings what the site has had since the frame before, so that the time between them
    counts, too.

    Parameters
    ----------
    target : DoseMap
    folder : Path
        The run folder.
    stage_nm : (float, float)
        Where the stage was, if that is known: how far the view lies from that of the first run.
    drift_nm : sequence, optional
        How far what each frame shows lies from the first frame; by default it is found in the
        frames.
    pixel_size_nm : float, optional
        Of the frames; by default what their rows tell.

    Raises
    ------
    RecordingError
        The frames cannot be read.
    """
    if folder.name in target.runs:
        return
    with FrameFiles(folder) as files:
        rows = list(files.rows())
        if not rows:
            target.runs.append(folder.name)
            return
        pixel = pixel_size_nm or _pixel_nm(rows)
        height, width = files.shape[1:]
        if drift_nm is None:
            lit = [n for n, row in enumerate(rows) if float(row["dose_e_per_A2"]) > 0.0]
            shifts = find_drift(files[n] for n in lit)
            known = dict(zip(lit, shifts, strict=True))
            here: Place = (0.0, 0.0)
            drift: list[Place] = []
            for n in range(len(rows)):
                here = known.get(n, here)
                drift.append((here[0] * pixel, here[1] * pixel))
        else:
            drift = list(drift_nm)
    before = min(0.0, float(rows[0]["total_dose_e_per_A2"]) - float(rows[0]["dose_e_per_A2"]))
    for row, (x, y) in zip(rows, drift, strict=True):
        total = float(row["total_dose_e_per_A2"])
        # What moved to the right in the picture was lit further left on the specimen.
        corner = (stage_nm[0] - x, stage_nm[1] - y)
        target.add(max(0.0, total - before), corner, (width * pixel, height * pixel))
        before = total
    target.runs.append(folder.name)


def _pixel_nm(rows: Sequence[dict[str, Any]]) -> float:
    for row in rows:
        dose, electrons = float(row["dose_e_per_A2"]), float(row.get("dose_e_per_px") or 0.0)
        if dose > 0.0 and electrons > 0.0:
            return math.sqrt(electrons / dose) / 10.0
    raise RecordingError("the frames tell no pixel size: no frame was lit, or the run is too old")
