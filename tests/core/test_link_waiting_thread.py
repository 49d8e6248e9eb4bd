"""A thread that waits for its job does it itself, where nothing speaks against it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from stmtem_control import link as link_module
from stmtem_control.errors import ProtocolError, TransportError, TransportTimeout
from stmtem_control.job_queue import NORMAL, SAFE, DroppedError, Job, JobQueue
from stmtem_control.link import Link
from stmtem_control.transport import BufferedTransport, Transport

W = 5.0  # wall seconds that a test waits at most
WORKER = "link thing"


class Wire(BufferedTransport):
    """A wire to an instrument that answers when the test lets it."""

    def __init__(self) -> None:
        super().__init__("wire")
        self.written: list[bytes] = []
        self.asked = threading.Event()
        self.told = threading.Event()
        self.answer = threading.Event()
        self.closed = False

    def _send(self, data: bytes) -> None:
        self.written.append(data)
        (self.asked if b"?" in data else self.told).set()

    def _receive(self, seconds: float) -> bytes:
        if not self.asked.is_set() or not self.answer.wait(seconds):
            return b""
        self.asked.clear()
        return b"yes\n"

    def _close(self) -> None:
        self.closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def link(wire: Wire) -> Iterator[Link]:
    with Link(lambda: wire, name="thing") as made:
        made.open(W)
        yield made


def who(_: Transport) -> str:
    """Tell which thread does it: a job."""
    return threading.current_thread().name


def question(transport: Transport) -> bytes:
    """Ask: a job that waits for an answer."""
    transport.ask(b"well?\n")
    return transport.read_until(b"\n", time.monotonic() + W)


def here() -> str:
    return threading.current_thread().name


def test_the_first_job_opens_the_connection_and_is_the_workers(wire: Wire) -> None:
    with Link(lambda: wire, name="thing") as link:
        assert link.call(who, timeout=W) == WORKER
        assert link.call(who, timeout=W) == here()


def test_a_job_that_is_waited_for_needs_no_worker(link: Link) -> None:
    assert link.call(who) == here()
    future = link.submit(who)
    assert future.result(W) in {here(), WORKER}  # whoever came first


def test_what_makes_safe_is_the_workers(link: Link) -> None:
    assert link.call(who, SAFE, W) == WORKER
    assert link.submit(who, SAFE).result(W) == WORKER


def test_who_cannot_wait_leaves_it_to_the_worker(link: Link) -> None:
    assert link.call(who, timeout=0.9 * link_module.PATIENT_S) == WORKER


def test_what_is_followed_is_the_workers(link: Link) -> None:
    busy, go = threading.Event(), threading.Event()

    def wait(_: Transport) -> None:
        busy.set()
        assert go.wait(W)

    link.submit(wait, SAFE)
    assert busy.wait(W)
    followed = link.submit(who)
    ends: list[str] = []
    followed.add_done_callback(lambda _: ends.append(here()))
    go.set()
    assert followed.result(W) == WORKER
    link.call(who, SAFE, W)
    assert ends == [WORKER]


def test_after_a_doubt_it_is_the_workers(link: Link) -> None:
    def doubt(_: Transport) -> None:
        raise ProtocolError("garbage")

    with pytest.raises(ProtocolError, match="garbage"):
        link.call(doubt, timeout=W)
    calls: list[str] = []
    link.resync = lambda _: calls.append(here())
    assert link.call(who, timeout=W) == WORKER
    assert calls == [WORKER]
    assert link.call(who, timeout=W) == here()


def test_a_broken_link_refuses_it(link: Link) -> None:
    def lose(_: Transport) -> None:
        raise TransportError("it is gone")

    with pytest.raises(TransportError, match="it is gone"):
        link.call(lose, timeout=W)
    with pytest.raises(TransportError, match="it is gone"):
        link.call(who, timeout=W)


def test_a_stop_speaks_beside_its_wait_and_drops_it(link: Link, wire: Wire) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: link.submit(question, topic="bias").result(W))
        assert wire.asked.wait(W)
        stop = link.submit(
            question, SAFE, drops=("bias",), blind=lambda transport: transport.write(b"off\n")
        )
        assert wire.told.wait(W)
        with pytest.raises(DroppedError, match="thing: a command was cut short, a stop came first"):
            waiting.result(W)
        wire.answer.set()
        assert stop.result(W) == b"yes\n"
    assert wire.written == [b"well?\n", b"off\n", b"well?\n"]


def test_it_is_given_up_when_who_does_it_waited_long_enough(
    link: Link, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PATIENT_S", 0.0)
    with pytest.raises(
        TransportTimeout, match=r"thing: a look did not end within 0\.01 s; no answer from wire"
    ):
        link.call(question, timeout=0.01, name="a look")
    assert wire.written == [b"well?\n"]


@pytest.mark.parametrize("how", ["call", "result"])
def test_a_person_may_interrupt_it(link: Link, how: str) -> None:
    def interrupted(_: Transport) -> None:
        raise KeyboardInterrupt

    calls: list[str] = []
    link.resync = lambda _: calls.append("resync")
    if how == "call":
        with pytest.raises(KeyboardInterrupt):
            link.call(interrupted, timeout=W)
    else:
        with pytest.raises((KeyboardInterrupt, DroppedError)):
            link.submit(interrupted).result(W)
    assert link.call(who, timeout=W) == WORKER
    assert calls == ["resync"]


def test_the_worker_survives_what_no_job_should_raise(link: Link) -> None:
    def leave(_: Transport) -> None:
        raise SystemExit(3)

    with pytest.raises(DroppedError, match="thing: leaving was interrupted"):
        link.call(leave, SAFE, W, name="leaving")
    assert link.call(who, SAFE, W) == WORKER


def test_closing_waits_for_who_does_a_job(link: Link, wire: Wire) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(link.call, question)
        assert wire.asked.wait(W)
        link.close()
        assert wire.closed
        with pytest.raises(TransportError, match="the link is closed"):
            waiting.result(W)


def test_never_two_at_a_time(link: Link) -> None:
    inside, most, done = 0, 0, 0
    names: set[str] = set()

    def job(_: Transport) -> None:
        nonlocal inside, most, done
        inside += 1
        most = max(most, inside)
        names.add(here())
        for _step in range(200):
            pass
        inside -= 1
        done += 1

    def work(number: int) -> None:
        for turn in range(100):
            match (number + turn) % 4:
                case 0:
                    link.call(job)
                case 1:
                    link.submit(job).result(W)
                case 2:
                    link.submit(job, SAFE)
                case _:
                    link.submit(job, delay_s=1e-6)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    link.call(lambda _: None, 9, W)  # behind all others
    assert (most, done) == (1, 400)
    assert WORKER in names


def test_a_line_that_was_not_given_back_is_taken_back() -> None:
    """As when Ctrl-C comes between the end of a job and the next line of its thread."""
    queue = JobQueue()
    first, second = (_job("first"), _job("second"))
    assert queue.put_and_claim(first)
    queue.put(second)
    assert queue.next(0.0) is None  # the line is held
    first.future.set_result(None)
    assert queue.next(0.0) is None
    assert queue.next(0.0) is second


def test_only_the_next_job_can_be_claimed() -> None:
    queue = JobQueue()
    first, second, stop = (_job("first"), _job("second"), _job("stop", SAFE))
    queue.put(first)
    queue.put(second)
    assert not queue.claim(second)
    assert queue.claim(first)
    assert not queue.put_and_claim(stop)
    queue.put(stop)
    assert queue.leave(first.future)
    assert not queue.leave(first.future)
    assert not queue.claim(second)
    assert queue.next(0.0) is stop


def _job(name: str, priority: int = NORMAL) -> Job:
    return Job(name, who, priority, "", (), None, lambda name: (f"thing: {name}", ""))
