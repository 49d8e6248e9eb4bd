"""A run in formats that other programs read best: Parquet tables, one OME-TIFF of all frames."""

import contextlib
import json
import os
import statistics
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from .errors import ConfigError, RecordingError
from .recording.columns import (
    BIAS_COLUMNS,
    BIAS_SCHEMA_VERSION,
    COLUMNS,
    SCHEMA_VERSION,
    Column,
)
from .recording.csv_table import iterate_csv
from .recording.frame_files import FrameFiles, frame_files
from .recording.frame_table import TABLE
from .run_folder import BIAS, DOCUMENTS, summarise

BATCH = 50_000  # rows that are in memory at once
OME_NAMES = (".ome.tif", ".ome.tiff")
PIXEL_SIZE_TAG = 65009  # of the first page: the x axis' scale in nm, as Digital Micrograph has it


def export_parquet(folder: Path) -> list[Path]:
    """Write ``frames.parquet`` and ``bias.parquet`` beside the tables of a run.

    Columns have their types; each says its ``unit`` and ``description`` in its metadata, and the
    file the version of the schema and the run's start document.  What is unknown is null.

    Parameters
    ----------
    folder : Path
        Of the run.

    Returns
    -------
    list of Path
        Of the files; one for each table that the run has.

    Raises
    ------
    ConfigError
        pyarrow is not installed.
    RecordingError
        It is no run folder, has no tables, or cannot be read or written.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ConfigError("Parquet needs pyarrow: pip install 'stmtem-control[parquet]'") from None
    start = summarise(folder).start
    written: list[Path] = []
    for name, columns, version in (
        (TABLE, COLUMNS, SCHEMA_VERSION),
        (BIAS, BIAS_COLUMNS, BIAS_SCHEMA_VERSION),
    ):
        table = folder / name
        if table.exists():
            about = {"stmtem_schema": str(version), "start": json.dumps(start)}
            target = table.with_suffix(".parquet")
            with _replacing(target) as new:
                _write_parquet(new, table, columns, about)
            written.append(target)
    if not written:
        raise RecordingError(f"{folder} has neither {TABLE} nor {BIAS}; there is nothing to export")
    return written


def _write_parquet(
    target: Path, table: Path, columns: Sequence[Column], about: dict[str, str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {float: pa.float64(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    fields = [
        pa.field(c.name, kinds[c.kind], metadata={"unit": c.unit, "description": c.about})
        for c in columns
    ]
    schema = pa.schema(fields, metadata=about)
    rows = iterate_csv(table, columns)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        batch = list(islice(rows, BATCH))
        while True:
            values = [
                pa.array([row.get(c.name) for row in batch], kinds[c.kind], from_pandas=True)
                for c in columns
            ]
            writer.write_table(pa.Table.from_arrays(values, schema=schema))
            batch = list(islice(rows, BATCH))
            if not batch:
                return


def export_ome_tiff(folder: Path, target: Path) -> Path:
    """Write all frames of a run into one OME-TIFF, a frame at a time.

    Pixels have their size in nm; each plane has its ``DeltaT``, the start of its exposure in run
    time, and its ``ExposureTime``, both in s; ``TimeIncrement`` is the median step.

    Parameters
    ----------
    folder : Path
        Of the run.
    target : Path
        The new file; one of that name is replaced when the new one is whole.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    RecordingError
        It is no run folder, has no frames, or cannot be read or written; or `target` may be taken
        for a file of a run.
    """
    import tifffile

    summary = summarise(folder)
    if (target.parent / DOCUMENTS).exists() and not target.name.endswith(OME_NAMES):
        raise RecordingError(
            f"{target} lies in the folder of a run, whose own files shall stay; call it *.ome.tif"
        )
    with FrameFiles(folder) as frames:
        count = len(frames)
        if not count:
            raise RecordingError(f"{folder} has no frames; there is nothing to export")
        # Never more frames than rows: a run may be recorded while it is exported.
        times = _times(folder)
        count = min(count, len(times))
        if not count:
            raise RecordingError(f"{folder}: {TABLE} has no rows; 'stmtem recover {folder}' first")
        starts, exposures = zip(*times[:count], strict=True)
        steps = [later - earlier for earlier, later in pairwise(starts)]
        pixel_nm = _pixel_size_nm(frame_files(folder)[0])
        metadata = {
            "axes": "TYX",
            "Name": folder.name,
            "Description": json.dumps(summary.start),
            "PhysicalSizeX": pixel_nm,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": pixel_nm,
            "PhysicalSizeYUnit": "nm",
            "TimeIncrement": statistics.median(steps) if steps else 0.0,
            "TimeIncrementUnit": "s",
            "Plane": {
                "DeltaT": list(starts),
                "DeltaTUnit": ["s"] * count,
                "ExposureTime": list(exposures),
                "ExposureTimeUnit": ["s"] * count,
            },
        }
        shape = (count, *frames.shape[1:])
        with _replacing(target) as new, tifffile.TiffWriter(new, ome=True, bigtiff=True) as writer:
            writer.write(
                (frames[number] for number in range(count)),
                shape=shape,
                dtype=frames.dtype,
                photometric="minisblack",
                metadata=metadata,
            )
    return target


def _times(folder: Path) -> list[tuple[float, float]]:
    """Return run time and exposure of each frame, in s."""
    only = ("run_time_s", "exposure_s")
    rows = iterate_csv(folder / TABLE, COLUMNS, only)
    return [(row["run_time_s"], row["exposure_s"]) for row in rows]


def _pixel_size_nm(path: Path) -> float:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page: Any = file.pages[0]
            return float(page.tags[PIXEL_SIZE_TAG].value)
    except (OSError, KeyError, ValueError, TypeError, tifffile.TiffFileError):
        raise RecordingError(f"{path} does not tell the size of its pixels in nm") from None


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Give a name to write to; the file gets the name `target` when it is whole."""
    new = target.with_name(f".{target.name}.new")
    try:
        yield new
        os.replace(new, target)
    except OSError as error:
        if isinstance(error, RecordingError):
            raise
        reason = error.strerror or str(error)
        raise RecordingError(f"{target} cannot be written: {reason}") from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
