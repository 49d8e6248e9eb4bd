"""Pausing, resuming and ending a run from the keyboard."""

import threading
from typing import TYPE_CHECKING

from .ending import BY_PERSON
from .keyboard import ENTER
from .protocol_progress import KEYS

if TYPE_CHECKING:
    from .protocol_progress import ProtocolProgress
    from .session import Session

PAUSED = "PAUSED at 0 V, beam blanked: r or Enter resumes, q ends"
ENDING = "ending ..."
LOOK_S = 0.05  # wall time between two looks whether the pause was ended by something else


class RunControl:
    """Takes keys while a plan runs: p pauses, r or Enter resumes, q ends; Ctrl-C does both.

    While it is entered, the first Ctrl-C pauses the plan and one during the pause ends it.

    Parameters
    ----------
    session : Session
    progress : ProtocolProgress
        Shows what the keys do now.
    """

    def __init__(self, session: "Session", progress: "ProtocolProgress") -> None:
        self._session, self._progress = session, progress
        self._decided = threading.Event()
        self._go_on = False
        self._paused = False  # it is waited for a decision

    def __enter__(self) -> "RunControl":
        """Let pauses be decided here."""
        self._session.ending.at_pause = self.at_pause
        self._progress.note = KEYS
        return self

    def __exit__(self, *_: object) -> None:
        """Let Ctrl-C end a plan again."""
        self._session.ending.at_pause = None
        self._progress.note = ""

    def key(self, key: str) -> None:
        """Take a key; any other one is ignored."""
        state, key = self._session.RE.state, key.lower()
        if self._paused:
            if key in ENTER or key in ("r", "q"):
                self._go_on = key != "q"
                self._decided.set()
        elif key == "p" and state == "running":
            self._progress.note = "pausing ..."
            self._session.ending.pause_now("the keyboard")
        elif key == "q" and state != "idle":
            self._progress.note = ENDING
            self._session.trip(BY_PERSON[1])

    def at_pause(self) -> bool:
        """Wait until it is decided whether a plan that has paused goes on."""
        self._decided.clear()
        self._go_on, self._paused = False, True
        self._progress.told(PAUSED)
        ending, engine = self._session.ending, self._session.RE
        while not self._decided.wait(LOOK_S):
            if engine.state != "paused" or ending.reason:
                break
        self._paused = False
        if self._go_on:
            self._progress.told(KEYS, "resumed")
        else:
            ending.reason = ending.reason or BY_PERSON[1]
            self._progress.note = ENDING
        return self._go_on
