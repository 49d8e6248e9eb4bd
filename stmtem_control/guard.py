"""The session's side of the guard process: starting it, beating, and hearing from it."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stmtem_control.devices import SafeReport

from .config import Station
from .connect import Addresses
from .errors import InterlockError

log = logging.getLogger(__name__)

START_S = 30.0  # wall seconds that a cold start may take on a busy machine
SAY_S = 0.5  # that the guard may take to receive; its memory for it is far larger than a beat
END_S = 3.0
WORKING_S = 15.0  # that making safe may take when parts hang; then the guard takes over
AGAIN = 3  # times that a guard that dies is started again
LONGEST = 1 << 16
POSSIBLE = os.name == "posix"  # sockets cannot be handed to a child elsewhere


class GuardClient:
    """A guard process that lives as long as this object, and acts if this process does not.

    Parameters
    ----------
    station : Station
    addresses : mapping, optional
        Of the simulated bench.
    instruments : sequence of str
        Addresses by which other programs find the guard.
    bench : int, optional
        Process id of a simulated bench that ends with this process.
    root : Path
        Folder of the log.
    make_safe : callable
        Called, in a thread of its own, with the reason when another program asks for it; returns
        the report.
    acted : callable
        Called with the reason when the guard has acted by itself.

    Raises
    ------
    InterlockError
        It did not start.
    """

    def __init__(
        self,
        station: Station,
        addresses: Addresses | None,
        *,
        instruments: Sequence[str],
        bench: int | None,
        root: Path,
        make_safe: Callable[[str], SafeReport],
        acted: Callable[[str], None],
    ) -> None:
        self._about = {
            "station": station.model_dump(mode="json", exclude_none=True),
            "addresses": addresses,
            "instruments": list(instruments),
            "bench": bench,
            "session": os.getpid(),
            "root": str(root),
        }
        self._make_safe = make_safe
        self._acted = acted
        self._lock = threading.Lock()
        self._closing = False
        self._answered = threading.Condition()
        self._asked = 0  # to act, how often
        self._made: tuple[int, SafeReport | None] = 0, None  # of which time, and what came of it
        self._folder: str | None = None
        self._left = AGAIN
        self._start()

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until it watches.

        Raises
        ------
        InterlockError
            It did not start.
        """
        if not self._ready.wait(START_S):
            raise InterlockError(
                f"the guard process did not start within {START_S:.0f} s; see stmtem.log, or do "
                "without it: [safe] guard = false"
            )
        if not self._watching:
            raise InterlockError(
                "the guard process ended at once; see what it said above, or do without it: "
                "[safe] guard = false"
            )

    def beat(self, hazard: bool, moving: bool) -> None:
        """Give a sign of life, and say whether something acts on the sample."""
        self._say({"beat": hazard, "moving": moving})

    def run_folder(self, folder: Path) -> None:
        """Tell where the guard's report goes."""
        self._folder = str(folder)
        self._say({"folder": self._folder})

    def act(self, reason: str) -> None:
        """Have it make safe over connections of its own, for ours do not; see :meth:`made`."""
        with self._answered:
            self._asked += 1
            number = self._asked
        self._say({"act": reason, "number": number})

    def made(self, seconds: float) -> SafeReport | None:
        """Return what it made of the last :meth:`act`; None if it has not said within `seconds`."""
        with self._answered:
            self._answered.wait_for(lambda: self._made[0] == self._asked or self._closing, seconds)
            number, report = self._made
            return report if number == self._asked else None

    def close(self) -> None:
        """End the guard, which then does nothing; harmless when called again."""
        with self._lock:
            closing, self._closing = self._closing, True
        if closing:
            return
        self._say({"bye": True})
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            log.error("the guard process did not end; it is killed")
            self._process.kill()
            self._process.wait()
        self._thread.join(END_S)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "stmtem_control.guard_process"]
            try:
                self._process = subprocess.Popen(
                    [*command, "--socket", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    # Out of the terminal's reach: it must outlive the session.  Its standard error
                    # is the session's, to tell a person what it did.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise InterlockError(f"the guard process cannot be started: {error}") from None
        ours.settimeout(SAY_S)
        self._socket = ours
        self._watching = False
        self._ready = threading.Event()
        # By the socket, not by the command line: it has the probe's password.
        self._say(self._about)
        self._thread = threading.Thread(
            target=self._receive, args=(ours, self._ready), name="guard listens", daemon=True
        )
        self._thread.start()

    def _say(self, message: dict[str, Any]) -> None:
        try:
            with self._lock:
                self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            log.debug("the guard cannot be told: %s", error)  # its reader notices its end

    def _receive(self, line: socket.socket, ready: threading.Event) -> None:
        rest = b""
        while True:
            try:
                data = line.recv(LONGEST)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for each in lines:
                self._hear(json.loads(each), ready)
        line.close()
        ready.set()
        self._process.wait()
        if not self._closing:
            self._died()

    def _hear(self, message: dict[str, Any], ready: threading.Event) -> None:
        if "ready" in message:
            self._watching = True
            ready.set()
        elif "safe" in message:
            reason = str(message["safe"])
            self._say({"working": WORKING_S})
            threading.Thread(
                target=self._carry_out, args=(reason,), name="a request", daemon=True
            ).start()
        elif "made" in message:
            with self._answered:
                self._made = int(message["number"]), SafeReport.from_dict(message["made"])
                self._answered.notify_all()
        elif "acted" in message:
            report = SafeReport.from_dict(message["acted"])
            self._acted(f"{report.reason}; the guard made safe: {report.line()}")

    def _carry_out(self, reason: str) -> None:
        report = self._make_safe(reason)
        self._say({"report": report.as_dict()})

    def _died(self) -> None:
        """Start another one: a guard that is gone guards nothing."""
        watched = self._watching
        self._watching = False
        if not watched or not self._left:
            log.error("the guard process has died, and is not started again")
            return
        self._left -= 1
        log.error("the guard process has died (exit %s); another one is started",
                  self._process.returncode)  # fmt: skip
        with self._lock:
            closing = self._closing
        if closing:
            return
        try:
            self._start()
        except InterlockError as error:
            log.error("%s", error)
            return
        if self._folder is not None:
            self._say({"folder": self._folder})
