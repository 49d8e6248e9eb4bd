"""A session in Jupyter: the cells of the how-to page run in a real kernel."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "work-in-jupyter.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(cell: Any) -> str:
    """Return what a cell printed, and what it showed."""
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


def test_the_page_in_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    sources = [block[1] for block in BLOCK.finditer(PAGE.read_text("utf-8"))]
    running = "import asyncio\nasyncio.get_running_loop().is_running(), RE(bps.null())"
    cells = [nbformat.v4.new_code_cell(source) for source in [*sources, running]]
    made = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        made, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    said = [text_of(cell) for cell in made.cells]
    everything = "\n".join(said)
    assert "<BiasSource bias: 0 V, output off" in everything
    assert re.search(r"bias_voltage \| bias_current", everything)
    assert re.search(r"<run \S+_deposit_\w+: done, \d+ frames, \d+ readings>", everything)
    assert said[-1].startswith("(True, ")  # a plan in a running event loop
    assert list((tmp_path / "runs").glob("*_deposit_*/outcome.json"))
