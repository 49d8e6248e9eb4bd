"""What a plain client of the camera's data port sees of each fault."""

from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, HandClock

Attach = Callable[[int], Any]
FRAMES = 4
HEADER = 384  # bytes of the header of a one-chip frame
PIXELS = 256 * 256 * 2
pytestmark = [pytest.mark.bench(gap_nm=420.0), pytest.mark.usefixtures("hand_clock")]


@pytest.fixture
def bench(bench: Bench) -> Bench:
    """The beam is on."""
    bench.specimen.blank.drive(False)
    return bench


class Camera:
    """A plain client of both ports."""

    def __init__(self, bench: Bench, attach: Attach) -> None:
        self.bench = bench
        self.data = attach(bench.camera_data.port)
        self.control = attach(bench.camera_control.port)
        while not bench.taps["camera_data"][0].wires():
            assert self.data.quiet(0.001)

    def tell(self, body: str) -> bytes:
        self.control.send(b"MPX,%010d,%b" % (len(body) + 1, body.encode()))
        head = self.control.take(14)
        answer: bytes = self.control.take(int(head[4:]))
        return answer

    def start(self, frames: int = FRAMES, ms: float = 10.0) -> None:
        self.tell(f"SET,NUMFRAMESTOACQUIRE,{frames}")
        self.tell(f"SET,ACQUISITIONTIME,{ms}")
        assert self.tell("CMD,STARTACQUISITION").endswith(b",0")
        assert self.message().startswith(b",HDR,")

    def wait(self) -> None:
        """Let the time go on until something comes."""
        while self.data.quiet(0.002):
            self.advance(0.01)

    def advance(self, seconds: float) -> None:
        assert isinstance(self.bench.clock, HandClock)
        self.bench.clock.advance(seconds)

    def message(self) -> bytes:
        self.wait()
        head = self.data.take(14)
        assert head.startswith(b"MPX,"), head
        body: bytes = self.data.take(int(head[4:]))
        return body

    def number(self) -> int:
        return number(self.message())


def number(body: bytes) -> int:
    assert body.startswith(b",MQ1,")
    return int(body[5:11])


@pytest.fixture
def camera(bench: Bench, attach: Attach) -> Camera:
    return Camera(bench, attach)


def test_without_faults_all_frames_come(bench: Bench, camera: Camera) -> None:
    camera.start()
    for expected in range(1, FRAMES + 1):
        body = camera.message()
        assert number(body) == expected
        assert len(body) == 1 + HEADER + PIXELS
        assert any(body[-PIXELS:])
    assert bench.fault_log == ()


@pytest.mark.parametrize(
    ("fault", "numbers"),
    [
        ("lost_frames@exchange=2", [1, 3, 4]),
        ("lost_frames@exchange=2,count=2", [1, 4]),
        ("drop@exchange=3", [1, 2, 4]),
        ("duplicate@exchange=2", [1, 2, 2, 3, 4]),
        ("repeated_numbers@exchange=3", [1, 2, 2, 4]),
    ],
)
def test_numbers_of_the_frames(
    bench: Bench, camera: Camera, fault: str, numbers: list[int]
) -> None:
    bench.inject(f"camera_data:{fault}")
    camera.start()
    assert [camera.number() for _ in numbers] == numbers
    camera.advance(1.0)
    assert camera.data.quiet()


