"""The demo as a person runs it: what is printed, what is on disk, and what ends it."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile

from stmtem_control.cli import main
from stmtem_control.run_folder import summarise
from stmtem_control.simulators import Bench

SPEED = "5"
FAST = ["--speed", SPEED, "--size", "256"]
STMTEM = [sys.executable, "-m", "stmtem_control.cli"]


def demo(bench: Bench, folder: Path, *more: str) -> "subprocess.Popen[str]":
    """Start the demo on a bench whose probe is in contact: approaches have tests of their own."""
    bench.specimen.step(2, 41.0)
    attach = folder / "bench.json"
    attach.write_text(json.dumps(bench.addresses.as_dict()))
    return subprocess.Popen(
        [
            *(*STMTEM, "demo", *FAST, "--no-approach", "--attach", str(attach)),
            *("--out", str(folder / "runs"), *more),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
    )


def wait_for(process: "subprocess.Popen[str]", word: str) -> list[str]:
    """Read the program's lines until one has `word` in it."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return lines
    pytest.fail(f"{word!r} never came: {''.join(lines)}{process.stderr and process.stderr.read()}")


def only_run(folder: Path) -> Path:
    (run,) = (path for path in (folder / "runs").iterdir() if path.is_dir())
    return run


def check_left_behind(folder: Path, bench: Bench) -> Path:
    """All safe on the bench itself, and on disk pages = rows, readable."""
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    run = only_run(folder)
    pages = 0
    for path in sorted(run.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            assert file.pages[-1].asarray().shape == (256, 256)
            pages += len(file.pages)
    table = list(csv.DictReader((run / "frames.csv").read_text().splitlines()))
    assert pages == len(table) > 0
    return run


def test_the_demo_runs_and_ends_with_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [*STMTEM, "demo", *FAST, "--out", str(tmp_path / "runs"), "--cycles", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.is_dir()
    for word in ("deposit 1", "strip 1", "frames", "picture", "bias 0 V, output off"):
        assert word in done.stdout
    summary = summarise(folder)
    assert summary.status == "success"
    assert summary.frames > 30
    assert summary.readings > 5
    png = (folder / "contact_sheet.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    assert len(png) > 100_000


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_it_safely(bench: Bench, tmp_path: Path, presses: int) -> None:
    process = demo(bench, tmp_path, "--cycles", "50")
    wait_for(process, "deposit 1")
    process.send_signal(signal.SIGINT)
    if presses == 2:
        # The RunEngine says what the first did; the second must not cut short the cleaning up.
        wait_for(process, "Aborting")
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    run = check_left_behind(tmp_path, bench)
    assert out.splitlines()[-1] == str(run)
    assert err.strip() == "stmtem demo: aborted: Ctrl-C"
    assert summarise(run).status == "abort"


def test_sigterm_ends_it_safely(bench: Bench, tmp_path: Path) -> None:
    process = demo(bench, tmp_path, "--cycles", "50")
    wait_for(process, "strip 1")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    run = check_left_behind(tmp_path, bench)
    assert err.strip() == "stmtem demo: aborted: SIGTERM"
    assert summarise(run).status == "abort"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_many_signals_are_one(bench: Bench, tmp_path: Path, number: signal.Signals) -> None:
    process = demo(bench, tmp_path, "--cycles", "50")
    wait_for(process, "deposit 1")
    gone = threading.Event()
    for _ in range(4):
        process.send_signal(number)
        gone.wait(0.03)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    run = check_left_behind(tmp_path, bench)
    assert err.strip() == f"stmtem demo: aborted: {number.name}"
    found = summarise(run)
    assert (found.status, found.reason) == ("abort", number.name)


SCRIPT = """
import json, sys
from pathlib import Path
from stmtem_control.config import load_station
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.session import Session

station = load_station("sim").with_bench(speed=5.0, size=256).with_data("runs")
with Session(station, addresses=json.loads(Path("bench.json").read_text())) as s:
    s.RE.subscribe(lambda name, doc: print(s.camera.phase.get(), flush=True), "event")
    plan = deposition_stripping_cycles(
        s.bias, s.camera, s.beam, probe=s.probe, approach=False, cycles=50
    )
    outcome = s.run(plan)
print(outcome.status, outcome.reason)
sys.exit(outcome.exit_code)
"""


def test_a_script_of_ones_own_ends_safely_too(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(bench.addresses.as_dict()))
    bench.specimen.step(2, 41.0)  # in contact already
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    wait_for(process, "deposit")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert out.splitlines()[-1] == "aborted SIGTERM"
    check_left_behind(tmp_path, bench)


def test_a_camera_that_dies_ends_it_safely(bench: Bench, tmp_path: Path) -> None:
    process = demo(bench, tmp_path, "--cycles", "50")
    wait_for(process, "deposit 1")
    bench.camera_data.close()
    bench.camera_control.close()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    check_left_behind(tmp_path, bench)
    # The plan's own collect, or the interlock on the link: whoever noticed first.
    assert err.startswith("stmtem demo: failed: ")
    assert "camera" in err
    assert len(err.splitlines()) == 1


def test_a_source_that_dies_is_told_as_not_safe(bench: Bench, tmp_path: Path) -> None:
    """Nothing can be set any more: the person must be told to act."""
    process = demo(bench, tmp_path, "--cycles", "50")
    wait_for(process, "deposit 1")
    bench.source_tcp.close()
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1, err
    assert "NOT SAFE: bias" in out
    assert "stmtem demo: failed: " in err
    assert len(err.splitlines()) == 1
    run = only_run(tmp_path)
    assert summarise(run).status in ("fail", "abort")  # whoever noticed first


Refused = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Run a command that must be refused, and return its one line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert not [path for path in tmp_path.glob("runs/*") if path.is_dir()]
        return str(line)

    return run


def station_file(folder: Path, old: str, new: str) -> str:
    import stmtem_control

    source = Path(stmtem_control.__file__).parent / "stations" / "sim.toml"
    text = source.read_text("utf-8")
    assert old in text
    path = folder / "lab.toml"
    path.write_text(text.replace(old, new))
    return str(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("max_bias_V", "max_bais_V", "did you mean 'max_bias_V'?"),
        ('driver = "merlin"', 'driver = "merlyn"', "[camera] driver"),
        ('model = "6430"\nmax', 'model = "2400"\nmax', "expected a Keithley 2400"),
        ('port = "bench"', 'port = "/dev/nothing"', "/dev/nothing"),
        ('host = "bench"', 'host = "127.0.0.1"\ncontrol_port = 1', "127.0.0.1:1"),
        ('data = "runs"', 'data = "/proc/runs"', "/proc/runs"),
        ("max_bias_V = 10.0", "max_bias_V = 4.0", "4"),
    ],
)
def test_bad_input_is_one_line_and_moves_nothing(
    tmp_path: Path, refused: Refused, old: str, new: str, words: str
) -> None:
    path = station_file(tmp_path, old, new)
    assert words in refused("demo", "--station", path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cycles", "0"], "cycles is 0"),
        (["--deposit-V=-99"], "99"),
        (["--speed", "-1"], "[bench] speed"),
        (["--size", "300"], "[bench] size"),
        (["--preset", "fig9"], "fig9"),
        (["--station", "nowhere.toml"], "nowhere.toml"),
        (["--attach", "nothing.json"], "nothing.json"),
    ],
)
def test_bad_options_are_one_line(refused: Refused, arguments: list[str], words: str) -> None:
    assert words in refused("demo", *arguments)
