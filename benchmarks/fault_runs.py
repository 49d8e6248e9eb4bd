"""Random runs with random faults at random exchanges and a random ending.

A hundred runs a round, ``--rounds 100`` for ten thousand; each with none to two faults of the
bench, each at a random exchange with its instrument, and with or without one of the endings of
:mod:`.fault_endings` at a random message.  After each the bench itself is asked, and the files.

What is simulated: instruments, specimen, and time.  What is not: drivers, links, sockets and
terminals, devices, RunEngine, plans, recorder, and files.  Runs share a session, until a fault
makes it unusable or so many have gone.  A run that was late because the computer stood still is
done again, and counted as such; whatever is not safe, hangs, is left over or cannot be read counts
at once.

``python -m benchmarks.fault_runs --log FILE`` keeps every run's record as it ends.  Called again it
goes on where it was, and ``--so-far`` only tells what is in the file.
"""

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from .fault_cases import Case, Verdict
from .fault_endings import BY_ITSELF, ENDINGS, Place
from .fault_lab import quiet
from .fault_list import FAULTS
from .fault_matrix import JOBS, Runner
from .side_by_side import RESULTS, Report, Target, machine, markdown, write

__all__ = ["batch", "draw", "main", "run", "summary"]

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


def batch(seed: int, first: int, log: Path) -> None:
    """Do the random runs of a seed from the `first` on; append a record of each to `log`."""
    rng = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        quiet(),
    ):
        runner = Runner(Path(folder), always_again=False)
        try:
            where = {plan: runner.places(plan) for plan in sorted(set(PLANS))}
            for number in range(RUNS_A_ROUND):
                case = draw(rng, where)
                if number < first:
                    continue
                begun = time.process_time()
                verdict = runner.run(case)
                cpu_s = time.process_time() - begun
                _append(log, {"seed": seed, "run": number, **_record(verdict), "cpu_s": cpu_s})
        finally:
            runner.close()


def _record(verdict: Verdict) -> dict[str, Any]:
    return {
        "case": str(verdict.case),
        "faults": [text.partition("@")[0] for text in verdict.case.faults],
        "ending": verdict.case.ending,
        "status": verdict.status or "not ended",
        "told": verdict.told,
        "unsafe_s": verdict.unsafe_s,
        "seconds": verdict.seconds,
        "problems": verdict.problems,
        "stood_still_s": verdict.stood_still_s,
        "tried": verdict.tried,
    }


def _append(log: Path, record: dict[str, Any]) -> None:
    # One write to a file that is opened for appending: several processes share it.
    with log.open("ab", buffering=0) as file:
        file.write(json.dumps(record).encode() + b"\n")


def _records(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


def _round(seed: int, log: Path) -> None:
    """Do what is left of a seed's runs, in a process of its own, and another if that one dies."""
    context = multiprocessing.get_context("spawn")
    while True:
        done = [r["run"] for r in _records(log) if r["seed"] == seed]
        if (first := max(done, default=-1) + 1) >= RUNS_A_ROUND:
            return
        process = context.Process(target=batch, args=(seed, first, log))
        process.start()
        process.join()
        if process.exitcode:
            problem = f"the process ended with {process.exitcode}"
            done = [r["run"] for r in _records(log) if r["seed"] == seed]
            verdict = Verdict(Case("?", Place("?", 1)), problems=[problem])
            number = max(done, default=-1) + 1
            _append(log, {"seed": seed, "run": number, **_record(verdict), "cpu_s": 0.0})


def summary(records: Sequence[dict[str, Any]]) -> Report:
    """Return what came of runs."""
    bad = [record for record in records if record["problems"]]
    ended = [r["unsafe_s"] for r in records if r["unsafe_s"] > 0.0]
    at = np.percentile(ended, [50, 90, 99, 100]) if ended else np.zeros(4)
    status = Counter(record["status"] for record in records)
    kinds = Counter(text for record in records for text in record["faults"])
    endings = Counter(record["ending"] for record in records)
    cpu_s = sum(record["cpu_s"] for record in records)
    longest_s = max((record["seconds"] for record in records), default=0.0)
    rows: list[list[object]] = [
        ["runs", len(records)],
        ["with a problem", len(bad)],
        ["done again, for the computer stood still", sum(bool(r.get("tried")) for r in records)],
        ["ended: " + ", ".join(f"{name} {n}" for name, n in status.most_common()), ""],
        ["kinds of faults, times each", f"{len(kinds)}, {min(kinds.values(), default=0)} to "
         f"{max(kinds.values(), default=0)}"],
        ["kinds of endings, times each", f"{len(endings)}, {min(endings.values(), default=0)} to "
         f"{max(endings.values(), default=0)}"],
        ["ms to the safe state, median", f"{1e3 * at[0]:.0f}"],
        ["90 %, 99 %, longest", ", ".join(f"{1e3 * value:.0f}" for value in at[1:])],
        ["longest run, s", f"{longest_s:.1f}"],
        ["CPU ms a run", f"{1e3 * cpu_s / max(1, len(records)):.0f}"],
    ]  # fmt: skip
    targets = [Target(f"problems in {len(records)} runs", "0", float(len(bad)), not bad)]
    result = {"runs": len(records), "bad": bad, "status": dict(status), "kinds": dict(kinds),
              "endings": dict(endings), "unsafe_s": ended, "cpu_s": cpu_s}  # fmt: skip
    return Report("fault_runs", markdown(["what", "found"], rows), targets, result)


def run(rounds: int = 7, *, log: Path | None = None, jobs: int = 0) -> Report:
    """Do `rounds` times a hundred runs, in several processes for each processor.

    Parameters
    ----------
    rounds : int
    log : path, optional
        File for the records; what is in it already is not done again.
    jobs : int
        Processes at a time; 0: four for each processor, for most of a faulty run is waiting.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "fault_runs.jsonl" if log is None else log
        with concurrent.futures.ThreadPoolExecutor(jobs or JOBS * (os.cpu_count() or 1)) as pool:
            for _ in pool.map(_round, range(1, rounds + 1), [log] * rounds):
                pass
        report = summary([r for r in _records(log) if r["seed"] <= rounds])
    for record in report.result["bad"][:SHOWN]:
        print(_problem(record))
    return report


def _problem(record: dict[str, Any]) -> str:
    again = f"python -m benchmarks.fault_matrix --only '{record['case']}'"
    where = f"seed {record['seed']}, run {record['run']}: {record['status']}, {record['told']!r}"
    return "\n  ".join([where, *record["problems"], again])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if any run had a problem."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fault_runs", description="random runs with random faults"
    )
    parser.add_argument("--rounds", type=int, default=100, help="of a hundred runs")
    parser.add_argument("--jobs", type=int, default=0, help="processes; 0: four a processor")
    parser.add_argument("--log", type=Path, required=True, help="file for the record of each run")
    parser.add_argument("--so-far", action="store_true", help="only tell what is in the file")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args(arguments)
    if asked.so_far:
        report = summary(_records(asked.log))
        for record in report.result["bad"]:
            print(_problem(record))
    else:
        where = machine()
        report = run(asked.rounds, log=asked.log, jobs=asked.jobs)
        write(report, asked.results, where)
    print(report.table)
    return int(bool(report.result["bad"]))


if __name__ == "__main__":
    sys.exit(main())
