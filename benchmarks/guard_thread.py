"""How soon the output is off after a short: from the crossing on the bench to the bench's output.

The bench runs in a process of its own; both moments are stamped there, with the monotonic clock.
A probe that was once pressed through the oxide shorts whenever it touches: so one bench serves for
all trials.
"""

import contextlib
import random
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from stmtem_control.config import Station, load_station
from stmtem_control.session import Session

from .bench_apart import END, bench_apart
from .side_by_side import Report, Target, markdown

__all__ = ["reactions", "run"]

_IN_A_ROUND: Final = 16  # shorts in each case
_READ_S: Final = 0.010  # between two readings
_SETTLED_S: Final = 0.25  # after the bias step: longer than the blanking
_WANTED_S: Final = 0.050
_PRESSED_NM: Final = 600.0  # through the oxide, from the place where the bench begins
_W: Final = 20.0

CASES: Final = {
    "a plan reads every 10 ms": (True, False),
    "the same, and a busy thread": (True, True),
    "nobody reads but the guard": (False, False),
    "the same, and a busy thread, guard only": (False, True),
}


def _serve(pipe: Connection) -> None:
    """Run a bench; short it when told, and tell when that was and when its output went off."""
    from stmtem_control.simulators import Bench

    off = threading.Event()
    when: list[float] = []
    with Bench(size=256) as bench:
        drive = bench.specimen.drive

        def watched(volts: float | None, compliance_A: float) -> None:
            drive(volts, compliance_A)
            if volts is None:
                when.append(time.monotonic())
                off.set()

        bench.specimen.drive = watched  # type: ignore[method-assign]
        bench.specimen.step(2, _PRESSED_NM)
        bench.specimen.step(2, -_PRESSED_NM)
        pipe.send(bench.addresses.as_dict())
        while (delay := pipe.recv()) != END:
            off.clear()
            when.clear()
            threading.Event().wait(delay)
            bench.specimen.step(2, _PRESSED_NM)
            crossed = time.monotonic()
            off.wait(_W)
            pipe.send((crossed, when[0] if when else None))
            bench.specimen.step(2, -_PRESSED_NM)


def _station(data: str, reads: bool) -> Station:
    lab = load_station("sim").with_bench(size=256).with_data(data)
    source = lab.bias_source.model_copy(update={"nplc": 0.1})
    # While a plan reads, the guard leaves it to the plan.
    keys = {"watch_s": 1.0 if reads else _READ_S}
    table = lab.interlocks.model_copy(update=keys)
    return lab.model_copy(update={"bias_source": source, "interlocks": table})


class _Reader:
    """Takes a reading every 10 ms, as a plan does; none while one is awaited."""

    def __init__(self, session: Session) -> None:
        self._bias = session.bias
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        due = time.monotonic()
        while not self._end.is_set():
            if self._bias.output.get():
                self._bias.trigger().exception(_W)
            due = max(due + _READ_S, time.monotonic())
            self._end.wait(due - time.monotonic())

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(_W)


class _Busy:
    """A thread that never waits: it holds the interpreter whenever it gets it."""

    def __init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while not self._end.is_set():
            sum(range(1000))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(_W)


def reactions(name: str, count: int, seed: int = 1) -> tuple[list[float], list[float]]:
    """Short the specimen `count` times in one of :data:`CASES`.

    Returns
    -------
    tuple
        For each: wall s from the crossing to the output off, on the bench; and between readings.

    Raises
    ------
    RuntimeError
        A short did not trip.
    """
    reads, busy = CASES[name]
    rng = random.Random(seed)
    seen: list[float] = []
    readings: list[float] = []
    with contextlib.ExitStack() as opened:
        addresses, pipe = opened.enter_context(bench_apart(_serve))
        data = opened.enter_context(tempfile.TemporaryDirectory())
        session = opened.enter_context(Session(_station(data, reads), addresses=addresses))
        opened.callback(
            session.timeline.listen(
                lambda channel, *_: (
                    readings.append(time.monotonic()) if channel == "current_A" else None
                )
            )
        )
        if reads:
            opened.enter_context(_Reader(session))
        if busy:
            opened.enter_context(_Busy())
        for _ in range(count):
            session.bias.set(-5.0).wait(_W)
            threading.Event().wait(_SETTLED_S)
            pipe.send(rng.uniform(0.0, 2.0 * _READ_S))
            crossed, off = pipe.recv()
            trip = session.interlocks.trip
            if off is None or trip is None or trip.kind != "short":
                raise RuntimeError(f"{name}: the short did not trip; {session.interlocks!r}")
            seen.append(off - crossed)
            session.interlocks.clear()
    between = np.diff(readings)
    return seen, [float(s) for s in between[between < 0.2]]


def run(rounds: int = 7) -> Report:
    """Measure; `rounds` times 16 shorts in each case."""
    rows: list[list[object]] = []
    targets: list[Target] = []
    found: dict[str, list[float]] = {}
    for name in CASES:
        seen, between = reactions(name, _IN_A_ROUND * rounds)
        found[name] = seen
        p50, p99 = (1e3 * float(np.percentile(seen, q)) for q in (50.0, 99.0))
        every = 1e3 * float(np.median(between))
        rows.append([name, len(seen), every, p50, p99, 1e3 * max(seen)])
        targets.append(Target(f"{name}: p99, ms", "< 50", p99, p99 < 1e3 * _WANTED_S))
    headings = ["case", "shorts", "reading every ms", "p50 ms", "p99 ms", "max ms"]
    result = {
        "what": "wall s from the crossing of the limit to output off, both on the bench",
        "reactions_s": found,
    }
    return Report("guard_thread", markdown(headings, rows), targets, result)
