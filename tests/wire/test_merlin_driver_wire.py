"""The Merlin driver, byte for byte: control messages, and frames over a local socket."""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.devices.merlin import Merlin, control_message, parse_control
from stmtem_control.devices.merlin_stream import FrameStream, body_length, parse_frame_header
from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.link import Link
from stmtem_control.tcp import TcpTransport

Scripted = Callable[[Sequence[tuple[bytes, bytes]]], Link]
ByTheManual = Callable[[str], tuple[Link, list[bytes]]]

W = 5.0  # wall seconds that a test waits at most
VERSION = (
    b"MPX,0000000020,GET,SOFTWAREVERSION",
    b"MPX,0000000031,GET,SOFTWAREVERSION,0.67.0.9,0",
)
EXPOSURE = (
    b"MPX,0000000020,GET,ACQUISITIONTIME",
    b"MPX,0000000025,GET,ACQUISITIONTIME,10,0",
)
# The example of the manual: one chip, then the DAC block and the extension.
HEADER = (
    "MQ1,{sequence:06d},00384,01,{width:04d},{height:04d},{depth},   1x1,01,"
    "2021-10-04 12:57:48.710465,0.001000,0,0,0,"
    + ",".join(["1.200000E+1", *["5.110000E+2"] * 7])
    + ",3RX,"
    + ",".join(["175", *["010"] * 26])
    + ",{extension}"
)
EXTENSION = "MQ1A,2021-10-04T16:57:48.710465438Z,1500000ns,12,"


def header(
    sequence: int = 1,
    width: int = 256,
    height: int = 256,
    depth: str = "U16",
    extension: str = EXTENSION,
) -> bytes:
    """Return a frame header as in the manual."""
    text = HEADER.format(
        sequence=sequence, width=width, height=height, depth=depth, extension=extension
    )
    return text.encode().ljust(384, b"\0")


def message(body: bytes) -> bytes:
    """Return a data message; its length counts from the comma after the number."""
    return b"MPX,%010d," % (len(body) + 1) + body


