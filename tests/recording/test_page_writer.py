"""Frames on disk: whole at any moment, in files of a bounded size, with rows that can change."""

import errno
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.errors import RecordingError
from stmtem_control.recording import direct_io
from stmtem_control.recording.direct_io import aligned_memory, direct_works
from stmtem_control.recording.frame_files import FrameFiles, frame_files, read_frames, read_rows
from stmtem_control.recording.page_writer import ROW_BYTES, PageWriter, open_writer

from .pictures import frames, make_writer, picture, row

METHODS = pytest.mark.parametrize("method", ["direct", "buffered", "tifffile"])
Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what makes a writer, in the test's own folder by default."""

    def made(folder: Path = tmp_path, **changes: Any) -> Any:
        return make_writer(folder, **changes)

    return made


def numbers(folder: Path) -> list[int]:
    """Return which frames can be read, by the frames themselves."""
    return [int(frame[0, 0]) for frame in read_frames(folder)]


@METHODS
def test_everything_can_be_read_at_any_moment(tmp_path: Path, make: Make, method: str) -> None:
    writer = make(method=method)
    for first, stop in ((0, 1), (1, 2), (2, 7), (7, 8)):
        writer.write(frames(first, stop))
        assert writer.count == stop
        assert numbers(tmp_path) == [r["frame"] for r in read_rows(tmp_path)] == list(range(stop))
        pages = []
        for path in frame_files(tmp_path):
            with tifffile.TiffFile(path) as tiff:
                pages += [page.asarray() for page in tiff.pages]
                np.testing.assert_array_equal(tiff.asarray(), np.squeeze(pages[-len(tiff.pages) :]))
        np.testing.assert_array_equal(pages, [picture(i) for i in range(stop)])
    assert [path.name for path in frame_files(tmp_path)] == [
        f"frames_{i:04d}.tif" for i in range(3)
    ]
    writer.close()
    writer.close()
    assert numbers(tmp_path) == list(range(8))
    assert sorted(tmp_path.iterdir()) == frame_files(tmp_path)  # nothing else is left


@METHODS
def test_rows_change_in_place(tmp_path: Path, make: Make, method: str) -> None:
    writer = make(method=method)
    writer.write(frames(0, 20))
    size = [path.stat().st_size for path in frame_files(tmp_path)]
    for i in (0, 1, 2, 3, 4, 18, 19):  # of files that are forgotten, closed and open
        writer.amend(i, row(i, settled=True))
    writer.write(frames(20, 21))
    writer.amend(20, row(20, settled=True))
    writer.close()
    writer.amend(5, row(5, settled=True))
    found = list(read_rows(tmp_path))
    assert [r["frame"] for r in found] == list(range(21))
    settled = [r["frame"] for r in found if r.get("settled")]
    assert settled == [0, 1, 2, 3, 4, 5, 18, 19, 20]
    assert numbers(tmp_path) == list(range(21))
    assert [path.stat().st_size for path in frame_files(tmp_path)][:6] == size[:6]
    with pytest.raises(ValueError, match="frame 21 is not on disk"):
        writer.amend(21, b"{}")
    with pytest.raises(ValueError, match=f"{ROW_BYTES + 1} bytes"):
        writer.amend(3, b"x" * (ROW_BYTES + 1))
    (tmp_path / "frames_0000.tif").unlink()
    with pytest.raises(RecordingError, match="row of frame 0 cannot be replaced"):
        writer.amend(0, b"{}")


@pytest.mark.parametrize("method", ["direct", "buffered"])
def test_rows_of_several_files_change_at_once(tmp_path: Path, make: Make, method: str) -> None:
    writer = make(method=method)
    writer.write(frames(0, 8))
    assert writer.unsynced() == frame_files(tmp_path)
    writer.amend_rows(2, [row(i, settled=True) for i in range(2, 7)])
    assert writer.unsynced() == frame_files(tmp_path)
    for first, count in ((5, 4), (8, 1), (-1, 2)):
        with pytest.raises(ValueError, match="is not on disk, 8 are"):
            writer.amend_rows(first, [b"{}"] * count)
    assert writer.unsynced() == []
    writer.write(frames(8, 9))
    writer.close()
    settled = [r["frame"] for r in read_rows(tmp_path) if r.get("settled")]
    assert settled == [2, 3, 4, 5, 6]
    assert numbers(tmp_path) == list(range(9))
    assert writer.unsynced() == []


