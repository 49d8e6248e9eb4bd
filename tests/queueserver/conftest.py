"""A redis server, an RE Manager and a bench for the tests of the queue."""

import contextlib
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import load_station, parse_station
from stmtem_control.simulators import Bench

WITHOUT = "bluesky-queueserver is not installed: pip install 'stmtem-control[test,queue]'"
INSTALLED = find_spec("bluesky_queueserver_api") is not None
REDIS = shutil.which("redis-server")
W = 20.0
SPEED = 10.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here not in item.path.parents:
            continue
        item.add_marker(
            pytest.mark.filterwarnings("ignore::DeprecationWarning:bluesky_queueserver")
        )
        if not INSTALLED:
            item.add_marker(pytest.mark.skip(reason=WITHOUT))
        elif REDIS is None and "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="there is no redis-server here"))


def free_port() -> int:
    """Return a port of this machine that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(true: Callable[[], Any], seconds: float = W) -> Any:
    """Wait until something is true, and return it."""
    deadline, never = time.monotonic() + seconds, threading.Event()
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come"
        never.wait(0.05)
    return found


class Lab:
    """A station with a queue, and a client of it.

    Attributes
    ----------
    bench : Bench
        In this process, so that it can be asked.
    client : REManagerAPI
    data : Path
        Where the runs go.
    """

    def __init__(self, folder: Path, bench: Bench, redis: int) -> None:
        from bluesky_queueserver_api.zmq import REManagerAPI

        self.bench = bench
        self.data = folder / "runs"
        self.bench_file = folder / "bench.json"
        self.bench_file.write_text(json.dumps(bench.addresses.as_dict()))
        self.station_file = folder / "lab.toml"
        described = load_station("sim").with_bench(speed=SPEED, size=256).with_data(self.data)
        raw = described.model_dump(mode="json", exclude_none=True)
        # No contact is made here; what flows does not matter.
        raw["interlocks"] |= {"open_circuit_s": "off", "contact_lost_s": "off"}
        self.station_file.write_text(parse_station(raw, "a test").to_toml())
        self.redis = f"127.0.0.1:{redis}"
        self._ports = free_port(), free_port()
        control, info = (f"tcp://127.0.0.1:{port}" for port in self._ports)
        self._log = open(folder / "manager.log", "wb")  # noqa: SIM115
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "stmtem_control.cli", "queue",
                "--station", str(self.station_file), "--attach", str(self.bench_file),
                "--redis", self.redis, "--control", control, "--info", info,
            ],
            stdout=self._log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        before = set(threading.enumerate())
        self.client = REManagerAPI(zmq_control_addr=control, zmq_info_addr=info)
        self._threads = set(threading.enumerate()) - before
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(self.client.RequestTimeoutError):
            return bool(self.client.status())
        return False

    def log(self) -> str:
        """Return what the manager has printed."""
        return Path(self._log.name).read_text(errors="replace")

    def open(self) -> None:
        """Open the environment, if it is not."""
        if not self.client.status()["worker_environment_exists"]:
            self.client.environment_open()
            self.idle()
        assert self.client.status()["worker_environment_exists"], self.log()

    def add(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Add a plan to the queue."""
        from bluesky_queueserver_api import BPlan

        self.client.item_add(BPlan(name, *args, **kwargs))

    def start(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Add a plan and start the queue."""
        self.add(name, *args, **kwargs)
        self.client.queue_start()

    def idle(self) -> None:
        """Wait until the manager has nothing to do."""
        self.client.wait_for_idle(timeout=W)

    def until(self, state: str) -> None:
        """Wait for a state of the manager."""
        wait_for(lambda: self.client.status(reload=True)["manager_state"] == state)

    def call(self, name: str, *args: Any) -> Any:
        """Call a function in the worker, beside whatever runs; return what it returns."""
        from bluesky_queueserver_api import BFunc

        task = self.client.function_execute(BFunc(name, *args), run_in_background=True)["task_uid"]
        self.client.wait_for_completed_task(task, timeout=W)
        result = self.client.task_result(task)["result"]
        assert result["success"], result
        return result["return_value"]

    def last(self) -> dict[str, Any]:
        """Return how the last plan ended."""
        found: dict[str, Any] = self.client.history_get()["items"][-1]["result"]
        return found

    def outcome(self) -> dict[str, Any]:
        """Return what the newest run folder says of the end."""
        newest = max(path for path in self.data.iterdir() if (path / "documents.jsonl").exists())
        found: dict[str, Any] = json.loads((newest / "outcome.json").read_text())
        return found

    def worker(self) -> int:
        """Return the process id of the worker."""
        return int(self.call("station_state")["process"])

    def close(self) -> None:
        """End the manager and everything that it has started."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it does not close its 0MQ contexts
            self.client.close()
            for thread in self._threads:
                thread.join(W)
            del self.client
            gc.collect()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(W)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A redis server with a port of its own, which keeps nothing."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    assert REDIS is not None
    server = subprocess.Popen(
        [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                return True
            return False

        wait_for(answers)
        yield port
    finally:
        server.terminate()
        server.wait(W)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, redis: int) -> Iterator[Lab]:
    """A lab whose RE Manager runs, for the tests of a file."""
    with Bench(speed=SPEED, size=256, seed=1) as bench:
        bench.clock.call_at(0.0, lambda: None)  # its thread is there before the first test
        made = Lab(tmp_path_factory.mktemp("lab"), bench, redis)
        try:
            yield made
        finally:
            made.close()
