"""The rule that nothing is left behind; benches and sessions are the pytest plugin's."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LOOK_S = 0.002  # wall seconds between two looks whether the computer stands still
STAY = {"AnyIO worker thread"}  # threads of libraries that keep a pool for the whole process


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    """Fail a test that leaves a thread behind; unclosed sockets are errors as warnings are."""
    before = set(threading.enumerate())
    names = {thread.name for thread in before}
    yield
    deadline = time.monotonic() + 2.0
    left: list[threading.Thread] = []
    while time.monotonic() < deadline:
        left = [t for t in threading.enumerate() if t not in before and not _stays(t, names)]
        for thread in left:
            with contextlib.suppress(RuntimeError):  # it is listed, and not started yet
                thread.join(0.05)
        if not left:
            break
    assert not left, f"threads left running: {[t.name for t in left]}"


def _stays(thread: threading.Thread, names: set[str]) -> bool:
    """Tell whether a thread belongs to something that is meant to outlive the test."""
    # A client of a bench that several tests share: its thread may start a moment late.
    served = thread.name.replace("sim-tcp-", "sim-accept-")
    return thread.name in STAY or (served != thread.name and served in names)


@pytest.fixture
def stood_still_s() -> Iterator[Callable[[], float]]:
    """A function that gives the longest time, in wall s, in which the computer did nothing of this.

    For tests with a bench whose time goes on by itself: what a command took beyond its own time.
    """
    longest, end = 0.0, threading.Event()

    def look() -> None:
        nonlocal longest
        last = time.monotonic()
        while not end.wait(LOOK_S):
            now = time.monotonic()
            longest, last = max(longest, now - last - LOOK_S), now

    thread = threading.Thread(target=look, name="stood still", daemon=True)
    thread.start()
    yield lambda: longest
    end.set()
    thread.join()


@pytest.fixture
def unmount_later() -> Iterator[Callable[[Path], None]]:
    """A function that has a folder unmounted after the test, also if the test is killed."""
    watchers: list[subprocess.Popen[bytes]] = []

    def watch(folder: Path) -> None:
        watchers.append(
            subprocess.Popen(
                # Ends when its input does.
                ["sh", "-c", 'read -r _; exec umount -l "$1"', "sh", str(folder)],
                stdin=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    yield watch
    for watcher in watchers:
        watcher.communicate()


@pytest.fixture
def helpers() -> Iterator[list[threading.Thread]]:
    """Provide a list for the threads that a test starts; they are joined at its end."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(5.0)
