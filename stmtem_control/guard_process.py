"""The guard: a process that makes the station safe when its session dies or hangs.

The session starts it and tells it, over a pair of sockets, at every heartbeat whether something
acts on the sample.  The end of the pair, or of the session's process, is its death; silence while
something acts on the sample is a hang.  It also takes requests of other programs.
"""

import argparse
import contextlib
import json
import logging
import os
import select
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from stmtem_control.devices import SafeReport

from .config import parse_station
from .log_file import log_to
from .safe_channel import LONGEST, SafeListener
from .safe_station import StationSafety, prewarm

log = logging.getLogger("stmtem_control.guard")

SESSION_S = 1.0  # wall seconds in which a session begins to answer a request, else the guard acts
KILL_S = 2.0  # in which a killed process is gone
FILE = "guard.json"


class _Peer:
    """Somebody who speaks in lines of JSON."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.socket = line
        self._rest = b""

    def lines(self) -> list[dict[str, Any]] | None:
        """Return what has come; None when the other end is gone."""
        try:
            data = self.socket.recv(LONGEST)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data or len(self._rest) > LONGEST:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def say(self, message: dict[str, Any]) -> None:
        """Send a message; who does not take it is left alone."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")


class Guard:
    """Watches over one session.

    Parameters
    ----------
    line : socket
        To the session.
    about : mapping
        What the session tells first: station, addresses, its process id, and that of its bench.
    """

    def __init__(self, line: socket.socket, about: dict[str, Any]) -> None:
        self._station = parse_station(about["station"], "the session's station")
        self._settings = self._station.safe
        self._session = int(about["session"])
        self._bench: int | None = about["bench"]
        self._folder: str | None = None
        self._hazard = self._moving = False
        self._acted = False  # in this hang
        self._heard = time.monotonic()
        self._waiting: list[tuple[_Peer, str, float]] = []
        self._select = selectors.DefaultSelector()
        self._peer = _Peer(line)
        self._select.register(line, selectors.EVENT_READ, self._peer)
        self._pidfd = _pidfd(self._session)
        if self._pidfd is not None:
            self._select.register(self._pidfd, selectors.EVENT_READ, None)
        prewarm(self._station)
        self._safety = StationSafety(self._station, about["addresses"])
        self._listener = SafeListener(
            self._station.station.name, self._session, about["instruments"]
        )
        self._select.register(self._listener.socket, selectors.EVENT_READ, None)
        self._peer.say({"ready": True})

    def watch(self) -> None:
        """Watch until the session says good-bye, or has died and the station is safe."""
        while True:
            events = self._select.select(self._patience_s())
            for key, _ in events:
                if key.data is self._peer:
                    said = self._peer.lines()
                    if said is None:
                        return self._session_died()
                    if any(self._hear(message) for message in said):
                        return None
                elif key.fd == self._pidfd:
                    return self._session_died()
                elif key.fileobj is self._listener.socket:
                    self._accept()
                else:
                    self._take_request(key.data)
            self._look(silent=not events)

    def close(self) -> None:
        """Leave nothing behind."""
        self._listener.close()
        self._safety.close()
        self._select.close()

    def _patience_s(self) -> float:
        ends = [due for _, _, due in self._waiting]
        if self._hazard and not self._acted:
            ends.append(self._heard + self._settings.hang_s)
        return max(0.0, min(ends) - time.monotonic()) if ends else 3600.0

    def _look(self, *, silent: bool) -> None:
        """Act on what did not come in time; `silent`: nothing was there to be read, either."""
        now = time.monotonic()
        if silent and self._hazard and not self._acted:
            still = now - self._heard
            if still >= self._settings.hang_s:
                self._acted = True
                self._act(f"the session gave no sign of life for {still:.1f} s", silent=True)
        late = [entry for entry in self._waiting if entry[2] <= now]
        if late and silent:
            self._waiting = [entry for entry in self._waiting if entry[2] > now]
            report = self._act(late[0][1], silent=True)
            for peer, _, _ in late:
                self._answer(peer, report, f"the guard, for session {self._session} hangs")

    def _hear(self, message: dict[str, Any]) -> bool:
        """Take what the session says; tell whether it was good-bye."""
        self._heard = time.monotonic()
        if "beat" in message:
            self._hazard, self._moving = bool(message["beat"]), bool(message["moving"])
            self._acted = False
        elif "folder" in message:
            self._folder = message["folder"]
        elif "working" in message:
            self._waiting = [(p, r, due + message["working"]) for p, r, due in self._waiting]
        elif "report" in message:
            self._take_report(SafeReport.from_dict(message["report"]))
        elif "act" in message:
            report = self._act(str(message["act"]))
            self._peer.say({"made": report.as_dict(), "number": message["number"]})
        return "bye" in message

    def _take_report(self, report: SafeReport) -> None:
        waiting, self._waiting = self._waiting, []
        who = f"session {self._session}"
        if waiting and not report.ok:
            report, who = self._act(report.reason), f"the guard, for {who} could not"
        for peer, _, _ in waiting:
            self._answer(peer, report, who)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            line, _ = self._listener.socket.accept()
            self._select.register(line, selectors.EVENT_READ, _Peer(line))

    def _take_request(self, peer: _Peer) -> None:
        try:
            said = peer.lines()
            asked = [str(message["safe"]) for message in said] if said is not None else None
        except (ValueError, KeyError, TypeError):
            asked = None
        if asked == []:
            return
        self._select.unregister(peer.socket)
        if asked is None:
            peer.socket.close()
            return
        self._waiting.append((peer, asked[0], time.monotonic() + SESSION_S))
        self._peer.say({"safe": asked[0]})

    def _answer(self, peer: _Peer, report: SafeReport, who: str) -> None:
        peer.socket.setblocking(True)
        peer.socket.settimeout(1.0)
        peer.say({"report": report.as_dict(), "by": who})
        peer.socket.close()

    def _session_died(self) -> None:
        if self._bench is not None and _ends(self._bench, KILL_S):
            log.warning("the session has died, and its simulated bench with it")
            report = None
        else:
            report = self._act(f"the session (process {self._session}) has died")
        for peer, _, _ in self._waiting:
            if report is not None:
                self._answer(peer, report, "the guard, for the session has died")

    def _act(self, reason: str, *, silent: bool = False) -> SafeReport:
        """Make safe, and tell it to whoever can hear it; `silent`: the session is there but hangs.

        What a hung session holds, such as a serial port, nobody else can open.  Then it is ended.
        """
        excuse = ""
        if not self._moving and not self._is_dead():
            excuse = "at rest when the session was last heard; its port is the session's"
        report = self._safety.make_safe(reason, excuse_probe=excuse)
        if not report.ok and silent and self._settings.end_hung_session:
            why = f"{reason}, and it holds what must be made safe: it is ended (SIGKILL)"
            self._tell(f"session {self._session}: {why}; {report.line()}")
            with contextlib.suppress(OSError):
                os.kill(self._session, signal.SIGKILL)
            _ends(self._session, KILL_S)
            report = self._safety.make_safe(why)
        text = f"{reason}: {report.line()} (in {report.seconds:.3f} s)"
        if silent or report.ok or self._is_dead():
            self._tell(text)
        else:
            log.error("%s", text)  # the session has told it, in its own words
        self._write(report)
        if silent:
            self._peer.say({"acted": report.as_dict()})
        return report

    def _tell(self, text: str) -> None:
        log.error("%s", text)
        with contextlib.suppress(OSError, ValueError):
            print(f"stmtem guard: {text}", file=sys.stderr, flush=True)

    def _write(self, report: SafeReport) -> None:
        if self._folder is None:
            return
        path = Path(self._folder) / FILE
        with contextlib.suppress(OSError):
            new = path.with_suffix(".new")
            new.write_text(json.dumps(report.as_dict(), indent=1), "utf-8")
            new.replace(path)

    def _is_dead(self) -> bool:
        return self._pidfd is not None and bool(select.select([self._pidfd], [], [], 0.0)[0])


def _pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a process ends, where there is such a thing.

    The end of the pair of sockets does not tell it when the session has forked, and its child has
    inherited the socket.
    """
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _ends(pid: int, seconds: float) -> bool:
    """Tell whether a process has ended, or does so within `seconds`."""
    pidfd = _pidfd(pid)
    if pidfd is None:
        try:
            os.kill(pid, 0)
        except OSError:
            return True
        return False
    try:
        return bool(select.select([pidfd], [], [], seconds)[0])
    finally:
        os.close(pidfd)


def main() -> int:
    """Run as a child of the session, with the socket that it inherited."""
    parser = argparse.ArgumentParser(description="Guard the session that started this.")
    parser.add_argument("--socket", type=int, required=True)
    options = parser.parse_args()
    # Ctrl-C and a closed terminal are for the session; the guard ends after it.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(signal.Signals[name], signal.SIG_IGN)
    line = socket.socket(fileno=options.socket)
    # Unbuffered: what comes after the first line is for the guard.
    with line, line.makefile("rb", buffering=0) as first:
        words = first.readline()
        if not words:
            return 0
        about = json.loads(words)
        with log_to(Path(about["root"])), contextlib.closing(Guard(line, about)) as guard:
            guard.watch()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
