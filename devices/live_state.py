"""What a device or a signal shows of itself at a prompt: one line, from what is already known."""

from typing import Any

from stmtem_control.units import quantity


class LiveState:
    """Gives a device a short repr with its live state.

    Nothing is asked of an instrument, and no lock is taken: only what the signals hold is shown,
    so that a repr costs nothing and cannot hang, also while a plan runs or a link is broken.
    """

    def live_state(self) -> str:
        """Return the state in a few words; by default the values of the signals."""
        device: Any = self
        signals = [getattr(device, attribute) for attribute in device.component_names]
        return ", ".join(
            f"{signal.attr_name} {quantity(signal.get(), signal.unit)}"
            for signal in signals
            if hasattr(signal, "unit")
        )

    def __repr__(self) -> str:
        """Return class, name and live state in one line."""
        device: Any = self
        return f"<{type(self).__name__} {device.name}: {self.live_state()}>"

    def __str__(self) -> str:
        """Return the same."""
        return repr(self)
