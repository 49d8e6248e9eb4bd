"""In which frame an edge of the bias falls, and when that is certain."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.recording.edges import (
    BY_TRIGGER,
    bias_changes,
    bias_edges,
    edge_frames,
    marks,
    owners,
    spans,
)
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.recording.frame_table import replace_table
from stmtem_control.recording.journal import read_journal
from stmtem_control.recording.rows import build_rows
from stmtem_control.timeline import Timeline

PERIOD = 0.04


def frames(
    *starts: float, uncertainty_s: float = 0.0, sequence: list[int] | None = None
) -> list[FrameFacts]:
    return [
        FrameFacts(
            number=number,
            sequence=number + 1 if sequence is None else sequence[number],
            dropped_before=0,
            camera_time_s=1e9 + start,
            host_monotonic_s=start,
            start_s=start,
            uncertainty_s=uncertainty_s,
            time_source="start",
            exposure_s=0.03,
            period_s=PERIOD,
            mean_counts=1.0,
        )
        for number, start in enumerate(starts)
    ]


def levels(*entries: tuple[float, float], uncertainty_s: float = 0.0) -> Timeline:
    line = Timeline()
    line.record("bias_set_V", -10.0, 0.0)
    for t, volts in entries:
        line.record("bias_set_V", t, volts, uncertainty_s)
    return line


THREE = frames(1.0, 1.04, 1.08)


def test_a_frame_owns_the_time_to_the_next_start() -> None:
    for t, expected in (
        (0.9999, ["", "", ""]),
        (1.0, ["edge", "", ""]),
        (1.035, ["edge", "", ""]),  # between two exposures
        (1.04, ["", "edge", ""]),
        (1.1199, ["", "", "edge"]),
        (1.1201, ["", "", ""]),  # the last owns one period
    ):
        assert bias_edges(levels((t, -5.0)), THREE) == expected, t


def test_only_a_change_is_an_edge() -> None:
    line = levels((1.01, -5.0), (1.05, -5.0))
    assert bias_edges(line, THREE) == ["edge", "", ""]
    first = Timeline()
    first.record("bias_set_V", 1.01, -5.0)
    assert bias_edges(first, THREE) == ["", "", ""]
    assert bias_edges(Timeline(), THREE) == ["", "", ""]
    assert bias_edges(line, []) == []


def test_an_edge_near_a_border_is_ambiguous_in_both_frames() -> None:
    sure = frames(1.0, 1.04, 1.08, uncertainty_s=0.002)
    for t, expected in (
        (1.0371, ["ambiguous", "ambiguous", ""]),
        (1.0429, ["ambiguous", "ambiguous", ""]),
        (1.0369, ["edge", "", ""]),
        (1.0431, ["", "edge", ""]),
        (0.998, ["ambiguous", "", ""]),
        (0.9969, ["", "", ""]),
    ):
        assert bias_edges(levels((t, -5.0), uncertainty_s=0.001), sure) == expected, t


def test_a_sure_edge_counts_more_than_an_ambiguous_one() -> None:
    unsure = frames(1.0, 1.04, 1.08, uncertainty_s=0.002)
    assert bias_edges(levels((1.02, -5.0), (1.039, 5.0)), unsure) == ["edge", "ambiguous", ""]


def test_an_edge_in_lost_frames_is_in_none() -> None:
    gap = frames(1.0, 1.12, sequence=[1, 4])
    assert bias_edges(levels((1.06, -5.0)), gap) == ["", ""]
    assert bias_edges(levels((1.0399, -5.0)), gap) == ["edge", ""]
    assert bias_edges(levels((1.1201, -5.0)), gap) == ["", "edge"]
    unsure = frames(1.0, 1.12, sequence=[1, 4], uncertainty_s=0.002)
    assert bias_edges(levels((1.041, -5.0)), unsure) == ["ambiguous", ""]


def test_the_frame_after_the_batch_tells_where_the_last_one_ends() -> None:
    first, after = THREE[:1], frames(1.0, 1.05)[1]
    line = levels((1.045, -5.0))
    assert bias_edges(line, first) == [""]
    assert bias_edges(line, first, following=after) == ["edge"]
    assert bias_edges(line, [THREE[0]], following=frames(1.0, 1.05, sequence=[1, 3])[1]) == [""]


def test_a_guessed_time_makes_no_edge_certain() -> None:
    guessed = frames(1.0, 1.04, 1.08, uncertainty_s=math.nan)
    assert bias_edges(levels((1.05, -5.0)), guessed) == ["ambiguous"] * 3
    # A frame whose time is known limits its neighbours, though theirs are not.
    line = levels((1.05, -5.0))
    mixed = [guessed[0], *frames(1.0, 1.04, 1.08)[1:]]
    assert bias_edges(line, mixed) == ["", "edge", ""]


def test_a_trigger_tells_the_frame_whatever_the_times_say() -> None:
    unsure = frames(1.0, 1.04, 1.08, uncertainty_s=0.5)
    line = levels((1.04, -5.0), (1.08, 5.0))
    assert bias_edges(line, unsure) == ["ambiguous"] * 3
    line.record(BY_TRIGGER, 1.04, 1)
    line.record(BY_TRIGGER, 1.08, -1)
    assert bias_edges(line, unsure) == ["", "edge", ""]


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Frames and edges as they truly were, and as they were dated, no further off than stated."""
    count = draw(st.integers(1, 12))
    steps = st.integers(1, 3)
    sequence = np.cumsum([draw(steps) for _ in range(count)])
    truth = sequence * PERIOD
    unsure = np.array([draw(st.floats(0.0, 0.03)) for _ in range(count)])
    off = np.array([draw(st.floats(-1.0, 1.0)) for _ in range(count)])
    edges = np.array(draw(st.lists(st.floats(-0.1, 1.6), max_size=8)), np.float64)
    edge_unsure = np.array([draw(st.floats(0.0, 0.02)) for _ in edges])
    edge_off = np.array([draw(st.floats(-1.0, 1.0)) for _ in edges])
    # By a hair more than the error itself, so that rounding does not break the promise.
    return {
        "sequence": sequence,
        "truth": truth,
        "start": truth + 0.999 * off * unsure,
        "unsure": unsure + 1e-12,
        "true_edges": edges,
        "edges": edges + 0.999 * edge_off * edge_unsure,
        "edge_unsure": edge_unsure + 1e-12,
    }


