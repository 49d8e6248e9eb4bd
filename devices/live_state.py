"""What a device or a signal shows of itself at a prompt: one line, from what is already known."""

import math
from typing import Any

from stmtem_control.units import quantity, si


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


def state_of_source(bias: Any) -> str:
    """Return level, output and the last current of a biasing source, and what is wrong with it."""
    on = bias.output.get()
    parts = [f"{bias.setpoint.get():g} V", f"output {'on' if on else 'off'}"]
    current = bias.current.get()
    if bias.instrument_time.get() and not math.isnan(current):  # there has been a reading
        parts.append(("" if on else "last ") + si(current, "A"))
    if on and bias.in_compliance.get():
        parts.append("in compliance")
    if bias.lapse is not None:
        parts.append(f"let go: {bias.lapse}")
    if bias.unsafe is not None:
        parts.append(f"NOT SAFE: {bias.unsafe}")
    return ", ".join(parts)


def state_of_camera(camera: Any, running: str) -> str:
    """Return rate and exposure of a frame camera, what it does, and what it has of the run.

    Parameters
    ----------
    camera : FrameCamera
        The camera.
    running : str
        What it does if frames are being taken.
    """
    written, dropped = camera.frames_written.get(), camera.dropped.get()
    parts = [
        f"{camera.frame_rate_Hz.get():g} Hz",
        si(camera.exposure_s.get(), "s"),
        running if camera.running else "idle",
        f"{written} frames on disk",
    ]
    if dropped:
        parts.append(f"{dropped} LOST")
    if camera.unsafe is not None:
        parts.append(camera.unsafe)
    return ", ".join(parts)
