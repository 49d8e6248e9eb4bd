"""Every fault and every ending at every message: ``python -m benchmarks.fault_matrix``.

The messages are those that the RunEngine is given when a plan is run once without any fault.  A
case is one of them, with one ending, one fault, or a fault and an ending, or two faults.  What is
too many is sampled, by a seed that is printed; a case that fails prints the command that repeats
just that one.
"""

import argparse
import concurrent.futures
import contextlib
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from stmtem_control.plans import deposit, retract
from stmtem_control.simulators.fault import Fault

from .fault_cases import (
    AWAY,
    MORE,
    PLANS,
    Case,
    Verdict,
    all_cases,
    sample,
    table,
    thinned,
)
from .fault_checks import (
    MENDED_S,
    HangError,
    check_bench,
    check_cause,
    check_files,
    check_threads,
    check_told,
    watchdog,
)
from .fault_endings import BY_ITSELF, Ended, Place, end_at, places
from .fault_lab import Lab, quiet
from .fault_list import REFUSED, injected

__all__ = ["JOBS", "Runner", "listed", "main", "run_cases"]

#: A session is for so many cases; a person opens one a day.
CASES_OF_A_LAB: Final = 300
#: Processes for each processor, and cases that one of them takes at a time.
JOBS: Final = 4
PART: Final = 20
#: Faults that press the probe into the fibre, whatever we do.
CRASHES: Final = frozenset({"specimen:crash", "specimen:stage_jump"})
#: Wall seconds for which a computer may stand still: longer ones are time-outs of their own, of
#: answers (1 s) and of the dead man's bias (1 s at this pace).  A run that was late for that is
#: done again, so many times, and what it found is kept and counted.
STILL_S: Final = 0.25
TRIES: Final = 4
#: How all begins that may be late.  Nothing excuses an end that is not safe, a probe pressed in, a
#: hang, a thread that is left, or a file.
LATE: Final = (
    "failed without a cause",
    "raised without a cause",
    "aborted without a cause",
    "told without naming",
    "unsafe for ",
    "after it nothing runs",
)
#: Wall seconds from an end that is asked for to the safe state.
END_S: Final = 2.0
#: Wall seconds from a fault to the safe state: silence of the camera is found after two.
FAULT_S: Final = 6.0


