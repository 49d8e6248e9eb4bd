"""A run that is on disk, as a person looks at it from the prompt."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RecordingError
from .recording.columns import BIAS_COLUMNS, COLUMNS, Column
from .recording.csv_table import read_csv
from .recording.frame_files import FrameFiles
from .recording.frame_table import TABLE
from .run_folder import BIAS, DOCUMENTS, RunSummary, summarise


class ColumnTable(dict[str, NDArray[Any]]):
    """A table by columns: an array for each name, with the unit in the name.

    It is a dict, so that ``pandas.DataFrame(table)`` takes it.
    """

    def __repr__(self) -> str:
        """Return the number of rows and the columns' names."""
        rows = len(next(iter(self.values()), ()))
        return f"<{rows} rows of {', '.join(self)}>"


class PastRun:
    """A run folder.

    Parameters
    ----------
    path : Path
        The folder.

    Raises
    ------
    RecordingError
        It is not a run folder; also from the other methods, when a file cannot be read.

    Examples
    --------
    ::

        run = last_run()
        run.path, run.summary.reason
        run.frames["current_A"].min(), run.images[-1].mean()
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        summarise(self.path)

    @property
    def summary(self) -> RunSummary:
        """What is in the folder now: plan, state, reason, start and stop document."""
        return summarise(self.path)

    @property
    def frames(self) -> ColumnTable:
        """The frames' table: ``frames.csv`` by columns; empty without frames.

        `docs/reference/columns.md` explains the columns.
        """
        return _columns(self.path / TABLE, COLUMNS)

    @property
    def readings(self) -> ColumnTable:
        """The source's readings: ``bias.csv`` by columns."""
        return _columns(self.path / BIAS, BIAS_COLUMNS)

    @property
    def images(self) -> FrameFiles:
        """The frames themselves, read when they are asked for: ``images[5]``, ``images[10:20]``."""
        return FrameFiles(self.path)

    def show(self) -> None:
        """Print what ``stmtem show`` prints."""
        from rich.console import Console

        from .run_report import report_run
        from .show_run import show_run

        show_run(report_run(self.path), Console(highlight=False, force_jupyter=False))

    def __fspath__(self) -> str:
        """Return the folder, for whatever takes a path."""
        return str(self.path)

    def __repr__(self) -> str:
        """Return the folder's name and how the run ended, in one line."""
        found = self.summary
        text = f"{found.state}, {found.frames} frames, {found.readings} readings"
        return f"<run {self.path.name}: {text}{found.reason and f'; {found.reason}'}>"


def newest_run(root: Path) -> PastRun:
    """Return the newest run in a data folder.

    Raises
    ------
    RecordingError
        There is none.
    """
    found = sorted(path.parent for path in root.glob(f"*/{DOCUMENTS}"))
    if not found:
        raise RecordingError(f"no run in {root} yet; RE(plan) makes one")
    return PastRun(found[-1])


def _columns(path: Path, columns: tuple[Column, ...]) -> ColumnTable:
    if not path.exists():
        return ColumnTable()
    rows = read_csv(path, columns)
    return ColumnTable(
        {
            column.name: np.array([row[column.name] for row in rows])
            for column in columns
            if not rows or column.name in rows[0]
        }
    )
