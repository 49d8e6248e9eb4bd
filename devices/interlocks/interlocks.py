"""The interlocks of a station: they see, they act, they latch, and then they tell why.

Readings are judged in the thread in which they arrive, so that nothing waits for a poll; what must
come and does not is looked for in a thread of its own, the guard.  That thread also waits until
what it made safe is confirmed; another one, that never waits, sends the orders the moment a trip
latches.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from stmtem_control.clock import StationClock
from stmtem_control.errors import InterlockError
from stmtem_control.interlock_table import InterlocksTable
from stmtem_control.permit import Action
from stmtem_control.timeline import Timeline

from .currents import ReadingJudge
from .latch import Latch
from .probe_watch import Overshoot, Travel
from .trip import CLEAR, Finding, Trip
from .watch import Watch

if TYPE_CHECKING:
    from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera, PiezoProbe, SafeState

log = logging.getLogger(__name__)

CHANNEL = "interlock"  # of the timeline: one entry a trip, and one when it is cleared
LIVE_S = 0.05  # wall seconds between two looks of the guard while something is on, at most
SHORTEST_S = 0.002  # the same, at least
IDLE_S = 0.2  # the same, while nothing is
JOIN_S = 5.0
SWITCH_S = 0.5e-3  # for which a busy thread may keep the interpreter; Python's own is 5 ms
AGAIN_S = 0.1  # wall seconds after which what is not safe is tried again; then twice as long, up to
LONGEST_AGAIN_S = 10.0
READINGS = ("bias_set_V", "voltage_V", "current_A", "compliance")
POSITIONS = ("probe_x_V", "probe_y_V", "probe_z_V", "probe_z_steps")


class Interlocks:
    """Watches a station and makes it safe when a limit of ``[interlocks]`` is passed.

    Parameters
    ----------
    bias, beam, probe, camera : device
        Whom it watches.  They ask it before they act: see ``permit`` of each.
    safe_state : SafeState
        What makes the station safe; a trip of the dose blanks the beam alone.
    clock, timeline : StationClock, Timeline
        The station's; every reading comes through the timeline, whoever took it.
    table : InterlocksTable
        The thresholds.
    reading_s : float
        Station seconds that a reading of the source takes.
    data : Path, optional
        Folder on the disk whose room is watched.

    Attributes
    ----------
    on_trip : callable
        Called with each :class:`.Trip` in the guard's thread, when the station has been made safe.

    Notes
    -----
    A trip latches: devices refuse to bias, to open the beam and to move the probe other than away,
    until a person calls :meth:`clear`.  A trip of the dose refuses the open beam only.
    """

    def __init__(
        self,
        *,
        bias: "BiasSource",
        beam: "BeamBlanker",
        probe: "PiezoProbe",
        camera: "FrameCamera",
        safe_state: "SafeState",
        clock: StationClock,
        timeline: Timeline,
        table: InterlocksTable,
        reading_s: float,
        data: Path | None = None,
    ) -> None:
        self.on_trip: Callable[[Trip], None] = lambda trip: None
        self._bias, self._beam, self._probe = bias, beam, probe
        self._safe_state = safe_state
        self._clock, self._timeline = clock, timeline
        self._latch = Latch()
        self._judge = ReadingJudge(
            table,
            max_bias_V=bias.max_bias_V,
            reading_s=reading_s,
            compliance_A=bias.compliance.get,
            leak_S=bias.leak.get,
        )
        self._overshoot = Overshoot(table)
        self._travel = Travel(float(probe.z.fine.high), int(probe.z.coarse.high))
        self.watch = Watch(
            bias, beam, probe, camera, table, self._found, self._wake, data,
            clock.wall_seconds(reading_s),
        )  # fmt: skip
        self._changed = threading.Condition()
        self._orders: SimpleQueue[tuple[Trip | None, float] | None] = SimpleQueue()
        self._to_do: list[tuple[Trip, float, Future[Any] | None]] = []
        self._untold = 0  # trips that latched and were not acted on and told yet
        self._closing = False
        self._again_at, self._again_s = 0.0, AGAIN_S
        self._end_listening: Callable[[], None] | None = None
        self._switch_s: float | None = None
        self._threads: list[threading.Thread] = []
        for device in (bias, beam, probe):
            device.permit = self.permit

    # Life

    def start(self) -> None:
        """Begin to watch; harmless when it does already."""
        if not self._threads:
            self._closing = False
            # A reading passes the interpreter on several times; each would cost its interval.
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(SWITCH_S, self._switch_s))
            self._end_listening = self._timeline.listen(self._hear, since=self._clock.now())
            for name, work in (("interlocks", self._guard), ("interlock orders", self._send)):
                self._threads.append(threading.Thread(target=work, name=name, daemon=True))
                self._threads[-1].start()

    def close(self) -> None:
        """End the guard; what is latched stays so.  Harmless when called again."""
        end, self._end_listening = self._end_listening, None
        if end is not None:
            end()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._switch_s is not None:
            sys.setswitchinterval(self._switch_s)
            self._switch_s = None
        threads, self._threads = self._threads, []
        if threads:
            self._orders.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_S)

    # What a person and other parts ask

    @property
    def trip(self) -> Trip | None:
        """What holds, the gravest if there are two; None while all is well."""
        return next(iter(self._latch.trips), None)

    @property
    def trips(self) -> list[Trip]:
        """All that holds: at most one that ended the run, and one of the dose."""
        return self._latch.trips

    def trip_now(self, kind: str, text: str, limit: str = "") -> None:
        """Trip, for a reason that somebody else has found; safe in any thread, never waits.

        Parameters
        ----------
        kind : str
            "dose" blanks the beam and leaves the bias under control; all others make everything
            safe.
        text, limit : str
            What was seen, and what is allowed.
        """
        self._found(Finding(kind, text, limit))

    def clear(self) -> None:
        """Say that a person has seen to the cause: devices may act again."""
        self.wait(JOIN_S)
        held = self._latch.clear()
        self.watch.forget()
        for trip in held:
            log.warning("cleared: %s", trip.text)
        if held:
            self._timeline.record(CHANNEL, self._clock.now(), "cleared")

    def wait(self, seconds: float) -> bool:
        """Wait at most `seconds` (wall) until all that has tripped was acted on and told."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._untold, seconds)

    def permit(self, action: Action) -> None:
        """Raise InterlockError when a device may not act, in one line with why and how to go on."""
        self._latch.permit(action)
        if action == "advance" and self._overshoot.over(self._judge.last):
            last = self._judge.last
            if last is not None and self._bias.output.get():
                raise InterlockError(
                    f"moving the probe on is refused: the last reading is {last.amperes:.2e} A, "
                    f"over the contact band ({self._overshoot.limit_A:g} A, [interlocks] "
                    "overshoot_A); take it back, or the bias off"
                )

    def __repr__(self) -> str:
        """Return whether something holds, what, and how to clear it."""
        held = self.trips
        if not held:
            return "<interlocks: none has tripped>"
        return f"<interlocks: TRIPPED: {'; '.join(t.text for t in held)}; clear with {CLEAR}>"

    # In the thread in which something is recorded, with the timeline locked

    def _hear(self, channel: str, t: float, value: Any, uncertainty_s: float) -> None:
        try:
            if channel in READINGS:
                self._hear_reading(channel, t, value, uncertainty_s)
            elif channel in POSITIONS:
                finding = self._travel.see(channel, float(value))
                if finding is not None:
                    self._found(finding)
        except Exception as error:  # a guard that fails must not fail open
            log.exception("an interlock failed")
            self._found(Finding("guard", f"a judgement failed: {error!r}", ""))

    def _hear_reading(self, channel: str, t: float, value: Any, uncertainty_s: float) -> None:
        if channel == "bias_set_V" and value and self._latch.refusing("bias"):
            self._orders.put((None, time.monotonic()))  # it was on its way when the trip came
        found = self._judge.hear(channel, t, value, uncertainty_s)
        if found is None:
            return
        self.watch.heard(time.monotonic())
        finding = self._judge.judge(found)
        heading, quiet = self._probe.z.heading, self._judge.quiet
        if self._judge.last is found:
            finding = self._overshoot.see(found, heading, quiet) or finding
        if finding is not None:
            self._found(finding)
        elif self._judge.suspects:
            self.watch.hurry()
            self._wake()

    def _found(self, finding: Finding) -> None:
        """Latch, and have the orders sent; never waits.

        They are not sent from here: what a stop drops is told in the timeline, which is locked.
        """
        noticed = time.monotonic()
        t = self._clock.now()
        trip = self._latch.set(finding, t, self._clock.wall_time(t))
        if trip is None:
            return
        if self._threads:
            with self._changed:
                self._untold += 1
            self._orders.put((trip, noticed))

    # In the thread that sends orders, and never waits for an instrument

    def _send(self) -> None:
        while (order := self._orders.get()) is not None:
            trip, noticed = order
            gone: Future[Any] | None = None
            if trip is None or trip.ends_run:
                gone = self._order(self._bias.source.zero_and_off)
                self._order(self._probe.controller.stop)
            if trip is not None:
                with self._changed:
                    self._to_do.append((trip, noticed, gone))
                    self._changed.notify_all()

    def _order(self, send: "Callable[[], Future[Any]]") -> "Future[Any] | None":
        try:
            return send()
        except Exception:  # the other order, and the guard behind it, must not miss the trip
            log.exception("an order could not be sent")
            return None

    # In the guard's thread

    def _guard(self) -> None:
        while True:
            with self._changed:
                if not (self._to_do or self._closing):
                    self._changed.wait(self._nap_s())
                to_do, self._to_do = self._to_do, []
                if not to_do and self._closing:
                    return
            for trip, noticed, gone in to_do:
                self._act(trip, noticed, gone)
                with self._changed:
                    self._untold -= 1
                    self._changed.notify_all()
            self._look()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _nap_s(self) -> float:
        """Return the wall seconds until something is due."""
        if not self.watch.live:
            return IDLE_S
        return min(LIVE_S, max(SHORTEST_S, self.watch.due - time.monotonic()))

    def _look(self) -> None:
        try:
            self.watch.look()
            self._insist()
        except Exception as error:  # a guard that fails must not fail open
            log.exception("the guard failed")
            self._found(Finding("guard", f"a look failed: {error!r}", ""))

    def _insist(self) -> None:
        """Try again what is not safe though it should be, or was on its way when the trip came."""
        biased = self._latch.refusing("bias") and self._bias.output.get()
        lit = self._latch.refusing("open") and not self._beam.blanked.get()
        if not (biased or lit):
            self._again_s = AGAIN_S
            return
        if time.monotonic() < self._again_at:
            return
        if biased:
            self._bias.stop(success=False)
        if lit:
            self._beam.stop(success=False)
        self._again_at = time.monotonic() + self._again_s
        self._again_s = min(2.0 * self._again_s, LONGEST_AGAIN_S)

    def _act(self, trip: Trip, noticed: float, gone: "Future[Any] | None") -> None:
        """Make safe, note it, and tell; every part is tried, and nothing raises."""
        at: list[float] = []
        if gone is not None:
            gone.add_done_callback(lambda _: at.append(time.monotonic()))
        try:
            # First: what ends the run closes its files.
            self._timeline.record(CHANNEL, trip.t, trip.text)
        except Exception:  # such as of a file that cannot be written
            log.exception("a trip could not be noted")
        unsafe = self._make_safe(trip)
        reaction_s = (at[0] if at else time.monotonic()) - noticed
        done = self._latch.complete(trip, reaction_s, unsafe)
        log.error("%s, at %.3f s, after %.0f ms", done.text, done.t, 1e3 * reaction_s)
        try:
            self.on_trip(done)
        except Exception:
            log.exception("telling of a trip failed")

    def _make_safe(self, trip: Trip) -> str:
        """Return what could not be made safe."""
        if not trip.ends_run:
            self._beam.stop(success=False)
            return self._beam.unsafe or ""
        return self._safe_state.make_safe(trip.text).bad()
