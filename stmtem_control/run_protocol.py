"""Running a protocol in a session."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmtem_control.plans import follow_protocol

from .ask_at_terminal import AskAtTerminal
from .errors import ProtocolFileError
from .outcome import Outcome
from .protocol import Biased, Diffraction, Prompt, Protocol, Site, Survey, read_protocol

if TYPE_CHECKING:
    from .session import Session

Ask = Callable[[str], str]
ASKING = (Prompt, Site, Survey, Diffraction)  # steps for which a person must do something


def run_protocol(
    session: "Session",
    protocol: Protocol | Path | str,
    *,
    ask: Ask | None = None,
    detectors: Mapping[str, Any] | None = None,
    sample: str | None = None,
    operator: str | None = None,
    air_exposure_s: float | None = None,
    notes: str | None = None,
    site: str | None = None,
) -> Outcome:
    """Run a protocol to its end, in one run, and say how it ended.

    Parameters
    ----------
    session : Session
        An open one.
    protocol : Protocol, Path or str
        A protocol, the path of its file, or the file's text.
    ask : callable, optional
        Takes a question and returns the answer; by default the person at the terminal is asked.
    detectors : mapping, optional
        What sees the events that the protocol waits for, by name; by default those of
        ``session.detectors``.
    sample, operator, notes, site : str, optional
        Instead of what stands in the file.
    air_exposure_s : float, optional
        How long the sample was in air, in s, instead of what stands in the file.

    Returns
    -------
    Outcome
        Its folder keeps the file as ``protocol.yaml``; it has none if the protocol was refused,
        and nothing has moved then.

    Raises
    ------
    ProtocolFileError
        The protocol cannot be read; nothing has moved.
    """
    if not isinstance(protocol, Protocol):
        protocol = read_protocol(protocol)
    protocol = protocol.with_metadata(
        sample=sample,
        operator=operator,
        air_exposure_s=air_exposure_s,
        notes=notes,
        site=site,
    )
    found = detectors if detectors is not None else session.detectors
    devices = session.devices
    taken: Any = protocol  # a queue gives text or a dict, which is what the plan says it takes
    plan = follow_protocol(
        devices["bias"],
        devices["camera"],
        devices["beam"],
        devices["probe"],
        taken,
        detectors=dict(found),
        ask=None if not asks(protocol) else turning(session, ask or AskAtTerminal()),
    )
    return session.run(plan)


def asks(protocol: Protocol) -> bool:
    """Tell whether a person is asked for something."""
    return any(isinstance(step, ASKING) for step in protocol.steps)


def refuse_without_person(protocol: Protocol) -> None:
    """Raise ProtocolFileError if a person would be asked, and there is none.

    Raises
    ------
    ProtocolFileError
        It names the first step for which somebody is needed.
    """
    for step in protocol.steps:
        if isinstance(step, ASKING):
            file, _, line = step.where.rpartition(":")
            raise ProtocolFileError(
                "somebody must be asked, and the input is no terminal; run it at one, or give "
                "--yes where all is prepared",
                file=file or "protocol",
                line=int(line) if line.isdecimal() else 0,
                key=step.kind,
            )


def refuse_without_detectors(protocol: Protocol) -> None:
    """Raise ProtocolFileError if the protocol waits for a detector, and nobody can pass one in.

    Raises
    ------
    ProtocolFileError
        It names the first step that waits for one.
    """
    for step in protocol.biased():
        for condition in step.until if isinstance(step, Biased) else ():
            if condition.kind == "event":
                file, _, line = step.where.rpartition(":")
                raise ProtocolFileError(
                    f"event {condition.name!r} needs a detector, and the command line has none; "
                    "put one into session.detectors and run it there (stmtem session)",
                    file=file or "protocol",
                    line=int(line) if line.isdecimal() else 0,
                    key="until",
                )


def turning(session: "Session", ask: Ask) -> Ask:
    """Return a way to ask that also turns the column of a bench of the session's own.

    At a microscope a person does that.
    """

    def turned(question: str) -> str:
        answer = ask(question)
        mode, bench = str(getattr(question, "mode", "")), session.bench
        if mode and bench is not None:
            bench.turn(mode, float(getattr(question, "camera_length_m", 0.0)) or None)
        return answer

    cancel = getattr(ask, "cancel", None)
    if cancel is not None:  # only then a question is withdrawn
        setattr(turned, "cancel", cancel)  # noqa: B010 - a function has no such attribute
    return turned
