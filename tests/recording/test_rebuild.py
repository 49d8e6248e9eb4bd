"""Rows made again from pages and journal: final, dated anew, and the same when done twice."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import tifffile

from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import read_rows
from stmtem_control.recording.frame_table import read_table
from stmtem_control.recording.rebuild import rebuild_tables

from .recorded_run import CAMERA_ZERO, DOSE_RATE, EXPOSURE_S, PERIOD_S, read_back, record


@dataclass
class Shifted:
    """A clock model that finds every frame later, and the camera's clock too fast."""

    later_s: float = 0.04
    drift: float = 1e-3

    def station_time(self, instrument_time_s: float) -> tuple[float, float]:
        """Return the station time, and its 95 % half width."""
        t = instrument_time_s - CAMERA_ZERO
        return t + self.later_s - self.drift * t, 2e-3


def test_all_frames_are_dated_again(tmp_path: Path) -> None:
    folder = record(tmp_path)
    before = read_table(folder)
    model = Shifted()
    made = rebuild_tables(folder, model)
    assert made.amended == list(range(12))
    after = read_table(folder)
    for old, new in zip(before, after, strict=True):
        start = model.station_time(old["camera_time_s"])[0]
        assert new["run_time_s"] == pytest.approx(start - made.run_start_s, abs=1e-6)
        assert new["time_uncertainty_s"] == pytest.approx(2e-3)
        assert new["time_source"] == "clapperboard"
        # What the camera said stays as it was.
        for name in ("frame", "sequence", "camera_time_s", "host_time_s", "mean_counts"):
            assert new[name] == old[name]
    # The beam was opened at 0.2 s: of frame 1 less was exposed in the dark than was thought.
    assert after[1]["dose_e_per_A2"] > before[1]["dose_e_per_A2"]
    assert after[1]["dose_e_per_A2"] == pytest.approx(
        DOSE_RATE * (after[1]["run_time_s"] + EXPOSURE_S - 0.2), abs=1e-8
    )
    pages = [dict(row) for row in read_rows(folder)]
    assert [row["run_time_s"] for row in pages] == [row["run_time_s"] for row in after]
    assert all(row["settled"] for row in pages)
    with tifffile.TiffFile(folder / "frames_0002.tif") as tiff:
        assert b"clapperboard" in tiff.pages[-1].tags[65000].value.encode()
    bytes_before = read_back(folder)
    again = rebuild_tables(folder, model)
    assert (again.amended, again.table_changed) == ([], False)
    assert read_back(folder) == bytes_before
    # A recovery keeps the better dates.
    assert rebuild_tables(folder).amended == []


def test_an_edge_of_the_bias_moves_with_the_frames(tmp_path: Path) -> None:
    folder = record(tmp_path)
    edges = [row["frame"] for row in read_table(folder) if row["bias_edge"] == "edge"]
    assert edges == [2, 7]  # at 0.31 s and 0.81 s of the run, frames every 0.1 s from 0.05 s on
    rebuild_tables(folder, Shifted(later_s=PERIOD_S, drift=0.0))
    assert [row["frame"] for row in read_table(folder) if row["bias_edge"] == "edge"] == [1, 6]


def test_nothing_is_written_when_only_asked(tmp_path: Path) -> None:
    folder = record(tmp_path, settled=6, stopped=False)
    before = read_back(folder)
    made = rebuild_tables(folder, write=False)
    assert made.amended == list(range(6, 12))
    assert made.table_changed
    assert read_back(folder) == before
    assert repr(rebuild_tables(folder).rows) == repr(made.rows)


def test_without_a_journal_rows_stay_as_far_as_they_are_known(tmp_path: Path) -> None:
    folder = record(tmp_path, settled=10, stopped=False)
    (folder / "timeline.jsonl").unlink()
    made = rebuild_tables(folder)
    assert made.amended == []
    rows = read_table(folder)
    assert len(rows) == 12
    assert math.isnan(rows[11]["current_A"])
    assert rows[11]["mean_counts"] == 11.0
    with pytest.raises(RecordingError, match=r"timeline\.jsonl is missing"):
        rebuild_tables(folder, Shifted())


def test_a_table_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = record(tmp_path, settled=10, stopped=False)
    table = (folder / "frames.csv").read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(RecordingError, match="No space left"):
        rebuild_tables(folder)
    assert (folder / "frames.csv").read_bytes() == table
    monkeypatch.undo()
    assert len(rebuild_tables(folder).rows) == len(read_table(folder)) == 12
