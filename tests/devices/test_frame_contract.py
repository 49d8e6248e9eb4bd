"""However a run ends: pages on disk, rows of the table, and indices of the documents are the same.

The camera of these tests writes its own number into every pixel, so that a row beside the wrong
frame is seen.
"""

import json
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
import tifffile
from bluesky import RunEngine
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import RunEngineInterrupted
from event_model import DocumentNames, schema_validators
from ophyd import Signal

from stmtem_control.devices import FrameCamera
from stmtem_control.errors import LimitError
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import read_table
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most
STAMP = 1_795_000_000.0
Plan = Generator[Any, Any, Any]
Documents = list[tuple[str, dict[str, Any]]]


class BoomError(RuntimeError):
    """An error that no one expects."""


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    made = RunEngine({}, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(W)
    made.loop.close()


@pytest.fixture
def documents(engine: RunEngine) -> Documents:
    """All documents; each has been validated against its schema, and can be written as JSON."""
    found: Documents = []

    def keep(name: str, doc: dict[str, Any]) -> None:
        schema_validators[DocumentNames[name]].validate(doc)
        json.dumps(doc)
        found.append((name, doc))

    engine.subscribe(keep)
    return found


def agreed(camera: FrameCamera, folder: Path, documents: Documents) -> tuple[int, int]:
    """Check that all say the same; return how many pages there are, and how many were declared."""
    pages = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            pages += len(file.pages)
    table = read_table(folder)
    declared, told = 0, list[dict[str, Any]]()
    for name, doc in documents:
        if name == "stream_datum":
            assert doc["indices"]["start"] == declared
            declared = doc["indices"]["stop"]
            assert doc["seq_nums"] == {"start": doc["indices"]["start"] + 1, "stop": declared + 1}
        elif name == "event_page":
            data = doc["data"]
            count = len(data["camera_frame"])
            assert {len(values) for values in data.values()} == {count}
            told += [{key: data[key][i] for key in data} for i in range(count)]
    with FrameFiles(folder) as frames:
        assert pages == len(frames) == len(table)
        for number, (row, inside) in enumerate(zip(table, frames.rows(), strict=True)):
            pixels = frames[number]
            assert pixels.min() == pixels.max() == row["sequence"] == inside["sequence"]
            assert row["frame"] == inside["frame"] == number
            assert inside["settled"] is True
            assert inside["run_time_s"] == row["run_time_s"]
    assert len(told) == declared <= pages
    for number, row in enumerate(told):
        assert row["camera_frame"] == number
        assert row["camera_sequence"] == table[number]["sequence"]
        assert row["camera_run_time_s"] == table[number]["run_time_s"]
    assert camera.frames_written.get() == pages
    return pages, declared


def recorded(camera: FrameCamera, merlin: Any, at: dict[int, Callable[[], Plan]]) -> Plan:
    """Record a dozen frames, two at a time; after some of them something happens."""

    def body() -> Plan:
        yield from bps.kickoff(camera, wait=True)
        yield from bps.checkpoint()
        for step in range(6):
            for i in range(2):
                merlin.frame(STAMP + 0.1 * (2 * step + i))
            yield from bps.sleep(0.02)
            if step in at:
                yield from at.pop(step)()
            yield from bps.collect(camera, name="frames", return_payload=False)
            yield from bps.checkpoint()

    def drain() -> Plan:
        yield from bps.complete(camera, wait=True)
        yield from bps.collect(camera, name="frames", return_payload=False)

    def run() -> Plan:
        yield from bps.declare_stream(camera, name="frames", collect=True)
        yield from bpp.finalize_wrapper(body(), drain)

    return (yield from bpp.stage_wrapper(bpp.run_wrapper(run()), [camera]))


def boom() -> Plan:
    raise BoomError
    yield  # a generator all the same


def test_a_run_that_ends_by_itself(
    engine: RunEngine, documents: Documents, camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    engine(recorded(camera, merlin, {}))
    assert agreed(camera, tmp_path, documents) == (12, 12)
    assert [name for name, _ in documents].count("stream_resource") == 1
    assert camera.dropped.get() == 0


def test_a_run_that_an_error_ends(
    engine: RunEngine, documents: Documents, camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    with pytest.raises(BoomError):
        engine(recorded(camera, merlin, {3: boom}))
    assert agreed(camera, tmp_path, documents) == (8, 8)


@pytest.mark.parametrize("end", ["abort", "stop", "halt"])
def test_a_run_that_is_ended_in_a_pause(
    engine: RunEngine,
    documents: Documents,
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    end: str,
) -> None:
    camera.directory = tmp_path
    with pytest.raises(RunEngineInterrupted):
        engine(recorded(camera, merlin, {3: bps.pause}))
    getattr(engine, end)()
    pages, declared = agreed(camera, tmp_path, documents)
    assert pages == 8
    # A halt leaves the plan no time to declare its last frames.
    assert declared == 8 or (end == "halt" and declared < 8)
    assert not camera.running


def test_a_run_that_goes_on_after_a_pause(
    engine: RunEngine, documents: Documents, camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    with pytest.raises(RunEngineInterrupted):
        engine(recorded(camera, merlin, {3: bps.pause}))
    engine.resume()
    # The frames of the step were taken before the pause; after it the numbers begin anew.
    assert agreed(camera, tmp_path, documents) == (12, 12)
    assert [row["sequence"] for row in read_table(tmp_path)] == [*range(1, 9), *range(1, 5)]


def test_a_run_that_is_suspended(
    engine: RunEngine, documents: Documents, camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    trouble = Signal(name="trouble", value=0)
    engine.install_suspender(SuspendBoolHigh(trouble))
    over = threading.Timer(0.1, trouble.put, (0,))

    def suspend() -> Plan:
        trouble.put(1)
        over.start()
        yield from bps.checkpoint()

    camera.directory = tmp_path
    engine(recorded(camera, merlin, {3: suspend}))
    over.join(W)
    assert merlin.commands.count("STARTACQUISITION") == 2
    assert agreed(camera, tmp_path, documents) == (12, 12)


# The disk


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An event that lets the disk go on; until it is set, no page is written."""
    from stmtem_control.recording.page_writer import PageWriter

    go, write = threading.Event(), PageWriter.write

    def slowly(self: PageWriter, frames: Any) -> None:
        assert go.wait(2.0 * W)
        write(self, frames)

    monkeypatch.setattr(PageWriter, "write", slowly)
    yield go
    go.set()


def until(camera: FrameCamera, what: Callable[[], bool]) -> None:
    """Wait until something is so that the recorder tells the camera."""
    changed = threading.Event()

    def note(**_: Any) -> None:
        changed.set()

    camera.dropped.subscribe(note, run=False)
    while not what():
        assert changed.wait(W)
        changed.clear()


def test_a_disk_that_is_slow_loses_frames_that_are_counted_and_located(
    make_camera: Callable[..., FrameCamera],
    merlin: Any,
    tmp_path: Path,
    held: threading.Event,
    engine: RunEngine,
    documents: Documents,
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera = make_camera(ring_MB=8 * 4096 / 1e6)  # eight slots

    def flood() -> Plan:
        for i in range(20):
            merlin.frame(STAMP + 0.1 * i)
        until(camera, lambda: camera.dropped.get() > 0)  # told while the disk still hangs
        held.set()
        yield from bps.null()

    camera.directory = tmp_path
    engine(recorded(camera, merlin, {2: flood}))
    pages, declared = agreed(camera, tmp_path, documents)
    assert pages == declared
    table = read_table(tmp_path)
    lost = camera.dropped.get()
    assert lost > 0
    assert pages + lost == 32
    sequence = [row["sequence"] for row in table]
    before = [b - a - 1 for a, b in zip([0, *sequence], sequence, strict=False)]
    assert [row["dropped_before"] for row in table] == before
    assert sum(before) + 32 - sequence[-1] == lost
    assert "the ring full: the disk is too slow" in caplog.text


def test_a_full_disk_ends_the_run_and_what_was_written_is_declared(
    camera: FrameCamera,
    merlin: Any,
    tmp_path: Path,
    engine: RunEngine,
    documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stmtem_control.errors import RecordingError
    from stmtem_control.recording.page_writer import PageWriter

    write = PageWriter.write

    def full(self: PageWriter, frames: Any) -> None:
        write(self, frames[: 5 - self.count])
        if self.count == 5:
            raise RecordingError(f"frame 5 cannot be written to {tmp_path}: No space left")

    monkeypatch.setattr(PageWriter, "write", full)
    camera.directory = tmp_path
    with pytest.raises(Exception, match="No space left"):
        engine(recorded(camera, merlin, {}))
    list(camera.collect_asset_docs())
    assert [row["sequence"] for row in read_table(tmp_path)] == [1, 2, 3, 4, 5]
    with FrameFiles(tmp_path) as frames:
        assert [int(image[0, 0]) for image in frames] == [1, 2, 3, 4, 5]
    assert not camera.running


# Look-back


def test_a_recording_begins_with_what_was_before_it(
    camera: FrameCamera, merlin: Any, tmp_path: Path, engine: RunEngine, documents: Documents
) -> None:
    camera.look_back_s.set(5.0).wait(W)
    camera.arm().wait(W)
    camera.arm().wait(W)
    for i in range(6):
        merlin.frame(STAMP + 0.1 * i)
    while len(camera.samples()) < 6:
        assert camera.running
    latest = camera.latest_frame()
    assert latest is not None
    assert latest[0, 0] == 6
    sample = camera.samples()[-1]
    assert (sample.sequence, sample.mean_counts, sample.dropped_before) == (6, 6.0, 0)
    assert camera.frames_captured.get() == 0
    assert not list(tmp_path.iterdir())
    camera.configure(exposure_s=0.035)  # a plan may set what is so already
    camera.directory = tmp_path
    engine(recorded(camera, merlin, {}))
    assert agreed(camera, tmp_path, documents) == (18, 18)
    assert merlin.commands.count("STARTACQUISITION") == 1
    assert camera.frames_captured.get() == 18


def test_a_look_back_keeps_the_newest_frames_only(
    make_camera: Callable[..., FrameCamera], merlin: Any, tmp_path: Path, timeline: Timeline
) -> None:
    camera = make_camera(ring_MB=8 * 4096 / 1e6, look_back_s=0.1)
    camera.mark("end", 3)  # of the run before
    camera.arm().wait(W)
    for i in range(40):
        timeline.record("current_A", 0.1 * i - 0.02, 1e-12 * i)
    for i in range(30):
        merlin.frame(STAMP + 0.1 * i)
    while len(camera.samples()) < 30:
        assert camera.running
    camera.look_back_s.set(60.0)  # from now on; what is in the ring is what there is
    timeline.start_run(10.0)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    camera.complete().wait(W)
    rows = read_table(tmp_path)
    sequence = [row["sequence"] for row in rows]
    # They have their own time, phase and readings.
    for row in rows:
        assert row["run_time_s"] == pytest.approx(0.1 * row["sequence"] - 10.135, abs=1e-3)
        assert (row["phase"], row["cycle"], row["n_readings"]) == ("look-back", 0, 1)
        assert row["current_A"] == pytest.approx(1e-12 * (row["sequence"] - 1), abs=0.0)
    assert sequence == list(range(31 - len(sequence), 31))
    assert len(sequence) <= 8
    assert camera.dropped.get() == 0  # what went out of the look-back was not to be kept


def test_arming_is_refused_when_the_ring_is_too_small(
    make_camera: Callable[..., FrameCamera], merlin: Any
) -> None:
    camera = make_camera(ring_MB=8 * 4096 / 1e6, look_back_s=1.0)
    with pytest.raises(LimitError, match=r"needs room for 29 frames, the ring has room for 8"):
        camera.arm()
    assert "STARTACQUISITION" not in merlin.commands


def test_disarming_ends_the_acquisition_and_keeps_nothing(
    camera: FrameCamera, merlin: Any, tmp_path: Path
) -> None:
    camera.directory = tmp_path
    camera.arm().wait(W)
    merlin.frame(STAMP)
    camera.disarm()
    assert not camera.running
    assert merlin.commands[-1] != "STARTACQUISITION"
    assert not list(tmp_path.glob("*.tif"))
    merlin.drop_stream()
    camera.kickoff().wait(W)
    merlin.frame(STAMP + 1.0)
    camera.disarm()  # it is a recording by now, and goes on
    assert camera.running
    camera.complete().wait(W)
    assert [row["sequence"] for row in read_table(tmp_path)] == [1]