@pytest.fixture
def wire() -> Iterator[tuple[FrameStream, socket.socket]]:
    """A frame stream, and the camera's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = TcpTransport("127.0.0.1", server.getsockname()[1])
        camera, _ = server.accept()
        with camera:
            stream = FrameStream(transport)
            yield stream, camera
            stream.close()


def soon() -> float:
    """Return a deadline that no good exchange reaches."""
    return time.monotonic() + W


def test_everything_the_driver_sends_is_in_the_manual(by_the_manual: ByTheManual) -> None:
    link, _ = by_the_manual("merlin")
    with socket.create_server(("127.0.0.1", 0)) as server:
        camera = Merlin(link, host="127.0.0.1", data_port=server.getsockname()[1])
        assert camera.open().result(W) == "0.67.0.9"
        camera.make_idle().result(W)
        camera.set("COUNTERDEPTH", 12).result(W)
        camera.start(exposure_s=0.035, period_s=0.04).result(W)[0].close()
        camera.command("STOPACQUISITION", safe=True).result(W)


@pytest.mark.parametrize(("code", "words"), [(1, "busy"), (2, "unknown command"), (3, "range")])
def test_error_codes_are_told_in_words(scripted: Scripted, code: int, words: str) -> None:
    answer = control_message("SET", "ACQUISITIONTIME", code)
    camera = Merlin(
        scripted([(b"MPX,0000000025,SET,ACQUISITIONTIME,5000", answer)]), host="127.0.0.1"
    )
    with pytest.raises(InstrumentError, match=rf"SET ACQUISITIONTIME 5000 .*{words}.*code {code}"):
        camera.set("ACQUISITIONTIME", 5000).result(W)


def test_the_shorter_of_old_and_new_comes_first(scripted: Scripted) -> None:
    """At no moment may the exposure be longer than the period."""
    camera = Merlin(
        scripted(
            [
                (
                    b"MPX,0000000020,GET,ACQUISITIONTIME",
                    b"MPX,0000000026,GET,ACQUISITIONTIME,100,0",
                ),
                (
                    b"MPX,0000000022,SET,ACQUISITIONTIME,5",
                    b"MPX,0000000022,SET,ACQUISITIONTIME,0",
                ),
                (
                    b"MPX,0000000025,SET,ACQUISITIONPERIOD,10",
                    b"MPX,0000000024,SET,ACQUISITIONPERIOD,0",
                ),
            ]
        ),
        host="127.0.0.1",
    )
    camera.set_timing(exposure_s=0.005, period_s=0.01).result(W)


def test_what_runs_is_stopped_before_a_start(scripted: Scripted) -> None:
    camera = Merlin(
        scripted(
            [
                (
                    b"MPX,0000000019,GET,DETECTORSTATUS",
                    b"MPX,0000000023,GET,DETECTORSTATUS,1,0",
                ),
                (b"MPX,0000000020,CMD,STOPACQUISITION", b"MPX,0000000022,CMD,STOPACQUISITION,0"),
            ]
        ),
        host="127.0.0.1",
    )
    camera.make_idle().result(W)


def test_an_answer_to_another_question_and_the_way_back(scripted: Scripted) -> None:
    status = b"MPX,0000000019,GET,DETECTORSTATUS"
    good = b"MPX,0000000023,GET,DETECTORSTATUS,0,0"
    camera = Merlin(
        scripted(
            [
                VERSION,
                (status, b"MPX,0000000024,GET,ACQUISITIONTIME,1,0"),
                (VERSION[0], good + VERSION[1]),  # the right answer comes late
                EXPOSURE,
                (status, good),
            ]
        ),
        host="127.0.0.1",
    )
    camera.open().result(W)
    with pytest.raises(ProtocolError, match="DETECTORSTATUS was answered"):
        camera.get("DETECTORSTATUS").result(W)
    assert camera.get("DETECTORSTATUS").result(W) == "0"


def exchange(kind: str, name: str, answer: str, value: str | None = None) -> tuple[bytes, bytes]:
    """Return a question and its answer."""
    return control_message(kind, name, value), control_message(kind, name, answer)


def test_a_version_that_is_late_is_told_from_the_one_asked_for(scripted: Scripted) -> None:
    """The first resynchronisation is answered in the second, which has another last question."""
    status = control_message("GET", "DETECTORSTATUS")
    late = VERSION[1] + EXPOSURE[1]
    link = scripted(
        [
            VERSION,
            (status, b""),
            (VERSION[0], b""),
            (EXPOSURE[0], b""),
            (VERSION[0], late + VERSION[1]),
            exchange("GET", "ACQUISITIONPERIOD", "20,0"),
            exchange("GET", "DETECTORSTATUS", "1,0"),
        ]
    )
    camera = Merlin(link, host="127.0.0.1", timeout_s=0.15)
    camera.open().result(W)
    for _ in range(2):
        with pytest.raises(TransportTimeout):
            camera.get("DETECTORSTATUS").result(W)
    assert camera.get("DETECTORSTATUS").result(W) == "1"


def test_a_camera_that_was_switched_off_is_set_up_again(scripted: Scripted) -> None:
    """What it can tell and what differs; exposure and period so that one always fits the other."""
    link = scripted(
        [
            VERSION,
            exchange("SET", "COUNTERDEPTH", "0", "24"),
            exchange("SET", "GAIN", "0", "1"),
            exchange("GET", "ACQUISITIONTIME", "10,0"),
            exchange("SET", "ACQUISITIONPERIOD", "0", "40"),
            exchange("SET", "ACQUISITIONTIME", "0", "35"),
            (control_message("GET", "DETECTORSTATUS"), b""),
            VERSION,
            EXPOSURE,
            exchange("GET", "COUNTERDEPTH", "12,0"),
            exchange("GET", "GAIN", "0,2"),
            exchange("GET", "ACQUISITIONPERIOD", "40.000001,0"),
            exchange("GET", "ACQUISITIONTIME", "10,0"),
            exchange("SET", "COUNTERDEPTH", "0", "24"),
            exchange("GET", "ACQUISITIONTIME", "10,0"),
            exchange("SET", "ACQUISITIONPERIOD", "0", "40"),
            exchange("SET", "ACQUISITIONTIME", "0", "35"),
            exchange("GET", "DETECTORSTATUS", "0,0"),
        ]
    )
    camera = Merlin(link, host="127.0.0.1", timeout_s=0.15)
    camera.open().result(W)
    camera.set_many({"COUNTERDEPTH": 24, "GAIN": 1}).result(W)
    camera.set_timing(exposure_s=0.035, period_s=0.04).result(W)
    with pytest.raises(TransportTimeout):
        camera.get("DETECTORSTATUS").result(W)
    assert camera.get("DETECTORSTATUS").result(W) == "0"


def test_a_camera_that_refuses_what_it_was_breaks_the_link(scripted: Scripted) -> None:
    link = scripted(
        [
            VERSION,
            exchange("SET", "COUNTERDEPTH", "0", "24"),
            (control_message("GET", "DETECTORSTATUS"), b""),
            VERSION,
            EXPOSURE,
            exchange("GET", "COUNTERDEPTH", "12,0"),
            exchange("SET", "COUNTERDEPTH", "1", "24"),
        ]
    )
    camera = Merlin(link, host="127.0.0.1", timeout_s=0.15)
    camera.open().result(W)
    camera.set("COUNTERDEPTH", 24).result(W)
    with pytest.raises(TransportTimeout):
        camera.get("DETECTORSTATUS").result(W)
    for _ in range(2):
        with pytest.raises(TransportError, match="COUNTERDEPTH 24 was refused"):
            camera.get("DETECTORSTATUS").result(W)


def test_something_else_at_the_address(scripted: Scripted) -> None:
    camera = Merlin(scripted([(VERSION[0], b"HTTP/1.1 400 Bad Request\r\n\r\n")]), host="127.0.0.1")
    with pytest.raises(IdentityError, match="expected a Merlin at transcript"):
        camera.open().result(W)


@settings(deadline=None)  # machines in use are slow at times
@given(st.sampled_from(["GET", "SET", "CMD"]), st.from_regex(r"[A-Z0-9]{1,30}", fullmatch=True))
def test_any_name_survives_the_wire(kind: str, name: str) -> None:
    text = control_message(kind, name, "5,0" if kind == "GET" else "0")
    assert body_length(text[:14]) == len(text) - 14
    assert parse_control(text[14:], kind, name) == ("5" if kind == "GET" else "", 0)


@settings(deadline=None)  # machines in use are slow at times
@given(st.binary(max_size=100))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    for parse in (
        body_length,
        parse_frame_header,
        lambda data: parse_control(data, "GET", "SOFTWAREVERSION"),
    ):
        with pytest.raises(ProtocolError):
            parse(data)


@settings(deadline=None)  # machines in use are slow at times
@given(st.integers(0, 383), st.binary(min_size=1, max_size=8))
def test_a_damaged_header_is_read_or_refused(place: int, damage: bytes) -> None:
    whole = bytearray(header())
    whole[place : place + len(damage)] = damage
    try:
        found = parse_frame_header(bytes(whole))
    except ProtocolError:
        return
    assert found.pixel_bytes > 0


def test_the_extension_gives_the_time() -> None:
    found = parse_frame_header(header(sequence=7))
    moment = datetime(2021, 10, 4, 16, 57, 48, tzinfo=UTC).timestamp()
    assert found.unix_time_s == pytest.approx(moment + 0.710465438, abs=1e-6)
    assert found.exposure_s == 1.5e-3
    assert (found.sequence, found.chips, found.dtype.str) == (7, 1, ">u2")


def test_without_the_extension_the_stamp_is_local_time() -> None:
    found = parse_frame_header(header(extension=""))
    assert found.unix_time_s == datetime(2021, 10, 4, 12, 57, 48, 710465).timestamp()
    assert found.exposure_s == 1e-3


@pytest.mark.parametrize("depth", ["R64", "U01"])
def test_pixels_that_cannot_be_read_are_refused(depth: str) -> None:
    with pytest.raises(ProtocolError, match=f"depth {depth}"):
        parse_frame_header(header(depth=depth))


@pytest.mark.parametrize(("depth", "kind"), [("U08", "u1"), ("U16", "u2"), ("U32", "u4")])
def test_pixels_come_top_row_first_in_native_order(
    wire: tuple[FrameStream, socket.socket], depth: str, kind: str
) -> None:
    stream, camera = wire
    image = np.arange(256 * 4, dtype=f">{kind}").reshape(4, 256)
    body = header(width=256, height=4, depth=depth) + image[::-1].tobytes()
    camera.sendall(message(b"HDR,\tTime:\tnow\nEnd\n".ljust(2047, b" ")) + message(body))
    assert stream.wait(W)
    assert stream.next_frame(soon()) is None
    assert "Time:" in stream.acquisition_header
    out = np.zeros((4, 256), kind)
    got = stream.next_frame(soon(), out)
    assert got is not None
    assert got[1] is out
    np.testing.assert_array_equal(out, image)


def test_a_buffer_that_does_not_fit_is_not_used(
    wire: tuple[FrameStream, socket.socket],
) -> None:
    stream, camera = wire
    camera.sendall(message(header(width=8, height=2) + bytes(32)))
    got = stream.next_frame(soon(), np.zeros((4, 4), "u2"))
    assert got is not None
    assert got[1].shape == (2, 8)


def test_a_header_longer_than_usual(wire: tuple[FrameStream, socket.socket]) -> None:
    """Four chips: the place of the pixels is a field of the header, never a constant."""
    stream, camera = wire
    long = header(width=8, height=2).replace(b",00384,", b",00768,").ljust(768, b"\0")
    camera.sendall(message(long + np.arange(16, dtype=">u2").tobytes()))
    got = stream.next_frame(soon())
    assert got is not None
    assert got[1][1, 0] == 0


def test_a_frame_of_the_wrong_length(wire: tuple[FrameStream, socket.socket]) -> None:
    stream, camera = wire
    camera.sendall(message(header(width=8, height=2) + bytes(30)))
    with pytest.raises(ProtocolError, match="30 bytes of pixels"):
        stream.next_frame(soon())


def test_a_frame_that_stops_half_way(wire: tuple[FrameStream, socket.socket]) -> None:
    stream, camera = wire
    camera.sendall(message(header(width=8, height=2) + bytes(32))[:-10])
    with pytest.raises(TransportTimeout, match="10 of 32"):
        stream.next_frame(time.monotonic() + 0.05)


def test_a_camera_that_hangs_up_in_a_frame(wire: tuple[FrameStream, socket.socket]) -> None:
    stream, camera = wire
    camera.sendall(message(header(width=8, height=2) + bytes(32))[:-10])
    camera.close()
    with pytest.raises(TransportError, match="closed the connection"):
        stream.next_frame(soon())


def test_nothing_listens_for_frames(scripted: Scripted) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TransportError, match="cannot connect"):
        Merlin(scripted([]), host="127.0.0.1", data_port=port).open_stream()
