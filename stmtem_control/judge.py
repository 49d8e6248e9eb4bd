"""Why a run, or a plan, ended: one judgement, for the stop document, the outcome and the person."""

from typing import TYPE_CHECKING, Any

from bluesky.utils import FailedPause, RunEngineControlException, RunEngineInterrupted

from .ending import BY_PERSON, LATE_S, PlanEnding
from .errors import InterlockError
from .job_queue import DroppedError
from .outcome import STATUSES, Verdict, before_drop, cause_of, one_line

if TYPE_CHECKING:
    from stmtem_control.devices import Interlocks

    from .run_engine import StationRunEngine
    from .session_dose import SessionDose

TOLD_TO_END = "the RunEngine was told to end"


class Judge:
    """Says how what runs, or ran last, ended.

    Parameters
    ----------
    ending : PlanEnding
        Who asked for the end, if anybody did.
    interlocks : Interlocks
    dose : SessionDose

    Attributes
    ----------
    began : float
        When the plan began, station time in s; what tripped before has not ended it.
    """

    def __init__(self, ending: PlanEnding, interlocks: "Interlocks", dose: "SessionDose") -> None:
        self.began = 0.0
        self._ending = ending
        self._interlocks = interlocks
        self._dose = dose

    def run(self, stop: dict[str, Any], error: BaseException | None) -> Verdict:
        """Say how a run ended that is just being closed.

        Parameters
        ----------
        stop : dict
            Bluesky's stop document.
        error : BaseException, optional
            Because of which the run is closed.
        """
        # What a trip makes fail is told before the trip itself is; that one acts meanwhile.
        self._interlocks.wait(LATE_S)
        status, reason = STATUSES[stop["exit_status"]], " ".join((stop.get("reason") or "").split())
        if error is None and status == "aborted" and not reason and not self._engine.told_to_end:
            error = FailedPause()
        verdict = self.plan(error)
        # A plan may close a run in its own words, and go on.
        return Verdict(status, reason) if verdict.status == "success" != status else verdict

    def plan(self, error: BaseException | None) -> Verdict:
        """Say how the plan ended; `error` is what ended it, if anything did."""
        held = self._interlocks.trip
        if held is not None and held.ends_run and held.t >= self.began:
            return Verdict("failed", held.text, InterlockError(held.text))
        if asked := self._ending.reason:
            return Verdict("aborted", asked, error and before_drop(error), asked in BY_PERSON)
        if isinstance(error, FailedPause | KeyboardInterrupt):
            return Verdict("aborted", self._ending.pausing or "Ctrl-C", error, by_person=True)
        if error is not None:
            error = before_drop(error)
            told = isinstance(error, RunEngineControlException | RunEngineInterrupted)
            cut_short = told or isinstance(cause_of(error), DroppedError)
            if not (self._engine.told_to_end and cut_short):
                return Verdict("failed", one_line(error), error)
        if called := self._engine.told_to_end:
            to_the_end = self._ending.to_the_end
            default = TOLD_TO_END if to_the_end else f"RE.{called}(), by a person"
            # Bluesky calls a stop a success; but not where a plan was to run to its end.
            status = "success" if called == "stop" and not to_the_end else "aborted"
            return Verdict(status, self._engine.end_reason or default, by_person=not to_the_end)
        return Verdict("success", self._dose.limit)

    @property
    def _engine(self) -> "StationRunEngine":
        return self._ending.RE
