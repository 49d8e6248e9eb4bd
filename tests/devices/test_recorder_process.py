"""The recorder as a process of its own: it outlives the session's death, and its own is told."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.devices import FrameCamera
from stmtem_control.devices.recorder_process import Recorder
from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import read_table
from stmtem_control.recording.ring import FrameRing, shared_memory

W = 10.0  # wall seconds that a test waits at most: a process must start
STAMP = 1_795_000_000.0
LEAVES_S = 3.0  # wall seconds in which the recorder ends when the session is dead

# A session at its smallest: it starts a recorder, has it record what comes, and is killed.
SESSION = """
import os, signal, sys
from pathlib import Path
from stmtem_control.clock import StationClock
from stmtem_control.devices.recorder_client import RecorderClient

data_port, folder = int(sys.argv[1]), sys.argv[2]
client = RecorderClient(
    name="camera",
    ring={"shape": [8, 6], "dtype": "<u2", "slots": 64, "slot_bytes": 4096},
    clock=StationClock(),
    hear=lambda message: None,
    gone=lambda error: None,
)
client.tell("run", run=1, folder=folder, dose_rate_e_per_A2_s=20.0)
client.request("record", 10.0, pixel_size_nm=1.0, frame_interval_s=0.1, frames_per_file=4,
               settle_s=60.0, method="auto", compression=None, tiff="auto")
client.request("open", 10.0, host="127.0.0.1", port=data_port, exposure_s=0.035, period_s=0.1)
client.tell("started", sent=0.0, answered=0.001)
print(client.pid, flush=True)
sys.stdin.readline()
while len(client.request("samples", 10.0, most=100)["samples"]) < 10:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def camera(make_camera: Callable[..., FrameCamera]) -> FrameCamera:
    """A camera whose recorder is a process."""
    return make_camera(process=True)


@pytest.fixture
def until(camera: FrameCamera) -> Callable[[Callable[[], bool]], None]:
    """A function that waits until something is so that the recorder tells the camera."""
    changed = threading.Condition()

    def note(**_: Any) -> None:
        with changed:
            changed.notify_all()

    camera.frames_written.subscribe(note, run=False)
    camera.frames_captured.subscribe(note, run=False)

    def wait(what: Callable[[], bool]) -> None:
        with changed:
            assert changed.wait_for(what, W)

    return wait


def pid_of(camera: FrameCamera) -> int:
    """Return the process id of a camera's recorder."""
    pid = camera._recording.client.pid
    assert pid is not None
    return pid


