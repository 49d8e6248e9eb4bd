"""Ctrl-C at any moment is taken, at once; more often with ``CTRL_C=300``."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg
from bluesky.utils import RunEngineInterrupted

from stmtem_control.during_task import PollingDuringTask
from stmtem_control.end_signals import INSISTENCE, signals_held
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

from .terminal import Terminal

TIMES = int(os.environ.get("CTRL_C", "15"))
LATEST_S = 0.05  # after the call in which a press comes
TAKEN_S = 0.4  # until the output is off; Bluesky's own handler needs half a second and a checkpoint
W = 20.0


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def holding(session: Session, seconds: float = 30.0) -> Any:
    """A plan without a single checkpoint."""
    yield from bps.mv(session.bias, 2.0, session.beam, "open")
    yield from bps.sleep(seconds)


def test_at_any_moment_of_a_run(session: Session, bench: Bench) -> None:
    off = threading.Event()
    drive = bench.specimen.drive

    def watching(volts: float | None, compliance_A: float) -> None:
        drive(volts, compliance_A)
        if volts is None:
            off.set()

    bench.specimen.drive = watching  # type: ignore[method-assign]
    chance = random.Random(1)
    took: list[float] = []
    for _ in range(TIMES):
        off.clear()
        pressed: list[float] = []

        def press_now(pressed: list[float] = pressed) -> None:
            pressed.append(time.monotonic())
            press()

        timer = threading.Timer(chance.uniform(0.0, LATEST_S), press_now)
        timer.start()
        try:
            outcome = session.run(holding(session))
        except KeyboardInterrupt:  # it came before the run had begun
            pass
        else:
            took.append(time.monotonic() - pressed[0])
            assert (outcome.status, outcome.reason) == ("aborted", "Ctrl-C")
        finally:
            # Pressed after a run that ended for another reason, it would end the tests.
            timer.cancel()
            with contextlib.suppress(KeyboardInterrupt):
                timer.join()
        assert_safe(bench)
    assert len(took) > TIMES // 3
    assert sorted(took)[len(took) // 2] < TAKEN_S


def test_at_the_prompt_it_pauses_at_once_and_the_plan_can_go_on(
    session: Session, bench: Bench
) -> None:
    """There is no checkpoint to wait for; what was set comes back."""

    def plan() -> Any:
        yield Msg("checkpoint")
        yield from bps.mv(session.bias, 2.0)
        press()
        yield from bps.sleep(0.2)
        assert bench.source.level == 2.0

    with pytest.raises(RunEngineInterrupted):
        session.RE(plan())
    assert session.RE.state == "paused"
    assert bench.safe()["output off"]
    session.RE.resume()
    assert_safe(bench)


def test_before_the_plan_has_begun(session: Session, bench: Bench) -> None:
    """Bluesky's handler forgets such a press."""
    session.RE.context_managers.append(pressing)
    with pytest.raises(RunEngineInterrupted):
        session.RE(holding(session))
    assert session.RE.state == "paused"
    session.RE.abort()
    assert_safe(bench)


@contextlib.contextmanager
def pressing(_engine: Any) -> Iterator[None]:
    """Press when the RunEngine has entered the handler, but not yet made the plan's task."""
    press()
    yield


def test_a_runengine_that_is_blocked_does_not_keep_the_bias_on(
    session: Session, bench: Bench
) -> None:
    off = threading.Event()

    def block(name: str, _doc: Any) -> None:
        press()
        for _ in range(500):
            if all(bench.safe().values()):
                off.set()
                return
            off.wait(0.01)

    def plan() -> Any:
        yield from bps.mv(session.bias, 2.0, session.beam, "open")
        yield from bps.open_run()
        yield from bps.sleep(W)

    session.RE.subscribe(block, "start")
    outcome = session.run(plan())
    assert off.is_set()
    assert outcome.reason == "Ctrl-C"


def test_many_presses_give_the_prompt_back(
    session: Session, monkeypatch: pytest.MonkeyPatch, helpers: list[threading.Thread]
) -> None:
    from stmtem_control import ending

    monkeypatch.setattr(ending, "BOUNCE_S", 0.0)
    pause = threading.Event()

    def insist() -> None:
        with session.ending.interrupts(session.RE):
            for _ in range(ending.PRESSES + 1):
                signal.raise_signal(signal.SIGINT)
                pause.wait(0.01)

    with pytest.raises(KeyboardInterrupt):
        insist()


def test_presses_while_it_closes_are_held() -> None:
    reached: list[int] = []

    def close(presses: int) -> None:
        with signals_held():
            for _ in range(presses):
                signal.raise_signal(signal.SIGINT)
            reached.append(presses)

    with pytest.raises(KeyboardInterrupt):
        close(1)
    with pytest.raises(KeyboardInterrupt):
        close(INSISTENCE)
    assert reached == [1]  # who insists is not kept


def test_waiting_in_pieces_takes_a_signal_that_woke_another_thread() -> None:
    """As on Windows, where nothing wakes a wait: the handler has to run all the same."""
    taken, ended = threading.Event(), threading.Event()

    def handler(_number: int, _frame: object) -> None:
        taken.set()

    old = signal.signal(signal.SIGINT, handler)
    thread = threading.Thread(target=elsewhere, args=(taken, ended))
    try:
        thread.start()
        PollingDuringTask(lambda: True).block(ended)
    finally:
        signal.signal(signal.SIGINT, old)
        thread.join()
    assert taken.is_set()


def elsewhere(taken: threading.Event, ended: threading.Event) -> None:
    """Have the signal delivered to this thread, not to the main one."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    taken.wait(W)
    ended.set()


# ---- a person at a terminal --------------------------------------------------------------------


def test_leaving_ipython_while_paused(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.wait_for(r"In \[1\]")
    plan = "RE(deposit(bias, camera, beam, bias_V=-5, duration_s=60))"
    terminal.type(f"{plan}\r")
    terminal.wait_for("deposit 1|deposit  1|phase|readings")
    terminal.type("\x03")
    terminal.wait_for("paused: bias 0 V, output off, beam blanked")
    terminal.wait_for(r"In \[2\]")
    terminal.type("exit\r")
    assert terminal.close() == 0, terminal.said[-2000:]
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    last = (run / "documents.jsonl").read_text().splitlines()[-1]
    assert '"stop"' in last[:10]  # the plan's own cleaning up has run
    assert '"abort"' in last
