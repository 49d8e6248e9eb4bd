"""The cases of the matrix of faults: which there are, a sample of them, and the table."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stmtem_control.plans import approach_contact, deposition_stripping_cycles

from .fault_endings import BY_ITSELF, ENDINGS, Place
from .fault_lab import Lab
from .fault_list import FAULTS
from .side_by_side import markdown

__all__ = [
    "MORE",
    "PLANS",
    "Case",
    "Verdict",
    "all_cases",
    "sample",
    "table",
    "thinned",
]

Plan = Any
#: The plans that begin with the probe away from the fibre.
AWAY: Final = ("approach",)


def _cycles(lab: Lab) -> Plan:
    session: Any = lab.session
    return deposition_stripping_cycles(
        session.bias,
        session.camera,
        session.beam,
        probe=session.probe,
        approach=False,  # which is the other plan
        cycles=1,
        pre_roll_s=0.5,
        deposit_s=1.0,
        strip_s=1.0,
        retract_steps=1,
        frame_rate_Hz=2.0,
        exposure_s=0.1,
    )


def _approach(lab: Lab) -> Plan:
    session: Any = lab.session
    # As few readings and steps as there can be: each kind of message comes all the same.
    return approach_contact(
        session.probe,
        session.bias,
        session.beam,
        readings=2,
        fine_step_V=2.0,
        least_step_V=0.5,
        learn_steps=False,
        max_coarse_steps=3,
    )


def _short(lab: Lab) -> Plan:
    session: Any = lab.session
    return deposition_stripping_cycles(
        session.bias,
        session.camera,
        session.beam,
        cycles=1,
        pre_roll_s=0.1,
        deposit_s=0.4,
        strip_s=0.4,
        rest_s=0.0,
        frame_rate_Hz=5.0,
        exposure_s=0.05,
    )


#: The plans whose messages are gone through.
PLANS: Final[Mapping[str, Callable[[Lab], Plan]]] = {"cycles": _cycles, "approach": _approach}
#: Those that :mod:`.fault_runs` runs besides.
MORE: Final[Mapping[str, Callable[[Lab], Plan]]] = {**PLANS, "short": _short}


@dataclass(frozen=True)
class Case:
    """A fault, or none, and an ending at one message of a plan.

    A fault that says when it strikes, after an "@", counts from the beginning of the run; others
    strike at the message.
    """

    plan: str
    place: Place
    ending: str = BY_ITSELF
    faults: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """Return the row of the table that it belongs to."""
        parts = [*self.faults, *([] if self.ending == BY_ITSELF else [self.ending])]
        return " + ".join(parts) or BY_ITSELF

    def __str__(self) -> str:
        """Return what ``--only`` takes."""
        return "/".join((self.plan, str(self.place), self.ending, *self.faults))

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Return the case that was written so."""
        plan, place, ending, *faults = text.split("/")
        kind, _, number = place.rpartition(":")
        return cls(plan, Place(kind, int(number)), ending, tuple(faults))


@dataclass
class Verdict:
    """What came of a case.

    Attributes
    ----------
    problems : list of str
        Empty if all was as it must be.
    unsafe_s : float
        Wall seconds from the fault, or from the wish to end, until all was safe.
    after : str
        What came of a run after it: "works", or the reason for which it was refused.
    stood_still_s : float
        The longest time, in wall seconds, in which this computer did nothing of it.
    tried : list of str
        What an earlier try found in which the computer stood still for too long to tell.
    """

    case: Case
    reached: bool = False
    status: str = ""
    told: str = ""
    unsafe_s: float = 0.0
    seconds: float = 0.0
    after: str = "works"
    problems: list[str] = field(default_factory=list)
    stood_still_s: float = 0.0
    tried: list[str] = field(default_factory=list)


def all_cases(where: Mapping[str, Sequence[Place]], rng: random.Random) -> list[Case]:
    """Return each ending and each fault at each message; and as many pairs of a random kind."""
    cases = [
        Case(plan, place, ending)
        for plan, found in where.items()
        for place in found
        for ending in ENDINGS
        if ending != BY_ITSELF
    ]
    cases += [
        Case(plan, place, faults=(fault,))
        for plan, found in where.items()
        for place in found
        for fault in FAULTS
    ]
    for plan, found in where.items():
        for place in found:
            first, second = rng.sample(list(FAULTS), 2)
            cases.append(Case(plan, place, rng.choice(list(ENDINGS)), (first,)))
            cases.append(Case(plan, place, faults=(first, second)))
    return cases


def sample(cases: Sequence[Case], count: int, rng: random.Random) -> list[Case]:
    """Return `count` cases, of each row and each phase of the table as many as can be; 0: all."""
    if not 0 < count < len(cases):
        return list(cases)
    rows: dict[str, list[Case]] = {}
    for case in rng.sample(cases, len(cases)):
        rows.setdefault(_row(case), []).append(case)
    for row in rows.values():
        # The first of each phase, then the second of each: phases are of very different lengths.
        seen: dict[str, int] = {}
        turn = {}
        for case in row:
            phase = case.place.phase
            turn[case] = seen[phase] = seen.get(phase, 0) + 1
        row.sort(key=lambda case: turn[case], reverse=True)
    taken: list[Case] = []
    while len(taken) < count:
        for row in rows.values():
            if row and len(taken) < count:
                taken.append(row.pop())
    return taken


def _row(case: Case) -> str:
    pair = len(case.faults) + (case.ending != BY_ITSELF) > 1
    return "a fault and another" if pair else case.what


def _group(case: Case) -> str:
    """Return what a row of the short table is for: one place that has faults, or kind of ending."""
    row = _row(case)
    if row not in ENDINGS:
        where, is_fault, _ = row.partition(":")
        return f"faults of the {where.replace('_', ' ')}" if is_fault else row
    if row.endswith("raises") or row.endswith("in the plan"):
        return "an error, sys.exit"
    if "pause" in row:
        return "a pause"
    return "an end from another thread" if row in ("abort", "stop", "halt") else "Ctrl-C, signals"


def thinned(found: Sequence[Place]) -> list[Place]:
    """Return the first two, the middle and the last message of each kind in each phase.

    An approach reads the current some hundred times; what a fault does to one reading it does to
    the next.
    """
    groups: dict[tuple[str, str], list[Place]] = {}
    for place in found:
        groups.setdefault((place.kind, place.phase), []).append(place)
    return [
        group[i]
        for group in groups.values()
        for i in sorted({0, min(1, len(group) - 1), len(group) // 2, len(group) - 1})
    ]


def table(verdicts: Sequence[Verdict], *, short: bool = False) -> str:
    """Return the table: a row for each fault or ending, with its cases by phase.

    With `short`, a row for each place that has faults, and for each kind of ending.
    """
    name_of = _group if short else _row
    phases = ["staging", "approach", "pre-roll", "deposit", "strip", "rest", "end", "closing"]
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault(name_of(verdict.case), []).append(verdict)
    lines: list[list[object]] = []
    for name, row in [*sorted(rows.items()), ("all", list(verdicts))]:
        counts = [sum(v.case.place.phase == phase for v in row) for phase in phases]
        failed = sum(bool(v.problems) for v in row)
        worst = max((v.unsafe_s for v in row), default=0.0)
        works = sum(v.after == "works" for v in row)
        lines.append([name, *counts, len(row), failed, f"{1e3 * worst:.0f}", f"{works}"])
    return markdown(
        ["what", *phases, "cases", "failed", "slowest to safe, ms", "next run works"], lines
    )
