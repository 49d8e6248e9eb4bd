"""The codes that are timed against each other give the same result; nothing is timed here.

Seeds are fixed, so that the statistical checks pass or fail for good; with other seeds one of them
would fail by chance about once in 200 runs.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import dead_man, frame, link, particle_step, side_by_side, timing, whole_experiment
from benchmarks.side_by_side import Ratio, Report, Target

needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)


# ---- how times are taken -----------------------------------------------------------------------


def test_cases_take_turns_and_the_first_round_does_not_count() -> None:
    ran: list[str] = []

    def case(name: str, spent: float) -> side_by_side.Case:
        def work() -> float:
            ran.append(name)
            return spent * len(ran)

        return work

    times = side_by_side.interleave({"a": case("a", 1.0), "b": case("b", 2.0)}, 8, seed=3)
    rounds = [ran[i : i + 2] for i in range(0, len(ran), 2)]
    assert len(rounds) == 9
    assert {tuple(sorted(each)) for each in rounds} == {("a", "b")}
    assert ["a", "b"] in rounds
    assert ["b", "a"] in rounds
    for name, factor in (("a", 1.0), ("b", 2.0)):
        assert times[name] == [factor * (i + 1) for i, n in enumerate(ran) if n == name][1:]


def test_a_case_that_does_not_measure_itself_is_measured() -> None:
    times = side_by_side.interleave({"long": lambda: _spin(200_000), "short": lambda: None}, 3)
    assert min(times["long"]) > 10.0 * max(times["short"]) > 0.0


def _spin(count: int) -> None:
    sum(range(count))


@pytest.mark.parametrize(
    ("cases", "options"),
    [({}, {}), ({"a": lambda: None}, {"rounds": 0}), ({"a": lambda: None}, {"clock": "sun"})],
)
def test_what_cannot_be_timed_raises(
    cases: dict[str, side_by_side.Case], options: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match=r"needed|clock must be"):
        side_by_side.interleave(cases, **options)  # type: ignore[arg-type]


def test_ratios_are_taken_within_rounds() -> None:
    times = {"ours": [1.0, 10.0, 2.0], "other": [2.0, 30.0, 20.0]}
    found = side_by_side.ratios(times, "ours")
    assert found == {"ours": (1.0, 1.0, 1.0), "other": (3.0, 2.0, 10.0)}


def test_a_function_runs_in_its_own_process() -> None:
    assert side_by_side.in_subprocess("math", "hypot", 3, 4) == 5.0
    mine = side_by_side.in_subprocess("os", "getpid")
    assert mine != side_by_side.in_subprocess("os", "getpid")
    with pytest.raises(RuntimeError, match=r"math\.sqrt failed: (.|\n)*domain"):
        side_by_side.in_subprocess("math", "sqrt", -1)


def test_tables_go_between_their_markers() -> None:
    table = side_by_side.markdown(["what", "ns"], [["a", 123.4], ["b", Ratio(1.5, 1.25, 2.0)]])
    assert table == "| what | ns |\n| --- | --- |\n| a | 123 |\n| b | 1.5 (1.25-2) |\n"
    begin, end = "<!-- benchmark:x:begin -->", "<!-- benchmark:x:end -->"
    old = f"above\n{begin}\nold\n{end}\nbelow\n"
    new = side_by_side.insert(old, "x", table)
    assert new == f"above\n{begin}\n{table}{end}\nbelow\n"
    assert side_by_side.insert(new, "x", "old\n") == old
    for bad in ("", begin, end, end + begin, old + old):
        with pytest.raises(ValueError, match="once each"):
            side_by_side.insert(bad, "x", table)


def test_results_are_written_with_the_machine(tmp_path: Path) -> None:
    report = Report("name", "| a |\n", [Target("what", ">= 2", 3.0, True)], {"ns": [1.0]})
    found = json.loads(side_by_side.write(report, tmp_path).read_text("utf-8"))
    assert found["ns"] == [1.0]
    assert found["targets"] == [{"what": "what", "wanted": ">= 2", "reached": 3.0, "met": True}]
    assert found["machine"]["python"]
    assert found["machine"]["numpy"] == np.__version__


# ---- the same results --------------------------------------------------------------------------


def test_numpy_advances_crystals_as_the_core_does() -> None:
    codes = {"NumPy": particle_step.peers()["NumPy"]}
    assert particle_step.check_step(codes, count=1500, ticks=10, seed=2) > 0
    particle_step.check_motion(codes, count=4000)


def test_numpy_draws_what_the_core_draws() -> None:
    """The Numba codes take long to compile; they are checked where they are timed."""
    codes = frame.peers(compiled=False)
    early, late = frame.specimen(0.3), frame.specimen(2.0)
    assert (late.particles["phi"] > 0.1).any()
    for model in (early, late):
        frame.check_thickness(model, (200, 256), 5.0)
        frame.check_frames(codes, model, (64, 96), 10.0, frames=4)


@needs_numba
def test_numba_advances_crystals_as_the_core_does() -> None:
    codes = {"Numba": particle_step.peers()["Numba"]}
    assert particle_step.check_step(codes, count=1500, ticks=10, seed=2) > 0
    particle_step.check_motion(codes, count=4000)


def test_the_experiment_deposits_and_strips() -> None:
    model = whole_experiment.experiment(seconds=2.0, side=32)
    assert model.time == pytest.approx(2.0)
    assert model.deposited_charge > 1e-12
    assert abs(model.faradaic_charge) < 1e-9 * model.deposited_charge
    assert len(model.particles) == 0


# ---- what a link costs ---------------------------------------------------------------------


def test_every_way_of_asking_gets_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_IN_A_ROUND", 3)
    spent = link.overhead(1)
    assert {len(times) for times in spent.values()} == {3}
    assert "bare pyvisa-py" in spent


def test_stops_are_confirmed_while_others_query() -> None:
    spent, rate = link.stops(3, busy=True)
    assert len(spent) == 3
    assert rate > 0.0


# ---- when an edge was --------------------------------------------------------------------------


def test_bias_edges_lie_in_their_exchanges() -> None:
    found = timing.edges(4)
    assert {name: len(pairs) for name, pairs in found.items()} == {"driver": 4, "PyVISA": 4}
    for exchange, came in (*found["driver"], *found["PyVISA"]):
        assert exchange.sent <= came <= exchange.answered


# ---- the dead-man's bias -----------------------------------------------------------------------


def test_readings_and_deaths_are_found() -> None:
    found = dead_man.readings(2, 1)
    assert {len(taken) for taken in found.values()} == {2}
    assert all(
        took > 0.9 * 2.0 * nplc / 50.0 for (nplc, _), all_ in found.items() for took, _ in all_
    )
    (life,) = dead_man.deaths(1)
    assert 0.0 < life <= 0.5


# ---- what is kept ------------------------------------------------------------------------------


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    table = side_by_side.markdown(["a", "b"], [[1, 2]])
    report = Report("link", table, [Target("query", "<= 1.5", 1.2, True)], {"peers": {"x": "1"}})
    side_by_side.write(report, tmp_path, {"cores": 2})
    (again,) = side_by_side.read_results(tmp_path, ["frame", "link"])
    assert again[:3] == report[:3]
    assert again.result["peers"] == {"x": "1"}
    assert again.result["machine"] == {"cores": 2}


def test_a_summary_in_a_document_is_of_its_own_tables(tmp_path: Path) -> None:
    from benchmarks import __main__ as program

    page = tmp_path / "page.md"
    page.write_text(
        "<!-- benchmark:link:begin -->\n<!-- benchmark:link:end -->\n"
        "<!-- benchmark:summary:begin -->\n<!-- benchmark:summary:end -->\n",
        "utf-8",
    )
    program._update(
        page,
        [
            Report("link", "| of links |\n", [Target("query", "<= 1.5", 1.2, True)], {}),
            Report("frame", "| of frames |\n", [Target("kernel", "<= 1", 2.0, False)], {}),
        ],
    )
    text = page.read_text("utf-8")
    assert "| of links |" in text
    assert "| link | query | <= 1.5 | 1.2 | yes |" in text
    assert "frame" not in text