class Runner:
    """Runs cases one after the other, on as few labs as it can.

    Parameters
    ----------
    root : path
        Folder for the runs.
    always_again : bool
        Whether something short is run after each case, or only after those with a fault and those
        that did not end well.
    """

    def __init__(self, root: Path, *, always_again: bool = True) -> None:
        self._root = root
        self._always_again = always_again
        self._lab: Lab | None = None
        self._used = 0

    @property
    def lab(self) -> Lab:
        """A lab in order."""
        if self._lab is None or self._used >= CASES_OF_A_LAB:
            self.close()
            self._lab, self._used = Lab(self._root), 0
        return self._lab

    def places(self, plan: str) -> list[Place]:
        """Return the messages of a plan."""
        for left in reversed(range(TRIES)):
            lab = self.lab
            lab.put_probe(contact=plan not in AWAY)
            lab.watch.reset()
            try:
                return places(lab, MORE[plan])
            except RuntimeError:
                still_s = lab.watch.stood_still_s
                self._throw_away()
                if not left or still_s < STILL_S:
                    raise
        raise AssertionError("the last try gives the messages, or says why not")

    def run(self, case: Case) -> Verdict:
        """Run a case, and ask; again where the computer stood still, if anything was found."""
        tried: list[str] = []
        while True:
            verdict = self._run_once(case)
            verdict.tried = tried
            late = bool(verdict.problems) and all(
                problem.startswith(LATE) for problem in verdict.problems
            )
            if not late or verdict.stood_still_s < STILL_S or len(tried) == TRIES - 1:
                return verdict
            tried = [*tried, f"{verdict.stood_still_s:.2f} s: {'; '.join(verdict.problems)}"]

    def _run_once(self, case: Case) -> Verdict:
        lab = self.lab
        self._used += 1
        verdict = Verdict(case)
        lab.put_probe(contact=case.plan not in AWAY)
        lab.watch.reset()
        before = set(threading.enumerate())
        begun = time.monotonic()
        try:
            with watchdog():
                # Else the dose of some hundred cases would be one site's, and end the others.
                lab.session.site = f"site {self._used}"
                ended = self._end(lab, case)
                beyond = _beyond(lab, case)
                verdict.problems = self._ask(lab, case, ended, before, beyond)
                verdict.reached, verdict.status = ended.reached, ended.status
                verdict.told = ended.told
                verdict.unsafe_s = lab.watch.unsafe_s(beyond) if _timed(case, ended) else 0.0
                # What a fault has left behind must not be the next case's.
                if self._always_again or case.faults or ended.status != "success":
                    verdict.after = self._after(lab, verdict)
        except HangError as error:
            verdict.problems.append(str(error))
        except Exception as error:  # of the test itself, or where no error may come from
            verdict.problems.append(f"{type(error).__name__}: {error}")
        verdict.seconds = time.monotonic() - begun
        verdict.stood_still_s = lab.watch.stood_still_s
        if lab.bench.specimen.pierced and not CRASHES.intersection(
            text.partition("@")[0] for text in case.faults
        ):
            verdict.problems.append("the probe was pressed through the oxide")
        if verdict.problems or lab.bench.specimen.pierced:
            self._throw_away()
        return verdict

    def _end(self, lab: Lab, case: Case) -> Ended:
        def break_it() -> None:
            for text in case.faults:
                if "@" not in text:
                    lab.bench.inject(text)

        for text in case.faults:
            if "@" in text:
                lab.bench.inject(text)
        try:
            return end_at(lab, MORE[case.plan](lab), case.place, case.ending, break_it)
        finally:
            lab.session.wait_until_complete()

    def _ask(
        self,
        lab: Lab,
        case: Case,
        ended: Ended,
        before: set[threading.Thread],
        beyond: tuple[str, ...],
    ) -> list[str]:
        faults = [injected(text) for text in case.faults]
        struck = [injected(t) for t in case.faults if str(Fault.parse(t)) in lab.watch.struck]
        # What one fault has no name for may be what ended the run.
        named = case.ending == BY_ITSELF and all(fault.names for fault in struck)
        names = tuple({name for fault in struck for name in fault.names}) if named else ()
        limit_s = FAULT_S if faults else END_S
        problems = [
            *check_bench(
                lab,
                limit_s if _timed(case, ended) else float("inf"),
                beyond=beyond,
                deaf_since=_deaf_since(lab, case) if _timed(case, ended) else None,
                broken=bool(faults),
                told=ended.outcome is None or "NOT SAFE" in ended.outcome.safe,
            ),
            *check_told(ended, names, broken=bool(faults)),
            *([] if struck else check_cause(ended, case.ending)),
            *check_files(ended.folder),
        ]
        lab.mend()
        if faults:
            lab.session.safe_state.make_safe("the fault is over")
            left = check_bench(lab, float("inf"), grace_s=MENDED_S)
            problems += [f"mended, and {problem}" for problem in left]
        return problems + check_threads(before)

    def _after(self, lab: Lab, verdict: Verdict) -> str:
        """Run something short in the same session; open it again if that is refused."""
        session: Any = lab.session
        # Where no current flows: what a plan has left in contact is not for -5 V.
        lab.put_probe(contact=False)
        short = deposit(
            session.bias,
            session.camera,
            session.beam,
            duration_s=0.1,
            pre_roll_s=0.0,
            frame_rate_Hz=10.0,
            exposure_s=0.05,
        )
        outcome = session.run(short)
        if outcome.exit_code == 0:
            outcome = session.run(retract(session.probe, session.bias, session.beam, steps=1))
        verdict.problems += [f"after it: {problem}" for problem in check_bench(lab, float("inf"))]
        if outcome.exit_code == 0:
            verdict.problems += [f"after it: {text}" for text in check_files(outcome.folder)]
            return "works"
        told = check_told(Ended(status=outcome.status, told=outcome.reason))
        verdict.problems += [f"after it: {problem}" for problem in told]
        if not verdict.case.faults:
            verdict.problems.append(f"after it nothing runs: {outcome.reason}")
        lab.reopen()
        return str(outcome.reason)

    def _throw_away(self) -> None:
        lab, self._lab = self._lab, None
        if lab is None:
            return
        try:
            with watchdog():
                lab.close()
        except (HangError, Exception) as error:
            print(f"closing the session: {error}", file=sys.stderr)

    def close(self) -> None:
        """Close the lab."""
        lab, self._lab = self._lab, None
        if lab is not None:
            lab.close()


