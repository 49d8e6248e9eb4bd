"""Cycles of bias in the instruments' own time: a trigger line ties every edge to its frame."""

import contextlib
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Flyable, Movable
from bluesky.utils import IllegalMessageSequence

from stmtem_control.errors import InstrumentError, LimitError

from .limits import MOST_CYCLES, check_count, check_number, check_roles
from .roles import Plan
from .safety import safe
from .stubs import announce_exposure, collect_frames, mark

STREAM = "bias_sequence"
MASTERS = ("source", "camera")  # who gives the time
MOST_LEVELS = 2500  # that the source keeps, with its readings
MOST_FRAMES = 30_000  # that can be tied to them
SPARE = 0.05  # of a step: the source's timer is coarse, the camera must be ready for the next one
READ_BY = 0.6  # of a frame's period: then the source has read, and waits for the next level
READOUT_S = 3.5e-3  # that the detector needs between two exposures, at most
LOOK_S = 0.2  # wall seconds between two looks at what has come
START_S = 5.0  # wall seconds that the camera may take to start
AGAIN_S = 0.02  # the same, for the last frames
LATE_S = 2.0  # wall seconds that the last frames may be on their way

Segment = tuple[str, int, float, int]  # phase, cycle, bias in V, steps


def triggered_cycles(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    master: str = "source",
    cycles: int = 2,
    deposit_V: float = -5.0,
    strip_V: float = 5.0,
    deposit_s: float = 1.0,
    strip_s: float = 1.0,
    rest_s: float = 0.24,
    pre_roll_s: float = 0.48,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.03,
    frames_per_step: int = 1,
    nplc: float = 0.1,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Run cycles of deposition and stripping with every bias edge tied to a frame by trigger.

    The source holds the whole sequence as a list and steps through it by itself.  It ends at 0 V
    with the output off, whatever becomes of the host.  The rows of the table are final when the
    sequence is over.  A pause ends it, and the plan with it.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    master : {"source", "camera"}
        "source": the source's timer gives the time, and a pulse on output 2 of its trigger link
        starts `frames_per_step` frames after each level: the edge falls on the start of the
        first.  "camera": the camera gives the time, and the end of each exposure, on its TTL
        output, steps the source by input 1 of its trigger link: the edge falls between two
        exposures.
    cycles : int
        How many times to deposit and strip.
    deposit_V, strip_V : float
        Bias at the fibre in V: below zero, and above zero.
    deposit_s, strip_s, rest_s, pre_roll_s : float
        Durations in s, whole numbers of steps; rest and pre-roll are at 0 V, and may be 0.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    frames_per_step : int
        Frames that each level of the source's list starts; 1 with the camera as the master.  More
        make a longer sequence possible, for the list has 2500 levels at most.
    nplc : float
        Integration time of the source's readings, one in each step, in power-line cycles.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    InstrumentError
        Levels and frames are not as many as they must be: a trigger was lost.  All is recorded,
        and the table says where the times alone leave a choice.
    """
    check_roles(bias=bias, camera=camera, beam=beam)
    source: Any = bias  # Bluesky's protocols are what a queue understands
    detector: Any = camera
    check_count("cycles", cycles, 1, MOST_CYCLES)
    check_count("frames_per_step", frames_per_step, 1)
    if master not in MASTERS:
        raise LimitError(f"master is {master!r}; give 'source' or 'camera'")
    if master == "camera" and frames_per_step != 1:
        raise LimitError(
            "frames_per_step is not 1; a camera that is the master steps at each frame"
        )
    step_s = frames_per_step / _positive("frame_rate_Hz", frame_rate_Hz)
    if check_number("deposit_V", deposit_V) >= 0.0 or check_number("strip_V", strip_V) <= 0.0:
        raise LimitError(
            f"deposit_V is {deposit_V:g} V and strip_V {strip_V:g} V; lithium is deposited below "
            "zero and stripped above"
        )
    segments: list[Segment] = [("pre-roll", 0, 0.0, _steps("pre_roll_s", pre_roll_s, step_s, 0))]
    deposit = _steps("deposit_s", deposit_s, step_s, 1)
    strip = _steps("strip_s", strip_s, step_s, 1)
    rest = _steps("rest_s", rest_s, step_s, 0)
    for cycle in range(1, cycles + 1):
        segments.append(("deposit", cycle, deposit_V, deposit))
        segments.append(("strip", cycle, strip_V, strip))
        segments.append(("rest", cycle, 0.0, rest))
    if rest == 0:
        segments.append(("end", 0, 0.0, 1))  # the last edge has a frame too
    levels = [volts for _, _, volts, steps in segments for _ in range(steps)]
    _check_room(len(levels), frames_per_step)
    longest = (1.0 - SPARE) * step_s / frames_per_step - READOUT_S
    if not 0.0 < check_number("exposure_s", exposure_s) <= longest:
        raise LimitError(
            f"exposure_s is {exposure_s:g}; at {frame_rate_Hz:g} frames a second by trigger at "
            f"most {max(0.0, longest):.4g} s leaves the camera ready for the next one"
        )
    for volts in (deposit_V, strip_V):
        source.check_value(volts)
    sequence: dict[str, Any] = {"levels_V": levels, "nplc": nplc}
    if master == "source":
        # In the exposure of the first frame, and not in the next level's.
        read_by = min(READ_BY * step_s / frames_per_step, exposure_s)
        sequence |= {"step_s": step_s, "read_by_s": read_by, "pulse": "source", "pulse_line": 2}
        triggers = {"trigger_in": "ttl falling", "frames_per_trigger": frames_per_step}
        rate_Hz = frame_rate_Hz / (1.0 - SPARE)
    else:
        # Stepped by the end of an exposure, read in the middle of the next, done before its end.
        read_by = min(step_s - 0.5 * exposure_s, (1.0 - 2.0 * SPARE) * step_s)
        sequence |= {"step_s": read_by, "step_line": 1}
        triggers = {"trigger_out": "follow shutter"}
        rate_Hz = frame_rate_Hz
    source.sequence.check_value(sequence)
    start = {
        "plan_name": "triggered_cycles",
        "plan_args": {
            "master": master, "cycles": cycles, "deposit_V": deposit_V, "strip_V": strip_V,
            "deposit_s": deposit_s, "strip_s": strip_s, "rest_s": rest_s,
            "pre_roll_s": pre_roll_s, "frame_rate_Hz": frame_rate_Hz, "exposure_s": exposure_s,
            "frames_per_step": frames_per_step, "nplc": nplc,
        },
        **(md or {}),
    }  # fmt: skip
    timing = {"exposure_s": exposure_s, "frame_rate_Hz": rate_Hz, **triggers}

    def settings() -> Plan:
        yield from bps.configure(detector, timing)
        run = _recorded(bias, camera, beam, sequence, segments, master, frames_per_step, step_s)
        return (yield from bpp.run_wrapper(run, md=start))

    yield from announce_exposure(beam, len(levels) * step_s, md)
    staged = bpp.stage_wrapper(settings(), [bias, beam, camera])
    return (yield from safe(staged, bias, beam, camera))


def _positive(name: str, value: Any) -> float:
    if check_number(name, value) <= 0.0:
        raise LimitError(f"{name} is {value:g}; give a positive number")
    return float(value)


def _steps(name: str, seconds: float, step_s: float, least: int) -> int:
    """Return how many steps a time is."""
    steps = round(check_number(name, seconds) / step_s)
    if steps < least or abs(seconds - steps * step_s) > 1e-6 * step_s * max(1, steps):
        raise LimitError(
            f"{name} is {seconds:g}; give a whole number of steps of {step_s:.6g} s, at least "
            f"{least}"
        )
    return steps


def _check_room(levels: int, frames_per_step: int) -> None:
    if levels > MOST_LEVELS:
        raise LimitError(
            f"the sequence has {levels} levels; the source takes {MOST_LEVELS}: make it shorter, "
            "the frame rate lower, or frames_per_step larger"
        )
    if levels * frames_per_step > MOST_FRAMES:
        raise LimitError(
            f"the sequence has {levels * frames_per_step} frames; {MOST_FRAMES} can be tied to "
            "triggers: make it shorter, or the frame rate lower"
        )


def _recorded(
    bias: Any,
    camera: Any,
    beam: Any,
    sequence: dict[str, Any],
    segments: list[Segment],
    master: str,
    frames_per_step: int,
    step_s: float,
) -> Plan:
    """Run a sequence with frames, tie them, and collect both, come what may."""
    source, clock = bias.sequence, bias.clock
    expected = len(sequence["levels_V"]) * frames_per_step
    # At most twice as long as planned: a trigger that is lost makes it longer, and is told.
    lasts_s = 2.0 * len(sequence["levels_V"]) * step_s
    done: list[bool] = []

    def body() -> Plan:
        yield from mark(camera, "pre-roll", 0)
        yield from bps.prepare(source, sequence, wait=True)
        if master == "source":
            yield from bps.kickoff(camera, wait=True)
        # Before the source is busy: the beam hangs on one of its lines.
        yield from bps.mv(beam, "open")
        if master == "source":
            yield from bps.kickoff(source, wait=True)
        else:
            yield from bps.kickoff(source, wait=True)
            yield from bps.kickoff(camera, wait=True)
        yield from bps.checkpoint()
        yield Msg("complete", source, group=STREAM)
        over, end = False, clock.now() + lasts_s + START_S * clock.speed
        while not over:
            if clock.now() > end:
                raise InstrumentError(
                    f"{source.name}: the sequence did not end within {lasts_s:.3g} s; did all "
                    "triggers come? look at the trigger cable"
                )
            over = yield Msg("wait", None, group=STREAM, timeout=LOOK_S, error_on_timeout=False)
            yield from collect_frames(camera)  # which raises what became of them
        # The source has done when it has read its last level, which may have frames to come.
        yield from _await_frames(camera, clock, expected, sequence["step_s"])
        yield from bps.mv(beam, "blanked")
        marks, index = [], 0
        for phase, cycle, _, steps in segments:
            if steps:
                marks.append((index, phase, cycle))
            index += steps
        camera.tie(source.run, master=master, frames_per_step=frames_per_step, marks=marks)
        done.append(True)

    def drain() -> Plan:
        if not done:
            with contextlib.suppress(IllegalMessageSequence):
                yield Msg("drop")
        problems = []
        for part in (
            Msg("stop", bias),
            mark(camera, "end", 0),
            bps.mv(beam, "blanked"),
            bps.complete(camera, wait=True),
            bps.collect(camera, name="frames", return_payload=False),
            bps.collect(source, name=STREAM, return_payload=False),
        ):
            try:
                if isinstance(part, Msg):
                    yield part
                else:
                    yield from part
            except Exception as error:
                problems.append(error)
        if done and problems:
            raise problems[0]

    yield from bps.declare_stream(camera, name="frames", collect=True)
    yield from bps.declare_stream(source, name=STREAM, collect=True)
    yield from bpp.finalize_wrapper(body(), drain)


def _await_frames(camera: Any, clock: Any, expected: int, step_s: float) -> Plan:
    """Wait until so many frames have come, or were lost, but not for ever."""
    for _ in range(round((LATE_S + step_s / clock.speed) / AGAIN_S)):
        if camera.frames_captured.get() + camera.dropped.get() >= expected:
            return
        yield from clock.sleep(AGAIN_S * clock.speed)
