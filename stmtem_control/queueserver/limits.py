"""What each parameter of a queued plan may be: the plans' own limits, and the station's.

A queue refuses what is outside before it queues it.  The plans check the same again when they
begin, and more: what depends on another parameter, or on the state of an instrument.
"""

from collections.abc import Mapping

from stmtem_control.config import Station
from stmtem_control.plans.approach_settings import MOST_READINGS as APPROACH_READINGS
from stmtem_control.plans.controls import CONDITIONS
from stmtem_control.plans.dose_calibration import LEAST_FRAMES, MOST_FRAMES
from stmtem_control.plans.leakage import LEAST_READINGS, MOST_LEVELS, MOST_READINGS
from stmtem_control.plans.limits import MOST_CYCLES
from stmtem_control.plans.triggered import MASTERS

#: Least and most of a parameter; None where there is no limit on that side.
Span = tuple[float | None, float | None]

NOT_NEGATIVE: Span = (0, None)
ONE_OR_MORE: Span = (1, None)

#: Parameters that are one of some words, or a list of them.
WORDS: Mapping[str, tuple[str, ...]] = {"master": MASTERS}
WORD_LISTS: Mapping[str, tuple[str, ...]] = {"conditions": CONDITIONS}


def spans(station: Station) -> dict[str, dict[str, Span]]:
    """Return the limits of numbers, by plan and parameter; under "" those of every plan.

    Parameters
    ----------
    station : Station
        Its bias, probe travel and dose are the widest that a queue takes.
    """
    highest_V = station.bias_source.max_bias_V
    fine_V: Span = (0, station.probe.max_fine_V)
    travel = 2 * station.probe.max_steps  # from one end of the coarse travel to the other
    hardest = station.dose.budget().hard.hard_e_per_A2
    times = ("duration_s", "deposit_s", "strip_s", "rest_s", "pre_roll_s", "longest_s", "timeout_s")
    every: dict[str, Span] = {
        "cycles": (1, MOST_CYCLES),
        "deposit_V": (-highest_V, 0),
        "strip_V": (0, highest_V),
        "frame_rate_Hz": NOT_NEGATIVE,
        "exposure_s": NOT_NEGATIVE,
        "retract_steps": (0, travel),
        **dict.fromkeys(times, NOT_NEGATIVE),
    }
    return {
        "": every,
        "approach_contact": {
            "approach_V": (-highest_V, highest_V),
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
            "max_V": (0, highest_V),
            "levels": (1, MOST_LEVELS),
            "readings": (LEAST_READINGS, MOST_READINGS),
        },
        "retract": {"steps": (1, travel)},
        "deposit": {"bias_V": (-highest_V, 0)},
        "deposit_until": {"bias_V": (-highest_V, 0)},
        "strip": {"bias_V": (0, highest_V)},
        "strip_until": {"bias_V": (0, highest_V)},
        "survey": {"frames": ONE_OR_MORE},
        "diffraction_snapshot": {"frames": ONE_OR_MORE, "camera_length_m": NOT_NEGATIVE},
        "triggered_cycles": {"frames_per_step": ONE_OR_MORE, "nplc": (0.01, 10)},
        "beam_blocked_control": {
            "snapshots_s": NOT_NEGATIVE,
            "snapshot_frames": ONE_OR_MORE,
            "shuffle_seed": NOT_NEGATIVE,
        },
        "beam_irradiation_control": {"doses_e_per_A2": (0, hardest)},
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