def test_a_short_frame_says_how_long_it_is(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:short_frames@exchange=2,amount=1000")
    bench.inject("camera_data:short_frames@exchange=3")
    camera.start()
    bodies = [camera.message() for _ in range(FRAMES)]
    assert [number(body) for body in bodies] == [1, 2, 3, 4]
    missing = [1 + HEADER + PIXELS - len(body) for body in bodies]
    assert missing == [0, 1000, PIXELS // 2, 0]


def test_a_truncated_frame_does_not(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:truncate@exchange=2,amount=5000")
    camera.start()
    assert camera.number() == 1
    camera.wait()
    torn = camera.data.take(5000)
    assert int(torn[4:14]) == 1 + HEADER + PIXELS
    assert camera.number() == 3


def test_a_wrong_length(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:wrong_length@exchange=1,amount=100")
    camera.start()
    camera.wait()
    assert int(camera.data.take(14)[4:]) == 1 + HEADER + PIXELS + 100
    assert number(camera.data.take(1 + HEADER + PIXELS)) == 1
    assert camera.number() == 2


def test_a_blank_frame(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:blank_frames@exchange=2")
    camera.start()
    assert [any(camera.message()[-PIXELS:]) for _ in range(FRAMES)] == [True, False, True, True]


def test_flipped_bits_and_garbage(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:garbage@exchange=2,amount=7")
    bench.inject("camera_data:corrupt@exchange=3,amount=5")
    bench.inject("camera_data:non_ascii@exchange=4")
    camera.start()
    assert camera.number() == 1
    camera.wait()
    camera.data.take(7)
    assert camera.number() == 2
    for _ in range(2):
        camera.wait()
        assert len(camera.data.take(14 + 1 + HEADER + PIXELS)) == 14 + 1 + HEADER + PIXELS
    assert [str(event.fault.kind) for event in bench.fault_log] == [
        "garbage", "corrupt", "non_ascii"
    ]  # fmt: skip


def test_a_late_and_a_dripping_frame(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:delay@exchange=2,seconds=0.5")
    bench.inject("camera_data:drip@exchange=3,seconds=10")
    camera.start()
    assert camera.number() == 1
    assert camera.number() == 2
    assert bench.clock.now() >= bench.fault_log[0].t_s + 0.5
    camera.wait()
    assert camera.data.some() == b"M"
    assert camera.data.quiet()
    camera.advance(10.0)
    assert camera.data.some() == b"P"


def test_a_connection_that_closes_in_a_frame(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:close_during@exchange=2,amount=100")
    camera.start()
    assert camera.number() == 1
    camera.wait()
    assert len(camera.data.take(10_000)) == 100


def test_a_stalled_stream_loses_nothing_that_fits(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:stall@exchange=2")
    camera.start()
    assert camera.number() == 1
    camera.advance(1.0)
    assert camera.data.quiet()
    bench.clear_faults()
    assert [camera.number() for _ in range(3)] == [2, 3, 4]


def test_a_stalled_stream_does_not_hold_up_the_end(camera: Camera) -> None:
    camera.bench.inject("camera_data:stall")
    camera.tell("CMD,STARTACQUISITION")
    camera.bench.close()
    while camera.data.some():
        pass


def test_silence_loses_frames(bench: Bench, camera: Camera) -> None:
    bench.inject("camera_data:silence@exchange=2")
    camera.start(frames=0)
    assert camera.number() == 1
    camera.advance(0.5)
    assert camera.data.quiet()
    bench.clear_faults()
    assert camera.number() > 2


@pytest.mark.parametrize("fault", ["acquisition_error", "overheat@amount=81"])
def test_an_acquisition_that_fails(bench: Bench, camera: Camera, fault: str) -> None:
    camera.start(frames=0)
    assert camera.number() == 1
    bench.inject(f"camera:{fault}")
    assert camera.tell("GET,DETECTORSTATUS") == b",GET,DETECTORSTATUS,0,0"
    assert camera.tell("CMD,STARTACQUISITION") == b",CMD,STARTACQUISITION,1"
    hot = camera.tell("GET,TEMPERATURE").startswith(b",GET,TEMPERATURE,81.")
    assert hot == fault.startswith("overheat")
    bench.clear_faults()
    assert camera.tell("GET,TEMPERATURE").startswith(b",GET,TEMPERATURE,37.")
    assert camera.tell("CMD,STARTACQUISITION") == b",CMD,STARTACQUISITION,0"


def test_the_cameras_clock_jumps(bench: Bench, camera: Camera) -> None:
    camera.start(frames=2)
    before = camera.message()[: 1 + HEADER]
    camera.message()
    bench.inject("camera:clock_jump@amount=86400")
    camera.start(frames=1)
    after = camera.message()[: 1 + HEADER]
    day = [int(header.split(b"MQ1A,")[1][8:10]) for header in (before, after)]
    assert day[0] != day[1]


def test_the_camera_reboots(bench: Bench, camera: Camera, attach: Attach) -> None:
    camera.start(frames=0)
    assert camera.number() == 1
    bench.inject("camera:reboot@when=GAIN")
    camera.control.send(b"MPX,0000000009,GET,GAIN")
    assert camera.control.some() == b""
    while camera.data.some():
        pass
    again = Camera(bench, attach)
    assert again.tell("GET,NUMFRAMESTOACQUIRE") == b",GET,NUMFRAMESTOACQUIRE,1,0"
    assert again.tell("GET,DETECTORSTATUS") == b",GET,DETECTORSTATUS,0,0"
