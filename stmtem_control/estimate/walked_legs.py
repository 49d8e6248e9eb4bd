"""What legs of a plan came to that were walked before: an approach, a leakage baseline.

A leg goes the same way each time it begins in the same state with the same settings.  So what it
changed is remembered, and applied again in an instant.
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from .result import TimelinePoint
from .stand_ins import StandIns


@dataclass(frozen=True)
class _Walked:
    """What one leg changed; times from its begin, in station s."""

    seconds: float
    after: dict[str, Any]
    found: Any
    readings: int
    bias_edges: int
    highest_bias_V: float
    biased_s: float
    typical_C: float
    points: tuple[TimelinePoint, ...]
    assumptions: tuple[str, ...]


@dataclass
class WalkedLegs:
    """The legs that were walked at one station, by what they began with."""

    known: dict[str, _Walked] = field(default_factory=dict)


class LegRecorder:
    """Recognises legs in one walk, and remembers those that are new.

    Parameters
    ----------
    stand_ins : StandIns
        Whose state a leg begins with, and changes.
    memory : WalkedLegs
        What is known, for this walk and later ones.
    """

    def __init__(self, stand_ins: StandIns, memory: WalkedLegs) -> None:
        self._stand_ins = stand_ins
        self._memory = memory
        self._recording: tuple[str, float, dict[str, float], int] | None = None

    def begin(self, name: str, settings: dict[str, Any]) -> Any:
        """Apply a leg that is known and return what it found; None: it has to be walked."""
        stand_ins, tally = self._stand_ins, self._stand_ins.tally
        if tally.beam_open or tally.running is not None or tally.refusals:
            return None  # more than the leg itself goes on
        tally.settle()
        stand_ins.circuit.begin_leg()
        state = stand_ins.state()
        key = json.dumps([stand_ins.station_key, name, settings, tally.bias_V, state])
        known = self._memory.known.get(key)
        if known is None:
            self._recording = (key, stand_ins.clock.t, self._counts(), len(tally.points))
            return None
        begun = stand_ins.clock.t
        tally.readings += known.readings
        tally.bias_edges += known.bias_edges
        tally.biased_s += known.biased_s
        tally.typical_C += known.typical_C
        tally.highest_bias_V = max(tally.highest_bias_V, known.highest_bias_V)
        first = tally.points[-1]
        tally.points += [
            replace(
                point,
                t_s=begun + point.t_s,
                phase=first.phase,
                cycle=first.cycle,
                frames=first.frames,
                dose_e_per_A2=first.dose_e_per_A2,
            )
            for point in known.points
        ]
        for text in known.assumptions:
            tally.assume(text)
        stand_ins.clock.let_pass(known.seconds)
        stand_ins.restore(known.after)
        return known.found

    def end(self, found: Any) -> None:
        """Remember the leg that ends here."""
        if self._recording is None:
            return
        key, begun, before, points = self._recording
        self._recording = None
        stand_ins, tally = self._stand_ins, self._stand_ins.tally
        tally.settle()
        now = self._counts()
        self._memory.known[key] = _Walked(
            seconds=stand_ins.clock.t - begun,
            after=stand_ins.state(),
            found=found,
            readings=int(now["readings"] - before["readings"]),
            bias_edges=int(now["bias_edges"] - before["bias_edges"]),
            highest_bias_V=max((abs(one.bias_V) for one in tally.points[points:]), default=0.0),
            biased_s=now["biased_s"] - before["biased_s"],
            typical_C=now["typical_C"] - before["typical_C"],
            points=tuple(replace(one, t_s=one.t_s - begun) for one in tally.points[points:]),
            assumptions=tuple(tally.assumptions),
        )

    def _counts(self) -> dict[str, float]:
        tally = self._stand_ins.tally
        names = ("readings", "bias_edges", "biased_s", "typical_C")
        return {name: float(getattr(tally, name)) for name in names}


class ReadingPace:
    """Takes readings at once that follow each other with nothing in between.

    What each costs is found where the first are walked through, message by message; what they show
    comes from the circuit, reading by reading, as it does there.

    Parameters
    ----------
    stand_ins : StandIns
        Whose source is read.
    """

    def __init__(self, stand_ins: StandIns) -> None:
        self._bias, self._clock = stand_ins.bias, stand_ins.clock
        self._known: dict[tuple[Any, ...], float] = {}  # station s, by how many and with what
        self._begun: tuple[tuple[Any, ...], float] | None = None

    def begin(self, settings: dict[str, Any]) -> list[Any] | None:
        """Return what was found; None: the readings have to be walked through.

        Found are currents (A), whether each was limited, and for ``levels`` the level set and the
        one measured (V).
        """
        self._begun = None
        if not self._bias.output.value:
            return None
        key = (settings["count"], settings["levels"], *settings["others"])
        seconds = self._known.get(key)
        if seconds is None:
            self._begun = key, self._clock.t
            return None
        found: list[Any] = [*self._bias.take_readings(settings["count"])]
        if settings["levels"]:
            found += [self._bias.setpoint.value, self._bias.voltage.value]
        self._clock.let_pass(seconds)
        return found

    def end(self) -> None:
        """Take note of what those that were walked through cost, with the message at their end."""
        if self._begun is not None:
            key, begun = self._begun
            self._known[key] = self._clock.t - begun
            self._begun = None
