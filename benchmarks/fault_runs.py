"""Random runs with random faults at random exchanges and a random ending.

A hundred runs a round, ``--rounds 100`` for ten thousand; each with none to two faults of the
bench, each at a random exchange with its instrument, and with or without one of the endings of
:mod:`.fault_endings` at a random message.  After each the bench itself is asked, and the files.

What is simulated: instruments, specimen, and time.  What is not: drivers, links, sockets and
terminals, devices, RunEngine, plans, recorder, and files.  Runs share a session, until a fault
makes it unusable or so many have gone.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np

from .fault_cases import BY_ITSELF, Case, Verdict
from .fault_endings import ENDINGS, Place
from .fault_lab import quiet
from .fault_list import FAULTS
from .fault_matrix import JOBS, Runner
from .side_by_side import Report, Target, markdown

__all__ = ["batch", "draw", "run"]

RUNS_A_ROUND: Final = 100
PLANS: Final = ("short", "short", "short", "approach")
#: A person's Ctrl-C takes half a second of the wall; one in so many is enough.
RARELY: Final = ("Ctrl-C", "Ctrl-C twice", "Ctrl-C many times", "deferred pause, resume")
LATEST: Final = 40  # exchange at which a fault strikes
COUNTS: Final = (1, 1, 1, 2, 5, 0)  # how many exchanges it strikes; 0: all from then on
SHOWN: Final = 20


def draw(rng: random.Random, where: dict[str, list[Place]]) -> Case:
    """Return a random case."""
    plan = rng.choice(PLANS)
    ending = BY_ITSELF
    if rng.random() < 0.5:
        ending = rng.choice(list(ENDINGS))
        if ending in RARELY and rng.random() < 0.8:
            ending = rng.choice([name for name in ENDINGS if name not in RARELY])
    faults = []
    for name in rng.sample(list(FAULTS), rng.choice((0, 1, 1, 2))):
        text = f"{name}@exchange={rng.randint(1, LATEST)}"
        if FAULTS[name].repeats and (count := rng.choice(COUNTS)) != 1:
            text += f",count={count}"
        faults.append(text)
    return Case(plan, rng.choice(where[plan]), ending, tuple(faults))


def batch(seed: int, count: int) -> tuple[list[dict[str, Any]], float]:
    """Do `count` random runs; return a record of each, and the CPU seconds of this process."""
    rng = random.Random(seed)
    verdicts: list[Verdict] = []
    begun = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        quiet(),
    ):
        runner = Runner(Path(folder), always_again=False)
        try:
            where = {plan: runner.places(plan) for plan in sorted(set(PLANS))}
            verdicts = [runner.run(draw(rng, where)) for _ in range(count)]
        finally:
            runner.close()
    spent = time.process_time() - begun
    return [
        {
            "case": str(verdict.case),
            "ending": verdict.case.ending,
            "faults": [text.partition("@")[0] for text in verdict.case.faults],
            "status": verdict.status or "not ended",
            "told": verdict.told,
            "unsafe_s": verdict.unsafe_s,
            "seconds": verdict.seconds,
            "problems": verdict.problems,
        }
        for verdict in verdicts
    ], spent


def run(rounds: int = 7) -> Report:
    """Do `rounds` times a hundred runs, in several processes for each processor."""
    jobs = JOBS * (os.cpu_count() or 1)
    context = multiprocessing.get_context("spawn")
    records: list[dict[str, Any]] = []
    cpu_s = 0.0
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for found, spent in pool.map(batch, range(1, rounds + 1), [RUNS_A_ROUND] * rounds):
            records += found
            cpu_s += spent
    bad = [record for record in records if record["problems"]]
    for record in bad[:SHOWN]:
        print(f"{record['case']}\n  " + "\n  ".join(record["problems"]))
    ended = [r["unsafe_s"] for r in records if r["unsafe_s"] > 0.0]
    at = np.percentile(ended, [50, 90, 99, 100]) if ended else np.zeros(4)
    status = Counter(record["status"] for record in records)
    kinds = Counter(text for record in records for text in record["faults"])
    rows: list[list[object]] = [
        ["runs", len(records)],
        ["with a problem", len(bad)],
        ["ended: " + ", ".join(f"{name} {n}" for name, n in status.most_common()), ""],
        ["kinds of faults, times each", f"{len(kinds)}, {min(kinds.values(), default=0)} to "
         f"{max(kinds.values(), default=0)}"],
        ["ms to the safe state, median", f"{1e3 * at[0]:.0f}"],
        ["90 %, 99 %, longest", ", ".join(f"{1e3 * value:.0f}" for value in at[1:])],
        ["CPU ms a run", f"{1e3 * cpu_s / max(1, len(records)):.0f}"],
    ]  # fmt: skip
    targets = [
        Target(f"problems in {len(records)} runs", "0", float(len(bad)), not bad),
    ]
    result = {"runs": len(records), "bad": bad, "status": dict(status), "kinds": dict(kinds),
              "unsafe_s": ended, "cpu_s": cpu_s}  # fmt: skip
    return Report("fault_runs", markdown(["what", "found"], rows), targets, result)