@METHODS
def test_closed_files_can_be_gone_on_with(tmp_path: Path, make: Make, method: str) -> None:
    """The next page goes behind the last, so that a frame's number tells its file and page."""
    writer = make(method=method)
    for i in range(8):
        if i in (1, 2, 3, 7):
            writer.close()
            with pytest.raises(RecordingError, match="closed; reopen"):
                writer.write(frames(i, i + 1))
            writer.reopen()
            writer.reopen()
        writer.write(frames(i, i + 1))
        assert numbers(tmp_path) == list(range(i + 1))
    writer.close()
    assert [r["frame"] for r in read_rows(tmp_path)] == list(range(8))
    told = []
    for path in frame_files(tmp_path):
        with tifffile.TiffFile(path) as tiff:
            assert tiff.imagej_metadata is not None
            told.append((tiff.imagej_metadata["frames"], tiff.series[0].axes))
    assert told == [(3, "TYX"), (3, "TYX"), (2, "TYX")]
    (tmp_path / "frames_0002.tif").unlink()
    with pytest.raises(RecordingError, match="frame 8 cannot be written"):
        writer.reopen()


@METHODS
def test_what_does_not_fit_is_refused(tmp_path: Path, make: Make, method: str) -> None:
    writer = make(method=method)
    with pytest.raises(ValueError, match="frame 0 is"):
        writer.write([(picture(0, (30, 20)), b"{}")])
    with pytest.raises(ValueError, match="frame 0 is"):
        writer.write([(picture(0, dtype="u1"), b"{}")])
    with pytest.raises(ValueError, match=f"{ROW_BYTES} are the most"):
        writer.write([(picture(0), b"x" * (ROW_BYTES + 1))])
    writer.write([(picture(0), b"[" + b"1," * 1600 + b"1]")])
    writer.close()
    assert [len(r) for r in read_rows(tmp_path)] == [1601]
    with pytest.raises(RecordingError, match="frames already"):
        make(method=method)
    with pytest.raises(RecordingError, match="No such file or directory"):
        make(tmp_path / "gone", method=method)


def test_options_that_there_are_not(tmp_path: Path, make: Make) -> None:
    with pytest.raises(ValueError, match="method must be"):
        make(method="fast")
    with pytest.raises(ValueError, match="compression must be"):
        make(compression="lzw")
    with pytest.raises(ValueError, match="does not compress"):
        make(method="tifffile", compression="zstd")


