"""What a link costs on each query, and how soon a stop is through while others query.

The bench runs in a process of its own.  The same question goes through bare pyvisa-py, with Nagle's
algorithm off in its socket, through the transport of this package alone, and through a link, in
turns: by the thread that waits for the answer, and by the link's worker, which is handed the job.
Stops are SAFE jobs of a link on which four threads query; once more with a thread that only
computes, at Python's own interval between threads and at the one that a session sets.
"""

import contextlib
import itertools
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyvisa

from stmtem_control.devices import Keithley2400
from stmtem_control.devices.interlocks.interlocks import SWITCH_S
from stmtem_control.link import SAFE, Link
from stmtem_control.transport import Transport
from stmtem_control.visa import VisaTransport

from .side_by_side import Report, Target, markdown
from .timing import bench_process

__all__ = ["overhead", "run", "stops"]

_IN_A_ROUND: Final = 300  # queries of each kind
_STOPS: Final = 150  # in a round
_THREADS: Final = 4
_QUESTION: Final = ":OUTP?"
_WANTED_RATIO: Final = 1.5
_WANTED_S: Final = 20e-3
_PAUSE_S: Final = 1e-3  # between two stops
_W: Final = 10.0


def _ask(transport: Transport) -> str:
    transport.ask(_QUESTION.encode() + b"\n")
    return transport.read_until(b"\n", time.monotonic() + _W).decode().strip()


class _HandOver:
    """A thread that is woken and wakes in turn: what a worker costs at least."""

    def __init__(self) -> None:
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while self._go.acquire() and not self._ended:
            self._done.release()

    def __call__(self) -> None:
        """Hand over, and take back."""
        self._go.release()
        self._done.acquire()

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._go.release()
        self._thread.join(_W)


def _plain(resource: str, made: contextlib.ExitStack) -> Callable[[], str]:
    """Return a query through pyvisa-py, as its own documentation has it, but for Nagle."""
    manager = pyvisa.ResourceManager("@py")
    plain: Any = manager.open_resource(resource, read_termination="\n", write_termination="\n")
    made.callback(plain.close)
    interface = plain.visalib.sessions[plain.session].interface
    interface.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return lambda: str(plain.query(_QUESTION)).strip()


def overhead(rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every query by each way, and of a hand-over alone."""
    with bench_process() as (resource, _), contextlib.ExitStack() as made:
        link = made.enter_context(Link(lambda: VisaTransport(resource), name="bias_source"))
        transport = VisaTransport(resource)
        made.callback(transport.close)
        hand_over = _HandOver()
        made.callback(hand_over.close)
        ways: dict[str, Callable[[], object]] = {
            "bare pyvisa-py": _plain(resource, made),
            "transport alone": lambda: _ask(transport),
            "link": lambda: link.call(_ask, timeout=_W),
            "link, by its worker": lambda: link.call(_ask, SAFE, _W),
            "hand-over to a thread and back": hand_over,
        }
        answers = {
            str(way()) for name, way in ways.items() if name != "hand-over to a thread and back"
        }
        assert answers == {"0"}, answers
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds * _IN_A_ROUND):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                spent[name].append(time.perf_counter() - begun)
        return spent


@contextlib.contextmanager
def _threads(works: Sequence[Callable[[], object]]) -> Iterator[None]:
    """Run each again and again in a thread of its own."""
    ended = threading.Event()

    def repeat(work: Callable[[], object]) -> None:
        while not ended.is_set():
            work()

    threads = [threading.Thread(target=repeat, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(_W)


def _compute() -> None:
    for _ in range(10_000):
        pass


@contextlib.contextmanager
def _switching(seconds: float) -> Iterator[None]:
    """Let a computing thread keep the interpreter so long."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def stops(count: int, *, busy: bool) -> tuple[list[float], float]:
    """Return the seconds from each stop to its confirmation, and the queries in a second."""
    with bench_process() as (resource, _), contextlib.ExitStack() as made:
        link = made.enter_context(Link(lambda: VisaTransport(resource), name="bias_source"))
        source = Keithley2400(link)
        source.open().result(_W)
        source.configure(compliance_A=1e-6).result(_W)
        asked = itertools.count()

        def query() -> None:
            link.call(_ask, timeout=_W)
            next(asked)

        spent: list[float] = []
        idle = threading.Event()  # never set: only to wait on
        begun = time.perf_counter()
        with _threads([query] * _THREADS + ([_compute] if busy else [])):
            for _ in range(count):
                idle.wait(_PAUSE_S)
                at = time.perf_counter()
                source.zero_and_off().result(_W)
                spent.append(time.perf_counter() - at)
        rate = next(asked) / (time.perf_counter() - begun)
        return spent, rate


def _spread(spent: Sequence[float], scale: float) -> list[float]:
    times = scale * np.asarray(spent)
    return [
        float(np.median(times)),
        float(np.percentile(times, 99.0)),
        float(times.max()),
    ]


def run(rounds: int = 7) -> Report:
    """Measure; `rounds` times 300 queries of each kind and 150 stops of each kind."""
    queries = overhead(rounds)
    bare = float(np.median(queries["bare pyvisa-py"]))
    rows: list[list[object]] = [
        [name, len(spent), *_spread(spent, 1e6), float(np.median(spent)) / bare]
        for name, spent in queries.items()
    ]
    ratio = float(np.median(queries["link"])) / bare
    while_busy = "stop while 4 threads query and one computes"
    found = {"stop while 4 threads query": stops(rounds * _STOPS, busy=False)}
    found[f"{while_busy}, at Python's interval"] = stops(rounds * _STOPS, busy=True)
    with _switching(SWITCH_S):
        found[f"{while_busy}, at a session's"] = stops(rounds * _STOPS, busy=True)
    for name, (spent, rate) in found.items():
        rows.append([f"{name} ({rate:.0f} queries/s)", len(spent), *_spread(spent, 1e6), ""])
    targets = [
        Target(
            "a query through a link against bare pyvisa-py, median",
            f"<= {_WANTED_RATIO:g}",
            ratio,
            ratio <= _WANTED_RATIO,
        )
    ]
    for name, (spent, _) in found.items():
        if "Python's" not in name:
            p99 = _spread(spent, 1e3)[1]
            wanted = f"< {1e3 * _WANTED_S:g}"
            targets.append(Target(f"{name}, p99, ms", wanted, p99, p99 < 1e3 * _WANTED_S))
    result = {
        "what": "s of a query, and from a stop to its confirmation",
        "queries_s": queries,
        "stops_s": {name: spent for name, (spent, _) in found.items()},
        "queries_per_s": {name: rate for name, (_, rate) in found.items()},
        "peers": {"pyvisa": pyvisa.__version__},
    }
    headings = ["what", "count", "p50 us", "p99 us", "max us", "against pyvisa-py"]
    return Report("link", markdown(headings, rows), targets, result)
