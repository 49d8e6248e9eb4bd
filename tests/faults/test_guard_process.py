"""The session dies or hangs, and its guard makes the station safe; the bench itself is asked."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.simulators import Bench

PROGRAM = Path(__file__).with_name("guarded_session.py")
W = 15.0
# Where nothing hangs, a busy computer must not look like a hang; where something does, it may be
# held up for less than that.
NEVER = {"heartbeat_s": 0.02, "hang_s": 60.0}
HANGS = {"hang_s": 0.8}
# The limit of the project is 0.2 s on a free machine, which benchmarks/guard_process.py measures;
# here many tests share it.
KILLED_S = 2.0

pytestmark = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="the end of a process can be waited for on Linux only"
)


@pytest.fixture
def watched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Provide the bench, with ``off``: an event for the voltage to have gone from the specimen."""
    off = threading.Event()
    drive = bench.specimen.drive

    def watching(volts: float | None, compliance_A: float) -> None:
        drive(volts, compliance_A)
        if volts is None:
            off.set()

    monkeypatch.setattr(bench.specimen, "drive", watching)
    monkeypatch.setattr(bench, "off", off, raising=False)
    return bench


class Running:
    """A session in a process of its own."""

    def __init__(self, bench: Bench, root: Path, what: str, **safe: Any) -> None:
        self.bench: Any = bench
        self.root = root
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(PROGRAM),
                json.dumps(bench.addresses.as_dict()),
                str(root),
                what,
                json.dumps(NEVER | safe),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.process.kill()  # it would hold its bench's addresses, which the next one may have
            pytest.fail(line + str(self.process.communicate()[1]))
        self.guard = int(line)
        self._guard_fd = os.pidfd_open(self.guard)

    def signal(self, number: signal.Signals) -> None:
        """Send the session a signal; from now on the bench is waited for."""
        self.bench.off.clear()
        self.process.send_signal(number)

    def wait_until_off(self, seconds: float) -> None:
        """Wait for the bench to be unbiased."""
        assert self.bench.off.wait(seconds), "the sample is still biased"

    def wait_for_guard(self) -> None:
        """Wait until the guard has ended."""
        assert select.select([self._guard_fd], [], [], W)[0], "the guard did not end"

    def end(self) -> tuple[str, str]:
        """Let the session end, and return what it printed."""
        return self.process.communicate("\n", timeout=W)

    def close(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()
        self.wait_for_guard()
        os.close(self._guard_fd)


Start = Callable[..., Running]


@pytest.fixture
def start(watched: Bench, tmp_path: Path) -> Iterator[Start]:
    """Start a session that does something, on the bench of this process."""
    with contextlib.ExitStack() as opened:

        def run(what: str, **safe: Any) -> Running:
            running = Running(watched, tmp_path, what, **safe)
            opened.callback(running.close)
            return running

        yield run


def log_of(running: Running) -> str:
    path = running.root / "stmtem.log"
    return path.read_text("utf-8") if path.exists() else ""


def test_killed(start: Start, watched: Bench) -> None:
    running = start("on")
    assert watched.source.output_on
    running.signal(signal.SIGKILL)
    running.wait_until_off(KILLED_S)
    running.wait_for_guard()
    assert_safe(watched)
    _, told = running.process.communicate(timeout=W)
    assert told.startswith("stmtem guard: the session (process ")
    assert "has died: bias 0 V, output off, beam blanked, probe stopped" in told
    assert len(told.splitlines()) == 1
    assert "has died" in log_of(running)


def test_killed_while_a_child_still_holds_its_socket(start: Start, watched: Bench) -> None:
    """A fork inherits everything: the end of the socket alone would not tell."""
    running = start("forked")
    running.signal(signal.SIGKILL)
    running.wait_until_off(KILLED_S)
    running.wait_for_guard()
    assert_safe(watched)


def test_stopped_and_let_go_again(start: Start, watched: Bench) -> None:
    """Like Ctrl-Z, a debugger, or a computer that is too busy."""
    running = start("on", **HANGS)
    running.signal(signal.SIGSTOP)
    running.wait_until_off(W)
    running.signal(signal.SIGCONT)
    _, told = running.end()
    assert running.process.returncode == 0
    assert_safe(watched)
    assert "the session gave no sign of life for 0." in told
    # The session holds its port; if it is let go before the guard comes to that, it does not.
    assert "probe at rest when the session was last heard" in told or "probe stopped" in told
    running.wait_for_guard()
    assert "has died" not in log_of(running)


def test_native_code_that_keeps_the_interpreter_lock(start: Start, watched: Bench) -> None:
    running = start("lock", **HANGS)
    running.bench.off.clear()
    running.wait_until_off(W)
    assert running.process.poll() is None


def test_a_runengine_that_is_blocked_is_the_sessions_own_business(
    start: Start, watched: Bench
) -> None:
    """Its links live, so it makes safe itself, and the guard process has nothing to do."""
    running = start("subscriber", **HANGS)
    running.wait_until_off(W)
    out, _ = running.end()
    assert "the RunEngine gave no sign of life for 0." in out
    assert_safe(watched)
    assert "guard" not in log_of(running)


def test_a_moving_probe_on_a_port_of_a_hung_session_is_worth_its_end(
    start: Start, watched: Bench
) -> None:
    running = start("moving", **HANGS)
    assert watched.probe.moving
    running.signal(signal.SIGSTOP)
    assert running.process.wait(W) == -signal.SIGKILL
    running.wait_for_guard()
    assert_safe(watched)
    _, told = running.process.communicate(timeout=W)
    assert "it holds what must be made safe: it is ended (SIGKILL)" in told


def test_a_hung_session_is_not_ended_where_the_station_forbids_it(
    start: Start, watched: Bench
) -> None:
    running = start("moving", end_hung_session=False, **HANGS)
    running.signal(signal.SIGSTOP)
    running.wait_until_off(W)
    os.kill(running.process.pid, signal.SIGCONT)
    running.end()
    assert running.process.returncode == 0
    assert_safe(watched)


def test_nothing_is_done_while_nothing_acts_on_the_sample(start: Start, watched: Bench) -> None:
    """A person computes at the prompt for longer than a hang, and closes the session."""
    running = start("idle", **HANGS)
    out, told = running.end()
    running.wait_for_guard()
    assert (running.process.returncode, out, told) == (0, "", "")
    assert log_of(running) == ""


def test_a_session_that_ends_well_is_no_alarm(start: Start, watched: Bench) -> None:
    running = start("on")
    assert watched.source.output_on
    _, told = running.end()
    running.wait_for_guard()
    assert (running.process.returncode, told) == (0, "")
    assert log_of(running) == ""
    assert_safe(watched)


def test_a_script_that_fails_and_never_closes_its_session(start: Start, watched: Bench) -> None:
    """The interpreter's end closes it, and the guard has no reason to act."""
    running = start("forgotten")
    assert watched.source.output_on
    _, told = running.end()
    running.wait_for_guard()
    assert running.process.returncode == 1
    assert told.splitlines()[-1] == "RuntimeError: a script without a with block"
    assert log_of(running) == ""
    assert_safe(watched)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_at_the_terminal_do_not_end_the_guard(
    start: Start, watched: Bench, number: signal.Signals
) -> None:
    running = start("on")
    assert os.getpgid(running.guard) != os.getpgid(running.process.pid)
    os.kill(running.guard, number)
    running.signal(signal.SIGKILL)
    running.wait_until_off(KILLED_S)


def test_a_guard_that_dies_is_followed_by_another(start: Start, watched: Bench) -> None:
    running = start("on")
    os.kill(running.guard, signal.SIGKILL)
    running.wait_for_guard()
    deadline, pause = time.monotonic() + W, threading.Event()
    children: list[int] = []
    folder = Path(f"/proc/{running.process.pid}/task")
    while time.monotonic() < deadline and not any(is_guard(child) for child in children):
        children = [
            int(child)
            for task in folder.iterdir()
            for child in (task / "children").read_text().split()
        ]
        pause.wait(0.02)
    assert "another one is started" in log_of(running) or children
    running.signal(signal.SIGKILL)
    running.wait_until_off(W)


def is_guard(pid: int) -> bool:
    try:
        return b"guard_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
