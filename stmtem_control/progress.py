"""What a person sees while an experiment runs."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .units import seconds, si

if TYPE_CHECKING:
    from .session import Session

LINE_PERIOD_S = 1.0  # between two lines where the output is no terminal


class LastingConsole(Console):
    """A console whose reader may go, as ``head`` does: the rest is unsaid, and the run goes on."""

    def on_broken_pipe(self) -> None:
        """Say no more, whoever prints; Rich would end the thread that runs the plan."""
        self.quiet = True
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


class Progress:
    """Live state of a session's instruments, on a terminal or as plain lines.

    It shows what the devices last published; it never talks to an instrument.
    """

    def __init__(self, session: "Session", console: Console) -> None:
        self._session = session
        self._console = console
        self._begun = time.monotonic()
        self._plan = ""
        self._next_line = 0.0
        self._last_phase: tuple[str, int] | None = None

    def state(self) -> dict[str, str]:
        """Return what is shown, by name."""
        s = self._session
        z = s.probe.z
        dose = s.camera.total_dose.get()
        contact = f"{z.fine.get():.1f} V, {z.coarse.get():+d} steps"
        phase, cycle = self._phase()
        return {
            "phase": f"{phase} {cycle}" if cycle else phase,
            "bias": si(s.bias.setpoint.get(), "V"),
            "current": si(s.bias.current.get(), "A"),
            "frames": f"{s.camera.frames_written.get()}",
            "dropped": f"{s.camera.dropped.get()}",
            "dose": f"{dose:.1f} e/Å²",
            "beam": "blanked" if s.beam.blanked.get() else "on",
            "probe": contact,
        }

    def _phase(self) -> tuple[str, int]:
        if self._plan and not self._session.camera.running:
            if self._session.bias.setpoint.get():
                return "approach", 0
            return ("end" if self._session.camera.frames_written.get() else "start"), 0
        return self._session.camera.phase.get(), int(self._session.camera.cycle.get())

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document; without a terminal, write a line now and then."""
        if name == "start":
            self._plan = str(doc.get("plan_name", ""))
            self._begun = time.monotonic()
        if self._console.is_terminal or name not in ("event", "event_page"):
            return
        now = time.monotonic()
        phase = self._phase()
        if phase == self._last_phase and now < self._next_line:
            return
        self._last_phase, self._next_line = phase, now + LINE_PERIOD_S
        self._console.print(self.line(), highlight=False, soft_wrap=True)

    def line(self) -> str:
        """Return the state in a line."""
        state = self.state()
        # Within 80 columns: of beam and probe what matters now, and before all what went wrong.
        last = f"beam {state['beam']}" if self._session.camera.running else state["probe"]
        if state["dropped"] != "0":
            last = f"{state['dropped']} LOST"
        return (
            f"{seconds(time.monotonic() - self._begun):>7} {state['phase']:<12} "
            f"{state['bias']:>7} {state['current']:>8} {state['frames']:>5} frames "
            f"{state['dose']:>10}  {last}"
        )

    def table(self) -> Table:
        """Return the live table: a line for each thing, so that nothing is ever cut off."""
        table = Table(
            title=f"{self._plan or 'ready'}   {seconds(time.monotonic() - self._begun)}",
            title_justify="left",
            show_header=False,
            min_width=44,
        )
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right", min_width=28)
        for name, value in self.state().items():
            table.add_row(name, value)
        return table

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the state while the block runs."""
        token = self._session.RE.subscribe(self)
        try:
            if self._console.is_terminal:
                with Live(get_renderable=self.table, console=self._console, refresh_per_second=8):
                    yield
            else:
                yield
        finally:
            self._session.RE.unsubscribe(token)
