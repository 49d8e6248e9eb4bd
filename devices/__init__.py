"""Instruments of the station: ophyd Devices, and the drivers below them.

The drivers (``keithley``, ``anc300``, ``merlin``) know nothing of ophyd; importing this package
does not import it either, only asking for a device does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .anc300 import Anc300 as Anc300
    from .beam_blanker import BeamBlanker as BeamBlanker
    from .bias_source import BiasSource as BiasSource
    from .clock_alignment import ClockAlignment as ClockAlignment
    from .dose_guard import DoseGuard as DoseGuard
    from .frame_camera import FrameCamera as FrameCamera
    from .frame_documents import data_keys as data_keys
    from .frame_documents import stream_resource as stream_resource
    from .hold_plan import plan_hold as plan_hold
    from .interlocks import Interlocks as Interlocks
    from .interlocks import Trip as Trip
    from .interlocks import suspend_on_current as suspend_on_current
    from .interlocks import suspend_on_dose as suspend_on_dose
    from .keithley import Keithley2400 as Keithley2400
    from .keithley_sequence import BiasSequence as BiasSequence
    from .keithley_sequence import typical_reading_s as typical_reading_s
    from .merlin import Merlin as Merlin
    from .merlin_trigger import MerlinTrigger as MerlinTrigger
    from .piezo_axis import PiezoAxis as PiezoAxis
    from .piezo_probe import PiezoProbe as PiezoProbe
    from .safe_parts import SafePart as SafePart
    from .safe_parts import SafeReport as SafeReport
    from .safe_parts import SafeStep as SafeStep
    from .safe_parts import carry_out as carry_out
    from .safe_state import SafeState as SafeState

__all__ = [
    "KINDS",
    "Anc300",
    "BeamBlanker",
    "BiasSequence",
    "BiasSource",
    "ClockAlignment",
    "DoseGuard",
    "FrameCamera",
    "Interlocks",
    "Keithley2400",
    "Merlin",
    "MerlinTrigger",
    "PiezoAxis",
    "PiezoProbe",
    "SafePart",
    "SafeReport",
    "SafeState",
    "SafeStep",
    "Trip",
    "carry_out",
    "data_keys",
    "plan_hold",
    "stream_resource",
    "suspend_on_current",
    "suspend_on_dose",
    "typical_reading_s",
]

# Which device stands behind which table of the station file.
KINDS = {
    "bias_source": "BiasSource",
    "probe": "PiezoProbe",
    "camera": "FrameCamera",
    "beam": "BeamBlanker",
}

_MODULES = {
    "Anc300": "anc300",
    "Keithley2400": "keithley",
    "plan_hold": "hold_plan",
    "BiasSequence": "keithley_sequence",
    "typical_reading_s": "keithley_sequence",
    "Merlin": "merlin",
    "MerlinTrigger": "merlin_trigger",
    "BeamBlanker": "beam_blanker",
    "BiasSource": "bias_source",
    "ClockAlignment": "clock_alignment",
    "DoseGuard": "dose_guard",
    "FrameCamera": "frame_camera",
    "Interlocks": "interlocks",
    "Trip": "interlocks",
    "suspend_on_current": "interlocks",
    "suspend_on_dose": "interlocks",
    "PiezoAxis": "piezo_axis",
    "PiezoProbe": "piezo_probe",
    "SafePart": "safe_parts",
    "SafeReport": "safe_parts",
    "SafeStep": "safe_parts",
    "carry_out": "safe_parts",
    "SafeState": "safe_state",
    "data_keys": "frame_documents",
    "stream_resource": "frame_documents",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
