"""Frames and time: dated as they were exposed, with what held then, and none lost at the end."""

import csv
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import LARGEST_DRIFT
from stmtem_control.devices import FrameCamera
from stmtem_control.devices.frame_times import Acquisition
from stmtem_control.devices.merlin import Merlin
from stmtem_control.devices.merlin_stream import FrameHeader, FrameStream
from stmtem_control.errors import InstrumentError, InterlockError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import Link
from stmtem_control.recording.frame_files import read_frames
from stmtem_control.simulators import Bench
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most
STAMP = 1_795_000_000.0


def written_by(camera: FrameCamera) -> Callable[[int], None]:
    """Return a function that waits until so many frames are on disk."""
    changed = threading.Condition()

    def note(value: int, **_: Any) -> None:
        with changed:
            changed.notify_all()

    camera.frames_written.subscribe(note, run=False)

    def wait(count: int) -> None:
        with changed:
            assert changed.wait_for(lambda: camera.frames_written.get() >= count, 2.0 * W)

    return wait


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a little only for frames that, by the clock of a test, should still come."""
    monkeypatch.setattr("stmtem_control.devices.frame_reader.LATE_S", 0.1)


@pytest.fixture
def until(camera: FrameCamera) -> Callable[[int], None]:
    """A function that waits until so many frames are on disk."""
    return written_by(camera)


def column(folder: Path, name: str) -> list[str]:
    """Return a column of ``frames.csv``."""
    with open(folder / "frames.csv", encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def times(folder: Path) -> list[float]:
    """Return when the frames were exposed."""
    return [float(text) for text in column(folder, "run_time_s")]


# Against the truth of the simulated bench


@pytest.fixture
def on_bench() -> Iterator[Callable[[int, float], tuple[FrameCamera, Bench]]]:
    """A function that makes a camera on a bench of that image size and speed."""
    made: list[Any] = []

    def make(size: int, speed: float) -> tuple[FrameCamera, Bench]:
        bench = Bench(speed=speed, size=size)
        made.append(bench.close)
        place = bench.addresses.camera
        link = Link(lambda: TcpTransport(place["host"], place["control"]), name="camera")
        camera = FrameCamera(
            merlin=Merlin(link, host=place["host"], data_port=place["data"]),
            clock=StationClock(speed),
            timeline=Timeline(),
            pixel_size_nm=1.0,
            dose_rate_e_per_A2_s=20.0,
        )
        made.append(camera.disconnect)
        camera.connect(W)
        return camera, bench

    yield make
    for close in reversed(made):
        close()


@pytest.mark.parametrize("speed", [1.0, 5.0])
@pytest.mark.parametrize("size", [256, 1024])
def test_frames_are_dated_when_they_were_exposed(
    on_bench: Callable[[int, float], tuple[FrameCamera, Bench]],
    tmp_path: Path,
    size: int,
    speed: float,
) -> None:
    """Rendering, readout and transfer take 3 to 20 ms, and must not show in the times."""
    camera, bench = on_bench(size, speed)
    until = written_by(camera)
    camera.configure(exposure_s=0.08, frame_rate_Hz=10.0)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    until(3)
    camera.pause()
    camera.resume()
    until(camera.frames_written.get() + 3)
    camera.complete().wait(W)
    sequence = [int(text) for text in column(tmp_path, "sequence")]
    stamps = np.array([float(text) for text in column(tmp_path, "camera_time_s")])
    uncertain = np.array([float(text) for text in column(tmp_path, "time_uncertainty_s")])
    truth = stamps - 1e-9 * bench.camera._engine._epoch_ns + distance(camera, bench)
    errors = np.array(times(tmp_path)) - truth
    assert len(errors) >= 6
    assert np.all(np.abs(errors) <= uncertain + 1e-4 * speed)
    assert np.all(uncertain < 0.2 * speed)  # 1 ms, but for a computer that is busy elsewhere
    # One offset for each acquisition.
    (again,) = (i for i in range(1, len(sequence)) if sequence[i] <= sequence[i - 1])
    assert np.ptp(errors[:again]) < 1e-5
    assert np.ptp(errors[again:]) < 1e-5
    assert np.all(np.diff(times(tmp_path)) > 0.0)


def distance(camera: FrameCamera, bench: Bench) -> float:
    """Return station time minus the bench's; both count this computer's time, equally fast."""
    found: list[tuple[float, float]] = []
    for _ in range(50):
        before, there, after = camera.clock.now(), bench.clock.now(), camera.clock.now()
        found.append((after - before, 0.5 * (before + after) - there))
    _, nearest = min(found)
    return nearest


# The rules, one by one


def frame(sequence: int, stamp: float, exposure: float = 0.035) -> FrameHeader:
    """Return the header of a small frame."""
    return FrameHeader(sequence, 384, 1, 4, 4, np.dtype(">u2"), STAMP + stamp, exposure)


def dated(acquisition: Acquisition, header: FrameHeader, arrival: float) -> tuple[float, float]:
    """Receive a frame, and return its time and the uncertainty of that."""
    acquisition.receive(header, arrival)
    start, uncertainty = acquisition.date(header, arrival)
    return start, uncertainty


def test_the_first_stamp_lies_in_the_exchange_of_the_start() -> None:
    acquisition = Acquisition(0.035, 0.04, Exchange(10.0, 10.002))
    assert dated(acquisition, frame(1, 0.0), 10.05) == pytest.approx((10.001, 0.001), abs=1e-6)
    # What comes later, or less late, changes nothing.
    start, uncertainty = dated(acquisition, frame(2, 0.04), 10.95)
    assert (start, uncertainty) == pytest.approx((10.041, 0.001 + LARGEST_DRIFT * 0.04), abs=1e-6)
    start, uncertainty = dated(acquisition, frame(3, 0.08), 10.1165)
    assert (start, uncertainty) == pytest.approx((10.081, 0.001 + LARGEST_DRIFT * 0.08), abs=1e-6)


@pytest.mark.parametrize("drift", [LARGEST_DRIFT, 0.0, -LARGEST_DRIFT])
def test_clocks_that_drift_apart_are_allowed_for(drift: float) -> None:
    acquisition = Acquisition(0.035, 0.04, Exchange(10.0, 10.002))
    uncertainty = 0.0
    for number in range(0, 15_000, 500):
        truth = 10.0015 + 0.04 * number
        stamp = (truth - 10.0015) * (1.0 - drift)
        header = frame(number + 1, stamp)
        start, uncertainty = dated(acquisition, header, truth + 0.035 + 0.005)
        assert abs(start - truth) <= uncertainty + 1e-6
    assert 0.1 < uncertainty < 0.13  # after ten minutes
    # A start whose answer was lost is dated by the offset before, which is as old.
    later = Acquisition(0.035, 0.04, None, acquisition)
    _, uncertainty = dated(later, frame(1, 1000.0), 2000.0)
    assert uncertainty == pytest.approx(0.001 + LARGEST_DRIFT * 1000.0, abs=1e-6)


def test_no_frame_arrives_before_its_exposure_has_ended() -> None:
    """A slow exchange of 100 ms is cut down by what has arrived; later it only widens the doubt."""
    acquisition = Acquisition(0.035, 0.04, Exchange(10.0, 10.1))
    assert dated(acquisition, frame(1, 0.0), 10.055) == pytest.approx((10.01, 0.01), abs=1e-6)
    start, uncertainty = dated(acquisition, frame(2, 0.04), 10.055)
    assert start == pytest.approx(10.05, abs=1e-6)
    assert uncertainty == pytest.approx(0.03, abs=1e-6)


def test_when_the_first_frame_is_lost_the_doubt_is_larger() -> None:
    acquisition = Acquisition(0.035, 0.04, Exchange(10.0, 10.002))
    start, uncertainty = dated(acquisition, frame(3, 0.08), 10.125)
    assert start == pytest.approx(10.085, abs=1e-6)
    assert uncertainty == pytest.approx(0.005, abs=1e-6)


def test_a_start_whose_answer_was_lost_takes_the_offset_before() -> None:
    first = Acquisition(0.035, 0.04, Exchange(10.0, 10.002))
    dated(first, frame(1, 0.0), 10.05)
    second = Acquisition(0.035, 0.04, None, first)
    start, uncertainty = dated(second, frame(1, 5.0), 15.2)
    assert (start, uncertainty) == pytest.approx((15.001, 0.001 + LARGEST_DRIFT * 5.0), abs=1e-6)
    alone = Acquisition(0.035, 0.04)
    start, uncertainty = dated(alone, frame(1, 5.0), 15.2)
    assert start == pytest.approx(15.165, abs=1e-6)
    assert np.isnan(uncertainty)


def test_frames_that_must_have_been_taken_are_known_at_the_stop() -> None:
    acquisition = Acquisition(0.035, 0.04, Exchange(10.0, 10.002))
    assert acquisition.missing_at_end() == 0
    acquisition.stopped = Exchange(10.1, 10.101)
    assert acquisition.missing_at_end() == 2  # from 10.00 and 10.04; that from 10.08 may come yet
    assert acquisition.receive(frame(1, 0.0), 10.04) == 0
    assert acquisition.missing_at_end() == 1
    assert acquisition.lateness_s == pytest.approx(0.004, abs=1e-6)
    assert acquisition.receive(frame(3, 0.08), 10.12) == 1
    assert acquisition.missing_at_end() == 0
    acquisition.stopped = Exchange(10.155, 10.156)  # the next may have ended before or not
    assert acquisition.missing_at_end() == 0


def test_late_arrivals_never_turn_the_time_back(
    camera: FrameCamera, merlin: Any, tmp_path: Path, clock: Any, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    clock.t = 20.0
    camera.kickoff().wait(W)
    for i, late in enumerate((0.5, 0.02, 0.3)):
        clock.t = 20.0 + 0.1 * i + 0.035 + late
        merlin.frame(STAMP + 0.1 * i)
        until(i + 1)
    np.testing.assert_allclose(times(tmp_path), [20.0, 20.1, 20.2], atol=1e-6)


def test_each_start_sets_the_clock_anew(
    camera: FrameCamera, merlin: Any, tmp_path: Path, clock: Any, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    clock.t = 0.04
    merlin.frame(STAMP)
    until(1)
    camera.pause()
    clock.t = 9.0
    camera.resume()
    clock.t = 9.1
    merlin.frame(STAMP + 9.003)  # by now the camera's clock is 3 ms ahead
    until(2)
    np.testing.assert_allclose(times(tmp_path), [0.0, 9.0], atol=1e-6)


def test_the_first_byte_of_a_message_tells_when_it_came(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    until: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camera.directory = tmp_path
    read, answer, sent = FrameStream.next_header, merlin._answer, threading.Event()

    def slowly(self: FrameStream, *args: Any, **options: Any) -> Any:
        got = read(self, *args, **options)
        assert sent.wait(W)
        clock.t = 0.055 if got is None else 0.5  # of the next message's first byte
        return got

    def late(kind: str, name: str, *rest: str) -> bytes:
        reply = bytes(answer(kind, name, *rest))
        if name == "STARTACQUISITION":
            clock.t = 0.2  # so late that the frame's arrival tells more
            merlin.frame(STAMP)
            sent.set()
        return reply

    monkeypatch.setattr(FrameStream, "next_header", slowly)
    monkeypatch.setattr(merlin, "_answer", late)
    camera.kickoff().wait(W)
    until(1)
    assert times(tmp_path) == [pytest.approx(0.01, abs=1e-6)]


# What held then


def test_a_frame_waits_for_the_reading_of_its_exposure(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    timeline: Timeline,
    until: Callable[[int], None],
) -> None:
    """A reading of 10 power-line cycles takes 0.4 s, and is known 0.2 s after its middle."""
    camera._reading_s = 0.4
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    clock.t = 0.035
    begun = time.monotonic()
    merlin.frame(STAMP)
    timeline.record("current_A", 0.02, 7e-10)
    until(1)
    assert 0.25 <= time.monotonic() - begun < W
    assert column(tmp_path, "n_readings") == ["1"]
    begun = time.monotonic()
    merlin.frame(STAMP + 0.1)
    camera.complete().wait(W)  # the last frame waits no less
    assert time.monotonic() - begun >= 0.25


def test_phase_bias_and_beam_are_those_of_the_middle(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    timeline: Timeline,
    until: Callable[[int], None],
) -> None:
    """A plan marks the phase, then sets the bias: no frame of the pre-roll can carry -5 V."""
    timeline.record("phase", 0.0, "pre-roll")
    timeline.record("cycle", 0.0, 0)
    timeline.record("bias_set_V", 0.0, 0.0)
    timeline.record("blanked", 0.0, True)
    timeline.record("phase", 0.010, "deposit")
    timeline.record("cycle", 0.010, 1)
    timeline.record("bias_set_V", 0.011, -5.0)
    timeline.record("blanked", 0.015, False)  # open for 5 of 35 ms, the middle among them
    timeline.record("blanked", 0.020, True)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    clock.t = 0.035
    merlin.frame(STAMP)
    until(1)
    row = camera.last_row
    assert (row["phase"], row["cycle"], row["bias_set_V"]) == ("deposit", 1, -5.0)
    assert row["blanked"] is False
    assert row["dose_e_per_A2"] == pytest.approx(20.0 * 0.005, abs=1e-4)


# The end of an acquisition


def busy(merlin: Any, monkeypatch: pytest.MonkeyPatch, times: int, then: Callable[[], Any]) -> None:
    """Let the camera be busy, after its stop, for so many questions; then do something."""
    answer = merlin._answer
    left = [times]

    def telling(kind: str, name: str, *rest: str) -> bytes:
        reply = bytes(answer(kind, name, *rest))
        if name != "DETECTORSTATUS" or "STOPACQUISITION" not in merlin.commands or left[0] == 0:
            return reply
        left[0] -= 1
        if left[0] == 0:
            then()
        return reply.replace(b",0,0", b",1,0")

    monkeypatch.setattr(merlin, "_answer", telling)


def test_a_slow_last_frame_is_waited_for(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    camera.configure(frame_rate_Hz=100.0, exposure_s=0.005)
    camera.directory = tmp_path
    # Six questions, 20 ms apart: longer than exposure, period and 50 ms.
    busy(merlin, monkeypatch, 6, lambda: merlin.frame(STAMP, exposure_s=0.005))
    camera.kickoff().wait(W)
    clock.t = 0.005
    camera.complete().wait(W)
    assert column(tmp_path, "sequence") == ["1"]
    assert camera.dropped.get() == 0


def test_a_camera_that_stays_busy_is_not_waited_for_without_end(
    camera: FrameCamera, merlin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.devices.frame_reader.SILENCE_S", 0.1)
    camera.directory = tmp_path
    busy(merlin, monkeypatch, 10**6, lambda: None)
    camera.kickoff().wait(W)
    begun = time.monotonic()
    camera.complete().wait(W)
    assert 0.1 < time.monotonic() - begun < 2.0


def test_a_last_frame_that_never_comes_is_counted(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    clock: Any,
    until: Callable[[int], None],
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    clock.t = 0.036
    merlin.frame(STAMP)
    until(1)
    clock.t = 0.1  # the exposure from 0.04 on has ended, that from 0.08 on has begun
    camera.pause()
    clock.t = 1.0
    camera.resume()
    clock.t = 1.036
    merlin.frame(STAMP + 1.0)
    until(2)
    assert column(tmp_path, "dropped_before") == ["0", "1"]
    assert camera.dropped.get() == 1
    clock.t = 1.08
    camera.complete().wait(W)
    assert camera.dropped.get() == 2
    assert camera.frames_captured.get() == 2


def test_a_stop_that_the_camera_did_not_take_is_told_and_repeated(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.refuse["STOPACQUISITION"] = 1
    with pytest.raises(InstrumentError, match="STOPACQUISITION was refused"):
        camera.complete().wait(W)
    del merlin.refuse["STOPACQUISITION"]
    merlin.commands.clear()
    camera.stop()
    assert merlin.commands[0] == "STOPACQUISITION"
    assert camera.unsafe is None
    assert not camera.running


def test_a_new_run_does_not_wait_for_who_waits_for_its_lock(
    camera: FrameCamera, merlin: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of complete() is told under the camera's lock, while a new folder is set."""
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    merlin.frame(STAMP)
    status = camera.complete()
    camera.directory = tmp_path / "next"
    status.wait(W)
    assert "did not end" not in caplog.text
    assert len(times(tmp_path)) == 1
    assert camera.frames_written.get() == 0


