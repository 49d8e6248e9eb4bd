"""The camera that sends frames made beforehand: our driver and LiberTEM's read it."""

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmtem_control.devices.merlin import Merlin
from stmtem_control.devices.merlin_stream import FrameHeader, FrameStream, parse_frame_header
from stmtem_control.errors import InstrumentError
from stmtem_control.link import Link
from stmtem_control.simulators import merlin_replay
from stmtem_control.simulators.merlin_plan import make_plan
from stmtem_control.simulators.merlin_replay import ReplayCamera
from stmtem_control.simulators.merlin_settings import Settings
from stmtem_control.simulators.replay_frames import FrameHead, pictures
from stmtem_control.tcp import TcpTransport

W = 5.0  # wall seconds that a test waits at most
PICTURES = [np.full((256, 256), 3 + n, np.uint16) for n in range(3)]
for _picture in PICTURES:
    _picture[0] = 60  # the top row


@pytest.fixture
def replay() -> Iterator[Callable[..., ReplayCamera]]:
    """A function that makes cameras; all are closed at the end."""
    with contextlib.ExitStack() as made:
        yield lambda **options: made.enter_context(
            contextlib.closing(ReplayCamera(PICTURES, **options))
        )


@pytest.fixture
def driver() -> Iterator[Callable[[dict[str, Any]], Merlin]]:
    """A function that opens our driver at an address."""
    links: list[Link] = []

    def attach(address: dict[str, Any]) -> Merlin:
        host, port = address["host"], address["control"]
        links.append(Link(lambda: TcpTransport(host, port), name="camera"))
        links[-1].open(W)
        merlin = Merlin(links[-1], host=host, data_port=address["data"])
        merlin.open().result(W)
        merlin.set("COUNTERDEPTH", 12).result(W)
        return merlin

    yield attach
    for link in links:
        link.close()


def frames_of(stream: FrameStream, count: int) -> list[tuple[FrameHeader, Any]]:
    found: list[tuple[FrameHeader, Any]] = []
    while len(found) < count:
        got = stream.next_frame(time.monotonic() + W)
        if got is not None:
            found.append(got)
    return found


@pytest.mark.parametrize("flat_out", [False, True])
def test_our_driver_reads_every_frame(
    replay: Callable[..., ReplayCamera], driver: Callable[..., Merlin], flat_out: bool
) -> None:
    camera = replay(flat_out=flat_out, keep_times=True)
    merlin = driver(camera.addresses["camera"])
    assert merlin.image_size().result(W) == (256, 256)
    begun = time.monotonic()
    stream, _ = merlin.start(exposure_s=5e-4, period_s=1e-3, frames=40).result(W)
    with contextlib.closing(stream):
        found = frames_of(stream, 40)
    assert [header.sequence for header, _ in found] == list(range(1, 41))
    for header, picture in found:
        assert (picture == PICTURES[header.sequence % 3]).all()
        assert header.exposure_s == pytest.approx(5e-4)
    stamps = np.array([header.unix_time_s for header, _ in found])
    assert np.allclose(np.diff(stamps), 1e-3, atol=1e-6)
    assert merlin.get("DETECTORSTATUS").result(W) == "0"
    camera.close()
    assert (camera.sent, camera.lost) == (40, 0)
    numbers, times = zip(*camera.times, strict=True)
    assert numbers == tuple(range(1, 41))
    assert (times[-1] - begun > 0.0395) or flat_out  # at its own time since the start


def test_a_stop_ends_with_a_whole_frame_and_another_start_begins_anew(
    replay: Callable[..., ReplayCamera], driver: Callable[..., Merlin]
) -> None:
    merlin = driver(replay().addresses["camera"])
    for _ in range(2):  # the first stream has gone by the second time
        stream, _ = merlin.start(exposure_s=1e-3, period_s=2e-3).result(W)
        with contextlib.closing(stream):
            assert [h.sequence for h, _ in frames_of(stream, 5)] == [1, 2, 3, 4, 5]
            merlin.command("STOPACQUISITION").result(W)
            while merlin.get("DETECTORSTATUS").result(W) != "0":
                pass
            while stream.wait(0.02):
                assert stream.next_frame(time.monotonic() + W) is not None


def test_without_a_data_client_a_start_can_be_taken_back(
    replay: Callable[..., ReplayCamera], driver: Callable[..., Merlin]
) -> None:
    merlin = driver(replay().addresses["camera"])
    merlin.command("STARTACQUISITION").result(W)
    assert merlin.get("DETECTORSTATUS").result(W) == "1"
    with pytest.raises(InstrumentError, match="busy"):
        merlin.command("STARTACQUISITION").result(W)
    merlin.command("ABORT").result(W)
    assert merlin.get("DETECTORSTATUS").result(W) == "0"


def test_a_client_that_is_too_slow_loses_frames_and_sees_it(
    replay: Callable[..., ReplayCamera],
    driver: Callable[..., Merlin],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merlin_replay, "QUEUE_BYTES", 0)
    camera = replay()
    stream, _ = driver(camera.addresses["camera"]).start(exposure_s=1e-6, period_s=1e-5).result(W)
    with contextlib.closing(stream):
        found = frames_of(stream, 100)
    sequence = [header.sequence for header, _ in found]
    lost = sequence[-1] - len(sequence)
    assert 0 < lost <= camera.lost
    stamps = np.array([header.unix_time_s for header, _ in found])
    assert np.allclose(np.diff(stamps), 1e-5 * np.diff(sequence), atol=1e-6)


