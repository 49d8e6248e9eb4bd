"""What each parameter of a plan may be, for those who check before a plan runs: queues, forms.

The plans check the same when they begin, and more: what depends on another parameter, or on the
state of an instrument.
"""

from collections.abc import Mapping

from .approach_settings import MOST_READINGS as APPROACH_READINGS
from .controls import CONDITIONS
from .dose_calibration import LEAST_FRAMES, MOST_FRAMES
from .leakage import LEAST_READINGS, MOST_LEVELS, MOST_READINGS
from .limits import MOST_CYCLES
from .triggered import MASTERS

#: Least and most of a parameter; None where there is no limit on that side.
Span = tuple[float | None, float | None]

NOT_NEGATIVE: Span = (0, None)
ONE_OR_MORE: Span = (1, None)

#: What a parameter may be that is one of some words, or a list of them.
PARAMETER_WORDS: Mapping[str, tuple[str, ...]] = {"master": MASTERS, "conditions": CONDITIONS}


def parameter_limits(
    *, max_bias_V: float, max_fine_V: float, max_steps: int, hard_e_per_A2: float
) -> dict[str, dict[str, Span]]:
    """Return the least and most of numbers, by plan and parameter; under "" those of every plan.

    Parameters
    ----------
    max_bias_V : float
        Largest magnitude of the bias, in V.
    max_fine_V : float
        Largest fine offset of the probe, in V of the piezo.
    max_steps : int
        Coarse steps of the probe to either side.
    hard_e_per_A2 : float
        Dose at which the beam is blanked.
    """
    fine_V: Span = (0, max_fine_V)
    travel = 2 * max_steps  # from one end of the coarse travel to the other
    times = ("duration_s", "deposit_s", "strip_s", "rest_s", "pre_roll_s", "longest_s", "timeout_s")
    every: dict[str, Span] = {
        "cycles": (1, MOST_CYCLES),
        "deposit_V": (-max_bias_V, 0),
        "strip_V": (0, max_bias_V),
        "frame_rate_Hz": NOT_NEGATIVE,
        "exposure_s": NOT_NEGATIVE,
        "retract_steps": (0, travel),
        **dict.fromkeys(times, NOT_NEGATIVE),
    }
    return {
        "": every,
        "approach_contact": {
            "approach_V": (-max_bias_V, max_bias_V),
            "threshold_A": NOT_NEGATIVE,
            "short_A": NOT_NEGATIVE,
            "sigmas": ONE_OR_MORE,
            "readings": (2, APPROACH_READINGS),
            "oxide_GOhm": NOT_NEGATIVE,
            "fine_step_V": fine_V,
            "least_step_V": fine_V,
            "fine_range_V": fine_V,
            "coarse_step": ONE_OR_MORE,
            "max_coarse_steps": (0, travel),
        },
        "leakage_baseline": {
            "max_V": (0, max_bias_V),
            "levels": (1, MOST_LEVELS),
            "readings": (LEAST_READINGS, MOST_READINGS),
        },
        "retract": {"steps": (1, travel)},
        "deposit": {"bias_V": (-max_bias_V, 0)},
        "deposit_until": {"bias_V": (-max_bias_V, 0)},
        "strip": {"bias_V": (0, max_bias_V)},
        "strip_until": {"bias_V": (0, max_bias_V)},
        "survey": {"frames": ONE_OR_MORE},
        "diffraction_snapshot": {"frames": ONE_OR_MORE, "camera_length_m": NOT_NEGATIVE},
        "triggered_cycles": {"frames_per_step": ONE_OR_MORE, "nplc": (0.01, 10)},
        "beam_blocked_control": {
            "snapshots_s": NOT_NEGATIVE,
            "snapshot_frames": ONE_OR_MORE,
            "shuffle_seed": NOT_NEGATIVE,
        },
        "beam_irradiation_control": {"doses_e_per_A2": (0, hard_e_per_A2)},
        "dose_calibration": {
            "frames": (LEAST_FRAMES, MOST_FRAMES),
            "dark_frames": (LEAST_FRAMES, MOST_FRAMES),
            "counts_per_electron": NOT_NEGATIVE,
            "gain_uncertainty": NOT_NEGATIVE,
            "dead_time_s": NOT_NEGATIVE,
            "pixel_size_uncertainty": NOT_NEGATIVE,
            "magnification": NOT_NEGATIVE,
            **dict.fromkeys(("left", "top", "width", "height"), NOT_NEGATIVE),
        },
    }
