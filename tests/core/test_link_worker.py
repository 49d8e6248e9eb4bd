"""One worker for each link: order, priority, time-outs, breakage, end."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from stmtem_control.errors import IdentityError, ProtocolError, TransportError, TransportTimeout
from stmtem_control.link import LOOK, SAFE, DroppedError, Link
from stmtem_control.transport import Transport

W = 5.0  # wall seconds that a test waits at most


class Wire:
    """A transport on which nothing happens."""

    address = "nowhere"

    def __init__(self) -> None:
        self.closed = 0
        self.drained = 0

    def write(self, data: bytes) -> None:
        """Take anything."""

    def ask(self, data: bytes) -> None:
        """Take anything."""

    def read_until(self, terminator: bytes, deadline: float) -> bytes:
        """Answer with the terminator."""
        return terminator

    def read_exactly(self, n: int, deadline: float) -> bytes:
        """Answer with zeros."""
        return bytes(n)

    def drain(self, quiet_s: float = 0.0) -> bytes:
        """Count that it was asked."""
        self.drained += 1
        return b""

    def close(self) -> None:
        """Count that it was asked."""
        self.closed += 1


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def link(wire: Wire) -> Iterator[Link]:
    with Link(lambda: wire, name="thing") as made:
        yield made


class Gate:
    """A job that occupies the worker until it is let go."""

    def __init__(self, link: Link) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.future = link.submit(self._run)
        assert self.begun.wait(W)

    def _run(self, _: Transport) -> None:
        self.begun.set()
        assert self.go.wait(W)

    def open(self) -> None:
        """Let the worker go on."""
        self.go.set()
        self.future.result(W)


def raising(error: BaseException) -> Callable[[Transport], None]:
    """Return a job that raises `error`."""

    def job(_: Transport) -> None:
        raise error

    return job


def test_jobs_that_make_safe_run_in_one_thread(link: Link) -> None:
    names = {link.call(lambda _: threading.current_thread().name, SAFE, W) for _ in range(3)}
    assert names == {"link thing"}


def test_a_stop_comes_first_and_looking_last(link: Link) -> None:
    gate, order = Gate(link), list[str]()
    futures = [
        link.submit(lambda _: order.append("look"), LOOK),
        link.submit(lambda _: order.append("first")),
        link.submit(lambda _: order.append("second")),
        link.submit(lambda _: order.append("stop"), SAFE),
    ]
    gate.open()
    for future in futures:
        future.result(W)
    assert order == ["stop", "first", "second", "look"]


def test_a_stop_drops_what_it_makes_pointless(link: Link) -> None:
    gate, order = Gate(link), list[str]()
    level = link.submit(lambda _: order.append("level"), name="5 V", topic="bias")
    later = link.submit(lambda _: order.append("later"), topic="bias", delay_s=60.0)
    beam = link.submit(lambda _: order.append("beam"), topic="beam")
    stop = link.submit(lambda _: order.append("stop"), SAFE, drops=("bias",))
    with pytest.raises(DroppedError, match="thing: 5 V was dropped"):
        level.result(W)
    with pytest.raises(DroppedError):
        later.result(W)
    gate.open()
    stop.result(W)
    beam.result(W)
    assert order == ["stop", "beam"]


def test_a_delayed_job_lets_others_pass(link: Link) -> None:
    order: list[str] = []
    late = link.submit(lambda _: order.append("late"), delay_s=0.05)
    link.submit(lambda _: order.append("now")).result(W)
    late.result(W)
    assert order == ["now", "late"]


def test_the_error_of_a_job_is_its_own(link: Link) -> None:
    with pytest.raises(ZeroDivisionError):
        link.call(raising(ZeroDivisionError()), timeout=W)
    assert link.call(lambda _: 1, timeout=W) == 1
    assert link.alive


@pytest.mark.parametrize("error", [TransportTimeout("late"), ProtocolError("noise")])
def test_after_a_lost_answer_the_driver_resynchronises_once(link: Link, error: Exception) -> None:
    calls: list[str] = []
    link.resync = lambda _: calls.append("resync")
    with pytest.raises(type(error)):
        link.call(raising(error), timeout=W)
    assert calls == []
    for name in ("one", "two"):
        link.submit(lambda _, name=name: calls.append(name)).result(W)  # type: ignore[misc]
    assert calls == ["resync", "one", "two"]


def test_without_a_driver_what_is_late_is_drained(link: Link, wire: Wire) -> None:
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    link.call(lambda _: None, timeout=W)
    assert wire.drained == 1


def test_a_failed_resynchronisation_is_tried_again(link: Link) -> None:
    answers: Iterator[Exception | None] = iter([TransportTimeout("still late"), None])

    def resync(_: Transport) -> None:
        if (error := next(answers)) is not None:
            raise error

    link.resync = resync
    with pytest.raises(TransportTimeout, match="late"):
        link.call(raising(TransportTimeout("late")), timeout=W)
    with pytest.raises(TransportTimeout, match="still late"):
        link.call(lambda _: 1, timeout=W)
    assert link.call(lambda _: 1, timeout=W) == 1


def test_another_instrument_breaks_the_link(link: Link) -> None:
    def resync(_: Transport) -> None:
        raise IdentityError("somebody else")

    link.resync = resync
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    for _ in range(2):
        with pytest.raises(IdentityError, match="somebody else"):
            link.call(lambda _: None, timeout=W)


def test_a_broken_link_tells_everyone(link: Link, wire: Wire) -> None:
    gate = Gate(link)
    breaking = link.submit(raising(TransportError("pulled out")))
    waiting: list[Future[None]] = [
        link.submit(lambda _: None),
        link.submit(lambda _: None, delay_s=60.0),
    ]
    gate.open()
    for future in (breaking, *waiting, link.submit(lambda _: None), link.submit(print, LOOK)):
        with pytest.raises(TransportError, match="pulled out"):
            future.result(W)
    assert not link.alive
    assert wire.closed == 1


def test_a_link_that_cannot_be_opened() -> None:
    def refuse() -> Transport:
        raise TransportError("nobody at home")

    with Link(refuse, name="thing") as link, pytest.raises(TransportError, match="nobody"):
        link.open(W)


@pytest.mark.parametrize("again", ["open", "reopen"])
def test_a_broken_link_opens_again_and_the_driver_looks_who_is_there(
    wire: Wire, again: str
) -> None:
    opened: list[Wire] = []

    def open_wire() -> Transport:
        opened.append(wire)
        return wire

    checks: list[object] = []
    with Link(open_wire, name="thing") as link:
        link.resync = checks.append
        with pytest.raises(TransportError):
            link.call(raising(TransportError("pulled out")), timeout=W)
        getattr(link, again)(W)
        assert link.alive
        assert link.call(lambda _: 1, timeout=W) == 1
    assert len(opened) == 2
    assert checks == [wire]


def test_closing_fails_what_waits_and_ends_the_thread(wire: Wire) -> None:
    link = Link(lambda: wire, name="thing")
    gate = Gate(link)
    waiting = link.submit(lambda _: None)
    gate.go.set()
    link.close()
    link.close()
    # The waiting job may have run before the close came; it never hangs.
    error = waiting.exception(W)
    assert error is None or "closed" in str(error)
    with pytest.raises(TransportError, match="link is closed"):
        link.call(lambda _: None, timeout=W)
    with pytest.raises(TransportError, match="link is closed"):
        link.reopen(W)
    assert "link thing" not in {thread.name for thread in threading.enumerate()}
    assert wire.closed == 1


def test_a_call_that_takes_too_long_is_told(link: Link) -> None:
    gate = Gate(link)
    told = r"^thing: slow did not end within 0\.01 s; no answer from nowhere$"
    with pytest.raises(TransportTimeout, match=told):
        link.call(lambda _: None, timeout=0.01, name="slow")
    # So does everybody who waits for a Future, not only call().
    with pytest.raises(TransportTimeout, match=told):
        link.submit(lambda _: None, name="slow").result(0.01)
    gate.open()


def test_an_opening_that_takes_too_long_is_told(wire: Wire) -> None:
    go = threading.Event()

    def open_wire() -> Transport:
        assert go.wait(W)
        return wire

    with Link(open_wire, name="thing", address="10.0.0.7:5025") as link:
        with pytest.raises(TransportTimeout, match=r"opening did .*; no answer from 10\.0\.0\.7"):
            link.open(0.01)
        go.set()


def test_the_time_out_of_a_job_is_its_own(link: Link) -> None:
    with pytest.raises(TransportTimeout, match=r"^thing: late$"):
        link.submit(raising(TransportTimeout("late"))).result(W)
