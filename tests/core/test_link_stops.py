"""A stop gets through: over a broken link, ahead of a lost answer, beside a job that waits."""

import threading
from collections.abc import Callable, Iterator

import pytest

from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    ProtocolError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.link import NORMAL, SAFE, DroppedError, Link
from stmtem_control.transport import BufferedTransport, Transport

W = 5.0  # wall seconds that a test waits at most


class Wire(BufferedTransport):
    """A wire to an instrument that answers a question when the test lets it."""

    def __init__(self, number: int = 1) -> None:
        super().__init__(f"wire {number}")
        self.written: list[bytes] = []
        self.written_one = threading.Event()
        self.answer = threading.Event()
        self.closed = False
        self.owed = 0

    def _send(self, data: bytes) -> None:
        self.written.append(data)
        self.owed += data.count(b"?")
        self.written_one.set()

    def _receive(self, seconds: float) -> bytes:
        if not self.owed or not self.answer.wait(seconds):
            return b""
        self.owed -= 1
        return b"yes\n"

    def _close(self) -> None:
        self.closed = True


class Place:
    """Where wires are opened: each time another one, or what the test says."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.refuse = ""

    def __call__(self) -> Transport:
        """Open a wire."""
        if self.refuse:
            raise TransportError(self.refuse)
        self.wires.append(Wire(len(self.wires) + 1))
        return self.wires[-1]


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def link(place: Place) -> Iterator[Link]:
    with Link(place, name="thing") as made:
        made.open(W)
        yield made


def raising(error: BaseException) -> Callable[[Transport], None]:
    """Return a job that raises `error`."""

    def job(_: Transport) -> None:
        raise error

    return job


def break_off(link: Link) -> None:
    with pytest.raises(TransportError, match="pulled out"):
        link.call(raising(TransportError("pulled out")), timeout=W)
    assert not link.alive


def stop(link: Link, events: list[str], *, drops: tuple[str, ...] = ()) -> str:
    """Send a stop, and return which wire it was run on."""

    def blind(transport: Transport) -> None:
        events.append(f"blind on {transport.address}")

    def run(transport: Transport) -> str:
        events.append(f"stop on {transport.address}")
        return transport.address

    return link.submit(run, SAFE, drops=drops, blind=blind).result(W)


# A broken link


def test_a_stop_opens_a_broken_link_again_once_it_is_known_who_is_there(
    link: Link, place: Place
) -> None:
    events: list[str] = []
    link.identify = lambda transport: events.append(f"who on {transport.address}")
    link.resync = lambda _: events.append("resync")
    break_off(link)
    assert stop(link, events) == "wire 2"
    assert events == ["who on wire 2", "stop on wire 2"]
    assert stop(link, events) == "wire 2"
    assert events[2:] == ["stop on wire 2"]
    assert place.wires[0].closed


def test_what_is_no_stop_waits_for_somebody_who_opens_the_link(link: Link, place: Place) -> None:
    events: list[str] = []
    break_off(link)
    stop(link, events)
    assert not link.alive
    with pytest.raises(TransportError, match="pulled out"):
        link.call(lambda _: None, timeout=W)
    link.reopen(W)
    assert link.call(lambda transport: transport.address, timeout=W) == "wire 2"
    assert len(place.wires) == 2


def test_a_stop_that_finds_the_connection_dead_is_run_on_a_new_one(
    link: Link, place: Place
) -> None:
    """It is the first to notice: nothing was known to be broken."""

    def run(transport: Transport) -> str:
        if transport.address == "wire 1":
            raise TransportError("reset by peer")
        return transport.address

    assert link.submit(run, SAFE).result(W) == "wire 2"
    assert not link.alive
    with pytest.raises(TransportError, match="reset by peer"):
        link.call(lambda _: None, timeout=W)
    assert len(place.wires) == 2


def test_a_stop_that_waits_survives_the_job_that_breaks_the_link(link: Link) -> None:
    begun, go = threading.Event(), threading.Event()

    def breaking(_: Transport) -> None:
        begun.set()
        assert go.wait(W)
        raise TransportError("pulled out")

    broken = link.submit(breaking)
    assert begun.wait(W)
    waiting = link.submit(lambda _: None)
    stopped = link.submit(lambda transport: transport.address, SAFE)
    go.set()
    for future in (broken, waiting):
        with pytest.raises(TransportError, match="pulled out"):
            future.result(W)
    assert stopped.result(W) == "wire 2"


def test_a_stop_tries_one_new_connection_and_no_more(link: Link, place: Place) -> None:
    tries: list[str] = []

    def run(transport: Transport) -> None:
        tries.append(transport.address)
        raise TransportError("reset by peer")

    with pytest.raises(TransportError, match="reset by peer"):
        link.submit(run, SAFE).result(W)
    assert tries == ["wire 1", "wire 2"]
    place.refuse = "nobody listens"
    with pytest.raises(TransportError, match="nobody listens"):
        link.submit(run, SAFE).result(W)
    assert tries == ["wire 1", "wire 2"]


def test_nothing_is_said_to_another_instrument(link: Link, place: Place) -> None:
    events: list[str] = []
    break_off(link)
    link.identify = raising(IdentityError("somebody else"))
    for _ in range(2):
        with pytest.raises(IdentityError, match="somebody else"):
            stop(link, events)
    assert events == []
    assert place.wires[1].closed


def test_one_that_does_not_say_who_it_is_is_told_all_the_same(link: Link, place: Place) -> None:
    """It may be busy.  The connection stays open, so that the words arrive; the next is new."""
    events: list[str] = []
    break_off(link)
    link.identify = raising(TransportTimeout("busy"))
    with pytest.raises(TransportTimeout, match="busy"):
        stop(link, events)
    assert events == ["blind on wire 2"]
    assert not place.wires[1].closed
    link.identify = None
    assert stop(link, events) == "wire 3"
    assert place.wires[1].closed


def test_a_closed_link_is_not_opened_again(link: Link, place: Place) -> None:
    break_off(link)
    link.close()
    assert link.closed
    with pytest.raises(TransportError, match="link is closed"):
        stop(link, [])
    assert len(place.wires) == 1


# An instrument that was switched off meanwhile


class Memory:
    """A driver's part: what is set and whether it is still there."""

    def __init__(self, link: Link) -> None:
        self.lost = self.mends = False
        self.events: list[str] = []
        link.restore = self.restore

    def restore(self, _: Transport) -> None:
        """Put right what was lost, or refuse."""
        self.events.append("restore")
        if self.lost and not self.mends:
            raise InstrumentError("thing: the compliance was lost; connect it again")
        self.lost = False


