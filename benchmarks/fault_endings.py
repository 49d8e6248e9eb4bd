"""The ways in which a plan ends or is interrupted, each done at a given message."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bluesky import Msg
from bluesky.utils import RunEngineInterrupted

from stmtem_control.errors import InstrumentError
from stmtem_control.session import Outcome, one_line

from .fault_lab import Lab

__all__ = [
    "BY_ITSELF",
    "CAUSES",
    "ENDINGS",
    "Ended",
    "Place",
    "SubscriberError",
    "end_at",
    "places",
]

BY_ITSELF: Final = "by itself"
JOIN_S: Final = 30.0
AGAIN_S: Final = 0.11  # wall seconds between two Ctrl-C, or bluesky takes them for one
SOON_S: Final = 0.02  # between two signals of another kind
MANY: Final = 12  # bluesky gives up the RunEngine at the eleventh

Plan = Generator[Msg, Any, Any]


class SubscriberError(RuntimeError):
    """What a person's own subscriber raises."""


@dataclass(frozen=True)
class Place:
    """A message of a plan: the n-th of its kind, from 1."""

    kind: str
    number: int
    phase: str = ""

    def __str__(self) -> str:
        """Return how it is written on a command line."""
        return f"{self.kind}:{self.number}"


@dataclass
class Ended:
    """How it ended: what the person was told, and what was left.

    Attributes
    ----------
    reached : bool
        Whether the message came at all.
    status : str
        As the outcome has it; of a RunEngine that was used directly "raised" or "returned".
    told : str
        What the person reads.
    """

    reached: bool = False
    status: str = ""
    told: str = ""
    folder: Path | None = None
    outcome: Outcome | None = None
    failures: list[str] = field(default_factory=list)


def kind_of(msg: Msg) -> str:
    """Return the name of a message, with the device that it is for."""
    name = getattr(msg.obj, "name", "")
    return f"{msg.command} {name}" if name else str(msg.command)


def places(lab: Lab, make: Callable[[Lab], Plan]) -> list[Place]:
    """Run a plan once, to its end, and return all messages that the RunEngine was given.

    Raises
    ------
    RuntimeError
        The plan did not end well by itself.
    """
    seen: dict[str, int] = {}
    found: list[Place] = []
    phase = "staging"

    def look(msg: Msg) -> None:
        nonlocal phase
        kind = kind_of(msg)
        if kind == "open_run":
            phase = "approach"
        elif kind.endswith(" camera_phase") and msg.command == "set":
            phase = str(msg.args[0])
        elif msg.command in ("close_run", "unstage"):
            phase = "closing"
        seen[kind] = seen.get(kind, 0) + 1
        found.append(Place(kind, seen[kind], phase))

    engine: Any = lab.session.RE
    engine.msg_hook = look
    try:
        outcome = lab.session.run(make(lab))
    finally:
        engine.msg_hook = None
    if outcome.exit_code:
        raise RuntimeError(f"without any fault: {outcome.reason}")
    return found


