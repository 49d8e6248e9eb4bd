"""The simulated Merlin takes frames when it should, and stops when it is told."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators.camera import MerlinCamera
from stmtem_control.simulators.clock import HandClock, WallClock
from stmtem_control.simulators.lines import Line
from stmtem_control.simulators.server import Channel

READOUT = 12 * 65536 / 480e6  # s; 12 bits of a chip over four lanes at 120 MHz


class _Chart:
    """A test chart: every exposure shows its number; notes when it was looked at."""

    def __init__(self) -> None:
        self.exposures: list[tuple[float, float, int]] = []

    def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        pass

    def image(
        self, start: float, stop: float, shape: tuple[int, int], index: int
    ) -> NDArray[np.uint16]:
        self.exposures.append((start, stop, index))
        return np.full(shape, index, np.uint16)


class _Client(Channel):
    """A data or control client in the same process."""

    def __init__(self) -> None:
        super().__init__("test")
        self.heard = b""
        self.grown = threading.Condition()

    def _write(self, data: bytes) -> None:
        with self.grown:
            self.heard += data
            self.grown.notify_all()

    def hang_up(self) -> None:
        pass

    def messages(self, count: int) -> list[bytes]:
        """Wait for that many messages and return all there are."""
        with self.grown:
            assert self.grown.wait_for(lambda: len(split(self.heard)) >= count, 10.0)
            return split(self.heard)


def split(data: bytes) -> list[bytes]:
    bodies = []
    while data:
        length = int(data[4:14])
        bodies.append(data[15 : 14 + length])
        data = data[14 + length :]
    return bodies


class _Rig:
    """A one-chip camera in front of a chart."""

    def __init__(self, *, attach: bool = True) -> None:
        self.clock = HandClock()
        self.chart = _Chart()
        self.camera = MerlinCamera(self.clock, self.chart, size=256, epoch_ns=10**18)
        self.control = _Client()
        self.camera.control.opened(self.control)
        self.data = _Client()
        if attach:
            self.attach()

    def attach(self) -> None:
        self.camera.data.opened(self.data)

    def send(self, text: str) -> str:
        """Send a request and return the fields after type and name."""
        self.control.heard = b""
        self.camera.control.received(self.control, f"MPX,{len(text) + 1:010d},{text}".encode())
        (body,) = split(self.control.heard)
        return body.decode().split(",", 2)[2]

    def set(self, **values: object) -> None:
        for name, value in values.items():
            assert self.send(f"SET,{name},{value}") == "0", name

    def start(self) -> None:
        assert self.send("CMD,STARTACQUISITION") == "0"

    @property
    def starts(self) -> list[float]:
        return [start for start, _, _ in self.chart.exposures]

    def numbers(self, count: int) -> list[int]:
        """Return the sequence numbers of the frames, of which there are `count`."""
        bodies = self.data.messages(count + 1)
        assert bodies[0].startswith(b"HDR,")
        return [int(body.split(b",", 2)[1]) for body in bodies[1:]]


@pytest.fixture
def rig(_no_thread_stays: None) -> Iterator[_Rig]:
    made = _Rig()
    yield made
    made.camera.close()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_internal_trigger_takes_frames_at_the_period(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=50, NUMFRAMESTOACQUIRE=3)
    rig.start()
    assert rig.camera.busy
    assert rig.send("GET,DETECTORSTATUS") == "1,0"
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([0.0, 0.05, 0.1])
    assert [stop - start for start, stop, _ in rig.chart.exposures] == pytest.approx([0.01] * 3)
    assert rig.numbers(3) == [1, 2, 3]
    assert rig.send("GET,DETECTORSTATUS") == "0,0"
    assert rig.camera.frames_sent == 3


def test_a_frame_is_made_at_the_end_of_its_exposure(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, NUMFRAMESTOACQUIRE=1)
    rig.start()
    rig.clock.advance(0.0099)
    assert rig.chart.exposures == []
    rig.clock.advance(0.0002)
    assert len(rig.chart.exposures) == 1


def test_numbers_begin_again_but_the_noise_does_not(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=1, ACQUISITIONPERIOD=5, NUMFRAMESTOACQUIRE=2)
    for _ in range(2):
        rig.start()
        rig.clock.advance(1.0)
    numbers = [body.split(b",")[1] for body in rig.data.messages(6) if body.startswith(b"MQ1")]
    assert numbers == [b"000001", b"000002"] * 2
    assert [index for *_, index in rig.chart.exposures] == [0, 1, 2, 3]


def test_a_period_below_the_exposure_adds_the_readout(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=1, NUMFRAMESTOACQUIRE=3)
    rig.start()
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([n * (0.01 + READOUT) for n in range(3)])


def test_continuous_read_write_has_no_gap(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=10, NUMFRAMESTOACQUIRE=4, CONTINUOUSRW=1)
    rig.start()
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([0.0, 0.01, 0.02, 0.03])


def test_24_bits_leave_no_counter_for_continuous_read_write(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=10, NUMFRAMESTOACQUIRE=2, CONTINUOUSRW=1)
    rig.set(COUNTERDEPTH=24)
    rig.start()
    rig.clock.advance(1.0)
    assert rig.starts[1] == pytest.approx(0.01 + 2 * READOUT)


def test_zero_frames_run_until_stop_which_finishes_the_frame(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=20, NUMFRAMESTOACQUIRE=0)
    rig.start()
    rig.clock.advance(0.105)
    assert rig.send("CMD,STOPACQUISITION") == "0"
    assert rig.camera.busy
    rig.clock.advance(1.0)
    assert not rig.camera.busy
    assert rig.numbers(6) == [1, 2, 3, 4, 5, 6]


def test_stop_between_two_frames_stops_at_once(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=100, NUMFRAMESTOACQUIRE=0)
    rig.start()
    rig.clock.advance(0.05)
    assert rig.send("CMD,STOPACQUISITION") == "0"
    assert not rig.camera.busy
    rig.clock.advance(1.0)
    assert rig.numbers(1) == [1]


def test_abort_drops_the_frame(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, NUMFRAMESTOACQUIRE=0)
    rig.start()
    rig.data.messages(1)
    rig.clock.advance(0.005)
    assert rig.send("CMD,ABORT") == "0"
    assert not rig.camera.busy
    rig.clock.advance(1.0)
    assert rig.chart.exposures == []
    assert not rig.camera.trigger_out.level


def test_busy_refuses_what_would_start_something(rig: _Rig) -> None:
    rig.set(NUMFRAMESTOACQUIRE=0)
    rig.start()
    for name in ("STARTACQUISITION", "THSCAN", "SELFTEST", "NOISEEQUALISATION", "RESET"):
        assert rig.send(f"CMD,{name}") == "1", name
    assert rig.send("CMD,SOFTTRIGGER") == "1"


def test_settings_of_a_running_acquisition_stay(rig: _Rig) -> None:
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=20, NUMFRAMESTOACQUIRE=3)
    rig.start()
    rig.set(ACQUISITIONTIME=1, COUNTERDEPTH=6, NUMFRAMESTOACQUIRE=1)
    rig.clock.advance(1.0)
    assert [stop - start for start, stop, _ in rig.chart.exposures] == pytest.approx([0.01] * 3)
    assert rig.data.messages(4)[3].split(b",")[6] == b"U16"


def test_soft_triggers_give_so_many_frames_each(rig: _Rig) -> None:
    rig.set(TRIGGERSTART=5, NUMFRAMESPERTRIGGER=2, NUMFRAMESTOACQUIRE=4)
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=20)
    assert rig.send("CMD,SOFTTRIGGER") == "1"
    rig.start()
    rig.clock.advance(1.0)
    assert rig.chart.exposures == []
    assert rig.send("CMD,SOFTTRIGGER") == "0"
    assert rig.send("CMD,SOFTTRIGGER") == "1"
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([1.0, 1.02])
    assert rig.send("CMD,SOFTTRIGGER") == "0"
    rig.clock.advance(1.0)
    assert rig.starts[2:] == pytest.approx([2.0, 2.02])
    assert not rig.camera.busy
    assert rig.numbers(4) == [1, 2, 3, 4]


@pytest.mark.parametrize(("start", "level"), [(1, True), (2, False)])
def test_an_edge_at_the_ttl_input_starts_a_frame(rig: _Rig, start: int, level: bool) -> None:
    rig.camera.trigger_in.drive(not level)
    rig.set(TRIGGERSTART=start, NUMFRAMESTOACQUIRE=0, ACQUISITIONTIME=5)
    rig.start()
    for t in (0.1, 0.2):
        rig.clock.wait_until(t)
        rig.camera.trigger_in.drive(level)
        rig.clock.advance(0.03)
        rig.camera.trigger_in.drive(not level)
    assert rig.starts == pytest.approx([0.1, 0.2])
    assert rig.send("CMD,STOPACQUISITION") == "0"


def test_lvds_is_another_input(rig: _Rig) -> None:
    rig.set(TRIGGERSTART=3, NUMFRAMESTOACQUIRE=1, ACQUISITIONTIME=5)
    rig.start()
    rig.camera.trigger_in.pulse()
    rig.clock.advance(0.1)
    assert rig.chart.exposures == []
    rig.camera.trigger_in_lvds.pulse()
    rig.clock.advance(0.1)
    assert len(rig.chart.exposures) == 1


def test_the_stop_trigger_ends_the_exposure(rig: _Rig) -> None:
    rig.set(TRIGGERSTART=1, TRIGGERSTOP=2, NUMFRAMESTOACQUIRE=2, ACQUISITIONTIME=5)
    rig.start()
    for length in (0.123, 0.045):
        rig.clock.advance(0.1)
        rig.camera.trigger_in.drive(True)
        rig.clock.advance(length)
        rig.camera.trigger_in.drive(False)
    rig.clock.advance(0.1)
    lengths = [stop - start for start, stop, _ in rig.chart.exposures]
    assert lengths == pytest.approx([0.123, 0.045])
    assert not rig.camera.busy


def test_the_trigger_delay_applies_when_it_is_to(rig: _Rig) -> None:
    rig.set(TRIGGERSTART=1, NUMFRAMESTOACQUIRE=1, TriggerOutTTLDelay=2_000_000, TriggerUseDelay=1)
    rig.start()
    rig.camera.trigger_in.pulse()
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([0.002])


def edges(line: Line, clock: HandClock) -> list[tuple[float, bool]]:
    seen: list[tuple[float, bool]] = []
    line.listen(lambda level: seen.append((clock.now(), level)))
    return seen


def test_the_output_follows_the_shutter(rig: _Rig) -> None:
    seen = edges(rig.camera.trigger_out, rig.clock)
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=50, NUMFRAMESTOACQUIRE=2)
    rig.start()
    rig.clock.advance(1.0)
    assert [level for _, level in seen] == [True, False, True, False]
    assert [t for t, _ in seen] == pytest.approx([0.0, 0.01, 0.05, 0.06])


def test_without_a_gap_the_shutter_still_shows_each_frame(rig: _Rig) -> None:
    seen = edges(rig.camera.trigger_out, rig.clock)
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=10, NUMFRAMESTOACQUIRE=3, CONTINUOUSRW=1)
    rig.start()
    rig.clock.advance(1.0)
    assert [level for _, level in seen] == [True, False] * 3


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (5, [(0.0, True), (0.03, False), (1.0, True), (1.03, False)]),
        (
            6,
            [
                *((0.0, True), (0.01 + READOUT, False)),
                *((0.02, True), (0.03 + READOUT, False)),
                *((1.0, True), (1.01 + READOUT, False)),
                *((1.02, True), (1.03, False)),  # the acquisition is over with its last frame
            ],
        ),
        (7, [(0.0, True), (1.03, False)]),
    ],
)
def test_other_outputs(rig: _Rig, mode: int, expected: list[tuple[float, bool]]) -> None:
    rig.set(TriggerOutTTL=mode, TRIGGERSTART=5, NUMFRAMESPERTRIGGER=2, NUMFRAMESTOACQUIRE=4)
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=20)
    seen = edges(rig.camera.trigger_out, rig.clock)
    rig.start()
    rig.send("CMD,SOFTTRIGGER")
    rig.clock.advance(1.0)
    rig.send("CMD,SOFTTRIGGER")
    rig.clock.advance(1.0)
    assert [level for _, level in seen] == [level for _, level in expected]
    assert [t for t, _ in seen] == pytest.approx([t for t, _ in expected])


def test_inverted_and_passed_on_outputs(rig: _Rig) -> None:
    rig.set(TriggerOutTTLInvert=1)
    assert rig.camera.trigger_out.level
    rig.set(TriggerOutTTL=0, TriggerOutTTLInvert=0)
    rig.camera.trigger_in.drive(True)
    assert rig.camera.trigger_out.level
    rig.set(TriggerOutTTL=2, TriggerOutTTLDelay=5_000_000)
    rig.camera.trigger_in.drive(False)
    seen = edges(rig.camera.trigger_out, rig.clock)
    rig.clock.advance(0.1)
    assert [level for _, level in seen] == [False]
    assert [t for t, _ in seen] == pytest.approx([0.005])


def test_an_acquisition_waits_for_its_first_data_client() -> None:
    rig = _Rig(attach=False)
    rig.set(ACQUISITIONTIME=10, NUMFRAMESTOACQUIRE=1)
    rig.start()
    rig.clock.advance(5.0)
    assert rig.camera.busy
    assert rig.chart.exposures == []
    rig.attach()
    rig.clock.advance(1.0)
    assert rig.starts == pytest.approx([5.0])
    assert rig.numbers(1) == [1]
    rig.camera.close()


def test_a_soft_trigger_before_the_data_client_is_kept() -> None:
    rig = _Rig(attach=False)
    rig.set(TRIGGERSTART=5, NUMFRAMESTOACQUIRE=1)
    rig.start()
    assert rig.send("CMD,SOFTTRIGGER") == "0"
    rig.attach()
    rig.clock.advance(1.0)
    assert rig.numbers(1) == [1]
    rig.camera.close()


def test_every_data_client_gets_every_frame(rig: _Rig) -> None:
    other, late = _Client(), _Client()
    rig.camera.data.opened(other)
    rig.set(ACQUISITIONTIME=10, ACQUISITIONPERIOD=20, NUMFRAMESTOACQUIRE=3)
    rig.start()
    rig.clock.advance(0.015)
    rig.camera.data.opened(late)
    rig.clock.advance(1.0)
    assert rig.data.messages(4) == other.messages(4)
    kinds = [body[:10] for body in late.messages(3)]
    assert kinds == [b"HDR,\t\nTime", b"MQ1,000002", b"MQ1,000003"]


class _Jammed(_Client):
    """A data client that takes nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.sending = threading.Event()

    def _write(self, data: bytes) -> None:
        self.sending.set()
        self.gate.wait(10.0)
        super()._write(data)

    def hang_up(self) -> None:
        self.gate.set()


