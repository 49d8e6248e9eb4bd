"""Completes a run that has been closed: declares what it had no time to, and dates its frames."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .declare_rest import FramesTold, declare_rest
from .ending import END_S
from .errors import RecordingError, StmTemError

if TYPE_CHECKING:
    from stmtem_control.devices import ClockAlignment, FrameCamera

log = logging.getLogger(__name__)


class RunCompletion:
    """A subscriber that knows what a run's documents tell of its frames, and adds what is missing.

    Parameters
    ----------
    camera, alignment : FrameCamera, ClockAlignment
        Of the station.
    unix_time : callable
        Turns run time (s) into Unix time (s).
    """

    def __init__(
        self,
        camera: "FrameCamera",
        alignment: "ClockAlignment",
        unix_time: Callable[[float], float],
    ) -> None:
        self._camera = camera
        self._alignment = alignment
        self._unix_time = unix_time
        self._told = FramesTold(camera.name)
        self._thread: threading.Thread | None = None

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        self._told(name, doc)

    def begin(self, folder: Path) -> None:
        """Complete the run in a folder, if there is anything to do; returns at once."""
        if self._alignment.model is not None or self._undeclared or self._camera.running:
            # Not here: what makes the station safe comes first, and waits for this.
            self._thread = threading.Thread(
                target=self._complete, args=(folder,), name="completing the run", daemon=True
            )
            self._thread.start()

    def wait(self) -> None:
        """Wait until the last run is complete on disk."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @property
    def _undeclared(self) -> bool:
        return self._camera.recorded > self._told.count

    def _complete(self, folder: Path) -> None:
        """Declare what a closed run had no time to, and date its frames by the final model."""
        deadline = time.monotonic() + END_S
        waiting = threading.Event()  # never set: only to wait on
        while self._camera.running and time.monotonic() < deadline:
            waiting.wait(0.02)
        try:
            if self._camera.running:
                raise RecordingError(f"{folder}: frames are still being taken")
            if self._undeclared:
                declare_rest(folder, self._unix_time)
            if self._alignment.model is not None:
                self._alignment.finish_run(folder)
        except StmTemError as error:
            log.error("the run is not completed, frames keep the times they had: %s", error)
