"""Whatever happens on the wire, an answer that is accepted belongs to its question."""

import heapq
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Literal
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control import transport as transport_module
from stmtem_control.errors import IdentityError, StmTemError, TransportError
from stmtem_control.link import Link
from stmtem_control.transport import BufferedTransport, Transport

from .numbered_instrument import Event, Fault, Kind, NumberedDriver, NumberedInstrument

W = 10.0  # wall seconds that a test waits at most
TIMEOUT_S = 1.0  # of an exchange, on the clock of the wire
LONGEST_S = 3.0  # of a delay, or from one byte to the next
QUIET_S = 120.0  # after which nothing of that is left
Medium = Literal["socket", "serial"]
Pending = list[tuple[int, "Future[str]"]]


class World:
    """A wire to an instrument, and the time on it: it passes only where somebody waits for bytes.

    On a serial line what is late comes even after the port was opened again.
    """

    def __init__(self, instrument: NumberedInstrument, medium: Medium) -> None:
        self.instrument = instrument
        self.medium = medium
        self.now = 0.0
        self.refuses = 0
        self.greets = b""
        self.interrupt: Callable[[], None] | None = None
        self.open: list[MemoryWire] = []
        self._answered_at = 0.0
        self._events: list[tuple[float, int, bytes | None]] = []
        self._numbers = itertools.count()

    def __call__(self) -> Transport:
        """Open a connection."""
        if self.refuses:
            self.refuses -= 1
            raise TransportError("wire: cannot connect: Connection refused")
        self.instrument.hung_up()
        keeps = self.medium == "serial"
        self._events = [event for event in self._events if keeps and event[2] is not None]
        heapq.heapify(self._events)
        self._answered_at = self._answered_at if keeps else 0.0
        self.plan([Event(0.0, self.greets)] if self.greets else [])
        self.greets = b""
        self.open.append(MemoryWire(self))
        return self.open[-1]

    def plan(self, events: list[Event]) -> None:
        """Let something happen later."""
        for seconds, what, floats in events:
            at = self.now + seconds
            if not floats:
                at = self._answered_at = max(at, self._answered_at)
            heapq.heappush(self._events, (at, next(self._numbers), what))

    def wait(self, seconds: float) -> bytes:
        """Let time pass, until bytes come."""
        if seconds > 0.0 and self.interrupt is not None:
            interrupt, self.interrupt = self.interrupt, None
            interrupt()
        end = self.now + seconds
        if not self._events or self._events[0][0] > end:
            self.now = end
            return b""
        at, _, what = heapq.heappop(self._events)
        self.now = max(self.now, at)
        if what is None:
            raise EOFError
        return what

    def cut(self) -> None:
        """Let the connection end, with all that is under way."""
        self._events.clear()
        self._answered_at = 0.0
        self.plan([Event(0.0, None)])

    def rest(self, seconds: float) -> None:
        """Let time pass while nobody listens; what comes is there when somebody does."""
        self.now += seconds


class MemoryWire(BufferedTransport):
    """A connection to the instrument of a world."""

    def __init__(self, world: World) -> None:
        super().__init__("wire")
        self._world = world
        self._closed = False

    def _send(self, data: bytes) -> None:
        if self._closed:
            raise OSError("closed")
        self._world.plan(self._world.instrument.received(data))

    def _receive(self, seconds: float) -> bytes:
        if self._closed:
            raise OSError("closed")
        return self._world.wait(seconds)

    def _close(self) -> None:
        self._closed = True
        if self in self._world.open:
            self._world.open.remove(self)


@contextmanager
def connected(world: World, *, names: bool) -> Iterator[NumberedDriver]:
    """A driver on a link to a world; the transport's deadlines are on the world's clock."""
    clock = SimpleNamespace(monotonic=lambda: world.now)
    with patch.object(transport_module, "time", clock), Link(world, name="wire") as link:
        yield NumberedDriver(
            link, lambda: world.now, names=names, timeout_s=TIMEOUT_S, quiet_s=0.05
        )
    assert world.open == []


def check_line(error: BaseException) -> None:
    """An error is one line that says where."""
    text = str(error)
    assert "wire" in text
    assert "\n" not in text


class Book:
    """The questions of a test, and what came of them."""

    def __init__(self, world: World) -> None:
        self._instrument = world.instrument
        self._numbers = itertools.count()
        self._used: set[int] = set()

    def number(self) -> int:
        """Return the number of the next question."""
        return next(self._numbers)

    def close(self, pending: Pending, *, unset_will_do: bool = False) -> bool:
        """Wait for answers and check each against the instrument's log; return whether all came."""
        good = True
        for ident, future in pending:
            try:
                number = int(future.result(W))
            except StmTemError as error:
                check_line(error)
                good = False
                continue
            asked, was_set = self._instrument.asked[number]
            assert asked == str(ident), "it was given the answer to another question"
            assert was_set or unset_will_do, "it was asked without its setting"
            assert number not in self._used, "an answer was accepted twice"
            self._used.add(number)
        return good


DAMAGE: list[Kind] = [
    "drop", "delay", "cut", "shorten", "corrupt", "drip", "twice", "noise",
    "close_before", "close_during", "power_off",
]  # fmt: skip
SECONDS = st.sampled_from([0.05, 0.3, 0.9, 1.1, LONGEST_S])


