"""What must hold after every fault: asked of the bench, of the files, and of what was told."""

import contextlib
import faulthandler
import itertools
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from stmtem_control.errors import RecordingError
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.recording.frame_table import TABLE, read_table

from .fault_endings import CAUSES, Ended
from .fault_lab import Lab

__all__ = [
    "MENDED_S",
    "HangError",
    "check_bench",
    "check_cause",
    "check_files",
    "check_threads",
    "check_told",
    "watchdog",
]

#: Wall seconds in which a test that hangs is given up: of a computer that runs it.
HANG_S: Final = 45.0
HANG_STEP_S: Final = 0.01  # such a wait counts as no longer, however late it ends
#: Threads of the bench, which has one for each client that attaches; of links; and of this test.
BELONGS: Final = ("sim-tcp-", "sim-accept-", "link ", "watchdog")
#: Wall seconds that threads may take to end after a run.
THREADS_S: Final = 2.0
#: Wall seconds in which the frame that was under way ends.
IDLE_S: Final = 1.0
#: Wall seconds in which a busy computer's bench has done what it was told when a fault was over.
MENDED_S: Final = 1.0
#: Words that a person should never read.
NOISE: Final = ("Traceback", "Status(obj=", "object at 0x", "FailedStatus", "<Future")


class HangError(BaseException):
    """It did not come back; where all threads were has been printed."""


@contextlib.contextmanager
def watchdog(seconds: float = HANG_S) -> Iterator[None]:
    """Give up the block, in the main thread, when it lasts longer; print where all threads are.

    The seconds are counted in short waits, so that they go on more slowly where the computer gives
    this process next to nothing: a run that is starved does not hang.

    Raises
    ------
    HangError
        It did.
    """

    def give_up(_number: int, _frame: object) -> None:
        raise HangError(f"did not come back within {seconds:g} s")

    def wait() -> None:
        for _ in range(math.ceil(seconds / HANG_STEP_S)):
            if over.wait(HANG_STEP_S):
                break
        else:
            faulthandler.dump_traceback()
            os.kill(os.getpid(), signal.SIGUSR2)

    over = threading.Event()
    before = signal.signal(signal.SIGUSR2, give_up)
    thread = threading.Thread(target=wait, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR2, before)


def check_bench(
    lab: Lab,
    limit_s: float,
    *,
    beyond: tuple[str, ...] = (),
    deaf_since: float | None = None,
    broken: bool = False,
    told: bool = True,
    grace_s: float = 0.0,
) -> list[str]:
    """Return what of the bench is not safe, or was so too long after the fault or the end.

    Parameters
    ----------
    lab : Lab
    limit_s : float
        Wall seconds.
    beyond : tuple of str
        Parts of the safe state that nobody can bring about, because of the fault.
    deaf_since : float, optional
        The bench's time in s at which the source began to hear nothing.
    broken : bool
        Whether a fault may keep all orders from the instruments: then the source ends its bias by
        itself, in its own time, and the camera may go on.
    told : bool
        Whether the session has said that it is not safe, or was not asked.
    grace_s : float
        Wall seconds in which the bench may still do what it was told: where nobody has waited for
        it to say so, as after a long silence.
    """
    waiting = threading.Event()  # never set: only to wait on

    def wrong() -> list[str]:
        state = lab.bench.safe()
        return [
            part
            for part, ok in state.items()
            # The source lets go by itself: whoever cannot be reached keeps its level.
            if not ok and (part not in beyond or part == "output off")
        ]

    problems = []
    if broken and (left := wrong()):
        if not told:
            problems.append(f"the session says that all is safe, but not {', '.join(left)}")
        end, late = lab.bench.clock.now() + lab.dead_man_s, time.monotonic() + HANG_S
        while wrong() and lab.bench.clock.now() < end and time.monotonic() < late:
            waiting.wait(0.002)
    late = time.monotonic() + grace_s
    while wrong() and time.monotonic() < late:
        waiting.wait(0.002)
    problems += [f"unsafe: not {part}" for part in wrong()]
    deadline = time.monotonic() + IDLE_S
    while not broken and lab.bench.camera.busy and time.monotonic() < deadline:
        waiting.wait(0.002)
    if lab.bench.camera.busy and not broken:
        problems.append("the camera still takes frames")
    if (late_s := lab.watch.unsafe_s(beyond)) > limit_s:
        problems.append(f"unsafe for {late_s:.2f} s, {limit_s:g} s are allowed")
    # What the source must do by itself when nobody can reach it, by its own clock.
    if deaf_since is not None and "output off" in lab.watch.unsafe:
        on_s = lab.watch.unsafe["output off"][1] - deaf_since
        if on_s > lab.dead_man_s:
            problems.append(f"output on for {on_s:.2f} s of the source's time")
    return problems


