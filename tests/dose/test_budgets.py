"""Budgets: defaults with their standing, and what a station may say instead."""

import pytest

from stmtem_control.config import load_station, parse_station
from stmtem_control.dose.budgets import PHASES, make_budget
from stmtem_control.errors import ConfigError


def test_the_most_delicate_phase_decides() -> None:
    budget = make_budget(["Li", "Li2O", "Li2CO3", "carbon"])
    assert budget.hard.name == budget.soft.name == "Li2CO3"
    assert (budget.soft_e_per_A2, budget.hard_e_per_A2) == (500.0, 750.0)
    assert budget.left_e_per_A2(800.0)["Li2CO3"] == -50.0
    assert budget.left_e_per_A2(800.0)["Li2O"] == 4200.0
    assert make_budget(["Li"]).hard_e_per_A2 == 8e5


def test_every_default_says_where_it_comes_from() -> None:
    for phase in PHASES.values():
        assert 0.0 < phase.soft_e_per_A2 <= phase.hard_e_per_A2
        assert phase.standing in ("measured", "calculated", "assumption")
        assert len(phase.source) > 20
    assert {name for name, phase in PHASES.items() if phase.standing == "assumption"} == {
        "Li2O",
        "carbon",
    }


def test_the_station_may_say_otherwise() -> None:
    budget = make_budget(["Li2O"], hard_e_per_A2={"Li2O": 300.0})
    assert (budget.soft_e_per_A2, budget.hard_e_per_A2) == (300.0, 300.0)
    assert budget.hard.standing == "station file"
    assert make_budget(["Li2O"], soft_e_per_A2={"Li2O": 9000.0}).hard_e_per_A2 == 9000.0


@pytest.mark.parametrize(
    ("dose", "words"),
    [
        ({"phases": []}, "at least one of Li, Li2O"),
        ({"phases": ["Lithium"]}, "unknown phase 'Lithium'"),
        ({"hard_e_per_A2": {"Na": 5.0}}, "unknown phase 'Na'"),
        ({"soft_e_per_A2": {"Li": 5.0}, "hard_e_per_A2": {"Li": 4.0}}, "soft limit 5"),
        ({"hard_e_per_A2": {"Li": -4.0}}, "greater than 0"),
        ({"budget": 5.0}, "unknown key"),
    ],
)
def test_a_budget_that_is_none_is_named(dose: dict[str, object], words: str) -> None:
    raw = load_station("sim").model_dump(mode="json", exclude_none=True)
    raw["dose"] = dose
    with pytest.raises(ConfigError) as caught:
        parse_station(raw, "station file lab.toml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_phase_at_all_is_refused_in_python_too() -> None:
    with pytest.raises(ConfigError, match="none; give at least one"):
        make_budget([])


def test_only_a_simulated_bench_needs_no_date() -> None:
    raw = load_station("example_lab").model_dump(mode="json", exclude_none=True)
    raw["beam"]["calibrated"] = "simulated"
    with pytest.raises(ConfigError, match=r"\[beam\] calibrated: is \"simulated\", but"):
        parse_station(raw, "station file lab.toml")
