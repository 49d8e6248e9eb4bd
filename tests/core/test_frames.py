"""Frames on disk: whole at any moment, and open in other programs with their axes."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from stmtem_control.errors import RecordingError
from stmtem_control.frames import (
    TABLE,
    Column,
    FrameWriter,
    frame_files,
    read_frames,
    read_rows,
)

COLUMNS = (
    Column("frame", int, "", "Number in the run."),
    Column("run_time_s", float, "s", "Start of exposure."),
    Column("phase", str),
    Column("blanked", bool),
)


def image(i: int, shape: tuple[int, int] = (20, 30), dtype: str = "u2") -> NDArray[Any]:
    """Return a picture that tells which it is, and which way up."""
    picture = np.arange(shape[0] * shape[1], dtype=dtype).reshape(shape)
    picture[0, 0] = i
    return picture


def row(i: int) -> dict[str, Any]:
    """Return the row of a frame."""
    return {
        "frame": i,
        "run_time_s": np.float64(0.04 * i),
        "phase": "deposit, first",
        "blanked": np.bool_(i == 0),
    }


def writer(folder: Path, **changes: Any) -> FrameWriter:
    """Return a writer of small frames, three in a file."""
    options: dict[str, Any] = {
        "shape": (20, 30),
        "dtype": "u2",
        "pixel_size_nm": 2.5,
        "frame_interval_s": 0.04,
        "frames_per_file": 3,
        "columns": COLUMNS,
    }
    return FrameWriter(folder, **{**options, **changes})


def test_everything_can_be_read_at_any_moment(tmp_path: Path) -> None:
    frames = writer(tmp_path)
    for i in range(8):
        frames.write(image(i), row(i))
        got = list(read_frames(tmp_path))
        assert [frame[0, 0] for frame in got] == list(range(i + 1))
        np.testing.assert_array_equal(got[-1], image(i))
        assert [r["frame"] for r in read_rows(tmp_path)] == list(range(i + 1))
        with open(tmp_path / TABLE, encoding="utf-8", newline="") as file:
            assert [int(r["frame"]) for r in csv.DictReader(file)] == list(range(i + 1))
    assert frames.count == 8
    assert [path.name for path in frame_files(tmp_path)] == [
        f"frames_{i:04d}.tif" for i in range(3)
    ]
    frames.close()
    frames.close()
    assert len(list(read_frames(tmp_path))) == 8


def test_rows_in_the_pages_and_in_the_table_are_the_same(tmp_path: Path) -> None:
    frames = writer(tmp_path)
    frames.write(image(0), {**row(0), "run_time_s": float("nan")})
    frames.write(image(1), row(1))
    frames.close()
    with open(tmp_path / TABLE, encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    assert table == [
        ["frame", "run_time_s", "phase", "blanked"],
        ["0", "", "deposit, first", "true"],
        ["1", "0.04", "deposit, first", "false"],
    ]
    assert list(read_rows(tmp_path)) == [
        {"frame": 0, "run_time_s": None, "phase": "deposit, first", "blanked": True},
        {"frame": 1, "run_time_s": 0.04, "phase": "deposit, first", "blanked": False},
    ]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_every_depth_comes_back(tmp_path: Path, dtype: str) -> None:
    frames = writer(tmp_path, dtype=dtype)
    frames.write(image(7, dtype=dtype), row(0))
    frames.close()
    (got,) = read_frames(tmp_path)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, image(7, dtype=dtype))


def test_one_file_is_one_series_with_axes(tmp_path: Path) -> None:
    """What ImageJ and tifffile see, also before the file is closed."""
    frames = writer(tmp_path, frames_per_file=10)
    for i in range(4):
        frames.write(image(i), row(i))
    with tifffile.TiffFile(tmp_path / "frames_0000.tif") as tiff:
        assert not tiff.is_bigtiff
        assert (tiff.series[0].shape, tiff.series[0].axes) == ((4, 20, 30), "TYX")
        header = tiff.imagej_metadata
        assert header is not None
        assert (header["images"], header["unit"], header["finterval"]) == (4, "nm", 0.04)
        # "ImageJ=" and a newline: ImageJ then follows the pages, which do not lie side by side.
        assert tiff.pages[0].aspage().description.startswith("ImageJ=\nimages=")
        numerator, denominator = tiff.pages[0].aspage().tags["XResolution"].value
        assert denominator / numerator == pytest.approx(2.5)
    frames.close()


def test_hyperspys_reader_finds_nm_and_s(tmp_path: Path) -> None:
    reader = pytest.importorskip("rsciio.tiff")
    frames = writer(tmp_path)
    for i in range(2):
        frames.write(image(i), row(i))
    frames.close()
    (signal_,) = reader.file_reader(str(tmp_path / "frames_0000.tif"))
    axes = [(a["name"], a["size"], a["scale"], a["units"]) for a in signal_["axes"]]
    assert axes == [("time", 2, 0.04, "s"), ("height", 20, 2.5, "nm"), ("width", 30, 2.5, "nm")]
    np.testing.assert_array_equal(signal_["data"][1], image(1))


def test_files_stay_below_what_viewers_open(tmp_path: Path) -> None:
    frames = writer(tmp_path, shape=(4096, 4096), frames_per_file=1000)
    assert frames.frames_per_file == 104  # 3.5 GB of 32 MiB each
    frames.close()


def test_a_killed_process_leaves_whole_frames(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from stmtem_control.frames import Column, FrameWriter\n"
        "w = FrameWriter(Path(sys.argv[1]), shape=(64, 64), dtype='u2', pixel_size_nm=1.0,\n"
        "    frame_interval_s=0.1, frames_per_file=50, columns=[Column('frame', int)])\n"
        "for i in range(100000):\n"
        "    w.write(np.full((64, 64), i, np.uint16), {'frame': i})\n"
        "    print(i, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = -1
        for line in process.stdout:
            told = int(line)
            if told >= 120:
                process.send_signal(signal.SIGKILL)
                break
        told = max([told, *map(int, process.stdout.read().split())])
    got = [int(frame[0, 0]) for frame in read_frames(tmp_path)]
    assert len(got) in (told + 1, told + 2)
    assert got == list(range(len(got)))
    rows = (tmp_path / TABLE).read_text("utf-8").splitlines()[1:]
    assert len(got) - 1 <= len(rows) <= len(got)


def full_disk_after(monkeypatch: pytest.MonkeyPatch, suffix: str) -> Callable[[], None]:
    """Make writes to files with that suffix fail half way, as on a full disk, when called."""
    real = os.pwrite
    full: list[bool] = []

    def pwrite(descriptor: int, data: Any, place: int) -> int:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if full and name.endswith(suffix) and place >= os.fstat(descriptor).st_size:
            real(descriptor, bytes(data)[: len(data) // 2], place)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", pwrite)
    return lambda: full.append(True)


@pytest.mark.parametrize("suffix", [".tif", ".csv"])
def test_a_full_disk_is_told_and_nothing_is_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    fill = full_disk_after(monkeypatch, suffix)
    frames = writer(tmp_path)
    for i in range(2):
        frames.write(image(i), row(i))
    fill()
    with pytest.raises(RecordingError) as caught:
        frames.write(image(2), row(2))
    assert "frame 2 cannot be written" in str(caught.value)
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    frames.close()
    assert [frame[0, 0] for frame in read_frames(tmp_path)] == [0, 1]
    assert len((tmp_path / TABLE).read_text("utf-8").splitlines()) == 3
    with tifffile.TiffFile(tmp_path / "frames_0000.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["images"] == 2


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file or directory"):
        writer(tmp_path / "gone")


def test_frames_are_never_overwritten(tmp_path: Path) -> None:
    frames = writer(tmp_path)
    frames.write(image(0), row(0))
    frames.close()
    with pytest.raises(RecordingError, match="frames already"):
        writer(tmp_path)
    with pytest.raises(RecordingError, match="closed"):
        frames.write(image(1), row(1))


def test_closed_files_can_be_gone_on_with(tmp_path: Path) -> None:
    """The next page goes behind the last, so that a frame's number tells its file and page."""
    frames = writer(tmp_path)
    for i in range(8):
        if i in (1, 2, 3, 7):
            frames.close()
            frames.reopen()
            frames.reopen()
        frames.write(image(i), row(i))
        assert [frame[0, 0] for frame in read_frames(tmp_path)] == list(range(i + 1))
    frames.close()
    assert [r["frame"] for r in read_rows(tmp_path)] == list(range(8))
    assert len((tmp_path / TABLE).read_text("utf-8").splitlines()) == 9
    counts = []
    for path in frame_files(tmp_path):
        with tifffile.TiffFile(path) as tiff:
            assert tiff.imagej_metadata is not None
            counts.append((tiff.imagej_metadata["images"], tiff.series[0].axes))
    assert counts == [(3, "TYX"), (3, "TYX"), (2, "TYX")]
    (tmp_path / TABLE).unlink()
    with pytest.raises(RecordingError, match="frame 8 cannot be written"):
        frames.reopen()


