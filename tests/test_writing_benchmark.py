"""The writers that are timed against each other write the same frames; nothing is timed here."""

import importlib.util
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks import writing
from benchmarks.frame_writers import WRITERS, frame_ring, writer
from benchmarks.writing import entropy_bytes
from stmtem_control.recording.frame_files import FrameFiles

NEEDS = {"suitcase-tiff stack": "suitcase", "h5py direct chunk": "h5py"}


@pytest.mark.parametrize("name", WRITERS)
def test_all_write_the_same(tmp_path: Path, name: str) -> None:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    ring = frame_ring(64, 6)
    try:
        with writer(name, tmp_path, 64) as push:
            push(ring[:2])
            push(ring[2:])
    except OSError as error:
        if name != "raw O_DIRECT":
            raise
        pytest.skip(f"no direct I/O here: {error}")
    (path,) = tmp_path.iterdir()
    if name.startswith("raw"):
        got = np.fromfile(path, np.uint16).reshape(6, 64, 64)
    elif name.startswith("PageWriter"):
        with FrameFiles(tmp_path) as files:
            got = files[:]
    elif name.startswith("h5py"):
        import h5py

        with h5py.File(path) as file:
            got = file["frames"][:]
    else:
        with tifffile.TiffFile(path) as tiff:
            got = np.concatenate([s.asarray().reshape(-1, 64, 64) for s in tiff.series])
    np.testing.assert_array_equal(got, ring)


def test_the_bound_is_the_entropy() -> None:
    assert entropy_bytes(np.arange(256).repeat(16)) == pytest.approx(4096.0)
    assert entropy_bytes(np.zeros(100, int)) == 0.0


def test_a_part_of_the_report(tmp_path: Path) -> None:
    bench = writing._Bench(1, tmp_path, writing.Size(pages=12))
    bench.page_cost()
    assert list(tmp_path.iterdir()) == []
    assert [target.what for target in bench.targets] == ["page of 64^2, us"]
    assert bench.targets[0].reached > 0.0
    for name in ("PageWriter", "PageWriter, batches", "raw buffered", "tifffile page + JSON"):
        assert f"| {name} |" in bench.tables[0]
    assert writing.versions()["tifffile"] == metadata.version("tifffile")
