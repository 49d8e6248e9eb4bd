"""The RunEngine of a session: a pause ends for all devices, or the plan; an end is no failure."""

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from inspect import isgenerator
from typing import Any

from bluesky import RunEngine
from bluesky.utils import FailedStatus, RunEngineInterrupted
from event_model import DocumentNames

from .errors import NoPlanError
from .link import DroppedError
from .outcome import EXIT_STATUSES, Verdict, cause_of


class StationRunEngine(RunEngine):
    """Bluesky's RunEngine, with three differences.

    Bluesky has the devices go on one after the other after a pause.  When one of them cannot, it
    raises that error, and the plan stays paused, with a bias or a beam that is on again.  Here it
    is ended.

    When somebody ends a plan, the devices are stopped, and what a stop cuts short fails.  Whichever
    comes first is what Bluesky raises.  Here it is the end that was asked for.

    Bluesky's stop document has the text of an error, or nothing.  Here it has the one line that the
    person is told, so that whoever takes the documents, anywhere, is told the same.

    Parameters
    ----------
    *args, **kwargs
        Of Bluesky's.
    resume_failed : callable
        Called with that error while the plan has not ended; it ends the plan, or waits until who
        does so already is ready.
    judge : callable, optional
        Called with a stop document, and the error because of which the run is closed or None, just
        before the document is emitted; it returns how the run ended.

    Attributes
    ----------
    told_to_end : str
        "abort", "stop" or "halt" if somebody called that for the plan that runs, or ran last.
    end_reason : str
        What was said to :meth:`abort`.
    """

    def __init__(
        self,
        *args: Any,
        resume_failed: Callable[[BaseException], None],
        judge: Callable[[dict[str, Any], BaseException | None], Verdict] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._resume_failed = resume_failed
        self._judge = judge
        self.told_to_end = self.end_reason = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a plan, as Bluesky's does.

        Raises
        ------
        NoPlanError
            There is none, or it is something else; nothing has moved.
        """
        refuse_no_plan(*args)
        self.told_to_end = self.end_reason = ""
        with self._ended_as_told():
            return super().__call__(*args, **kwargs)

    def abort(self, reason: str = "") -> Any:
        """End the plan, as Bluesky's does."""
        self.told_to_end, self.end_reason = "abort", " ".join(str(reason).split())
        return super().abort(reason)

    def stop(self) -> Any:
        """End the plan and call it a success, as Bluesky's does."""
        self.told_to_end, self.end_reason = "stop", ""
        return super().stop()

    def halt(self) -> Any:
        """End the plan without its own cleaning up, as Bluesky's does."""
        self.told_to_end, self.end_reason = "halt", ""
        return super().halt()

    def resume(self) -> Any:
        """Go on after a pause, from the last checkpoint.

        Raises
        ------
        StmTemError
            A device could not go on; the plan has been ended.
        RunEngineInterrupted
            The plan was paused again.
        """
        try:
            with self._ended_as_told():
                return super().resume()
        except RunEngineInterrupted:
            raise
        except BaseException as error:
            # Paused; or an interlock has tripped meanwhile and ends the plan in its own thread.
            if self.state not in ("idle", "panicked"):
                self._resume_failed(error)
            raise

    async def emit(self, name: DocumentNames, doc: Any) -> None:
        """Emit a document, as Bluesky's does; a stop document with why the run ended."""
        if name is DocumentNames.stop and self._judge is not None:
            verdict = self._judge(doc, self._error_of(doc))
            doc = {**doc, "exit_status": EXIT_STATUSES[verdict.status], "reason": verdict.reason}
        await super().emit(name, doc)

    def _error_of(self, stop: dict[str, Any]) -> BaseException | None:
        """Return the error because of which a run is being closed."""
        if (raised := sys.exc_info()[1]) is not None:  # the RunEngine closes what the plan left
            return raised
        if stop["exit_status"] == "success" or not self._plan_stack:
            return None
        return error_in_hand(self._plan_stack[-1], str(stop.get("reason") or ""))

    @contextlib.contextmanager
    def _ended_as_told(self) -> Iterator[None]:
        try:
            yield
        except FailedStatus as error:
            if not (self.told_to_end and isinstance(cause_of(error), DroppedError)):
                raise
            raise RunEngineInterrupted(f"ended as told; {cause_of(error)}") from error


def error_in_hand(plan: Any, text: str) -> Exception | None:
    """Return the error with that text which a suspended plan is dealing with; None if unseen.

    Bluesky's ``run_wrapper`` closes a run with the text of an error alone: its type, and what was
    behind it, are in the hands of the plan's generators, also of those that wait for others.
    """
    todo, seen = deque([plan]), set()
    while todo:
        one = todo.popleft()
        if not isgenerator(one) or one.gi_frame is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo.append(one.gi_yieldfrom)
        for value in one.gi_frame.f_locals.values():
            if isinstance(value, Exception) and str(value) == text:
                return value
            todo.extend(value if isinstance(value, list | deque) else [value])
    return None


def refuse_no_plan(*given: Any) -> None:
    """Refuse what is no plan in one line; Bluesky does so from deep within.

    Raises
    ------
    NoPlanError
        Nothing is given, a plan that was not called, or what has no messages.
    """
    example = "for example RE(bps.mv(bias, 1)); 'plans' lists them"
    if not given:
        raise NoPlanError(f"RE() was given no plan; {example}")
    plan = given[0]
    name = getattr(plan, "__name__", type(plan).__name__)
    if callable(plan) and not hasattr(plan, "__iter__"):
        raise NoPlanError(f"{name} was not called; write RE({name}(...)), and {name}? explains it")
    if isinstance(plan, str | bytes | Mapping) or not hasattr(plan, "__iter__"):
        text = repr(plan)
        shown = text if len(text) < 60 else f"{text[:56]} ..."
        raise NoPlanError(f"RE was given {shown}, which is no plan; {example}")
