"""Compressed frames: without loss, any of them at once, near the entropy of the counts."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from stmtem_control.errors import RecordingError
from stmtem_control.recording.compressed_pages import Codec, decode
from stmtem_control.recording.frame_files import FrameFiles, frame_files
from stmtem_control.recording.page_chain import complete_pages, read_chain, truncate_torn
from stmtem_control.recording.page_layout import DEFLATE, ZSTD

from .pictures import make_writer, row

Make = Callable[..., Any]
CODECS = pytest.mark.parametrize("compression", ["zstd", "deflate"])


def counts(n: int, mean: float, shape: tuple[int, int] = (64, 80)) -> NDArray[np.uint16]:
    return np.random.default_rng(3).poisson(mean, (n, *shape)).astype(np.uint16)


def write(folder: Path, images: NDArray[Any], **options: Any) -> Any:
    writer = make_writer(folder, shape=images.shape[1:], dtype=images.dtype, **options)
    writer.write([(image, row(i)) for i, image in enumerate(images[:1])])
    writer.write([(image, row(i)) for i, image in enumerate(images[1:], 1)])
    return writer


@CODECS
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("method", ["auto", "direct"])
def test_every_frame_comes_back(tmp_path: Path, compression: str, dtype: str, method: str) -> None:
    images = counts(8, 6.0).astype(dtype)
    writer = write(tmp_path, images, compression=compression, method=method)
    writer.amend(4, row(4, settled=True))
    writer.close()
    with FrameFiles(tmp_path) as got:
        assert got.dtype == images.dtype
        np.testing.assert_array_equal(got[:], images)
        np.testing.assert_array_equal(got[5], images[5])
        assert got.row(4)["settled"]
    for path in frame_files(tmp_path):
        assert truncate_torn(path) == complete_pages(path)


@CODECS
def test_frames_with_large_counts_are_kept_too(tmp_path: Path, compression: str) -> None:
    """Rare: 16 bit pages among those of 8 bit; nobody is told of one series then."""
    images = counts(9, 6.0)
    images[4, 3, 5] = 256
    images[6, 0, 0] = 65535
    writer = write(tmp_path, images, compression=compression, frames_per_file=3)
    writer.close()
    with FrameFiles(tmp_path) as got:
        np.testing.assert_array_equal(got[:], images)
        assert {frame.dtype for frame in got} == {np.dtype("u2")}
    series: list[int] = []
    for path in frame_files(tmp_path):
        with tifffile.TiffFile(path) as tiff:
            for page, number in zip(tiff.pages, range(3 * len(series), 9), strict=False):
                np.testing.assert_array_equal(page.asarray(), images[number])
            series.append(len(tiff.series))
    assert series == [1, 2, 2]


@pytest.mark.parametrize("mean", [5.0, 10.0, 50.0])
def test_zstd_comes_near_the_entropy(mean: float) -> None:
    (image,) = counts(1, mean, (1024, 1024))
    times = np.bincount(image.ravel())
    p = times[times > 0] / image.size
    bound = -(p * np.log2(p)).sum() * image.size / 8.0  # bytes; zeroth order
    codec = Codec("zstd", image.dtype)
    ((data, bits),) = codec.encode([image])
    assert bits == 8
    assert bound / data.nbytes >= 0.95


def test_threads_end_with_the_writer(tmp_path: Path) -> None:
    images = counts(8, 6.0)
    writer = write(tmp_path, images, compression="deflate", threads=3)
    writer.close()  # the rule of all tests: nothing is left running
    writer.reopen()
    writer.write([(images[0], row(8))])
    writer.close()
    with FrameFiles(tmp_path) as got:
        assert [int(g[5, 5]) for g in got] == [*images[:, 5, 5].tolist(), int(images[0, 5, 5])]


def test_what_is_missing_or_damaged_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, counts(2, 6.0), compression="zstd").close()
    path = tmp_path / "frames_0000.tif"
    page = read_chain(path).pages[1]
    with open(path, "r+b") as file:
        file.seek(page.data)
        file.write(os.urandom(page.data_bytes))
    with FrameFiles(tmp_path) as got, pytest.raises(RecordingError, match="damaged"):
        got[1]
    with pytest.raises(RecordingError, match="damaged"):
        decode(b"no", DEFLATE)
    with pytest.raises(RecordingError, match="compression, 5,"):
        decode(b"", 5)
    with pytest.raises(ValueError, match="only unsigned counts"):
        make_writer(tmp_path, dtype="f4", compression="zstd")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for use in (lambda: decode(b"", ZSTD), lambda: Codec("zstd", np.dtype("u2"))):
        with pytest.raises(RecordingError, match=r"stmtem-control\[compression\]"):
            use()


def test_rows_are_as_in_other_files(tmp_path: Path) -> None:
    write(tmp_path, counts(3, 2.0), compression="deflate").close()
    with tifffile.TiffFile(tmp_path / "frames_0000.tif") as tiff:
        rows = [json.loads(page.aspage().tags[65000].value) for page in tiff.pages]
    assert [r["frame"] for r in rows] == [0, 1, 2]
