"""Whether a device may act: asked before anything that could hurt the sample is sent."""

from collections.abc import Callable
from typing import Literal

# "bias": a level at the output; "open": the beam; "advance": the probe, but not away.
Action = Literal["bias", "open", "advance"]
Permit = Callable[[Action], None]


def always(action: Action) -> None:
    """Permit everything; what a device asks until interlocks are attached to it."""
