"""Questions to the person at the microscope, asked without holding up the RunEngine."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Self

from bluesky import Msg

from stmtem_control.errors import InterlockError, LimitError

from .roles import Plan

NO = frozenset({"no", "n", "stop", "abort", "q", "quit"})  # answers that end the plan


class Question(str):
    """A question as it is shown, and what the microscope shall be turned to for it.

    Attributes
    ----------
    mode : str
        "imaging", "survey" or "diffraction"; empty where nothing is to be turned.
    camera_length_m : float
        For diffraction, in m; 0: the one that the station has.
    """

    mode: str
    camera_length_m: float

    def __new__(cls, text: str, *, mode: str = "", camera_length_m: float = 0.0) -> Self:
        """Make one."""
        made = super().__new__(cls, text)
        made.mode = mode
        made.camera_length_m = camera_length_m
        return made


class Person:
    """Whom a plan asks: setting a question is asking it, and it is done when it is answered.

    Parameters
    ----------
    ask : callable
        Takes the question, as text, and returns the answer; called in a thread of its own.  Where
        it has a method ``cancel``, that is called when the answer is not wanted any more.
    """

    name = "person"
    parent = None

    def __init__(self, ask: Callable[[str], str]) -> None:
        self.answer = ""
        self._ask = ask
        self._lock = threading.Lock()
        self._asking: str | None = None  # what a thread waits for
        self._status: Any = None

    def set(self, question: str) -> Any:
        """Ask; the Status ends with the answer, which is then in `answer`."""
        from ophyd.status import Status

        with self._lock:
            status = self._status = Status(self)
            waits, self._asking = self._asking, question
        if waits != question:  # the RunEngine repeats what a pause has cut off
            threading.Thread(
                target=self._wait, args=(question,), name="question", daemon=True
            ).start()
        return status

    def _wait(self, question: str) -> None:
        problem: Exception | None = None
        answer = ""
        try:
            answer = str(self._ask(question))
        except EOFError:
            problem = LimitError(
                f"nobody can answer {str(question)!r}: there is no terminal; give the plan ask="
            )
        except Exception as error:
            problem = error
        with self._lock:
            if self._asking != question:
                return  # withdrawn
            self._asking, status, self._status = None, self._status, None
            self.answer = answer
        if status is not None and not status.done:
            if problem is None:
                status.set_finished()
            else:
                status.set_exception(problem)

    def stop(self, *, success: bool = True) -> None:
        """Withdraw the question, where that can be done; never raises."""
        cancel = getattr(self._ask, "cancel", None)
        with self._lock:
            waits, self._status = self._asking, None
            if cancel is not None:
                self._asking = None
        if waits is not None and cancel is not None:
            with contextlib.suppress(Exception):
                cancel()


def ask_person(person: Person, question: str) -> Plan:
    """Ask, and return the answer.

    Raises
    ------
    InterlockError
        The answer is no: the plan is to end.
    """
    # Without a checkpoint here, a resumed pause would repeat what was done before.
    yield Msg("checkpoint")
    yield Msg("set", person, question, group="question")
    yield Msg("wait", None, group="question")
    yield Msg("checkpoint")
    answer = person.answer.strip()
    if answer.lower() in NO:
        raise InterlockError(f"ended by a person, who answered {answer!r} to {str(question)!r}")
    return answer
