"""What a Merlin sends on its data port: acquisition header and MQ1 frames, byte for byte.

Layout after the Merlin interface specification (acquisition header, MQ1 frame header with one
DAC block a chip) and, for the MQ1A extension, after frames that users recorded.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

CHIP = 256  # pixels along the edge of a Medipix3 chip
ACQUISITION_HEADER = 2048  # bytes, with its "HDR,"
DEPTHS = {1: ("U08", ">u1"), 6: ("U08", ">u1"), 12: ("U16", ">u2"), 24: ("U32", ">u4")}
GAINS = ("SLGM", "LGM", "HGM", "SHGM")
TRIGGERS = (
    "Internal",
    "Rising Edge TTL",
    "Falling Edge TTL",
    "Rising Edge LVDS",
    "Falling Edge LVDS",
    "Soft Trigger",
)
# A Medipix3RX's 19 DACs after the eight thresholds, as a chip in use has them.
DACS = "100,255,200,125,100,100,098,100,104,050,128,004,255,084,128,135,125,511,511"


@dataclass(frozen=True)
class Head:
    """The detector head and its settings during an acquisition."""

    size: int  # pixels along the edge
    depth: int  # bits of the counters
    gain: int
    colour: bool
    charge_summing: bool
    both_counters: bool
    continuous: bool
    gap_fill: int
    bias_V: float
    board_celsius: float
    software: str
    wafer: int

    @property
    def side(self) -> int:
        """Chips along the edge."""
        return self.size // CHIP

    @property
    def chips(self) -> int:
        """Chips in the head."""
        return self.side**2

    @property
    def layout(self) -> str:
        """The sensor layout: 1x1, 2x2, ..."""
        return f"{self.side}x{self.side}"


@dataclass(frozen=True)
class Sequence:
    """How the frames of an acquisition are taken."""

    kind: str  # Normal or Th_scan
    frames: int
    frames_per_trigger: int
    start: int
    stop: int


@dataclass(frozen=True)
class Stamp:
    """When a frame was taken and for how long."""

    start_ns: int  # since 1970, UTC
    shutter_ns: int


def message(body: bytes) -> bytes:
    """Return `body` as an MPX message; the length counts from the comma that follows it."""
    return b"MPX,%010d," % (len(body) + 1) + body


def acquisition_header(
    head: Head, sequence: Sequence, thresholds_keV: tuple[float, ...], start_ns: int
) -> bytes:
    """Return the body of the message that opens an acquisition, 2048 bytes."""
    started = datetime.fromtimestamp(start_ns // 10**9, UTC)
    names = [f"W{head.wafer}_{chr(ord('A') + n % 11)}{1 + n // 11}" for n in range(head.chips)]
    modes = ("CM", "CSCM") if head.colour else ("SPM", "CSM")
    mode = modes[head.charge_summing]
    counters = "Counter 0"
    if head.both_counters:
        counters = "Counter 0,Counter 1"
    elif head.continuous:
        counters = "Alternating"
    # Beyond a quad the lists of chips no longer fit the fixed length; the first four stand.
    named = names[:4]
    fields = [
        ("Time and Date Stamp (day, mnth, yr, hr, min, s)", f"{started:%d/%m/%Y %H:%M:%S}"),
        ("Chip ID", ",".join(named)),
        ("Chip Type (Medipix 3.0, Medipix 3.1, Medipix 3RX)", "Medipix 3RX"),
        ("Assembly Size (NX1, 2X2)", f"{head.layout:>6}"),
        ("Chip Mode  (SPM, CSM, CM, CSCM)", mode),
        ("Counter Depth (number)", str(head.depth)),
        ("Gain", GAINS[head.gain]),
        ("Active Counters", counters),
        ("Thresholds (keV)", ",".join(scientific(value) for value in thresholds_keV)),
        ("DACs", "; ".join(_dacs(thresholds_keV) for _ in named)),
        ("bpc File", ",".join(f"c:\\MERLIN\\{name}_{mode}.bpc" for name in named)),
        ("DAC File", ",".join(f"c:\\MERLIN\\{name}_{mode}.dacs" for name in named)),
        ("Gap Fill Mode", ("None", "Distribute", "Interpolate")[head.gap_fill]),
        ("Flat Field File", "None"),
        ("Dead Time File", "Dummy (C:\\<NUL>\\)"),
        ("Acquisition Type (Normal, Th_scan, Config)", sequence.kind),
        ("Frames in Acquisition (Number)", str(sequence.frames)),
        ("Frames per Trigger (Number)", str(sequence.frames_per_trigger)),
        ("Trigger Start (Positive, Negative, Internal)", TRIGGERS[sequence.start]),
        ("Trigger Stop (Positive, Negative, Internal)", TRIGGERS[sequence.stop]),
        ("Sensor Bias (V)", f"{head.bias_V:g} V"),
        ("Sensor Polarity (Positive, Negative)", "Positive"),
        ("Temperature (C)", f"Board Temp {head.board_celsius:.6f} Deg C"),
        ("Humidity (%)", "Board Humidity 1.331848"),
        ("Medipix Clock (MHz)", "120MHz"),
        ("Readout System", "Merlin Quad"),
        ("Software Version", head.software),
    ]
    lines = "".join(f"{name}:\t{value}\n" for name, value in fields)
    return f"HDR,\t\n{lines}End\t".encode("ascii").ljust(ACQUISITION_HEADER)


def frame(
    head: Head,
    number: int,
    counter: int,
    thresholds_keV: tuple[float, ...],
    stamp: Stamp,
    counts: NDArray[np.uint16],
) -> bytes:
    """Return the body of a frame's message.

    Parameters
    ----------
    head : Head
        What took it.
    number : int
        Of the frame in its acquisition, from 1.
    counter : int
        Which counter (in colour: which threshold) it shows.
    thresholds_keV : tuple of float
        The eight thresholds.
    stamp : Stamp
        Start of the exposure and its length.
    counts : array of uint16, shape (size, size)
        Top row first; saturates at the depth of the counter.
    """
    return frame_header(head, number, counter, thresholds_keV, stamp) + pixels(counts, head.depth)


def pixels(counts: NDArray[np.uint16], depth: int) -> bytes:
    """Return counts as sent: saturated at `depth` bits, big-endian, bottom row first."""
    ceiling = min(2**depth - 1, np.iinfo(np.uint16).max)
    return np.minimum(counts[::-1], np.uint16(ceiling)).astype(DEPTHS[depth][1]).tobytes()


def frame_header(
    head: Head, number: int, counter: int, thresholds_keV: tuple[float, ...], stamp: Stamp
) -> bytes:
    """Return what stands before a frame's pixels; the parameters are those of :func:`frame`."""
    offset = 256 + 128 * head.chips
    seconds, nanoseconds = divmod(stamp.start_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    fields = [
        "MQ1",
        f"{number:06d}",
        f"{offset:05d}",
        f"{head.chips:02d}",
        f"{head.size:04d}",
        f"{head.size:04d}",
        DEPTHS[head.depth][0],
        f"{head.layout:>6}",
        f"{2**head.chips - 1:02X}",
        f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds // 1000:06d}",
        f"{stamp.shutter_ns * 1e-9:.6f}",
        str(counter),
        str(int(head.colour)),
        str(head.gain),
        *(scientific(value) for value in thresholds_keV),
        *(f"3RX,{_dacs(thresholds_keV)}" for _ in range(head.chips)),
        "MQ1A",
        f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z",
        f"{stamp.shutter_ns}ns",
        f"{head.depth}",
    ]
    return (",".join(fields) + ",").encode("ascii").ljust(offset, b"\0")


def _dacs(thresholds_keV: tuple[float, ...]) -> str:
    # A threshold DAC has 9 bits and, in this head, two steps to the keV.
    values = ",".join(f"{min(511, round(2.0 * value)):03d}" for value in thresholds_keV)
    return f"{values},{DACS}"


def scientific(value: float) -> str:
    """Return a number as the instrument's LabVIEW program writes it: 5.700000E+1."""
    if value == 0.0:
        return "0.000000E+0"
    exponent = math.floor(math.log10(abs(value)))
    mantissa = f"{value / 10.0**exponent:.6f}"
    if mantissa.lstrip("-").startswith("10."):
        exponent += 1
        mantissa = f"{value / 10.0**exponent:.6f}"
    return f"{mantissa}E{exponent:+d}"
