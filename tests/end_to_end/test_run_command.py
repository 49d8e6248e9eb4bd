"""``stmtem run`` and ``stmtem schema`` as a person, or a script, runs them."""

import json
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.cli import main
from stmtem_control.protocol.schema import protocol_schema

from .terminal import Terminal

TEXT = """\
protocol: asked
camera: {rate: 25 Hz, exposure: 35 ms}
steps:
  - prompt: Is the fibre in view?
  - hold: {bias: 1 V, duration: 30 s}
"""


@pytest.fixture
def asked(tmp_path: Path) -> str:
    path = tmp_path / "asked.yaml"
    path.write_text(TEXT, "utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["run", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_dry_run_moves_nothing(
    asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    code, out, err = run(capsys, asked, "--dry-run", "--out", str(runs))
    assert (code, err) == (0, "")
    assert "762" in out  # frames of 30.5 s at 25 Hz
    assert not runs.exists()


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        (("1 V", "1"), [], "asked.yaml:5: step 2, hold, bias: found 1, a number without a unit"),
        (("1 V", "11 V"), [], "asked.yaml:5: "),
        (("1 V", "11 V"), ["--dry-run"], "11"),
        (("", ""), [], "asked.yaml:4: prompt: somebody must be asked"),
        (
            ("duration: 30 s", "until: {event: burst}, timeout: 30 s"),
            [],
            "asked.yaml:5: until: event 'burst' needs a detector, and the command line has",
        ),
        (("", ""), ["--air-exposure", "5"], "--air-exposure: found '5', a number without a unit"),
        (("", ""), ["--sample", ""], "metadata of the run: metadata, sample: found ''"),
        (("", ""), ["--station", "nowhere"], "station file nowhere: No such file"),
        (("", ""), ["--speed", "-1"], "[bench] speed"),
    ],
)
def test_what_is_refused_is_told_and_moves_nothing(
    asked: str,
    change: tuple[str, str],
    more: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change[0]:
        Path(asked).write_text(TEXT.replace(*change), "utf-8")
    runs = tmp_path / "runs"
    code, out, err = run(capsys, asked, "--out", str(runs), *more)
    assert code == 2
    assert words in (out if "--dry-run" in more else err)
    assert not runs.exists()


def test_at_a_terminal_a_person_answers_pauses_and_ends(asked: str, tmp_path: Path) -> None:
    program = ("-m", "stmtem_control.cli", "run", asked, "--speed", "5", "--size", "256")
    terminal = Terminal(tmp_path, *program)
    before: Any = termios.tcgetattr(terminal._line)
    terminal.wait_for("asked: Is the fibre in view")
    terminal.type("yep\x7fs\r")
    terminal.wait_for("> yes")
    terminal.wait_for("step 2 of 2: hold")
    terminal.type("p")
    terminal.wait_for("PAUSED")
    terminal.type("r")
    terminal.wait_for(r"(?s)resumed.*hold +1\.00 V")
    terminal.type("q")
    terminal.wait_for(r"(?s)aborted: ended from the keyboard.*_asked_\w{8}")
    assert termios.tcgetattr(terminal._line) == before
    assert terminal.close() == 1, terminal.said[-2000:]
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert (folder / "protocol.yaml").read_text("utf-8") == TEXT
    outcome = json.loads((folder / "outcome.json").read_text("utf-8"))
    assert outcome["safe"].startswith("bias 0 V, output off, beam blanked")


def test_the_schema_goes_to_the_output_or_into_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == protocol_schema()
    path = tmp_path / "protocol.schema.json"
    assert main(["schema", "--out", str(path)]) == 0
    assert json.loads(path.read_text("utf-8")) == protocol_schema()
    assert main(["schema", "--out", str(tmp_path)]) == 2
    assert "give a file that can be written" in capsys.readouterr().err


def test_a_reader_that_goes_does_not_end_the_run(asked: str, tmp_path: Path) -> None:
    Path(asked).write_text(TEXT.replace("30 s", "1 s"), "utf-8")
    command = [sys.executable, "-m", "stmtem_control.cli", "run", asked, "--yes", "--speed", "4"]
    with subprocess.Popen(
        [*command, "--size", "256", "--out", str(tmp_path / "runs")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"protocol asked")
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    (outcome,) = tmp_path.glob("runs/*/outcome.json")
    assert json.loads(outcome.read_text("utf-8"))["status"] == "success"
