"""Documents on their way to another machine: Bluesky's own proxy and receiver at the other end."""

import asyncio
import contextlib
import json
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.callbacks.zmq import RemoteDispatcher

from stmtem_control import publish
from stmtem_control.config import Station, parse_station
from stmtem_control.document_line import plain
from stmtem_control.errors import ConfigError
from stmtem_control.plans import deposit
from stmtem_control.publish import DocumentPublisher
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.session import Session
from stmtem_control.simulators import Bench
from stmtem_control.watch_documents import read_plain

W = 20.0
START = {"uid": "1", "time": 0.0, "plan_name": "a plan"}
STOP = {"uid": "3", "run_start": "1", "time": 9.0, "exit_status": "success"}
EVENT = {"uid": "2", "descriptor": "4", "time": 1.0, "data": {"x": 1.0}}
QUICK_S = 1e-3  # on average for a document; it takes some microseconds, but the machine is busy


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def wait_for(true: Callable[[], Any]) -> None:
    deadline, never = time.monotonic() + W, threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        never.wait(0.02)


class OtherMachine:
    """A proxy, in a process of its own, and a receiver that listens at it."""

    def __init__(self, way_in: str, way_out: str) -> None:
        self.documents: list[tuple[str, dict[str, Any]]] = []
        self.way_out = way_out
        program = Path(sys.executable).with_name("bluesky-0MQ-proxy")
        self.proxy = subprocess.Popen(
            [program, "--in-address", way_in, "--out-address", way_out],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.proxy.stdout is not None
        while "Ctrl+C" not in self.proxy.stdout.readline():
            assert self.proxy.poll() is None
        self._dispatcher = RemoteDispatcher(way_out)  # as it comes: it reads pickles
        self._dispatcher.subscribe(lambda name, doc: self.documents.append((name, doc)))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._dispatcher.start()

    def names(self) -> list[str]:
        return [name for name, _ in self.documents]

    def listens_to(self, publisher: Any) -> None:
        """Wait until documents arrive, and forget them."""

        def arrived() -> bool:
            publisher("start", START)
            return bool(self.documents)

        wait_for(arrived)
        publisher("stop", STOP)
        wait_for(lambda: "stop" in self.names())
        self.documents.clear()

    def close(self) -> None:
        self.proxy.send_signal(signal.SIGCONT)
        self._dispatcher.loop.call_soon_threadsafe(lambda: self._dispatcher._task.cancel())
        self._thread.join(W)
        self.proxy.kill()
        self.proxy.communicate()


Connect = Callable[[], OtherMachine]


@pytest.fixture
def way_in() -> str:
    return free_address()


@pytest.fixture
def connect(way_in: str) -> Iterator[Connect]:
    """Start the proxy and a receiver."""
    with contextlib.ExitStack() as opened:

        def start() -> OtherMachine:
            made = OtherMachine(way_in, free_address())
            opened.callback(made.close)
            return made

        yield start


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def publisher(way_in: str, told: list[str]) -> Iterator[DocumentPublisher]:
    with contextlib.closing(DocumentPublisher(way_in, tell=told.append)) as made:
        yield made


def publishing(station: Station, address: str) -> Station:
    raw = station.model_dump(mode="json", exclude_none=True)
    raw["publish"] = {"address": address}
    return parse_station(raw, "a test")


def test_a_run_arrives_at_another_program(
    station: Station, bench: Bench, connect: Connect, way_in: str
) -> None:
    there = connect()
    watch = subprocess.Popen(
        [sys.executable, "-m", "stmtem_control.cli", "watch", there.way_out],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.stdout is not None
    try:
        addresses = bench.addresses.as_dict()
        with Session(publishing(station, way_in), addresses=addresses) as session:
            assert session.publisher is not None
            there.listens_to(session.publisher)
            assert "a plan" in watch.stdout.readline()  # it listens, too
            outcome = session.run(
                deposit(session.bias, session.camera, session.beam, duration_s=0.5)
            )
        assert outcome.folder is not None
        lines = (outcome.folder / "documents.jsonl").read_text().splitlines()
        wait_for(lambda: len(there.documents) >= len(lines))
        assert [json.dumps(item) for item in there.documents] == lines
        told = ""
        while "success" not in told.partition("deposit")[2]:
            told += watch.stdout.readline()
        assert " V" in told.partition("deposit")[2]
        assert " frames" in told
        watch.send_signal(signal.SIGINT)
        assert watch.wait(W) == 0
    finally:
        watch.kill()
        watch.communicate()


def test_without_a_proxy_a_plan_goes_on_and_it_is_told(
    station: Station, bench: Bench, way_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "MISSED_S", 0.0)
    said: list[str] = []
    with Session(publishing(station, way_in), addresses=bench.addresses.as_dict()) as session:
        session.dose.tell = said.append
        plan = deposit(session.bias, session.camera, session.beam, duration_s=0.2)
        assert session.run(plan).status == "success"
        assert session.publisher is not None
        assert session.publisher.sent == 0
        wait_for(lambda: said)
    assert said == [
        f"publishing to {way_in}: no proxy answers there (bluesky-0MQ-proxy); documents wait; "
        "the run folder has all"
    ]
    assert_safe(bench)


def test_what_does_not_fit_is_left_out_counted_and_told(
    publisher: DocumentPublisher, told: list[str], connect: Connect
) -> None:
    begun = time.monotonic()
    publisher("start", START)
    for _ in range(1500):
        publisher("event", EVENT)
    publisher("stop", STOP)
    assert time.monotonic() - begun < 1502 * QUICK_S
    assert publisher.dropped == 501
    assert "501 documents of this run were left out" in told[-1]
    assert len(told) == 2
    connect()  # late, and what waits is handed on
    wait_for(lambda: publisher.waiting == 0)
    assert publisher.sent == 1001


def test_runs_that_nobody_came_to_see_are_forgotten(publisher: DocumentPublisher) -> None:
    for run in range(3):
        publisher("start", {**START, "uid": str(run)})
        for _ in range(1200):
            publisher("event", EVENT)
        publisher("stop", STOP)
    assert publisher.waiting == 1001
    assert publisher.dropped == 3 * 1202 - 1001


def test_a_proxy_that_hangs_costs_no_time(publisher: DocumentPublisher, connect: Connect) -> None:
    there = connect()
    there.listens_to(publisher)
    there.proxy.send_signal(signal.SIGSTOP)
    large = {**EVENT, "data": {"x": "x" * 20_000}}
    publisher("start", START)
    begun, count = time.monotonic(), 0
    while not publisher.dropped:
        publisher("event", large)
        count += 1
        assert time.monotonic() - begun < W
    publisher("stop", STOP)
    assert time.monotonic() - begun < count * QUICK_S
    there.proxy.send_signal(signal.SIGCONT)
    wait_for(lambda: there.names()[-1:] == ["stop"])
    assert there.names().count("event") == count - publisher.dropped


def test_it_ends_soon_whatever_the_proxy_does(
    publisher: DocumentPublisher, connect: Connect
) -> None:
    there = connect()
    there.listens_to(publisher)
    there.proxy.send_signal(signal.SIGSTOP)
    for _ in range(2000):
        publisher("event", {**EVENT, "data": {"x": "x" * 20_000}})
    begun = time.monotonic()
    publisher.close()
    assert time.monotonic() - begun < 3.0 * publish.CLOSE_S
    publisher("event", EVENT)  # too late, and harmless


def test_documents_are_plain_python_on_the_wire() -> None:
    doc = {"a": np.float64(1.5), "b": np.arange(3), "c": (1, "x", None, True), "d": Path("/p")}
    assert plain(doc) == {"a": 1.5, "b": [0, 1, 2], "c": [1, "x", None, True], "d": "/p"}
    assert read_plain(pickle.dumps(plain(doc))) == plain(doc)
    assert np.isnan(plain({"x": np.nan})["x"])


def test_a_watcher_runs_no_code_that_it_is_sent() -> None:
    with pytest.raises(pickle.UnpicklingError, match="print is not read"):
        read_plain(pickle.dumps(print))


@pytest.mark.parametrize("address", ["here", "", "host:", "host:port", "tcp://*:5577"])
def test_an_address_that_is_none_is_refused(station: Station, address: str) -> None:
    with pytest.raises(ConfigError, match=r"\[publish\] address"):
        publishing(station, address)


def test_without_pyzmq_it_is_said_what_to_install(
    station: Station, bench: Bench, way_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pip install"):
        Session(publishing(station, way_in), addresses=bench.addresses.as_dict())
    assert_safe(bench)