class _Attempt:
    """A run of a plan in which something is done at one message."""

    def __init__(
        self, lab: Lab, plan: Plan, place: Place, also: Callable[[], None], *, wish: bool
    ) -> None:
        self.lab = lab
        self.session = lab.session
        self.engine: Any = lab.session.RE
        self.plan = plan
        self.ended = Ended()
        self._place = place
        self._also = also
        self._wish = wish  # whether somebody wants an end there
        self._seen = 0
        self._helpers: list[threading.Thread] = []

    def here(self, msg: Msg) -> bool:
        """Tell, once, that the message has come."""
        if self.ended.reached or kind_of(msg) != self._place.kind:
            return False
        self._seen += 1
        if self._seen < self._place.number:
            return False
        self.ended.reached = True
        if self._wish:
            self.lab.watch.begin()
        self._also()
        return True

    def at_message(self, action: Callable[[], object]) -> None:
        """Have something done in a thread of its own, as a person at another terminal would."""

        def work() -> None:
            try:
                action()
            except Exception as error:
                if type(error).__name__ == "TransitionError":  # Bluesky's, which it keeps private
                    return  # it is being ended already, because of a fault
                self.ended.failures.append(f"{action}: {one_line(error)}")

        def look(msg: Msg) -> None:
            if self.here(msg):
                helper = threading.Thread(target=work, name="ending", daemon=True)
                self._helpers.append(helper)
                helper.start()

        self.engine.msg_hook = look

    def thrown(self, error: Callable[[], BaseException], *, inside: bool = True) -> Plan:
        """Return the plan with an error at the message: raised in it, or by a plan around it."""
        plan = self.plan
        answer: Any = None
        raised: BaseException | None = None
        while True:
            try:
                msg = plan.send(answer) if raised is None else plan.throw(raised)
                raised = None
                if self.here(msg):
                    if not inside:
                        raise error()
                    msg = plan.throw(error())
            except StopIteration as stop:
                return stop.value
            try:
                answer = yield msg
            except GeneratorExit:
                plan.close()
                raise
            except BaseException as problem:
                raised = problem

    def run(self, plan: Plan | None = None) -> Ended:
        """Run in the session, as a person does."""
        before = self.session.run_folder.folder
        try:
            outcome = self.session.run(self.plan if plan is None else plan)
            self.ended.outcome = outcome
            self.ended.status, self.ended.told = outcome.status, outcome.reason
        except (KeyboardInterrupt, SystemExit) as error:
            self.ended.status, self.ended.told = "raised", one_line(error)
        finally:
            self._finish(before)
        return self.ended

    def run_engine(self, then: Callable[[], object]) -> Ended:
        """Run with the RunEngine itself, and do something when it pauses."""
        before = self.session.run_folder.folder
        try:
            self.ended.status = "returned"
            try:
                self.engine(self.plan)
            except RunEngineInterrupted:
                if self.engine.state == "paused":
                    self.ended.status = "paused"
                    then()
        except Exception as error:
            self.ended.status, self.ended.told = "raised", one_line(error)
        finally:
            self._finish(before)
        return self.ended

    def _finish(self, before: Path | None) -> None:
        self.engine.msg_hook = None
        for helper in self._helpers:
            with contextlib.suppress(KeyboardInterrupt):  # the last one came at the prompt
                helper.join(JOIN_S)
            helper.join(JOIN_S)
            if helper.is_alive():
                self.ended.failures.append("who wanted the end still waits for it")
        folder = self.session.run_folder.folder
        self.ended.folder = None if folder == before else folder


def _nothing() -> None:
    """Do nothing else at the message."""


Ending = Callable[[_Attempt], Ended]


def _by_itself(attempt: _Attempt) -> Ended:
    attempt.at_message(_nothing)
    return attempt.run()


def _device_fails(attempt: _Attempt) -> Ended:
    error = InstrumentError("made up: the instrument refused; look at its panel")
    return attempt.run(attempt.thrown(lambda: error))


def _plan_fails(attempt: _Attempt) -> Ended:
    return attempt.run(attempt.thrown(lambda: ZeroDivisionError("in a plan"), inside=False))


def _exits(attempt: _Attempt) -> Ended:
    return attempt.run(attempt.thrown(lambda: SystemExit("sys.exit in a plan")))


def _interrupt_raised(attempt: _Attempt) -> Ended:
    return attempt.run(attempt.thrown(KeyboardInterrupt))


def _subscriber_fails(attempt: _Attempt) -> Ended:
    def fail(_name: str, _doc: dict[str, Any]) -> None:
        if attempt.ended.reached and not told:
            told.append(_name)
            attempt.lab.watch.begin()
            raise SubscriberError("in a subscriber")

    told: list[str] = []
    attempt.at_message(_nothing)
    token = attempt.engine.subscribe(fail)
    try:
        return attempt.run()
    finally:
        attempt.engine.unsubscribe(token)


