"""What the guard looks for by itself: what should come and does not, and what nobody asked for."""

import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmtem_control.errors import TransportTimeout
from stmtem_control.interlock_table import InterlocksTable

from .host_watch import CameraSilent, ClockJump, DiskRoom, FramesLost, LinkLost, StaleReadings
from .probe_watch import Unbidden
from .trip import Finding

if TYPE_CHECKING:
    from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera, PiezoAxis, PiezoProbe

log = logging.getLogger(__name__)

DISK_S = 0.5  # wall seconds between two looks at the disk
BETWEEN = 1.5  # readings, at least, from one of somebody else to the one that the guard takes


def clocks() -> tuple[float, float, float]:
    """Return the computer's monotonic clock, its wall clock, and one that counts its sleep, in s.

    Where no clock counts sleep apart (other than Linux), a sleep shows as a jump of the wall clock.
    """
    now = time.monotonic()
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return now, time.time(), now if boot is None else time.clock_gettime(boot)


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on a folder's disk."""
    return shutil.disk_usage(folder).free


class Watch:
    """Looks at links, readings, probe, camera, disk and clock; asked a few times a second.

    Parameters
    ----------
    bias, beam, probe, camera : device
    table : InterlocksTable
    found : callable
        Told each :class:`.Finding`.
    wake : callable
        Called when the guard's own reading has come: the next may be due.
    data : Path, optional
        Folder whose disk is watched.
    reading_s : float
        Wall seconds that a reading takes: the guard's own must not come into every other one.
    """

    def __init__(
        self,
        bias: "BiasSource",
        beam: "BeamBlanker",
        probe: "PiezoProbe",
        camera: "FrameCamera",
        table: InterlocksTable,
        found: Callable[[Finding], None],
        wake: Callable[[], None],
        data: Path | None,
        reading_s: float = 0.0,
    ) -> None:
        self.clocks = clocks
        self.free_bytes = free_bytes
        self._bias, self._beam, self._probe, self._camera = bias, beam, probe, camera
        self._found, self._wake = found, wake
        self._data = data
        self._watch_s = max(table.limit("watch_s"), BETWEEN * reading_s)
        self._probe_look_s = table.limit("probe_look_s")
        self._stale = StaleReadings(table)
        self._links = LinkLost(table)
        self._silent = CameraSilent(table)
        self._lost = FramesLost(table)
        self._room = DiskRoom(table)
        self._jump = ClockJump(table)
        self._axes = [(axis, Unbidden(axis.name)) for axis in (probe.x, probe.y, probe.z)]
        self._readings = 0
        self._heard = -math.inf  # the last reading of somebody else, monotonic s
        self._asked: Any = None
        self._asked_at = -math.inf
        self._hurry = False
        self._timeouts = 0
        self._probe_at = self._disk_at = -math.inf
        self._looking: Future[float] | None = None
        self._disk: threading.Thread | None = None

    @property
    def live(self) -> bool:
        """Whether something is on that could hurt: bias, beam, or a moving probe."""
        on = self._bias.output.get() or not self._beam.blanked.get()
        return bool(on or self._probe.moving)

    @property
    def due(self) -> float:
        """When the guard reads by itself if nobody else does, in monotonic s; inf while it does."""
        if self._asked is not None and not self._asked.done:
            return math.inf
        if self._hurry:
            return -math.inf
        return max(self._heard, self._asked_at) + self._watch_s

    def hurry(self) -> None:
        """Have the next reading come at once: the last one must be confirmed."""
        self._hurry = True

    def heard(self, now: float) -> None:
        """Take note that a reading has come, at `now` (monotonic s)."""
        if self._asked is None or self._asked.done:
            self._heard = now
        self._readings += 1

    def forget(self) -> None:
        """Forget what was counted before a person cleared an interlock."""
        self._timeouts = 0

    def look(self) -> None:
        """Look at everything once; never waits for an instrument or a disk."""
        now, live = time.monotonic(), self.live
        self._tell(self._jump.see(*self.clocks(), live))
        self._look_at_readings(now)
        if live:
            for name, link in (
                ("bias_source", self._bias.source.link),
                ("probe", self._probe.controller.link),
                ("camera", self._camera.merlin.link),
            ):
                timeouts = self._timeouts if link is self._bias.source.link else 0
                self._tell(self._links.see(name, link.alive, timeouts))
        self._look_at_camera(now, live)
        if now - self._probe_at >= self._probe_look_s and self._probe.controller.link.alive:
            self._probe_at = now
            for axis, judgement in self._axes:
                self._look_at_axis(axis, judgement)

    def _tell(self, finding: Finding | None) -> None:
        if finding is not None:
            self._found(finding)

    def _look_at_readings(self, now: float) -> None:
        # A sequence is timed by the source, which answers nothing until its end.
        readable = bool(self._bias.output.get()) and not self._bias.sequence.running
        self._tell(self._stale.see(now, self._readings, readable))
        if readable and now >= self.due:
            self._asked_at, self._hurry = now, False
            self._asked = self._bias.trigger()
            self._asked.add_callback(self._answered)

    def _answered(self, status: Any) -> None:
        error = status.exception()
        if error is None:
            self._timeouts = 0
        elif isinstance(error, TransportTimeout):
            self._timeouts += 1
        self._wake()

    def _look_at_camera(self, now: float, live: bool) -> None:
        camera = self._camera
        captured, lost = camera.frames_captured.get(), camera.dropped.get()
        period_s = camera.clock.wall_seconds(1.0 / camera.frame_rate_Hz.get())
        self._tell(self._silent.see(now, captured, period_s, camera.expecting and live))
        if live:
            self._tell(self._lost.see(captured, lost))
        if self._data is None or not camera.running or now - self._disk_at < DISK_S:
            return
        if self._disk is None or not self._disk.is_alive():  # a disk that hangs holds up this only
            self._disk_at = now
            self._disk = threading.Thread(
                target=self._look_at_disk,
                args=(self._data, captured),
                name="disk room",
                daemon=True,
            )
            self._disk.start()

    def _look_at_disk(self, folder: Path, captured: int) -> None:
        try:
            free = self.free_bytes(folder)
        except OSError as error:
            log.info("%s: how much room is left is not known: %s", folder, error)
            return
        frame_bytes = self._camera.frame_bytes
        self._tell(self._room.see(time.monotonic(), free, captured, frame_bytes))

    def _look_at_axis(self, axis: "PiezoAxis", judgement: Unbidden) -> None:
        before = axis.commands

        def judge(ended: "Future[float]") -> None:
            if ended.exception() is not None:
                return
            _, under_way = now = axis.commands
            finding = judgement.see(
                ended.result(),
                offset_V=float(axis.fine.get()),
                amplitude_V=float(axis.amplitude_V.get()),
                bidden=under_way or before != now,
            )
            self._tell(finding)

        axis.look().add_done_callback(judge)
