"""What a person sees while a protocol runs: the step, the state, the dose, and what is left."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .progress import Progress
from .units import seconds

if TYPE_CHECKING:
    from .session import Session

STREAM = "step"  # of the events that say which step begins and ends
KEYS = "p pauses, q ends"
ANSWERING = "Enter answers; the answer 'no' ends the run"


class ProtocolProgress(Progress):
    """Live state of a protocol's run, on a terminal or as plain lines.

    Parameters
    ----------
    session : Session
    console : rich.console.Console
    left : callable, optional
        Returns the wall seconds that are left, from the station seconds of the plan that have
        passed; pauses and waiting for a person do not count.
    begins : sequence of (float, str, int)
        When which phase of which cycle begins by the estimate, in station s; each step that
        begins sets the time that is left right.
    budget_e_per_A2 : float, optional
        Of the protocol, for this run; the station's counts too.

    Attributes
    ----------
    note : str
        What the keys do now, or that the run is paused; shown on the last line.
    question, typed : callable
        Return what a person is asked, and has typed so far.
    """

    def __init__(
        self,
        session: "Session",
        console: Console,
        *,
        left: Callable[[float], float] | None = None,
        begins: Sequence[tuple[float, str, int]] = (),
        budget_e_per_A2: float | None = None,
    ) -> None:
        super().__init__(session, console)
        self.note = ""
        self.question: Callable[[], str] = lambda: ""
        self.typed: Callable[[], str] = lambda: ""
        self._left, self._begins = left, _changes(begins)
        self._planned_s = 0.0  # of the estimate, at the moment _start_t
        self._budget = budget_e_per_A2
        self._steps: set[str] = set()  # descriptors of the stream
        self._step: dict[str, Any] = {}
        self._told: dict[str, Any] = {}
        self._start_t, self._paused0 = session.clock.now(), session.bias.paused_s
        self._waiting_since: float | None = None
        self._waited_s = 0.0  # station time that went by while a person was asked

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document: steps are told as they begin and end."""
        if name == "start":
            self._count_from(self._planned_s)
        elif name == "descriptor" and doc.get("name") == STREAM:
            self._steps.add(str(doc["uid"]))
        elif name == "event" and doc.get("descriptor") in self._steps:
            self._note_step(doc["data"])
        super().__call__(name, doc)
        if name == "start":
            self._plan = str(doc.get("protocol") or self._plan)

    def _note_step(self, data: dict[str, Any]) -> None:
        step = {key.removeprefix(f"{STREAM}_"): value for key, value in data.items()}
        began = step.get("state") == "begin"
        told = {key: step.get(key) for key in ("number", "cycle", "kind", "state")}
        if told == self._told:
            return  # what a pause has cut off is done again, and told again
        self._told = told
        if began:
            self._step = step
            self._set_right(str(step.get("kind")), int(step.get("cycle", 0)))
        cycle = f", cycle {step['cycle']}" if step.get("cycle") else ""
        head = f"step {step.get('number')} of {step.get('of')}{cycle}: {step.get('kind')}"
        line = f"{head}: {step.get('text')}" if began else f"{head} ended: {step.get('reason')}"
        if began or step.get("reason") not in ("", "done", "its time was over"):
            self.say(line)

    def _set_right(self, kind: str, cycle: int) -> None:
        """Go to where the estimate has a step begin."""
        for place, (planned_s, phase, of_cycle) in enumerate(self._begins):
            if (phase, of_cycle) == (kind, cycle):
                del self._begins[: place + 1]
                self._count_from(planned_s)
                return

    def _count_from(self, planned_s: float) -> None:
        """Count the time that is left from a moment of the estimate, which is now."""
        self._planned_s = planned_s
        self._start_t, self._paused0 = self._session.clock.now(), self._session.bias.paused_s
        self._waited_s = 0.0

    def say(self, text: str) -> None:
        """Show a line, above the live table where there is one."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def told(self, note: str, text: str = "") -> None:
        """Show what the keys do from now on; as a line, too, where there is no live table."""
        self.note = note
        if not self._console.is_terminal:
            self.say(text or note)

    def asked(self, text: str) -> None:
        """Show a question, or the answer to it; meanwhile no time of the plan passes."""
        now, answered = self._session.clock.now(), text.startswith("> ")
        if self._waiting_since is not None:
            self._waited_s += now - self._waiting_since
        self._waiting_since = None if answered else now
        self.note = KEYS if answered else ANSWERING
        if answered or not self._console.is_terminal:
            self.say(text if answered else f"asked: {text}")

    def state(self) -> dict[str, str]:
        """Return what is shown, by name."""
        state = super().state()
        limit = self._limit_e_per_A2()
        dose = float(self._session.camera.total_dose.get())
        state["dose"] = f"{dose:.1f} of {limit:.4g} e/Å²"
        left = self.left_s()
        state["left"] = "" if left is None else f"about {seconds(left)}"
        return state

    def _limit_e_per_A2(self) -> float:
        """Return what the site may have in this run, by the station and by the protocol."""
        site = self._session.camera.site_dose
        had = 0.0 if site is None else site.prior_e_per_A2
        limit = max(0.0, self._session.station.dose.budget().hard_e_per_A2 - had)
        return limit if self._budget is None else min(limit, self._budget)

    def left_s(self) -> float | None:
        """Return the wall seconds that are left; None where nobody knows."""
        if self._left is None:
            return None
        bias, now = self._session.bias, self._session.clock.now()
        waits = 0.0 if self._waiting_since is None else now - self._waiting_since
        idle = bias.paused_s - self._paused0 + self._waited_s + waits
        passed = max(0.0, now - self._start_t - idle)
        if self._begins:  # a step that lasts longer than estimated is not over
            passed = min(passed, self._begins[0][0] - self._planned_s)
        return self._left(self._planned_s + passed)

    def _phase(self) -> tuple[str, int]:
        camera = self._session.camera
        if camera.running:
            return camera.phase.get(), int(camera.cycle.get())
        return str(self._step.get("kind", "start")), 0

    def line(self) -> str:
        """Return the state in a line."""
        state = self.state()
        last = f"{state['dropped']} LOST" if state["dropped"] != "0" else f"beam {state['beam']}"
        place = f"{self._step.get('number', 0)}/{self._step.get('of', '?')}"
        left = f"  {state['left']} left" if state["left"] else ""
        return (
            f"{seconds(time.monotonic() - self._begun):>7} {place:>5} {state['phase']:<12} "
            f"{state['bias']:>7} {state['current']:>8} {state['frames']:>5} frames "
            f"{state['dose']:>16}  {last}{left}"
        )

    def table(self) -> Table:
        """Return the live table: step, state, and what the keys do."""
        state = self.state()
        passed = seconds(time.monotonic() - self._begun)
        table = Table(
            title=f"{self._plan or 'ready'}   {passed}",
            title_justify="left",
            show_header=False,
            width=min(76, self._console.width),
        )
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold", ratio=1)
        number, count = self._step.get("number", 0), self._step.get("of", 0)
        step = f"{number} of {count}: {self._step.get('text', '')}" if number else ""
        left = state.pop("left")
        for name, value in {"step": step, **state, "time left": left}.items():
            style = "bold red" if name == "dropped" and value != "0" else ""
            table.add_row(name, Text(value, style=style))
        if self.question():
            table.add_row("asked", Text(self.question(), style="bold"))
            table.add_row("answer", Text(f"{self.typed()}_"))
        if self.note:
            table.add_row(
                "keys", Text(self.note, style="bold reverse" if "PAUSED" in self.note else "")
            )
        return table


def _changes(begins: Sequence[tuple[float, str, int]]) -> list[tuple[float, str, int]]:
    """Return where another phase or cycle begins."""
    found: list[tuple[float, str, int]] = []
    for point in begins:
        if not found or point[1:] != found[-1][1:]:
            found.append(point)
    return found
