"""What a plain client of a serial line sees: there is no connection that could close."""

from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, HandClock

Attach = Callable[[str], Any]
MODE = b"mode = gnd\r\nOK\r\n"
pytestmark = pytest.mark.bench(speed=50.0, gap_nm=420.0)


@pytest.fixture
def probe(bench: Bench, attach: Attach) -> Any:
    client = attach(bench.probe_pty.path)
    client.ask(b"echo off\r\n", b"OK\r\n")
    return client


def test_without_faults_echo_and_prompt_come_as_typed(bench: Bench, attach: Attach) -> None:
    probe = attach(bench.probe_pty.path)
    for byte in b"ver\r":
        probe.send(bytes([byte]))
        assert probe.take(1) == bytes([byte])
    assert probe.until(b"> ").endswith(b"console\r\nOK\r\n> ")
    assert bench.exchanges("probe") == 1


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("drop", b""),
        ("truncate", MODE[: len(MODE) // 2]),
        ("no_terminator", MODE[:-2]),
        ("wrong_terminator", b"mode = gnd\n\rOK\n\r"),
        ("duplicate", MODE + MODE),
        ("lose", b""),
        ("close_before", b""),
        ("close_during@amount=4", MODE[:4]),
    ],
)
def test_a_reply_of_the_probe(bench: Bench, probe: Any, fault: str, seen: bytes) -> None:
    bench.inject(f"probe:{fault}")
    probe.send(b"getm 1\r\n")
    probe.send(b"stop 1\r\n")
    assert probe.take(len(seen) + 4) == seen + b"OK\r\n"
    assert probe.ask(b"getm 1\r\n", b"OK\r\n") == MODE


def test_a_reply_of_the_source(bench: Bench, attach: Attach) -> None:
    source = attach(bench.source_pty.path)
    name = source.ask(b"*IDN?\r", b"\r")
    bench.inject("bias_source:wrong_terminator")
    assert source.ask(b"*IDN?\r", b"\n") == name[:-1] + b"\n"
    bench.inject("bias_source:corrupt@amount=2")
    struck = source.ask(b"*IDN?\r", b"\r")
    assert sum((a ^ b).bit_count() for a, b in zip(struck, name, strict=True)) == 2
    bench.inject("bias_source:non_ascii")
    assert sum(byte > 0x7F for byte in source.ask(b"*IDN?\r", b"\r")) == 1
    bench.inject("bias_source:garbage@amount=5")
    assert len(source.ask(b"*OPC?\r", b"\r")) == 5 + 2


def test_a_dripping_reply(attach: Attach) -> None:
    clock = HandClock()
    with Bench(size=256, clock=clock) as bench:
        probe = attach(bench.probe_pty.path)
        probe.ask(b"echo off\r\n", b"OK\r\n")
        bench.inject("probe:drip@seconds=0.5")
        probe.send(b"stop 1\r\n")
        assert probe.some() == b"O"
        for expected in (b"K", b"\r", b"\n"):
            before = clock.now()
            while probe.quiet(0.005):
                clock.advance(0.25)
            assert probe.some() == expected
            assert clock.now() >= before + 0.5


def test_a_late_reply(bench: Bench, probe: Any) -> None:
    bench.inject("probe:delay@seconds=2")
    assert probe.ask(b"stop 1\r\n", b"OK\r\n") == b"OK\r\n"
    assert bench.clock.now() >= bench.fault_log[-1].t_s + 2.0


def test_noise_in_the_line(bench: Bench, probe: Any) -> None:
    bench.inject("probe:garbage_at_connect@amount=6")
    struck = probe.ask(b"stop 1\r\n", b"OK\r\n")
    assert len(struck) == 6 + 4


def test_silence(bench: Bench, probe: Any) -> None:
    bench.inject("probe:silence")
    probe.send(b"getm 1\r\n")
    assert probe.quiet()
    bench.clear_faults()
    assert probe.ask(b"stop 1\r\n", b"OK\r\n") == b"OK\r\n"


def test_a_reboot_turns_the_echo_on_again(bench: Bench, probe: Any) -> None:
    probe.ask(b"setm 1 off\r\n", b"OK\r\n")
    bench.inject("probe:reboot@exchange=2")
    probe.ask(b"seta 1 20\r\n", b"OK\r\n")
    probe.send(b"setm 2 stp\r\n")  # what the loss of power swallows
    while not bench.fault_log:
        assert probe.quiet(0.001)
    assert probe.ask(b"geta 1\r\n", b"> ") == b"geta 1\r\nvoltage = 0.000000 V\r\nOK\r\n> "
    assert probe.ask(b"getm 2\r\n", b"> ") == b"getm 2\r\nmode = gnd\r\nOK\r\n> "
