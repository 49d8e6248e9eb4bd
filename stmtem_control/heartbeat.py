"""Whether the session lives: one judgement, for the guard process and for the dead man's bias."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bluesky import RunEngine

if TYPE_CHECKING:
    from stmtem_control.devices import SafeState

log = logging.getLogger(__name__)


class Heartbeat:
    """A thread that beats, and asks the RunEngine's thread for a sign of life while a plan runs.

    Parameters
    ----------
    RE : RunEngine
    safe_state : SafeState
        Knows whether something acts on the sample.
    heartbeat_s, hang_s : float
        Wall seconds between two beats, and after which silence counts as a hang.
    beat : callable
        Called at each beat with whether something acts on the sample, and whether the probe moves.
    hung : callable
        Called, in a thread of its own, with the reason when the RunEngine's thread hangs or the
        whole process stood still, while something acted on the sample.

    Notes
    -----
    Two threads matter.  This one shows that the interpreter runs at all: it falls silent when the
    process is stopped (SIGSTOP, Ctrl-Z, a debugger) or when native code keeps the interpreter
    lock.  The RunEngine's thread decides what the instruments do next: a subscriber or a device
    that blocks there would leave a bias on for ever.  The main thread is not asked: while a plan
    runs it only waits, and at the prompt it may compute for as long as a person likes.
    """

    def __init__(
        self,
        RE: RunEngine,  # noqa: N803
        safe_state: "SafeState",
        *,
        heartbeat_s: float,
        hang_s: float,
        beat: Callable[[bool, bool], None],
        hung: Callable[[str], None],
    ) -> None:
        self._RE = RE
        self._safe_state = safe_state
        self._heartbeat_s = heartbeat_s
        self._hang_s = hang_s
        self._beat = beat
        self._hung = hung
        self._last = time.monotonic()
        self._asked: float | None = None  # when the RunEngine's thread was asked, while it is mute
        self._told = False
        self._was_hazard = False
        self._over = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Tell whether this process may go on acting on the sample; for any thread, and quick."""
        now, asked = time.monotonic(), self._asked
        return now - self._last <= self._hang_s and (asked is None or now - asked <= self._hang_s)

    def stood_still(self) -> str:
        """Return why a plan must not go on after the whole process stood still; "" if it did not.

        A process that is let go again may run a plan's next message before anything else.
        """
        still = time.monotonic() - self._last
        if still <= self._hang_s or not self._was_hazard:
            return ""
        return f"the session stood still for {still:.1f} s"

    def note(self, channel: str, *_: object) -> None:
        """Beat at once when the timeline notes a bias or the beam: a listener of it."""
        if channel in ("bias_set_V", "blanked"):
            self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._over = True
        self._wake.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._over:
            self._wake.wait(self._heartbeat_s)
            self._wake.clear()
            try:
                self._look()
            except Exception:
                log.exception("a heartbeat failed")

    def _look(self) -> None:
        now = time.monotonic()
        still, self._last = now - self._last, now
        if still > self._hang_s and self._was_hazard:
            self._tell(f"the session stood still for {still:.1f} s")
        hazard = self._was_hazard = self._safe_state.hazard
        if self._RE.state == "running":
            asked = self._asked
            if asked is None:
                self._ask(now)
            elif now - asked > self._hang_s and hazard:
                self._tell(f"the RunEngine gave no sign of life for {now - asked:.1f} s")
        else:
            self._asked, self._told = None, False
        self._beat(hazard, self._safe_state.moving)

    def _ask(self, now: float) -> None:
        self._asked = now

        def answer() -> None:
            self._asked, self._told = None, False

        loop: Any = self._RE.loop
        try:
            loop.call_soon_threadsafe(answer)
        except RuntimeError:  # the loop is closed: the session is ending
            self._asked = None

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            threading.Thread(target=self._hung, args=(reason,), name="hang", daemon=True).start()