def fault_lists(kinds: list[Kind]) -> st.SearchStrategy[list[Fault]]:
    """Faults of these kinds, with good answers between."""
    one = st.builds(Fault, st.sampled_from(kinds), SECONDS)
    return st.lists(st.one_of(st.just(Fault()), one), max_size=12)


STEPS = st.lists(
    st.sampled_from(
        ["ask", "ask", "three", "stop", "ask and stop", "reopen", "refuse", "greet", "rest"]
    ),
    min_size=1,
    max_size=12,
)


def carry_out(step: str, driver: NumberedDriver, world: World, book: Book) -> None:
    """Do one step of a test and check what came of it."""
    if step in ("ask", "three"):
        count = 3 if step == "three" else 1
        book.close([driver.submit(book.number()) for _ in range(count)])
    elif step in ("stop", "ask and stop"):
        halts, stops = world.instrument.halts, Pending()
        if step == "stop":
            stops.append(driver.stop(book.number()))
        else:
            # While the answer is awaited; the question may have it already, or never get it.
            world.interrupt = lambda: stops.append(driver.stop(book.number()))
            book.close([driver.submit(book.number())])
            world.interrupt = None
        if book.close(stops, unset_will_do=True) and stops:
            assert world.instrument.halts > halts, "a stop was confirmed that was not heard"
    elif step == "reopen":
        try:
            driver.link.reopen(W)
        except StmTemError as error:  # it stays as it was, or is broken
            check_line(error)
    elif step == "refuse":
        world.refuses = 1
    elif step == "greet":
        world.greets = b"\xff\xfbwelcome"
    else:
        world.rest(0.4)


def check_recovery(driver: NumberedDriver, world: World, book: Book) -> None:
    """With a good wire again, the link comes back within a few tries."""
    world.instrument.faults, world.refuses = iter(()), 0
    for _ in range(6):
        world.rest(QUIET_S)
        if not driver.link.alive:
            assert driver.link.problem
            assert "\n" not in driver.link.problem
            try:
                driver.link.reopen(W)
            except StmTemError:
                continue
        if book.close([driver.submit(book.number())]):
            break
    else:
        raise AssertionError("the link did not come back")
    assert book.close([driver.submit(book.number()) for _ in range(3)])


@settings(max_examples=250, deadline=None)
@given(fault_lists(DAMAGE), STEPS, st.sampled_from(["socket", "serial"]))
def test_an_answer_belongs_to_its_question(
    faults: list[Fault], steps: list[str], medium: Medium
) -> None:
    """In a dialect in which no answer names its question."""
    world = World(NumberedInstrument(iter(faults)), medium)
    with connected(world, names=False) as driver:
        driver.link.call(lambda transport: transport.write(b"set right\n"), timeout=W)
        book = Book(world)
        for step in steps:
            carry_out(step, driver, world, book)
        check_recovery(driver, world, book)


@settings(max_examples=150, deadline=None)
@given(fault_lists([*DAMAGE, "late_twice"]), STEPS, st.sampled_from(["socket", "serial"]))
def test_where_answers_name_their_questions_duplicates_may_come_at_any_time(
    faults: list[Fault], steps: list[str], medium: Medium
) -> None:
    """Even after the next question was sent: the name tells it from the answer to that one."""
    world = World(NumberedInstrument(iter(faults), names=True), medium)
    with connected(world, names=True) as driver:
        driver.link.call(lambda transport: transport.write(b"set right\n"), timeout=W)
        book = Book(world)
        for step in steps:
            carry_out(step, driver, world, book)
        check_recovery(driver, world, book)


@settings(max_examples=100, deadline=None)
@given(fault_lists(["late_twice"]), st.integers(1, 12))
def test_a_duplicate_that_comes_before_the_next_question_is_none_of_its_answers(
    faults: list[Fault], count: int
) -> None:
    """Where answers do not name their questions; nothing is lost either."""
    world = World(NumberedInstrument(iter(faults)), "serial")
    with connected(world, names=False) as driver:
        driver.link.call(lambda transport: transport.write(b"set right\n"), timeout=W)
        book = Book(world)
        for _ in range(count):
            assert book.close([driver.submit(book.number())])
            world.rest(QUIET_S)


@settings(max_examples=100, deadline=None)
@given(fault_lists(DAMAGE), STEPS, STEPS, st.sampled_from(["socket", "serial"]))
def test_another_instrument_is_asked_nothing_but_who_it_is(
    faults: list[Fault], before: list[str], after: list[str], medium: Medium
) -> None:
    """Whatever happens on the wire; the link is broken then, and says why."""
    world = World(NumberedInstrument(iter(faults)), medium)
    with connected(world, names=False) as driver:
        driver.link.call(lambda transport: transport.write(b"set right\n"), timeout=W)
        book = Book(world)
        for step in before:
            carry_out(step, driver, world, book)
        world.instrument.serial = 2
        world.cut()
        for step in after:
            carry_out(step, driver, world, book)
        world.instrument.faults, world.refuses = iter(()), 0
        world.rest(QUIET_S)
        with pytest.raises(IdentityError, match="number 1 and is now number 2"):
            driver.link.reopen(W)
        assert not driver.link.alive
        assert world.instrument.strangers_asked == 0
