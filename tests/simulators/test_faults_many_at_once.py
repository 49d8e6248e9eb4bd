"""Many faults at once, by chance: once they are cleared, the bench is as good as new."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, Fault, HandClock
from stmtem_control.simulators.fault_kinds import KINDS

Attach = Callable[[int | str], Any]
MESSAGES = {
    "source_tcp": (b"*IDN?\n", b":READ?\n", b":OUTP ON\n", b":SOUR:VOLT 1;*OPC?\n", b"\x03"),
    "source_pty": (b"*OPC?\r", b":SYST:ERR?\r", b":OUTP OFF\r"),
    "probe_pty": (b"setm 3 stp\r\n", b"stepu 3 5\r\n", b"getm 3\r\n", b"echo off\r\n"),
    "camera_control": (
        b"MPX,0000000012,GET,IMAGEX",
        b"MPX,0000000021,CMD,STARTACQUISITION",
        b"MPX,0000000010,CMD,ABORT",
    ),
}


def any_fault(dice: random.Random) -> Fault:
    row = KINDS[dice.choice(sorted(KINDS))]
    state = row.strikes == "state"
    return Fault(
        dice.choice(row.where),
        row.name,
        at_s=dice.choice([None, None, dice.uniform(0.0, 2.0)]),
        at_exchange=dice.choice([None, dice.randint(1, 9)]),
        count=dice.choice([1, 0]) if state else dice.choice([1, 1, 2, 0]),
        seconds=dice.uniform(0.0, 2.0) if row.seconds else 0.0,
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_bench_recovers(seed: int, attach: Attach) -> None:
    dice, clock = random.Random(seed), HandClock()
    with Bench(clock=clock, size=256, seed=seed) as bench:
        faults = [any_fault(dice) for _ in range(8)]
        places: dict[str, int | str] = {
            "source_tcp": bench.source_tcp.port,
            "source_pty": bench.source_pty.path,
            "probe_pty": bench.probe_pty.path,
            "camera_control": bench.camera_control.port,
        }
        clients = {name: attach(place) for name, place in places.items()}
        attach(bench.camera_data.port)
        for fault in faults:
            bench.inject(fault)
        for _ in range(60):
            name = dice.choice(sorted(places))
            try:
                if name not in clients:
                    clients[name] = attach(places[name])
                clients[name].send(dice.choice(MESSAGES[name]))
                if not clients[name].quiet(0.001) and not clients[name].some():
                    del clients[name]
            except ConnectionRefusedError:
                clock.advance(0.2)
            except ConnectionError:
                del clients[name]
            clock.advance(dice.uniform(0.0, 0.1))
        bench.clear_faults()
        assert bench.faults == ()
        source = attach(bench.source_tcp.port)
        assert source.ask(b"*CLS;:ABOR;*OPC?\n") == b"1\n"
        camera = attach(bench.camera_control.port)
        camera.send(b"MPX,0000000010,CMD,ABORT")
        assert camera.take(26) == b"MPX,0000000012,CMD,ABORT,0"
        probe = attach(bench.probe_tcp.port)
        probe.until(b"code: ")
        assert probe.ask(b"123456\r\nstop 3\r\n", b"stop 3\r\nOK\r\n> ")
