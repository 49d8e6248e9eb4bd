"""Plans of one step of a protocol: wait for something under bias, or look in another mode."""

from typing import Any

from bluesky.protocols import Flyable, Movable

from stmtem_control.errors import LimitError
from stmtem_control.protocol import Protocol

from .follow_protocol import follow
from .limits import check_sign
from .roles import Plan


def deposit_until(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    until: dict[str, str],
    *,
    bias_V: float = -5.0,
    timeout_s: float = 60.0,
    pre_roll_s: float = 0.5,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    detectors: dict[str, Any] | None = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Deposit lithium until something measured or seen comes, with frames throughout.

    The probe must be in contact already, see `approach_contact`.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    until : dict
        As in a protocol, for example ``{"charge": "-2 nC"}``, ``{"current": "below 10 pA"}``,
        ``{"dose": "100 e/A^2"}``, ``{"contact": "lost"}``, ``{"event": "facet"}``; the first that
        comes ends it.
    bias_V : float
        Bias at the fibre in V, below zero.
    timeout_s : float
        Longest time to wait, in s of station time.
    pre_roll_s : float
        Frames before the bias edge, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    detectors : dict, optional
        What sees the events, by name; see :class:`.until.Detector`.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    list of dict
        One entry, with the ``reason`` of the end.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    """
    check_sign("bias_V", bias_V, negative=True)
    step = {"kind": "deposit", "bias_V": bias_V, "until": until, "timeout_s": timeout_s}
    made = _protocol("deposit until", step, frame_rate_Hz, exposure_s, pre_roll_s)
    lab = (bias, camera, beam, None)
    return (yield from follow("deposit_until", *lab, made, detectors=detectors, md=md))


def strip_until(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    until: dict[str, str],
    *,
    bias_V: float = 5.0,
    timeout_s: float = 60.0,
    pre_roll_s: float = 0.5,
    frame_rate_Hz: float = 25.0,
    exposure_s: float = 0.035,
    detectors: dict[str, Any] | None = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Strip lithium until something measured or seen comes, with frames throughout.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    until : dict
        As in a protocol, see `deposit_until`; a charge counts from the begin of this plan, for
        example ``{"charge": "2 nC"}``.
    bias_V : float
        Bias at the fibre in V, above zero.
    timeout_s : float
        Longest time to wait, in s of station time.
    pre_roll_s : float
        Frames before the bias edge, in s.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    detectors : dict, optional
        What sees the events, by name; see :class:`.until.Detector`.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    list of dict
        One entry, with the ``reason`` of the end.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    """
    check_sign("bias_V", bias_V, negative=False)
    step = {"kind": "strip", "bias_V": bias_V, "until": until, "timeout_s": timeout_s}
    made = _protocol("strip until", step, frame_rate_Hz, exposure_s, pre_roll_s)
    lab = (bias, camera, beam, None)
    return (yield from follow("strip_until", *lab, made, detectors=detectors, md=md))


def survey(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    frames: int = 4,
    frame_rate_Hz: float = 10.0,
    exposure_s: float = 0.09,
    ask: Any = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Take a few frames at the survey magnification, which a person goes to and comes back from.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, whose output stays off, the frame camera, the beam blanker.
    frames : int
        How many.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    ask : callable
        Takes a question and returns the person's answer, see `follow_protocol`.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    list of dict
        One entry.

    Raises
    ------
    LimitError
        A parameter is outside what the station allows, or nobody can be asked.
    """
    made = _protocol("survey", {"kind": "survey", "frames": frames}, frame_rate_Hz, exposure_s)
    return (yield from follow("survey", bias, camera, beam, None, made, ask=ask, md=md))


def diffraction_snapshot(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    frames: int = 10,
    camera_length_m: float = 0.5,
    frame_rate_Hz: float = 10.0,
    exposure_s: float = 0.09,
    ask: Any = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Take diffraction patterns; a person switches to diffraction and back.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, whose output stays off, the frame camera, the beam blanker.
    frames : int
        How many patterns.
    camera_length_m : float
        Camera length in m, which the person is asked for.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    ask : callable
        Takes a question and returns the person's answer, see `follow_protocol`.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    list of dict
        One entry.

    Raises
    ------
    LimitError
        A parameter is outside what the station allows, or nobody can be asked.
    """
    step = {"kind": "diffraction", "frames": frames, "camera_length_m": camera_length_m}
    made = _protocol("diffraction", step, frame_rate_Hz, exposure_s)
    lab = (bias, camera, beam, None)
    return (yield from follow("diffraction_snapshot", *lab, made, ask=ask, md=md))


def _protocol(
    name: str, step: dict[str, Any], rate_Hz: float, exposure_s: float, pre_roll_s: float = 0.0
) -> Protocol:
    """Return a protocol of one step.

    Raises
    ------
    LimitError
        A parameter makes no sense; the message names it.
    """
    camera = {"rate_Hz": rate_Hz, "exposure_s": exposure_s}
    try:
        return Protocol.from_json_dict(
            {"name": name, "camera": camera, "pre_roll_s": pre_roll_s, "steps": [step]}, name
        )
    except ValueError as error:
        raise LimitError(str(error)) from None
