"""How a plan ended, in words and numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InterlockError, StmTemError
from .job_queue import DroppedError

#: What a stop document calls an end, and what an outcome calls it.
STATUSES = {"success": "success", "abort": "aborted", "fail": "failed"}
EXIT_STATUSES = {status: exit_status for exit_status, status in STATUSES.items()}


class Verdict(NamedTuple):
    """How a plan, or one of its runs, ended.

    Attributes
    ----------
    status : str
        "success", "aborted" or "failed".
    reason : str
        Why, in one line; "" if by itself.
    error : BaseException or None
        What ended it, if that was an error.
    by_person : bool
        A person wanted it to end: the contact is kept.
    """

    status: str
    reason: str
    error: BaseException | None = None
    by_person: bool = False

    def beside(self, stop: dict[str, Any]) -> "Verdict":
        """Return how the plan ended in words that agree with the stop document of its last run.

        That one was told when the run was closed, and cannot be taken back; a plan may fail later.
        """
        if not stop:
            return self
        status = STATUSES.get(str(stop.get("exit_status")), "failed")
        reason = str(stop.get("reason") or "")
        if (status, reason) == (self.status, self.reason) or status == self.status == "success":
            return self
        if status == "success":
            return self._replace(reason=f"after the run was closed: {self.reason}")
        if self.reason and self.reason not in reason:
            reason = f"{reason}; then {self.reason}" if reason else self.reason
        return self._replace(status=status, reason=reason)


@dataclass(frozen=True)
class Outcome:
    """How a plan ended.

    `folder` is None when the plan was refused before a run began; `error` is what ended it.
    """

    folder: Path | None
    status: str
    reason: str
    safe: str
    frames: int = 0
    dropped: int = 0
    readings: int = 0
    total_dose_e_per_A2: float = 0.0
    error: BaseException | None = None

    @property
    def exit_code(self) -> int:
        """0 done; 1 ended early."""
        return 0 if self.status == "success" and self.error is None else 1

    def as_dict(self) -> dict[str, Any]:
        """Return what is kept in the run folder."""
        return {
            "status": self.status,
            "reason": self.reason,
            "safe": self.safe,
            "frames": self.frames,
            "dropped": self.dropped,
            "readings": self.readings,
            "total_dose_e_per_A2": self.total_dose_e_per_A2,
        }

    def refusal(self) -> StmTemError:
        """Return the error of a plan that never began a run."""
        if isinstance(self.error, StmTemError):
            return self.error
        return InterlockError(f"nothing was run: {self.reason or self.status}")


def cause_of(error: BaseException) -> BaseException:
    """Return the error of our family that the RunEngine, or a Status, has wrapped; or itself."""
    for cause in (error.__cause__, *error.args):
        if isinstance(cause, StmTemError):
            return cause
    for status in error.args:
        problem = status.exception() if hasattr(status, "exception") else None
        if isinstance(problem, StmTemError):
            return problem
    return error


def before_drop(error: BaseException) -> BaseException:
    """Return the error because of which a stop came, where all that was told is what it dropped."""
    seen = error
    while isinstance(cause_of(seen), DroppedError) and seen.__context__ is not None:
        seen = seen.__context__
    return error if isinstance(cause_of(seen), DroppedError) else seen


def one_line(error: BaseException) -> str:
    """Return what an error says, without the RunEngine's wrapping."""
    cause = cause_of(error)
    if isinstance(cause, StmTemError):
        return " ".join(str(cause).split()) if cause is error else str(cause)
    for status in error.args:
        # A Status tells in many words what it is of, and in few what failed.
        problem = status.exception() if hasattr(status, "exception") else None
        name = getattr(getattr(status, "obj", None), "name", "a device")
        if isinstance(problem, TimeoutError):
            return f"{name}: did not finish in time; look at the instrument, then run again"
        if problem is not None:
            return f"{name}: {one_line(problem)}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
