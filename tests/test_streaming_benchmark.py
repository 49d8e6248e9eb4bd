"""What the streaming benchmark runs records all frames; nothing is timed here."""

from pathlib import Path

import pytest

from benchmarks.ring_to_disk import record
from benchmarks.side_by_side import data_folder


def test_frames_from_the_ring_are_all_recorded(tmp_path: Path) -> None:
    found = record(64, 500.0, 0.1, str(tmp_path), False)
    assert (found["frames"], found["rows"], found["lost"]) == (50, 50, 0)
    assert 0.0 < found["latency_s"][0] <= found["latency_s"][2]
    assert list(tmp_path.iterdir()) == []


def test_data_go_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_FOLDER", str(tmp_path / "b"))
    assert data_folder() == tmp_path / "b"
    assert data_folder(tmp_path / "a") == tmp_path / "a"
    assert (tmp_path / "a").is_dir()
