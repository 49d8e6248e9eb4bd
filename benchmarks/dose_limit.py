"""How far a dose goes over its hard limit, and what opening the beam costs, on the bench.

The bench is asked for the dose that the specimen got; it runs as fast as the wall.
"""

import logging
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from stmtem_control.config import load_station
from stmtem_control.dose.budgets import make_budget
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

from .side_by_side import Report, Target, markdown

__all__ = ["measure", "run"]

_IN_A_ROUND: Final = 20  # openings
_WANTED_S: Final = 50e-3
OPEN_S = 0.1  # wall seconds from the opening to the limit, planned
WITHIN_S = 5.0


def measure(count: int) -> tuple[list[float], list[float]]:
    """Return how long over the limit the beam was on, and how long an opening took, in s."""
    over, opening = [], []
    with tempfile.TemporaryDirectory() as folder, Bench(size=256, seed=1) as bench:
        rate = bench.specimen.dose_rate_e_per_A2_s
        station = load_station("sim").with_bench(size=256).with_data(folder)
        with Session(station, addresses=bench.addresses.as_dict()) as session:
            guard, told = session.dose.guard, threading.Event()
            session.dose.on_limit = lambda _: told.set()
            for number in range(count):
                session.site = f"site {number}"
                guard.budget = make_budget(["Li2O"], hard_e_per_A2={"Li2O": OPEN_S * rate})
                before = bench.specimen.exposed(-1e9, bench.clock.now())
                told.clear()
                begun = time.perf_counter()
                status = session.beam.set("open")
                opening.append(time.perf_counter() - begun)
                status.wait(WITHIN_S)
                if not told.wait(WITHIN_S):
                    raise RuntimeError("the limit was not held")
                given = bench.specimen.exposed(-1e9, bench.clock.now()) - before
                over.append(given - OPEN_S)
    return over, opening


def _spread(seconds: Sequence[float]) -> list[float]:
    ms = 1e3 * np.asarray(seconds)
    return [float(f(ms)) for f in (np.min, np.median, lambda x: np.percentile(x, 99.0), np.max)]


def run(rounds: int = 7) -> Report:
    """Open the beam on twenty sites a round, until its limit."""
    logging.disable(logging.ERROR)  # every limit is told, and is what is wanted here
    try:
        over, opening = measure(_IN_A_ROUND * rounds)
    finally:
        logging.disable(logging.NOTSET)
    found = {"beam on over the hard limit": over, "booking before the beam opens": opening}
    rows: list[list[object]] = [
        [what, len(times), *_spread(times)] for what, times in found.items()
    ]
    p99 = _spread(over)[2]
    wanted = f"<= {1e3 * _WANTED_S:g}"
    what = "beam on over the hard limit of the dose, p99, ms"
    result = {
        "what": "wall seconds of open beam beyond those that the limit allows, and of booking",
        "planned_s": OPEN_S,
        "seconds": found,
    }
    headings = ["what", "times", "least ms", "p50 ms", "p99 ms", "max ms"]
    return Report(
        "dose_limit",
        markdown(headings, rows),
        [Target(what, wanted, p99, p99 <= 1e3 * _WANTED_S)],
        result,
    )