def check_told(ended: Ended, names: tuple[str, ...] = (), *, broken: bool = False) -> list[str]:
    """Return what is wrong with the words that the person was told.

    Parameters
    ----------
    ended : Ended
    names : tuple of str
        One of these must be there, if the run failed.
    broken : bool
        Whether an instrument may be out of reach, so that "NOT SAFE" is the truth.
    """
    told, problems = ended.told, list(ended.failures)
    if ended.status in ("failed", "aborted", "raised") and not told:
        problems.append("nobody was told why")
    problems += [f"told with {word!r}: {told[:120]}" for word in NOISE if word in told]
    if "\n" in told:
        problems.append(f"told in several lines: {told[:120]!r}")
    if ended.status == "failed" and names and not any(n in told for n in (*names, "interlock")):
        problems.append(f"told without naming {' or '.join(names)}: {told[:120]}")
    if not broken and ended.outcome is not None and "NOT SAFE" in ended.outcome.safe:
        problems.append(f"the session says {ended.outcome.safe[:160]}")
    return problems


def check_cause(ended: Ended, ending: str) -> list[str]:
    """Return what is wrong with how a plan ended in which nothing was broken.

    Parameters
    ----------
    ended : Ended
    ending : str
        How it was ended, see :data:`.fault_endings.ENDINGS`.
    """
    if not ended.told:  # it ended well, or by a person at the prompt
        return []
    cause = CAUSES.get(ending)
    if cause is None or cause not in ended.told:
        return [f"{ended.status} without a cause: {ended.told[:120]}"]
    return []


def check_files(folder: Path | None) -> list[str]:
    """Return where pages, rows and indices of a run disagree; nothing was run without a folder."""
    if folder is None:
        return []
    try:
        return _compare(folder)
    except (RecordingError, OSError, ValueError, KeyError, TypeError) as error:
        return [f"unreadable: {type(error).__name__}: {error}"]


def _compare(folder: Path) -> list[str]:
    problems = []
    declared, last = 0, ""
    for line in (folder / "documents.jsonl").read_text("utf-8").splitlines():
        last, doc = json.loads(line)
        if last == "stream_datum":
            start, number = doc["indices"]["start"], doc["seq_nums"]["start"]
            if start != declared:
                problems.append(f"indices go on at {start} after {declared}")
            declared = doc["indices"]["stop"]
            if number != start + 1:
                problems.append(f"frames {start} to {declared - 1} are numbered from {number} on")
    if last != "stop":
        problems.append(f"the last document is {last!r}")
    table: list[dict[str, Any]] = read_table(folder) if (folder / TABLE).exists() else []
    with FrameFiles(folder) as frames:
        pages = len(frames)
        inside = list(frames.rows())
    if len(table) != pages:
        problems.append(f"{len(table)} rows for {pages} pages")
    if declared != pages:
        problems.append(f"{declared} frames declared, {pages} pages")
    for number, (row, page) in enumerate(zip(table, inside, strict=False)):
        if not (row["frame"] == page["frame"] == number and row["sequence"] == page["sequence"]):
            problems.append(f"row {number} is not its page's")
            break
    for before, after in itertools.pairwise(table):
        # The same frame may come twice; then it has its time twice.
        same = after["sequence"] == before["sequence"]
        if after["run_time_s"] < before["run_time_s"] + (0.0 if same else 1e-9):
            problems.append(f"time runs back to {after['run_time_s']} s at row {after['frame']}")
            break
    return problems


def check_threads(before: set[threading.Thread]) -> list[str]:
    """Return the threads that are left over, after a moment in which they may end."""
    deadline = time.monotonic() + THREADS_S
    while True:
        left = [
            thread
            for thread in threading.enumerate()
            if thread not in before and not thread.name.startswith(BELONGS)
        ]
        if not left:
            return []
        if time.monotonic() > deadline:
            return [f"threads left: {', '.join(sorted(thread.name for thread in left))}"]
        for thread in left:
            with contextlib.suppress(RuntimeError):  # it is listed, and not started yet
                thread.join(0.02)
