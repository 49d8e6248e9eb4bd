"""Links over a loopback socket and a pseudo-terminal: faults, stops that overtake, lost cables."""

import contextlib
import heapq
import itertools
import os
import pty
import random
import re
import select
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stmtem_control.errors import StmTemError
from stmtem_control.job_queue import DroppedError
from stmtem_control.link import Link
from stmtem_control.serial_port import SerialTransport
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import SLICE_S, Transport

from .numbered_instrument import Event, Fault, Kind, NumberedDriver, NumberedInstrument

W = 10.0  # wall seconds that a test waits at most
TIMEOUT_S = 0.15  # of an exchange
BUSY_S = 0.5  # by which a machine in use may be late
HERE = Path(__file__).parent

KINDS: list[Kind] = [
    "none", "none", "drop", "delay", "cut", "shorten", "corrupt", "drip", "twice", "noise",
    "close_before", "close_during", "power_off",
]  # fmt: skip


class Served:
    """A numbered instrument at a loopback port or a pseudo-terminal, in a thread of its own."""

    def __init__(self, instrument: NumberedInstrument, medium: str) -> None:
        self.instrument = instrument
        self.heard = threading.Condition()
        self._events: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._answered_at = 0.0
        self._closed = False
        self._wake, self._woken = os.pipe()[::-1]
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        if medium == "socket":
            self._listener = socket.create_server(("127.0.0.1", 0))
            self._port = self._listener.getsockname()[1]
        else:
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            self._name = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, name="numbered instrument")
        self._thread.start()

    def open(self) -> Transport:
        """Open a connection to it."""
        if self._listener is not None:
            return TcpTransport("127.0.0.1", self._port)
        return SerialTransport(self._name)

    def wait_for(self, what: Callable[[], bool]) -> float:
        """Wait until something is so; return after how many seconds it was."""
        begun = time.monotonic()
        with self.heard:
            assert self.heard.wait_for(what, W)
        return time.monotonic() - begun

    def _serve(self) -> None:
        while True:
            now = time.monotonic()
            while self._events and self._events[0][0] <= now:
                self._let(heapq.heappop(self._events)[2])
            files = [self._woken]
            if self._listener is None:
                files.append(self._master)
            else:
                files += [self._listener.fileno()]
                files += [] if self._peer is None else [self._peer.fileno()]
            seconds = self._events[0][0] - now if self._events else None
            ready = select.select(files, [], [], seconds)[0]
            if self._woken in ready:
                return
            if self._listener is not None and self._listener.fileno() in ready:
                self._hang_up()
                self._peer = self._listener.accept()[0]
            elif ready:
                self._take()

    def _take(self) -> None:
        try:
            peer = self._peer
            data = os.read(self._master, 4096) if peer is None else peer.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up()
            return
        with self.heard:
            events = self.instrument.received(data)
            self.heard.notify_all()
        for event in events:
            at = time.monotonic() + event.seconds
            if not event.floats:
                at = self._answered_at = max(at, self._answered_at)
            heapq.heappush(self._events, (at, next(self._numbers), event))

    def _let(self, event: Event) -> None:
        if event.what is None:
            self._hang_up()
        elif self._listener is None:
            os.write(self._master, event.what)
        elif self._peer is not None:
            try:
                self._peer.sendall(event.what)
            except ConnectionError:
                self._hang_up()

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
            self._events.clear()
            self._answered_at = 0.0
            self.instrument.hung_up()

    def close(self) -> None:
        """End the thread and close everything; harmless when called again."""
        if self._closed:
            return
        self._closed = True
        os.write(self._wake, b"x")
        self._thread.join(W)
        self._hang_up()
        if self._listener is not None:
            self._listener.close()
        else:
            os.close(self._master)
            os.close(self._slave)
        os.close(self._wake)
        os.close(self._woken)


