"""Bias sequences as a flyer: prepared, kicked off, completed by the source itself, collected."""

import logging
import math
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ophyd import Device
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.errors import LimitError, StmTemError, TransportTimeout
from stmtem_control.link import DroppedError
from stmtem_control.timeline import Timeline

from .keithley import Keithley2400
from .keithley_sequence import BiasSequence, SequenceRun
from .live_state import LiveState
from .signals import check_range, done, follow, reading

if TYPE_CHECKING:
    from .bias_source import BiasSource

log = logging.getLogger(__name__)

STREAM = "bias_sequence"
PREPARE_S = 15.0  # wall seconds that setting up may take, on a slow serial line
TRIGGERED_S = 3600.0  # wall seconds that a sequence waits for all its triggers, if not told
PLANNED_S = 2e-3  # wall seconds: a planned level comes so much before or after its time, at least
COARSE = 0.03  # of the time since the start: the instrument's delays are no better than its timer


class BiasSequencer(LiveState, Device):
    """Sequences of levels that the source steps through in its own time.

    The documents have one stream, ``bias_sequence``, with a page of readings when a sequence has
    ended.  Meanwhile the timeline gets each level when it is planned; afterwards the times that
    the source's own stamps give, in place of the planned ones.  A stop of this device, or of the
    :class:`.BiasSource` that it belongs to, ends the sequence at once.

    Parameters
    ----------
    name : str
        Of the device; the documents' keys begin with it.
    source : Keithley2400
        The driver.
    clock, timeline : StationClock, Timeline
        The station's clock, and where levels and readings are noted for the frames.
    bias : BiasSource
        The device that it is a part of: its limits hold, its stop ends a sequence.

    Attributes
    ----------
    run : SequenceRun or None
        What came of the last sequence, from its end on.
    """

    points = reading("How many levels the prepared sequence has.", value=0, kind="config")
    step = reading("How long each level of it lasts.", "s", kind="config")

    def __init__(
        self,
        *,
        name: str,
        source: Keithley2400,
        clock: StationClock,
        timeline: Timeline,
        bias: "BiasSource",
        **kwargs: Any,
    ) -> None:
        super().__init__("", name=name, **kwargs)
        self.source = source
        self.clock = clock
        self.timeline = timeline
        self.run: SequenceRun | None = None
        self._bias = bias
        self._lock = threading.RLock()
        self._prepared: BiasSequence | None = None
        self._ended: Status | None = None
        self._planned: list[tuple[float, float]] = []
        self._uncollected: list[SequenceRun] = []

    # Preparable, Flyable

    def check_value(self, value: "BiasSequence | Mapping[str, Any]", **_: Any) -> None:
        """Raise LimitError when `value` is no sequence, or has a level beyond the limits."""
        self._checked(value)

    def prepare(self, value: "BiasSequence | Mapping[str, Any]") -> Status:
        """Go to 0 V with the output off and set a sequence up; nothing moves yet.

        Parameters
        ----------
        value : BiasSequence or mapping
            A mapping holds its parameters by name.

        Raises
        ------
        LimitError
            A level is beyond the station's limits, or the source could not run it; nothing was
            sent.
        InterlockError
            An interlock has tripped and was not cleared; nothing was sent.
        """
        sequence = self._checked(value)
        self._bias.permit("bias")
        future = self.source.prepare_sequence(sequence)
        with self._lock:
            self._prepared = None

        def publish(_: None) -> None:
            with self._lock:
                self._prepared = sequence
            now = self.clock.now()
            self.timeline.record("bias_set_V", now, 0.0)
            self._bias.setpoint.publish(0.0)
            self._bias.output.publish(False)
            self.points.publish(len(sequence.levels))
            self.step.publish(sequence.step_s)

        return follow(future, self, timeout=PREPARE_S, publish=publish)

    def kickoff(self, *, deadline_s: float | None = None) -> Status:
        """Start it; done when the start has been sent.

        Parameters
        ----------
        deadline_s : float, optional
            Wall seconds until it is ended if its triggers do not come; an hour by default.  One
            that waits for no trigger ends by its plan.

        Raises
        ------
        StmTemError
            Nothing was prepared, or it runs already.
        """
        self._bias.permit("bias")
        with self._lock:
            sequence, self._prepared = self._prepared, None
            if sequence is None:
                raise StmTemError(f"{self.name}: prepare a sequence before it is kicked off")
            self._planned = []
            started, ended = Status(self), Status(self)
            self._ended = ended
        if deadline_s is None and sequence.triggered:
            deadline_s = TRIGGERED_S
        told: list[float] = []

        def on_start(t: float) -> None:
            told.append(t)
            self._bias.output.publish(True, self.clock.wall_time(t))
            started.set_finished()

        def on_step(t: float, volts: float) -> None:
            self._planned.append((t, volts))
            sure = COARSE * (t - told[0]) + PLANNED_S * self.clock.speed
            self.timeline.record("bias_set_V", t, volts, sure)
            self._bias.setpoint.publish(volts, self.clock.wall_time(t))

        def finish(future: "Future[SequenceRun]") -> None:
            error = future.exception()
            try:
                if error is None:
                    self._take(future.result())
            except Exception as problem:
                error = problem
            if error is None:
                ended.set_finished()
                return
            if not told:
                started.set_exception(error)
            ended.set_exception(error)
            if isinstance(error, DroppedError | TransportTimeout):
                self._salvage()

        self.source.run_sequence(
            deadline_s=deadline_s, on_start=on_start, on_step=on_step
        ).add_done_callback(finish)
        return started

    @property
    def running(self) -> bool:
        """Whether a sequence is on its way: the source answers nothing until its end."""
        with self._lock:
            return self._ended is not None and not self._ended.done

    def complete(self) -> Status:
        """Return the Status of the end: done when the readings have been read back."""
        with self._lock:
            return done(self) if self._ended is None else self._ended

    def describe_collect(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of the stream ``bias_sequence``."""
        columns = {
            "level_V": ("V", "number", "<f8"),
            "edge_uncertainty_s": ("s", "number", "<f8"),
            "voltage": ("V", "number", "<f8"),
            "current": ("A", "number", "<f8"),
            "in_compliance": ("", "boolean", "|b1"),
            "instrument_time": ("s", "number", "<f8"),
            "time_uncertainty": ("s", "number", "<f8"),
        }
        keys: dict[str, dict[str, Any]] = {}
        for column, (unit, dtype, numpy) in columns.items():
            key = keys[f"{self.name}_{column}"] = {
                "source": f"stmtem:{self.name}.{column}",
                "dtype": dtype,
                "dtype_numpy": numpy,
                "shape": [],
            }
            if unit:
                key["units"] = unit
        return keys

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Yield one page of readings for each sequence that ended since the last call.

        Levels carry the time at which they were set, all else that of its reading.
        """
        with self._lock:
            runs, self._uncollected = self._uncollected, []
        for run in runs:
            if not run.points:
                continue
            wall = self.clock.wall_time
            edges = [wall(point.edge_t) for point in run.points]
            times = [wall(point.reading.t) for point in run.points]
            values = {
                "level_V": [point.level_V for point in run.points],
                "edge_uncertainty_s": [point.edge_uncertainty_s for point in run.points],
                "voltage": [point.reading.voltage for point in run.points],
                "current": [point.reading.current for point in run.points],
                "in_compliance": [point.reading.compliance for point in run.points],
                "instrument_time": [point.reading.instrument_time for point in run.points],
                "time_uncertainty": [point.reading.uncertainty_s for point in run.points],
            }
            of_edges = ("level_V", "edge_uncertainty_s")
            yield {
                "time": times,
                "data": {f"{self.name}_{name}": column for name, column in values.items()},
                "timestamps": {
                    f"{self.name}_{name}": list(edges if name in of_edges else times)
                    for name in values
                },
            }

    # Stoppable, Pausable, Stageable

    def stop(self, *, success: bool = True) -> None:
        """End the sequence: 0 V, output off, before all that waits; never raises."""
        self._bias.stop(success=success)

    def pause(self) -> None:
        """End the sequence: it cannot be taken up again in its middle."""
        self.stop(success=False)

    def resume(self) -> None:
        """Do nothing: who waits for the sequence has been told that it was ended."""

    def unstage(self) -> list[object]:
        """End the sequence if it runs."""
        if self.running:
            self.stop()
        return list(super().unstage())

    # The rest is for this class.

    def _checked(self, value: "BiasSequence | Mapping[str, Any]") -> BiasSequence:
        try:
            sequence = value if isinstance(value, BiasSequence) else BiasSequence(**value)
        except TypeError as error:
            raise LimitError(f"{self.name}: {value!r} is no sequence: {error}") from error
        low, high = self._bias.limits
        for level in sequence.levels:
            check_range(self.name, level, low, high, "V", "[bias_source] max_bias_V")
        self.source.check_sequence(sequence)
        return sequence

    def _salvage(self) -> None:
        """Read back what a sequence that was ended had come to, behind the stop that ended it."""

        def finish(future: "Future[SequenceRun]") -> None:
            error = future.exception()
            if error is None:
                self._take(future.result())
            else:
                log.info("%s: what it had come to is not known: %s", self.name, error)

        self.source.collect_sequence().add_done_callback(finish)

    def _take(self, run: SequenceRun) -> None:
        """Put what was into the timeline, in place of what was planned."""
        record = self.timeline.record
        for point in run.points:
            found, sure = point.reading, point.reading.uncertainty_s
            record("bias_set_V", point.edge_t, point.level_V, point.edge_uncertainty_s)
            if math.isfinite(found.t):
                record("voltage_V", found.t, found.voltage, sure)
                record("current_A", found.t, found.current, sure)
                record("compliance", found.t, found.compliance, sure)
        times = [point.edge_t for point in run.points]
        last = max((point.reading.t for point in run.points), default=-math.inf)
        for t, volts in self._planned:
            place = bisect_right(times, t)
            true = run.points[place - 1].level_V if place else 0.0
            if t <= last and true != volts:  # the later entry for a time is the one that holds
                record("bias_set_V", t, true, run.points[max(0, place - 1)].edge_uncertainty_s)
        self._planned = []
        with self._lock:
            self.run = run
            self._uncollected.append(run)
        self._bias.output.publish(False)
        self._bias.setpoint.publish(0.0)
