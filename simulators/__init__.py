"""The simulated bench: a kinetic model in C behind instruments on their real wires.

Nothing here is imported by the devices, and nothing here imports them: they meet on the wire.
"""

from .bench import Bench
from .clock import HandClock, WallClock
from .contact import OPEN_OHM, SHORT_OHM, START_GAP_NM, Contact
from .fault import Fault
from .fault_board import FaultEvent
from .model import KineticModel
from .piezo import Gait, Stack
from .presets import PRESETS, resolve
from .reaction_box import ReactionBox
from .serve import serve
from .source_models import fitting, model_named
from .specimen import Specimen

__all__ = [
    "OPEN_OHM",
    "PRESETS",
    "SHORT_OHM",
    "START_GAP_NM",
    "Bench",
    "Contact",
    "Fault",
    "FaultEvent",
    "Gait",
    "HandClock",
    "KineticModel",
    "ReactionBox",
    "Specimen",
    "Stack",
    "WallClock",
    "fitting",
    "model_named",
    "resolve",
    "serve",
]
