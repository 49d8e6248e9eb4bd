"""The columns of the tables of a run, from their schemas."""

from collections.abc import Sequence

from stmtem_control.recording.columns import (
    BIAS_COLUMNS,
    BIAS_SCHEMA_VERSION,
    COLUMNS,
    SCHEMA_VERSION,
    Column,
)

from .docstrings import table

KINDS = {float: "float", int: "integer", bool: "true, false", str: "text"}


def _columns(columns: Sequence[Column], version: int) -> str:
    rows: list[tuple[str, ...]] = [
        (f"`{column.name}`", KINDS[column.kind], column.unit, column.about) for column in columns
    ]
    return f"Schema version {version}.\n\n{table(('column', 'type', 'unit', 'meaning'), rows)}"


def frame_columns() -> str:
    """Return the columns of frames.csv."""
    return _columns(COLUMNS, SCHEMA_VERSION)


def bias_columns() -> str:
    """Return the columns of bias.csv."""
    return _columns(BIAS_COLUMNS, BIAS_SCHEMA_VERSION)