@METHODS
def test_the_folder_that_is_gone(tmp_path: Path, make: Make, method: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    writer = make(folder, method=method)
    folder.rmdir()
    with pytest.raises(RecordingError, match="frame 0 cannot be written"):
        writer.write(frames(0, 1))
    writer.close()
    with pytest.raises(RecordingError, match="frame 0 cannot be written"):
        writer.reopen()
    folder.mkdir()
    writer.reopen()
    writer.write(frames(0, 2))
    writer.close()
    assert numbers(folder) == [0, 1]


@pytest.mark.parametrize("place", [0, 8, 4096])
def test_frames_need_not_be_aligned(tmp_path: Path, make: Make, place: int) -> None:
    shape = (64, 96)  # three blocks
    memory = np.frombuffer(aligned_memory(4 * 12288 + place), np.uint8)
    images = memory[place : place + 4 * 12288].view("u2").reshape(4, *shape)
    images[:] = np.arange(4)[:, None, None]
    writer = make(shape=shape, method="direct")
    writer.write([(image, row(i)) for i, image in enumerate(images)])
    writer.write([(np.asfortranarray(images[1]), row(4)), (images[::2][1], row(5))])
    writer.close()
    assert numbers(tmp_path) == [0, 1, 2, 3, 1, 2]


def test_direct_where_it_works_and_pays(tmp_path: Path, make: Make) -> None:
    works = direct_works(tmp_path)
    assert sorted(tmp_path.iterdir()) == []
    assert make(method="auto").direct is False  # 1200 bytes
    assert make(method="direct").direct is works
    large = make(shape=(1024, 512), method="auto")
    assert large.direct is works
    assert make(shape=(1024, 512), method="buffered").direct is False
    assert direct_works(tmp_path / "gone") is False


def test_without_direct_io_frames_go_through_the_cache(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_io, "_DIRECT", 0)
    monkeypatch.delattr(os, "pwritev")
    writer = make(method="direct")
    assert writer.direct is False
    writer.write(frames(0, 5))
    writer.close()
    assert numbers(tmp_path) == list(range(5))


@pytest.mark.parametrize("method", ["direct", "buffered"])
def test_interrupted_and_short_writes_are_gone_on_with(
    tmp_path: Path, make: Make, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.pwritev, [0]

    def pwritev(descriptor: int, buffers: Any, place: int) -> int:
        calls[0] += 1
        if calls[0] % 3 == 1:
            raise InterruptedError
        if calls[0] % 3 == 2 and len(buffers) > 1:
            return real(descriptor, buffers[: len(buffers) // 2], place)
        return real(descriptor, [memoryview(buffers[0])[:4096], *buffers[1:]][:1], place)

    monkeypatch.setattr(os, "pwritev", pwritev)
    writer = make(shape=(64, 96), method=method)
    writer.write([(picture(i, (64, 96)), row(i)) for i in range(5)])
    writer.close()
    assert calls[0] >= 15
    assert numbers(tmp_path) == [r["frame"] for r in read_rows(tmp_path)] == list(range(5))


def test_the_cache_is_told_to_write_early(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_io, "WRITE_BACK_BYTES", 100_000)
    dropped: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, place, size, advice: dropped.append((place, size))
    )
    writer = make(method="buffered", frames_per_file=100)
    for i in range(80):
        writer.write(frames(i, i + 1))
    writer.close()
    assert len(dropped) >= 4
    assert all(a[0] + a[1] == b[0] for a, b in pairwise(dropped))
    assert numbers(tmp_path) == list(range(80))


@pytest.mark.parametrize("method", ["direct", "buffered"])
def test_sync_says_what_the_disk_says(
    make: Make, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = make(method=method)
    writer.sync()
    writer.write(frames(0, 1))
    writer.sync()
    assert writer.unsynced() == []
    writer.write(frames(1, 2))

    def fdatasync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fdatasync)
        with pytest.raises(RecordingError, match="the 2 frames before it are safe"):
            writer.sync()
        with pytest.raises(RecordingError, match="cannot be closed: Input/output error"):
            writer.close()
    writer.close()


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    dtype=st.sampled_from(["u1", "u2", "u4", "i4", "f4"]),
    batches=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    per_file=st.integers(1, 7),
    method=st.sampled_from(["direct", "buffered", "tifffile"]),
    reopen=st.sets(st.integers(0, 6)),
)
def test_whatever_is_written_comes_back(
    shape: tuple[int, int],
    dtype: str,
    batches: list[int],
    per_file: int,
    method: Any,
    reopen: set[int],
) -> None:
    images = np.random.default_rng(1).integers(0, 120, (sum(batches), *shape)).astype(dtype)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = open_writer(
            folder,
            shape=shape,
            dtype=dtype,
            pixel_size_nm=1.0,
            frame_interval_s=0.1,
            frames_per_file=per_file,
            method=method,
        )
        done = 0
        for i, batch in enumerate(batches):
            if i in reopen:
                writer.close()
                writer.reopen()
            writer.write([(images[k], row(k)) for k in range(done, done + batch)])
            done += batch
        writer.close()
        with FrameFiles(folder) as got:
            np.testing.assert_array_equal(got[:], images)
            assert got.dtype == images.dtype
        by_tifffile = np.concatenate(
            [tifffile.imread(path).reshape(-1, *shape) for path in frame_files(folder)]
        )
        np.testing.assert_array_equal(by_tifffile, images)
        assert [r["frame"] for r in read_rows(folder)] == list(range(done))


def test_one_call_adds_several_frames(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = os.pwritev

    def pwritev(descriptor: int, buffers: Any, place: int) -> int:
        sizes.append(sum(len(memoryview(b).cast("B")) for b in buffers))
        return real(descriptor, buffers, place)

    writer = make(frames_per_file=100)
    assert isinstance(writer, PageWriter)
    writer.write(frames(0, 2))
    monkeypatch.setattr(os, "pwritev", pwritev)
    writer.write(frames(2, 12))
    assert sizes == [10 * (2 * 4096), 4096]  # the pages, then the link to them
    writer.close()
    assert numbers(tmp_path) == list(range(12))
