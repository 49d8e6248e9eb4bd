"""From patterns that were found to a model of the camera's clock, and ``clock.json``."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from stmtem_control.clock_model import LARGEST_DRIFT, Z95, ClockModel
from stmtem_control.errors import AlignmentError, RecordingError

from .clapperboard import PatternFit
from .line_file import replace_file

CLOCK = "clock.json"
SCHEMA = 1


def align_clock(
    fits: Sequence[PatternFit],
    *,
    delay_uncertainty_s: float = 0.0,
    max_drift: float = LARGEST_DRIFT,
    source: str = "camera, clapperboard",
) -> ClockModel:
    """Return offset and drift of the camera's clock from the patterns of one run.

    With one pattern the drift is 0, and unknown up to `max_drift`: the uncertainty grows with the
    time from the pattern.  With more it is a weighted straight line.

    Parameters
    ----------
    fits : sequence of PatternFit
        At least one.
    delay_uncertainty_s : float
        95 % half width (s) of the blanker's delay, in which all patterns are wrong alike.
    max_drift : float
        No two clocks drift by more than this, in s a second; taken as a 95 % half width.
    source : str
        Goes into the model.

    Raises
    ------
    AlignmentError
        No pattern, or patterns between which a clock must have been set.
    """
    if not fits:
        raise AlignmentError("clapperboard: no pattern was found, so there is no clock model")
    times = np.array([fit.reference_s - fits[0].reference_s for fit in fits])
    offsets = np.array([fit.offset_s - fits[0].offset_s for fit in fits])
    sigmas = np.array([max(fit.half_width_s, 1e-9) / Z95 for fit in fits])
    weights = sigmas**-2
    middle = float(weights @ times / weights.sum())
    slope_weight = float(weights @ (times - middle) ** 2)
    prior = (Z95 / max_drift) ** 2
    drift = float(weights @ (offsets * (times - middle))) / (slope_weight + prior)
    offset = float(weights @ offsets / weights.sum())
    rest = offsets - offset - drift * (times - middle)
    if np.any(np.abs(rest) > 2.0 * Z95 * sigmas) or abs(drift) > 1.5 * max_drift:
        raise AlignmentError(
            f"clapperboard: the offset changed by {offsets[-1] - offsets[0]:.3g} s in "
            f"{times[-1] - times[0]:.3g} s, more than clocks drift; one of them was set meanwhile"
        )
    # The source acts at the same place of each exchange, so all patterns may be wrong alike.
    alike = float(weights @ sigmas / weights.sum())
    variance = alike**2 + (delay_uncertainty_s / Z95) ** 2
    # A frame is dated by its own stamp, which scatters too.
    variance += max(fit.stamp_jitter_s for fit in fits) ** 2
    return ClockModel(
        reference_s=fits[0].reference_s + middle,
        offset_s=fits[0].offset_s + offset,
        drift=drift,
        covariance=((variance, 0.0), (0.0, 1.0 / (slope_weight + prior))),
        source=source,
    )


def write_clock(folder: Path, model: ClockModel, fits: Sequence[PatternFit]) -> Path:
    """Write the model and the patterns it rests on to ``clock.json`` in a run folder.

    Raises
    ------
    RecordingError
        It cannot be written.
    """
    path = Path(folder) / CLOCK
    content = {
        "schema": SCHEMA,
        "model": model.to_dict(),
        "patterns": [asdict(fit) for fit in fits],
    }
    try:
        replace_file(path, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def read_clock(folder: Path) -> ClockModel:
    """Return the model that is in a run folder.

    Raises
    ------
    RecordingError
        There is none, or it is no clock model.
    """
    path = Path(folder) / CLOCK
    try:
        content = json.loads(path.read_text("utf-8"))
        return ClockModel.from_dict(content["model"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordingError(
            f"{path} holds no clock model ({error}); run the clapperboard in the plan"
        ) from error


def drift_uncertainty(model: ClockModel) -> float:
    """Return the 95 % half width of a model's drift."""
    return Z95 * math.sqrt(model.covariance[1][1])
