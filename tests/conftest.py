"""Benches, stations and sessions for the tests, and the rule that nothing is left behind."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stmtem_control.config import Station, load_station
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

SPEED = 5.0
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
def bench() -> Iterator[Bench]:
    """A bench in this process, faster than life, with small images and the probe near the fibre."""
    with Bench(speed=SPEED, size=256, seed=1) as made:
        made.specimen.step(2, 380.0)
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """The simulated station at the bench's speed, with its data in a temporary folder."""
    found = load_station("sim").with_bench(speed=SPEED, size=256).with_data(tmp_path / "runs")
    # The guard is a process, which most tests can do without.
    return found.with_safe(guard=False)


@pytest.fixture
def open_session(station: Station, bench: Bench) -> Iterator[Callable[[], Session]]:
    """Open the station on the bench of this process, so that the bench can be asked too."""
    opened: list[Session] = []

    def make() -> Session:
        session = Session(station, addresses=bench.addresses.as_dict())
        opened.append(session)
        return session

    yield make
    for session in opened:
        session.close()


@pytest.fixture
def session(open_session: Callable[[], Session]) -> Session:
    """A session on the bench of this process."""
    return open_session()


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
