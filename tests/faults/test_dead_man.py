"""Every process of ours is killed, or stopped, in the middle of a bias: the bench is asked."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stmtem_control.simulators import Bench

PROGRAM = Path(__file__).with_name("held_bias.py")
DEAD_MAN_S = 0.6
MOMENTS = int(os.environ.get("KILLS", "2"))  # for each way
END_S = 20.0  # wall seconds in which the program starts, and ends

pytestmark = [
    pytest.mark.bench(speed=1.0, gap_nm=420.0),
    pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups to kill"),
]


@contextlib.contextmanager
def holding(bench: Bench, root: Path, how: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the program, in a process group of its own, and go on when the bias is on."""
    process = subprocess.Popen(
        [
            sys.executable, str(PROGRAM), json.dumps(bench.addresses.as_dict()), str(root),
            str(DEAD_MAN_S), how,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            if process.stdout.readline() != "held\n":
                pytest.fail(process.stderr.read())
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def off_after(bench: Bench) -> float:
    """Return after how long (s of the bench) the output is off."""
    begun, pause = bench.clock.now(), threading.Event()
    until = time.monotonic() + END_S
    while bench.source.output_on and time.monotonic() < until:
        pause.wait(1e-3)
    return bench.clock.now() - begun


@pytest.mark.parametrize("how", ["read", "hold"])
@pytest.mark.parametrize("seed", range(MOMENTS))
def test_all_of_us_are_killed(bench: Bench, tmp_path: Path, how: str, seed: int) -> None:
    with holding(bench, tmp_path, how) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(random.Random(seed).uniform(0.0, DEAD_MAN_S))
        assert bench.source.output_on
        os.killpg(process.pid, signal.SIGKILL)
        assert off_after(bench) < DEAD_MAN_S
        assert bench.safe()["output off"]


@pytest.mark.parametrize("how", ["read", "hold"])
def test_all_of_us_are_stopped_and_go_on(bench: Bench, tmp_path: Path, how: str) -> None:
    """The output is off in time, stays off, and the one who waits is told why."""
    on_again: list[float] = []
    with holding(bench, tmp_path, how) as process:
        os.killpg(process.pid, signal.SIGSTOP)
        assert off_after(bench) < DEAD_MAN_S
        switch = bench.source._core.output.switch

        def watched(on: bool) -> None:
            if on:
                on_again.append(bench.clock.now())
            switch(on)

        bench.source._core.output.switch = watched  # type: ignore[method-assign]
        os.killpg(process.pid, signal.SIGCONT)
        words, _ = process.communicate(timeout=END_S)
    assert process.returncode == 3
    assert "the source has let it go by itself" in words
    assert len(words.splitlines()) == 1
    assert on_again == []
    assert bench.safe()["output off"]
