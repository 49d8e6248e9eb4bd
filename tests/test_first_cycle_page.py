"""The tutorial on the first cycle: what it types is typed, and does what it says."""

import json
import re
from pathlib import Path

import pytest

from stmtem_control.errors import LimitError
from stmtem_control.prompt import namespace
from stmtem_control.pytest_plugin import assert_bias_within, assert_safe
from stmtem_control.run_folder import list_runs
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorials" / "first-cycle.md"
TYPED = re.compile(r"^In \[\d+\]: (.+)$", re.MULTILINE)


def test_the_tutorial_as_it_is_typed(
    session: Session, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = PAGE.read_text("utf-8")
    names = namespace(session)
    lines = TYPED.findall(text)
    assert len(lines) == 5
    for line in lines:
        exec(line, names)
    assert_safe(bench)
    assert bench.specimen.contact_kind() == "oxide"
    assert_bias_within(bench, -5.0, 5.0)
    (refused,) = re.findall(r"Try `(RE\(deposit\(.+?\)\))`", text)
    with pytest.raises(LimitError, match="outside -10 to 10 V"):
        exec(refused, names)
    runs, unreadable = list_runs(tmp_path / "runs")
    assert unreadable == []
    assert [json.loads(_first(run.folder))[1]["plan_name"] for run in runs] == [
        "approach_contact",
        "deposit",
        "strip",
    ]
    monkeypatch.chdir(tmp_path)  # where the page finds runs/
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(block, {})
    assert (runs[-1].folder / "contact_sheet.png").exists()


def _first(folder: Path) -> str:
    return (folder / "documents.jsonl").read_text("utf-8").splitlines()[0]
