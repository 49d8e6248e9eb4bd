"""Tables that grow by whole lines: a line is in the file entirely, or not at all.

The first line has the columns' names, and in the names the units, so that every reader of CSV takes
it as it is; what the columns mean and the version of their schema is told by a file beside it, in
the form of the W3C's "CSV on the Web" (https://www.w3.org/TR/tabular-metadata/, section 5).
"""

import csv
import errno
import io
import json
import math
import operator
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from stmtem_control.errors import RecordingError

from .columns import Column
from .line_file import LineFile, replace_file

# Text that is the same in JSON and in CSV, but for the quotation marks.
PLAIN = re.compile(r"[A-Za-z0-9_ .:;+*/=()-]*")
METADATA = "{}-metadata.json"  # where CSV on the Web looks for it
DATATYPES = {float: "double", int: "integer", bool: "boolean", str: "string"}


class CsvTable:
    """A CSV file that rows are appended to, a batch with one write.

    Parameters
    ----------
    path : Path
        Of the file; it must not exist yet.
    columns : sequence of Column
        In order.
    version : int
        Of the columns' schema.

    Attributes
    ----------
    count : int
        Rows in the file.

    Raises
    ------
    RecordingError
        It exists, or cannot be written.
    """

    def __init__(self, path: Path, columns: Sequence[Column], *, version: int) -> None:
        self.path = Path(path)
        self.columns = tuple(columns)
        self.count = 0
        self._names = [column.name for column in self.columns]
        self._file: LineFile | None = None
        try:
            if self.path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            self._file = LineFile(self.path)
            self._file.append(_lines([self._names]))
            _describe(self.path, self.columns, version)
        except OSError as error:
            self.close()
            raise self._refused(error) from error

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows, all with one write; a column that a row does not have stays empty.

        Raises
        ------
        RecordingError
            They could not be written, for example because the disk is full, or the table is
            closed; the file is as it was before.
        """
        if self._file is None:
            raise RecordingError(f"{self.path} is closed; reopen it")
        if not rows:
            return
        try:
            self._file.append(_cells(self._names, rows))
        except OSError as error:
            raise self._refused(error) from error
        self.count += len(rows)

    def close(self) -> None:
        """Close the file; harmless when it is closed."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def reopen(self) -> None:
        """Go on after :meth:`close`; harmless when open.

        Raises
        ------
        RecordingError
            The file is gone, or cannot be written any more.
        """
        if self._file is not None:
            return
        try:
            self.path.stat()  # one that is gone is not made again
            self._file = LineFile(self.path)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> RecordingError:
        reason = error.strerror or str(error)
        return RecordingError(
            f"{self.path} cannot be written: {reason}; the {self.count} rows in it are safe"
        )


def write_csv(
    path: Path, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]], *, version: int
) -> None:
    """Write a whole table, in one step; what was there is replaced.

    Parameters
    ----------
    path : Path
        Of the file.
    columns, version : sequence of Column, int
        In order, and the version of their schema.
    rows : sequence of mapping
        As :meth:`CsvTable.append` takes them.

    Raises
    ------
    RecordingError
        It cannot be written; what was there is as it was.
    """
    names = [column.name for column in columns]
    try:
        replace_file(path, _lines([names]) + _cells(names, rows))
        _describe(path, columns, version)
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from error


def _cells(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    quick = _quick_cells(names, rows)
    if quick is not None:
        return quick
    return _lines([[_cell(row.get(name)) for name in names] for row in rows])


def _quick_cells(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Return the lines by way of JSON, a tenth of the cost; None where that is not the same."""
    if len(names) < 2 or not rows:
        return None
    # The first row tells which columns are text; if another does not agree, quotes do not add up.
    of_text = [name for name in names if isinstance(rows[0].get(name), str)]
    try:
        values = [operator.itemgetter(*names)(row) for row in rows]
        texts = {name: [row[name] for row in rows] for name in of_text}
        if not all(map(_is_plain, set().union(*texts.values()))):
            return None
        lines = orjson.dumps(values)
    except (KeyError, TypeError):  # a column that is not there, or a kind of number of its own
        return None
    if lines.count(b'"') != 2 * len(rows) * len(of_text):
        return None
    cells = lines[2:-2].replace(b"],[", b"\n").replace(b'"', b"").replace(b"null", b"")
    return cells + b"\n"


def _is_plain(text: str) -> bool:
    return PLAIN.fullmatch(text) is not None and "null" not in text


def _describe(path: Path, columns: Sequence[Column], version: int) -> None:
    description = describe_table(path.name, columns, version)
    path.with_name(METADATA.format(path.name)).write_text(description, "utf-8")


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value


def describe_table(name: str, columns: Sequence[Column], version: int) -> str:
    """Return what a table's columns mean, as JSON in the form of CSV on the Web.

    Parameters
    ----------
    name : str
        Of the file with the table.
    columns : sequence of Column
        In order.
    version : int
        Of their schema.
    """
    described = [
        {
            "name": column.name,
            "titles": column.name,
            "datatype": DATATYPES[column.kind],
            "dc:description": column.about,
            **({"schema:unitText": column.unit} if column.unit else {}),
        }
        for column in columns
    ]
    document = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": name,
        "schema:version": version,
        "tableSchema": {"columns": described},
    }
    return json.dumps(document, indent=1) + "\n"


def read_csv(path: Path, columns: Sequence[Column]) -> list[dict[str, Any]]:
    """Return the rows of a table with the types of its columns; see :func:`iterate_csv`."""
    return list(iterate_csv(path, columns))


def iterate_csv(
    path: Path, columns: Sequence[Column], only: Collection[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table with the types of its columns, one at a time.

    An empty cell is NaN in a column of floats, "" in one of text, and None in the others.  A line
    without an end, which a reader may see while it is written, is left out; columns that are not
    in the file are not in the rows, and those that are not in `columns` are text.

    Parameters
    ----------
    path : Path
        Of the file.
    columns : sequence of Column
        What may be in it.
    only : collection of str, optional
        Names of the columns to take; by default all.

    Raises
    ------
    RecordingError
        The file cannot be read, or is no such table.
    """
    kinds = {column.name: column.kind for column in columns}
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader((line for line in file if line.endswith("\n")), strict=True)
            header = next(lines, [])
            taken = [
                (i, name, _CONVERTERS[kinds.get(name, str)])
                for i, name in enumerate(header)
                if only is None or name in only
            ]
            for line in lines:
                if len(line) != len(header):
                    raise ValueError(f"line {lines.line_num} has {len(line)} cells")
                yield {name: convert(line[i]) for i, name, convert in taken}
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, csv.Error) as error:
        raise RecordingError(f"{path} is no table of this program: {error}") from None


_CONVERTERS: dict[type, Any] = {
    float: lambda cell: float(cell) if cell else math.nan,
    int: lambda cell: int(cell) if cell else None,
    bool: lambda cell: {"true": True, "false": False, "": None}[cell],
    str: str,
}
