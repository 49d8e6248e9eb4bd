"""The reference pages say what the code says."""

import inspect
from pathlib import Path

import pytest

from docs.reference_pages import pages
from docs.reference_pages.__main__ import main
from docs.reference_pages.docstrings import as_markdown, inline, signature_text


@pytest.mark.parametrize("page", sorted(pages.PAGES))
def test_a_page_is_as_the_code_makes_it(page: str) -> None:
    document = (pages.FOLDER / page).read_text("utf-8")
    assert pages.made(page, document) == document, "run: make reference"


def test_a_page_without_its_markers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("docs.reference_pages.__main__.FOLDER", tmp_path)
    (tmp_path / "columns.md").write_text("no markers\n", "utf-8")
    assert main() == 2
    assert "needs the lines <!-- frames.csv:begin -->" in capsys.readouterr().err
    assert (tmp_path / "columns.md").read_text("utf-8") == "no markers\n"


def test_what_was_changed_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (pages.FOLDER / "columns.md").read_text("utf-8")
    (tmp_path / "columns.md").write_text(text.replace("| `cycle` |", "| `old` |"), "utf-8")
    monkeypatch.setattr("docs.reference_pages.__main__.FOLDER", tmp_path)
    monkeypatch.setattr("docs.reference_pages.__main__.PAGES", ["columns.md"])
    assert main() == 0
    assert capsys.readouterr().out.endswith("/columns.md\n")
    assert (tmp_path / "columns.md").read_text("utf-8") == text


def told(bias: float, *, wait_s: float = 1.0, note: str | None = None) -> None:
    """Do nothing with :class:`.BiasSource`.

    Parameters
    ----------
    bias : float
        In V, as ``0.5`` is.
    wait_s, note : float, str
        What else | there is,
        on two lines.

    Raises
    ------
    LimitError
        Never.
    """


def test_docstrings_become_markdown() -> None:
    made = as_markdown(inspect.getdoc(told) or "", inspect.signature(told))
    assert made == (
        "Do nothing with `BiasSource`.\n\n"
        "| parameter | type | default | meaning |\n|---|---|---|---|\n"
        "| `bias` | float |  | In V, as `0.5` is. |\n"
        "| `wait_s`, `note` | float, str | `1.0` | What else \\| there is, on two lines. |\n\n"
        "*Raises* `LimitError`: Never."
    )
    assert signature_text("told", told) == "told(bias, *, wait_s=1.0, note=None)"
    assert inline("see :func:`.fault.Fault.parse`") == "see `parse`"
