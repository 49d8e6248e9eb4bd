"""Bluesky plans: what is done to the sample.

Devices come in as arguments; parameters are plain numbers with their units in the name; however a
plan ends, the bias is at 0 V, the output off, the beam blanked and the probe at rest.
"""

from .approach import approach_contact
from .biasing import deposit, deposition_stripping_cycles, strip
from .clapperboard import clapperboard
from .controls import beam_blocked_control, beam_irradiation_control
from .dose_calibration import dose_calibration
from .follow_protocol import follow_protocol
from .leakage import leakage_baseline
from .legs import LEG as LEG
from .legs import LEG_DONE as LEG_DONE
from .parameter_limits import PARAMETER_WORDS as PARAMETER_WORDS
from .parameter_limits import parameter_limits as parameter_limits
from .retraction import retract
from .safety import covered, make_safe, safe
from .single_steps import deposit_until, diffraction_snapshot, strip_until, survey
from .triggered import triggered_cycles
from .until import Detector as Detector

#: Parts of plans, for who writes one.
PARTS = ("clapperboard", "covered", "make_safe", "safe")

__all__ = [
    "approach_contact",
    "beam_blocked_control",
    "beam_irradiation_control",
    "clapperboard",
    "covered",
    "deposit",
    "deposit_until",
    "deposition_stripping_cycles",
    "diffraction_snapshot",
    "dose_calibration",
    "follow_protocol",
    "leakage_baseline",
    "make_safe",
    "retract",
    "safe",
    "strip",
    "strip_until",
    "survey",
    "triggered_cycles",
]
