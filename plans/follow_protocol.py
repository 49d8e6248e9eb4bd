"""The plan of a protocol: one run, step by step, that ends in the safe state like every other."""

from collections.abc import Mapping
from typing import Any

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Flyable, Movable, Readable

from stmtem_control.protocol import Protocol, read_protocol

from .limits import check_roles
from .protocol_follower import Follower
from .recorded_block import Lab
from .roles import Plan
from .safety import safe


def follow_protocol(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    probe: Readable,
    protocol: str | dict[str, Any],
    *,
    detectors: dict[str, Any] | None = None,
    ask: Any = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Do what a protocol says, step by step, in one run.

    Steps under bias that follow each other (cycles, deposit, strip, hold, rest) are one block with
    frames throughout.  A block whose length is known beforehand has exactly as many frames as
    periods of the camera fit into it, recorded or known to be lost.  Between blocks the bias is at
    0 V and the beam blanked.  Each step has two events in the stream "step".

    Parameters
    ----------
    bias, camera, beam, probe : device
        The biasing source, the frame camera, the beam blanker, the piezo probe.
    protocol : str or dict
        The text of a protocol file, its path, or what ``Protocol.to_json_dict`` gives.
    detectors : dict, optional
        What sees the events that the protocol waits for, by name; each has a method
        ``seen(look) -> bool``, see :class:`.until.Detector`.
    ask : callable, optional
        Takes a question and returns the answer of the person at the microscope; needed where the
        protocol has a prompt, a survey or a diffraction.  It is called in a thread of its own.  The
        answers "no", "stop" and "abort" end the plan.
    md : dict, optional
        Metadata for the start document, beside that of the protocol.

    Returns
    -------
    list of dict
        Number, kind and reason of the end of each step.

    Raises
    ------
    ProtocolFileError
        The protocol cannot be read.
    LimitError
        The station does not allow a step; nothing has moved.
    InterlockError
        The dose budget has less left than this takes; nothing has moved.
    ApproachError
        The probe came to no usable contact.
    """
    wanted = _protocol_of(protocol)
    return (
        yield from follow(
            "follow_protocol",
            bias,
            camera,
            beam,
            probe,
            wanted,
            detectors=detectors,
            ask=ask,
            md=md,
        )
    )


def follow(
    plan_name: str,
    bias: Any,
    camera: Any,
    beam: Any,
    probe: Any,
    protocol: Protocol,
    *,
    detectors: dict[str, Any] | None = None,
    ask: Any = None,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Do what a protocol says, under the name of a plan; see :func:`follow_protocol`."""
    check_roles(bias=bias, camera=camera, beam=beam, probe=probe)
    follower = Follower(Lab(bias, camera, beam, probe), protocol, detectors, ask)
    follower.check()
    start = {**follower.metadata(), "plan_name": plan_name, **(md or {})}
    yield from _announce(beam, follower.open_s(), start)
    staged = bpp.stage_wrapper(follower.run(start), [bias, beam, camera])
    yield from safe(staged, bias, beam, camera, probe)
    return follower.endings


def _announce(beam: Any, open_s: dict[str, float], start: dict[str, Any]) -> Plan:
    """Before anything moves: refuse the protocol if a site has not so much dose left."""
    first, *later = open_s
    check = getattr(beam, "check_exposure", None)
    if check is not None:
        for site in later:
            check(open_s[site], {**start, "site": site})
        check(open_s[first], {**start, "site": first} if first else start)
    yield Msg("null", beam, planned_open_s=sum(open_s.values()))


def _protocol_of(given: Any) -> Protocol:
    """Return the protocol that a plan was given, as a person or a queue gives it."""
    if isinstance(given, Protocol):
        return given
    if isinstance(given, Mapping):
        return Protocol.from_json_dict(given)
    return read_protocol(given)
