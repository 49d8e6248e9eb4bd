"""Blank the beam in a code, so that the frames tell how far the camera's clock is off."""

import logging
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.protocols import Flyable, Movable

from stmtem_control.errors import AlignmentError, LimitError

from .limits import check_number, check_roles
from .roles import Plan
from .stubs import collect_frames, mark, set_bias

log = logging.getLogger(__name__)

PHASE = "clapperboard"  # by which the alignment knows where the pattern begins
LEAD_PERIODS = 4.0  # of frames with the beam on, before the pattern and after it


def clapperboard(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    bias_pulses_V: float = 0.0,
    required: bool = True,
) -> Plan:
    """Plan stub: blank the beam in a code while frames are taken, and align the clocks by it.

    For use inside a run, between kickoff and complete of the camera.  The camera's frames are
    dated by the result from then on, and an event in the stream "alignment" holds it.  The beam
    is afterwards as it was before, phase and cycle, too.  At 25 frames in a second it takes a
    second, in half of which the beam is on.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera with its ``alignment``, the beam blanker.
    bias_pulses_V : float
        While the beam is dark the bias differs by this, in V, from what it is: the source's own
        readings then show the pattern, too.  0 leaves it alone.
    required : bool
        Fail when the clocks cannot be aligned.  Otherwise a warning is logged, and frames are
        dated as before.

    Raises
    ------
    LimitError
        The camera has no alignment, or the pulses are outside the station's limits.
    AlignmentError
        The clocks could not be aligned; the message says why.
    """
    yield from _clap(bias, camera, beam, bias_pulses_V, required)


def _clap(bias: Any, camera: Any, beam: Any, bias_pulses_V: float, required: bool) -> Plan:
    check_roles(bias=bias, camera=camera, beam=beam)
    alignment = check_clapperboard(bias, camera, bias_pulses_V)
    was_open = not beam.blanked.get()
    phase, cycle = camera.phase.get(), camera.cycle.get()
    level = float(bias.setpoint.get())
    pattern = alignment.pattern()
    lead = LEAD_PERIODS / camera.frame_rate_Hz.get()
    yield from mark(camera, PHASE, cycle)
    if not was_open:
        yield from _turn(beam, dark=False)
    yield from _until(bias, bias.clock.now() + lead, bias.paused_s)
    # On a timetable, so that late commands do not add up.
    due, paused = bias.clock.now(), bias.paused_s
    dark = True
    for duration in (*pattern, lead):
        yield from _turn(beam, dark=dark)
        if bias_pulses_V:
            yield from set_bias(bias, level + bias_pulses_V if dark else level)
        due += duration
        yield from _until(bias, due, paused)
        dark = not dark
    if not was_open:
        yield from _turn(beam, dark=True)
    yield from _align(alignment, required)
    yield from mark(camera, phase, cycle)
    yield from collect_frames(camera)


def lit_s(camera: Any, frame_rate_Hz: float, exposure_s: float) -> float:
    """Return for how many seconds the beam is on in one clapperboard, if it is on around it."""
    pattern: tuple[float, ...] = camera.alignment.pattern(frame_rate_Hz, exposure_s)
    lead = LEAD_PERIODS / frame_rate_Hz
    return lead + sum((*pattern, lead)[1::2])


def check_clapperboard(bias: Any, camera: Any, bias_pulses_V: float = 0.0) -> Any:
    """Return the camera's alignment.

    Raises
    ------
    LimitError
        It has none, or the pulses are outside the station's limits.
    """
    alignment = getattr(camera, "alignment", None)
    if alignment is None:
        raise LimitError(
            f"{camera.name}: has no alignment, so no clapperboard can be used; make a "
            "ClockAlignment and put it there"
        )
    if check_number("bias_pulses_V", bias_pulses_V):
        bias.check_value(float(bias.setpoint.get()) + bias_pulses_V)
    return alignment


def _turn(beam: Any, *, dark: bool) -> Plan:
    # A pause between two edges shall not repeat those before.
    yield Msg("checkpoint")
    yield Msg("set", beam, "blanked" if dark else "open", group="clapperboard")
    yield Msg("wait", None, group="clapperboard")


def _until(bias: Any, due: float, paused_before: float) -> Plan:
    """Wait for a station time; time spent in a pause does not count."""
    clock = bias.clock
    while (left := due + (bias.paused_s - paused_before) - clock.now()) > 0.0:
        yield from clock.sleep(left)


def _align(alignment: Any, required: bool) -> Plan:
    yield from bps.trigger(alignment, wait=True)
    yield Msg("create", None, name="alignment")
    yield Msg("read", alignment)
    yield Msg("save")
    if problem := alignment.problem.get():
        if required:
            raise AlignmentError(problem)
        log.warning("%s; frames are dated as before", problem)
