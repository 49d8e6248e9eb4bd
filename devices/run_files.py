"""The files that the recorder keeps of one run: pages, their table, and the timeline's journal."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.recording.disk_sync import DiskSync
from stmtem_control.recording.frame_table import FrameTable
from stmtem_control.recording.journal import JOURNAL, Journal
from stmtem_control.recording.page_writer import PageWriter
from stmtem_control.recording.rows import row_json
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import Timeline

log = logging.getLogger(__name__)

BIGTIFF = {"auto": None, "classic": False, "bigtiff": True}


class RunFiles:
    """Pages, table and journal of one run; used by one thread.

    Parameters
    ----------
    folder : Path
        The run folder.
    clock, timeline : StationClock, Timeline
        Whose entries are kept.
    dose_rate_e_per_A2_s : float
        Of the open beam.
    site_dose : SiteDose, optional
        What else the rows need of the dose.
    """

    def __init__(
        self,
        folder: Path,
        clock: StationClock,
        timeline: Timeline,
        dose_rate_e_per_A2_s: float,
        site_dose: SiteDose | None = None,
    ) -> None:
        self.folder = folder
        self.dose_rate = dose_rate_e_per_A2_s
        self.site_dose = site_dose or SiteDose()
        self.open = False
        self._clock = clock
        self._timeline = timeline
        self._pages: PageWriter | None = None
        self._table: FrameTable | None = None
        self._journal: Journal | None = None
        self._sync: DiskSync | None = None
        self._end_listening: Callable[[], None] | None = None

    @property
    def pages(self) -> PageWriter:
        """The frames' files.

        Raises
        ------
        RecordingError
            They were never opened.
        """
        if self._pages is None:
            raise RecordingError(f"{self.folder}: the files of this run are not open")
        return self._pages

    def open_journal(self, before_s: float) -> None:
        """Keep what is true when, from so many station seconds before the run's start on.

        Raises
        ------
        RecordingError
            It cannot be written.
        """
        start = self._timeline.run_start
        about = {"dose_rate_e_per_A2_s": self.dose_rate, **self.site_dose.about()}
        self._journal = Journal(self.folder, self._clock, run_start_s=start, about=about)
        self._end_listening = self._timeline.listen(self._journal.add, since=start - before_s)
        self._journal.flush()

    def open_pages(
        self, shape: tuple[int, int], dtype: np.dtype[Any], settings: Mapping[str, Any]
    ) -> int:
        """Open the frames' files and the table, for the first time or again.

        Returns
        -------
        int
            How many frames are in one file.

        Raises
        ------
        RecordingError
            They cannot be written, or hold frames of somebody else.
        """
        if self._pages is None:
            try:
                pages = PageWriter(
                    self.folder,
                    shape=shape,
                    dtype=dtype,
                    pixel_size_nm=settings["pixel_size_nm"],
                    frame_interval_s=settings["frame_interval_s"],
                    frames_per_file=settings["frames_per_file"],
                    method=settings["method"],
                    compression=settings["compression"],
                    bigtiff=BIGTIFF[settings["tiff"]],
                )
            except ValueError as error:  # settings that do not go together
                raise RecordingError(f"{self.folder}: {error}; see [camera]") from error
            self._table = FrameTable(self.folder)
            self._pages = pages
        else:
            assert self._table is not None
            self._pages.reopen()
            self._table.reopen()
        if self._journal is None:
            raise RecordingError(f"{self.folder}: what is true when cannot be kept there")
        self.open = True
        if self._sync is None:
            self._sync = DiskSync(self._changed, f"{self.folder.name} to disk")
        return self._pages.frames_per_file

    def settle(self, rows: Sequence[dict[str, Any]]) -> None:
        """Make the rows of neighbouring frames final: in the table, and in the pages.

        Raises
        ------
        RecordingError
            They could not be written.
        """
        assert self._table is not None
        if self._sync is not None:
            self._sync.check()
        self.pages.amend_rows(rows[0]["frame"], [row_json(row, True) for row in rows])
        self._table.append(rows)

    def _changed(self) -> list[Path]:
        """Return the files that changed; for the thread that syncs them."""
        pages = self.pages.unsynced()
        if not pages or self._table is None:
            return pages
        return [*pages, self._table.path, self.folder / JOURNAL]

    def journal_flush(self) -> None:
        """Write what is new in the timeline."""
        if self._journal is not None:
            self._journal.flush()
            if (problem := self._journal.problem()) is not None:
                log.warning("%s", problem)

    def close(self) -> None:
        """Close pages and table; the journal goes on until :meth:`end`.

        Raises
        ------
        RecordingError
            The disk refuses; what is counted is there all the same.
        """
        self.open = False
        sync, self._sync = self._sync, None
        if sync is not None:
            sync.close()
        try:
            if self._pages is not None:
                self._pages.close()
        finally:
            if self._table is not None:
                self._table.close()
            self.journal_flush()
        if sync is not None:
            sync.check()

    def end(self) -> None:
        """End the journal, too; harmless when called again."""
        if self._end_listening is not None:
            self._end_listening()
            self._end_listening = None
        if self._journal is not None:
            self._journal.close()