@pytest.mark.parametrize("mends", [True, False])
def test_settings_are_put_back_before_anything_but_a_stop(link: Link, mends: bool) -> None:
    memory = Memory(link)
    memory.lost, memory.mends = True, mends
    break_off(link)
    stop(link, memory.events)
    assert memory.events == ["stop on wire 2"]
    if mends:
        link.reopen(W)
        assert link.call(lambda _: memory.lost, timeout=W) is False
        assert memory.events[1:] == ["restore"]
        return
    for _ in range(2):
        with pytest.raises(TransportError, match="compliance was lost"):
            link.reopen(W)
        assert not link.alive
    link.open(W, restore=False)
    assert memory.events[1:] == ["restore", "restore"]
    assert link.call(lambda _: "set up anew", timeout=W) == "set up anew"
    assert link.alive


@pytest.mark.parametrize("mends", [True, False])
def test_an_instrument_may_lose_its_settings_while_the_connection_stays(
    link: Link, mends: bool
) -> None:
    """A serial cable does not tell that the power was gone."""
    memory = Memory(link)
    link.resync = lambda _: memory.events.append("resync")
    memory.lost, memory.mends = True, mends
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    if mends:
        assert link.call(lambda _: 1, timeout=W) == 1
    else:
        with pytest.raises(TransportError, match="compliance was lost"):
            link.call(lambda _: 1, timeout=W)
        assert not link.alive
        with pytest.raises(TransportError, match="compliance was lost"):
            link.call(lambda _: 1, timeout=W)
    assert memory.events == ["resync", "restore"]


def test_who_sets_up_everything_next_need_not_look_at_what_was(link: Link) -> None:
    memory = Memory(link)
    memory.lost = True
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    link.open(W, restore=False)
    assert link.call(lambda _: 1, timeout=W) == 1
    assert memory.events == []


# An answer that is late


def test_a_stop_is_said_before_the_link_gets_back_in_step(link: Link) -> None:
    events: list[str] = []
    link.resync = lambda _: events.append("resync")
    stop(link, events)
    assert events == ["stop on wire 1"]  # in step: nothing is said twice
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    stop(link, events)
    assert events[1:] == ["blind on wire 1", "resync", "stop on wire 1"]


def test_a_stop_is_said_to_an_instrument_that_stays_busy(link: Link) -> None:
    events: list[str] = []
    link.resync = raising(TransportTimeout("still busy"))
    with pytest.raises(TransportTimeout, match="late"):
        link.call(raising(TransportTimeout("late")), timeout=W)
    with pytest.raises(TransportTimeout, match="still busy"):
        stop(link, events)
    assert events == ["blind on wire 1"]


class Asking:
    """A job that has asked and waits for its answer, which the test gives."""

    def __init__(self, link: Link, wire: Wire, topic: str) -> None:
        self.wire = wire
        self.future = link.submit(self._run, topic=topic, name="asking")
        assert wire.written_one.wait(W)

    def _run(self, transport: Transport) -> bytes:
        transport.write(b"what?\n")
        return transport.read_until(b"\n", self.wire._written_at + W)


