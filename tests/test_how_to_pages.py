"""The Python blocks of how-to pages run, one after the other, and do what the pages say."""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.errors import LimitError, RecordingError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "simulate-a-specimen.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(page: Path) -> dict[str, Any]:
    """Run all blocks in one namespace and return it."""
    document = page.read_text("utf-8")
    names: dict[str, Any] = {}
    for block in BLOCK.finditer(document):
        line = document.count("\n", 0, block.start(1))
        # Blank lines ahead, so that a traceback names the line of the page.
        exec(compile("\n" * line + block[1], str(page), "exec"), names)
    return names


def test_blocks_of_the_page_on_specimens(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(PAGE)
    printed = capsys.readouterr().out
    assert "fig3c" in printed
    assert "True" in printed.splitlines()  # the restored model goes on as the saved one
    assert len(names["births"]) > 10
    assert len(names["portable"].particles) == 0
    assert names["portable"].instructions == "baseline"
    assert names["frame"].shape == names["pattern"].shape == names["survey"].shape == (256, 256)
    # 0.8 e/A2 in one instant or in four
    assert names["blurred"].mean() == pytest.approx(names["frame"].mean(), rel=0.1)
    volume = names["thickness"].sum(dtype=float) * 2.0**2
    assert names["truth"]["volume_in_view_nm3"].sum() == pytest.approx(volume, rel=1e-3)


def test_blocks_of_the_page_on_the_clapperboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the run goes
    names = run(PAGE.with_name("align-camera-and-source.md"))
    assert names["problem"] == ""
    assert 0.0 < names["sure_s"] < 0.004
    assert "ms at camera time" in capsys.readouterr().out
    assert callable(names["with_clapperboard"])


def test_blocks_of_the_page_on_triggers() -> None:
    """They define functions; what these do is tested on the bench elsewhere."""
    names = run(PAGE.with_name("set-up-a-hardware-trigger.md"))
    taken = inspect.signature(names["triggered_cycles"]).parameters
    assert {"master", "frames_per_step", "rest_s"} <= set(taken)
    with pytest.raises(RecordingError, match=r"timeline\.jsonl cannot be read"):
        names["uncertain"](PAGE.parent)
    plan = names["plan"](SimpleNamespace(bias=None, camera=None, beam=None), "nobody")
    with pytest.raises(LimitError, match="master is 'nobody'"):
        next(plan)


def test_blocks_of_the_page_on_the_safe_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the data go
    names = run(PAGE.with_name("make-a-station-safe.md"))
    assert names["report"].ok
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("bias 0 V, output off, beam blanked, probe stopped")
    assert printed[1].split()[1] == "True"
