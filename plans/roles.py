"""What the plans need of the devices they are given.

The public plans are annotated with Bluesky's own protocols, which a queue understands; inside,
they look at their devices through these.
"""

from collections.abc import Generator
from typing import Any, Protocol

from bluesky import Msg
from bluesky.protocols import Flyable, Movable, Readable, Stageable, Stoppable

from stmtem_control.clock import StationClock

Plan = Generator[Msg, Any, Any]


class Source(Movable[float], Readable[Any], Stageable, Stoppable, Protocol):
    """A biasing source: settable in volts, readable in volts and amperes."""

    clock: StationClock
    paused_s: float
    setpoint: Any
    voltage: Any
    current: Any
    output: Any
    in_compliance: Any
    compliance: Any
    leak: Any
    baseline: Any

    def check_value(self, value: float) -> None:
        """Raise LimitError when `value` (V) may not be set."""
        ...


class Camera(Flyable, Stageable, Stoppable, Protocol):
    """A frame camera: a flyer with a stream "frames", and marks for phase and cycle."""

    phase: Any
    cycle: Any


class Axis(Protocol):
    """One axis of the probe: net coarse steps, and the volts of its fine offset."""

    coarse: Any
    fine: Any


class Probe(Readable[Any], Stoppable, Protocol):
    """The piezo probe."""

    x: Axis
    y: Axis
    z: Axis
    contact: Any
    step_size: Any