def test_a_soft_trigger_starts_each_burst(
    replay: Callable[..., ReplayCamera], driver: Callable[..., Merlin]
) -> None:
    merlin = driver(replay().addresses["camera"])
    with pytest.raises(InstrumentError):
        merlin.command("SOFTTRIGGER").result(W)
    merlin.set_timing(exposure_s=1e-3, period_s=2e-3).result(W)
    stream = merlin.open_stream()
    with contextlib.closing(stream):
        merlin.set_many(
            {"NUMFRAMESTOACQUIRE": 0, "TRIGGERSTART": 5, "NUMFRAMESPERTRIGGER": 3}
        ).result(W)
        merlin.command("STARTACQUISITION").result(W)
        for last in (3, 6):
            merlin.command("SOFTTRIGGER").result(W)
            assert frames_of(stream, 3)[-1][0].sequence == last
            assert not stream.wait(0.005)
        merlin.command("STOPACQUISITION").result(W)
    # It stops when the thread that sends has come round.
    deadline = time.monotonic() + W
    while (status := merlin.get("DETECTORSTATUS").result(W)) != "0" and time.monotonic() < deadline:
        pass
    assert status == "0"


def test_what_it_cannot_do_is_refused(
    replay: Callable[..., ReplayCamera], driver: Callable[..., Merlin]
) -> None:
    camera = replay()
    merlin = driver(camera.addresses["camera"])
    merlin.set("TRIGGERSTART", 1).result(W)
    for command in ("STARTACQUISITION", "THSCAN", "SELFTEST"):
        with pytest.raises(InstrumentError):
            merlin.command(command).result(W)
    with pytest.raises(OSError, match=r"in use|port"):
        replay(data_port=camera.data_port)
    with pytest.raises(ValueError, match="square"):
        ReplayCamera([np.zeros((256, 128), np.uint16)])


def test_only_number_and_times_of_a_head_change() -> None:
    settings = Settings()
    head = FrameHead(make_plan(settings, size=256, wafer=500, scan=False), 131072)
    for number, ns in ((1, 1_700_000_000_123_456_789), (999_999, 1), (1_000_000, 2 * 10**18)):
        message = bytes(head.show(number, ns))
        assert len(message) == 15 + 384
        found = parse_frame_header(message[15:])
        assert (found.sequence, found.offset, found.width) == (number, 384, 256)
        assert found.unix_time_s == pytest.approx(1e-9 * ns, abs=1e-6)
        fields = message.decode().split(",")
        assert fields[11].endswith(f".{ns % 10**9 // 1000:06d}")


def test_pictures_differ_by_their_noise_only() -> None:
    first, second = pictures(256, 2)
    assert first.shape == (256, 256)
    assert (first != second).mean() > 0.5
    assert first.mean() == pytest.approx(second.mean(), rel=0.02)
    assert 3.0 < first.mean() < 20.0


def test_as_a_process_it_ends_with_its_input(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stmtem_control.simulators.merlin_replay", "--frames", "2"]
    command += ["--json", "--until-eof", "--flat-out", "--times", str(tmp_path / "times.npy")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["camera"]
        with socket.create_connection((address["host"], address["data"]), W):
            pass
        process.stdin.close()
        assert json.loads(process.stdout.read()) == {"sent": 0, "lost": 0}
    assert process.returncode == 0
    assert np.load(tmp_path / "times.npy").shape == (0, 2)


def test_libertem_reads_every_frame(replay: Callable[..., ReplayCamera], tmp_path: Path) -> None:
    control = pytest.importorskip(
        "libertem_live.detectors.merlin.control", reason="libertem-live not installed"
    )
    receiver = pytest.importorskip("libertem_qd_mpx", reason="libertem-qd-mpx not installed")
    address = replay().addresses["camera"]
    merlin: Any = control.MerlinControl(port=address["control"])
    merlin.connect()
    merlin.set("COUNTERDEPTH", 12)
    merlin.set("ACQUISITIONTIME", 0.5)
    merlin.set("ACQUISITIONPERIOD", 1)
    merlin.set("NUMFRAMESTOACQUIRE", 32)
    connection = receiver.QdConnection(
        "127.0.0.1", address["data"], 8, str(tmp_path / "handle"), drain=False
    )
    connection.start_passive()
    merlin.cmd("STARTACQUISITION")
    assert connection.wait_for_arm(10.0).frames_in_acquisition() == 32
    client = receiver.CamClient(connection.get_socket_path())
    count = 0
    while (stack := connection.get_next_stack(8)) is not None:
        found: Any = np.zeros((len(stack), *stack.get_shape()), np.uint16)
        client.decode_range_into_buffer(stack, found, 0, len(stack))
        client.done(stack)
        for picture in found:
            count += 1
            assert (picture[1:-1] == 3 + count % 3).all()
    assert count == 32
    client.close()
    connection.close()
    merlin.close()
