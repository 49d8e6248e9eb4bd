"""The frame camera: documents, disk and table always say the same."""

import csv
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.protocols import (
    Collectable,
    Configurable,
    EventPageCollectable,
    Flyable,
    Pausable,
    Preparable,
    Stageable,
    Stoppable,
    WritesExternalAssets,
    WritesStreamAssets,
)

from stmtem_control.devices import FrameCamera
from stmtem_control.errors import (
    InstrumentError,
    InterlockError,
    LimitError,
    ProtocolError,
    RecordingError,
    TransportError,
)
from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.frame_files import read_frames, read_rows
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most
STAMP = 1_795_000_000.0


def told(camera: FrameCamera, what: Callable[[], bool]) -> Callable[[], None]:
    """Return a function that waits until something is so that the recorder tells the camera."""
    changed = threading.Condition()

    def note(**_: Any) -> None:
        with changed:
            changed.notify_all()

    for signal in (camera.frames_written, camera.dropped, camera.frames_captured):
        signal.subscribe(note, run=False)

    def wait() -> None:
        with changed:
            assert changed.wait_for(what, W)

    return wait


@pytest.fixture
def until(camera: FrameCamera) -> Callable[[int], None]:
    """A function that waits until so many frames are on disk, with their rows."""
    return lambda count: told(camera, lambda: camera.frames_written.get() >= count)()


def collected(camera: FrameCamera) -> tuple[list[tuple[str, Any]], list[dict[str, Any]]]:
    """Collect as the RunEngine does: asset documents first, then pages."""
    return list(camera.collect_asset_docs()), list(camera.collect_pages())


