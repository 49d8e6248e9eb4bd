"""When faults strike: by time, by exchange, by message, how often; the same again with a seed."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, Fault, HandClock

Attach = Callable[[int], Any]
pytestmark = [pytest.mark.bench(gap_nm=420.0), pytest.mark.usefixtures("hand_clock")]


@pytest.fixture
def source(bench: Bench, attach: Attach) -> Any:
    return attach(bench.source_tcp.port)


def answered(source: Any, numbers: range) -> list[int]:
    """Ask for numbers that tell one reply from another; return those that were answered."""
    for number in numbers:
        source.send(b"*ESE %d;*ESE?\n" % number)
    end = source.ask(b"*ESE 255;*ESE?\n", b"255\n")
    return [int(line) for line in end.split()[:-1]]


def test_by_exchange(bench: Bench, source: Any) -> None:
    assert answered(source, range(3)) == [0, 1, 2]
    bench.inject(Fault("bias_source", "drop", at_exchange=3, count=2))
    assert answered(source, range(7)) == [0, 1, 4, 5, 6]
    assert [(event.exchange, event.message) for event in bench.fault_log] == [
        (3, "*ESE 2;*ESE?"),
        (4, "*ESE 3;*ESE?"),
    ]
    assert bench.faults == ()


def test_exchanges_of_all_clients_count(bench: Bench, source: Any, attach: Attach) -> None:
    bench.inject("bias_source:drop@exchange=2")
    assert answered(source, range(0)) == []
    assert answered(attach(bench.source_tcp.port), range(2)) == [1]


def test_all_of_them_until_cleared(bench: Bench, source: Any) -> None:
    fault = Fault("bias_source", "drop", count=0, when="ESE?")
    bench.inject(fault)
    source.send(b"*ESE 1;*ESE?\n*ESE 2;*ESE?\n*OPC?\n")
    assert source.take(2) == b"1\n"
    assert list(bench.faults) == [fault]
    bench.clear_faults()
    assert not bench.faults
    assert answered(source, range(3)) == [0, 1, 2]


def test_only_messages_with_a_text_count(bench: Bench, source: Any) -> None:
    bench.inject("bias_source:drop@exchange=2,when=ESE 4")
    assert answered(source, range(40, 44)) == [40, 42, 43]
    assert bench.fault_log[0].exchange == 2
    bench.inject("bias_source:drop@exchange=2,when=ESE 5")
    assert answered(source, range(4, 7)) == [4, 5, 6]  # one that matches, not two


def test_by_time(bench: Bench, hand_clock: HandClock, source: Any) -> None:
    bench.inject("bias_source:drop@time=10")
    bench.inject("specimen:leak@time=4,seconds=3")
    hand_clock.advance(9.9)
    told = [(event.t_s, event.event) for event in bench.fault_log]
    assert told == [(4.0, "struck"), (7.0, "over")]
    assert answered(source, range(2)) == [0, 1]
    hand_clock.advance(0.2)
    assert answered(source, range(2)) == [1]


def test_by_time_at_any_speed() -> None:
    with Bench(size=256, speed=1000.0, faults=["probe:stuck_steps@time=20,seconds=10"]) as bench:
        while bench.faults:
            bench.clock.wait_until(bench.clock.now() + 1.0)
        struck, over = bench.fault_log
        assert over.t_s - struck.t_s == pytest.approx(10.0, abs=1e-6)


def test_time_and_exchange_must_both_have_come(
    bench: Bench, hand_clock: HandClock, source: Any
) -> None:
    bench.inject("bias_source:drop@time=1,exchange=3")
    assert answered(source, range(5)) == [0, 1, 2, 3, 4]
    hand_clock.advance(1.0)
    assert answered(source, range(5)) == [1, 2, 3, 4]
    assert bench.fault_log[0].exchange == 7  # the sixth ended what was asked first


def test_a_state_can_wait_for_a_message(bench: Bench, source: Any) -> None:
    bench.inject("specimen:short@when=:OUTP ON")
    source.ask(b":SOUR:VOLT 1;*OPC?\n")
    assert not bench.fault_log
    source.ask(b":OUTP ON;*OPC?\n")
    assert bench.fault_log[0].message == ":OUTP ON;*OPC?"


def test_a_cleared_fault_never_strikes(bench: Bench, hand_clock: HandClock, source: Any) -> None:
    bench.inject("bias_source:drop@time=1")
    bench.inject("bias_source:silence@time=1")
    bench.inject("bias_source:overflow")
    bench.clear_faults()
    hand_clock.advance(5.0)
    assert answered(source, range(2)) == [0, 1]
    assert bench.fault_log == ()


def test_a_fault_that_waits_for_a_reply_is_cleared_too(bench: Bench, source: Any) -> None:
    bench.inject("bias_source:drop")
    source.send(b"*ESE 1\n")  # which has no reply
    while not bench.fault_log:
        assert source.quiet(0.001)
    bench.clear_faults()
    assert answered(source, range(2)) == [0, 1]


def test_faults_in_turn_strike_the_same_reply(bench: Bench, source: Any) -> None:
    bench.inject("bias_source:duplicate")
    bench.inject("bias_source:truncate@amount=3")
    source.send(b"*ESE 17;*ESE?\n*OPC?\n")
    assert source.take(5) == b"17\n1\n"


def test_the_same_seed_gives_the_same_faults(attach: Attach) -> None:
    def struck(seed: int) -> bytes:
        with Bench(size=256, seed=seed, faults=["bias_source:corrupt@amount=9"]) as bench:
            bench.inject("bias_source:garbage@exchange=2")
            client = attach(bench.source_tcp.port)
            client.send(b"*IDN?\n*OPC?\n")
            return bytes(client.until(b"1\n"))

    assert struck(3) == struck(3) != struck(4)


def test_many_clients_at_once_count_right(bench: Bench, attach: Attach) -> None:
    """Of 4 x 50 exchanges exactly the last 100 are struck, whoever sends them."""
    bench.inject("bias_source:drop@exchange=101,count=100")
    clients = [attach(bench.source_tcp.port) for _ in range(4)]

    def ask(client: Any) -> None:
        for _ in range(50):
            client.send(b"*OPC?\n")

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while len(bench.fault_log) < 100:
        clients[0].quiet(0.001)
    replies = [before_the_end(client) for client in clients]
    assert sum(reply.count(b"1\n") for reply in replies) == 100
    assert len(bench.fault_log) == 100


def before_the_end(client: Any) -> bytes:
    """Return the replies before that of the last question."""
    client.send(b":SYST:VERS?\n")
    got: bytes = client.until(b"1996.0\n")
    return got[: -len(b"1996.0\n")]
