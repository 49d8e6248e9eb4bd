"""How far a dose goes over its hard limit, and what opening the beam costs, on the bench.

The bench is asked for the dose that the specimen got; it runs as fast as the wall.  Run it with
``python -m benchmarks.dose_limit [COUNT]``.
"""

import logging
import sys
import tempfile
import threading
import time
from collections.abc import Sequence

from stmtem_control.config import load_station
from stmtem_control.dose.budgets import make_budget
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

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


def line(what: str, values: Sequence[float]) -> str:
    """Return the distribution of some times in one line."""
    ordered = sorted(values)

    def share(part: float) -> float:
        return 1e3 * ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    return (
        f"{what}: n {len(ordered)}, least {1e3 * ordered[0]:.1f}, median {share(0.5):.1f}, "
        f"p90 {share(0.9):.1f}, p99 {share(0.99):.1f}, most {1e3 * ordered[-1]:.1f} ms"
    )


def main(count: int = 200) -> None:
    """Measure and print."""
    logging.disable(logging.ERROR)  # every limit is told, and is what is wanted here
    over, opening = measure(count)
    print(line("beam on over the hard limit", over))
    print(line("booking before the beam opens", opening))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