def gone(pid: int, seconds: float) -> bool:
    """Tell whether a process that is no child of ours ends within some wall seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_a_run_and_its_end(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    pid = pid_of(camera)
    assert pid != os.getpid()
    os.kill(pid, signal.SIGINT)  # as Ctrl-C at the terminal would
    os.kill(pid, signal.SIGTERM)
    for i in range(6):
        merlin.frame(STAMP + 0.1 * i)
    until(lambda: camera.frames_written.get() >= 5)
    latest = camera.latest_frame()
    assert latest is not None
    assert latest[0, 0] >= 5
    camera.complete().wait(W)
    assert [row["sequence"] for row in read_table(tmp_path)] == [1, 2, 3, 4, 5, 6]
    camera.disconnect()
    assert gone(pid, 0.0)


def test_the_camera_may_answer_at_once_whether_it_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """In another thread: the answer was taken before the reader had what it waits for."""
    ring: dict[str, Any] = {"shape": (8, 6), "dtype": "<u2", "slots": 4, "slot_bytes": 4096}
    memory = shared_memory(FrameRing.size(4, 4096))
    ours, theirs = socket.socketpair()
    with contextlib.closing(ours):
        owned = FrameRing(**ring, descriptor=memory, owner=True)
        os.close(memory)
        recorder = Recorder(theirs, owned, StationClock(), "camera")
        with monkeypatch.context() as patch:
            patch.setattr(recorder._line, "post", lambda _: recorder._take_status("0"))
            assert recorder._ask_status().result(0.0) == "0"
    recorder.serve()  # to its end, for nobody is at the other
    owned.close()


def test_a_recorder_that_is_killed_is_told_and_replaced(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    camera.directory = first
    camera.kickoff().wait(W)
    for i in range(3):
        merlin.frame(STAMP + 0.1 * i)
    until(lambda: camera.frames_written.get() == 3)
    os.kill(pid_of(camera), signal.SIGKILL)
    until(lambda: not camera.running)
    with pytest.raises(
        RecordingError, match=r"^camera: the recorder has ended \(killed by"
    ) as told:
        list(camera.collect_asset_docs())
    assert "\n" not in str(told.value)
    # Told once; then what was on disk before can be declared.
    documents = list(camera.collect_asset_docs())
    assert documents[-1][1]["indices"] == {"start": 0, "stop": 3}
    camera.complete().wait(W)
    camera.stop()
    assert camera.unsafe is None
    with FrameFiles(first) as frames:
        assert [int(image[0, 0]) for image in frames] == [1, 2, 3]
    merlin.drop_stream()
    # Where numbers would go on, frames may lie that were never told.
    with pytest.raises(RecordingError, match=r"begin a new run, and complete this .* recover .*1'"):
        camera.kickoff()
    assert not camera.running
    camera.directory = second
    camera.kickoff().wait(W)
    merlin.frame(STAMP + 9.0)
    camera.complete().wait(W)
    assert [row["sequence"] for row in read_table(second)] == [1]


def test_a_clock_holds_for_its_run_also_in_another_recorder(
    camera: FrameCamera, merlin: Any, tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    camera.directory = first
    no_doubt = ((0.0, 0.0), (0.0, 0.0))
    camera.set_clock(ClockModel(STAMP, 50.0 - STAMP, 0.0, no_doubt, "by hand"))
    client = camera._recording.client
    os.kill(pid_of(camera), signal.SIGKILL)
    until(lambda: client.dead)
    with pytest.raises(RecordingError, match="has ended"):
        camera.kickoff()
    for folder, source in ((first, "clapperboard"), (second, "start")):
        if folder == second:
            camera.directory = second
        camera.kickoff().wait(W)
        merlin.frame(STAMP + 0.1)
        camera.complete().wait(W)
        (row,) = read_table(folder)
        assert row["time_source"] == source
        assert (row["run_time_s"] == pytest.approx(50.1, abs=1e-6)) == (folder == first)
        merlin.drop_stream()


def killed(session: "subprocess.Popen[bytes]", merlin: Any) -> int:
    """Send frames to the recorder of a session, have that killed; return the recorder's pid."""
    assert session.stdout is not None
    assert session.stdin is not None
    merlin.stream, _ = merlin.data.accept()
    pid = int(session.stdout.readline())
    for i in range(10):
        merlin.frame(STAMP + 0.1 * i)
    session.stdin.write(b"die\n")
    session.stdin.close()
    assert session.wait(W) == -signal.SIGKILL
    return pid


def test_a_session_that_is_killed_leaves_all_that_came_on_disk(merlin: Any, tmp_path: Path) -> None:
    merlin.data.settimeout(W)
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, str(merlin.data.getsockname()[1]), str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        pid = killed(session, merlin)
    begun = time.monotonic()
    assert gone(pid, W)
    assert time.monotonic() - begun < LEAVES_S
    table = read_table(tmp_path)
    # The rows are as final as they can be: what had not come yet will never come.
    assert [row["sequence"] for row in table] == list(range(1, 11))
    with FrameFiles(tmp_path) as frames:
        assert [int(image[0, 0]) for image in frames] == list(range(1, 11))
        assert all(row["settled"] for row in frames.rows())


def test_a_session_that_is_busy_loses_nothing(
    camera: FrameCamera, merlin: Any, tmp_path: Path, busy: Callable[[], int]
) -> None:
    """A thread that computes all the time holds up every other thread of the session."""
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    for i in range(200):
        merlin.frame(STAMP + 0.005 * i)
    camera.complete().wait(W)
    assert busy() > 0
    assert camera.dropped.get() == 0
    assert [row["sequence"] for row in read_table(tmp_path)] == list(range(1, 201))


@pytest.fixture
def busy() -> Iterator[Callable[[], int]]:
    """A thread that computes until the end of the test; says how far it has come."""
    over, rounds = threading.Event(), [0]

    def compute() -> None:
        while not over.is_set():
            rounds[0] += sum(i * i for i in range(1000)) % 7 + 1

    thread = threading.Thread(target=compute)
    thread.start()
    yield lambda: rounds[0]
    over.set()
    thread.join(W)


def test_the_recorder_imports_little() -> None:
    """It must be there in a moment, and hold nothing that it does not need."""
    code = (
        "import sys, stmtem_control.devices.recorder_process; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"ophyd", "bluesky", "event_model", "matplotlib", "tifffile", "pyarrow", "pydantic"}
    assert not heavy & set(found.stdout.split())


def test_a_recorder_that_cannot_start_says_why(
    make_camera: Callable[..., FrameCamera], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    camera = make_camera(process=True)
    camera.directory = tmp_path
    with pytest.raises(RecordingError, match=r"^camera: the recorder has ended"):
        camera.kickoff()
