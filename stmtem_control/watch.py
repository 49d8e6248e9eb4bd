"""Who watches over a session: its heartbeat, and its guard process."""

import contextlib
import threading
import time
from pathlib import Path

from bluesky import RunEngine

from stmtem_control.devices import SafeReport, SafeState

from .config import Station
from .connect import Addresses, instrument_addresses
from .ending import PlanEnding
from .guard import POSSIBLE, GuardClient
from .heartbeat import Heartbeat
from .timeline import Timeline

ASK_AGAIN_S = 5.0  # wall seconds: one failure has the safe state made several times
MEND_S = 4.0  # that is waited for the guard process, when it makes safe what the session could not
OPENING_S = 10.0  # that a request waits for a session that is just opening


class Watch:
    """Starts the guard process at once, and the heartbeat when there is a RunEngine.

    Parameters
    ----------
    station : Station
    addresses : mapping, optional
        Of the simulated bench.
    bench : int, optional
        Process id of a bench that ends with this process.
    root : Path
        Folder of the log.
    opened : ExitStack
        Ends both; the guard last of all, so that it watches over the closing, too.

    Attributes
    ----------
    guard : GuardClient or None
    heartbeat : Heartbeat or None
    """

    def __init__(
        self,
        station: Station,
        addresses: Addresses | None,
        *,
        bench: int | None,
        root: Path,
        opened: contextlib.ExitStack,
    ) -> None:
        self._settings = station.safe
        self._begun = threading.Event()
        self._asked_guard = 0.0
        self.heartbeat: Heartbeat | None = None
        self.guard: GuardClient | None = None
        if station.safe.guard and POSSIBLE:
            self.guard = GuardClient(
                station,
                addresses,
                instruments=instrument_addresses(station, addresses),
                bench=bench,
                root=root,
                make_safe=self._asked,
                acted=self._acted,
            )
            opened.callback(self.guard.close)
        opened.callback(self._end_heartbeat)

    def begin(
        self,
        RE: RunEngine,  # noqa: N803
        safe_state: SafeState,
        ending: PlanEnding,
        timeline: Timeline,
        opened: contextlib.ExitStack,
    ) -> None:
        """Begin to beat, and wait until the guard is ready.

        Raises
        ------
        InterlockError
            The guard did not start.
        """
        self._safe_state, self._ending = safe_state, ending
        safe_state.on_failure = self._not_safe
        self.heartbeat = Heartbeat(
            RE,
            safe_state,
            heartbeat_s=self._settings.heartbeat_s,
            hang_s=self._settings.hang_s,
            beat=self._beat,
            hung=self._hung,
        )
        opened.callback(timeline.listen(self.heartbeat.note))
        self._begun.set()
        if self.guard is not None:
            self.guard.wait_ready()

    def alive(self) -> bool:
        """Tell whether the session may go on acting on the sample, see :meth:`.Heartbeat.alive`."""
        return self.heartbeat is not None and self.heartbeat.alive()

    def why_not_go_on(self) -> str:
        """Return why a plan must not send its next message; "" if it may."""
        still = "" if self.heartbeat is None else self.heartbeat.stood_still()
        return self._ending.refused() or still

    def run_folder(self, folder: Path) -> None:
        """Tell the guard where its report goes."""
        if self.guard is not None:
            self.guard.run_folder(folder)

    def settled(self, report: SafeReport) -> SafeReport:
        """Return a report, with the parts in it that the guard process has made safe after all.

        A report that is not safe has had it try by itself: that is waited for, for
        :data:`MEND_S` at most.
        """
        if report.sample_safe or self.guard is None:
            return report
        found = self.guard.made(MEND_S)
        if found is not None and found.ok and found.time < report.time:
            # It was before: see that it still is so.
            self.guard.act(f"the session could not ({report.reason})")
            found = self.guard.made(MEND_S)
        if found is None or found.time < report.time:
            return report
        mended = report.mended(found, "the guard process")
        self._safe_state.last = mended
        return mended

    def _beat(self, hazard: bool, moving: bool) -> None:
        if self.guard is not None:
            self.guard.beat(hazard, moving)

    def _end_heartbeat(self) -> None:
        if self.heartbeat is not None:
            self.heartbeat.close()

    def _hung(self, reason: str) -> None:
        """Of a RunEngine that hangs, or after a stop: this process lives, and so do its links."""
        self._ending.trip(reason)
        self._safe_state.make_safe(reason)

    def _acted(self, reason: str) -> None:
        self._ending.trip(reason)

    def _asked(self, reason: str) -> SafeReport:
        """Make safe for another program."""
        if not self._begun.wait(OPENING_S):
            return SafeReport(reason, (), 0.0, time.time())
        self._ending.trip(reason)
        return self._safe_state.make_safe(reason)

    def _not_safe(self, report: SafeReport) -> None:
        """Have the guard process try what the session's own connections could not do."""
        now = time.monotonic()
        if report.sample_safe:
            return  # a camera that does not answer is nothing that it could help
        if self.guard is not None and now - self._asked_guard > ASK_AGAIN_S:
            self._asked_guard = now
            self.guard.act(f"the session could not ({report.reason})")
