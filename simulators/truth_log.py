"""The ground truth of every frame that the simulated camera takes, as a table on disk."""

import csv
import os
import threading

import numpy as np
from numpy.typing import NDArray

from .model import TRUTH

__all__ = ["COLUMNS", "TruthLog"]

#: Columns of the table: the exposure, then :data:`.model.TRUTH`.
COLUMNS = ("exposure", "start_s", "stop_s", "dose_e_per_A2", *(TRUTH.names or ()))


class TruthLog:
    """A CSV file with one row for each particle in each frame; whole rows after every frame.

    Parameters
    ----------
    path
        File to write; one that is there is replaced.

    Raises
    ------
    OSError
        The file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - close() does
        self._lock = threading.Lock()
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self._file.flush()

    def note(
        self, index: int, start: float, stop: float, dose_e_per_A2: float, truth: NDArray[np.void]
    ) -> None:
        """Write what a frame shows.

        Parameters
        ----------
        index
            Number of the exposure since the camera was switched on, from 0.
        start, stop
            Of the exposure, s since the bench was started.
        dose_e_per_A2
            On the specimen in this exposure.
        truth
            Rows of :meth:`.KineticModel.ground_truth` at its end.
        """
        head = (index, f"{start:.6f}", f"{stop:.6f}", f"{dose_e_per_A2:.6g}")
        with self._lock:
            if self._file.closed:
                return
            self._writer.writerows((*head, *row) for row in truth.tolist())
            self._file.flush()

    def close(self) -> None:
        """Close the file; harmless when called again."""
        with self._lock:
            self._file.close()
