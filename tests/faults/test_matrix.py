"""A fixed sample of the matrix of faults and endings; all of it with ``make faults``."""

import random
from pathlib import Path

import pytest

from benchmarks import fault_cases, fault_matrix
from benchmarks.fault_cases import Case, Verdict

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
