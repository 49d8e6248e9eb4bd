"""The code that the beam is blanked in, and how long it was lit."""

import itertools

import numpy as np
import pytest

from stmtem_control.recording.blank_edges import (
    FEWEST,
    MOST,
    BlankEdge,
    LitTime,
    coded_pattern,
    edges_between,
)


def test_at_25_frames_a_second_it_takes_less_than_a_second() -> None:
    pattern = coded_pattern(0.04, 0.035)
    assert len(pattern) + 1 == FEWEST
    assert 0.5 < sum(pattern) < 0.7
    dark = sum(pattern[::2])
    assert 0.4 < dark / sum(pattern) < 0.65


@pytest.mark.parametrize("exposure_s", [0.04, 0.035, 0.02, 0.01, 0.004, 0.001])
def test_edges_cover_all_phases_of_the_frame(exposure_s: float) -> None:
    pattern = coded_pattern(0.04, exposure_s)
    phases = np.sort(np.cumsum([0.0, *pattern]) / 0.04 % 1.0)
    gaps = np.diff([*phases, phases[0] + 1.0])
    # Three gaps at most between multiples of the golden section, none larger than this.
    assert gaps.max() < 2.0 / len(phases)
    assert len(phases) >= min(MOST, 3 * 0.04 / exposure_s)
    # No two edges can fall into one exposure.
    assert min(pattern) > 1.25 * 0.04


@pytest.mark.parametrize("exposure_s", [0.035, 0.001])
def test_no_shift_makes_the_code_look_like_itself(exposure_s: float) -> None:
    """Shifted by whole frames or by less, some frames' worth of beam is always different."""
    edges = np.cumsum([0.0, *coded_pattern(1.0, exposure_s / 0.04)])
    t = np.linspace(-30.0, edges[-1] + 30.0, 20001)
    beam = np.searchsorted(edges, t) % 2 == 0
    step = t[1] - t[0]
    for shift in np.arange(0.5, 25.0, 0.05):
        moved = np.searchsorted(edges, t - shift) % 2 == 0
        different = np.count_nonzero(beam != moved) * step
        # The shortest shift changes half a frame at each edge.
        assert different > 0.45 * len(edges)


def test_intervals_are_as_long_as_commands_need() -> None:
    fast = coded_pattern(0.002, 0.0018, shortest_s=0.01)
    assert min(fast) >= 0.01
    assert len(fast) == FEWEST - 1
    # The phases are as well spread as before.
    phases = np.sort(np.cumsum([0.0, *fast]) / 0.002 % 1.0)
    assert np.diff([*phases, phases[0] + 1.0]).max() < 2.0 / FEWEST


def test_lit_time_agrees_with_counting() -> None:
    edges = np.array([0.3, 0.9, 1.4, 2.0])
    fine = np.linspace(-1.0, 3.0, 40_001)
    for lit_first, rise in itertools.product((False, True), (1e-9, 0.2)):
        corners = np.sort([*(edges - 0.5 * rise), *(edges + 0.5 * rise)])
        levels = [not lit_first, lit_first, lit_first, not lit_first] * 2
        level = np.interp(fine, corners, np.array(levels, dtype=float))
        for start, stop in ((-0.5, 0.1), (-0.5, 0.35), (0.2, 1.1), (0.31, 2.7), (2.1, 2.5)):
            inside = (fine >= start) & (fine < stop)
            counted = level[inside].sum() * 1e-4
            lit = LitTime(edges, lit_first, rise if rise > 1e-6 else 0.0)
            found = lit.seconds(np.array([start]), np.array([stop]))[0]
            assert found == pytest.approx(counted, abs=3e-4)


def test_edges_of_a_history() -> None:
    history = ([0.0, 1.0, 2.0, 3.0, 4.0, 9.0], [True, True, False, False, True, False], [0.1] * 6)
    assert edges_between(history, 0.0, 5.0) == [
        BlankEdge(2.0, 0.1, False),
        BlankEdge(4.0, 0.1, True),
    ]
    assert edges_between(history, 3.0, 9.0) == [
        BlankEdge(4.0, 0.1, True),
        BlankEdge(9.0, 0.1, False),
    ]
    assert edges_between(([], [], []), 0.0, 1.0) == []
