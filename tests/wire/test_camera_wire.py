"""The two ports of the simulated Merlin, byte for byte.

Sources: the Merlin interface specification (TDI-CTRL-TNO-0041; its examples are the first rows)
and frame headers that users of the camera recorded.
"""

import socket
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.simulators.camera import MerlinCamera
from stmtem_control.simulators.clock import HandClock, WallClock
from stmtem_control.simulators.server import Channel, TcpEndpoint

EPOCH_NS = 1_633_366_668_710_465_438  # 2021-10-04T16:57:48.710465438Z


def mpx(text: str) -> bytes:
    return f"MPX,{len(text) + 1:010d},{text}".encode()


TABLE = [
    (
        b"MPX,0000000025,SET,NUMFRAMESTOACQUIRE,1",
        b"MPX,0000000025,SET,NUMFRAMESTOACQUIRE,0",
    ),
    (
        b"MPX,0000000023,GET,NUMFRAMESTOACQUIRE",
        b"MPX,0000000027,GET,NUMFRAMESTOACQUIRE,1,0",
    ),
    (b"MPX,0000000021,CMD,STARTACQUISITION", b"MPX,0000000023,CMD,STARTACQUISITION,0"),
    (b"MPX,0000000020,CMD,STOPACQUISITION", b"MPX,0000000022,CMD,STOPACQUISITION,0"),
    # lengths of two digits, values that GET and CMD need not have
    (b"MPX,19,GET,DETECTORSTATUS", mpx("GET,DETECTORSTATUS,0,0")),
    (b"MPX,0000000021,GET,DETECTORSTATUS,0", mpx("GET,DETECTORSTATUS,0,0")),
    (mpx("CMD,STARTACQUISITION,0"), mpx("CMD,STARTACQUISITION,0")),
    (mpx("CMD,ABORT"), mpx("CMD,ABORT,0")),
    (mpx("CMD,RESET"), mpx("CMD,RESET,0")),
    (mpx("CMD,SELFTEST"), mpx("CMD,SELFTEST,0")),
    (mpx("CMD,FLATFIELDCORRECTION"), mpx("CMD,FLATFIELDCORRECTION,0")),
    (mpx("CMD,SOFTTRIGGER"), mpx("CMD,SOFTTRIGGER,1")),
    (mpx("GET,COUNTERDEPTH"), mpx("GET,COUNTERDEPTH,12,0")),
    (mpx("GET,ACQUISITIONTIME"), mpx("GET,ACQUISITIONTIME,1.000000E+2,0")),
    (mpx("GET,IMAGEX"), mpx("GET,IMAGEX,256,0")),
    (mpx("GET,IMAGEY"), mpx("GET,IMAGEY,256,0")),
    (mpx("GET,SOFTWAREVERSION"), mpx("GET,SOFTWAREVERSION,0.67.0.9,0")),
    (mpx("SET,TriggerOutTTL,7"), mpx("SET,TriggerOutTTL,0")),
    (mpx("SET,FILENAME,a,b"), mpx("SET,FILENAME,0")),
    (mpx("SET,NUMFRAMESTOACQUIRE,42949672950"), mpx("SET,NUMFRAMESTOACQUIRE,0")),
    # what is unknown, or known to another type of request only
    (mpx("GET,NOSUCH"), mpx("GET,NOSUCH,0,2")),
    (mpx("SET,NOSUCH,1"), mpx("SET,NOSUCH,2")),
    (mpx("CMD,NOSUCH"), mpx("CMD,NOSUCH,2")),
    (mpx("DO,COUNTERDEPTH"), mpx("DO,COUNTERDEPTH,2")),
    (mpx("SET,TEMPERATURE,5"), mpx("SET,TEMPERATURE,2")),
    (mpx("SET,DETECTORSTATUS,0"), mpx("SET,DETECTORSTATUS,2")),
    (mpx("SET,SOFTWAREVERSION,1"), mpx("SET,SOFTWAREVERSION,2")),
    (mpx("SET,IMAGEX,512"), mpx("SET,IMAGEX,2")),
    (mpx("GET,STARTACQUISITION"), mpx("GET,STARTACQUISITION,0,2")),
]
RANGES = [  # name, values inside, values outside: the specification's tables
    ("COLOURMODE", ["0", "1"], ["2", "-1"]),
    ("CHARGESUMMING", ["0", "1"], ["2"]),
    ("HIGHGAIN", ["0", "1"], ["2"]),
    ("GAIN", ["0", "3"], ["4"]),
    ("CONTINUOUSRW", ["0", "1"], ["2"]),
    ("ENABLECOUNTER1", ["0", "1"], ["2"]),
    ("THRESHOLD0", ["0", "999.99"], ["1000", "-1"]),
    ("THRESHOLD7", ["30.5"], ["x"]),
    ("OPERATINGENERGY", ["200"], ["1000"]),
    ("COUNTERDEPTH", ["1", "6", "12", "24"], ["0", "4", "25", "12.5"]),
    ("NUMFRAMESTOACQUIRE", ["0", "100000"], ["100001", "-1", "1.5", "x", ""]),
    ("ACQUISITIONTIME", ["0.5", "1.0E+1", "100"], ["-5", "0", "nan", "inf"]),
    ("ACQUISITIONPERIOD", ["0", "1e3"], ["-5", "nan"]),
    ("TRIGGERSTART", ["0", "5"], ["6", "-1"]),
    ("TRIGGERSTOP", ["0", "4"], ["5"]),
    ("NUMFRAMESPERTRIGGER", ["1", "100000"], ["0", "100001"]),
    ("TriggerOutTTL", ["0", "7"], ["8"]),
    ("TriggerOutLVDS", ["0", "7"], ["8"]),
    ("TriggerOutTTLInvert", ["0", "1"], ["2"]),
    ("TriggerOutLVDSInvert", ["0", "1"], ["2"]),
    ("TriggerOutTTLDelay", ["0", "68719476720"], ["68719476721", "-1"]),
    ("TriggerOutLVDSDelay", ["0", "68719476720"], ["68719476721"]),
    ("TriggerUseDelay", ["0", "1"], ["2"]),
    ("THSCAN", ["0", "7"], ["8"]),
    ("THWINDOWMODE", ["0", "1"], ["2"]),
    ("THWINDOWSIZE", ["5"], ["1000"]),
    ("THSTART", ["5"], ["1000"]),
    ("THSTOP", ["5"], ["1000"]),
    ("THSTEP", ["5"], ["1000"]),
    ("THNUMSTEPS", ["0", "511"], ["512"]),
    ("FILEFORMAT", ["0", "1"], ["3"]),
    ("FILECOUNTER", ["1", "100000"], ["0"]),
    ("FILEENABLE", ["0", "1"], ["2"]),
    ("FILEDIRECTORY", ["c:\\data", "x" * 256], ["x" * 257]),
    ("FLATFIELDCORRECTION", ["0", "1"], ["2"]),
    ("DEADTIMECORRECTION", ["0", "1"], ["2"]),
    ("MASKINDATA", ["0", "1"], ["2"]),
    ("DACFILE", ["c:\\a.dacs"], ["x" * 257]),
    ("PIXELMATRIXLOADFILE", ["c:\\a.bpc"], ["x" * 257]),
    ("PIXELMATRIXSAVEFILE", ["c:\\a.bpc"], ["x" * 257]),
]


