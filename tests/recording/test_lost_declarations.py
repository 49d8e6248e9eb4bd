"""Declarations that a failing subscriber cost are put where they belong, with their numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fault_checks import check_files
from stmtem_control.declare_rest import FramesTold, declare_rest

from .recorded_run import CAMERA_ZERO, record


def lines_of(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    text = (folder / "documents.jsonl").read_text("utf-8")
    return [(name, doc) for name, doc in map(json.loads, text.splitlines())]


def write(folder: Path, lines: list[tuple[str, dict[str, Any]]]) -> None:
    (folder / "documents.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), "utf-8")


def told(folder: Path) -> int:
    counter = FramesTold("camera")
    for name, doc in lines_of(folder):
        counter(name, doc)
    return counter.count


def declare(folder: Path) -> list[str]:
    return declare_rest(folder, lambda t: CAMERA_ZERO + t)


@pytest.mark.parametrize("kind", ["stream_datum", "event_page"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_what_is_missing_comes_before_what_is_later(tmp_path: Path, kind: str, number: int) -> None:
    """Twelve frames, declared by four; one of the three documents never came."""
    folder = record(tmp_path)
    assert told(folder) == 12
    before = lines_of(folder)
    lost = [i for i, (name, _) in enumerate(before) if name == kind][number]
    write(folder, [*before[:lost], *before[lost + 1 :]])
    assert told(folder) == 4 * number
    assert any(f"frames {4 * number} to {4 * number + 3}" in what for what in declare(folder))
    assert told(folder) == 12
    assert check_files(folder) == []
    uids = [doc["uid"] for name, doc in lines_of(folder) if name == "stream_datum"]
    assert len(set(uids)) == 3


def test_numbers_that_stood_still_are_those_of_the_frames(tmp_path: Path) -> None:
    """A subscriber failed at the first datum: Bluesky numbers the second from 1 again."""
    folder = record(tmp_path)
    lines = lines_of(folder)
    second = [doc for name, doc in lines if name == "stream_datum"][1]
    second["seq_nums"] = {"start": 1, "stop": 5}
    write(folder, lines)
    assert told(folder) == 4
    assert check_files(folder) == ["frames 4 to 7 are numbered from 1 on"]
    assert "the numbers of frames 4 to 7" in declare(folder)
    assert check_files(folder) == []
    assert declare(folder) == []
