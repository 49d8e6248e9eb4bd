"""A Merlin detector's identity, image size, exposure and rate, as a device."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.device_limits import check_frame_count, check_known, check_timing
from stmtem_control.errors import InterlockError

from .live_state import LiveState
from .merlin import DEPTH_OF_COUNTER, IDLE, Merlin
from .merlin_stream import DEPTHS
from .merlin_trigger import INTERNAL, MerlinTrigger
from .signals import done, follow, reading, setting

log = logging.getLogger(__name__)

SET_S = 10.0  # wall seconds that settings may take
SET_WAIT_S = 1.5  # the same, of a person or a plan that waits
BUSY_S = 0.5  # wall seconds that the camera stays busy beyond the exposure under way
LOOK_S = 0.02  # wall seconds from one look at a busy camera to the next


class CameraSettings(LiveState, Device):
    """The settings of a Merlin detector.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    merlin : Merlin
        The driver.
    clock : StationClock
        The station's clock.
    counter_depth : {6, 12, 24}
        Bits of the detector's counters: pixels of one, two or four bytes.
    """

    exposure_s = setting("Exposure time of a frame.", "s", value=0.035, kind="config")
    frame_rate_Hz = setting("Frames in a second.", "Hz", value=25.0, kind="config")
    trigger_in = reading("What starts exposures.", value=INTERNAL.start, kind="config")
    frames_per_trigger = reading("Frames of one trigger.", value=INTERNAL.frames, kind="config")
    trigger_out = reading("What the trigger output shows.", value=INTERNAL.output, kind="config")
    trigger_out_inverted = reading(
        "Whether the trigger output is low while that is true.", value=False, kind="config"
    )
    frame_count = reading(
        "Frames of the next acquisition; 0: until it is stopped.", value=0, kind="config"
    )
    software_version = reading("Version of the camera's software.", value="", kind="config")

    def __init__(
        self, *, name: str, merlin: Merlin, clock: StationClock, counter_depth: int, **kwargs: Any
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.merlin = merlin
        self.clock = clock
        self._counter_depth = counter_depth
        self._dtype = np.dtype(DEPTHS[DEPTH_OF_COUNTER[counter_depth]]).newbyteorder("<")
        self._shape: tuple[int, int] | None = None
        self.exposure_s.apply = lambda value: self._set_timing(exposure_s=value)
        self.frame_rate_Hz.apply = lambda value: self._set_timing(frame_rate_Hz=value)

    def connect(self, timeout: float = 10.0) -> None:
        """Open the control link, make sure who is there, and learn the size of its images.

        Raises
        ------
        TransportError
            Nothing answers.
        IdentityError
            What answers is no Merlin.
        InstrumentError
            It refuses a setting.
        """
        self.merlin.link.open(timeout, restore=False)
        self.software_version.publish(self.merlin.open().result(timeout))
        self.merlin.make_idle().result(timeout)
        self.merlin.set("COUNTERDEPTH", self._counter_depth).result(timeout)
        self._shape = self.merlin.image_size().result(timeout)

    @property
    def running(self) -> bool:
        """Whether frames are being taken, so that nothing can be set."""
        return False

    # Configurable, Preparable

    def check_timing(self, *, exposure_s: float, frame_rate_Hz: float) -> None:
        """Raise LimitError when frames of that exposure cannot come at that rate."""
        check_timing(self.name, exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)

    def configure(
        self, d: Mapping[str, Any] | None = None, **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Set what :meth:`prepare` takes; return old and new configuration.

        Raises
        ------
        LimitError
            They do not fit, or a setting is not known.
        InstrumentError
            The camera refuses them.
        """
        old: Any = self.read_configuration()
        self.prepare({**(d or {}), **settings}).wait(SET_WAIT_S)
        new: Any = self.read_configuration()
        return old, new

    def prepare(self, value: Mapping[str, Any]) -> Status:
        """Set exposure, rate and triggers; the Status ends when the camera has the first two.

        Parameters
        ----------
        value : mapping
            Any of ``exposure_s`` and ``frame_rate_Hz``, and of ``trigger_in``,
            ``frames_per_trigger``, ``trigger_out`` and ``trigger_out_inverted``, which the next
            start gives to the camera; see :class:`~.merlin_trigger.MerlinTrigger`.
            ``frame_count``: how many frames the camera takes by itself from the next start on; 0,
            also while frames are taken: until it is stopped.
        """
        timing = {name: value[name] for name in ("exposure_s", "frame_rate_Hz") if name in value}
        signals = {
            "trigger_in": self.trigger_in,
            "frames_per_trigger": self.frames_per_trigger,
            "trigger_out": self.trigger_out,
            "trigger_out_inverted": self.trigger_out_inverted,
        }
        check_known(self.name, value, ("exposure_s", "frame_rate_Hz", "frame_count", *signals))
        count = check_frame_count(self.name, value.get("frame_count", self.frame_count.get()))
        wanted = [value.get(name, signal.get()) for name, signal in signals.items()]
        MerlinTrigger(*wanted)  # refuses what cannot be
        status = self._set_timing(**timing) if timing else done(self)
        self.frame_count.publish(count)
        for signal, new in zip(signals.values(), wanted, strict=True):
            signal.publish(new)
        return status

    @property
    def trigger_settings(self) -> MerlinTrigger:
        """The triggers as they are set."""
        return MerlinTrigger(
            self.trigger_in.get(),
            self.frames_per_trigger.get(),
            self.trigger_out.get(),
            self.trigger_out_inverted.get(),
        )

    def _set_timing(
        self, exposure_s: float | None = None, frame_rate_Hz: float | None = None
    ) -> Status:
        exposure = float(self.exposure_s.get() if exposure_s is None else exposure_s)
        rate = float(self.frame_rate_Hz.get() if frame_rate_Hz is None else frame_rate_Hz)
        self.check_timing(exposure_s=exposure, frame_rate_Hz=rate)
        if self.running:
            if (exposure, rate) == (self.exposure_s.get(), self.frame_rate_Hz.get()):
                return done(self)  # as it is: a plan may set up a camera that is armed
            raise InterlockError(f"{self.name}: frames are being taken; complete first")

        def publish(_: None) -> None:
            self.exposure_s.publish(exposure)
            self.frame_rate_Hz.publish(rate)

        future = self.merlin.set_timing(exposure_s=exposure, period_s=1.0 / rate)
        return follow(future, self, timeout=SET_S, publish=publish)

    def _longest_s(self) -> float:
        return float(self.exposure_s.get() + 1.0 / self.frame_rate_Hz.get())

    def _wait_until_idle(self) -> None:
        """Let the frame under way end: until then the camera refuses to start."""
        end = time.monotonic() + BUSY_S + self.clock.wall_seconds(self._longest_s())
        while time.monotonic() < end:
            status = self.merlin.get("DETECTORSTATUS", delay_s=LOOK_S).result(LOOK_S + 1.0)
            if status == IDLE:
                return
        log.warning("%s: still busy after the pause", self.name)
