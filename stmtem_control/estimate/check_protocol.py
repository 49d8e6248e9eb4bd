"""Estimates a protocol: the plan that follows it, walked through; all that is refused, by step."""

from pathlib import Path
from typing import Any

from stmtem_control.config import Station, load_station
from stmtem_control.dose.ledger import Ledger
from stmtem_control.plans import follow_protocol
from stmtem_control.protocol import Protocol, read_protocol

from .estimate_plan import estimate_plan
from .result import Estimate, Refusal
from .stand_ins import StandIns


class NeverSeen:
    """A detector whose event never comes."""

    def seen(self, look: Any) -> bool:
        """Return False."""
        return False


def check_protocol(
    protocol: Protocol | Path | str,
    station: Station | str | Path = "sim",
    *,
    ledger: Ledger | None = None,
    specimen: str = "",
) -> Estimate:
    """Return what a protocol would come to at a station; no instrument is asked.

    Parameters
    ----------
    protocol : Protocol, Path or str
        A protocol, or its file.
    station : Station, str or Path
        A station, the name of one that comes with the package, or a station file.
    ledger : Ledger, optional
        Of the doses; by default the station's, read only.
    specimen : str, optional
        What is in the beam.

    Returns
    -------
    Estimate
        Its refusals name file, line and key.

    Raises
    ------
    ProtocolFileError
        The file cannot be read.
    ConfigError, RecordingError
        The station, its ledger or its calibrations cannot be used.
    """
    if not isinstance(protocol, Protocol):
        protocol = read_protocol(protocol)
    station = station if isinstance(station, Station) else load_station(station)
    found = _estimate(protocol, station, ledger, specimen)
    if found.ok:
        return found
    return found.with_refusals(_refusals(protocol, station, ledger, specimen, found))


def _estimate(
    protocol: Protocol, station: Station, ledger: Ledger | None, specimen: str
) -> Estimate:
    def plan(stand_ins: StandIns) -> Any:
        for event in protocol.events:
            stand_ins.detectors[event] = NeverSeen()
            stand_ins.tally.assume(
                f"the session has a detector {event!r} (session.detectors), and it sees nothing "
                "before the time-out"
            )
        return follow_protocol(
            stand_ins.bias,
            stand_ins.camera,
            stand_ins.beam,
            stand_ins.probe,
            protocol,  # type: ignore[arg-type]
            detectors=stand_ins.detectors,
            ask=lambda question: "",
        )

    return estimate_plan(
        plan,
        station,
        ledger=ledger,
        specimen=specimen,
        site=protocol.site or "",
        name=protocol.name,
        budget_e_per_A2=protocol.beam.budget_e_per_A2,
    )


def _refusals(
    protocol: Protocol,
    station: Station,
    ledger: Ledger | None,
    specimen: str,
    whole: Estimate,
) -> tuple[Refusal, ...]:
    """Return all refusals with their places: those of each step alone, then those of the whole.

    The plan itself ends at the first that it finds, as a run does.
    """
    found: list[Refusal] = []
    for step in protocol.steps:
        alone = protocol.model_copy(update={"steps": (step,)})
        for one in _estimate(alone, station, ledger, specimen).refusals:
            found.append(_placed(one, step))
    told = {one.message for one in found}
    for one in whole.refusals:
        message = one.message
        # What a step alone was refused for, its place in front; or the dose, of which the whole
        # gives more.
        if not any(message.endswith(known) or known.endswith(message) for known in told):
            found.append(one)
    kept: dict[tuple[str, str], Refusal] = {}
    whole_protocol = {one.message for one in whole.refusals}
    for one in found:
        # What is refused of the protocol as a whole (camera, dose, disk) is told once.
        general = one.message in whole_protocol and one.key in ("camera", "disk")
        place = "" if general else one.where
        kept.setdefault((place, one.message), one)
    return tuple(kept.values())


def _placed(refusal: Refusal, step: Any) -> Refusal:
    where, message = step.where, refusal.message
    if where and message.startswith(f"{where}: "):
        message = message[len(where) + 2 :]
    return Refusal(where, refusal.key or step.kind, message)
