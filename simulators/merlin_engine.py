"""The acquisition engine of a Merlin: triggers in, exposures, frames out.

Everything happens in alarms of the clock and in the calls of the control port and the trigger
lines.  The view and the trigger outputs are called without the engine's lock, because they take
the locks of other instruments.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from . import merlin_frames as wire
from .clock import Alarm, Clock
from .merlin_plan import BOARD_C, make_plan, readout_s
from .merlin_run import Phase, Run, Stamps
from .merlin_settings import FAILED, OK, Settings
from .merlin_stream import DataStream
from .merlin_triggers import BURST, BUSY, READOUT, SHUTTER, TriggerOutputs
from .ports import View

BEAM_keV = 200.0  # electrons count where the threshold is below it
SOFT = 5
LATE_S = 0.25  # of wall time: a frame that is rendered later than that is lost instead

Todo = list[Callable[[], None]]


class Engine:
    """Takes frames.

    Parameters
    ----------
    clock, view, settings, outputs
        Parts of the camera.
    size : int
        Edge of the image in pixels.
    wafer : int
        Number of the wafer that the chips are from.
    epoch_ns : int
        Time stamp (ns since 1970) of the clock's zero; None takes it from the wall.
    stamps : Stamps
        How wrong the time stamps are.
    loss : float
        Share of the frames that never leave the camera.
    """

    def __init__(
        self,
        clock: Clock,
        view: View,
        settings: Settings,
        outputs: TriggerOutputs,
        *,
        size: int,
        wafer: int,
        epoch_ns: int | None,
        stamps: Stamps,
        loss: float,
    ) -> None:
        self._clock = clock
        self._view = view
        self._settings = settings
        self._outputs = outputs
        self._size = size
        self._wafer = wafer
        if epoch_ns is None:
            epoch_ns = time.time_ns() - round(clock.now() * 1e9)
        self._epoch_ns = epoch_ns
        self._stamps = stamps
        self._loss = loss
        self._losing = random.Random(wafer)
        self._late_s = LATE_S * float(getattr(clock, "speed", 1.0))
        self._lock = threading.RLock()
        self._phase = Phase.IDLE
        self._run: Run | None = None
        self._alarm: Alarm | None = None
        self._exposures = 0
        self.lost = 0
        #: Whether acquisitions fail, and how warm the board is.
        self.failing = False
        self.board_C = BOARD_C
        self.stream = DataStream(self._welcome, self._ready)

    @property
    def busy(self) -> bool:
        """True from the start of an acquisition or a process to its end."""
        return self._phase is not Phase.IDLE

    # -- commands -----------------------------------------------------------------------------

    def start(self, *, scan: bool = False) -> int:
        """Start an acquisition, or a threshold scan; return an error code."""
        with self._lock:
            if self.busy or self.failing:
                return FAILED
            plan = make_plan(
                self._settings,
                size=self._size,
                wafer=self._wafer,
                scan=scan,
                board_C=self.board_C,
            )
            body = wire.acquisition_header(
                plan.head, plan.sequence, plan.thresholds_keV, self._stamp_ns(self._clock.now())
            )
            run = self._run = Run(plan, wire.message(body))
            self._phase = Phase.NO_CLIENT
        self._outputs.show(BUSY, True)
        if self.stream.begin(run.header):
            self._ready()
        return OK

    def trigger(self) -> int:
        """Take a soft trigger; return an error code."""
        with self._lock:
            run = self._run
            if run is None or run.plan.sequence.start != SOFT:
                return FAILED
            if self._phase is Phase.NO_CLIENT:
                run.soft_triggered = True
                return OK
            if self._phase is not Phase.ARMED:
                return FAILED
            todo = self._begin_burst(run, self._clock.now())
        _do(todo)
        return OK

    def stop(self) -> int:
        """End the acquisition with the frame that is being exposed; return an error code."""
        todo: Todo = []
        with self._lock:
            run = self._run
            if run is not None and self._phase is not Phase.CLOSING:
                run.stopping = True
                if self._phase is not Phase.EXPOSING:
                    todo = self._close_up(run)
                elif run.plan.sequence.stop != 0:
                    todo = self._finish_exposure(run, self._clock.now())
            elif self._phase is Phase.PROCESS:
                todo = self._end()
        _do(todo)
        return OK

    def abort(self) -> int:
        """End everything at once; what was not sent is dropped; return an error code."""
        with self._lock:
            todo = self._end() if self.busy else []
            self.stream.drop()
        _do(todo)
        return OK

    def fail(self, failing: bool) -> None:
        """Let acquisitions fail, the one under way too; or let them work again."""
        self.failing = failing
        if failing:
            self.abort()

    def jump_clock(self, seconds: float) -> None:
        """Set the clock that stamps the frames on by `seconds`."""
        self._stamps = replace(self._stamps, offset_s=self._stamps.offset_s + seconds)

    def power_cycle(self) -> None:
        """Switch it off and on again: nothing is under way, all settings are the defaults."""
        self.abort()
        self._settings.restore()
        self._outputs.follow()

    def process(self, seconds: float) -> int:
        """Be busy for a while with something that sends no frames; return an error code."""
        with self._lock:
            if self.busy:
                return FAILED
            self._phase = Phase.PROCESS
            self._alarm = self._clock.call_at(self._clock.now() + seconds, self._process_ended)
        self._outputs.show(BUSY, True)
        return OK

    def _process_ended(self) -> None:
        with self._lock:
            todo = self._end() if self._phase is Phase.PROCESS else []
        _do(todo)

    def close(self) -> None:
        """End everything, and the data port's threads."""
        self.abort()
        self.stream.close()

    # -- trigger inputs -----------------------------------------------------------------------

    def input_changed(self, lvds: bool, level: bool) -> None:
        """Take a change of level at the TTL or the LVDS input."""
        self._outputs.input_changed(lvds, level)
        if self._settings.whole("TRIGGERUSEDELAY") and self._outputs.delay_s(lvds) > 0.0:
            due = self._clock.now() + self._outputs.delay_s(lvds)
            self._clock.call_at(due, partial(self._edge, lvds, level))
        else:
            self._edge(lvds, level)

    def _edge(self, lvds: bool, rising: bool) -> None:
        source = (3 if lvds else 1) + (0 if rising else 1)
        todo: Todo = []
        with self._lock:
            run = self._run
            if run is None:
                return
            now = self._clock.now()
            if self._phase is Phase.EXPOSING and run.plan.sequence.stop == source:
                todo = self._finish_exposure(run, now)
            elif self._phase is Phase.ARMED and run.plan.sequence.start == source:
                todo = self._begin_burst(run, now)
        _do(todo)

    # -- data clients -------------------------------------------------------------------------

    def _welcome(self) -> bytes | None:
        # No lock: called under the stream's, which the engine takes while it holds none.
        run = self._run
        return None if run is None else run.header

    def _ready(self) -> None:
        """Begin, now that somebody receives; an acquisition waits for its first data client."""
        todo: Todo = []
        with self._lock:
            run = self._run
            if run is not None and self._phase is Phase.NO_CLIENT:
                if run.plan.sequence.start == 0 or run.soft_triggered:
                    todo = self._begin_burst(run, self._clock.now())
                else:
                    self._phase = Phase.ARMED
        _do(todo)

    # -- exposures ----------------------------------------------------------------------------

    def _begin_burst(self, run: Run, now: float) -> Todo:
        if now < run.last_stop + run.plan.dead_s - 1e-12:  # still reading out
            now = run.last_stop + run.plan.dead_s
        run.burst_left = run.plan.burst
        run.burst_start = now
        run.burst_taken = 0
        todo: Todo = [partial(self._outputs.show, BURST, True)]
        return todo + self._begin_exposure_at(run, now)

    def _begin_exposure_at(self, run: Run, t: float) -> Todo:
        if t <= self._clock.now():
            return self._begin_exposure(run, t)
        self._phase = Phase.GAP
        self._alarm = self._clock.call_at(t, partial(self._gap_over, run, t))
        return []

    def _gap_over(self, run: Run, t: float) -> None:
        with self._clock.at(t):
            with self._lock:
                if self._run is not run or self._phase is not Phase.GAP:
                    return
                todo = self._begin_exposure(run, t)
            _do(todo)

    def _begin_exposure(self, run: Run, t: float) -> Todo:
        self._phase = Phase.EXPOSING
        run.exposure_start = t
        if run.plan.sequence.stop == 0:
            stop = t + run.plan.exposure_s
            self._alarm = self._clock.call_at(stop, partial(self._exposure_over, run, t, stop))
        else:
            stop = t  # until a trigger: what is there at its end is the picture
        return [
            partial(self._view.shutter, t, stop, (self._size, self._size)),
            partial(self._outputs.show, SHUTTER, True),
        ]

    def _exposure_over(self, run: Run, start: float, stop: float) -> None:
        with self._clock.at(stop):
            with self._lock:
                if self._run is not run or self._phase is not Phase.EXPOSING:
                    return
                if run.exposure_start != start:
                    return
                todo = self._finish_exposure(run, stop)
            _do(todo)

    def _finish_exposure(self, run: Run, stop: float) -> Todo:
        """Close the shutter, go on to whatever is next, then make the frame and send it."""
        start = run.exposure_start
        run.taken += 1
        run.burst_left -= 1
        run.burst_taken += 1
        run.last_stop = stop
        number, index = run.taken, self._exposures
        self._exposures += 1
        todo: Todo = [
            partial(self._outputs.show, READOUT, True),
            partial(self._outputs.show, SHUTTER, False),
        ]
        readout_over = partial(self._readout_over, run, number)
        self._clock.call_at(stop + readout_s(run.plan.head.depth), readout_over)
        # In an alarm of its own: a trigger's thread shall not wait for the picture.
        make = partial(self._make_frame, run, start, stop, number, index)
        self._clock.call_at(max(stop, self._clock.now()), make)
        last = run.stopping or run.taken >= run.plan.frames
        if last:
            self._phase = Phase.CLOSING
        elif run.burst_left > 0:
            following = run.burst_start + run.burst_taken * run.plan.period_s
            if run.plan.sequence.stop != 0:
                following = stop + run.plan.dead_s
            todo += self._begin_exposure_at(run, following)
        else:
            self._phase = Phase.ARMED
        if last or run.burst_left <= 0:
            todo.append(partial(self._outputs.show, BURST, False))
        return todo

    def _readout_over(self, run: Run, number: int) -> None:
        if self._run is run and run.taken == number:
            self._outputs.show(READOUT, False)

    def _make_frame(self, run: Run, start: float, stop: float, number: int, index: int) -> None:
        if self._run is not run:  # aborted
            return
        messages: list[bytes] = []
        lost = self._loss > 0.0 and self._losing.random() < self._loss
        if lost or self._clock.now() - stop > self._late_s:
            self.lost += 1
        else:
            messages = self._messages(run, start, stop, number, index)
        todo: Todo = []
        with self._lock:
            if self._run is not run:  # aborted meanwhile
                return
            run.made = number
            # Who has received the last frame may start again: the camera is idle by then.  The
            # lock keeps the header of a new acquisition behind the frame.
            if self._phase is Phase.CLOSING and number == run.taken:
                todo = self._end()
            for message in messages:
                self.stream.send(run.header, message)
        _do(todo)

    def _close_up(self, run: Run) -> Todo:
        """End the acquisition once the frames already exposed are sent."""
        if run.made == run.taken:
            return self._end()
        if self._alarm is not None:
            self._alarm.cancel()
        self._phase = Phase.CLOSING
        return []

    def _messages(
        self, run: Run, start: float, stop: float, number: int, index: int
    ) -> list[bytes]:
        """Return a frame as it is sent: a message for each counter."""
        plan = run.plan
        thresholds = plan.thresholds_keV
        if plan.scan is not None:
            which, first, step = plan.scan
            scanned = list(thresholds)
            scanned[which] = first + (number - 1) * step
            thresholds = tuple(scanned)
        counts = self._view.image(start, stop, (self._size, self._size), index)
        stamp = wire.Stamp(self._stamp_ns(start), round((stop - start) * 1e9))
        messages = []
        for counter in plan.counters:
            seen = counts if thresholds[counter] < BEAM_keV else np.zeros_like(counts)
            body = wire.frame(plan.head, number, counter, thresholds, stamp, seen)
            messages.append(wire.message(body))
        return messages

    def _end(self) -> Todo:
        self._run = None
        self._phase = Phase.IDLE
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        return [self._show_phase]

    def _show_phase(self) -> None:
        # As it is by now: somebody may have started again already.
        self._outputs.show(SHUTTER, self._phase is Phase.EXPOSING)
        self._outputs.show(READOUT, False)
        self._outputs.show(BURST, self._phase in (Phase.EXPOSING, Phase.GAP))
        self._outputs.show(BUSY, self.busy)

    # -- settings -----------------------------------------------------------------------------

    def _stamp_ns(self, t: float) -> int:
        return self._epoch_ns + round(self._stamps.of(t) * 1e9)


def _do(todo: Todo) -> None:
    for action in todo:
        action()
