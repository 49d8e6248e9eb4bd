"""What an instrument can touch of the specimen: terminals, a mount, and a view.

The specimen is all three; a test may put a resistor, a rail or a test chart in its place.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Terminals(Protocol):
    """The two wires of a source."""

    def drive(self, volts: float | None, compliance_A: float) -> None:
        """Apply `volts` with a current limit; None opens the circuit (high impedance)."""
        ...

    def charge(self) -> float:
        """Return the charge (C) that has flowed from the source since the start, up to now."""
        ...

    def voltage(self) -> float:
        """Return the voltage (V) across the terminals now; less than driven in compliance."""
        ...

    def limiting(self) -> bool:
        """Tell whether the source is in compliance now."""
        ...

    def noise(self, bandwidth_Hz: float) -> float:
        """Return the rms current noise (A) that the load makes in that bandwidth."""
        ...


class Mount(Protocol):
    """What a piezo positioner carries; axes 0, 1, 2 are x, y, z."""

    def step(self, axis: int, nm: float) -> None:
        """Shift the slider of `axis` by `nm`."""
        ...

    def bend(self, axis: int, nm: float) -> None:
        """Put the piezo of `axis` at a deflection of `nm`."""
        ...

    def capacitance_nF(self, axis: int) -> float:
        """Return the capacitance of the actuator of `axis` in nF."""
        ...


class View(Protocol):
    """What a camera looks at."""

    def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        """Hear that an exposure has begun at `start` and will last until `stop` (s), as planned.

        What is exposed over that time may change meanwhile; :meth:`image` gives its mean.
        """
        ...

    def image(
        self, start: float, stop: float, shape: tuple[int, int], index: int
    ) -> NDArray[np.uint16]:
        """Return the counts of an exposure from `start` to `stop` (s), top row first.

        `stop` is now or past; `index` numbers the exposure and keys its noise.
        """
        ...
