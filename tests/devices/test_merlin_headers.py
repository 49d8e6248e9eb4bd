"""The quick way through a frame's header finds what the careful one finds, or gives it the word."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.devices.frame_reader import mean_counts
from stmtem_control.devices.merlin_stream import FrameHeader, HeaderParser, parse_frame_header
from stmtem_control.errors import ProtocolError

EPOCH = datetime(2026, 11, 26, tzinfo=UTC)


def header(
    sequence: int, ns: int, *, exposure_ns: int = 35_000_000, width: int = 6, extended: bool = True
) -> bytes:
    """Return a header as the camera sends it."""
    moment = EPOCH + timedelta(seconds=ns // 10**9)
    text = (
        f"MQ1,{sequence:06d},00384,01,{width:04d},0008,U16,   1x1,01,"
        f"{moment:%Y-%m-%d %H:%M:%S}.{ns % 10**9 // 1000:06d},{1e-9 * exposure_ns:.6f},0,0,0,"
    )
    if extended:
        text += f"MQ1A,{moment:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z,{exposure_ns}ns,12,"
    return text.encode().ljust(384, b"\0")


class Careful(HeaderParser):
    """Counts how often the quick way was not enough."""

    def __init__(self) -> None:
        super().__init__()
        self.careful = 0

    def _remember(self, header: bytes) -> None:
        self.careful += 1
        super()._remember(header)


frames = st.tuples(
    st.integers(1, 10**7),
    st.integers(0, 10**15),
    st.sampled_from([35_000_000, 1, 10**9]),
    st.sampled_from([6, 7]),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(frames, min_size=1, max_size=8))
def test_both_ways_find_the_same(found: list[tuple[int, int, int, int, bool]]) -> None:
    parser = HeaderParser()
    for sequence, ns, exposure, width, extended in found:
        text = header(sequence, ns, exposure_ns=exposure, width=width, extended=extended)
        assert parser.parse(text) == parse_frame_header(text)


def test_frames_of_one_acquisition_take_the_quick_way() -> None:
    parser = Careful()
    stamps = [500 * 10**6 * i for i in range(20)]
    got = [parser.parse(header(i + 1, ns)) for i, ns in enumerate(stamps)]
    assert parser.careful == 1
    assert [h.sequence for h in got] == list(range(1, 21))
    np.testing.assert_allclose(np.diff([h.unix_time_s for h in got]), 0.5, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 255))
def test_a_damaged_header_is_never_taken_for_another(place: int, byte: int) -> None:
    """One byte changed: refused as the careful way refuses it, or understood alike."""
    whole = header(7, 1_234_567_890_123)
    damaged = whole[:place] + bytes([byte]) + whole[place + 1 :]
    parser = HeaderParser()
    parser.parse(header(6, 1_234_000_000_000))

    def outcome(parse: "type[HeaderParser] | None") -> FrameHeader | str:
        try:
            return parser.parse(damaged) if parse else parse_frame_header(damaged)
        except ProtocolError:
            return "refused"

    careful, quick = outcome(None), outcome(HeaderParser)
    # The stamp of older software is not looked at where the exact one is there.
    legacy = range(whole.index(b"2026"), whole.index(b",0.035"))
    assert quick == careful or (careful == "refused" and place in legacy)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
@pytest.mark.parametrize("shape", [(8, 6), (256, 256), (1024, 64)])
def test_the_mean_is_of_all_pixels_up_to_256_squared(shape: tuple[int, int], dtype: str) -> None:
    image = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
    assert mean_counts(image) == pytest.approx(image.mean(), rel=1e-12)
    full = np.full(shape, np.iinfo(dtype).max, dtype)
    assert mean_counts(full) == np.iinfo(dtype).max


def test_the_mean_of_a_large_image_is_that_of_some_rows() -> None:
    image = np.random.default_rng(1).poisson(50.0, (2048, 1024)).astype("<u2")
    assert mean_counts(image) == pytest.approx(50.0, rel=2e-3)
    assert mean_counts(image) == image[::32].mean()
