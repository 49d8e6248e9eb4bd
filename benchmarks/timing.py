"""When a bias edge was: gated round trips against naive stamps, and the bench's own truth.

The bench runs in a process of its own, and stamps each change of the voltage at the specimen with
the monotonic clock that both processes share.  The driver of this package and a plain PyVISA
program (pyvisa-py: ``write`` of the level, ``query`` of ``*OPC?``) set levels in turns.
"""

import contextlib
import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
import pyvisa

from stmtem_control.devices import Keithley2400
from stmtem_control.exchanges import Exchange
from stmtem_control.link import Link
from stmtem_control.visa import VisaTransport

from .bench_apart import bench_apart
from .side_by_side import Report, Target, markdown

__all__ = ["edges", "run"]

_IN_A_ROUND: Final = 40  # edges of each of the two
_GATE: Final = 2.0  # round trips up to so many medians count as short
_PAUSE_S: Final = 2e-3  # between edges: an edge after an idle moment, as in an experiment
_WANTED_S: Final = 100e-6
_W: Final = 10.0


def _serve(pipe: Connection) -> None:
    """Run a bench until told to end; send what came to the specimen when asked."""
    from stmtem_control.simulators import Bench

    came: list[tuple[float, float | None]] = []
    with Bench(size=256) as bench:
        drive = bench.specimen.drive

        def watched(volts: float | None, compliance_A: float) -> None:
            came.append((time.monotonic(), volts))
            drive(volts, compliance_A)

        bench.specimen.drive = watched  # type: ignore[method-assign]
        pipe.send(bench.addresses.bias_source["resource"])
        while pipe.recv() == "edges":
            pipe.send(came)


def bench_process() -> AbstractContextManager[tuple[str, Connection]]:
    """Run a bench that notes when each level came; give the address of its source, and a pipe."""
    return bench_apart(_serve)


def edges(count: int, seed: int = 1) -> dict[str, list[tuple[Exchange, float]]]:
    """Set `count` levels with the driver and with PyVISA, in random turns.

    Returns
    -------
    dict
        For each of the two, the exchange of every level and when it came (monotonic s).
    """
    order = ["driver", "PyVISA"] * count
    random.Random(seed).shuffle(order)
    set_: dict[float, tuple[str, Exchange]] = {}
    with bench_process() as (resource, pipe), contextlib.ExitStack() as made:
        link = made.enter_context(Link(lambda: VisaTransport(resource), name="bias_source"))
        source = Keithley2400(link)
        source.open().result(_W)
        source.configure(compliance_A=1e-6).result(_W)
        source.set_level(0.0).result(_W)
        manager = pyvisa.ResourceManager("@py")
        plain: Any = manager.open_resource(resource, read_termination="\n", write_termination="\n")
        made.callback(plain.close)
        for number, name in enumerate(order, 1):
            volts = round(1e-3 * number, 6)  # each level once: it tells its edge
            due = time.monotonic() + _PAUSE_S
            while time.monotonic() < due:
                pass
            if name == "driver":
                exchange = source.set_level(volts).result(_W)
            else:
                sent = time.monotonic()
                plain.write(f":SOUR:VOLT {volts:.7E}")
                plain.query("*OPC?")
                exchange = Exchange(sent, time.monotonic())
            set_[volts] = (name, exchange)
        source.zero_and_off().result(_W)
        pipe.send("edges")
        truth = {round(volts, 6): t for t, volts in pipe.recv() if volts}
    found: dict[str, list[tuple[Exchange, float]]] = {"driver": [], "PyVISA": []}
    for volts, (name, exchange) in set_.items():
        found[name].append((exchange, truth[volts]))
    return found


def _spread(errors: Sequence[float]) -> list[float]:
    wrong = 1e6 * np.abs(np.asarray(errors))
    return [float(np.median(wrong)), float(np.percentile(wrong, 99.0)), float(wrong.max())]


def run(rounds: int = 7) -> Report:
    """Compare; `rounds` times 40 edges each."""
    found = edges(_IN_A_ROUND * rounds)
    ours, plain = found["driver"], found["PyVISA"]
    trips = [2.0 * exchange.uncertainty_s for exchange, _ in ours]
    gate = _GATE * float(np.median(trips))
    gated = [one for one, trip in zip(ours, trips, strict=True) if trip <= gate]

    def middle(pairs: Sequence[tuple[Exchange, float]]) -> list[float]:
        return [exchange.t - t for exchange, t in pairs]

    def covered(pairs: Sequence[tuple[Exchange, float]]) -> float:
        inside = [abs(exchange.t - t) <= exchange.uncertainty_s for exchange, t in pairs]
        return float(np.mean(inside))

    def stated(pairs: Sequence[tuple[Exchange, float]]) -> float:
        return 1e6 * float(np.percentile([exchange.uncertainty_s for exchange, _ in pairs], 99.0))

    cases: dict[str, tuple[list[float], object, object]] = {
        "gated round trips, middle": (middle(gated), stated(gated), covered(gated)),
        "all round trips, middle": (middle(ours), stated(ours), covered(ours)),
        "driver, before sending": ([e.sent - t for e, t in ours], "", ""),
        "driver, after the answer": ([e.answered - t for e, t in ours], "", ""),
        "PyVISA, before write": ([e.sent - t for e, t in plain], "", ""),
        "PyVISA, after *OPC?": ([e.answered - t for e, t in plain], "", ""),
    }
    rows: list[list[object]] = []
    for name, (errors, sure, inside) in cases.items():
        rows.append([name, len(errors), *_spread(errors), sure, inside])
    p99 = _spread(middle(gated))[1]
    targets = [
        Target("bias edge by gated round trips, p99, us", "<= 100", p99, p99 <= 1e6 * _WANTED_S),
        Target(
            "true edge within the stated uncertainty, share of all edges",
            ">= 0.99",
            covered(ours),
            covered(ours) >= 0.99,
        ),
    ]
    result = {
        "what": "error in s of the time of a bias edge, against the bench's own stamp",
        "gate_s": gate,
        "kept": len(gated) / len(ours),
        "errors_s": {name: errors for name, (errors, _, _) in cases.items()},
        "peers": {"pyvisa": pyvisa.__version__},
    }
    headings = ["stamp", "edges", "p50 us", "p99 us", "max us", "stated p99 us", "covered"]
    return Report("timing", markdown(headings, rows), targets, result)
