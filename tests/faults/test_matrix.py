"""A fixed sample of the matrix of faults and endings; all of it with ``make faults``."""

import random
import threading
from pathlib import Path

import pytest

from benchmarks import fault_cases, fault_matrix
from benchmarks.fault_cases import Case, Verdict
from benchmarks.fault_checks import HangError, watchdog

SEED = 5
SAMPLE = 96
PARTS = 32


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    rng = random.Random(SEED)
    found = fault_matrix.listed(tmp_path_factory.mktemp("listed"), rng)
    assert len(found) > 10_000
    return fault_cases.sample(found, SAMPLE, rng)


@pytest.mark.timeout(240)  # on a busy computer; a case that hangs is given up long before
@pytest.mark.parametrize("part", range(PARTS))
def test_a_sample_of_the_matrix(cases: list[Case], tmp_path: Path, part: int) -> None:
    """Each case: safe in time, readable, told in one line, nothing left, and ready again."""
    verdicts = fault_matrix.run_cases(cases[part::PARTS], tmp_path)
    failed = [f"--only '{v.case}': {'; '.join(v.problems)}" for v in verdicts if v.problems]
    assert not failed, f"seed {SEED}; python -m benchmarks.fault_matrix\n" + "\n".join(failed)
    # Almost all messages come again in another run; a fault before them would hide the rest.
    assert sum(not v.reached for v in verdicts) <= 1


def test_a_case_is_written_as_it_is_read(cases: list[Case]) -> None:
    for case in cases:
        again = Case.parse(str(case))
        assert str(again) == str(case)
        assert (again.plan, again.ending, again.faults) == (case.plan, case.ending, case.faults)


def test_the_table_counts_all_cases(cases: list[Case]) -> None:
    verdicts = [Verdict(case, problems=["x"] * (i < 3)) for i, case in enumerate(cases)]
    last = fault_cases.table(verdicts).strip().splitlines()[-1]
    assert f"| {len(cases)} | 3 |" in last


LATE, WRONG = "failed without a cause: no answer", "the probe was pressed through the oxide"


@pytest.mark.parametrize(
    ("found", "still_s", "runs"),
    [
        ([[LATE], []], 1.0, 2),
        ([[LATE]] * 9, 1.0, fault_matrix.TRIES),
        ([[LATE], []], 0.0, 1),
        ([[WRONG], []], 1.0, 1),
        ([[LATE, WRONG], []], 1.0, 1),
        ([[]], 1.0, 1),
    ],
)
def test_only_what_was_late_on_a_computer_that_stood_still_is_done_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[list[str]],
    still_s: float,
    runs: int,
) -> None:
    done: list[Verdict] = []

    def once(_runner: object, case: Case) -> Verdict:
        done.append(Verdict(case, problems=found[len(done)], stood_still_s=still_s))
        return done[-1]

    monkeypatch.setattr(fault_matrix.Runner, "_run_once", once)
    verdict = fault_matrix.Runner(tmp_path).run(Case.parse("short/wait:1/by itself"))
    assert len(done) == runs
    assert verdict is done[-1]
    assert [text.partition(" s: ")[2] for text in verdict.tried] == [
        "; ".join(one.problems) for one in done[:-1]
    ]


def test_what_does_not_come_back_is_given_up(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HangError, match=r"within 0\.05 s"), watchdog(0.05):
        threading.Event().wait(20.0)
    assert "test_what_does_not_come_back" in capfd.readouterr().err  # where it was
    with watchdog(20.0):
        pass
