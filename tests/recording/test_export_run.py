"""Runs in other formats, read back by the programs that they are for."""

import json
import math
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import tifffile

from stmtem_control.cli import main
from stmtem_control.errors import ConfigError, RecordingError
from stmtem_control.export_run import export_ome_tiff, export_parquet
from stmtem_control.recording.columns import BIAS_COLUMNS, COLUMNS
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import read_table

from .recorded_run import record

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return record(tmp_path)


@pytest.mark.parametrize("batch", [5, 50_000])
def test_parquet_has_types_units_and_the_same_rows(
    run: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.export_run.BATCH", batch)
    frames, bias = export_parquet(run)
    assert (frames.name, bias.name) == ("frames.parquet", "bias.parquet")
    table = pyarrow.parquet.read_table(frames)
    kinds = {float: "double", int: "int64", bool: "bool", str: "string"}
    for column in COLUMNS:
        field = table.schema.field(column.name)
        assert str(field.type) == kinds[column.kind]
        assert field.metadata[b"unit"].decode() == column.unit
        assert field.metadata[b"description"].decode() == column.about
    expected = [
        {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()}
        for row in read_table(run)
    ]
    assert table.to_pylist() == expected
    assert table.schema.metadata[b"stmtem_schema"] == b"2"
    assert json.loads(table.schema.metadata[b"start"])["plan_name"] == "deposit"
    assert pyarrow.parquet.read_schema(bias).names == [c.name for c in BIAS_COLUMNS]
    assert table.to_pandas()["blanked"].dtype == bool


def test_an_export_again_replaces_the_file(run: Path) -> None:
    before = {path.name for path in run.iterdir()}
    export_parquet(run)
    export_parquet(run)
    assert {path.name for path in run.iterdir()} - before == {"frames.parquet", "bias.parquet"}


def test_empty_tables_make_empty_files(tmp_path: Path) -> None:
    folder = record(tmp_path, frames=0)
    frames, _ = export_parquet(folder)
    assert pyarrow.parquet.read_table(frames).num_rows == 0
    for name in ("frames.csv", "bias.csv"):
        (folder / name).unlink()
    with pytest.raises(RecordingError, match="nothing to export"):
        export_parquet(folder)


def test_without_pyarrow_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"stmtem-control\[parquet\]"):
        export_parquet(run)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_ome_tiff_has_all_frames_with_their_times(tmp_path: Path, compression: str | None) -> None:
    run = record(tmp_path, compression=compression)
    target = export_ome_tiff(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(target) as file, FrameFiles(run) as frames:
        (series,) = file.series
        assert (series.axes, series.shape, series.dtype) == ("TYX", (12, 6, 8), np.uint16)
        np.testing.assert_array_equal(series.asarray(), frames[:])
        root = ElementTree.fromstring(file.ome_metadata or "")
    pixels = root.find(f".//{OME}Pixels")
    assert pixels is not None
    assert float(pixels.attrib["PhysicalSizeX"]) == float(pixels.attrib["PhysicalSizeY"]) == 0.5
    assert pixels.attrib["PhysicalSizeXUnit"] == "nm"
    assert float(pixels.attrib["TimeIncrement"]) == pytest.approx(0.1)
    planes = [plane.attrib for plane in root.iter(f"{OME}Plane")]
    rows = read_table(run)
    assert [int(plane["TheT"]) for plane in planes] == list(range(12))
    assert [float(plane["DeltaT"]) for plane in planes] == [row["run_time_s"] for row in rows]
    assert [float(plane["ExposureTime"]) for plane in planes] == [r["exposure_s"] for r in rows]
    assert {plane["DeltaTUnit"] for plane in planes} == {"s"}
    image = root.find(f"{OME}Image")
    assert image is not None
    assert image.attrib["Name"] == run.name
    assert json.loads(image.findtext(f"{OME}Description") or "")["plan_name"] == "deposit"


def test_ome_tiff_holds_one_frame_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    get = FrameFiles.__getitem__

    def noting(self: FrameFiles, index: Any) -> Any:
        asked.append(index)
        return get(self, index)

    monkeypatch.setattr(FrameFiles, "__getitem__", noting)
    export_ome_tiff(run, run / "all.ome.tif")
    assert asked == list(range(12))


def test_a_target_that_cannot_be_written_is_told(run: Path, tmp_path: Path) -> None:
    before = (run / "frames_0000.tif").read_bytes()
    for name in ("frames_0000.tif", "frames_0001.tif", "documents.jsonl"):
        with pytest.raises(RecordingError, match="whose own files shall stay"):
            export_ome_tiff(run, run / name)
    assert (run / "frames_0000.tif").read_bytes() == before
    with pytest.raises(RecordingError, match=r"run\.ome\.tif cannot be written: No such file"):
        export_ome_tiff(run, tmp_path / "nowhere" / "run.ome.tif")


def test_a_run_without_frames_or_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no frames"):
        export_ome_tiff(record(tmp_path, frames=0), tmp_path / "x.tif")
    with pytest.raises(RecordingError, match="stmtem recover"):
        export_ome_tiff(record(tmp_path, settled=0, stopped=False), tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()
    with pytest.raises(RecordingError, match="not a run folder"):
        export_ome_tiff(tmp_path, tmp_path / "x.tif")


def test_the_command_says_what_it_wrote(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run)]) == 2
    assert "--parquet" in capsys.readouterr().err
    target = run / "all.ome.tif"
    assert main(["export", str(run), "--parquet", "--ome-tiff", str(target)]) == 0
    written = capsys.readouterr().out.splitlines()
    assert written == [str(run / "frames.parquet"), str(run / "bias.parquet"), str(target)]
    assert all(Path(path).exists() for path in written)
