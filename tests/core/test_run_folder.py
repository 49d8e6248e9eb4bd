"""The run folder: documents as emitted, readings as rows, errors in one line."""

import csv
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from stmtem_control import run_folder as subject
from stmtem_control.errors import RecordingError
from stmtem_control.recording.columns import BIAS_COLUMNS
from stmtem_control.recording.csv_table import read_csv
from stmtem_control.recording.line_file import is_held
from stmtem_control.run_folder import RunFolder, check_writable, list_runs, summarise

UID = "5267297b-0000-0000-0000-000000000000"
START = {"uid": UID, "time": 1_700_000_000.0, "plan_name": "deposit"}


def folder(root: Path, on_open: Callable[[Path, dict[str, Any]], None] | None = None) -> RunFolder:
    return RunFolder(
        root,
        station_toml="[station]\n",
        run_time=lambda moment: moment - START["time"],  # type: ignore[operator]
        on_open=on_open,
    )


def reading(t: float, current: float) -> dict[str, Any]:
    data = {"bias_setpoint": -5.0, "bias_voltage": -4.999, "bias_current": current}
    return {
        "descriptor": "d1",
        "time": START["time"] + t + 0.01,  # type: ignore[operator]
        "data": data,
        "timestamps": dict.fromkeys(data, START["time"] + t),  # type: ignore[operator]
    }


def test_a_run_is_kept_as_it_happens(tmp_path: Path) -> None:
    opened: list[Path] = []
    keeper = folder(tmp_path, lambda path, _: opened.append(path))
    keeper("start", START)
    keeper("descriptor", {"uid": "d1", "name": "readings", "data_keys": {}})
    keeper("event", reading(0.5, -2.5e-10))
    assert keeper.folder is not None
    assert opened == [keeper.folder]
    assert keeper.folder.name == "20231114T221320Z_deposit_5267297b"
    # Read before the run is closed: nothing waits in memory.
    rows = list(csv.DictReader((keeper.folder / "bias.csv").read_text().splitlines()))
    assert rows[0]["run_time_s"] == "0.5"
    assert float(rows[0]["current_A"]) == -2.5e-10
    assert summarise(keeper.folder).status == "not closed"
    keeper("stop", {"run_start": UID, "exit_status": "success"})
    text = (keeper.folder / "documents.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [name for name, _ in lines] == ["start", "descriptor", "event", "stop"]
    assert (keeper.folder / "station.toml").read_text() == "[station]\n"
    found, unreadable = list_runs(tmp_path)
    assert unreadable == []
    assert [(r.uid, r.status, r.readings, r.frames) for r in found] == [(UID, "success", 1, 0)]


def test_events_without_the_source_are_no_readings(tmp_path: Path) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    keeper("descriptor", {"uid": "d1", "name": "retracted", "data_keys": {}})
    keeper("event", {**reading(0.5, 1e-12), "data": {"probe_z_coarse": 3}})
    keeper("stop", {"exit_status": "success"})
    assert list_runs(tmp_path)[0][0].readings == 0


def test_numpy_values_are_written_as_plain_ones(tmp_path: Path) -> None:
    keeper = folder(tmp_path)
    keeper("start", {**START, "a": np.float64(1.5), "b": np.arange(3), "c": Path("x")})
    keeper.close()
    text = next(tmp_path.glob("*/documents.jsonl")).read_text()
    assert json.loads(text)[1]["b"] == [0, 1, 2]


def test_two_runs_get_two_folders(tmp_path: Path) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    keeper("stop", {"exit_status": "success"})
    keeper("start", {**START, "uid": "ffffffff-1"})
    keeper("stop", {"exit_status": "abort", "reason": "Ctrl-C"})
    assert [r.status for r in list_runs(tmp_path)[0]] == ["success", "abort"]


@pytest.mark.parametrize("room", [0, 20])
def test_a_disk_that_fills_up_ends_the_run_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    keeper("descriptor", {"uid": "d1", "name": "readings", "data_keys": {}})
    assert keeper.folder is not None
    before = {path.name: path.read_bytes() for path in keeper.folder.iterdir()}
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:room]))
    with pytest.raises(RecordingError, match="No space left on device") as caught:
        keeper("event", reading(0.1, 0.0))
    assert f"stmtem recover {keeper.folder}" in str(caught.value)
    keeper("event", reading(0.2, 0.0))  # nothing is open any more, and nothing is raised
    assert {path.name: path.read_bytes() for path in keeper.folder.iterdir()} == before


