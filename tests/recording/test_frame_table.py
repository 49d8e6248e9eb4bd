"""Tables that grow by whole lines, and are read back with their types."""

import csv
import errno
import json
import math
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.errors import RecordingError
from stmtem_control.recording import csv_table
from stmtem_control.recording.columns import COLUMNS, SCHEMA_VERSION
from stmtem_control.recording.frame_table import FrameTable, read_table, replace_table

ROW: dict[str, Any] = {
    "frame": 0,
    "sequence": 1,
    "dropped_before": 0,
    "camera_time_s": 1795000000.123457,
    "host_monotonic_s": 12.5,
    "host_time_s": 1795000000.2,
    "run_time_s": -0.25,
    "time_uncertainty_s": 1e-4,
    "time_source": "start",
    "exposure_s": 0.035,
    "phase": 'deposit, "slowly"',
    "cycle": 1,
    "bias_set_V": -5.0,
    "bias_edge": "edge",
    "voltage_V": -4.999,
    "voltage_std_V": math.nan,
    "current_A": -2.5e-10,
    "current_std_A": math.nan,
    "n_readings": 1,
    "compliance": True,
    "probe_x_V": 1.0,
    "probe_y_V": math.nan,
    "probe_z_V": 0.1 + 0.2,
    "probe_z_steps": -12,
    "blanked": False,
    "dose_rate_e_per_A2_s": 20.0,
    "dose_e_per_A2": 0.7,
    "total_dose_e_per_A2": 12.3,
    "dose_e_per_px": 280.0,
    "prior_dose_e_per_A2": 55.5,
    "calibration_age_s": 3600.0,
    "mean_counts": 8.25,
    "mode": "diffraction",
    "camera_length_m": 0.5,
    "site": "fibre 2",
    "beam_energy_keV": 200.0,
}


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{**ROW, "frame": i, "sequence": i + 1} for i in range(first, first + count)]