def table(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ``frames.csv``."""
    with open(folder / "frames.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_what_bluesky_expects(camera: FrameCamera) -> None:
    for protocol in (
        Flyable,
        Collectable,
        EventPageCollectable,
        WritesExternalAssets,
        Stageable,
        Stoppable,
        Pausable,
        Configurable,
        Preparable,
    ):
        assert isinstance(camera, protocol)
    # With get_index its table would silently never be collected.
    assert not isinstance(camera, WritesStreamAssets)


def test_a_run_from_kickoff_to_the_last_row(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    timeline: Timeline,
    until: Callable[[int], None],
) -> None:
    clock.t = 100.0
    timeline.start_run(100.0)
    timeline.record("blanked", 100.0, False)
    timeline.record("bias_set_V", 100.0, 0.0)
    timeline.record("bias_set_V", 100.1, -5.0)
    timeline.record("current_A", 100.11, 2e-10)
    timeline.record("current_A", 100.12, 4e-10)
    timeline.record("voltage_V", 100.12, -5.01)
    timeline.record("compliance", 100.12, True)
    camera.directory = tmp_path
    assert collected(camera) == ([], [])
    camera.kickoff().wait(W)
    assert camera.running
    camera.mark("deposit", 2)
    clock.t = 100.035
    merlin.frame(STAMP)
    until(1)
    clock.t = 100.135
    merlin.frame(STAMP + 0.1)
    until(2)
    assets, pages = collected(camera)
    assert [name for name, _ in assets] == ["stream_resource", "stream_datum"]
    resource = assets[0][1]
    assert resource["mimetype"] == "multipart/related;type=image/tiff;pages=multi"
    assert resource["uri"] == f"file://localhost{tmp_path.resolve()}/"
    assert resource["parameters"] == {
        "template": "frames_{:04d}.tif",
        "frames_per_file": 4,
        "chunk_shape": [1, 8, 6],
    }
    assert assets[1][1]["indices"] == {"start": 0, "stop": 2}
    (page,) = pages
    data = page["data"]
    assert data["camera_frame"] == [0, 1]
    # The start is exact by this clock; what follows is as far as two clocks may drift.
    np.testing.assert_allclose(data["camera_time_uncertainty_s"], [0.0, 2e-5], atol=1e-6)
    np.testing.assert_allclose(data["camera_run_time_s"], [0.0, 0.1], atol=1e-6)
    assert data["camera_bias_set_V"] == [0.0, -5.0]
    assert data["camera_n_readings"] == [0, 2]
    assert data["camera_current_A"][1] == pytest.approx(3e-10)
    assert data["camera_voltage_V"][1] == -5.01
    assert data["camera_compliance"] == [False, True]
    assert data["camera_phase"] == ["deposit", "deposit"]
    assert data["camera_cycle"] == [2, 2]
    np.testing.assert_allclose(data["camera_dose_e_per_A2"], [0.7, 0.7])
    np.testing.assert_allclose(data["camera_total_dose_e_per_A2"], [0.7, 2.7], atol=1e-5)
    assert page["time"] == page["timestamps"]["camera_frame"]
    assert page["time"][1] == pytest.approx(clock.wall_time(100.1), abs=1e-5)
    assert collected(camera) == ([], [])

    status = camera.complete()
    merlin.frame(STAMP + 0.2)  # the frame that was under way
    status.wait(W)
    assert "STOPACQUISITION" in merlin.commands
    assets, pages = collected(camera)
    assert [name for name, _ in assets] == ["stream_datum"]
    assert assets[0][1]["indices"] == {"start": 2, "stop": 3}
    camera.unstage()
    assert [frame[0, 0] for frame in read_frames(tmp_path)] == [1, 2, 3]
    rows = table(tmp_path)
    assert list(rows[0]) == [column.name for column in COLUMNS]
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert [row["frame"] for row in read_rows(tmp_path)] == [0, 1, 2]
    assert not camera.running


@pytest.mark.parametrize(
    ("tiff", "frames_per_file", "version"),
    [("auto", 4, 42), ("auto", 10**6, 43), ("classic", 4, 42), ("bigtiff", 4, 43)],
)
def test_files_are_of_the_tiff_that_was_asked_for(
    make_camera: Callable[..., FrameCamera],
    merlin: Any,
    tmp_path: Path,
    tiff: str,
    frames_per_file: int,
    version: int,
) -> None:
    camera = make_camera(tiff=tiff, frames_per_file=frames_per_file)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    camera.complete().wait(W)
    with open(tmp_path / "frames_0000.tif", "rb") as file:
        assert file.read(4) == b"II" + bytes([version, 0])
    assert [frame[0, 0] for frame in read_frames(tmp_path)] == [1]


def test_a_tiff_that_would_be_too_large_is_refused_at_once(
    make_camera: Callable[..., FrameCamera], tmp_path: Path
) -> None:
    camera = make_camera(tiff="classic", frames_per_file=10**6)
    camera.directory = tmp_path
    with pytest.raises(RecordingError, match=r"3\.5 GB must be BigTIFF; see \[camera\]"):
        camera.kickoff()
    assert not camera.running


def test_the_dose_counts_blanked_time_for_nothing(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    timeline: Timeline,
    until: Callable[[int], None],
) -> None:
    timeline.start_run(0.0)
    timeline.record("blanked", -1.0, True)
    timeline.record("blanked", 1.0, False)
    timeline.record("blanked", 1.01, True)
    camera.directory = tmp_path
    clock.t = 1.0
    camera.kickoff().wait(W)
    clock.t = 1.035
    merlin.frame(STAMP)
    until(1)
    _, (page,) = collected(camera)
    assert page["data"]["camera_dose_e_per_A2"][0] == pytest.approx(0.2, abs=1e-4)
    assert page["data"]["camera_total_dose_e_per_A2"][0] == pytest.approx(0.2, abs=1e-4)
    assert page["data"]["camera_blanked"] == [True]
    assert camera.total_dose.get() == pytest.approx(0.2, abs=1e-4)


def test_frames_that_are_missing_are_counted(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    merlin.frame(STAMP + 0.3, lost=2)
    until(2)
    _, (page,) = collected(camera)
    assert page["data"]["camera_dropped_before"] == [0, 2]
    assert page["data"]["camera_sequence"] == [1, 4]
    assert (camera.frames_captured.get(), camera.frames_written.get()) == (2, 2)
    assert camera.dropped.get() == 2
    assert camera.mean_counts.get() == 4.0
    assert camera.last_row["sequence"] == 4


def test_a_pause_stops_and_resuming_goes_on_counting(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    until(1)
    camera.pause()
    camera.pause()
    assert merlin.commands.count("STOPACQUISITION") == 2
    merlin.frame(STAMP + 0.1)  # the frame that was under way
    until(2)
    camera.resume()
    camera.resume()
    assert merlin.commands.count("STARTACQUISITION") == 2
    merlin.frame(STAMP + 5.0)
    until(3)
    _, (page,) = collected(camera)
    assert page["data"]["camera_frame"] == [0, 1, 2]
    assert page["data"]["camera_sequence"] == [1, 2, 1]
    assert page["data"]["camera_dropped_before"] == [0, 0, 0]
    camera.complete().wait(W)


@pytest.mark.parametrize("how", ["stop", "unstage"])
def test_whatever_ends_ends_thread_and_acquisition(
    camera: FrameCamera, merlin: Any, tmp_path: Path, how: str
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    getattr(camera, how)()
    getattr(camera, how)()
    assert not camera.running
    assert camera.unsafe is None
    started = [name for name in merlin.commands if name.endswith("ACQUISITION")]
    assert started[-1] == "STOPACQUISITION"
    assert len(list(read_frames(tmp_path))) == len(table(tmp_path)) == 1
    assets, pages = collected(camera)  # what is on disk can still be told
    assert assets[1][1]["indices"] == {"start": 0, "stop": 1}
    assert len(pages) == 1


def test_a_camera_that_hangs_up(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    until(1)
    merlin.hang_up()
    with pytest.raises(TransportError, match=r"^camera: .*closed the connection"):
        camera.complete().wait(W)
    # Told once; what was written before it is still collected.
    assets, (page,) = collected(camera)
    assert assets[1][1]["indices"] == {"start": 0, "stop": 1}
    assert page["data"]["camera_frame"] == [0]
    camera.complete().wait(W)


def test_silence_is_an_error_of_the_next_collect(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[int], None],
) -> None:
    monkeypatch.setattr("stmtem_control.devices.frame_reader.SILENCE_S", 0.05)
    camera.configure(frame_rate_Hz=100.0, exposure_s=0.005)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    ended = told(camera, lambda: not camera.running)
    merlin.frame(STAMP)
    until(1)
    ended()
    with pytest.raises(TransportError, match=r"camera: no frame for 0\.\d s"):
        collected(camera)
    _, (page,) = collected(camera)
    assert page["data"]["camera_frame"] == [0]


def test_noise_on_the_stream_is_an_error(camera: FrameCamera, merlin: Any, tmp_path: Path) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ProtocolError, match=r"camera: expected 'MPX,'"):
        camera.complete().wait(W)


def test_a_frame_of_another_size_is_an_error(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.size = (4, 4)
    merlin.frame(STAMP)
    with pytest.raises(RecordingError, match="declared were 6 x 8"):
        camera.complete().wait(W)


def test_a_full_disk_is_an_error_and_keeps_what_there_is(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    until: Callable[[int], None],
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    until(1)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    for name in ("pwrite", "pwritev", "write"):
        monkeypatch.setattr(os, name, full)
    merlin.frame(STAMP + 0.1)
    with pytest.raises(RecordingError, match=r"frame 1 cannot be written.*No space left"):
        camera.complete().wait(W)
    monkeypatch.undo()
    camera.unstage()
    assert len(list(read_frames(tmp_path))) == len(table(tmp_path)) == 1
    _, (page,) = collected(camera)
    assert page["data"]["camera_frame"] == [0]


def test_no_folder_no_frames(camera: FrameCamera) -> None:
    with pytest.raises(RecordingError, match=r"no folder.*camera\.directory"):
        camera.kickoff()


def test_a_folder_that_cannot_be_written(camera: FrameCamera, tmp_path: Path) -> None:
    camera.directory = tmp_path / "gone"
    with pytest.raises(RecordingError, match="No such file"):
        camera.kickoff()


def test_a_second_kickoff_must_wait(camera: FrameCamera, tmp_path: Path) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    with pytest.raises(InterlockError, match="already"):
        camera.kickoff()
    with pytest.raises(InterlockError, match="complete first"):
        camera.configure(exposure_s=0.01)


def test_one_run_may_kick_off_twice(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    """The frames of both go on in the same files, under one resource."""
    camera.directory = tmp_path
    names: list[str] = []
    for i in range(2):
        camera.kickoff().wait(W)
        merlin.frame(STAMP + i)
        until(i + 1)
        camera.complete().wait(W)
        names += [name for name, _ in collected(camera)[0]]
        merlin.drop_stream()
    assert names == ["stream_resource", "stream_datum", "stream_datum"]
    assert len(list(read_frames(tmp_path))) == 2


def test_several_runs_in_one_session(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        camera.stage()
        camera.directory = folder
        assert camera.frames_written.get() == 0
        camera.kickoff().wait(W)
        merlin.frame(STAMP + i)
        until(1)
        camera.complete().wait(W)
        assets, pages = collected(camera)
        assert assets[0][1]["uri"].endswith(f"/{i}/")
        assert pages[0]["data"]["camera_frame"] == [0]
        camera.unstage()
        merlin.drop_stream()
        assert len(table(folder)) == 1
    camera.directory = tmp_path / "0"
    with pytest.raises(RecordingError, match="frames already"):
        camera.kickoff()


def test_a_start_that_is_refused_fails_the_status(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    merlin.refuse["STARTACQUISITION"] = 1
    camera.directory = tmp_path
    with pytest.raises(InstrumentError, match="busy"):
        camera.kickoff().wait(W)
    assert not camera.running
    camera.complete().wait(W)
    assert table(tmp_path) == []


def test_a_mute_camera_does_not_hold_up_a_stop(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.mute = True
    camera.stop()
    assert not camera.running
    assert camera.unsafe is not None
    assert "stop not confirmed" in camera.unsafe


def test_frames_that_never_end_do_not_hold_up_a_stop(
    camera: FrameCamera, merlin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera with exposures of a minute is cut off rather than waited for."""
    monkeypatch.setattr("stmtem_control.devices.camera_acquisition.STOP_S", 0.05)
    camera.directory = tmp_path
    camera.prepare({"exposure_s": 60.0, "frame_rate_Hz": 1.0 / 60.0}).wait(W)
    camera.kickoff().wait(W)
    camera.stop()
    assert not camera.running
    assert collected(camera) == ([], [])  # cut off on purpose: no error


# Settings


def test_exposure_and_rate_are_set_together(camera: FrameCamera, merlin: Any) -> None:
    old, new = camera.configure({"exposure_s": 0.005, "frame_rate_Hz": 100.0})
    assert old["camera_exposure_s"]["value"] == 0.035
    assert new["camera_exposure_s"]["value"] == 0.005
    assert merlin.commands[-2:] == ["SET ACQUISITIONPERIOD 10", "SET ACQUISITIONTIME 5"] or (
        merlin.commands[-2:] == ["SET ACQUISITIONTIME 5", "SET ACQUISITIONPERIOD 10"]
    )
    camera.frame_rate_Hz.set(50.0).wait(W)
    values: Any = camera.read_configuration()
    assert values["camera_frame_rate_Hz"]["value"] == 50.0


@pytest.mark.parametrize(
    "settings",
    [
        {"exposure_s": 0.05},
        {"frame_rate_Hz": 1000.0},
        {"exposure_s": 0.0},
        {"exposure_s": float("nan")},
        {"gain": 2},
    ],
)
def test_settings_that_do_not_fit_are_refused(
    camera: FrameCamera, merlin: Any, settings: dict[str, Any]
) -> None:
    before = len(merlin.commands)
    with pytest.raises(LimitError, match=r"^camera: "):
        camera.configure(settings)
    assert len(merlin.commands) == before


def test_what_the_camera_refuses_keeps_the_old_setting(camera: FrameCamera, merlin: Any) -> None:
    merlin.refuse["ACQUISITIONTIME"] = 3
    with pytest.raises(InstrumentError, match="out of range"):
        camera.configure(exposure_s=0.01)
    assert camera.exposure_s.get() == 0.035


def test_marks_are_noted_with_their_time(
    camera: FrameCamera, timeline: Timeline, clock: Any
) -> None:
    clock.t = 4.0
    assert camera.phase.set("strip").done
    camera.cycle.set(3)
    assert timeline.at("phase", 4.0) == "strip"
    assert timeline.at("cycle", 4.0) == 3
    assert timeline.at("phase", 3.9) is None


def test_data_keys_are_flat_typed_and_have_units(camera: FrameCamera) -> None:
    keys = camera.describe_collect()
    assert keys["camera_image"] == {
        "source": "merlin:camera",
        "dtype": "array",
        "dtype_numpy": "<u2",
        "shape": [8, 6],
        "dims": ["y", "x"],
        "units": "counts",
        "external": "STREAM:",
    }
    assert keys["camera_current_A"]["units"] == "A"
    assert keys["camera_time_uncertainty_s"]["units"] == "s"
    assert keys["camera_cycle"]["dtype"] == "integer"
    assert keys["camera_blanked"]["dtype"] == "boolean"
    assert keys["camera_phase"]["dtype"] == "string"
    assert len(keys) == 1 + len(COLUMNS)


def test_older_software_shows_its_size_in_a_frame(camera: FrameCamera, merlin: Any) -> None:
    merlin.refuse["IMAGEX"] = 2
    camera._shape = None
    sender = threading.Thread(
        target=lambda: (merlin.started.acquire(timeout=W), merlin.frame(STAMP))
    )
    sender.start()
    camera.connect(W)
    sender.join(W)
    assert camera.describe_collect()["camera_image"]["shape"] == [8, 6]
