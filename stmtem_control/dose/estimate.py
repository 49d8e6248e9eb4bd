"""What a plan would cost, before it runs.

A plan of this package says itself for how long it opens the beam, from the very numbers that it
then works with.  Of another plan the messages are walked through with the station's clock in
rehearsal: nothing is sent to any instrument.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from stmtem_control.clock import StationClock

EXPOSURE = "planned_open_s"  # of a "null" message: what a plan says of itself
MOST_MESSAGES = 500_000


@dataclass(frozen=True)
class DoseEstimate:
    """What a plan would cost.

    Attributes
    ----------
    open_s : float
        Seconds of open beam.
    dose_e_per_A2 : float
        At the dose rate in use, in e/A^2.
    complete : bool
        False: at least that; the plan could not be walked to its end.
    how : str
        Where the number comes from, in one sentence.
    """

    open_s: float
    dose_e_per_A2: float
    complete: bool
    how: str


def estimate_dose(
    plan: Generator[Any, Any, Any], beam: Any, clock: StationClock, *, walk: bool = False
) -> DoseEstimate:
    """Return what a plan would cost; the generator is used up by it.

    Parameters
    ----------
    plan : generator
        Of messages; made anew for the run.
    beam : device
        The beam blanker: ``set`` to "open" or "blanked", with ``dose_rate`` and ``blanked``.
    clock : StationClock
        The station's, whose time the plan goes by.
    walk : bool
        Walk through the messages even if the plan says itself what it costs.

    Raises
    ------
    StmTemError
        The plan refuses to start; the message says why.
    """
    rate = float(beam.dose_rate.get())
    walker = _Walker(beam, clock)
    try:
        with clock.rehearsal() as let_pass:
            complete, how = walker.go(plan, let_pass, walk)
    finally:
        plan.close()
    return DoseEstimate(walker.open_s, walker.open_s * rate, complete, how)


class _Walker:
    """Answers a plan as a RunEngine would, without one, and counts the open seconds."""

    def __init__(self, beam: Any, clock: StationClock) -> None:
        self._beam, self._clock = beam, clock
        self._open = not beam.blanked.get()
        self.open_s = 0.0

    def go(self, plan: Generator[Any, Any, Any], let_pass: Any, walk: bool) -> tuple[bool, str]:
        answer: Any = None
        begun = False
        for _ in range(MOST_MESSAGES):
            try:
                msg = plan.send(answer)
            except StopIteration:
                return True, "its messages were walked through"
            except Exception as error:
                if not begun:
                    raise
                return False, f"walked through up to {type(error).__name__}: {error}"
            if not walk and EXPOSURE in msg.kwargs:
                self.open_s = float(msg.kwargs[EXPOSURE])
                return True, "the plan says so itself"
            begun = begun or EXPOSURE not in msg.kwargs
            answer = self._answer(msg, let_pass)
        return False, f"it has more than {MOST_MESSAGES} messages"

    def _answer(self, msg: Any, let_pass: Any) -> Any:
        if msg.command == "sleep":
            seconds = float(msg.args[0]) * self._clock.speed
            let_pass(seconds)
            self.open_s += seconds if self._open else 0.0
        elif msg.command == "set" and msg.obj is self._beam:
            self._open = msg.args[0] in ("open", False)
        elif msg.command in ("stop", "unstage") and msg.obj is self._beam:
            self._open = False
        elif msg.command == "read":
            return msg.obj.read()  # what it was last: no exchange with an instrument
        elif msg.command == "locate":
            return msg.obj.locate()
        elif msg.command == "wait":
            return True
        elif msg.command == "open_run":
            return "rehearsal"
        elif msg.command in ("stage", "collect"):
            return []
        elif msg.command == "configure":
            return {}, {}
        return None
