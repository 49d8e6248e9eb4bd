"""The journal of the timeline: whole lines, nothing lost, nothing raised where frames are made."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.recording.journal import JOURNAL, Journal, read_journal
from stmtem_control.timeline import Timeline

NUMBERS = st.floats(-1e9, 1e9)
ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["bias_set_V", "phase", "blanked"]),
        NUMBERS,
        st.one_of(NUMBERS, st.text(max_size=5), st.booleans(), st.integers(-5, 5)),
        st.floats(0.0, 1.0),
    ),
    max_size=20,
)


def written(folder: Path, *entries: tuple[object, ...]) -> StationClock:
    """Write a journal with these entries, each flushed by itself."""
    clock = StationClock(5.0)
    journal = Journal(folder, clock, run_start_s=2.0, about={"dose_rate_e_per_A2_s": 0.8})
    for entry in entries:
        journal.add(*entry)  # type: ignore[arg-type]
        journal.flush()
    journal.close()
    assert journal.problem() is None
    return clock


def test_a_timeline_comes_back_as_it_was(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.record("bias_set_V", 0.5, 1.0)
    timeline.record("bias_set_V", 1.0, 0.0)
    timeline.record("phase", 1.0, "approach")
    timeline.start_run(2.0)
    clock = StationClock(5.0)
    journal = Journal(tmp_path, clock, run_start_s=timeline.run_start)
    end = timeline.listen(journal.add, since=2.0)
    timeline.record("bias_set_V", 3.0, np.float64(-5.0), 1e-4)
    timeline.record("current_A", 3.1, math.nan, math.nan)
    timeline.record("blanked", 2.9, np.bool_(True))
    journal.close()
    end()
    back, restored, first = read_journal(tmp_path)
    assert back.run_start == first["run_start_s"] == 2.0
    assert restored.mapping() == clock.mapping()
    assert restored.wall_time(4.0) == clock.wall_time(4.0)
    # What was true at the start is in it; what was before that is not.
    assert back.entries("bias_set_V") == ([1.0, 3.0], [0.0, -5.0], [0.0, 1e-4])
    assert back.at("phase", 3.0) == "approach"
    assert back.at("blanked", 3.0) is True
    assert math.isnan(back.at("current_A", 3.2))


@given(entries=ENTRIES)
def test_every_entry_comes_back(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, float, object, float]]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    straight = Timeline()
    for entry in entries:
        straight.record(*entry)
    written(folder, *entries)
    back, _, _ = read_journal(folder)
    for channel in ("bias_set_V", "phase", "blanked"):
        assert back.entries(channel) == straight.entries(channel)


def test_a_torn_last_line_is_left_out_and_then_cut(tmp_path: Path) -> None:
    clock = written(tmp_path, ("cycle", 3.0, 1), ("cycle", 4.0, 2))
    path = tmp_path / JOURNAL
    os.truncate(path, path.stat().st_size - 3)
    assert read_journal(tmp_path)[0].entries("cycle")[1] == [1]
    journal = Journal(tmp_path, clock, run_start_s=2.0)
    journal.add("cycle", 5.0, 3)
    journal.close()
    assert read_journal(tmp_path)[0].entries("cycle")[1] == [1, 3]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 4


def test_a_line_that_is_no_entry_is_left_out(tmp_path: Path) -> None:
    written(tmp_path, ("cycle", 3.0, 1))
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(b'\0\0\0\n["cycle"]\n{"a": 1}\n["cycle",4.0,2,0.0]\n')
    assert read_journal(tmp_path)[0].entries("cycle")[1] == [1, 2]


def test_a_full_disk_is_told_once_and_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StationClock()
    journal = Journal(tmp_path, clock, run_start_s=0.0)
    room = 30  # bytes
    write = os.write

    def nearly_full(file: int, data: bytes) -> int:
        return write(file, data[:room])

    monkeypatch.setattr(os, "write", nearly_full)
    for number in range(3):
        journal.add("cycle", float(number), number)
        journal.add("phase", float(number), "deposit")
        journal.flush()
    problem = journal.problem()
    assert isinstance(problem, RecordingError)
    assert "No space left on device" in str(problem)
    assert journal.problem() is None
    assert (tmp_path / JOURNAL).read_bytes().endswith(b"\n")
    assert read_journal(tmp_path)[0].entries("cycle") == ([], [], [])
    monkeypatch.undo()  # somebody makes room
    journal.close()
    assert journal.problem() is None
    assert read_journal(tmp_path)[0].entries("cycle")[1] == [0, 1, 2]


def test_a_journal_that_is_gone_on_with_has_every_entry_once(tmp_path: Path) -> None:
    """What a recorder has heard before it was killed is told again to the one after it."""
    clock = StationClock()
    timeline = Timeline(keep=10)
    for number in range(3):
        journal = Journal(tmp_path, clock, run_start_s=2.0)
        end = timeline.listen(journal.add, since=1.0)
        for i in range(8):
            timeline.record("current_A", 2.0 + number + 0.1 * i, float(10 * number + i))
        timeline.record("phase", 3.0 + number, f"phase {number}")
        journal.close()
        end()
        timeline.record("bias_set_V", 3.5 + number, -1.0 * number)  # nobody hears it
    back, _, first = read_journal(tmp_path)
    assert first["run_start_s"] == 2.0
    times, values, _ = back.entries("current_A")
    assert times == sorted(times)
    # Those too that the timeline has forgotten by now.
    assert values == [float(10 * number + i) for number in range(3) for i in range(8)]
    assert back.entries("phase")[1] == ["phase 0", "phase 1", "phase 2"]
    assert back.entries("bias_set_V")[1] == [0.0, -1.0]


def test_a_journal_of_another_session_is_not_continued(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(RecordingError, match="own folder"):
        Journal(tmp_path, StationClock(1.0), run_start_s=2.0)


@pytest.mark.parametrize("text", [None, "", '{"schema": 99}\n', "[1]\n", '{"schema": 1, "clo'])
def test_what_is_no_journal_is_refused_in_one_line(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / JOURNAL).write_text(text)
    with pytest.raises(RecordingError, match=r"timeline\.jsonl cannot be read") as caught:
        read_journal(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"timeline\.jsonl cannot be written"):
        Journal(tmp_path / "gone", StationClock(), run_start_s=0.0)
