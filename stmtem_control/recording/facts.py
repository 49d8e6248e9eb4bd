"""What is known of a frame the moment it has come; the rest of its row is looked up later."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """A frame, dated.

    Attributes
    ----------
    number : int
        In the run, from 0.
    sequence : int
        The camera's own number, from 1 at each start.
    dropped_before : int
        Frames that were taken but not recorded between the one before and this one.
    camera_time_s : float
        Start of the exposure by the camera's own clock, Unix time.
    host_monotonic_s : float
        Arrival of its first byte, on ``time.monotonic()``.
    start_s, uncertainty_s : float
        Start of the exposure in station s, and how sure that is (+-; NaN if it is a guess).
    time_source : str
        "start", "trigger", "clapperboard" or "arrival".
    exposure_s, period_s : float
        Exposure, and time to the next one.
    mean_counts : float
        Mean counts in a pixel.
    """

    number: int
    sequence: int
    dropped_before: int
    camera_time_s: float
    host_monotonic_s: float
    start_s: float
    uncertainty_s: float
    time_source: str
    exposure_s: float
    period_s: float
    mean_counts: float
