"""Frames and table come back through a Tiled client as they are on disk, and only what is asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.frame_files import FrameFiles

from .recorded_run import RecordedRun, frame

Record = Callable[..., RecordedRun]


def test_frames_and_table_are_those_on_disk(client: Any, registrar: Any, record: Record) -> None:
    run = record()
    run.record(5)
    run.read_source(0)  # an int in JSON ...
    run.read_source(-1.5e-9)  # ... must not make the column one of ints
    run.record(14)
    run.stop()
    assert str(registrar.step()) == "1 runs registered"
    frames = client[run.uid]["frames"]
    with FrameFiles(run.folder) as on_disk:
        read = frames["camera_image"][:]
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, on_disk[:])
    table = frames.base["internal"].read()
    for column in COLUMNS:
        expected = [row[column.name] for row in run.rows]
        found = table[f"camera_{column.name}"]
        if column.kind is str:
            assert list(found) == expected
        else:
            np.testing.assert_array_equal(found.to_numpy(), expected)
            assert found.dtype.kind == {float: "f", int: "i", bool: "b"}[column.kind]
    assert list(table["seq_num"]) == list(range(1, 20))
    readings = client[run.uid]["readings"].base["internal"].read()
    assert list(readings["bias_current"]) == [0.0, -1.5e-9]


def test_frames_have_their_times_in_xarray(client: Any, registrar: Any, record: Record) -> None:
    run = record()
    run.record(10)
    run.stop()
    registrar.step()
    data = client[run.uid]["frames"].read().swap_dims(time="camera_run_time_s")
    image = data["camera_image"].sel(camera_run_time_s=0.2, method="nearest")
    assert image.dims == ("y", "x")
    np.testing.assert_array_equal(image, frame(5))


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_slices_read_only_their_pages(
    client: Any, registrar: Any, record: Record, monkeypatch: pytest.MonkeyPatch, compression: Any
) -> None:
    from stmtem_control.catalog.adapter import FramePages

    pages: list[tuple[str, int]] = []
    read = FramePages.read

    def counted(self: FramePages, number: int) -> Any:
        pages.append((self.path.name, number))
        return read(self, number)

    monkeypatch.setattr(FramePages, "read", counted)
    run = record(compression=compression, frames_per_file=16)
    run.record(1000)
    run.stop()
    registrar.step()
    image = client[run.uid]["frames"]["camera_image"]
    assert image.shape == (1000, 12, 16)

    np.testing.assert_array_equal(image[5], frame(5))
    assert pages == [("frames_0000.tif", 5)]
    pages.clear()
    np.testing.assert_array_equal(image[10:20], [frame(i) for i in range(10, 20)])
    assert pages == [("frames_0000.tif", i) for i in range(10, 16)] + [
        ("frames_0001.tif", i) for i in range(4)
    ]
    pages.clear()
    np.testing.assert_array_equal(image[3, :10, :10], frame(3)[:10, :10])
    assert pages == [("frames_0000.tif", 3)]
    pages.clear()
    np.testing.assert_array_equal(image[990:100:-400, 2], [frame(i)[2] for i in (990, 590, 190)])
    assert len(pages) == 3
    pages.clear()
    np.testing.assert_array_equal(image[-1, ..., 4], frame(999)[:, 4])
    assert pages == [("frames_0062.tif", 7)]
    pages.clear()
    assert image[7:7].shape == (0, 12, 16)
    assert pages == []
    np.testing.assert_array_equal(image.read_block((3, 0, 0)), [frame(i) for i in range(48, 64)])
    assert len(pages) == 16


def test_one_page_costs_the_bytes_of_one_page(root: Path) -> None:
    from stmtem_control.catalog.adapter import FramePages

    run = RecordedRun(root, shape=(64, 64), frames_per_file=100)
    run.record(100)
    run.close()
    pages = FramePages(run.folder / "frames_0000.tif")
    np.testing.assert_array_equal(pages.read(50), frame(50, (64, 64)))
    assert pages.bytes_read == 64 * 64 * 2


def test_a_run_is_seen_while_it_grows(client: Any, registrar: Any, record: Record) -> None:
    run = record()
    run.record(3)
    assert str(registrar.step()) == "0 runs registered, 1 not closed"
    frames = client[run.uid]["frames"]
    assert frames["camera_image"].shape == (3, 12, 16)
    run.record(10)  # into the next file
    registrar.step()
    image = client[run.uid]["frames"]["camera_image"]
    np.testing.assert_array_equal(image[:], [frame(i) for i in range(13)])
    assert len(frames.base["internal"].read()) == 13
    assert "stop" not in client[run.uid].metadata
    run.record(1)
    run.stop()
    assert str(registrar.step()) == "1 runs registered"
    assert client[run.uid]["frames"]["camera_image"].shape == (14, 12, 16)
    assert len(client[run.uid]["frames"].base["internal"].read()) == 14
    assert client[run.uid].metadata["stop"]["num_events"] == {"frames": 14}


def test_an_aborted_run_has_what_was_recorded(client: Any, registrar: Any, record: Record) -> None:
    run = record()
    run.record(2)
    run.stop("abort", "Ctrl-C")
    registrar.step()
    assert client[run.uid].metadata["stop"]["exit_status"] == "abort"
    assert client[run.uid]["frames"]["camera_image"].shape == (2, 12, 16)


def test_a_run_without_frames_is_registered_too(
    client: Any, registrar: Any, record: Record
) -> None:
    run = record()
    run.stop("fail", "no contact")
    registrar.step()
    assert client[run.uid].metadata["stop"]["reason"] == "no contact"


def test_a_frame_that_is_gone_is_said_to_be(client: Any, registrar: Any, record: Record) -> None:
    run = record()
    run.record(10)
    run.stop()
    registrar.step()
    (run.folder / "frames_0001.tif").unlink()
    image = client[run.uid]["frames"]["camera_image"]
    np.testing.assert_array_equal(image[7], frame(7))
    with pytest.raises(Exception, match=r"frame 9: frames_0001\.tif cannot be read: No such file"):
        image[9]


def test_frames_of_another_size_than_declared_are_refused(
    client: Any, registrar: Any, record: Record
) -> None:
    run = record()
    run.record(1)
    run.stop()
    text = run.path.read_text("utf-8").replace('"shape": [12, 16]', '"shape": [16, 12]')
    run.path.write_text(text, "utf-8")
    registrar.step()
    with pytest.raises(Exception, match=r"\(12, 16\) pixels, but \(16, 12\) were declared"):
        client[run.uid]["frames"]["camera_image"][0]


def test_a_folder_that_was_moved_is_served_where_it_is(
    client: Any, registrar: Any, record: Record, root: Path
) -> None:
    run = record()
    run.record(4)
    run.stop()
    registrar.step()
    run.folder.rename(root / "moved")
    registrar.step()
    assert client[run.uid].metadata["folder"] == str(root / "moved")
    np.testing.assert_array_equal(client[run.uid]["frames"]["camera_image"][2], frame(2))


def test_documents_cannot_lead_out_of_the_run(registrar: Any, record: Record) -> None:
    run = record()
    run.record(1)
    run.stop()
    text = run.path.read_text("utf-8").replace("frames_{:04d}.tif", "../../api_key")
    run.path.write_text(text, "utf-8")
    (problem,) = registrar.step().problems
    assert "the template '../../api_key' is not the name of a file" in problem


def test_files_outside_the_data_folder_are_not_served(
    client: Any, record: Record, tmp_path: Path
) -> None:
    """A run that is registered by hand from elsewhere: the server refuses to read it."""
    from stmtem_control.catalog.run_writer import RunWriter

    run = RecordedRun(tmp_path)
    run.record(1)
    run.stop()
    writer = RunWriter(client, run.folder)
    for line in run.path.read_text("utf-8").splitlines():
        writer.write(*json.loads(line))
    with pytest.raises(Exception, match="500"):
        client[run.uid]["frames"]["camera_image"][0]


def test_the_key_is_asked_for_and_kept_from_others(server: Any) -> None:
    import httpx

    assert server.key_file.stat().st_mode & 0o777 == 0o600
    assert len(server.key_file.read_text("ascii")) == 64
    assert httpx.get(f"{server.uri}/search/", trust_env=False).status_code == 401
    assert server.uri.startswith("http://127.0.0.1:")
