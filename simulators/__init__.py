"""The simulated bench: a kinetic model in C behind instruments on their real wires.

Nothing here is imported by the devices, and nothing here imports them: they meet on the wire.
"""

from .bench import Bench
from .clock import HandClock, WallClock
from .fault import Fault
from .fault_board import FaultEvent
from .model import KineticModel
from .reaction_box import ReactionBox
from .serve import serve
from .specimen import Specimen

__all__ = [
    "Bench",
    "Fault",
    "FaultEvent",
    "HandClock",
    "KineticModel",
    "ReactionBox",
    "Specimen",
    "WallClock",
    "serve",
]
