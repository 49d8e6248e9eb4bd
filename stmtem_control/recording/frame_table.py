"""``frames.csv``: one row a frame."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .columns import COLUMNS, SCHEMA_VERSION
from .csv_table import CsvTable, read_csv, write_csv

TABLE = "frames.csv"


class FrameTable(CsvTable):
    """The table of the frames of a run, appended to while they come.

    Parameters
    ----------
    directory : Path
        The run folder.
    name : str
        Of the file in it.

    Raises
    ------
    RecordingError
        There is a table already, or it cannot be written.
    """

    def __init__(self, directory: Path, name: str = TABLE) -> None:
        super().__init__(Path(directory) / name, COLUMNS, version=SCHEMA_VERSION)


def read_table(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a ``frames.csv``, typed; `path` may also be the run folder.

    Raises
    ------
    RecordingError
        There is none, or it is no table of frames.
    """
    return read_csv(path / TABLE if path.is_dir() else path, COLUMNS)


def replace_table(directory: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put a new table in the place of the old one, if any, in one step.

    Raises
    ------
    RecordingError
        It cannot be written; the old one is as it was.
    """
    write_csv(directory / TABLE, COLUMNS, rows, version=SCHEMA_VERSION)
