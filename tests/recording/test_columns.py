"""The columns of the tables: their names tell their units, and each is described."""

import pytest

from stmtem_control.recording.columns import BIAS_COLUMNS, COLUMNS, Column

#: How a name says its unit, and that unit in documents; longer ends first.
UNITS = {
    "_e_per_A2_s": "e/A^2/s",
    "_e_per_A2": "e/A^2",
    "_e_per_px": "e/px",
    "_steps": "step",
    "_counts": "counts",
    "_V": "V",
    "_A": "A",
    "_keV": "keV",
    "_length_m": "m",
    "_s": "s",
}


@pytest.mark.parametrize("column", [*COLUMNS, *BIAS_COLUMNS], ids=lambda column: column.name)
def test_names_tell_units_and_columns_are_described(column: Column) -> None:
    unit = next((unit for end, unit in UNITS.items() if column.name.endswith(end)), "")
    assert column.unit == unit
    assert column.about.endswith(".")
    assert "|" not in column.about
