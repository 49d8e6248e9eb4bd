"""The biasing source: sets volts, reads volts and amperes, and is left at 0 V whatever happens."""

import logging
import math
import threading
from collections.abc import Callable
from typing import Any

from ophyd import Component
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.device_limits import MOST_COMPLIANCE, check_bias, check_compliance
from stmtem_control.errors import InterlockError, StmTemError
from stmtem_control.exchanges import Exchange
from stmtem_control.permit import Permit, always
from stmtem_control.timeline import Timeline

from .bias_readings import BiasReadings
from .bias_sequencer import BiasSequencer
from .keithley import Keithley2400
from .keithley_answers import SourceState
from .keithley_hold import Lapse
from .leak_baseline import LeakBaseline
from .live_state import LiveState, state_of_source
from .signals import done, finish_within, follow, problem_of, reading, setting
from .wanted_level import WantedLevel

log = logging.getLogger(__name__)

STOP_S = 1.5  # wall seconds that a stop may take, with a new connection, before it gives up


class BiasSource(LiveState, BiasReadings):
    """A source-measure unit that biases the specimen through the probe.

    Setting a level switches the output on; 0 V leaves it on, so that readings go on.  A stop, a
    pause and the end of staging go to 0 V and switch the output off, in high impedance.

    With a dead-man's time (the driver's) a level is a hold that the source ends by itself, and
    that is renewed while :attr:`alive` says so.  A hold that was not renewed in time is over: the
    device says so, and takes no other level than 0 V before a stop, or the next staging.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    source : Keithley2400
        The driver.
    clock, timeline : StationClock, Timeline
        The station's clock, and where levels and readings are noted for the frames.
    max_bias_V : float
        Largest magnitude that may be set, in V.
    compliance_A : float
        Limit of the current at the start, in A.
    max_compliance_A : float, optional
        Largest compliance that may be set, in A; by default a hundred times the first.
    nplc : float
        Integration time in power-line cycles.
    current_range_A : float, optional
        Fixed measurement range in A; by default the compliance's.
    leak_S : float
        Conductance of holder and cables without contact, from the calibration, in S.

    Attributes
    ----------
    sequence : BiasSequencer
        Levels that the source steps through in its own time; a flyer.
    alive : callable
        Asked before each renewal of a hold, in the link's worker; always true by default.
    lapse : str or None
        Why the output went off though nobody here switched it off; None if it did not.
    on_lapse : callable or None
        Told of that, in the link's worker.
    unsafe : str or None
        What is wrong after a stop that the source did not confirm.
    """

    setpoint = reading("Level that the source is set to.", "V")
    output = reading("Whether the output is on.", value=False)
    compliance = setting("Limit of the current, both signs.", "A", kind="config")
    nplc = reading("Integration time of a reading in power-line cycles.", kind="config")
    dead_man = reading(
        "The source lets go by itself so long after the last it heard.", "s", kind="config"
    )
    leak = setting("Conductance of holder and cables without contact.", "S", kind="config")
    baseline = Component(LeakBaseline, "", kind="config", doc="How the leak was measured.")
    identity = reading("The instrument's own name.", value="", kind="config")
    safe_state: Any = None  # the station's, set where it is put together; plans end with it

    def __init__(
        self,
        *,
        name: str = "bias",
        source: Keithley2400,
        clock: StationClock,
        timeline: Timeline,
        max_bias_V: float,
        compliance_A: float = 1e-8,
        max_compliance_A: float | None = None,
        nplc: float = 1.0,
        current_range_A: float | None = None,
        leak_S: float = 0.0,  # noqa: N803
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.source = source
        self.clock = clock
        self.timeline = timeline
        self.max_bias_V = max_bias_V
        self.unsafe: str | None = None
        self.alive: Callable[[], bool] = lambda: True
        self.lapse: str | None = None
        self.on_lapse: Callable[[str], None] | None = None
        self.permit: Permit = always  # the interlocks put theirs in place
        self._compliance_A = compliance_A
        self._nplc = nplc
        self._current_range_A = current_range_A
        self._lock = threading.RLock()
        self._wanted = WantedLevel(clock)
        self._stop_was_success = True
        self.voltage.low, self.voltage.high = -max_bias_V, max_bias_V
        self.setpoint.low, self.setpoint.high = -max_bias_V, max_bias_V
        highest = MOST_COMPLIANCE * compliance_A if max_compliance_A is None else max_compliance_A
        self.compliance.low, self.compliance.high = 0.0, highest
        self.compliance.check = lambda amperes: check_compliance(self.name, amperes, highest)
        self.compliance.apply = self.set_compliance
        self.leak.publish(leak_S)
        self.compliance.publish(compliance_A)
        self.nplc.publish(nplc)
        self.dead_man.publish(source.hold.dead_man_s if source.hold.wanted else math.inf)
        source.hold.alive = lambda: self.alive()
        source.on_lapse = self._lapsed
        self.sequence = BiasSequencer(
            name=f"{name}_sequence", source=source, clock=clock, timeline=timeline, bias=self
        )

    # Life

    def connect(self, timeout: float = 10.0) -> None:
        """Open the link, make sure who is there, and configure; 0 V, output off.

        Raises
        ------
        LimitError
            The dead-man's time is too short for readings of this length.
        TransportError
            Nothing answers.
        IdentityError
            Another instrument answers.
        InstrumentError
            It refuses a setting.
        """
        self.source.link.open(timeout, restore=False)  # it is set up anew
        self.identity.publish(self.source.open().result(timeout).text)
        state = self.source.configure(
            compliance_A=self._compliance_A, nplc=self._nplc,
            voltage_range_V=max(self.max_bias_V, 0.2), current_range_A=self._current_range_A,
        ).result(timeout)  # fmt: skip
        self._publish_state(state)
        self.lapse = None
        if not self.source.hold.wanted:
            log.warning(
                "%s: [bias_source] dead_man_s is 0: a bias stays on if this program is killed",
                self.name,
            )
        self.setpoint.publish(0.0)
        self.output.publish(False)
        self.timeline.record("bias_set_V", self.clock.now(), 0.0)

    def set_up_again(self, timeout: float = 10.0) -> None:
        """Connect a source that forgot its settings; its compliance is the one set last.

        Raises as :meth:`connect` does.
        """
        amperes = float(self.compliance.get())
        self.connect(timeout)
        if amperes != float(self.compliance.get()):
            finish_within(
                self.set_compliance(amperes), timeout, f"{self.name}: compliance {amperes:g} A"
            )

    def disconnect(self) -> None:
        """Leave the instrument safe and close its link; a broken link is opened again for it."""
        link = self.source.link
        # One that never said who it is was left as it was found.
        if link.alive or (self.source.identity is not None and not link.closed):
            self.stop()
        self.source.link.close()

    # Movable, Locatable

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest level in V."""
        return -self.max_bias_V, self.max_bias_V

    def check_value(self, value: float, **_: Any) -> None:
        """Raise LimitError when `value` (V) is beyond the limits, InterlockError after a trip."""
        check_bias(self.name, value, self.max_bias_V)
        self.permit("bias")

    def set(self, value: float) -> Status:
        """Set the level in V and switch the output on; done when the instrument has taken it.

        Raises
        ------
        LimitError
            Beyond the limits; nothing was sent.
        InterlockError
            An interlock has tripped and was not cleared, or the last bias was let go of by the
            source, and nothing was stopped or staged since; nothing was sent.
        """
        self.check_value(value)
        volts = float(value)
        if self.lapse is not None:
            if volts == 0.0:
                return done(self)  # the output is off
            raise InterlockError(f"{self.name}: {self.lapse}; stop, then set the bias again")
        with self._lock:
            self._wanted.set(volts)
            future = self.source.set_level(volts)

        def publish(taken: Exchange) -> None:
            self.timeline.record("bias_set_V", taken.t, volts, taken.uncertainty_s)
            stamp = self.clock.wall_time(taken.t)
            self.setpoint.publish(volts, stamp)
            self.output.publish(True, stamp)
            self.unsafe = None

        return follow(
            future, self, timeout=self._timeout_s, publish=publish,
            forgive=lambda: self._stop_was_success,
        )  # fmt: skip

    def locate(self) -> dict[str, float]:
        """Return the level set and the voltage last read, in V."""
        return {"setpoint": self.setpoint.get(), "readback": self.voltage.get()}

    def set_compliance(self, amperes: float) -> Status:
        """Set the limit of the current in A; the Status fails if it does not read back.

        Raises
        ------
        LimitError
            Not positive, or beyond the limit.
        """
        self.compliance.check_value(amperes)
        future = self.source.set_compliance(float(amperes), self._current_range_A)
        return follow(
            future, self, timeout=self._timeout_s, publish=self._publish_state,
            forgive=lambda: self._stop_was_success,
        )  # fmt: skip

    # Readable

    def trigger(self) -> Status:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take one reading of voltage and current, from the same sample.

        A stop that comes before it was taken fails the Status; one with success=True, as Bluesky
        sends it at a pause, ends it well with a reading of NaN and the time of the stop.

        With the output off, because nobody has set a level since it was staged or made safe, there
        is nothing to measure, and the reading is NaN: a count must not switch the output on, which
        would connect the sample to 0 V.
        """
        with self._lock:
            resting = self._wanted.resting and self.lapse is None
            self._wanted.forget_stop()
        if resting and not (self.output.get() or self.sequence.running):
            self.publish_no_reading(self.clock.now())
            return done(self)
        return follow(
            self.source.read(), self, timeout=self._timeout_s, publish=self.publish_reading,
            forgive=lambda: self._stop_was_success, forgiven=self.publish_dropped,
        )  # fmt: skip

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """Go to 0 V and switch the output off, before all that waits; never raises.

        When the instrument does not answer, the setpoint is 0 all the same, the error is logged,
        and ``unsafe`` says what is wrong.  `success` tells how a set that is dropped ends.
        """
        with self._lock:
            self._stop_was_success = success
            self._wanted.stop()
            self.lapse = None
            self.setpoint.publish(0.0)
        self._zero_and_off()

    def output_off(self) -> None:
        """Go to 0 V and switch the output off.

        Raises
        ------
        StmTemError
            The instrument did not do it.
        """
        self.stop()
        with self._lock:
            self._wanted.forget_stop()
        if self.unsafe is not None:
            raise StmTemError(f"{self.name}: {self.unsafe}")

    def pause(self) -> None:
        """Go to 0 V and switch the output off; remember the level for :meth:`resume`."""
        with self._lock:
            level = self._wanted.pause()
        self.stop()
        with self._lock:
            self._wanted.keep(level)

    def resume(self) -> None:
        """Restore the level that was set when the pause came: a person asked to go on.

        Raises
        ------
        StmTemError
            The instrument did not take it.
        """
        with self._lock:
            level = self._wanted.resume()
        if level is not None:
            log.info("%s: back to %g V after the pause", self.name, level)
            finish_within(self.set(level), STOP_S, f"{self.name}: back to {level:g} V")

    @property
    def paused_s(self) -> float:
        """How long this device has been paused so far, in seconds of station time."""
        with self._lock:
            return self._wanted.paused_s

    def stage(self) -> list[object]:
        """Forget what an earlier run left behind."""
        with self._lock:
            self._wanted.forget_stop()
            self.lapse = None
            self.source.hold.acknowledge()
            self._wanted.end_pause()
        return list(super().stage())

    def unstage(self) -> list[object]:
        """Go to 0 V and switch the output off."""
        self.stop()
        with self._lock:
            self._wanted.forget_stop()
            self._wanted.end_pause()
        return list(super().unstage())

    def live_state(self) -> str:
        """Return level, output and the last current."""
        return state_of_source(self)

    # The rest is for this class.

    @property
    def _timeout_s(self) -> float:
        return 5.0 + self.clock.wall_seconds(1.0)

    def _zero_and_off(self) -> None:
        future = self.source.zero_and_off()
        problem = problem_of(future, STOP_S)
        if problem is None:
            gone = future.result()
            self.timeline.record("bias_set_V", gone.t, 0.0, gone.uncertainty_s)
            self.output.publish(False, self.clock.wall_time(gone.t))
        else:
            log.error("%s: 0 V and output off NOT confirmed: %s", self.name, problem)
            problem = f"0 V and output off not confirmed: {problem}"
        self.unsafe = problem
        self.setpoint.publish(0.0)  # again: a set that was under way has published its level

    def _lapsed(self, lapse: Lapse) -> None:
        """Take what the driver tells: the output is off, and nobody here switched it off."""
        log.error("%s: %s", self.name, lapse.reason)
        with self._lock:
            self.lapse = lapse.reason
            self._wanted.volts = None
        self.timeline.record("bias_set_V", lapse.t, 0.0, lapse.uncertainty_s)
        stamp = self.clock.wall_time(lapse.t)
        self.setpoint.publish(0.0, stamp)
        self.output.publish(False, stamp)
        if self.on_lapse is not None:
            self.on_lapse(lapse.reason)

    def _publish_state(self, state: SourceState) -> None:
        self.compliance.publish(state.compliance_A)
        self.nplc.publish(state.nplc)