def owner_by_the_rule(t: float, starts: Any, sequence: Any) -> int:
    """Return the index of the frame that owns `t`, one frame at a time; -1 for none."""
    for index, start in enumerate(starts):
        direct = index + 1 < len(starts) and sequence[index + 1] == sequence[index] + 1
        stop = starts[index + 1] if direct else start + PERIOD
        if start <= t < stop:
            return index
    return -1


@given(worlds())
def test_what_is_called_certain_is_true(world: dict[str, Any]) -> None:
    in_order = np.all(np.diff(world["start"]) > 0.0)
    owned = spans(
        world["start"], world["unsure"], np.full(len(world["start"]), PERIOD), world["sequence"]
    )
    index, certain = owners(world["edges"], world["edge_unsure"], owned)
    truly = [owner_by_the_rule(t, world["truth"], world["sequence"]) for t in world["true_edges"]]
    for found, sure, right in zip(index, certain, truly, strict=True):
        if sure and in_order:
            assert found == right
    changes = bias_changes(
        (
            [-10.0, *sorted(world["edges"])],
            [float(n) for n in range(1 + len(truly))],
            [0.0, *world["edge_unsure"][np.argsort(world["edges"], kind="stable")]],
        )
    )
    found_marks = marks(changes, np.arange(len(world["start"])), owned)
    for right in truly:  # no frame with an edge says that it has none
        if right >= 0 and in_order:
            assert found_marks[right] != ""


@given(worlds())
def test_with_exact_times_every_edge_is_certain(world: dict[str, Any]) -> None:
    exact = np.zeros(len(world["truth"]))
    owned = spans(world["truth"], exact, np.full(len(exact), PERIOD), world["sequence"])
    index, certain = owners(world["true_edges"], np.zeros(len(world["true_edges"])), owned)
    assert certain.all()
    for t, found in zip(world["true_edges"], index, strict=True):
        assert found == owner_by_the_rule(t, world["truth"], world["sequence"])


def write_run(folder: Path, facts: list[FrameFacts], journal: list[list[Any]]) -> None:
    head = {"schema": 1, "run_start_s": 0.5, "clock": StationClock().mapping()}
    lines = "".join(json.dumps(entry) + "\n" for entry in [head, *journal])
    (folder / "timeline.jsonl").write_text(lines, "utf-8")
    timeline, clock, _ = read_journal(folder)
    replace_table(folder, build_rows(timeline, facts, dose_rate_e_per_A2_s=1.0, clock=clock))


def test_the_edges_of_a_run_are_listed(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        frames(1.0, 1.04, 1.16, uncertainty_s=0.001, sequence=[1, 2, 5]),
        [
            ["bias_set_V", 0.2, -5.0, 0.0],  # before the run
            ["bias_set_V", 0.3, 0.0, 0.0],
            ["phase", 1.01, "deposit", 0.0],
            ["bias_set_V", 1.12, 5.0, 0.0005],
            ["bias_set_V", 1.02, -5.0, 0.0005],
            ["bias_set_V", 1.0399, -4.0, 0.0005],
            ["bias_set_V", 1.16, 0.0, 0.0005],
            ["bias_edge_frame", 1.16, 2, 0.0],
        ],
    )
    found = edge_frames(tmp_path)
    assert [(e.from_V, e.to_V, e.frame, e.certain) for e in found] == [
        (0.0, -5.0, 0, True),
        (-5.0, -4.0, 0, False),
        (-4.0, 5.0, None, True),
        (5.0, 0.0, 2, True),
    ]
    assert found[0].t == pytest.approx(0.52)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, THREE, [["bias_set_V", 0.9, 0.0, 0.0], ["bias_set_V", 1.05, -5.0, 0.0]])
    with (tmp_path / "timeline.jsonl").open("a") as journal:
        journal.write('["bias_set_V", 1.06')
    assert [edge.frame for edge in edge_frames(tmp_path)] == [1]


def test_what_is_no_run_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"timeline.jsonl cannot be read"):
        edge_frames(tmp_path)
    write_run(tmp_path, THREE, [])
    (tmp_path / "frames.csv").write_text("frame,bias\n0,1\n", "utf-8")
    with pytest.raises(RecordingError, match=r"frames.csv"):
        edge_frames(tmp_path)