@pytest.mark.parametrize("pointless", [True, False])
def test_a_stop_is_said_while_another_job_waits_for_its_answer(
    link: Link, place: Place, pointless: bool
) -> None:
    """What the stop makes pointless gives up at once; the rest waits on, out of step."""
    wire, events, said = place.wires[0], list[str](), threading.Event()
    link.resync = lambda _: events.append("resync")
    asking = Asking(link, wire, "bias" if pointless else "beam")

    def blind(transport: Transport) -> None:
        transport.write(b"off\n")
        said.set()

    stopped = link.submit(lambda _: events.append("stop"), SAFE, drops=("bias",), blind=blind)
    assert said.wait(W)
    assert wire.written == [b"what?\n", b"off\n"]
    if pointless:
        with pytest.raises(DroppedError, match="asking was cut short, a stop came first"):
            asking.future.result(W)
    else:
        assert not asking.future.done()
        wire.answer.set()
        assert asking.future.result(W) == b"yes\n"
    stopped.result(W)
    assert events == ["resync", "stop"]
    assert wire.written == [b"what?\n", b"off\n"]


def test_an_answer_that_comes_in_time_is_not_disturbed(link: Link, place: Place) -> None:
    wire, events = place.wires[0], list[str]()
    asking = Asking(link, wire, "bias")
    wire.answer.set()
    stop(link, events, drops=("bias",))
    assert asking.future.result(W) == b"yes\n"
    assert events == ["stop on wire 1"]


def test_a_stop_is_said_while_the_link_gets_back_in_step(link: Link, place: Place) -> None:
    """What it says may be answered: the link then gets in step once more."""
    wire, events = place.wires[0], list[str]()
    asked, said = threading.Event(), threading.Event()

    def resync(transport: Transport) -> None:
        events.append("resync")
        asked.set()
        transport.write(b"who?\n")
        transport.read_until(b"\n", wire._written_at + W)

    def blind(transport: Transport) -> None:
        events.append("blind")
        said.set()

    link.resync = resync
    with pytest.raises(TransportTimeout):
        link.call(raising(TransportTimeout("late")), timeout=W)
    other = link.submit(lambda _: events.append("other"))
    assert asked.wait(W)
    stopped = link.submit(lambda _: events.append("stop"), SAFE, blind=blind)
    assert said.wait(W)
    wire.answer.set()
    for future in (other, stopped):
        future.result(W)
    assert events == ["resync", "blind", "resync", "other", "stop"]


# A wire that lets the stop itself down


def test_a_stop_whose_own_answer_is_lost_says_all_of_itself(link: Link, place: Place) -> None:
    """The answer to its first command does not come; the others are sent all the same."""
    wire, said = place.wires[0], threading.Event()

    def blind(transport: Transport) -> None:
        transport.write(b"zero\noff\n")
        said.set()

    def run(transport: Transport) -> None:
        transport.write(b"zero?\n")
        transport.read_until(b"\n", wire._written_at + W)
        transport.write(b"off?\n")

    stopped = link.submit(run, SAFE, blind=blind)
    assert said.wait(W)
    assert wire.written == [b"zero?\n", b"zero\noff\n"]
    wire.answer.set()
    stopped.result(W)
    assert wire.written[2:] == [b"off?\n"]


def test_a_stop_is_run_again_when_its_answer_is_damaged(link: Link) -> None:
    """Once; in step again before that, and what it has to say is said first."""
    events: list[str] = []
    link.resync = lambda _: events.append("resync")

    def run(_: Transport) -> None:
        events.append("stop")
        raise ProtocolError("noise")

    with pytest.raises(ProtocolError, match="noise"):
        link.submit(run, SAFE, blind=lambda _: events.append("blind")).result(W)
    assert events == ["stop", "blind", "resync", "stop"]


@pytest.mark.parametrize("priority", [NORMAL, SAFE])
def test_closing_a_link_ends_what_waits_but_a_stop(link: Link, place: Place, priority: int) -> None:
    wire, asked = place.wires[0], threading.Event()

    def run(transport: Transport) -> bytes:
        transport.write(b"what?\n")
        asked.set()
        return transport.read_until(b"\n", wire._written_at + W)

    waiting = link.submit(run, priority)
    assert asked.wait(W)
    closer = threading.Thread(target=link.close)
    closer.start()
    if priority == SAFE:
        wire.answer.set()
        assert waiting.result(W) == b"yes\n"
    else:
        with pytest.raises(TransportError, match="link is closed"):
            waiting.result(W)
    closer.join(W)
    assert wire.closed
