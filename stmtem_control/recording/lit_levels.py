"""What a frame counts with the beam on and off, and how much that scatters."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stmtem_control.errors import AlignmentError

Floats = NDArray[np.float64]

LEAST_LIT = 4  # frames with the beam on throughout
CONTRAST = 4.0  # standard deviations that beam on and off must be apart
STEADY = 0.005  # no beam is trusted to be steadier than this from frame to frame


@dataclass(frozen=True)
class Levels:
    """Mean counts of a frame of which a fraction f was lit: dark + f (lit + slope t).

    Attributes
    ----------
    dark, lit, slope : float
        In counts, and counts per second: the specimen changes while one looks.
    dark_noise, lit_noise : float
        Standard deviation from frame to frame, in counts.
    middle_s : float
        Time at which `lit` holds, in s.
    covariance : array of float, shape (3, 3)
        Of dark, lit and slope, as estimated.
    """

    dark: float
    lit: float
    slope: float
    dark_noise: float
    lit_noise: float
    middle_s: float
    covariance: Floats

    def predict(self, fractions: Floats, t: Floats) -> tuple[Floats, Floats]:
        """Return the counts expected of frames that were partly lit, and their variance.

        The variance holds the noise of the frame and what is not known of the levels.

        Parameters
        ----------
        fractions : array, shape (..., frames)
            Lit fraction of each frame.
        t : array, shape (frames,)
            Time of each frame, in s.
        """
        since = t - self.middle_s
        expected = self.dark + fractions * (self.lit + self.slope * since)
        quiet = self.dark_noise**2
        noise = quiet + np.clip(fractions, 0.0, 1.0) * max(0.0, self.lit_noise**2 - quiet)
        c = self.covariance
        of_lit = c[1, 1] + since * (2.0 * c[1, 2] + since * c[2, 2])
        of_both = 2.0 * (c[0, 1] + since * c[0, 2])
        unknown = c[0, 0] + fractions * (of_both + fractions * of_lit)
        return expected, noise + np.maximum(unknown, 0.0)


def find_levels(fractions: Floats, t: Floats, counts: Floats) -> Levels:
    """Find the levels from frames whose lit fractions are known, roughly, with some wrong ones.

    Parameters
    ----------
    fractions, t, counts : array, shape (frames,)
        Lit fraction, time (s) and mean counts of each frame.

    Raises
    ------
    AlignmentError
        Too few lit frames, or the beam makes no difference.
    """
    middle = float(t.mean())
    columns = np.stack([np.ones_like(fractions), fractions, fractions * (t - middle)], -1)
    full, none = fractions > 0.999, fractions < 0.001
    # Where whole ones will do, those with an edge have little say: when exactly it was is unknown.
    enough = np.count_nonzero(full) >= LEAST_LIT and np.count_nonzero(none) >= 2
    trust = np.where(full | none, 1.0, 0.01 if enough else 1.0)
    weights = trust
    found = np.zeros(3)
    rest = counts
    in_order = np.sort(counts)
    spread = float(in_order[-3] - in_order[2])
    for turn in range(12):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(columns * root[:, None], counts * root, rcond=None)[0]
        rest = counts - columns @ found
        # Tukey's biweight: what is far off has no say; but at first nothing is far off.
        least = max(STEADY, 0.2 * 0.5**turn) * spread
        scale = max(1.4826 * float(np.median(np.abs(rest))), least, 1e-12)
        weights = trust * np.maximum(1.0 - (rest / (6.0 * scale)) ** 2, 0.0) ** 2
    dark, lit, slope = map(float, found)
    if lit <= 0.0:
        raise AlignmentError(
            f"clapperboard: frames are not brighter with the beam on (by {lit:.3g} counts); look "
            "whether the beam reaches the camera, and whether the blanker's level is right"
        )
    kept = weights > 0.0
    full, none = kept & full, kept & none
    if np.count_nonzero(full) < LEAST_LIT:
        raise AlignmentError(
            f"clapperboard: {np.count_nonzero(full)} frames were lit throughout, {LEAST_LIT} are "
            "needed; take more frames before and after the pattern"
        )
    floor = STEADY * lit
    lit_noise = max(_deviation(rest[full]), floor)
    dark_noise = max(_deviation(rest[none]), floor) if np.count_nonzero(none) > 3 else lit_noise
    noise = max(lit_noise, dark_noise)
    if lit < CONTRAST * noise:
        raise AlignmentError(
            f"clapperboard: beam on and off differ by {lit:.3g} counts, and frames scatter by "
            f"{noise:.3g}; use more counts or a larger picture"
        )
    root = np.sqrt(trust * kept) / noise
    normal = (columns * root[:, None]).T @ (columns * root[:, None])
    # A slope of more than the whole in the time looked at is no slope.
    normal[2, 2] += (float(np.ptp(t)) / lit) ** 2
    covariance = np.asarray(np.linalg.pinv(normal), dtype=np.float64)
    return Levels(dark, lit, slope, min(dark_noise, lit_noise), lit_noise, middle, covariance)


def _deviation(rest: Floats) -> float:
    """Return the standard deviation, and some more where it rests on a few frames only."""
    free = max(1, len(rest) - 2)
    return math.sqrt(float(rest @ rest) / free) * math.sqrt((free + 2.0) / free)
