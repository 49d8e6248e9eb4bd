"""What an acquisition of a Merlin will do, as its variables stand when it is started."""

import math
from dataclasses import dataclass, replace

from .merlin_frames import Head, Sequence
from .merlin_settings import ENDLESS_FRAMES, Settings

SOFTWARE = "0.67.0.9"
BOARD_C = 37.384918
READOUT_S_PER_BIT = 65536 / 480e6  # 1.64 ms for the 12 bits of a chip's pixels


def readout_s(depth: int) -> float:
    """Return how long a chip takes to send its pixels, in seconds."""
    return depth * READOUT_S_PER_BIT


@dataclass(frozen=True)
class Plan:
    """What was set when the acquisition was started."""

    head: Head
    sequence: Sequence
    frames: float  # infinity: until it is stopped
    burst: float  # frames for each trigger
    exposure_s: float
    period_s: float
    dead_s: float
    counters: tuple[int, ...]
    thresholds_keV: tuple[float, ...]
    scan: tuple[int, float, float] | None  # threshold, start, step


def make_plan(
    settings: Settings, *, size: int, wafer: int, scan: bool, board_C: float = BOARD_C
) -> Plan:
    """Return what an acquisition (or threshold scan) that is started now will do."""
    depth = settings.whole("COUNTERDEPTH")
    # With both counters in use, or chained for 24 bits, none is free to be read meanwhile.
    both = bool(settings.whole("ENABLECOUNTER1")) or depth == 24
    continuous = bool(settings.whole("CONTINUOUSRW")) and not both
    colour = bool(settings.whole("COLOURMODE"))
    exposure_s = settings.real("ACQUISITIONTIME") * 1e-3
    dead_s = readout_s(depth)
    shortest = max(exposure_s, dead_s) if continuous else exposure_s + dead_s
    per_threshold = 2 if settings.whole("ENABLECOUNTER1") else 1
    counters = tuple(range(4 * per_threshold if colour else per_threshold))
    sequence = Sequence(
        kind="Normal",
        frames=settings.whole("NUMFRAMESTOACQUIRE"),
        frames_per_trigger=settings.whole("NUMFRAMESPERTRIGGER"),
        start=settings.whole("TRIGGERSTART"),
        stop=settings.whole("TRIGGERSTOP"),
    )
    steps = None
    if scan:
        steps = _scan_steps(settings)
        sequence = replace(sequence, kind="Th_scan", frames=steps[0], start=0, stop=0)
    endless = sequence.frames in (0, ENDLESS_FRAMES)
    return Plan(
        head=Head(
            size=size,
            depth=depth,
            gain=settings.whole("GAIN"),
            colour=colour,
            charge_summing=bool(settings.whole("CHARGESUMMING")),
            both_counters=bool(settings.whole("ENABLECOUNTER1")),
            continuous=continuous,
            gap_fill=settings.whole("FILLMODE"),
            bias_V=settings.real("HVBIAS"),
            board_celsius=board_C,
            software=SOFTWARE,
            wafer=wafer,
        ),
        sequence=sequence,
        frames=math.inf if endless else sequence.frames,
        burst=math.inf if sequence.start == 0 else sequence.frames_per_trigger,
        exposure_s=exposure_s,
        period_s=max(settings.real("ACQUISITIONPERIOD") * 1e-3, shortest),
        dead_s=0.0 if continuous else dead_s,
        counters=counters,
        thresholds_keV=settings.thresholds_keV,
        scan=None if steps is None else (settings.whole("THSCAN"), steps[1], steps[2]),
    )


def _scan_steps(settings: Settings) -> tuple[int, float, float]:
    start, stop = settings.real("THSTART"), settings.real("THSTOP")
    number = settings.whole("THNUMSTEPS")
    if number > 1:
        return number, start, (stop - start) / (number - 1)
    step = math.copysign(settings.real("THSTEP"), stop - start)
    if step == 0.0:
        return 1, start, 0.0
    return int((stop - start) / step + 1e-9) + 1, start, step
