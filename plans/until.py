"""What a step waits for: judged at each reading, told in words when it has come."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from stmtem_control.errors import LimitError
from stmtem_control.protocol import Condition
from stmtem_control.units import si

from .approach_settings import DEFAULTS
from .coulombs import Coulombs
from .leakage import SETTLE_S
from .roles import Source

CONFIRM = 2  # readings in a row: one glitch is nothing
SIGMAS = 5.0  # that a current must exceed the leak by to be a contact


class Look(NamedTuple):
    """What is known at a reading, for conditions and detectors.

    Attributes
    ----------
    elapsed_s : float
        Since the step began, in station s; pauses do not count.
    bias_V : float
        That is set.
    voltage_V, current_A : float
        As read.
    excess_A : float
        The current without the leak.
    charge_C : float
        Since the first step under bias, in C; deposition counts negative.
    dose_e_per_A2 : float
        Since the step began.
    frames : int
        That have come in the run.
    newest : callable
        Returns a copy of the newest frame, counts in an array of shape (height, width), or None.
    """

    elapsed_s: float
    bias_V: float
    voltage_V: float
    current_A: float
    excess_A: float
    charge_C: float
    dose_e_per_A2: float
    frames: int
    newest: Callable[[], Any]


class Detector(Protocol):
    """Sees an event that a protocol waits for, under the name that it is passed in by.

    ``begin``, where there is one, is called when a step begins that waits for it.
    """

    def seen(self, look: Look) -> bool:
        """Return whether it has happened; called at each reading, in the plan: be quick."""
        ...


def check_detectors(names: Sequence[str], detectors: Mapping[str, Any] | None) -> None:
    """Raise LimitError when a protocol waits for an event that nobody sees."""
    known = dict(detectors or {})
    for name in names:
        if name not in known:
            has = f"there are {', '.join(sorted(known))}" if known else "none was passed in"
            raise LimitError(
                f"until: event {name!r}: no detector of this name; {has}; put yours "
                "into session.detectors, or give the plan detectors="
            )
        if not callable(getattr(known[name], "seen", None)):
            raise LimitError(f"until: event {name!r}: its detector has no method seen(look)")


class Ending:
    """Judges the conditions of one step, from its begin on.

    Parameters
    ----------
    conditions : sequence of Condition
        The first that holds ends the step.
    bias, camera : device
        The biasing source, the frame camera.
    coulombs : Coulombs
        Of the run; it has taken the reading that is judged.
    passed : callable
        Returns the station seconds since the step began.
    dose_rate_e_per_A2_s : float
        Of the beam, which is open throughout the step.
    goal_V : float
        The last bias of the step; 0: it is not known.
    detectors : mapping of str to Detector, optional
        By the names of events.

    Attributes
    ----------
    reason : str
        What has ended the step, in words; empty before.
    """

    def __init__(
        self,
        conditions: Sequence[Condition],
        bias: Source,
        camera: Any,
        coulombs: Coulombs,
        passed: Callable[[], float],
        *,
        dose_rate_e_per_A2_s: float,
        goal_V: float = 0.0,
        detectors: Mapping[str, Any] | None = None,
    ) -> None:
        self.reason = ""
        self._bias, self._camera, self._coulombs = bias, camera, coulombs
        self._passed = passed
        self._rate = dose_rate_e_per_A2_s
        self._detectors = detectors or {}
        self._start_C, self._goal_V = coulombs.charge_C, goal_V
        # An estimate of the plan has no specimen to judge by: its source says what it can tell.
        judges = getattr(bias, "judges", lambda condition: True)
        self._judged = [
            (condition, self._judge_of(condition)) for condition in conditions if judges(condition)
        ]
        self._held = [0] * len(self._judged)

    def over(self) -> bool:
        """Judge the last reading; tell whether the step shall end."""
        look = self.look()
        for place, (condition, holds) in enumerate(self._judged):
            sure = condition.kind in ("elapsed", "dose", "charge", "event")
            self._held[place] = self._held[place] + 1 if holds(look) else 0
            if self._held[place] >= (1 if sure else CONFIRM):
                self.reason = f"{condition}: {_found(condition, look)}"
                return True
        return False

    def look(self) -> Look:
        """Return what is known now."""
        bias, camera = self._bias, self._camera
        passed = self._passed()
        return Look(
            elapsed_s=passed,
            bias_V=float(bias.setpoint.get()),
            voltage_V=float(bias.voltage.get()),
            current_A=float(bias.current.get()),
            excess_A=self._coulombs.excess_A,
            charge_C=self._coulombs.charge_C,
            dose_e_per_A2=passed * self._rate,
            frames=int(camera.frames_captured.get()),
            newest=camera.latest_frame,
        )

    def _judge_of(self, condition: Condition) -> Callable[[Look], bool]:
        """Return what tells whether a condition holds."""
        value = condition.value or 0.0
        match condition.kind:
            case "elapsed":
                return lambda look: look.elapsed_s >= value
            case "dose":
                return lambda look: look.dose_e_per_A2 >= value
            case "charge":
                return self._charge(condition.comparison, value)
            case "current":
                below = condition.comparison == "below"
                return lambda look: self._settled and (abs(look.excess_A) < value) == below
            case "contact":
                made = condition.name == "made"
                return lambda look: self._settled and self._touching(look) == made
            case "event":
                detector = self._detectors[condition.name]
                begin = getattr(detector, "begin", None)
                if begin is not None:
                    begin()
                return lambda look: bool(detector.seen(look))

    def _charge(self, comparison: str, value: float) -> Callable[[Look], bool]:
        # The bias tells which way the charge goes.  The charge at the start alone may not: it is
        # that of the last reading, and may be past the value by what a few readings missed.
        falls = self._goal_V < 0 or (self._goal_V == 0 and self._start_C > value)
        if comparison == "below" or (comparison == "reaches" and falls):
            return lambda look: look.charge_C <= value
        return lambda look: look.charge_C >= value

    @property
    def _settled(self) -> bool:
        """Whether the last reading is free of what a step of the bias does to cables."""
        return not math.isnan(self._coulombs.excess_A) and self._coulombs.settled_s() >= SETTLE_S

    def _touching(self, look: Look) -> bool:
        limit = max(DEFAULTS.threshold_A, SIGMAS * self._coulombs.noise_A)
        return abs(look.excess_A) >= limit


def _found(condition: Condition, look: Look) -> str:
    match condition.kind:
        case "elapsed":
            return f"{look.elapsed_s:.3g} s"
        case "dose":
            return f"{look.dose_e_per_A2:.4g} e/A^2"
        case "charge":
            return si(look.charge_C, "C")
        case "event":
            return f"after {look.elapsed_s:.3g} s"
        case _:
            return si(look.excess_A, "A")