def same(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    # NaN differs from itself, its text does not.
    return [repr(sorted(row.items())) for row in a] == [repr(sorted(row.items())) for row in b]


def test_the_example_has_every_column() -> None:
    assert list(ROW) == [column.name for column in COLUMNS]
    assert all(type(ROW[column.name]) is column.kind for column in COLUMNS)


def test_rows_come_back_with_their_types(tmp_path: Path) -> None:
    table = FrameTable(tmp_path)
    table.append(rows(3))
    assert same(read_table(tmp_path), rows(3))  # while it is open
    table.append(rows(2, 3))
    table.close()
    table.close()
    assert table.count == 5
    assert same(read_table(tmp_path / "frames.csv"), rows(5))


def test_a_closed_table_goes_on_when_reopened(tmp_path: Path) -> None:
    table = FrameTable(tmp_path)
    table.append(rows(1))
    table.close()
    with pytest.raises(RecordingError, match="closed"):
        table.append(rows(1, 1))
    table.reopen()
    table.reopen()
    table.append(rows(1, 1))
    table.append([])
    table.close()
    assert same(read_table(tmp_path), rows(2))


def test_a_second_table_is_refused(tmp_path: Path) -> None:
    FrameTable(tmp_path).close()
    with pytest.raises(RecordingError, match="exists"):
        FrameTable(tmp_path)


def test_a_table_that_is_gone_cannot_be_reopened(tmp_path: Path) -> None:
    table = FrameTable(tmp_path)
    table.close()
    table.path.unlink()
    with pytest.raises(RecordingError, match="No such file"):
        table.reopen()


finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = {
    float: finite | st.just(math.nan),
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    str: texts,
}
any_row = st.fixed_dictionaries({column.name: VALUES[column.kind] for column in COLUMNS})


@given(st.lists(any_row, max_size=4))
def test_whatever_is_in_a_row_comes_back(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("table")
    replace_table(folder, given_rows)
    assert same(read_table(folder), given_rows)


# Disks that fill up


def test_usual_rows_take_the_quick_way_to_the_same_table(tmp_path: Path) -> None:
    """A text that CSV has to quote takes the other way, with all rows beside it."""
    usual = [{**row, "phase": "set -0.5 V"} for row in rows(3)]
    quoted = rows(3)
    quoted[1]["phase"] = 'a "quick", null way'
    for name, batch in (("usual", usual), ("quoted", quoted)):
        (tmp_path / name).mkdir()
        replace_table(tmp_path / name, batch)
        assert same(read_table(tmp_path / name), batch)
    names = [column.name for column in COLUMNS]
    assert csv_table._quick_cells(names, usual) is not None
    assert csv_table._quick_cells(names, quoted) is None
    assert csv_table._quick_cells(names, [usual[0], {**usual[1], "cycle": "a"}]) is None


@pytest.fixture
def file_size_limit() -> Iterator[Any]:
    """A function that limits the size of files, as a disk that fills up would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("room", [0, 1, 100, 1000])
def test_a_batch_that_does_not_fit_is_not_there_at_all(
    tmp_path: Path, file_size_limit: Any, room: int
) -> None:
    table = FrameTable(tmp_path)
    table.append(rows(4))
    size = table.path.stat().st_size
    file_size_limit(size + room)
    with pytest.raises(RecordingError, match="the 4 rows in it are safe"):
        table.append(rows(9, 4))
    assert table.path.stat().st_size == size
    file_size_limit(resource.RLIM_INFINITY)
    table.append(rows(1, 4))  # there is room again
    table.close()
    assert same(read_table(tmp_path), rows(5))


def test_a_full_disk_leaves_the_old_table(tmp_path: Path, file_size_limit: Any) -> None:
    replace_table(tmp_path, rows(2))
    file_size_limit(600)
    with pytest.raises(RecordingError, match="cannot be written"):
        replace_table(tmp_path, rows(50))
    file_size_limit(resource.RLIM_INFINITY)
    assert same(read_table(tmp_path), rows(2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames.csv", "frames.csv-metadata.json"]


def test_a_batch_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = FrameTable(tmp_path)
    sizes: list[int] = []
    write = os.write

    def counting(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counting)
    table.append(rows(100))
    table.close()
    assert len(sizes) == 1
    assert len(read_table(tmp_path)) == 100


def test_a_disk_error_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = FrameTable(tmp_path)

    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(RecordingError, match=r"frames\.csv cannot be written: Input/output error"):
        table.append(rows(1))
    table.close()


# Readers


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    FrameTable(tmp_path).close()
    table = tmp_path / "frames.csv"
    replace_table(tmp_path, rows(2))
    whole = table.read_bytes()
    for cut in (1, 5, 60):
        table.write_bytes(whole[:-cut])
        assert same(read_table(tmp_path), rows(1))


@pytest.mark.parametrize("text", ["frame,cycle\n0\n", "frame\nx\n", 'frame\n"0\n', "blanked\n1\n"])
def test_what_is_no_table_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "frames.csv").write_text(text)
    with pytest.raises(RecordingError, match="no table of this program"):
        read_table(tmp_path)


def test_a_table_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "frames.csv").write_text("frame,current_A,cycle,weather\n3,,,fair\n")
    (row,) = read_table(tmp_path)
    assert (row["frame"], row["cycle"], row["weather"]) == (3, None, "fair")
    assert math.isnan(row["current_A"])


def test_no_table_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        read_table(tmp_path)


def test_the_table_opens_in_other_readers(tmp_path: Path) -> None:
    """No option is needed: the first line holds the names, and in them the units."""
    table = FrameTable(tmp_path)
    table.append(rows(3))
    table.close()
    with open(table.path, encoding="utf-8", newline="") as file:
        assert [row["current_A"] for row in csv.DictReader(file)] == ["-2.5e-10"] * 3
    frame = pandas.read_csv(table.path)
    assert list(frame.columns) == [column.name for column in COLUMNS]
    assert frame["blanked"].dtype == bool
    assert frame["frame"].dtype == "int64"
    assert frame["current_A"].tolist() == [-2.5e-10] * 3
    assert frame["phase"].tolist() == [ROW["phase"]] * 3


def test_what_the_columns_mean_is_told_beside_the_table(tmp_path: Path) -> None:
    FrameTable(tmp_path).close()
    told = json.loads((tmp_path / "frames.csv-metadata.json").read_text("utf-8"))
    assert told["url"] == "frames.csv"
    assert told["schema:version"] == SCHEMA_VERSION
    described = told["tableSchema"]["columns"]
    assert [c["name"] for c in described] == [c.name for c in COLUMNS]
    assert [c.get("schema:unitText", "") for c in described] == [c.unit for c in COLUMNS]
    assert all(c["dc:description"].endswith(".") for c in described)
