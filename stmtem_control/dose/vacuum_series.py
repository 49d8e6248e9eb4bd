"""The dose rate from a series of frames without specimen: dark, lit, dark.

With m the counts in a pixel and second, tau the dead time, g the counts of one electron, and a the
edge of a pixel on the specimen in angstrom::

    n = m / (1 - m tau)                      counts without coincidence loss
    rate = (n_lit - n_dark) / (g a^2)        in e/A^2/s

The correction is that of a non-paralysable counter (Knoll, Radiation Detection and Measurement,
chapter 4); with m tau above 0.1 it cannot be trusted, and is refused.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import InstrumentError, LimitError
from stmtem_control.recording.frame_files import FrameFiles

from .calibration import DoseCalibration

LEAST_FRAMES = 3  # of each kind
MOST_LOSS = 0.1  # of the counts, to coincidence
MOST_SPREAD = 0.1  # relative, between pixels and beyond Poisson: more is no vacuum
K95 = 1.96  # standard deviations in a 95 % half width

FloatArray = NDArray[np.float64]


def measure_dose_rate(
    folder: Path,
    *,
    setting: str,
    counts_per_electron: float = 1.0,
    gain_uncertainty: float = 0.05,
    dead_time_s: float = 0.0,
    pixel_size_nm: float,
    pixel_size_uncertainty: float = 0.02,
    region: tuple[int, int, int, int] = (0, 0, 0, 0),
    by: str = "",
    magnification: float = math.nan,
    spot: str = "",
) -> DoseCalibration:
    """Return the calibration that the frames of a run give.

    Frames count that were lit, or dark, all through, and whose neighbours were, too.

    Parameters
    ----------
    folder : Path
        The run folder.
    setting : str
        Name of the beam setting.
    counts_per_electron : float
        Counts that one electron makes: below 1 where the threshold loses some, above where charge
        is shared.
    gain_uncertainty, pixel_size_uncertainty : float
        Relative 95 % half widths of it, and of the pixel's edge.
    dead_time_s : float
        Of one pixel after an electron, in s; 0 for no correction.
    pixel_size_nm : float
        On the specimen, in nm.
    region : tuple of int
        Left, top, width and height of the vacuum in the image, in pixels; 0 for a width or height
        goes on to the edge.
    by, magnification, spot
        Noted with the calibration.

    Raises
    ------
    LimitError
        A parameter that cannot be, or a region outside the image.
    InstrumentError
        Too few frames, no beam in them, something in the beam, or too many electrons for the
        counter.
    RecordingError
        The frames cannot be read.
    """
    for name, value in (
        ("counts_per_electron", counts_per_electron),
        ("pixel_size_nm", pixel_size_nm),
    ):
        if not 0.0 < value < math.inf:
            raise LimitError(f"dose calibration: {name} is {value:g}; give a positive number")
    with FrameFiles(folder) as files:
        rows = list(files.rows())
        place = _slices(region, files.shape[1:])
        lit, dark = _used(rows, whole=True), _used(rows, whole=False)
        if min(len(lit), len(dark)) < LEAST_FRAMES:
            raise InstrumentError(
                f"dose calibration: {len(lit)} frames lit and {len(dark)} dark all through; "
                f"{LEAST_FRAMES} of each are needed: take more frames, or slower ones"
            )
        exposure = float(rows[lit[0]]["exposure_s"])
        bright, brights = _mean(files, lit, place)
        _, darks = _mean(files, dark, place)
    pixels = bright.size
    counts, noise = float(np.mean(brights)), float(np.mean(darks))
    # Of the mean over frames and pixels: counted electrons, or what the frames scatter by.
    poisson = math.sqrt(counts_per_electron * counts / (pixels * len(lit)))
    scatter = float(np.std(brights, ddof=1)) / math.sqrt(len(lit))
    sure = max(poisson, scatter)
    if counts - noise <= 5.0 * math.hypot(sure, math.sqrt(max(noise, 0.0) / (pixels * len(dark)))):
        raise InstrumentError(
            f"dose calibration: {counts:.4g} counts in a pixel with the beam, {noise:.4g} without; "
            "no beam was seen: is the valve open, the beam centred, and the threshold right?"
        )
    _check_flat(bright, counts, len(lit))
    rate = counts / exposure
    if rate * dead_time_s > MOST_LOSS:
        raise InstrumentError(
            f"dose calibration: {rate:.4g} counts a second in a pixel with a dead time of "
            f"{dead_time_s:.3g} s lose more than {100 * MOST_LOSS:.0f} % to coincidence; spread "
            "the beam, or raise the magnification"
        )
    true = rate / (1.0 - rate * dead_time_s) - noise / exposure
    area = (10.0 * pixel_size_nm) ** 2
    relative = math.hypot(
        K95 * sure / (counts - noise), gain_uncertainty, 2.0 * pixel_size_uncertainty
    )
    return DoseCalibration(
        setting=setting,
        dose_rate_e_per_A2_s=true / (counts_per_electron * area),
        relative_uncertainty=relative,
        calibrated_unix_s=float(rows[lit[-1]]["host_time_s"]),
        by=by,
        how=f"vacuum series of {len(lit)} frames, {folder.name}",
        pixel_size_nm=pixel_size_nm,
        magnification=magnification,
        spot=spot,
    )


def _slices(region: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top, width, height = region
    rows, columns = shape[-2], shape[-1]
    right, bottom = left + width if width else columns, top + height if height else rows
    if not (0 <= left < right <= columns and 0 <= top < bottom <= rows):
        raise LimitError(
            f"dose calibration: the region left {left}, top {top}, width {width}, height {height} "
            f"is not inside the image of {columns} x {rows} pixels"
        )
    return slice(top, bottom), slice(left, right)


def _used(rows: list[dict[str, Any]], *, whole: bool) -> list[int]:
    """Return the frames that were lit, or dark, all through, as were their neighbours."""
    full = [float(row["dose_rate_e_per_A2_s"]) * float(row["exposure_s"]) for row in rows]
    doses = [float(row["dose_e_per_A2"]) for row in rows]
    is_kind = [
        dose > 0.999 * most if whole else dose <= 0.0
        for dose, most in zip(doses, full, strict=True)
    ]
    last = len(rows) - 1
    return [
        n
        for n, fits in enumerate(is_kind)
        if fits and is_kind[max(0, n - 1)] and is_kind[min(last, n + 1)]
    ]


def _mean(
    files: FrameFiles, which: list[int], place: tuple[slice, slice]
) -> tuple[FloatArray, FloatArray]:
    """Return the mean image in the region, and the mean counts of each frame there."""
    total: FloatArray | None = None
    means = []
    for number in which:
        image = np.asarray(files[number])[place].astype(np.float64)
        total = image if total is None else total + image
        means.append(float(image.mean()))
    assert total is not None
    return total / len(which), np.array(means)


def _check_flat(mean: FloatArray, counts: float, frames: int) -> None:
    """Raise InstrumentError if pixels differ by more than a detector does."""
    spread = float(np.std(mean)) / counts
    if spread > math.hypot(MOST_SPREAD, 1.0 / math.sqrt(max(counts * frames, 1.0))):
        raise InstrumentError(
            f"dose calibration: the pixels differ by {100 * spread:.0f} %; something is in the "
            "beam: move to vacuum, or give the region of the image that is (left, top, width, "
            "height)"
        )
