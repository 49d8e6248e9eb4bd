"""An axis of the probe: coarse steps without a scale, and a fine offset."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.device_limits import check_fine, check_steps
from stmtem_control.errors import InstrumentError, InterlockError, TransportTimeout
from stmtem_control.exchanges import Exchange
from stmtem_control.link import DroppedError
from stmtem_control.permit import Permit
from stmtem_control.timeline import Timeline

from .anc300 import Anc300, Mode
from .live_state import LiveState
from .signals import StoppableSetting, done, follow, reading, setting

log = logging.getLogger(__name__)

LOOK_S = 0.02  # wall seconds between two looks whether the steps have ended
LATE_S = 2.0  # wall seconds that steps may take longer than their number and frequency say
SET_S = 5.0
# What each kind of module can do; ANM300 steps and keeps its offset meanwhile.
MODE_OF_MODULE: dict[str, Mode] = {"ANM150": "stp", "ANM200": "off", "ANM300": "stp+"}


class _Motion:
    """A train of steps on its way."""

    def __init__(self, start: int, steps: int, status: Status) -> None:
        self.start = start
        self.steps = steps
        self.status = status
        self.begun: float | None = None  # station time when the controller took it
        self.deadline = math.inf


class PiezoAxis(LiveState, Device):
    """One axis: coarse steps without a scale, and a fine offset in volts.

    ``coarse`` counts net steps since the probe was connected.  Setting it sends only what is
    missing, so that a set that Bluesky repeats after a pause moves no further.  Where a train of
    steps was stopped, the count is an estimate from time and frequency.
    """

    # Hinted: a scan's table shows where the probe is.
    coarse = setting(
        "Net steps since connecting.", "step", value=0, kind="hinted", cls=StoppableSetting
    )
    fine = setting("DC offset of the piezo.", "V", kind="hinted")
    mode = reading("The axis's mode.", value="gnd")
    frequency_Hz = setting("Step frequency.", "Hz", value=0, kind="config")
    amplitude_V = setting("Step amplitude.", "V", kind="config")

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(prefix, **kwargs)
        self._lock = threading.RLock()
        self._motion: _Motion | None = None
        self.number = 0
        self._max_steps = 0
        self._stop_was_success = True
        self._commands = self._setting = 0

    def attach(
        self,
        controller: Anc300,
        clock: StationClock,
        timeline: Timeline,
        number: int,
        *,
        max_fine_V: float,
        max_steps: int,
        frequency_Hz: int,
        amplitude_V: float,
        permit: Permit,
        stop_axes: "Callable[[list[PiezoAxis], bool], None]",
    ) -> None:
        """Say which axis of which controller this is, and what it may do; no exchange yet.

        The probe is asked for permission, and stops its axes, see :class:`.PiezoProbe`.
        """
        self._permit, self._stop_axes = permit, stop_axes
        self._controller = controller
        self._clock = clock
        self._timeline = timeline
        self.number = number
        self._max_steps = max_steps
        self.coarse.low, self.coarse.high = float(-max_steps), float(max_steps)
        self.coarse.check, self.coarse.apply = self._check_coarse, self._move_to
        self.coarse.halt = lambda success: self.stop(success=success)
        self.fine.low, self.fine.high = 0.0, max_fine_V
        self.fine.check, self.fine.apply = self._check_fine, self._set_fine
        self.frequency_Hz.low, self.frequency_Hz.high = 1.0, 10_000.0
        self.frequency_Hz.apply = self._set_frequency
        self.frequency_Hz.publish(frequency_Hz)
        self.amplitude_V.low, self.amplitude_V.high = 0.0, 150.0
        self.amplitude_V.apply = self._set_amplitude
        self.amplitude_V.publish(amplitude_V)

    def connect(self, timeout: float) -> None:
        """Bring the axis to a known state: at rest, no offset, frequency and amplitude set."""
        number, controller = self.number, self._controller
        assert controller.controller is not None
        module = controller.controller.modules[number]
        mode = MODE_OF_MODULE.get(module[:6], "stp")
        controller.stop([number]).result(timeout)
        try:
            controller.seta(number, 0.0).result(timeout)
        except InstrumentError:
            log.info("%s: no offset in its present mode", self.name)
        controller.setm(number, mode).result(timeout)
        if mode != "stp":
            controller.seta(number, 0.0).result(timeout)
            self._offset_is(0.0, self._clock.now())
        if mode != "off":
            controller.setf(number, int(self.frequency_Hz.get())).result(timeout)
            controller.setv(number, self.amplitude_V.get()).result(timeout)
        self.mode.publish(controller.getm(number).result(timeout))
        self._steps_are(0, self._clock.now())

    @property
    def moving(self) -> bool:
        """Whether a train of steps is on its way."""
        return self._motion is not None

    @property
    def commands(self) -> tuple[int, bool]:
        """How many motions were commanded so far, and whether one is under way.

        An offset is under way until what is known here says where it went: the output is there
        before that.
        """
        with self._lock:
            return self._commands, self._motion is not None or self._setting > 0

    @property
    def heading(self) -> int:
        """1 or -1 while steps are on their way up (z: to the fibre) or down, 0 at rest."""
        motion = self._motion
        return 0 if motion is None else (1 if motion.steps > 0 else -1)

    def live_state(self) -> str:
        """Return fine offset and net coarse steps."""
        steps = f"{self.fine.get():g} V, {self.coarse.get():+d} steps"
        return f"{steps}, stepping" if self.moving else steps

    def look(self) -> "Future[float]":
        """Ask for the live output in V; the answer changes nothing and may wait."""
        return self._controller.geto(self.number)

    def stop(self, *, success: bool = True) -> None:
        """Stop stepping, keep the fine offset; never raises.  The count is then an estimate."""
        self._stop_axes([self], success)

    def stopped(self, success: bool) -> None:
        """Take note that the controller stopped this axis."""
        with self._lock:
            self._stop_was_success = success
            motion, self._motion = self._motion, None
            if motion is None:
                return
            taken, now = 0, self._clock.now()
            if motion.begun is not None:
                seconds = now - motion.begun
                taken = min(abs(motion.steps), int(seconds * self.frequency_Hz.get()))
            self._steps_are(motion.start + int(math.copysign(taken, motion.steps)), now)
        if success:
            motion.status.set_finished()
        else:
            motion.status.set_exception(
                DroppedError(f"{self.name}: stopped after about {taken} of {abs(motion.steps)}")
            )

    # Coarse

    def _check_coarse(self, value: Any) -> None:
        check_steps(self.coarse.name, value, self._max_steps)
        self._ask(float(value) < int(self.coarse.get()))

    def _move_to(self, value: Any) -> Status:
        with self._lock:
            if self._motion is not None:
                raise InterlockError(f"{self.name}: still stepping; wait for it, or stop it first")
            if self.mode.get() not in ("stp", "stp+", "stp-"):
                raise InterlockError(
                    f"{self.name}: cannot step in mode {self.mode.get()!r}; call "
                    f"{self.root.name}.connect()"
                )
            here = int(self.coarse.get())
            steps = int(value) - here
            if steps == 0:
                return done(self.coarse)
            duration = self._clock.wall_seconds(abs(steps) / self.frequency_Hz.get())
            status = Status(self.coarse, timeout=duration + LATE_S + SET_S)
            motion = self._motion = _Motion(here, steps, status)
            self._commands += 1
            future = self._controller.step(self.number, steps)
        future.add_done_callback(lambda ended: self._started(motion, ended, duration))
        return status

    def _started(self, motion: _Motion, ended: "Future[Any]", duration: float) -> None:
        if (error := ended.exception()) is not None:
            self._failed(motion, error)
            return
        motion.begun = self._clock.now()
        motion.deadline = time.monotonic() + duration + LATE_S
        self._look(motion, duration)

    def _look(self, motion: _Motion, delay_s: float) -> None:
        future = self._controller.geto(self.number, delay_s=delay_s)
        future.add_done_callback(lambda ended: self._looked(motion, ended))

    def _looked(self, motion: _Motion, ended: "Future[float]") -> None:
        if (error := ended.exception()) is not None:
            self._failed(motion, error)
        elif self._at_rest(ended.result()):
            with self._lock:
                if self._motion is not motion:
                    return
                self._motion = None
                # They ended between the start and this look; the steps on the way are not told.
                now = self._clock.now()
                seconds = abs(motion.steps) / self.frequency_Hz.get()
                first = now if motion.begun is None else min(now, motion.begun + seconds)
                ended_in = Exchange(first, now)
                self._steps_are(motion.start + motion.steps, ended_in.t, ended_in.uncertainty_s)
            motion.status.set_finished()
        elif time.monotonic() > motion.deadline:
            self._failed(
                motion,
                TransportTimeout(
                    f"{self.name}: still stepping {LATE_S:g} s after {abs(motion.steps)} steps "
                    "should have ended; stop it, and look at the controller"
                ),
            )
        else:
            self._look(motion, LOOK_S)

    def _at_rest(self, output_V: float) -> bool:
        slack = 0.01 * max(1.0, self.amplitude_V.get())
        return bool(min(abs(output_V), abs(output_V - self.fine.get())) < slack)

    def _failed(self, motion: _Motion, error: BaseException) -> None:
        with self._lock:
            if self._motion is not motion:
                return  # a stop has ended it already
            if isinstance(error, DroppedError):
                return  # a stop is ending it
            self._motion = None
        motion.status.set_exception(error)

    def _ask(self, less: bool) -> None:
        """Raise InterlockError when the axis may not move; away from the fibre it always may."""
        if not (less and self.attr_name == "z"):
            self._permit("advance")

    # Fine, frequency, amplitude

    def _check_fine(self, value: Any) -> None:
        check_fine(self.fine.name, value, float(self.fine.high))
        self._ask(float(value) <= float(self.fine.get()))

    def _set_fine(self, value: Any) -> Status:
        if self.mode.get() not in ("off", "stp+", "stp-"):
            raise InterlockError(f"{self.name}: no fine offset in mode {self.mode.get()!r}")
        volts, sent = float(value), self._clock.now()
        with self._lock:
            self._commands += 1
            self._setting += 1

        def publish(_: object) -> None:
            exchange = Exchange(sent, self._clock.now())
            self._offset_is(volts, exchange.t, exchange.uncertainty_s)

        def ended(_: object) -> None:
            with self._lock:
                self._setting -= 1

        future = self._controller.seta(self.number, volts)
        status = self._follow(self.fine, future, publish)
        future.add_done_callback(ended)  # after it was published
        return status

    def _set_frequency(self, value: Any) -> Status:
        hertz = round(float(value))
        return self._set(self.frequency_Hz, self._controller.setf(self.number, hertz), hertz)

    def _set_amplitude(self, value: Any) -> Status:
        volts = float(value)
        return self._set(self.amplitude_V, self._controller.setv(self.number, volts), volts)

    def _set(self, signal: Any, future: "Future[Any]", value: float) -> Status:
        return self._follow(signal, future, lambda _: signal.publish(value))

    def _follow(
        self, signal: Any, future: "Future[Any]", publish: Callable[[object], None]
    ) -> Status:
        return follow(
            future,
            signal,
            timeout=SET_S,
            publish=publish,
            forgive=lambda: self._stop_was_success,
        )

    # What is known goes to the signals and into the timeline.

    def grounded(self) -> None:
        """Take note that the controller took this axis's output to ground."""
        self.mode.publish("gnd")
        self._offset_is(0.0, self._clock.now())

    def _offset_is(self, volts: float, t: float, uncertainty_s: float = 0.0) -> None:
        self.fine.publish(volts, self._clock.wall_time(t))
        self._timeline.record(f"probe_{self.attr_name}_V", t, float(volts), uncertainty_s)

    def _steps_are(self, steps: int, t: float, uncertainty_s: float = 0.0) -> None:
        self.coarse.publish(steps, self._clock.wall_time(t))
        if self.attr_name == "z":  # the axis that makes and breaks the contact
            self._timeline.record("probe_z_steps", t, int(steps), uncertainty_s)
