"""Ending or pausing the running plan, whoever asks: Ctrl-C, a signal, an interlock, the guard."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from .end_signals import on_end_signals
from .outcome import one_line

if TYPE_CHECKING:
    from stmtem_control.devices import SafeState

    from .run_engine import StationRunEngine

log = logging.getLogger(__name__)

END_S = 10.0  # wall seconds that ending a plan may take before the session goes on without it
LATE_S = 0.3  # wall seconds after which a RunEngine that does not answer is not waited for
BOUNCE_S = 0.1  # presses of Ctrl-C that are closer together count as one
PRESSES = 10  # of Ctrl-C that are taken; one more gives the prompt back, whatever still runs
BY_PERSON = ("Ctrl-C", "ended from the keyboard")  # reasons for which the contact is kept


class PlanEnding:
    """Ends the running plan for a reason, from any thread; the safe state does not wait for it.

    Parameters
    ----------
    safe_state : SafeState
        Made directly when the RunEngine does not answer.

    Attributes
    ----------
    RE : StationRunEngine
        To be set before anything is run; it takes :meth:`interrupts` as a context manager.
    reason : str
        Why the plan that runs, or ran last, was ended from outside; "" if it was not.
    pausing : str
        Who has asked by :meth:`pause_now` that the plan which runs, or ran last, pauses; or "".
    told : str
        Why the last plan at the prompt ended early, whoever ended it; "" if it did not.
    to_the_end : bool
        Whether Ctrl-C ends the plan, as in :meth:`.Session.run`; otherwise it pauses it.
    leave_paused : bool
        Whether a plan that is paused is left so by :meth:`trip`, for somebody who must end it by
        himself; :meth:`refused` then says why it must not go on.
    at_pause : callable or None
        Asked by :meth:`go` when the plan has paused: whether it goes on (True) or ends.  While it
        is set, the first Ctrl-C pauses, and one during the pause ends.
    """

    RE: "StationRunEngine"

    def __init__(self, safe_state: "SafeState") -> None:
        self.reason = self.told = self.pausing = ""
        self.to_the_end = self.leave_paused = False
        self.at_pause: Callable[[], bool] | None = None
        self._presses = 0
        self._resuming = False
        self._aborting = threading.Lock()
        self._refused = ""
        self._safe_state = safe_state
        self._caught = False

    def begin(self) -> None:
        """Forget why the last plan was ended: another one begins."""
        self.reason = self.told = self.pausing = self._refused = ""

    def refused(self) -> str:
        """Return why a plan that is about to begin, or to go on, must not; "" if it may."""
        return self._refused

    def trip(self, reason: str) -> None:
        """End the running plan for a reason; the first reason counts.  Returns at once."""
        if self.reason:
            return
        self.reason = reason
        if self.RE.state == "idle" or (self.leave_paused and self.RE.state == "paused"):
            self._refused = reason  # perhaps a plan is just about to begin, or to go on
            return
        if not self.to_the_end:
            print(f"stmtem: the plan is ended: {reason}", file=sys.stderr, flush=True)
        threading.Thread(
            target=self._see_to_it, args=(self.abort, reason), name="ending", daemon=True
        ).start()

    def abort(self, reason: str) -> None:
        """Abort the plan, unless it is being ended already; returns when that has begun.

        A second abort would cut short the plan's own cleaning up.
        """
        mine = self._aborting.acquire(timeout=END_S)
        try:
            _wait_while(self._between)
            if self.RE.state in ("running", "paused"):
                self.RE.abort(reason)
        except Exception as error:
            # Somebody else ends it already, or the plan's own clean-up failed; the safe state
            # is made once more, whatever the RunEngine says.
            log.info("abort (%s): %s", reason, error)
        finally:
            if mine:
                self._aborting.release()

    def _between(self) -> bool:
        """Tell whether the plan is about to pause, or to go on."""
        return self.RE.state == "pausing" or (self._resuming and self.RE.state == "paused")

    def pause(self, _reason: str = "") -> None:
        """Pause the plan at once; one that is just about to begin is paused when it has begun."""
        deadline, idle = time.monotonic() + END_S, threading.Event()
        while self._caught and time.monotonic() < deadline:
            if self.RE.state == "running":
                with contextlib.suppress(Exception):  # it ended meanwhile, or is being ended
                    self.RE.request_pause(defer=False)
                    return
            elif self.RE.state != "idle":
                return
            idle.wait(0.01)

    def resume_failed(self, error: BaseException) -> None:
        """End a paused plan in which a device could not go on; others may be doing so.

        Returns when the plan has ended, for then its documents are complete.
        """
        pressed = isinstance(error, KeyboardInterrupt)
        why = "Ctrl-C" if pressed else f"no way on after the pause: {one_line(error)}"
        self.reason = self.reason or why
        self._safe_state.make_safe(self.reason, retract=False)
        self.abort(self.reason)
        _wait_while(lambda: self.RE.state not in ("idle", "panicked"))

    def go(self, plan: Any) -> None:
        """Run a plan, through all its pauses as long as :attr:`at_pause` has it go on.

        Raises
        ------
        RunEngineInterrupted
            It is paused, and shall not go on; or it was ended.
        """
        go_on = False
        while True:
            try:
                self.RE.resume() if go_on else self.RE(plan)
                return
            except RunEngineInterrupted:
                self._resuming = False
                if self.RE.state != "paused" or self.reason or self.at_pause is None:
                    raise
                go_on = self.at_pause() and self.RE.state == "paused"
                # From here on, who wants to end it waits until it runs again.
                self._resuming = go_on
                if not go_on or self.reason:
                    self._resuming = False
                    # Here, and not by the caller: what else may be ending it is waited for.
                    self.abort(self.reason)
                    raise
                self._presses = 0
            except BaseException:
                self._resuming = False
                raise

    def pause_now(self, why: str) -> None:
        """Pause the plan, and make safe directly if the RunEngine does not answer; at once."""
        self.pausing = why
        threading.Thread(
            target=self._see_to_it, args=(self.pause, why), name="pausing", daemon=True
        ).start()

    def run_engine_lives(self) -> bool:
        """Tell whether the RunEngine's thread is there."""
        thread = getattr(self.RE, "_th", None)
        return thread is None or thread.is_alive()

    def end_plan(self, reason: str) -> None:
        """End a plan that runs or is paused, and wait for its own cleaning up."""
        if self.RE.state == "idle" or not self.run_engine_lives():
            return
        threading.Thread(target=self.abort, args=(reason,), name="abort", daemon=True).start()
        _wait_while(lambda: self.RE.state not in ("idle", "panicked"))

    def end_run_engine(self) -> None:
        """End the RunEngine's thread; nothing can be run any more."""
        loop, thread = self.RE.loop, getattr(self.RE, "_th", None)
        if self.run_engine_lives():
            loop.call_soon_threadsafe(loop.stop)
            if thread is not None:
                thread.join(5.0)
        if not loop.is_running():
            loop.close()

    def _see_to_it(self, end: Any, reason: str) -> None:
        """Have the RunEngine end or pause the plan; when it does not answer, make safe directly."""
        begun = threading.Thread(target=end, args=(reason,), name=f"{reason}", daemon=True)
        begun.start()
        begun.join(LATE_S)
        if begun.is_alive() and self.RE.state == "running" and self._safe_state.hazard:
            self._safe_state.make_safe(f"{reason}; the RunEngine does not answer", retract=False)

    # Ctrl-C

    @contextlib.contextmanager
    def interrupts(self, _engine: RunEngine) -> Iterator[None]:
        """Take Ctrl-C while the block runs, instead of Bluesky's handler.

        That one waits for a checkpoint and half a second more, with the bias on; forgets a press
        that comes before the plan runs, or after its last checkpoint; and cannot be used outside
        the main thread.  Here a press ends the plan (:attr:`to_the_end`) or pauses it, at once.
        More presses make safe directly if need be; after :data:`PRESSES`, KeyboardInterrupt.
        Within another such block, and outside the main thread, nothing is done.
        """
        if self._caught or threading.current_thread() is not threading.main_thread():
            yield
            return
        # Unlike an Event, it may be put to by a handler that interrupts another put.
        presses: SimpleQueue[int] = SimpleQueue()
        self._presses, last = 0, -1.0

        def press(_number: int, _frame: object) -> None:
            nonlocal last
            now = time.monotonic()
            if self._presses and now - last < BOUNCE_S:
                return
            self._presses, last = self._presses + 1, now
            if self._presses > PRESSES:
                raise KeyboardInterrupt
            presses.put(self._presses)

        def watch() -> None:
            while (number := presses.get()) > 0:
                self._pressed(number)

        watcher = threading.Thread(target=watch, name="Ctrl-C", daemon=True)
        old = signal.signal(signal.SIGINT, press)
        self._caught = True
        watcher.start()
        try:
            yield
        finally:
            self._caught = False
            signal.signal(signal.SIGINT, old)
            presses.put(0)
            watcher.join(LATE_S)

    def _pressed(self, number: int) -> None:
        pauses = self.at_pause is not None and self.RE.state not in ("pausing", "paused")
        if self.to_the_end and (number > 1 or not pauses):
            self.trip("Ctrl-C")
        elif number == 1:
            self.pause_now("Ctrl-C")
        if number > 1 and self._safe_state.hazard:
            self._safe_state.make_safe("Ctrl-C, again", retract=False)

    # SIGTERM, SIGHUP

    @contextlib.contextmanager
    def by_signals(self, *, leave: bool = False) -> Iterator[None]:
        """Let SIGTERM and SIGHUP end the running plan, while the block runs.

        The first signal counts; more of them change nothing while the plan is being ended.
        With no plan running, SystemExit is raised, so that the session closes and with it makes
        the station safe; with `leave`, that happens after an ended plan, too.  Outside the main
        thread signals cannot be caught, and nothing is done.
        """
        ending = threading.Event()

        def end(number: int, _frame: object) -> None:
            name = signal.Signals(number).name
            if ending.is_set() and (self.RE.state != "idle" or not leave):
                return  # it is being ended, or its outcome is being told
            if self.RE.state == "idle":
                raise SystemExit(f"stmtem: ended by {name}; the station was made safe")
            ending.set()
            # Not here: the handler runs in the thread that the RunEngine blocks.
            threading.Thread(target=abort, args=(number, name), name=name, daemon=True).start()

        def abort(number: int, name: str) -> None:
            self.trip(name)
            if leave:
                _wait_while(lambda: self.RE.state != "idle")
                os.kill(os.getpid(), number)

        with on_end_signals(end):
            yield


def _wait_while(busy: Callable[[], bool]) -> None:
    """Wait as long as something is so, but no longer than :data:`END_S`."""
    deadline, idle = time.monotonic() + END_S, threading.Event()
    while busy() and time.monotonic() < deadline:
        idle.wait(0.01)