def _beyond(lab: Lab, case: Case) -> tuple[str, ...]:
    alone = lab.watch.alone_since is not None
    return tuple({part for text in case.faults for part in injected(text, alone=alone).beyond})


def _deaf_since(lab: Lab, case: Case) -> float | None:
    """Return when the source began to hear nothing, in the bench's time; None if it did not."""
    struck, alone = lab.watch.struck, lab.watch.alone_since
    times = []
    for text in case.faults:
        key = str(Fault.parse(text))
        if key in struck and "output off" in injected(text, alone=alone is not None).beyond:
            left = alone if text.startswith(REFUSED) and alone is not None else 0.0
            times.append(max(struck[key], left))
    return min(times, default=None)


def _timed(case: Case, ended: Ended) -> bool:
    """Tell whether the time to the safe state means something: not where the plan went on."""
    return ended.status not in ("success", "resumed", "returned", "")


def run_cases(
    cases: Iterable[Case], root: Path, tell: Callable[[Verdict], None] = lambda _: None
) -> list[Verdict]:
    """Run cases and return what came of them."""
    runner = Runner(root)
    verdicts = []
    try:
        with quiet():
            for case in cases:
                verdicts.append(runner.run(case))
                tell(verdicts[-1])
    finally:
        runner.close()
    return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if any case failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fault_matrix", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sample and of the pairs")
    parser.add_argument("--sample", type=int, default=0, help="how many cases; 0: all of them")
    parser.add_argument("--only", action="append", default=[], metavar="CASE", help="just this")
    parser.add_argument("--match", default="", help="cases with this in their name")
    parser.add_argument(
        "--jobs", type=int, default=JOBS * (os.cpu_count() or 1), help="processes that share them"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    asked = parser.parse_args(arguments)
    rng = random.Random(asked.seed)

    def tell(verdict: Verdict) -> None:
        if asked.verbose or verdict.problems or verdict.tried:
            print(
                f"{verdict.case}: {verdict.status or 'not ended'}, {verdict.told!r}; next run "
                f"{verdict.after}; safe after {1e3 * verdict.unsafe_s:.0f} ms of "
                f"{verdict.seconds:.2f} s",
                flush=True,
            )
        for found in verdict.tried:
            print(f"  again, for this computer stood still for {found}", flush=True)
        for problem in verdict.problems:
            print(f"  FAILED: {problem}", flush=True)
        if verdict.problems:
            print(f"  again: python -m benchmarks.fault_matrix --only '{verdict.case}'", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if asked.only:
            cases = [Case.parse(text) for text in asked.only]
        else:
            cases = [c for c in listed(root, rng) if asked.match in str(c)]
            cases = sample(cases, asked.sample, rng)
        print(f"{len(cases)} cases, seed {asked.seed}", flush=True)
        if asked.only:
            verdicts = run_cases(cases, root, tell)
        else:
            verdicts = in_parallel(cases, asked.jobs, tell)
    print(table(verdicts))
    if not asked.only:
        print(table(verdicts, short=True))
    return int(any(verdict.problems for verdict in verdicts))


def listed(root: Path, rng: random.Random) -> list[Case]:
    """Return all cases of all plans, by walking each once."""
    runner = Runner(root)
    try:
        with quiet():
            return all_cases({plan: thinned(runner.places(plan)) for plan in PLANS}, rng)
    finally:
        runner.close()


def in_parallel(cases: Sequence[Case], jobs: int, tell: Callable[[Verdict], None]) -> list[Verdict]:
    """Run cases in processes of their own; most of a faulty run is waiting."""
    parts = [cases[i : i + PART] for i in range(0, len(cases), PART)]
    context = multiprocessing.get_context("spawn")
    verdicts: list[Verdict] = []
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for part in pool.map(_run_part, parts):
            verdicts += part
            for verdict in part:
                tell(verdict)
    return verdicts


def _run_part(cases: Sequence[Case]) -> list[Verdict]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        return run_cases(cases, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
