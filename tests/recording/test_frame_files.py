"""Any frame of a run at once, also while more are recorded."""

from pathlib import Path

import numpy as np
import pytest

from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import FrameFiles, read_frames, read_rows

from .pictures import frames, make_writer, picture

METHODS = pytest.mark.parametrize("method", ["direct", "buffered", "tifffile"])


@METHODS
def test_a_run_that_grows(tmp_path: Path, method: str) -> None:
    writer = make_writer(tmp_path, method=method)
    run = FrameFiles(tmp_path)
    assert len(run) == 0
    with pytest.raises(RecordingError, match="there are no frames"):
        _ = run.dtype
    for count in range(1, 9):
        writer.write(frames(count - 1, count))
        np.testing.assert_array_equal(run[count - 1], picture(count - 1))
        assert len(run) == count
        assert int(run[-1][0, 0]) == count - 1
    assert run.shape == (8, 20, 30)
    assert run.dtype == np.dtype("u2")
    writer.close()
    assert [int(frame[0, 0]) for frame in run] == list(range(8))
    run.close()


def test_slices(tmp_path: Path) -> None:
    make_writer(tmp_path, frames_per_file=4).write(frames(0, 10))
    run, expected = FrameFiles(tmp_path), np.array([picture(i) for i in range(10)])
    for part in (
        slice(None),
        slice(1, 3),
        slice(4, 8, 2),
        slice(2, 7),
        slice(None, None, -3),
        slice(-2, None),
        slice(5, 5),
        slice(20, 30),
    ):
        np.testing.assert_array_equal(run[part], expected[part])
    within = run[4:8]
    assert within.base is not None  # shown where it lies, not copied
    assert not within.flags.writeable
    assert not run[0].flags.writeable
    assert within.strides[0] == 2 * 4096
    for wrong in (10, -11):
        with pytest.raises(IndexError, match=f"frame {wrong} of 10"):
            run[wrong]
    assert run.place(5) == (tmp_path / "frames_0001.tif", 1)
    run.close()
    np.testing.assert_array_equal(within, expected[4:8])  # what was taken stays


def test_rows(tmp_path: Path) -> None:
    make_writer(tmp_path).write(frames(0, 5))
    with FrameFiles(tmp_path) as run:
        assert run.row(-1) == {"frame": 4, "run_time_s": 0.16}
        assert [r["frame"] for r in run.rows(2)] == [2, 3, 4]
    path = tmp_path / "frames_0000.tif"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'{"frame": 1', b'{"frame"# 1'))
    with FrameFiles(tmp_path) as run, pytest.raises(RecordingError, match="page 1 is damaged"):
        run.row(1)


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no such folder"):
        len(FrameFiles(tmp_path / "gone"))
    assert list(read_frames(tmp_path)) == list(read_rows(tmp_path)) == []
    (tmp_path / "frames_0000.tif").write_bytes(b"not a TIFF file")
    with pytest.raises(RecordingError, match=r"frames_0000.tif cannot be read: not a little"):
        list(read_frames(tmp_path))
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read_rows(tmp_path))


def test_a_file_that_is_gone_does_not_shift_the_others(tmp_path: Path) -> None:
    writer = make_writer(tmp_path, frames_per_file=2)
    writer.write(frames(0, 5))
    writer.close()
    (tmp_path / "frames_0001.tif").unlink()
    with (
        FrameFiles(tmp_path) as run,
        pytest.raises(RecordingError, match=r"frames_0001.tif is missing, and frames_0002.tif"),
    ):
        run[2]