def test_a_run_that_is_being_recorded_is_held(tmp_path: Path) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    assert keeper.folder is not None
    documents = keeper.folder / "documents.jsonl"
    assert is_held(documents)
    keeper("stop", {"run_start": UID, "exit_status": "success"})
    assert not is_held(documents)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordingError, match="--out"):
        check_writable(tmp_path / "file" / "runs")


def test_a_full_disk_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 1_000_000))
    with pytest.raises(RecordingError, match="1 MB free"):
        check_writable(tmp_path)
    assert subject.FREE_BYTES > 1_000_000
    assert list(tmp_path.iterdir()) == []


def test_readings_of_the_approach_are_kept_too(tmp_path: Path) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    keeper("descriptor", {"uid": "d1", "name": "approach", "data_keys": {}})
    keeper("event", reading(0.5, 1e-12))
    assert keeper.folder is not None
    (row,) = csv.DictReader((keeper.folder / "bias.csv").read_text().splitlines())
    assert row["phase"] == "approach"
    keeper.close()


@pytest.mark.parametrize("text", ["", '["start", {"uid": "5267'])
def test_a_broken_run_does_not_hide_the_others(tmp_path: Path, text: str) -> None:
    keeper = folder(tmp_path)
    keeper("start", START)
    keeper("stop", {"exit_status": "success"})
    broken = tmp_path / "20000101T000000Z_broken"
    broken.mkdir()
    (broken / "documents.jsonl").write_text(text)
    runs, unreadable = list_runs(tmp_path)
    assert [run.uid for run in runs] == [UID]
    assert len(unreadable) == 1
    assert "20000101T000000Z_broken" in unreadable[0]


def test_a_folder_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="not a run folder"):
        summarise(tmp_path)


def test_a_page_of_readings_is_kept_row_by_row(tmp_path: Path) -> None:
    """As readings come that the source took into its own buffer."""
    keeper = RunFolder(
        tmp_path,
        station_toml="",
        run_time=lambda moment: moment - START["time"],  # type: ignore[operator]
    )
    keeper("start", START)
    keeper("descriptor", {"uid": "d1", "name": "readings", "data_keys": {}})
    data = {
        "bias_voltage": [-4.999, -5.001],
        "bias_current": [math.nan, -2e-10],
        "bias_in_compliance": [False, True],
        "bias_instrument_time": [12.25, 12.3],
        "bias_time_uncertainty": [1e-4, 2e-4],
        "camera_cycle": [2, 2],
    }
    moments = [START["time"] + 0.25, START["time"] + 0.3]  # type: ignore[operator]
    page = {
        "descriptor": "d1",
        "uid": ["a", "b"],
        "seq_num": [1, 2],
        "time": moments,
        "data": data,
        "timestamps": dict.fromkeys(data, moments),
        "filled": {},
    }
    keeper("event_page", page)
    keeper("event_page", {**page, "data": {"camera_frame": [1, 2]}})
    keeper("stop", {"exit_status": "success"})
    (path,) = tmp_path.glob("*/bias.csv")
    first, second = read_csv(path, BIAS_COLUMNS)
    assert math.isnan(first.pop("current_A"))
    assert math.isnan(first.pop("bias_set_V"))
    assert first == {
        "run_time_s": 0.25,
        "time_s": moments[0],
        "time_uncertainty_s": 1e-4,
        "instrument_time_s": 12.25,
        "voltage_V": -4.999,
        "in_compliance": False,
        "phase": "",
        "cycle": 2,
    }
    assert second["in_compliance"] is True
    assert list(second) == [column.name for column in BIAS_COLUMNS]
