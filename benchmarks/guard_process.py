"""From the death of a session to an unbiased sample: SIGKILL, and the guard process.

Three processes besides this one: the bench, which stamps what reaches the specimen with the
monotonic clock that all of them share; the session, which holds a bias with the beam open; and its
guard.  The session is killed at a random moment.  In a second case it is stopped (SIGSTOP), which
looks like a hang: what counts there is how much later than ``[safe] hang_s`` the guard acts.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np

from .bench_apart import bench_apart
from .side_by_side import Report, Target, markdown

__all__ = ["deaths", "run"]

_IN_A_ROUND: Final = 4  # kills
_HANGS: Final = 1  # and hangs
_WANTED_S: Final = 0.2
_HANG_S: Final = 0.5
_SETTLE_S: Final = 0.2  # for a heartbeat after the bias, and some more at random
_W: Final = 20.0

_SESSION: Final = """
import json, sys
from stmtem_control.config import load_station
from stmtem_control.session import Session
station = load_station("sim").with_bench(size=256).with_data(sys.argv[2])
session = Session(station.with_safe(hang_s=float(sys.argv[3])), addresses=json.loads(sys.argv[1]))
session.bias.set(2.0).wait(10.0)
session.beam.set("open").wait(10.0)
print("on", flush=True)
sys.stdin.readline()
"""


def _serve(pipe: Connection) -> None:
    """Run a bench until told to end; send what came to the specimen when asked."""
    from stmtem_control.simulators import Bench

    came: list[tuple[str, float]] = []
    with Bench(size=256) as bench:
        drive = bench.specimen.drive

        def driven(volts: float | None, compliance_A: float) -> None:
            drive(volts, compliance_A)
            what = "off" if volts is None else ("0 V" if volts == 0.0 else "on")
            came.append((what, time.monotonic()))

        bench.specimen.drive = driven  # type: ignore[method-assign]
        pipe.send(bench.addresses.as_dict())
        while (asked := pipe.recv()) != "end":
            pipe.send(bench.safe() if asked == "safe" else came.copy())


def _wait(seconds: float) -> None:
    due = time.monotonic() + seconds
    while time.monotonic() < due:
        os.sched_yield()


def _ask(pipe: Connection, what: str) -> Any:
    pipe.send(what)
    return pipe.recv()


def _one(
    addresses: dict[str, Any], pipe: Connection, root: str, number: int, delay_s: float
) -> dict[str, float]:
    """Let a session come up, send it a signal, and return when what reached the specimen (s)."""
    command = [sys.executable, "-c", _SESSION, json.dumps(addresses), root, str(_HANG_S)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"on\n"
        _wait(_SETTLE_S + delay_s)
        begun = time.monotonic()
        session.send_signal(number)
        found: dict[str, float] = {}
        while "off" not in found and time.monotonic() < begun + _W:
            _wait(0.02)
            found = {what: t - begun for what, t in _ask(pipe, "came") if t >= begun}
        while not all(_ask(pipe, "safe").values()) and time.monotonic() < begun + _W:
            _wait(0.02)
        if not all(_ask(pipe, "safe").values()):
            raise AssertionError("the station was not made safe")
        session.kill()
    # Its guard, now alone with a dead session, has to be out of the way of the next one.
    _wait(_SETTLE_S)
    return found


def deaths(kills: int, hangs: int, seed: int = 1) -> dict[str, list[dict[str, float]]]:
    """Kill and stop sessions, in random turns.

    Returns
    -------
    dict
        For ``"SIGKILL"`` and ``"SIGSTOP"``, the seconds until ``"0 V"`` and ``"off"``, each time.
    """
    chance = random.Random(seed)
    order = ["SIGKILL"] * kills + ["SIGSTOP"] * hangs
    chance.shuffle(order)
    found: dict[str, list[dict[str, float]]] = {"SIGKILL": [], "SIGSTOP": []}
    with bench_apart(_serve) as (addresses, pipe), tempfile.TemporaryDirectory() as root:
        for name in order:
            number = signal.Signals[name]
            found[name].append(_one(addresses, pipe, root, number, chance.uniform(0.0, 0.2)))
    return found


def _spread(seconds: Sequence[float]) -> list[float]:
    ms = 1e3 * np.asarray(seconds)
    return [float(np.median(ms)), float(np.percentile(ms, 99.0)), float(ms.max())]


def run(rounds: int = 7) -> Report:
    """Kill four sessions a round, and stop one."""
    found = deaths(_IN_A_ROUND * rounds, _HANGS * rounds)
    killed = {what: [each[what] for each in found["SIGKILL"]] for what in ("0 V", "off")}
    hung = [each["off"] - _HANG_S for each in found["SIGSTOP"]]
    rows: list[list[object]] = [
        [f"SIGKILL to {what}", len(times), *_spread(times)] for what, times in killed.items()
    ]
    rows.append([f"silence of {_HANG_S:g} s to off, beyond it", len(hung), *_spread(hung)])
    worst = 1e3 * max(killed["off"])
    wanted = f"<= {1e3 * _WANTED_S:g}"
    what = "SIGKILL of the session to output off, worst, ms"
    targets = [Target(what, wanted, worst, worst <= 1e3 * _WANTED_S)]
    result = {
        "what": "seconds from the signal to what reached the specimen, by the bench's own stamp",
        "hang_s": _HANG_S,
        "seconds": found,
    }
    headings = ["from ... to", "times", "p50 ms", "p99 ms", "max ms"]
    return Report("guard_process", markdown(headings, rows), targets, result)
