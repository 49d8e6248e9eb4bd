"""The reference page of the columns: it is that of the code, and says what each one is."""

from pathlib import Path

import pytest

from stmtem_control.recording.columns import BIAS_COLUMNS, COLUMNS, Column
from stmtem_control.recording.columns_page import main, with_tables

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "columns.md"
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


def test_the_page_has_the_tables_of_the_code() -> None:
    document = PAGE.read_text("utf-8")
    assert with_tables(document) == document, (
        "run: python -m stmtem_control.recording.columns_page --write docs/reference/columns.md"
    )


@pytest.mark.parametrize("column", [*COLUMNS, *BIAS_COLUMNS], ids=lambda column: column.name)
def test_names_tell_units_and_columns_are_described(column: Column) -> None:
    unit = next((unit for end, unit in UNITS.items() if column.name.endswith(end)), "")
    assert column.unit == unit
    assert column.about.endswith(".")
    assert "|" not in column.about


def test_a_document_without_the_markers_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers\n", "utf-8")
    assert main(["--write", str(page)]) == 2
    assert "needs the lines <!-- frames.csv:begin -->" in capsys.readouterr().err
    assert page.read_text("utf-8") == "no markers\n"
    text = PAGE.read_text("utf-8")
    page.write_text(text.replace("| `cycle` |", "| `old` |"), "utf-8")
    assert main(["--write", str(page)]) == 0
    assert page.read_text("utf-8") == text
