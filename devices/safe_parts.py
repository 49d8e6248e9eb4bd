"""Making several instruments safe: in order, each within its time, whatever the others do.

It knows nothing of ophyd and imports nothing heavy: a process that must act at once uses it too.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

PATIENCE_S = 0.05  # wall seconds after which the next part begins, though the one before hangs
BY_HAND = "switch it off by hand now"


@dataclass(frozen=True)
class SafePart:
    """What became of one part.

    Attributes
    ----------
    name : str
    ok : bool
        Whether it is safe.
    what : str
        What is, or what went wrong.
    seconds : float
        Wall seconds that it took.
    harmless : bool
        Whether the sample is safe even if this part is not: a camera only goes on taking frames.
    """

    name: str
    ok: bool
    what: str
    seconds: float
    harmless: bool = False


@dataclass(frozen=True, repr=False)
class SafeReport:
    """What became of all parts.

    Attributes
    ----------
    reason : str
        Why the station was made safe.
    parts : tuple of SafePart
        In the order in which they were begun.
    seconds : float
        Wall seconds from the call to the last part.
    time : float
        When it was called, Unix s.
    """

    reason: str
    parts: tuple[SafePart, ...]
    seconds: float
    time: float

    @property
    def ok(self) -> bool:
        """Whether there were parts, and every one is safe."""
        return bool(self.parts) and all(part.ok for part in self.parts)

    @property
    def sample_safe(self) -> bool:
        """Whether every part that could hurt the sample is safe."""
        return bool(self.parts) and all(part.ok or part.harmless for part in self.parts)

    def bad(self) -> str:
        """Return what is not safe; "" when all is."""
        if not self.parts:
            return "nothing was done"
        return "; ".join(f"{part.name}: {part.what}" for part in self.parts if not part.ok)

    def line(self) -> str:
        """Return one line for a person; what is not safe comes first."""
        good = ", ".join(f"{part.name} {part.what}" for part in self.parts if part.ok)
        if self.ok:
            return good
        if self.sample_safe:
            return f"{self.bad()} (the sample is safe: {good})"
        rest = f" ({good})" if good else ""
        return f"NOT SAFE: {self.bad()}; {BY_HAND}{rest}"

    def headline(self) -> str:
        """Return the line without the reasons of what is not safe, which may be long."""
        bad = ", ".join(part.name for part in self.parts if not part.ok)
        return self.line() if self.sample_safe or not bad else f"NOT SAFE: {bad}; {BY_HAND}"

    def mended(self, other: "SafeReport", by: str) -> "SafeReport":
        """Return this report with the parts in it that another has made safe since.

        `by` says who that was.  Whatever the other could not do either stays as it is.
        """
        done = {part.name: part for part in other.parts if part.ok}

        def newest(part: SafePart) -> SafePart:
            if part.ok or part.name not in done:
                return part
            found = done[part.name]
            return replace(found, what=f"{found.what} (by {by})", harmless=part.harmless)

        return replace(self, parts=tuple(newest(part) for part in self.parts))

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into a file, or to another process."""
        return asdict(self) | {"ok": self.ok}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """Return the report that :meth:`as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is no such mapping.
        """
        parts = tuple(
            SafePart(
                str(p["name"]),
                bool(p["ok"]),
                str(p["what"]),
                float(p["seconds"]),
                bool(p.get("harmless", False)),
            )
            for p in found["parts"]
        )
        return cls(str(found["reason"]), parts, float(found["seconds"]), float(found["time"]))

    def __repr__(self) -> str:
        """Return the line: this is what a prompt shows."""
        return self.line()


@dataclass(frozen=True)
class SafeStep:
    """How one part is made safe.

    Attributes
    ----------
    name : str
        Of the part.
    action : callable
        Does it, and returns what then is, for example ``"blanked"``; what it raises is told.
    deadline_s : float
        Wall seconds after which it is not waited for any more; it is not taken back.
    needs : str
        Name of a step that must have ended well before; without that this one is not tried.
    harmless : bool
        Whether the sample is safe even if it fails.
    """

    name: str
    action: Callable[[], str]
    deadline_s: float
    needs: str = ""
    harmless: bool = False


class _Attempt:
    """One step on its way, in a thread of its own: it may hang."""

    def __init__(self, step: SafeStep) -> None:
        self._step = step
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._part: SafePart | None = None
        threading.Thread(target=self._run, name=f"safe {step.name}", daemon=True).start()

    def _run(self) -> None:
        try:
            ok, what = True, self._step.action()
        except BaseException as error:
            ok, what = False, " ".join(str(error).split()) or type(error).__name__
        took = time.monotonic() - self._begun
        self._part = SafePart(self._step.name, ok, what, took, self._step.harmless)
        self._ended.set()

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer than `seconds`."""
        self._ended.wait(seconds)

    def part(self) -> SafePart:
        """Return what became of it, at its deadline at the latest."""
        self._ended.wait(max(0.0, self._begun + self._step.deadline_s - time.monotonic()))
        if self._part is not None:
            return self._part
        took = time.monotonic() - self._begun
        what = f"no answer within {self._step.deadline_s:g} s"
        return SafePart(self._step.name, False, what, took, self._step.harmless)


def carry_out(steps: Sequence[SafeStep], reason: str) -> SafeReport:
    """Carry out all steps in their order, and tell what became of each.

    A step begins when the one before has ended, or after :data:`PATIENCE_S`: one that hangs costs
    the others no more.  Everything ends when the last deadline is over.
    """
    called, begun = time.time(), time.monotonic()
    attempts: dict[str, _Attempt | SafePart] = {}
    for step in steps:
        needed = attempts.get(step.needs)
        before = needed.part() if isinstance(needed, _Attempt) else needed
        if before is not None and not before.ok:
            what = f"not tried, because {before.name} is not confirmed"
            attempts[step.name] = SafePart(step.name, False, what, 0.0, step.harmless)
            continue
        attempt = attempts[step.name] = _Attempt(step)
        attempt.wait(min(PATIENCE_S, step.deadline_s))
    parts = tuple(a.part() if isinstance(a, _Attempt) else a for a in attempts.values())
    return SafeReport(reason, parts, time.monotonic() - begun, called)
