"""The how-to on reading a run does what it says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .pictures import frames, make_writer, picture

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "read-a-run.md"
FOLDER = "runs/20261123T101500Z_deposition_stripping_cycles_5267297b"


def test_frames_are_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    make_writer(folder, frames_per_file=6).write(frames(0, 8))
    (folder / "frames.csv").write_text(
        "run_time_s,phase,bias_set_V,current_A\n0.5,deposit,-5,-1e-11\n", "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    document, names = PAGE.read_text("utf-8"), dict[str, Any]()
    for block in re.findall(r"^```python\n(.*?)^```$", document, re.MULTILINE | re.DOTALL):
        if any(word in block for word in ("frame_files", "import tifffile", "rsciio", "csv")):
            exec(compile(block, str(PAGE), "exec"), names)
    assert names["means"] == [picture(i).mean() for i in range(8)]
    assert names["some"].shape == (3, 20, 30)
    np.testing.assert_array_equal(names["stack"], [picture(i) for i in range(6)])
    assert [row["frame"] for row in names["rows"]] == list(range(6))
    printed = capsys.readouterr().out
    assert "8 (8, 20, 30) uint16" in printed
    assert "0.04 s" in printed
    assert "2.5 nm" in printed
    assert "0.5 deposit -5 -1e-11" in printed