@pytest.mark.parametrize("suffix", [".tif", ".csv"])
@pytest.mark.parametrize("page", [0, 1])
def test_after_a_full_disk_it_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, page: int
) -> None:
    frames = writer(tmp_path)
    for i in range(3 + page):
        frames.write(image(i), row(i))
    with monkeypatch.context() as patch:
        full_disk_after(patch, suffix)()
        with pytest.raises(RecordingError, match="No space left"):
            frames.write(image(3 + page), row(3 + page))
    assert len(list(read_frames(tmp_path))) == len(list(read_rows(tmp_path))) == 3 + page
    frames.write(image(3 + page), row(3 + page))
    frames.close()
    assert [frame[0, 0] for frame in read_frames(tmp_path)] == list(range(4 + page))
    assert len((tmp_path / TABLE).read_text("utf-8").splitlines()) == 5 + page


def test_another_shape_is_refused(tmp_path: Path) -> None:
    frames = writer(tmp_path)
    with pytest.raises(ValueError, match="frame 0 is"):
        frames.write(image(0, shape=(30, 20)), row(0))
    frames.close()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "frames_0000.tif").write_bytes(b"not a TIFF file")
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_frames(tmp_path))
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_rows(tmp_path))


def test_rows_hold_what_json_knows(tmp_path: Path) -> None:
    frames = writer(tmp_path)
    frames.write(image(0), row(0))
    frames.close()
    with tifffile.TiffFile(tmp_path / "frames_0000.tif") as tiff:
        text = tiff.pages[0].aspage().tags[65000].value
    assert json.loads(text)["phase"] == "deposit, first"
