"""The page on the kinetic model: its tables are those of the code, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from stmtem_control.simulators.parameter_notes import PARAMETER_NOTES, STANDINGS
from stmtem_control.simulators.parameter_table import BEGIN, END, as_markdown, main, with_table
from stmtem_control.simulators.presets import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "kinetics.md"
BENCHMARKS = ("particle_step", "reaction_box", "frame", "whole_experiment", "summary")

#: How a name says its unit, and that unit in the table.
SUFFIXES = {
    "_J_m2": "J/m²",
    "_pA_nm2": "pA/nm²",
    "_pA_nm": "pA/nm",
    "_nm2_s": "nm²/s",
    "_nm3": "nm³",
    "_nm": "nm",
    "_deg": "°",
    "_GOhm": "GΩ",
    "_pF": "pF",
    "_Hz": "Hz",
    "_eV": "eV",
    "_V": "V",
    "_K": "K",
    "_s": "s",
}


def test_every_parameter_is_described_once() -> None:
    assert list(PARAMETER_NOTES) == list(PARAMETERS)
    for name, note in PARAMETER_NOTES.items():
        assert note.standing in STANDINGS, name
        assert note.meaning, name
        if note.standing in ("literature", "paper", "fitted"):
            assert note.source, name


def test_units_are_those_of_the_names() -> None:
    for name, note in PARAMETER_NOTES.items():
        unit = next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), "")
        if name in ("beam_diffusion_nm2_s", "beam_conduction_nm2_s"):
            unit = "nm² s"  # times a dose rate in 1/(nm² s)
        assert note.unit == unit, name


def test_page_has_the_table_of_the_code() -> None:
    document = PAGE.read_text("utf-8")
    assert with_table(document) == document, (
        "run: python -m stmtem_control.simulators.parameter_table --write "
        "docs/explanation/kinetics.md"
    )


@pytest.mark.parametrize(
    "name", ["parameters", "observations", *(f"benchmark:{name}" for name in BENCHMARKS)]
)
def test_page_has_each_pair_of_markers_once(name: str) -> None:
    document = PAGE.read_text("utf-8")
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    assert document.count(begin) == document.count(end) == 1
    assert document.index(begin) < document.index(end)


def test_page_shows_all_observations_and_that_they_pass() -> None:
    # That they still do is the business of test_observation_table.py.  To renew the table:
    # python -m stmtem_control.simulators.observations --write docs/explanation/kinetics.md
    from stmtem_control.simulators.observations import OBSERVATIONS

    document = PAGE.read_text("utf-8")
    table = document.partition("<!-- observations:begin -->")[2]
    table = table.partition("<!-- observations:end -->")[0]
    rows = [line.split(" | ") for line in table.splitlines() if re.match(r"\| [OC]\d", line)]
    assert [row[0].strip("| ") for row in rows] == [row.number for row in OBSERVATIONS]
    assert [row[3] for row in rows] == [row.check for row in OBSERVATIONS]
    assert {row[-1].strip("| ") for row in rows} == {"pass"}


def test_table_goes_between_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    assert main(["--write", str(page)]) == 0
    text = page.read_text("utf-8")
    assert text == f"before\n{BEGIN}\n\n{as_markdown()}\n{END}\nafter\n"
    assert "| 0.02162 nm³ |" in text
    page.write_text("no markers\n", "utf-8")
    assert main(["--write", str(page)]) == 2
    assert "needs the lines" in capsys.readouterr().err
    assert main([]) == 0
    assert capsys.readouterr().out == as_markdown()


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_between_pages_lead_to_files(page: Path) -> None:
    for target in links(page):
        assert (page.parent / target).exists(), target
