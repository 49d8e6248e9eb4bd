"""What the dead-man's bias costs in readings, and how long a bias outlives its host.

The bench runs in a process of its own, in real time.  Readings are taken one after the other, with
holds (``dead_man_s`` 2) and without (``:READ?``, ``dead_man_s`` 0), in turns.  Then the connection
is closed without a word at a random moment of a hold, as a kill does it, and the bench tells when
it heard the last message and when the output went.
"""

import random
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np

from stmtem_control.devices import Keithley2400
from stmtem_control.link import Link
from stmtem_control.visa import VisaTransport

from .bench_apart import bench_apart
from .side_by_side import Report, Target, markdown

__all__ = ["deaths", "readings", "run"]

_DEAD_MAN_S: Final = 0.5  # of the deaths: the shortest that a station file takes
_NPLC: Final = (1.0, 0.1)
_IN_A_ROUND: Final = 20
_W: Final = 10.0


def _serve(pipe: Connection) -> None:
    """Run a bench until told to end; answer "life" with when it heard, and when it went off."""
    from stmtem_control.simulators import Bench

    heard, gone = 0.0, 0.0
    with Bench(size=256) as bench:
        received, drive = bench.source.received, bench.specimen.drive

        def listening(*args: Any) -> None:
            nonlocal heard
            heard = time.monotonic()
            received(*args)

        def watched(volts: float | None, compliance_A: float) -> None:
            nonlocal gone
            if volts is None:
                gone = time.monotonic()
            drive(volts, compliance_A)

        bench.source.received = listening  # type: ignore[method-assign,assignment]
        bench.specimen.drive = watched  # type: ignore[method-assign]
        pipe.send(bench.addresses.bias_source["resource"])
        while pipe.recv() == "life":
            pipe.send((heard, gone if not bench.source.output_on else np.inf))


def _source(resource: str, dead_man_s: float, nplc: float) -> Keithley2400:
    link = Link(lambda: VisaTransport(resource), name="bias_source")
    source = Keithley2400(link, dead_man_s=dead_man_s)
    source.open().result(_W)
    source.configure(compliance_A=1e-6, nplc=nplc).result(_W)
    source.set_level(-5.0).result(_W)
    return source


def readings(count: int, rounds: int) -> dict[tuple[float, float], list[tuple[float, float]]]:
    """Take `count` readings in each of `rounds`.

    Returns
    -------
    dict
        For each NPLC and dead-man's time: how long each reading took, and its uncertainty, in s.
    """
    found: dict[tuple[float, float], list[tuple[float, float]]] = {}
    with bench_apart(_serve) as (resource, _):
        for _round in range(rounds):
            for nplc in _NPLC:
                for dead_man_s in (0.0, 2.0):
                    source = _source(resource, dead_man_s, nplc)
                    taken = found.setdefault((nplc, dead_man_s), [])
                    for _number in range(count):
                        begun = time.monotonic()
                        reading = source.read().result(_W)
                        taken.append((time.monotonic() - begun, reading.uncertainty_s))
                    source.zero_and_off().result(_W)
                    source.link.close()
    return found


def deaths(count: int, seed: int = 1) -> list[float]:
    """Die `count` times; return how long (s) after the last message the output was off."""
    dice, lives = random.Random(seed), list[float]()
    with bench_apart(_serve) as (resource, pipe):
        for number in range(count):
            source = _source(resource, _DEAD_MAN_S, 1.0)
            until = time.monotonic() + dice.uniform(0.0, 2.0 * _DEAD_MAN_S)
            while time.monotonic() < until:
                if number % 2:
                    source.read().result(_W)
                else:
                    time.sleep(1e-3)
            source.link.close()
            heard, gone = 0.0, np.inf
            while not np.isfinite(gone):
                pipe.send("life")
                heard, gone = pipe.recv()
                time.sleep(5e-3)
            lives.append(gone - heard)
    return lives


def run(rounds: int = 7) -> Report:
    """Compare; `rounds` times 20 readings of each, and as many deaths."""
    found = readings(_IN_A_ROUND, rounds)
    rows: list[list[object]] = []
    middles: dict[tuple[float, float], float] = {}
    for (nplc, dead_man_s), taken in found.items():
        times = 1e3 * np.asarray(taken)
        middles[nplc, dead_man_s] = float(np.median(times[:, 0]))
        what = f"a reading at nplc {nplc:g}, " + ("in a hold" if dead_man_s else ":READ?")
        shares = [float(np.percentile(times[:, 0], share)) for share in (50.0, 99.0, 100.0)]
        rows.append([what, len(taken), *shares, float(np.median(times[:, 1]))])
    lives = deaths(2 * rounds)
    rows.append(
        ["the bias after the last message", len(lives)]
        + [1e3 * float(np.percentile(lives, share)) for share in (50.0, 99.0, 100.0)]
        + [""]
    )
    cost = middles[1.0, 2.0] / middles[1.0, 0.0]
    targets = [
        Target("longest bias after the last message, s", f"<= {_DEAD_MAN_S}", max(lives),
               max(lives) <= _DEAD_MAN_S),
        Target("a reading at nplc 1 in a hold, against :READ?", "<= 1.05", cost, cost <= 1.05),
    ]  # fmt: skip
    result = {
        "what": "s that a reading takes, with its uncertainty; s of bias after the last message",
        "readings_s": {f"nplc {n:g}, dead_man_s {d:g}": v for (n, d), v in found.items()},
        "lives_s": lives,
    }
    headings = ["what", "number", "p50 ms", "p99 ms", "max ms", "uncertainty p50 ms"]
    return Report("dead_man", markdown(headings, rows), targets, result)
