"""Session, recorder, or both are killed at any moment; more often with ``make kills N=100``."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from event_model import DocumentNames, schema_validators

from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import read_table
from stmtem_control.recover import recover
from stmtem_control.run_folder import summarise
from stmtem_control.simulators import Bench

from .killed_run import SIZE, SPEED

PROGRAM = Path(__file__).with_name("killed_run.py")
KINDS = ("session", "recorder", "both")
KILLS = int(os.environ.get("KILLS", "3"))
LATEST_S = 0.5  # wall seconds after the first declared frames in which the kill comes
END_S = 20.0  # wall seconds in which what is left ends by itself

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="the end of a process can be waited for on Linux only"
)


@pytest.fixture
def contact() -> Iterator[Bench]:
    """Provide a bench with the probe in contact, which outlives the program."""
    with Bench(speed=SPEED, size=SIZE, seed=1) as bench:
        bench.specimen.step(2, 421.0)
        yield bench


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def is_recorder(pid: int) -> bool:
    """Tell whether a process is the recorder; there is a guard process, too."""
    return b"recorder_process" in Path(f"/proc/{pid}/cmdline").read_bytes()


def wait_for_end(pidfd: int) -> None:
    """Wait until a process has ended."""
    assert select.select([pidfd], [], [], END_S)[0], "a process did not end by itself"


def killed(bench: Bench, root: Path, kind: str, delay_s: float) -> "subprocess.Popen[str]":
    """Run the program, kill a part of it, and return when all of it has ended."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), json.dumps(bench.addresses.as_dict()), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as opened:
        opened.enter_context(process)
        opened.callback(process.kill)
        assert process.stdout is not None
        assert process.stderr is not None
        if not process.stdout.readline():
            pytest.fail(process.stderr.read())
        (recorder,) = (child for child in children(process.pid) if is_recorder(child))
        pidfd = os.pidfd_open(recorder)
        opened.callback(os.close, pidfd)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay_s)
        for part, pid in (("recorder", recorder), ("session", process.pid)):
            if kind in (part, "both"):
                os.kill(pid, signal.SIGKILL)
        wait_for_end(pidfd)
        _, words = process.communicate(timeout=END_S)
    if kind == "recorder":  # the session has to say so, and to make the sample safe
        assert process.returncode == 1, words
        assert "recorder" in words
        assert bench.safe() == dict.fromkeys(bench.safe(), True)
    return process


def declared_frames(folder: Path) -> int:
    """Return how many frames the documents declare, in lines that are whole."""
    text = (folder / "documents.jsonl").read_text()
    lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return max((doc["indices"]["stop"] for name, doc in lines if name == "stream_datum"), default=0)


def check_whole(folder: Path) -> int:
    """Check that pages, rows and documents agree and are valid; return how many frames."""
    documents: list[tuple[str, Any]] = [
        json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()
    ]
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(doc)
    streams = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    data = [doc for name, doc in documents if name == "stream_datum"]
    pages_of_rows = [d for name, d in documents if name == "event_page"]
    rows = [d for d in pages_of_rows if streams[d["descriptor"]] == "frames"]
    table = read_table(folder)
    n = len(table)
    assert [i for d in data for i in range(d["indices"]["start"], d["indices"]["stop"])] == list(
        range(n)
    )
    assert [number for page in rows for number in page["seq_num"]] == list(range(1, n + 1))
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["num_events"]["frames"] == n
    pages = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                assert page.asarray().shape == (SIZE, SIZE)
                pages += 1
    assert pages == n
    times = [row["run_time_s"] for row in table]
    assert times == sorted(times)
    assert [row["frame"] for row in table] == list(range(n))
    with FrameFiles(folder) as files:
        for number, row in enumerate(files.rows()):
            assert row.pop("settled") is True
            assert row["frame"] == number
    return n


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_any_moment(contact: Bench, tmp_path: Path, number: int) -> None:
    kind = KINDS[number % len(KINDS)]
    killed(contact, tmp_path, kind, random.Random(number).uniform(0.0, LATEST_S))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    declared = declared_frames(folder)
    assert declared > 0
    with FrameFiles(folder) as frames:  # readable as it is
        found = len(frames)
        assert found >= declared
        for frame in frames:
            assert frame.shape == (SIZE, SIZE)
    report = recover(folder)
    assert report.exit_code == 0, report
    assert report.cut <= 1
    assert check_whole(folder) == report.frames >= found
    assert summarise(folder).status == "fail"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert recover(folder).mended == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
