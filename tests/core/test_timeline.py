"""Where a frame meets its bias."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.timeline import Timeline

times = st.floats(0.0, 100.0, allow_nan=False)


def test_a_value_holds_from_its_time_on() -> None:
    line = Timeline()
    assert line.at("bias_set_V", 0.0) is None
    line.record("bias_set_V", 1.0, -5.0)
    line.record("bias_set_V", 2.0, 5.0)
    assert line.at("bias_set_V", 0.999) is None
    assert line.at("bias_set_V", 1.0) == -5.0
    assert line.at("bias_set_V", 1.999) == -5.0
    assert line.last("bias_set_V") == 5.0


@given(st.lists(st.tuples(times, st.integers()), min_size=1, unique_by=lambda e: e[0]), times)
def test_the_order_of_arrival_does_not_matter(entries: list[tuple[float, int]], t: float) -> None:
    line = Timeline()
    for moment, value in entries:
        line.record("x", moment, value)
    before = [entry for entry in sorted(entries) if entry[0] <= t]
    assert line.at("x", t) == (before[-1][1] if before else None)


@given(
    st.lists(st.tuples(times, st.booleans()), unique_by=lambda e: e[0]), times, times, st.booleans()
)
def test_true_and_false_make_up_the_interval(
    entries: list[tuple[float, bool]], a: float, b: float, default: bool
) -> None:
    start, stop = min(a, b), max(a, b)
    line, inverse = Timeline(), Timeline()
    for moment, value in entries:
        line.record("blanked", moment, value)
        inverse.record("blanked", moment, not value)
    total = line.seconds_true("blanked", start, stop, default=default)
    rest = inverse.seconds_true("blanked", start, stop, default=not default)
    assert total + rest == pytest.approx(stop - start, abs=1e-9)


def test_run_time_counts_from_the_start_of_the_run() -> None:
    line = Timeline()
    line.start_run(10.0)
    assert line.run_time(12.5) == 2.5


@given(st.lists(st.tuples(times, st.integers()), unique_by=lambda e: e[0]), times, times)
def test_a_cut_has_what_held_and_what_came(
    entries: list[tuple[float, int]], a: float, b: float
) -> None:
    start, stop = min(a, b), max(a, b)
    line = Timeline()
    for t, value in entries:
        line.record("x", t, value, 0.5 * t)
    cut = line.cut("x", start, stop)
    before = [entry for entry in sorted(entries) if entry[0] <= start][-1:]
    after = [entry for entry in sorted(entries) if start < entry[0] <= stop]
    assert list(zip(cut.times, cut.values, strict=True)) == before + after
    assert cut.uncertainties == [0.5 * t for t in cut.times]


@given(
    st.lists(st.tuples(times, st.booleans()), unique_by=lambda e: e[0]),
    times,
    st.lists(times, max_size=5),
    st.booleans(),
)
def test_seconds_of_the_run_count_from_its_start(
    entries: list[tuple[float, bool]], run_start: float, moments: list[float], default: bool
) -> None:
    line = Timeline()
    line.start_run(run_start)
    for number, (t, value) in enumerate(entries):
        line.record("blanked", t, value)
        if number == len(entries) // 2:  # what came late counts as what came in time
            line.seconds_true_in_run("blanked", moments, default=default)
    for t, seconds in zip(
        moments, line.seconds_true_in_run("blanked", moments, default=default), strict=True
    ):
        low, high = min(t, run_start), max(t, run_start)
        expected = line.seconds_true("blanked", low, high, default=default)
        assert seconds == pytest.approx(expected if t > run_start else -expected, abs=1e-9)


@pytest.mark.parametrize("default", [True, False])
def test_what_is_forgotten_still_counts(default: bool) -> None:
    line = Timeline(keep=20)
    line.start_run(1.0)
    for i in range(200):
        line.record("blanked", 2.0 + i, i % 4 != 0)
        line.record("x", 2.0 + i, i)
        (total,) = line.seconds_true_in_run("blanked", [2.0 + i], default=default)
        assert total == default + i - (i + 3) // 4
    assert len(line.entries("blanked")[0]) <= 20
    assert line.last("x") == 199
    line.start_run(190.0)
    assert line.seconds_true_in_run("blanked", [190.0, 193.0], default=default) == [0.0, 2.0]


def test_listeners_hear_what_is_recorded_until_they_end() -> None:
    line = Timeline()
    heard: list[tuple[str, float, object, float]] = []
    end = line.listen(lambda *entry: heard.append(entry))
    line.start_run(1.0)
    line.record("phase", 2.0, "deposit", 0.1)
    end()
    line.record("phase", 3.0, "strip")
    assert heard == [("", 1.0, None, 0.0), ("phase", 2.0, "deposit", 0.1)]