def _paused(then: str, *, defer: bool = False) -> Ending:
    def act(attempt: _Attempt) -> Ended:
        attempt.at_message(lambda: attempt.engine.request_pause(defer))

        def go_on() -> None:
            attempt.ended.status = "resumed" if then == "resume" else then
            if then == "resume":
                attempt.lab.watch.go_on()
            getattr(attempt.engine, then)()

        return attempt.run_engine(go_on)

    return act


def _called(name: str) -> Ending:
    def act(attempt: _Attempt) -> Ended:
        attempt.at_message(lambda: getattr(attempt.engine, name)())
        return attempt.run()

    return act


def _signalled(number: int, count: int = 1) -> Ending:
    def act(attempt: _Attempt) -> Ended:
        waiting = threading.Event()  # never set: only to wait on

        def send() -> None:
            for i in range(count):
                if i and waiting.wait(AGAIN_S if number == signal.SIGINT else SOON_S):
                    return
                if i and attempt.engine.state == "idle":
                    return  # at the prompt by now: nobody presses it there
                os.kill(os.getpid(), number)

        attempt.at_message(send)
        # A signal that comes too late for the run must not end the test.
        before = None if number == signal.SIGINT else signal.signal(number, lambda *_: None)
        try:
            return attempt.run()
        finally:
            if before is not None:
                signal.signal(number, before)

    return act


#: By the name in the table.
ENDINGS: Final[Mapping[str, Ending]] = {
    BY_ITSELF: _by_itself,
    "device raises": _device_fails,
    "plan raises": _plan_fails,
    "subscriber raises": _subscriber_fails,
    "sys.exit in the plan": _exits,
    "KeyboardInterrupt in the plan": _interrupt_raised,
    "pause, resume": _paused("resume"),
    "pause, abort": _paused("abort"),
    "pause, stop": _paused("stop"),
    "pause, halt": _paused("halt"),
    "deferred pause, resume": _paused("resume", defer=True),
    "abort": _called("abort"),
    "stop": _called("stop"),
    "halt": _called("halt"),
    "Ctrl-C": _signalled(signal.SIGINT),
    "Ctrl-C twice": _signalled(signal.SIGINT, 2),
    "Ctrl-C many times": _signalled(signal.SIGINT, MANY),
    "SIGTERM": _signalled(signal.SIGTERM),
    "SIGTERM twice": _signalled(signal.SIGTERM, 2),
    "SIGHUP": _signalled(getattr(signal, "SIGHUP", signal.SIGTERM)),
}


#: What the person must be told of an ending, if it came in time; nothing of the others.
CAUSES: Final[Mapping[str, str]] = {
    "device raises": "made up",
    "plan raises": "in a plan",
    "subscriber raises": "in a subscriber",
    "sys.exit in the plan": "sys.exit",
    "KeyboardInterrupt in the plan": "KeyboardInterrupt",
    "abort": "told to end",
    "stop": "told to end",
    "halt": "told to end",
    "Ctrl-C": "Ctrl-C",
    "Ctrl-C twice": "Ctrl-C",
    "Ctrl-C many times": "Ctrl-C",
    "SIGTERM": "SIGTERM",
    "SIGTERM twice": "SIGTERM",
    "SIGHUP": "SIGHUP",
}


def end_at(
    lab: Lab, plan: Plan, place: Place, ending: str, also: Callable[[], None] = _nothing
) -> Ended:
    """Run a plan, and end it in one of the :data:`ENDINGS` at a message.

    Parameters
    ----------
    lab : Lab
        Its session runs the plan.
    plan : generator
        Of that session's devices.
    place : Place
        The message.
    ending : str
        Name of the ending.
    also : callable
        Called at the message, before it is carried out: for faults.
    """
    attempt = _Attempt(lab, plan, place, also, wish=ending != BY_ITSELF)
    return ENDINGS[ending](attempt)
