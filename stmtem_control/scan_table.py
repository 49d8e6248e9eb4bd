"""What the prompt shows of a run: Bluesky's table for a scan, progress for a recorded run."""

import os
import sys
from collections.abc import Callable
from typing import Any, ClassVar

from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.callbacks.core import LiveTable

from .progress import Progress


class ScanTable(LiveTable):  # type: ignore[misc,unused-ignore]
    """Bluesky's live table, with numbers that show nanoamperes.

    LiveTable has three decimals for everything, which is 0.000 for any current of this station.
    """

    _FMT_MAP: ClassVar = {"number": "g", "integer": "d", "string": "s", "boolean": "s"}


class ScanView(BestEffortCallback):  # type: ignore[misc,unused-ignore]
    """Bluesky's BestEffortCallback with a :class:`ScanTable`; plots where there is a display."""

    def __init__(self) -> None:
        super().__init__()
        if not display_is_there():
            self.disable_plots()

    _table_enabled: bool

    def descriptor(self, doc: Any) -> None:
        """Begin the table when the stream that a scan steps through is declared."""
        wanted, self._table_enabled = self._table_enabled, False
        try:
            super().descriptor(doc)
        finally:
            self._table_enabled = wanted
        if wanted and doc.get("name") == self.dim_stream:
            stepped = [field for field in self.all_dim_fields if field != "time"]
            hinted = [field for hints in doc.get("hints", {}).values() for field in hints["fields"]]
            fields = dict.fromkeys([*stepped, *hinted])  # each once
            self._table = ScanTable(list(fields), separator_lines=False)
            start: Any = self._start_doc
            self._table("start", start)
            self._table("descriptor", doc)


class RunView:
    """Subscriber that shows a run to a person, in the way that suits it.

    Plans of this package show a line of progress now and then: they take readings as fast as the
    source gives them, and a table of those would help nobody and cost time.  All other plans get
    Bluesky's table, until the run begins to record frames.

    Parameters
    ----------
    progress : Progress
    scans : ScanView
    own : collection of str
        Names of the plans that show progress.
    at_end : callable
        Called when a run has ended.
    """

    def __init__(
        self,
        progress: Progress,
        scans: ScanView,
        own: frozenset[str],
        at_end: Callable[[], None],
    ) -> None:
        self.scans = scans
        self._progress = progress
        self._own = own
        self._at_end = at_end
        self._scan = False

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self._scan = str(doc.get("plan_name", "")) not in self._own
        elif name == "descriptor" and self._scan and records_frames(doc):
            self._scan = False
        if self._scan:
            self.scans(name, doc)
        if not self._scan or name == "start":  # it must know the plan, also if it comes in later
            self._progress(name, doc)
        if name == "stop":
            self._at_end()


def records_frames(descriptor: dict[str, Any]) -> bool:
    """Tell whether a stream has data in files beside the documents."""
    return any("external" in key for key in descriptor["data_keys"].values())


def display_is_there() -> bool:
    """Tell whether figures can be shown while a plan runs.

    Not on a machine without a display, and not with a backend that only draws into files, such as
    the one that Jupyter begins with: after ``%matplotlib widget``, ``bec.enable_plots()``.
    """
    shown = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not shown:
        return False
    import matplotlib
    from matplotlib.backends.registry import BackendFilter, backend_registry

    interactive = backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    return matplotlib.get_backend().lower() in interactive
