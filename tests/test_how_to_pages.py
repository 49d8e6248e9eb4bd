"""The Python blocks of how-to pages run, one after the other, and do what the pages say."""

import inspect
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.config import load_station, parse_station
from stmtem_control.errors import LimitError, RecordingError
from stmtem_control.estimate import check_protocol
from stmtem_control.protocol import read_protocol
from stmtem_control.session import Session

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


def test_blocks_of_the_page_on_the_approach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the runs go
    names = run(PAGE.with_name("approach-the-probe.md"))
    assert names["leak_pS"] == pytest.approx(1.0, rel=0.2)
    assert names["kind"] == "oxide"
    assert names["step_V"] == pytest.approx(6.0, rel=0.15)
    assert names["outcome"].exit_code == 0


def test_blocks_of_the_pages_on_dose(session: Session) -> None:
    """They define functions; here they do on the bench what the pages say."""
    session.specimen = "before"
    calibration = run(PAGE.with_name("calibrate-the-dose.md"))
    ledger = run(PAGE.with_name("read-the-dose-ledger.md"))
    budgets = run(PAGE.with_name("set-dose-budgets.md"))
    assert "'left end' of 'fibre 3': 0 of 5000" in ledger["go_to"](session, "fibre 3", "left end")
    outcome, line = calibration["calibrate"](session, height=60)
    assert outcome.status == "success", outcome.reason
    assert "survey: 20" in line or "survey: 19.9" in line
    calibration["survey"](session)
    path = session.dose.ledger.path
    ((where, dose),) = ledger["doses"](path).items()
    assert where == ("fibre 3", "left end")
    ((of_run, open_s),) = ledger["of_run"](path, uid_of(outcome.folder))
    assert of_run == pytest.approx(dose)
    assert open_s > 3.9
    few, left = budgets["cost"](session, 2)
    assert 0.0 < few < left
    assert few == pytest.approx(20.0 * 5.0, rel=0.02)


def test_blocks_of_the_page_on_survey_and_diffraction(session: Session) -> None:
    names = run(PAGE.with_name("survey-and-diffraction.md"))
    asked: list[Any] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "done"

    outcome = names["patterns"](session, ask)
    assert outcome.status == "success", outcome.reason
    assert outcome.frames + outcome.dropped == 4
    assert [(one.mode, one.camera_length_m) for one in asked] == [
        ("diffraction", 0.5),
        ("imaging", 0.0),
    ]


def uid_of(folder: Path | None) -> str:
    assert folder is not None
    first = (folder / "documents.jsonl").read_text("utf-8").splitlines()[0]
    return str(json.loads(first)[1]["uid"])


def test_blocks_of_the_page_on_faults(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(PAGE.with_name("inject-faults.md"))
    assert names["replies"].startswith(b"1\n")
    assert names["replies"].endswith(b"1\n")
    assert names["safe"]["output off"]
    printed = capsys.readouterr().out
    assert "struck  bias_source:drop@exchange=2  *IDN?" in printed
    assert " 5.000 s  struck  bias_source:output_interlock@time=5.0,seconds=10.0" in printed
    assert [change.value for change in names["transitions"][4:]] == [1.0, 0.0]
    assert names["answer"]["safe"]["bias 0 V"]
    assert names["struck"] == []
    assert names["off_s"] == 0.0
    assert names["struck_s"] == 2.0


def test_blocks_of_the_page_on_the_dead_mans_time(capsys: pytest.CaptureFixture[str]) -> None:
    run(PAGE.with_name("choose-the-dead-mans-time.md"))
    assert capsys.readouterr().out.splitlines() == [
        "nplc 0.1: 373 readings, 1.81 to 2.00 s",
        "nplc 1: 47 readings, 1.87 to 1.99 s",
        "nplc 10: 4 readings, 1.56 to 1.65 s",
    ]


def test_blocks_of_the_page_on_limits(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(PAGE.with_name("set-limits.md"))
    assert capsys.readouterr().out == "0.15 s\n"
    assert callable(names["soften"])


def test_blocks_of_the_page_on_clearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run(PAGE.with_name("clear-an-interlock.md"))
    assert names["cleared"]
    assert "TRIPPED: interlock short: a finger on the holder" in capsys.readouterr().out
    assert "a bias is refused since the interlock short tripped" in names["refusal"]


def test_blocks_of_the_page_on_the_safe_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where the data go
    names = run(PAGE.with_name("make-a-station-safe.md"))
    assert names["report"].ok
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("bias 0 V, output off, beam blanked, probe stopped")
    assert printed[1].split()[1] == "True"


def test_blocks_of_the_page_on_protocols(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    page = PAGE.with_name("write-a-protocol.md")
    names = run(page)
    printed = capsys.readouterr().out
    assert "1.0 2.0 protocol:4\n" in printed
    assert "- hold: {bias: 1 V, duration: 5 s}" in printed
    assert names["run_here"](session, names["TEXT"]).exit_code == 0
    first, modeline = re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    assert len(read_protocol(first).steps) == 4
    assert read_protocol(modeline + first) == read_protocol(first)


def test_files_of_the_tutorial_on_protocols() -> None:
    page = PAGE.parents[1] / "tutorials" / "write-a-protocol.md"
    whole, cycles, head = re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    first = read_protocol(whole)
    assert [step.kind for step in first.steps] == ["approach", "deposit", "retract"]
    again = whole.replace("steps:", f"{head}steps:")
    again = again.replace("  - deposit: {bias: -5 V, duration: 2 s}\n", cycles)
    read = read_protocol(again)
    assert [step.kind for step in read.steps] == ["approach", "cycles", "retract"]
    assert read.beam.budget_e_per_A2 == 300.0


def test_blocks_of_the_page_on_stations(capsys: pytest.CaptureFixture[str]) -> None:
    run(PAGE.with_name("describe-your-station.md"))
    assert capsys.readouterr().out == "6.0 bench\n"


@pytest.mark.parametrize("table", ["keithley", "anc300", "merlin"])
def test_the_tables_of_the_pages_on_instruments_are_valid(table: str) -> None:
    (page,) = PAGE.parent.glob(f"connect-a*-{table}.md")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    raw = load_station("example_lab").model_dump(mode="json", exclude_none=True)
    for name, keys in tomllib.loads(text).items():
        raw[name] = keys
    assert parse_station(raw, page.name).bench is None


def test_blocks_of_the_page_on_checks(capsys: pytest.CaptureFixture[str]) -> None:
    names = run(PAGE.with_name("check-a-protocol.md"))
    estimate = names["estimate"]
    printed = f"{estimate.wall_s:.1f} s, 181 frames, {estimate.dose_e_per_A2:.0f} e/A^2\n"
    assert capsys.readouterr().out == printed


def test_the_protocol_of_the_readme_would_run() -> None:
    readme = PAGE.parents[2] / "README.md"
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", readme.read_text("utf-8"), re.M | re.S)
    found = check_protocol(read_protocol(text))
    assert found.ok, found.refusals
    assert not found.warnings