class _Chart:
    """A picture whose every pixel is known."""

    def __init__(self, ceiling: int = 65535) -> None:
        self.ceiling = ceiling

    def shutter(self, start: float, stop: float, shape: tuple[int, int]) -> None:
        pass

    def image(
        self, start: float, stop: float, shape: tuple[int, int], index: int
    ) -> NDArray[np.uint16]:
        rows, columns = np.indices(shape)
        return ((rows * 256 + columns) % (self.ceiling + 1)).astype(np.uint16)


class _Client(Channel):
    """A client that keeps what it was sent."""

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

    def first(self, count: int) -> bytes:
        """Wait for that many bytes."""
        with self.grown:
            assert self.grown.wait_for(lambda: len(self.heard) >= count, 10.0)
            return self.heard[:count]


def asked(*requests: bytes) -> bytes:
    camera = MerlinCamera(HandClock(), _Chart(), size=256)
    client = _Client()
    camera.control.opened(client)
    for request in requests:
        camera.control.received(client, request)
    camera.close()
    return client.heard


@pytest.mark.parametrize(("request_bytes", "reply"), TABLE)
def test_reply(request_bytes: bytes, reply: bytes) -> None:
    assert asked(request_bytes) == reply


@pytest.mark.parametrize(("name", "inside", "outside"), RANGES)
def test_ranges(name: str, inside: list[str], outside: list[str]) -> None:
    for value in inside:
        heard = asked(mpx(f"SET,{name},{value}"), mpx(f"GET,{name}"))
        accepted = mpx(f"SET,{name},0")
        assert heard.startswith(accepted), value
        body = heard[len(accepted) + 15 :].decode()
        reading, code = body.removeprefix(f"GET,{name},").rsplit(",", 1)
        assert code == "0"
        try:
            assert float(reading) == pytest.approx(float(value))
        except ValueError:
            assert reading == value
    for value in outside:
        heard = asked(mpx(f"SET,{name},{value}"), mpx(f"GET,{name}"))
        assert heard.startswith(mpx(f"SET,{name},3")), value
        assert heard.endswith(asked(mpx(f"GET,{name}")))


