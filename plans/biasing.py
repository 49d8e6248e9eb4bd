"""Deposit and strip lithium under a bias, with frames taken throughout."""

from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Flyable, Movable, Readable

from stmtem_control.errors import LimitError

from .approach import check_approach, seek_contact
from .clapperboard import check_clapperboard, lit_s
from .clapperboard import clapperboard as clap
from .frames import declare_frames, with_frames
from .leakage import leak_metadata
from .limits import MOST_CYCLES, check_count, check_number, check_roles, check_sign
from .retraction import back_off, check_travel
from .roles import Plan
from .safety import safe
from .step_sizes import step_metadata
from .stubs import announce_exposure, mark, set_bias, watch
from .timetable import Timetable, whole_frames

Segment = tuple[str, int, float, float]  # phase, cycle, bias in V, duration in s


def deposition_stripping_cycles(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    probe: Readable | None = None,
    cycles: int = 2,
    deposit_V: float = -5.0,
    strip_V: float = 5.0,
    deposit_s: float = 1.0,
    strip_s: float = 1.0,
    rest_s: float = 0.25,
    pre_roll_s: float = 0.5,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    approach: bool = True,
    retract_steps: int = 5,
    clapperboard: bool = False,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Run cycles of deposition and stripping, with frames from before the first bias edge on.

    With a probe, the run begins with the approach to contact and ends with the retraction, both
    with the beam blanked.  The protocol is that of Wang et al., ACS Energy Lett. 2023, 8, 1929:
    -5 V at the fibre deposits lithium, +5 V strips it.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    probe : device, optional
        The piezo probe; without it the contact is left as it is.
    cycles : int
        How many times to deposit and strip.
    deposit_V, strip_V : float
        Bias at the fibre in V: below zero, and above zero.
    deposit_s, strip_s, rest_s : float
        Durations in s of station time; the rest, at 0 V, follows each stripping.
    pre_roll_s : float
        Frames before the first bias edge, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    approach : bool
        Approach to contact before the cycles (needs a probe).
    retract_steps : int
        Coarse steps to go back at the end; 0 leaves the probe in contact.
    clapperboard : bool
        Blank the beam in a code before the pre-roll and again at the end, each about a second, and
        date the frames by it: for cameras whose first frame does not follow the start at once.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    ApproachError
        The probe came to no usable contact.
    """
    check_count("cycles", cycles, 1, MOST_CYCLES)
    check_count("retract_steps", retract_steps, 0)
    check_sign("deposit_V", deposit_V, negative=True)
    check_sign("strip_V", strip_V, negative=False)
    segments: list[Segment] = []
    for cycle in range(1, cycles + 1):
        segments.append(("deposit", cycle, deposit_V, deposit_s))
        segments.append(("strip", cycle, strip_V, strip_s))
        segments.append(("rest", cycle, 0.0, rest_s))
    parameters = {
        "cycles": cycles,
        "deposit_V": deposit_V,
        "strip_V": strip_V,
        "deposit_s": deposit_s,
        "strip_s": strip_s,
        "rest_s": rest_s,
        "pre_roll_s": pre_roll_s,
        "frame_rate_Hz": frame_rate_Hz,
        "exposure_s": exposure_s,
        "approach": approach,
        "retract_steps": retract_steps,
        "clapperboard": clapperboard,
    }
    return (
        yield from _recorded(
            "deposition_stripping_cycles",
            bias,
            camera,
            beam,
            probe=probe,
            segments=segments,
            pre_roll_s=pre_roll_s,
            frame_rate_Hz=frame_rate_Hz,
            exposure_s=exposure_s,
            approach=approach,
            retract_steps=retract_steps,
            clapperboard=clapperboard,
            parameters=parameters,
            md=md,
        )
    )


def deposit(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    bias_V: float = -5.0,
    duration_s: float = 1.0,
    pre_roll_s: float = 0.5,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    clapperboard: bool = False,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Deposit lithium: hold a negative bias at the fibre while frames are taken.

    The probe must be in contact already, see `approach_contact`.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    bias_V : float
        Bias at the fibre in V, below zero.
    duration_s, pre_roll_s : float
        Time at the bias, and frames before it, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    clapperboard : bool
        Blank the beam in a code before the pre-roll and again at the end, each about a second, and
        date the frames by it: for cameras whose first frame does not follow the start at once.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    """
    check_sign("bias_V", bias_V, negative=True)
    return (
        yield from _hold(
            "deposit", bias, camera, beam, bias_V, duration_s, pre_roll_s, frame_rate_Hz,
            exposure_s, clapperboard, md,
        )
    )  # fmt: skip


def strip(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    bias_V: float = 5.0,
    duration_s: float = 1.0,
    pre_roll_s: float = 0.5,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    clapperboard: bool = False,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Strip lithium: hold a positive bias at the fibre while frames are taken.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    bias_V : float
        Bias at the fibre in V, above zero.
    duration_s, pre_roll_s : float
        Time at the bias, and frames before it, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    clapperboard : bool
        Blank the beam in a code before the pre-roll and again at the end, each about a second, and
        date the frames by it: for cameras whose first frame does not follow the start at once.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    """
    check_sign("bias_V", bias_V, negative=False)
    return (
        yield from _hold(
            "strip", bias, camera, beam, bias_V, duration_s, pre_roll_s, frame_rate_Hz,
            exposure_s, clapperboard, md,
        )
    )  # fmt: skip


def _hold(
    phase: str,
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    bias_V: float,
    duration_s: float,
    pre_roll_s: float,
    frame_rate_Hz: float,
    exposure_s: float,
    clapperboard: bool,
    md: dict[str, Any] | None,
) -> Plan:
    parameters = {
        "bias_V": bias_V,
        "duration_s": duration_s,
        "pre_roll_s": pre_roll_s,
        "frame_rate_Hz": frame_rate_Hz,
        "exposure_s": exposure_s,
        "clapperboard": clapperboard,
    }
    return (
        yield from _recorded(
            phase,
            bias,
            camera,
            beam,
            segments=[(phase, 1, bias_V, duration_s)],
            pre_roll_s=pre_roll_s,
            frame_rate_Hz=frame_rate_Hz,
            exposure_s=exposure_s,
            clapperboard=clapperboard,
            parameters=parameters,
            md=md,
        )
    )


def _check_durations(segments: Sequence[Segment], pre_roll_s: float) -> None:
    for phase, _, _, duration in segments[:3]:
        check_number(f"{phase}: duration", duration)
        if duration < 0.0 or (duration == 0.0 and phase != "rest"):
            raise LimitError(
                f"{phase}: duration is {duration:g} s; give a positive time in seconds"
            )
    if check_number("pre_roll_s", pre_roll_s) < 0.0:
        raise LimitError(f"pre_roll_s is {pre_roll_s:g}; give 0 or a positive time in seconds")


def _recorded(
    plan_name: str,
    bias: Any,
    camera: Any,
    beam: Any,
    *,
    segments: Sequence[Segment],
    pre_roll_s: float,
    frame_rate_Hz: float,
    exposure_s: float,
    parameters: dict[str, Any],
    md: dict[str, Any] | None,
    probe: Any = None,
    approach: bool = False,
    retract_steps: int = 0,
    clapperboard: bool = False,
) -> Plan:
    """Run bias segments with frames throughout, as one run that ends in the safe state."""
    check_roles(bias=bias, camera=camera, beam=beam, probe=probe)
    _check_durations(segments, pre_roll_s)
    check_number("exposure_s", exposure_s)
    check_number("frame_rate_Hz", frame_rate_Hz)
    for _, _, volts, _ in segments[:3]:
        bias.check_value(volts)
    camera.check_timing(exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)
    if clapperboard:
        check_clapperboard(bias, camera)
    others = () if probe is None else (probe,)
    if probe is not None:
        if approach:
            check_approach(probe, bias)
        check_travel(probe, -retract_steps)

    def body() -> Plan:
        if probe is not None and approach:
            yield from seek_contact(probe, bias)
        yield from declare_frames(camera)
        yield from with_frames(bias, camera, beam, frames, frame_count=count)
        if probe is not None and retract_steps:
            yield from bps.stop(bias)
            yield from back_off(probe, retract_steps)

    def frames() -> Plan:
        if clapperboard:
            yield from clap(bias, camera, beam)
        table = Timetable(bias, camera)
        yield from watch(bias, camera, table.extend(pre_roll_s), *others)
        table.began()
        for phase, cycle, volts, duration in segments:
            yield from mark(camera, phase, cycle)
            yield from set_bias(bias, volts)
            table.began(duration)
            yield from watch(bias, camera, table.extend(duration), *others)
        if clapperboard:
            yield from set_bias(bias, 0.0)
            yield from mark(camera, "end", 0)
            # What is recorded by now shall not fail for want of the drift.
            yield from clap(bias, camera, beam, required=False)

    def settings() -> Plan:
        yield from bps.configure(camera, {"exposure_s": exposure_s, "frame_rate_Hz": frame_rate_Hz})
        return (yield from bpp.run_wrapper(body(), md=start))

    start = {
        "plan_name": plan_name,
        "plan_args": parameters,
        **leak_metadata(bias),
        **({} if probe is None else step_metadata(probe)),
        **(md or {}),
    }
    open_s = pre_roll_s + sum(duration for _, _, _, duration in segments)
    # How long a clapperboard takes is not known beforehand.
    count = 0 if clapperboard else whole_frames(open_s, frame_rate_Hz)
    if clapperboard:
        open_s += 2.0 * lit_s(camera, frame_rate_Hz, exposure_s)
    yield from announce_exposure(beam, open_s, md)
    staged = bpp.stage_wrapper(settings(), [bias, beam, camera])
    return (yield from safe(staged, bias, beam, camera, probe))
