"""Protocol files: an experiment as a person writes it down, checked before anything moves."""

from .charge_course import AT_ONCE, Wait, waits_that_are_over
from .conditions import Condition
from .protocol import BeamSettings, CameraSettings, Metadata, Protocol
from .reading import parse_protocol, read_protocol
from .shipped import find_protocol, shipped_protocols
from .steps import (
    STEPS,
    Approach,
    Biased,
    Blank,
    Comment,
    Cycles,
    Deposit,
    Diffraction,
    Hold,
    LeakageBaseline,
    Prompt,
    Rest,
    Retract,
    Site,
    Snapshots,
    Step,
    Strip,
    Survey,
)

__all__ = [
    "AT_ONCE",
    "STEPS",
    "Approach",
    "BeamSettings",
    "Biased",
    "Blank",
    "CameraSettings",
    "Comment",
    "Condition",
    "Cycles",
    "Deposit",
    "Diffraction",
    "Hold",
    "LeakageBaseline",
    "Metadata",
    "Prompt",
    "Protocol",
    "Rest",
    "Retract",
    "Site",
    "Snapshots",
    "Step",
    "Strip",
    "Survey",
    "Wait",
    "find_protocol",
    "parse_protocol",
    "read_protocol",
    "shipped_protocols",
    "waits_that_are_over",
]
