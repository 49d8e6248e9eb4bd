"""The one safe state of the station: bias off, beam blanked, probe at rest, camera stopped."""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from stmtem_control.errors import InterlockError

from .safe_parts import SafeReport, SafeStep, carry_out

log = logging.getLogger(__name__)

# Wall seconds.  A device's stop gives up after 1.5 s by itself, on a second connection if need be;
# a part that takes longer hangs.
STOP_S = 2.5
CAMERA_S = 6.0  # frames that are under way are still written
SET_S = 5.0  # for the fine offset, and for the controller to start coarse steps


class SafeState:
    """Makes the station safe, for whoever asks, from any thread, with or without a RunEngine.

    In this order: bias to 0 V and the output off, beam blanked, probe stopped, probe retracted if
    that is wanted, camera stopped.  Each part is tried, whether or not another fails or hangs, and
    each is asked for again at every call: nothing is taken for safe because it was so before.

    Parameters
    ----------
    bias, beam, probe, camera : ophyd devices
        A camera, or a probe, may be None.
    retract_steps : int
        Coarse steps by which the probe goes back, with its fine offset at zero; 0 leaves it.

    Attributes
    ----------
    last : SafeReport or None
        The newest report.
    on_failure : callable or None
        Called with a report in which a part is not safe, in the thread that made it.
    unsafe : str or None
        What that says, if a part is not safe.

    Notes
    -----
    The probe is retracted only when a caller wants it, only after the bias is confirmed off (a
    contact that opens under a bias may strike an arc), and only once: not again before something
    else has moved it.
    """

    name = "safe_state"
    parent = None

    def __init__(
        self, bias: Any, beam: Any, probe: Any = None, camera: Any = None, *, retract_steps: int = 0
    ) -> None:
        self.bias, self.beam, self.probe, self.camera = bias, beam, probe, camera
        self.retract_steps = retract_steps
        self.last: SafeReport | None = None
        self.on_failure: Callable[[SafeReport], None] | None = None
        self._lock = threading.Lock()
        self._under_way: tuple[Future[SafeReport], bool] | None = None
        self._retracted_to: int | None = None

    @property
    def unsafe(self) -> str | None:
        """What the newest report says, if a part is not safe."""
        return None if self.last is None or self.last.ok else self.last.line()

    @property
    def at_rest(self) -> bool:
        """Whether, as far as is known, output and beam are off and the probe does not move."""
        return bool(not self.bias.output.get() and self.beam.blanked.get() and not self.moving)

    @property
    def moving(self) -> bool:
        """Whether an axis of the probe is stepping."""
        return self.probe is not None and bool(self.probe.moving)

    @property
    def hazard(self) -> bool:
        """Whether something acts on the sample: a bias or a sequence, the beam, a moving probe.

        An output that is on at 0 V is none.
        """
        sequence = getattr(self.bias, "sequence", None)
        stepping = sequence is not None and bool(sequence.running)
        biased = bool(self.bias.output.get()) and self.bias.setpoint.get() != 0.0
        return stepping or biased or not self.beam.blanked.get() or self.moving

    def covers(self, devices: Iterable[Any]) -> bool:
        """Tell whether these devices are all among its own."""
        own = (self.bias, self.beam, self.probe, self.camera)
        return all(any(device is mine for mine in own) for device in devices)

    def make_safe(self, reason: str = "", *, retract: bool = True) -> SafeReport:
        """Make everything safe and tell what became of each part; never raises.

        Of several callers at once one does it, and the others get its report.  If something was
        set after its part was done, they do it again.

        Parameters
        ----------
        reason : str
            Why, for the log and the report.
        retract : bool
            Whether the probe is to be retracted, if that is configured: not at the normal end of
            a plan, where the contact is wanted for the next one.

        Returns
        -------
        SafeReport
        """
        for last_time in (False, True):
            mine: Future[SafeReport] = Future()
            with self._lock:
                under_way = self._under_way
                if under_way is None:
                    self._under_way = mine, retract
            if under_way is None:
                return self._carry_out(mine, reason, retract)
            report = under_way[0].result()
            enough = self.at_rest and (under_way[1] or not retract or not self.retract_steps)
            if enough or last_time:
                return report
        raise AssertionError("unreachable")  # pragma: no cover

    def begin(self) -> None:
        """Have the words that make safe sent to every instrument, and wait for none of them.

        For the moment in which something has failed: what cleans up after it comes later, and may
        be held up by an instrument that is silent.  It is not the safe state yet, for nobody waits
        for an answer, and nothing is reported.
        """
        for device in (self.bias, self.beam, self.probe):
            if device is not None:
                threading.Thread(
                    target=device.stop, kwargs={"success": False}, name=f"stopping {device.name}",
                    daemon=True,
                ).start()  # fmt: skip
        if self.camera is not None:
            # Its stop comes later, when its last frames have; if it is silent that is known then.
            self.camera.ask()

    def __call__(self, reason: str = "asked for at the prompt") -> SafeReport:
        """Make everything safe, see :meth:`make_safe`; short, for a prompt."""
        return self.make_safe(reason)

    def stop(self, *, success: bool = True) -> None:
        """Make safe, for Bluesky's ``stop`` message; never raises, see :attr:`unsafe`."""
        self.make_safe("the plan ended" if success else "the plan failed", retract=False)

    def _carry_out(self, future: "Future[SafeReport]", reason: str, retract: bool) -> SafeReport:
        try:
            report = carry_out(self._steps(retract), reason)
        except BaseException as error:  # who waits must not wait for ever
            report = SafeReport(reason, (), 0.0, 0.0)
            log.exception("the safe state could not be made", exc_info=error)
        with self._lock:
            self.last = report
            self._under_way = None
        future.set_result(report)
        if report.ok:
            log.info("made safe in %.3f s (%s): %s", report.seconds, reason, report.line())
        else:
            log.error("%s (%s)", report.line(), reason)
            if self.on_failure is not None:
                self.on_failure(report)
        return report

    def _steps(self, retract: bool) -> list[SafeStep]:
        steps = [
            self._stopping(self.bias, "0 V, output off", STOP_S),
            self._stopping(self.beam, "blanked", STOP_S),
        ]
        if self.probe is not None:
            steps.append(self._stopping(self.probe, "stopped", STOP_S))
            if retract and self.retract_steps:
                needed_s = SET_S + self._stepping_s()
                steps.append(
                    SafeStep("retraction", self._retract, SET_S + needed_s, self.bias.name)
                )
        if self.camera is not None:
            steps.append(self._stopping(self.camera, "stopped", CAMERA_S, harmless=True))
        return steps

    def _stopping(
        self, device: Any, what: str, deadline_s: float, *, harmless: bool = False
    ) -> SafeStep:
        def stop() -> str:
            device.stop(success=False)
            problem = getattr(device, "unsafe", None)
            if problem is not None:
                raise InterlockError(str(problem))
            return what

        return SafeStep(device.name, stop, deadline_s, harmless=harmless)

    def _stepping_s(self) -> float:
        """Return the wall seconds that the coarse steps take."""
        frequency_Hz = max(1.0, float(self.probe.z.frequency_Hz.get()))
        return float(self.probe.clock.wall_seconds(self.retract_steps / frequency_Hz))

    def _retract(self) -> str:
        z = self.probe.z
        here = int(z.coarse.get())
        if here == self._retracted_to:
            return f"at {here} steps already"
        z.fine.set(0.0).wait(SET_S)
        # A shorter way than asked for, at the end of the travel, is better than none.
        target = max(here - self.retract_steps, int(z.coarse.low))
        z.coarse.set(target).wait(SET_S + self._stepping_s())
        self._retracted_to = int(z.coarse.get())
        return f"by {here - self._retracted_to} steps"
