"""Several threads ask a held source for readings: each gets its own, and none is starved."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.errors import TransportTimeout
from stmtem_control.link import Link
from stmtem_control.simulators import Bench, Fault
from stmtem_control.tcp import TcpTransport

W = 5.0  # wall seconds that a test waits at most
pytestmark = pytest.mark.bench(speed=1.0, gap_nm=420.0)


@pytest.fixture
def source(bench: Bench) -> Iterator[Keithley2400]:
    port = bench.source_tcp.port
    with Link(lambda: TcpTransport("127.0.0.1", port), name="bias_source") as link:
        source = Keithley2400(link, timeout_s=0.2, dead_man_s=2.0)
        source.open().result(W)
        source.configure(compliance_A=1e-5, nplc=1.0).result(W)
        source.set_level(-5.0).result(W)
        yield source
        source.zero_and_off().result(W)


def test_who_asks_again_and_again_starves_nobody(source: Keithley2400) -> None:
    over = threading.Event()

    def ask(_: "Future[Any] | None" = None) -> None:
        # In the middle of the reading that the other waits for, as a guard may.
        if not over.is_set():
            source.link.submit(lambda _: read(), delay_s=0.02)

    def read() -> None:
        source.read().add_done_callback(ask)

    ask()
    try:
        readings = [source.read().result(0.5) for _ in range(3)]
    finally:
        over.set()
    assert all(reading.voltage == pytest.approx(-5.0, abs=0.01) for reading in readings)


def test_of_two_that_wait_each_gets_a_reading_of_its_own(source: Keithley2400) -> None:
    first, second = source.read(), source.read()
    assert second.result(W).t > first.result(W).t + 0.04
    assert source.hold.waiting == []


def test_one_that_fails_does_not_take_the_next_with_it(bench: Bench, source: Keithley2400) -> None:
    bench.inject(Fault("bias_source", "drop", when=":SENS:DATA?"))
    first, second = source.read(), source.read()
    with pytest.raises(TransportTimeout):
        first.result(W)
    assert second.result(W).voltage == pytest.approx(-5.0, abs=0.01)


def test_a_stop_drops_all_that_wait(source: Keithley2400) -> None:
    readings = [source.read() for _ in range(3)]
    source.zero_and_off().result(W)
    assert all(reading.exception(W) is not None for reading in readings)
    assert source.hold.waiting == []
