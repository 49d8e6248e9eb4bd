"""Looks at the specimen in another mode of the microscope, which a person switches by hand."""

from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg

from stmtem_control.units import si

from .frames import snapshot
from .questions import Person, Question, ask_person
from .roles import Plan

IMAGING, SURVEY, DIFFRACTION = "imaging", "survey", "diffraction"


def question_of(mode: str, camera_length_m: float = 0.0) -> Question:
    """Return what a person is asked to turn the microscope to."""
    if mode == SURVEY:
        text = "Go to the survey magnification; the beam is blanked.  Answer when it is done"
    elif mode == DIFFRACTION:
        length = "the camera length in use"
        if camera_length_m:
            length = f"a camera length of {si(camera_length_m, 'm')}"
        text = (
            f"Go to diffraction with {length}, select the area, put the beam stop in; the beam is "
            "blanked.  Answer when it is done"
        )
    else:
        text = "Go back to the image, as it was before.  Answer when it is done"
    return Question(text, mode=mode, camera_length_m=camera_length_m)


def look_in(
    bias: Any,
    camera: Any,
    beam: Any,
    person: Person,
    mode: str,
    frames: int,
    camera_length_m: float = 0.0,
) -> Plan:
    """Inside a run: have the mode switched, take exactly so many frames, and have it switched back.

    The output is off and the beam blanked while the person is at work.  The dose is counted at the
    dose rate of the image, which a wider beam stays below.

    Returns
    -------
    str
        What the person has answered.
    """
    yield from bps.stop(bias)
    answer = yield from ask_person(person, question_of(mode, camera_length_m))
    yield from _in_mode(camera, mode, camera_length_m)
    yield from snapshot(bias, camera, beam, mode, frames)
    back = yield from ask_person(person, question_of(IMAGING))
    yield from _in_mode(camera, IMAGING, 0.0)
    return "; ".join(part for part in (answer, back) if part)


def _in_mode(camera: Any, mode: str, camera_length_m: float) -> Plan:
    yield Msg("set", camera.mode, mode, group="mode")
    yield Msg("set", camera.camera_length_m, camera_length_m, group="mode")
    yield Msg("wait", None, group="mode")