def test_a_slow_client_loses_frames_and_sees_it(rig: _Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stmtem_control.simulators.merlin_stream.QUEUE_BYTES", 0)
    slow = _Jammed()
    rig.camera.data.opened(slow)
    rig.set(ACQUISITIONTIME=1, ACQUISITIONPERIOD=10, NUMFRAMESTOACQUIRE=20)
    rig.start()
    assert slow.sending.wait(10.0)  # the header is on its way and holds up the rest
    rig.clock.advance(1.0)
    assert not rig.camera.busy
    assert rig.camera.frames_dropped >= 16
    slow.gate.set()
    slow.messages(5)
    rig.set(NUMFRAMESTOACQUIRE=1)
    rig.start()
    rig.clock.advance(1.0)
    bodies = slow.messages(7)
    assert bodies[5].startswith(b"HDR,")
    numbers = [int(body.split(b",", 2)[1]) for body in bodies if body.startswith(b"MQ1")]
    assert numbers == [1, 2, 3, 4, 1]


def test_a_gone_client_leaves_no_thread(rig: _Rig) -> None:
    slow = _Jammed()
    rig.camera.data.opened(slow)
    rig.set(ACQUISITIONTIME=1, NUMFRAMESTOACQUIRE=1)
    rig.start()
    rig.camera.data.closed(slow)
    assert not [t for t in threading.enumerate() if t.name == "sim-camera-data"][1:]


def test_a_threshold_scan_takes_a_frame_for_each_threshold(rig: _Rig) -> None:
    rig.set(THSCAN=0, THSTART=190, THSTOP=210, THSTEP=10, ACQUISITIONTIME=1)
    assert rig.send("CMD,THSCAN") == "0"
    rig.clock.advance(1.0)
    bodies = rig.data.messages(4)
    assert b"Th_scan" in bodies[0]
    thresholds = [float(body.split(b",")[14]) for body in bodies[1:]]
    assert thresholds == [190.0, 200.0, 210.0]


def test_electrons_below_the_threshold_are_not_counted(rig: _Rig) -> None:
    rig.set(THRESHOLD0=300, ACQUISITIONTIME=1, NUMFRAMESTOACQUIRE=2)
    rig.start()
    rig.clock.advance(1.0)
    assert not any(rig.data.messages(3)[2][384:])


def test_colour_and_second_counter_send_one_picture_for_each_counter(rig: _Rig) -> None:
    rig.set(COLOURMODE=1, ENABLECOUNTER1=1, ACQUISITIONTIME=1, NUMFRAMESTOACQUIRE=1)
    rig.start()
    rig.clock.advance(1.0)
    counters = [int(body.split(b",")[11]) for body in rig.data.messages(9)[1:]]
    assert counters == list(range(8))


def test_processes_are_busy_for_a_while_and_can_be_aborted(rig: _Rig) -> None:
    assert rig.send("CMD,SELFTEST") == "0"
    assert rig.send("GET,DETECTORSTATUS") == "1,0"
    rig.clock.advance(10.0)
    assert rig.send("GET,DETECTORSTATUS") == "0,0"
    assert rig.send("CMD,NOISEEQUALISATION") == "0"
    assert rig.send("CMD,ABORT") == "0"
    assert rig.send("GET,DETECTORSTATUS") == "0,0"


def test_a_picture_that_comes_too_late_is_lost_not_queued() -> None:
    clock = WallClock(speed=1e4)
    done = threading.Event()

    class Slow(_Chart):
        def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
            pass

        def image(
            self, start: float, stop: float, shape: tuple[int, int], index: int
        ) -> NDArray[np.uint16]:
            clock.wait_until(clock.now() + 4000.0)
            return super().image(start, stop, shape, index)

    chart = Slow()
    camera = MerlinCamera(clock, chart, size=256)
    control, data = _Client(), _Client()
    camera.trigger_out.listen(lambda level: done.set() if not camera.busy else None)
    camera.control.opened(control)
    camera.data.opened(data)
    for text in (
        "SET,ACQUISITIONTIME,1000",
        "SET,ACQUISITIONPERIOD,1000",
        "SET,TriggerOutTTL,7",
        "SET,NUMFRAMESTOACQUIRE,8000",
        "CMD,STARTACQUISITION",
    ):
        camera.control.received(control, f"MPX,{len(text) + 1:010d},{text}".encode())
    assert done.wait(20.0)
    assert camera.frames_dropped > 1000
    assert camera.frames_sent + camera.frames_dropped == 8000
    camera.close()
    clock.close()


@pytest.mark.parametrize("size", [0, 100, 300, 4096])
def test_sizes_that_no_chips_give(size: int) -> None:
    with pytest.raises(ValueError, match="256"):
        MerlinCamera(HandClock(), _Chart(), size=size)
