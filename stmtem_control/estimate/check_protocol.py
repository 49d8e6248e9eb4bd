"""Estimates a protocol: the plan that follows it, walked through; all that is refused, by step."""

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from stmtem_control.config import Station, load_station
from stmtem_control.dose.ledger import Ledger
from stmtem_control.plans import follow_protocol
from stmtem_control.protocol import (
    AT_ONCE,
    Cycles,
    Protocol,
    read_protocol,
    waits_that_are_over,
)

from .estimate_plan import estimate_plan
from .result import Estimate, Refusal
from .walked_legs import WalkedLegs

WHOLE = ("camera", "disk")  # what is refused of the protocol, not of a step
OVER = "beam: the protocol would give"  # how its own budget is told by the plan


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
    first: bool = True,
    memory: WalkedLegs | None = None,
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
    first : bool
        Whether it is the first plan of its session: then the recorder has to wake up.
    memory : WalkedLegs, optional
        What approaches and baselines came to that were walked before, at this station.

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
    known = WalkedLegs() if memory is None else memory
    check = _Check(protocol, station, ledger, specimen, first=first, memory=known)
    found = check.whole()
    return found if found.ok else found.with_refusals(check.refusals(found))


class _Check:
    """The walks that a protocol needs: the whole, and each step alone where something is refused.

    The budget of the protocol's own is judged here, on all that the beam is open, so that the walk
    does not end with it before it begins.
    """

    def __init__(
        self,
        protocol: Protocol,
        station: Station,
        ledger: Ledger | None,
        specimen: str,
        *,
        first: bool,
        memory: WalkedLegs,
    ) -> None:
        self._first, self._memory = first, memory
        self._protocol = protocol
        self._station = station
        self._ledger = ledger
        self._specimen = specimen
        self._over = waits_that_are_over(protocol)
        self._unlimited = protocol.model_copy(
            update={
                "beam": protocol.beam.model_copy(
                    update={"budget_e_per_A2": None, "dose_rate_e_per_A2_s": None}
                )
            }
        )

    def whole(self) -> Estimate:
        """Walk through all of it, and see whether the plan as it is written begins."""
        found = self._walk(self._unlimited, self._protocol.beam.budget_e_per_A2)
        first = self._walk(self._protocol, None, begin_only=True).refusals
        known = {one.message for one in found.refusals}
        over = any(one.is_dose for one in found.refusals)
        more = [
            one
            for one in first
            if one.message not in known and not (over and one.message.startswith(OVER))
        ]
        doubtful = tuple(one.one_line() for one in self._over if not one.certain)
        return replace(
            found,
            refusals=(*found.refusals, *more),
            warnings=(*doubtful, *found.warnings),
        )

    def refusals(self, whole: Estimate) -> tuple[Refusal, ...]:
        """Return all refusals with their places: of each step alone, then of the whole."""
        found = [Refusal(one.where, one.kind, one.text) for one in self._over if one.certain]
        for step in self._pieces():
            alone = self._unlimited.model_copy(update={"steps": (step,)})
            for one in self._walk(alone, None).refusals:
                # Alone any step is the first, before which nothing has flowed.
                first = AT_ONCE in one.message
                if one.key not in WHOLE and not one.is_dose and not first:
                    found.append(_placed(one, step))
        told = [one.message for one in found]
        for one in whole.refusals:
            # What a step alone is refused for stands there already, with its place.
            if not any(one.message.endswith(message) for message in told):
                found.append(one)
        return tuple(dict.fromkeys(found))

    def _pieces(self) -> Iterator[Any]:
        """Go through the steps; of cycles through their parts, which have lines of their own."""
        for step in self._protocol.steps:
            if isinstance(step, Cycles):
                yield from (step.deposit, step.strip)
            else:
                yield step

    def _walk(
        self, protocol: Protocol, budget_e_per_A2: float | None, *, begin_only: bool = False
    ) -> Estimate:
        def plan(stand_ins: Any) -> Generator[Any, Any, Any]:
            for event in protocol.events:
                stand_ins.detectors[event] = NeverSeen()
                stand_ins.tally.assume(
                    f"the session has a detector {event!r} (session.detectors), and it sees "
                    "nothing before the time-out"
                )
            made: Any = follow_protocol(
                stand_ins.bias,
                stand_ins.camera,
                stand_ins.beam,
                stand_ins.probe,
                cast(Any, protocol),
                detectors=stand_ins.detectors,
                ask=lambda question: "",
            )
            return _first_of(made) if begin_only else made

        return estimate_plan(
            plan,
            self._station,
            ledger=self._ledger,
            specimen=self._specimen,
            site=protocol.site or "",
            name=protocol.name,
            budget_e_per_A2=budget_e_per_A2,
            first=self._first,
            memory=self._memory,
        )


def _first_of(plan: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Go to the first message of a plan only: by then all is checked."""
    try:
        yield next(plan)
    finally:
        plan.close()


def _placed(refusal: Refusal, step: Any) -> Refusal:
    """Return a refusal with the place of its step, and without what stands twice."""
    where, message, key = step.where, refusal.message, step.kind
    message = message.removeprefix(f"{where}: ").removeprefix(f"{key}: ")
    if refusal.key == "bias":
        key, message = f"{key}: bias", message.removeprefix("bias: ")
    return Refusal(where, key, message)
