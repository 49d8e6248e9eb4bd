"""Controls for the beam: what lithium does without it, and what it does without lithium's bias.

Supporting figures S1 (beam blocked) and S2 (irradiation) of Wang et al., ACS Energy Lett. 2023,
8, 1929.
"""

import random
import uuid
from collections.abc import Sequence
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.protocols import Flyable, Movable

from stmtem_control.errors import LimitError

from .frames import declare_frames, snapshot, snapshot_s, with_frames
from .limits import check_count, check_number, check_roles, check_sign
from .roles import Plan
from .safety import safe
from .stubs import announce_exposure, mark, set_bias, watch
from .timetable import Timetable, whole_frames

CONDITIONS = ("beam_on", "blanked", "no_bias")


def beam_blocked_control(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    conditions: Sequence[str] = CONDITIONS,
    deposit_V: float = -5.0,
    strip_V: float = 5.0,
    deposit_s: float = 1.0,
    strip_s: float = 2.0,
    rest_s: float = 0.25,
    snapshots_s: Sequence[float] = (),
    snapshot_frames: int = 3,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    shuffle_seed: int | None = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Deposit with the beam on, with the beam blanked, and irradiate without bias: matched runs.

    Each condition is a run of its own, with the same times.  A snapshot before and one after the
    deposition, at 0 V, show what it came to.  Between them the beam is open with frames throughout
    ("beam_on", and "no_bias", where the output stays off), or blanked ("blanked"), opened for the
    snapshots that are asked for only.  What was deposited is stripped again, blanked, so that the
    next run begins with the bare fibre; a last snapshot shows that it does.

    The probe must be in contact already, see `approach_contact`.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    conditions : sequence of str
        Which runs, in which order: "beam_on", "blanked", "no_bias"; each may come several times.
    deposit_V, strip_V : float
        Bias at the fibre in V: below zero, and above zero.
    deposit_s, strip_s, rest_s : float
        Durations in s of station time.
    snapshots_s : sequence of float
        Times into the deposition, in s, at which the blanked run takes a snapshot, too.
    snapshot_frames : int
        Frames of a snapshot.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    shuffle_seed : int, optional
        Run the conditions in a random order, fixed by this.
    md : dict, optional
        Metadata for the start documents; each also has ``condition``, ``control_group``, the same
        in all, and ``control_order``.

    Returns
    -------
    list of (str, str)
        Condition and uid of each run, in order.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    InterlockError
        The dose budget has less left than this takes; nothing has moved.
    """
    order = _check_conditions(conditions, shuffle_seed)
    check_roles(bias=bias, camera=camera, beam=beam)
    source, eye, blanker = _devices(bias, camera, beam)
    check_sign("deposit_V", deposit_V, negative=True)
    check_sign("strip_V", strip_V, negative=False)
    source.check_value(deposit_V)
    source.check_value(strip_V)
    for name, value in (("deposit_s", deposit_s), ("strip_s", strip_s)):
        _check_positive(name, value)
    if check_number("rest_s", rest_s) < 0.0:
        raise LimitError(f"rest_s is {rest_s:g}; give 0 or a positive time in seconds")
    check_count("snapshot_frames", snapshot_frames, 1)
    moments = _check_moments(snapshots_s, deposit_s)
    eye.check_timing(exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)
    parameters: dict[str, Any] = {
        "conditions": list(order),
        "deposit_V": deposit_V,
        "strip_V": strip_V,
        "deposit_s": deposit_s,
        "strip_s": strip_s,
        "rest_s": rest_s,
        "snapshots_s": moments,
        "snapshot_frames": snapshot_frames,
        "frame_rate_Hz": frame_rate_Hz,
        "exposure_s": exposure_s,
        "shuffle_seed": shuffle_seed,
    }

    def look(phase: str) -> Plan:
        return snapshot(source, eye, blanker, phase, snapshot_frames)

    def with_beam(biased: bool) -> Plan:
        table = Timetable(source)
        yield from mark(eye, "deposit" if biased else "irradiate", 1)
        if biased:
            yield from set_bias(source, deposit_V)
        yield from watch(source, eye, table.extend(deposit_s))

    def blanked() -> Plan:
        yield from mark(eye, "deposit", 1)
        yield from set_bias(source, deposit_V)
        begun, paused = source.clock.now(), source.paused_s
        for moment in (*moments, deposit_s):
            lasted = source.clock.now() - begun - (source.paused_s - paused)
            yield from watch(source, eye, max(0.0, moment - lasted), collect=False)
            if moment < deposit_s:
                yield from look("snapshot")
                yield from mark(eye, "deposit", 1)

    def run_of(condition: str) -> Plan:
        yield from declare_frames(eye)
        biased = condition != "no_bias"
        yield from look("before")
        if condition == "blanked":
            yield from blanked()
        else:
            yield from with_frames(
                source,
                eye,
                blanker,
                lambda: with_beam(biased),
                keep_bias=True,
                open_first=True,
                frame_count=whole_frames(deposit_s, frame_rate_Hz),
            )
        if biased:
            yield from set_bias(source, 0.0)
        yield from look("after")
        if biased:
            yield from mark(eye, "strip", 1)
            yield from set_bias(source, strip_V)
            yield from watch(source, eye, strip_s, collect=False)
            yield from mark(eye, "rest", 1)
            yield from set_bias(source, 0.0)
            yield from watch(source, eye, rest_s, collect=False)
            yield from look("stripped")
        yield from bps.stop(source)

    def runs() -> Plan:
        group = str(uuid.uuid4())
        made: list[tuple[str, str]] = []
        yield from bps.configure(eye, {"exposure_s": exposure_s, "frame_rate_Hz": frame_rate_Hz})
        for place, condition in enumerate(order):
            start = {
                "plan_name": "beam_blocked_control",
                "plan_args": parameters,
                "condition": condition,
                "control_group": group,
                "control_order": place,
                **(md or {}),
            }
            uid = yield from bpp.run_wrapper(run_of(condition), md=start)
            made.append((condition, uid))
        return made

    look_s, open_s = (snapshot_frames + 0.5) / frame_rate_Hz, 0.0
    for condition in order:
        looks = 2 if condition == "no_bias" else 3
        if condition == "blanked":
            looks += len(moments)
        else:
            open_s += deposit_s
        open_s += looks * look_s
    yield from announce_exposure(beam, open_s, md)
    short_s = snapshot_s(snapshot_frames, frame_rate_Hz)
    lit_s = {
        "beam_on": deposit_s + 3 * short_s,
        "blanked": (3 + len(moments)) * short_s,
        "no_bias": deposit_s + 2 * short_s,
    }
    yield from announce_exposure(blanker, sum(lit_s[condition] for condition in order), md)
    staged = bpp.stage_wrapper(runs(), [source, blanker, eye])
    return (yield from safe(staged, source, blanker, eye))


def beam_irradiation_control(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    doses_e_per_A2: Sequence[float] = (10.0, 30.0, 100.0),
    rest_s: float = 0.0,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Irradiate without bias, to rising doses, with frames throughout: what the beam alone does.

    The output of the source stays off.  Every frame has its dose and the total before it.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker, whose calibrated dose rate says how
        long a dose takes.
    doses_e_per_A2 : sequence of float
        Total doses of the run, in e-/A^2, each larger than the one before.  The frames of stage n
        have the cycle n.
    rest_s : float
        Between two stages, beam blanked, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    InterlockError
        The dose budget has less left than this takes; nothing has moved.
    """
    check_roles(bias=bias, camera=camera, beam=beam)
    source, eye, blanker = _devices(bias, camera, beam)
    doses = [float(check_number("doses_e_per_A2", dose)) for dose in doses_e_per_A2]
    if not doses or any(
        later <= before for before, later in zip([0.0, *doses], doses, strict=False)
    ):
        raise LimitError(
            f"doses_e_per_A2 is {list(doses_e_per_A2)}; give rising totals above 0, in e/A^2"
        )
    if check_number("rest_s", rest_s) < 0.0:
        raise LimitError(f"rest_s is {rest_s:g}; give 0 or a positive time in seconds")
    eye.check_timing(exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)
    rate = _check_positive("the beam's dose rate", float(blanker.dose_rate.get()))
    parameters: dict[str, Any] = {
        "doses_e_per_A2": doses,
        "rest_s": rest_s,
        "frame_rate_Hz": frame_rate_Hz,
        "exposure_s": exposure_s,
    }

    def stages() -> Plan:
        before = 0.0
        for stage, dose in enumerate(doses, 1):
            if stage > 1 and rest_s:
                yield from mark(eye, "rest", stage - 1)
                yield from bps.mv(blanker, "blanked")
                yield from watch(source, eye, rest_s)
            yield from mark(eye, "irradiate", stage)
            yield from bps.mv(blanker, "open")
            yield from watch(source, eye, (dose - before) / rate)
            before = dose

    start = {"plan_name": "beam_irradiation_control", "plan_args": parameters, **(md or {})}

    def body() -> Plan:
        yield from declare_frames(eye)
        yield from with_frames(source, eye, blanker, stages, phase="irradiate", keep_bias=True)

    def settings() -> Plan:
        yield from bps.configure(eye, {"exposure_s": exposure_s, "frame_rate_Hz": frame_rate_Hz})
        return (yield from bpp.run_wrapper(body(), md=start))

    yield from announce_exposure(beam, doses[-1] / rate, md)
    yield from announce_exposure(blanker, doses[-1] / rate, md)
    staged = bpp.stage_wrapper(settings(), [source, blanker, eye])
    return (yield from safe(staged, source, blanker, eye))


def _devices(bias: Any, camera: Any, beam: Any) -> tuple[Any, Any, Any]:
    """Return the devices as what they are inside a plan; Bluesky's protocols know less."""
    return bias, camera, beam


def _check_conditions(conditions: Sequence[str], shuffle_seed: int | None) -> list[str]:
    order = [conditions] if isinstance(conditions, str) else list(conditions)
    for condition in order:
        if condition not in CONDITIONS:
            raise LimitError(f"conditions: {condition!r}; one of {', '.join(CONDITIONS)}")
    if not order:
        raise LimitError(f"conditions: none is given; one or more of {', '.join(CONDITIONS)}")
    if shuffle_seed is not None:
        random.Random(check_count("shuffle_seed", shuffle_seed, 0)).shuffle(order)
    return order


def _check_positive(name: str, value: float) -> float:
    if check_number(name, value) <= 0.0:
        raise LimitError(f"{name} is {value:g}; give a positive number")
    return float(value)


def _check_moments(snapshots_s: Sequence[float], deposit_s: float) -> list[float]:
    moments = [check_number("snapshots_s", moment) for moment in snapshots_s]
    inside = all(0.0 < moment < deposit_s for moment in moments)
    if not inside or sorted(set(moments)) != moments:
        raise LimitError(
            f"snapshots_s is {moments}; give rising times between 0 and deposit_s = {deposit_s:g} s"
        )
    return moments