@pytest.fixture(params=["socket", "serial"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    made = Served(NumberedInstrument(iter(()), setting="right"), request.param)
    yield made
    made.close()


@pytest.fixture
def driver(served: Served) -> Iterator[NumberedDriver]:
    with Link(served.open, name="wire") as link:
        yield NumberedDriver(link, time.monotonic, names=False, timeout_s=TIMEOUT_S, quiet_s=0.01)


def open_files() -> int:
    """Return how many files and sockets this process has open, where that is known."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


class Asker:
    """Asks from a thread of its own, and checks that each answer is its own."""

    def __init__(
        self, driver: NumberedDriver, log: list[tuple[str, bool]], first: int, count: int
    ) -> None:
        self.wrong: list[str] = []
        self.numbers: list[int] = []
        self._driver = driver
        self._log = log  # the instrument's own
        self._idents = range(first, first + count)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for ident in self._idents:
            try:
                number = int(self._driver.submit(ident)[1].result(W))
            except StmTemError:
                if not self._driver.link.alive:
                    with contextlib.suppress(StmTemError):
                        self._driver.link.reopen(W)
                continue
            self.numbers.append(number)
            if self._log[number] != (str(ident), True):
                self.wrong.append(f"question {ident}: {self._log[number]}")


@pytest.mark.parametrize("seed", range(3))
def test_four_threads_and_a_bad_wire(served: Served, driver: NumberedDriver, seed: int) -> None:
    """Every answer that is accepted belongs to its question; nothing is left open."""
    chance = random.Random(seed)
    served.instrument.faults = iter(
        [Fault(chance.choice(KINDS), chance.choice([0.01, 0.03, 0.2])) for _ in range(16)]
    )
    log = served.instrument.asked
    askers = [Asker(driver, log, 100 * i, 7) for i in range(4)]
    for asker in askers:
        asker.thread.join(W)
    assert [asker.wrong for asker in askers] == [[]] * 4
    numbers = [number for asker in askers for number in asker.numbers]
    assert len(numbers) == len(set(numbers))
    assert numbers
    served.instrument.faults = iter(())
    if not driver.link.alive:
        driver.link.reopen(W)
    # What is late may spoil one more exchange, not two.
    last = [driver.submit(1000 + i)[1] for i in range(3)]
    assert last[2].exception(W) is None
    before = open_files()
    driver.link.close()
    assert open_files() < before or before == 0


@pytest.mark.parametrize(
    "fault",
    [Fault("delay", 0.6), Fault("drip", 0.1), Fault("drop")],
    ids=["slow", "dripping", "frozen"],
)
def test_a_stop_overtakes_an_answer_that_does_not_come(
    served: Served, driver: NumberedDriver, fault: Fault
) -> None:
    """A reading of ten power-line cycles takes 0.6 s; the words of the stop do not wait for it."""
    driver._timeout_s = 2.0
    driver.submit(1)[1].result(W)
    served.instrument.faults = iter([fault])
    asked = driver.submit(2)[1]
    served.wait_for(lambda: len(served.instrument.asked) == 2)
    begun = time.monotonic()
    stopped = driver.stop(3)[1]
    served.wait_for(lambda: served.instrument.halts > 0)
    assert time.monotonic() - begun < SLICE_S + BUSY_S
    with pytest.raises(DroppedError):
        asked.result(W)
    assert served.instrument.asked[int(stopped.result(W))][0] == "3"
    assert time.monotonic() - begun < 0.6 + 3.0 * BUSY_S


def test_an_idle_link_notices_that_its_instrument_is_gone(
    served: Served, driver: NumberedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.link.IDLE_S", 0.02)
    driver.submit(1)[1].result(W)
    served.close()
    noticed = threading.Event()
    end = time.monotonic() + W
    while driver.link.alive and time.monotonic() < end:
        noticed.wait(0.01)
    assert re.search("closed the connection|port is gone", driver.link.problem or "")


def test_a_peer_that_is_gone_without_a_word() -> None:
    """A pulled cable: the system gives up an idle connection, and one that waits."""
    ended = subprocess.run(
        [sys.executable, str(HERE / "pulled_cable.py")], capture_output=True, text=True, timeout=W,
        check=False,
    )  # fmt: skip
    if ended.returncode == 77:
        pytest.skip(f"no network of its own: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    lines = [line.split(maxsplit=2) for line in ended.stdout.splitlines()]
    assert [kind for _, kind, _ in lines] == ["TransportError"] * 2
    for seconds, _, text in lines:
        assert float(seconds) < 2.0 + 3.0 * BUSY_S
        assert "receiving failed" in text