@given(st.lists(st.sampled_from(TABLE[5:]), max_size=6), st.lists(st.integers(1, 30), min_size=1))
@settings(max_examples=40, deadline=None)
def test_requests_may_be_cut_anywhere(rows: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(request for request, _ in rows)
    pieces, start, turn = [], 0, 0
    while start < len(data):
        pieces.append(data[start : start + cuts[turn % len(cuts)]])
        start += len(pieces[-1])
        turn += 1
    assert asked(*pieces) == asked(data)


def test_line_ends_and_rubbish_between_requests_are_skipped() -> None:
    request, reply = TABLE[5]
    assert asked(request + b"\r\n\0" + request + b"MPX,00x," + request) == 3 * reply


def test_a_length_that_promises_too_much_ends_at_the_next_request() -> None:
    request, reply = TABLE[5]
    short = b"MPX,0000000030,GET,DETECTORSTATUS"
    assert asked(short + request) == 2 * reply


def taken(size: int = 256, ceiling: int = 65535, **values: object) -> bytes:
    """Return what the data port sends for an acquisition of one frame after 10 ms."""
    clock = HandClock()
    camera = MerlinCamera(clock, _Chart(ceiling), size=size, epoch_ns=EPOCH_NS)
    control, data = _Client(), _Client()
    camera.control.opened(control)
    camera.data.opened(data)
    for name, value in values.items():
        camera.control.received(control, mpx(f"SET,{name},{value}"))
    camera.control.received(control, mpx("CMD,STARTACQUISITION"))
    clock.advance(1.0)
    length = int(data.first(15 + 2048 + 14)[-10:])
    heard = data.first(15 + 2048 + 14 + length)
    camera.close()
    return heard


def test_acquisition_header() -> None:
    heard = taken(NUMFRAMESTOACQUIRE=1, NUMFRAMESPERTRIGGER=7, COUNTERDEPTH=6)
    assert heard[:20] == b"MPX,0000002049,HDR,\t"
    text = heard[15 : 15 + 2048].decode("ascii")
    lines = dict(
        line.split(":\t", 1) for line in text.splitlines()[1:] if not line.startswith("End")
    )
    assert lines["Frames in Acquisition (Number)"] == "1"
    assert lines["Frames per Trigger (Number)"] == "7"
    assert lines["Counter Depth (number)"] == "6"
    assert lines["Assembly Size (NX1, 2X2)"].strip() == "1x1"
    assert lines["Trigger Start (Positive, Negative, Internal)"] == "Internal"
    time_key = "Time and Date Stamp (day, mnth, yr, hr, min, s)"
    assert lines[time_key] == "04/10/2021 16:57:48"
    assert text.splitlines()[-1].startswith("End\t")


@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
def test_the_acquisition_header_keeps_its_length(size: int) -> None:
    assert taken(size)[:19] == b"MPX,0000002049,HDR,"


def test_frame_header_of_one_chip() -> None:
    frame = taken(ACQUISITIONTIME=1, THRESHOLD0=57)[15 + 2048 :]
    assert frame[:15] == b"MPX,%010d," % (1 + 384 + 2 * 256 * 256)
    header = frame[15 : 15 + 384]
    assert header.rstrip(b"\0") == (
        b"MQ1,000001,00384,01,0256,0256,U16,   1x1,01,2021-10-04 16:57:48.710465,0.001000,0,0,0,"
        b"5.700000E+1,5.110000E+2,0.000000E+0,0.000000E+0,0.000000E+0,0.000000E+0,0.000000E+0,"
        b"0.000000E+0,3RX,114,511,000,000,000,000,000,000,100,255,200,125,100,100,098,100,104,050,"
        b"128,004,255,084,128,135,125,511,511,MQ1A,2021-10-04T16:57:48.710465438Z,1000000ns,12,"
    )


@pytest.mark.parametrize(
    ("size", "chips", "layout", "mask"),
    [
        (512, 4, "   2x2", "0F"),
        (1024, 16, "   4x4", "FFFF"),
        (2048, 64, "   8x8", "FFFFFFFFFFFFFFFF"),
    ],
)
def test_frame_header_of_many_chips(size: int, chips: int, layout: str, mask: str) -> None:
    frame = taken(size)[15 + 2048 + 15 :]
    offset = 256 + 128 * chips
    fields = frame[:offset].rstrip(b"\0").decode("ascii").split(",")
    assert fields[:9] == [
        "MQ1",
        "000001",
        f"{offset:05d}",
        f"{chips:02d}",
        f"{size:04d}",
        f"{size:04d}",
        "U16",
        layout,
        mask,
    ]
    assert fields.count("3RX") == chips
    assert fields[-5] == "MQ1A"
    assert len(frame) == offset + 2 * size * size


@pytest.mark.parametrize(
    ("depth", "name", "dtype", "ceiling"),
    [(1, "U08", ">u1", 1), (6, "U08", ">u1", 63), (12, "U16", ">u2", 4095), (24, "U32", ">u4", 0)],
)
def test_pixels(depth: int, name: str, dtype: str, ceiling: int) -> None:
    frame = taken(COUNTERDEPTH=depth)[15 + 2048 + 15 :]
    assert frame.split(b",", 7)[6] == name.encode()
    pixels = np.frombuffer(frame[384:], dtype).reshape(256, 256)
    expected = _Chart().image(0.0, 0.0, (256, 256), 0)[::-1].astype(np.uint32)
    if ceiling:
        expected = np.minimum(expected, ceiling)
    assert np.array_equal(pixels, expected)


def test_both_ports_over_tcp_with_start_before_the_data_connection() -> None:
    clock = WallClock()
    camera = MerlinCamera(clock, _Chart(), size=256)
    control, data = TcpEndpoint(camera.control), TcpEndpoint(camera.data)
    with socket.create_connection((control.host, control.port), 5.0) as commands:
        for text in ("SET,ACQUISITIONTIME,1", "SET,ACQUISITIONPERIOD,5", "CMD,STARTACQUISITION"):
            commands.sendall(mpx(text))
            assert commands.recv(4096).endswith(b",0")
        with socket.create_connection((data.host, data.port), 5.0) as stream:
            heard = b""
            while len(heard) < 15 + 2048 + 15 + 384 + 131072:
                piece = stream.recv(65536)
                assert piece
                heard += piece
    assert heard[15 + 2048 + 15 :][:10] == b"MQ1,000001"
    control.close()
    data.close()
    camera.close()
    clock.close()