# Several starts in one run


def test_after_a_stop_the_run_can_go_on(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[int], None]
) -> None:
    camera.directory = tmp_path
    names: list[str] = []
    for i in range(3):
        camera.kickoff().wait(W)
        for k in range(3):
            merlin.frame(STAMP + 0.1 * k)
        until(3 * i + 3)
        camera.stop()
        names += [name for name, _ in camera.collect_asset_docs()]
        merlin.drop_stream()
    assert names == ["stream_resource", *["stream_datum"] * 3]
    assert column(tmp_path, "frame") == [str(i) for i in range(9)]
    # Four in a file, as the documents say, wherever the stops were.
    assert sorted(path.name for path in tmp_path.glob("*.tif")) == [
        f"frames_{i:04d}.tif" for i in range(3)
    ]
    assert [int(image[0, 0]) for image in read_frames(tmp_path)] == [1, 2, 3] * 3


def test_a_kickoff_is_repeated_after_a_pause(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    camera.pause()
    camera.resume()
    assert camera.kickoff().done
    assert merlin.commands.count("STARTACQUISITION") == 2
    with pytest.raises(InterlockError, match="already"):
        camera.kickoff()
    camera.complete().wait(W)


def test_a_pause_while_the_camera_starts(
    camera: FrameCamera, merlin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, gate, asked = merlin._answer, threading.Event(), threading.Event()

    def held(kind: str, name: str, *rest: str) -> bytes:
        if name == "STARTACQUISITION":
            asked.set()
            assert gate.wait(W)
        return bytes(answer(kind, name, *rest))

    monkeypatch.setattr(merlin, "_answer", held)
    camera.directory = tmp_path
    status = camera.kickoff()
    assert asked.wait(W)
    pausing = threading.Thread(target=camera.pause)
    pausing.start()
    gate.set()
    pausing.join(W)
    status.wait(W)
    assert [name for name in merlin.commands if name.endswith("ACQUISITION")] == [
        "STARTACQUISITION",
        "STOPACQUISITION",
    ]
    camera.resume()
    assert camera.kickoff().done
    assert merlin.commands.count("STARTACQUISITION") == 2


def test_resuming_waits_until_the_camera_has_finished(
    camera: FrameCamera, merlin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    camera.pause()
    busy(merlin, monkeypatch, 2, lambda: merlin.commands.append("idle"))
    camera.resume()
    assert merlin.commands[-3:] == ["idle", "GET DETECTORSTATUS", "STARTACQUISITION"]


def test_who_stops_in_a_pause_ends_the_recording(camera: FrameCamera, tmp_path: Path) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    camera.pause()
    camera.stop()
    camera.resume()
    assert not camera.running
    with pytest.raises(InterlockError, match=r"^camera: was stopped during the pause"):
        list(camera.collect_asset_docs())
    camera.kickoff().wait(W)  # told once; then it may go on


def test_a_pause_between_kickoff_and_the_first_collect(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    engine = RunEngine({}, context_managers=[])
    kickoffs: list[Any] = []

    def body() -> Generator[Any, Any, Any]:
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield from bps.checkpoint()
        kickoffs.append((yield from bps.kickoff(camera, wait=True)))
        yield from bps.pause()
        yield from bps.complete(camera, wait=True)
        yield from bps.collect(camera, name="frames", return_payload=False)

    camera.directory = tmp_path
    try:
        with pytest.raises(RunEngineInterrupted):
            engine(bpp.stage_wrapper(bpp.run_wrapper(body()), [camera]))
        merlin.frame(STAMP)
        engine.resume()
        assert engine.state == "idle"
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(W)
        engine.loop.close()
    assert merlin.commands.count("STARTACQUISITION") == 2
    assert column(tmp_path, "sequence") == ["1"]
