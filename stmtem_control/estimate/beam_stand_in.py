"""Beam and camera while a plan is walked through."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from stmtem_control.config import Station
from stmtem_control.device_limits import (
    check_frame_count,
    check_known,
    check_timing,
    wants_blanked,
)
from stmtem_control.devices import MerlinTrigger
from stmtem_control.dose.budgets import Phase
from stmtem_control.dose.planned import VACUUM, check_planned
from stmtem_control.errors import InterlockError, LimitError
from stmtem_control.recording.blank_edges import EDGE_S, coded_pattern

from .latencies import Latencies
from .result import Acquisition
from .stand_in import DeviceStandIn, SignalStandIn
from .tally import Tally
from .walked_clock import WalkedClock

TIMING = ("exposure_s", "frame_rate_Hz")
ROUNDING = 1e-6  # of a frame


class BeamStandIn(DeviceStandIn):
    """The beam: open or blanked, with the dose that the plan gives.

    Parameters
    ----------
    name : str
    clock : WalkedClock
    latencies : Latencies
    tally : Tally
    hard : Phase
        The phase that reaches its hard limit first.
    check_age : callable
        Raises InterlockError when the dose rate was calibrated too long ago.
    """

    def __init__(
        self,
        name: str,
        clock: WalkedClock,
        latencies: Latencies,
        tally: Tally,
        hard: Phase,
        check_age: Callable[[], None],
    ) -> None:
        super().__init__(name)
        self.clock = clock
        self.calibrating = False
        self.dose_rate = SignalStandIn(f"{name}_dose_rate", tally.dose_rate_e_per_A2_s)
        self.blanked = SignalStandIn(f"{name}_blanked", True)
        self.site = SignalStandIn(f"{name}_site", tally.site, apply=self._go_to_site)
        self._tally = tally
        self._hard = hard
        self._check_age = check_age
        self._set_s = latencies.line * clock.speed

    def check_value(self, value: object, **_: Any) -> None:
        """Raise LimitError when it is not "blanked", "open" or a truth value."""
        wants_blanked(self.name, value)

    def set(self, value: object) -> float:
        """Blank or open the beam; return the station seconds that takes."""
        blanked = wants_blanked(self.name, value)
        # Opened from the moment it is asked for, blanked when it is confirmed: as the ledger books.
        if blanked:
            self.clock.at(self.clock.t + self._set_s, lambda: self._be(True))
        else:
            self._be(False)
        return self._set_s

    def _go_to_site(self, name: Any) -> float:
        self._tally.go_to(str(name))
        return 0.0

    def _be(self, blanked: bool) -> None:
        self.blanked.value = blanked
        self._tally.set_beam(not blanked)

    def check_exposure(self, open_s: float, md: Mapping[str, Any] | None = None) -> float:
        """Take note of a dose that the device would refuse; return the dose in e/A^2."""
        where, tally = md or {}, self._tally
        specimen = str(where.get("sample") or tally.specimen)
        site = str(where.get("site") or tally.site)
        rate = tally.dose_rate_e_per_A2_s
        if specimen == VACUUM:
            return open_s * rate
        try:
            if open_s > 0.0 and not self.calibrating:
                self._check_age()
            had = tally.site_had(specimen, site)
            check_planned(open_s, rate, had, self._hard, specimen=specimen, site=site)
        except InterlockError as error:
            tally.refuse("beam", error)
        return open_s * rate

    def calibrate(self, _folder: Any, **_: Any) -> None:
        """Do nothing: a calibration that is measured changes what comes later only."""

    def locate(self) -> dict[str, bool]:
        """Return what was asked for and what is."""
        return {"setpoint": self.blanked.value, "readback": self.blanked.value}

    def stop(self, *, success: bool = True) -> float:
        """Blank the beam."""
        self._be(True)
        return self._set_s


class CameraStandIn(DeviceStandIn):
    """The camera: frames from kickoff to complete, at their rate.

    Parameters
    ----------
    name : str
    clock : WalkedClock
    latencies : Latencies
    tally : Tally
    station : Station
    reading_s : float
        Station seconds of a reading of the source: rows wait for half of one.
    """

    directory = None

    def __init__(
        self,
        name: str,
        clock: WalkedClock,
        latencies: Latencies,
        tally: Tally,
        station: Station,
        reading_s: float,
    ) -> None:
        super().__init__(name)
        self.clock = clock
        self._latencies = latencies
        self._tally = tally
        self.exposure_s = SignalStandIn(f"{name}_exposure_s", 0.035)
        self.frame_rate_Hz = SignalStandIn(f"{name}_frame_rate_Hz", 25.0)
        self.pixel_size_nm = SignalStandIn(f"{name}_pixel_size_nm", station.camera.pixel_size_nm)
        self.dose_rate = SignalStandIn(f"{name}_dose_rate", tally.dose_rate_e_per_A2_s)
        self.phase = SignalStandIn(
            f"{name}_phase", "", apply=lambda value: self._mark(phase=str(value))
        )
        self.cycle = SignalStandIn(
            f"{name}_cycle", 0, apply=lambda value: self._mark(cycle=int(value))
        )
        self.mode = SignalStandIn(f"{name}_mode", "imaging")
        self.camera_length_m = SignalStandIn(f"{name}_camera_length_m", 0.0)
        self.frame_count = SignalStandIn(f"{name}_frame_count", 0)
        self.dropped = SignalStandIn(f"{name}_dropped", 0)
        self.frames_captured = CountStandIn(f"{name}_frames_captured", self.captured)
        self.alignment = AlignmentStandIn("alignment", self, latencies)
        self._trigger = MerlinTrigger()
        self._begun: float | None = None
        self._first_s = latencies.first_frames
        self._settle_s = latencies.settle * clock.speed + 0.5 * reading_s
        self._counted = 0  # frames that it takes by itself; 0: until it is stopped
        self._triggered = 0  # frames that a sequence of the source starts
        self._captured = 0  # in the run, of acquisitions that have ended

    def begin_run(self) -> None:
        """Count from 0 again."""
        self._captured = 0

    def _mark(self, **marks: Any) -> float:
        self._tally.mark(**marks)
        return 0.0

    def check_timing(self, *, exposure_s: float, frame_rate_Hz: float) -> None:
        """Take note of a timing that the device would refuse."""
        try:
            check_timing(self.name, exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)
        except LimitError as error:
            self._tally.refuse(self.name, error)

    def read_configuration(self) -> dict[str, Any]:
        """Return exposure and rate."""
        return {**self.exposure_s.read(), **self.frame_rate_Hz.read()}

    def prepare(self, value: Mapping[str, Any]) -> float:
        """Set timing and triggers; return the station seconds that takes.

        Raises
        ------
        LimitError
            Something that the camera does not have.
        """
        triggers = {
            "trigger_in": self._trigger.start,
            "frames_per_trigger": self._trigger.frames,
            "trigger_out": self._trigger.output,
            "trigger_out_inverted": self._trigger.inverted,
        }
        check_known(self.name, value, (*TIMING, "frame_count", *triggers))
        self.frame_count.value = check_frame_count(
            self.name, value.get("frame_count", self.frame_count.value)
        )
        exposure = float(value.get("exposure_s", self.exposure_s.value))
        rate = float(value.get("frame_rate_Hz", self.frame_rate_Hz.value))
        self.check_timing(exposure_s=exposure, frame_rate_Hz=rate)
        self._trigger = MerlinTrigger(*(value.get(key, now) for key, now in triggers.items()))
        self.exposure_s.value, self.frame_rate_Hz.value = exposure, rate
        set_up = any(name in value for name in TIMING)
        return self._latencies.configure * self.clock.speed if set_up else 0.0

    # Flyable

    def kickoff(self, **_: Any) -> float:
        """Start; return the station seconds until the first exposure begins."""
        seconds = (self._latencies.kickoff + self._first_s) * self.clock.speed
        self._first_s = 0.0
        self._begun = self.clock.t + seconds
        self._triggered = 0
        self._counted = 0 if self._trigger.external else int(self.frame_count.value)
        self._tally.running = self.captured_now
        return seconds

    def expect(self, frames: int) -> None:
        """Take in that a sequence of the source starts so many frames, when it waits for these."""
        if self._trigger.external:
            self._triggered = frames * self._trigger.frames

    def captured_now(self) -> int:
        """Return how many exposures of the acquisition under way have begun."""
        if self._begun is None:
            return 0
        if self._trigger.external:
            return self._triggered
        gone: float = (self.clock.t - self._begun) * self.frame_rate_Hz.value
        begun = max(0, math.ceil(gone - ROUNDING))
        return min(begun, self._counted) if self._counted else begun

    @property
    def started_s(self) -> float | None:
        """When the first exposure of an acquisition that counts began, in station s."""
        return self._begun if self._counted else None

    def captured(self) -> int:
        """Return how many frames have come in this run."""
        return self._captured + self.captured_now()

    def complete(self) -> float:
        """Stop, and wait for the frame under way; return the station seconds that takes."""
        if self._begun is None:
            return 0.0
        counted, external = self._counted, self._trigger.external
        # A camera that counts takes all of them by itself, and is waited for.
        frames = counted or self.captured_now()
        over = (
            self.clock.t
            if external or not frames
            else (self._begun + (frames - 1) / self.frame_rate_Hz.value + self.exposure_s.value)
        )
        self._end(counted)
        least_s = self._latencies.camera_stop * self.clock.speed
        return max(least_s, over + self._settle_s - self.clock.t)

    def latest_frame(self) -> None:
        """Return None: there is no image."""

    def _end(self, counted: int = 0) -> None:
        """End what is under way; `counted`: it has as many frames as it was told."""
        if self._begun is None:
            return
        frames, external = counted or self.captured_now(), self._trigger.external
        begun, self._begun = self._begun, None
        self._captured += frames
        self._tally.take(
            Acquisition(
                begun_s=begun,
                ended_s=self.clock.t,
                frames=frames,
                exact=external or counted > 0,
                exposure_s=self.exposure_s.value,
                frame_rate_Hz=self.frame_rate_Hz.value,
                electrons_per_pixel=self._tally.electrons_per_pixel(self.exposure_s.value),
            )
        )

    def tie(self, *_: Any, **__: Any) -> None:
        """Do nothing: levels and frames are tied as planned."""

    def stop(self, *, success: bool = True) -> float:
        """End what is under way; return the station seconds that takes."""
        running = self._begun is not None
        self._end()
        return self._latencies.camera_stop * self.clock.speed if running else 0.0

    def unstage(self) -> float:
        """End what is under way; the next acquisition starts by itself again."""
        self._trigger = MerlinTrigger()
        self.frame_count.value = 0
        return self.stop()


class CountStandIn(SignalStandIn):
    """A count that is asked for when it is read."""

    def __init__(self, name: str, count: Callable[[], int]) -> None:
        super().__init__(name, 0)
        self._count = count

    def get(self) -> int:
        """Return the count."""
        return self._count()

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the count, as Bluesky reads it."""
        self.value = self._count()
        return super().read()


class AlignmentStandIn(DeviceStandIn):
    """The alignment of the clocks: a pattern as long as the real one, which is always found.

    Parameters
    ----------
    name : str
    camera : CameraStandIn
    latencies : Latencies
    """

    def __init__(self, name: str, camera: CameraStandIn, latencies: Latencies) -> None:
        super().__init__(name)
        self._camera = camera
        self._align_s = latencies.align * camera.clock.speed
        self.problem = SignalStandIn(f"{name}_problem", "")

    def pattern(
        self, frame_rate_Hz: float | None = None, exposure_s: float | None = None
    ) -> tuple[float, ...]:
        """Return how long the beam is dark, lit, dark, ... and dark at last, in station s."""
        camera = self._camera
        return coded_pattern(
            1.0 / (frame_rate_Hz or camera.frame_rate_Hz.value),
            exposure_s or camera.exposure_s.value,
            shortest_s=EDGE_S * camera.clock.speed,
        )

    def trigger(self) -> float:
        """Find the pattern; return the station seconds that takes."""
        return self._align_s
