"""What a plain client of a TCP port sees of each fault, byte for byte."""

from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.simulators import Bench, HandClock

Attach = Callable[[int], Any]
SPEED = 50.0
ASK, DONE = b"*IDN?\n", b"1\n"
pytestmark = pytest.mark.bench(speed=SPEED, model="2400", gap_nm=420.0)


@pytest.fixture
def source(bench: Bench, attach: Attach) -> Any:
    return attach(bench.source_tcp.port)


def mpx(body: bytes) -> bytes:
    return b"MPX,%010d,%b" % (len(body) + 1, body)


GET, GOT = mpx(b"GET,NUMFRAMESTOACQUIRE"), mpx(b"GET,NUMFRAMESTOACQUIRE,1,0")
START, STARTED = mpx(b"GET,IMAGEX"), mpx(b"GET,IMAGEX,256,0")


def differing_bits(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum((a ^ b).bit_count() for a, b in zip(one, other, strict=True))


def test_without_faults_the_bytes_are_those_of_the_instrument(bench: Bench, source: Any) -> None:
    """The tap changes nothing: messages may come cut anywhere, many at once, or as a break."""
    name = source.ask(ASK)
    assert name.startswith(b"KEITHLEY INSTRUMENTS INC.,MODEL 2400,")
    for byte in b"\n\r\n*OPC?;:OUTP?\r\n":
        source.send(bytes([byte]))
    assert source.until(b"\n") == b"1;0\n"
    source.send(b"*OPC?\n*ESE 4\n\n*ESE?\n\x03*OPC?\n")
    assert source.take(6) == b"1\n4\n1\n"
    assert bench.exchanges("bias_source") == 7
    assert bench.fault_log == ()


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("drop", lambda reply: b""),
        ("truncate", lambda reply: reply[: len(reply) // 2]),
        ("truncate@amount=3", lambda reply: reply[:3]),
        ("truncate@amount=0", lambda reply: b""),
        ("truncate@amount=9999", lambda reply: reply[:-1]),
        ("no_terminator", lambda reply: reply[:-1]),
        ("wrong_terminator", lambda reply: reply[:-1] + b"\r"),
        ("duplicate", lambda reply: reply + reply),
        ("lose", lambda reply: b""),
    ],
)
def test_a_reply_of_the_source(
    bench: Bench, source: Any, fault: str, seen: Callable[[bytes], bytes]
) -> None:
    reply = source.ask(ASK)
    bench.inject(f"bias_source:{fault}")
    source.send(ASK)
    source.send(b"*OPC?\n")
    expected = seen(reply) + DONE
    assert source.take(len(expected)) == expected
    assert source.ask(ASK) == reply  # once
    (event,) = bench.fault_log
    assert (event.exchange, event.message) == (1, "*IDN?")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("drop", b""),
        ("truncate@amount=20", GOT[:20]),
        ("no_terminator", GOT[:-1]),  # an MPX message ends where its length says
        ("wrong_length", b"MPX,%010d" % (len(GOT) - 14 + 16) + GOT[14:]),
        ("wrong_length@amount=-5", b"MPX,%010d" % (len(GOT) - 14 - 5) + GOT[14:]),
        ("duplicate", GOT + GOT),
        ("lose", b""),
    ],
)
def test_a_reply_of_the_camera(bench: Bench, attach: Attach, fault: str, seen: bytes) -> None:
    camera = attach(bench.camera_control.port)
    assert camera.ask(GET, b",1,0") == GOT
    bench.inject(f"camera:{fault}")
    camera.send(GET + START)
    assert camera.take(len(seen + STARTED)) == seen + STARTED
    assert camera.ask(GET, b",1,0") == GOT


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("drop", b""),
        ("truncate@amount=4", b"mode"),
        ("no_terminator", b"mode = gnd\r\nOK"),
        ("wrong_terminator", b"mode = gnd\n\rOK\n\r"),
        ("duplicate", b"mode = gnd\r\nOK\r\n" * 2),
        ("lose", b""),
    ],
)
def test_a_reply_of_the_probe(bench: Bench, attach: Attach, fault: str, seen: bytes) -> None:
    probe = attach(bench.probe_tcp.port)
    probe.until(b"code: ")
    probe.ask(b"123456\r\n", b"> ")
    probe.ask(b"echo off\r\n", b"OK\r\n")
    bench.inject(f"probe:{fault}")
    probe.send(b"getm 1\r\nstop 1\r\n")
    assert probe.take(len(seen) + 4) == seen + b"OK\r\n"


@pytest.mark.parametrize("bits", [1, 7])
def test_flipped_bits(bench: Bench, source: Any, bits: int) -> None:
    reply = source.ask(ASK)
    bench.inject(f"bias_source:corrupt@amount={bits}")
    source.send(ASK)
    struck = source.take(len(reply))
    assert differing_bits(struck[:-1], reply[:-1]) == bits
    assert struck.endswith(b"\n")


def test_bytes_that_are_not_ascii(bench: Bench, source: Any) -> None:
    reply = source.ask(ASK)
    bench.inject("bias_source:non_ascii@amount=3")
    struck = source.ask(ASK)
    assert sum(byte > 0x7F for byte in struck) == 3
    assert sum(a != b for a, b in zip(struck, reply, strict=True)) == 3


def test_garbage_before_a_reply(bench: Bench, source: Any) -> None:
    bench.inject("bias_source:garbage@amount=12")
    struck = source.ask(b"*OPC?\n")
    assert len(struck) == 12 + 2
    assert struck.endswith(DONE)


def test_a_late_reply_keeps_its_place(bench: Bench, source: Any) -> None:
    """What is asked meanwhile is answered behind it, as by a slow instrument."""
    bench.inject("bias_source:delay@seconds=5")
    source.send(b"*OPC?\n*ESE?\n")
    assert source.take(4) == b"1\n0\n"
    (event,) = bench.fault_log
    assert bench.clock.now() >= event.t_s + 5.0


def test_a_dripping_reply(attach: Attach) -> None:
    clock = HandClock()
    with Bench(size=256, clock=clock, faults=["bias_source:drip@seconds=0.5"]) as bench:
        source = attach(bench.source_tcp.port)
        source.send(b"*ESE 17;*ESE?\n")
        assert source.some() == b"1"
        for expected in (b"7", b"\n"):
            before = clock.now()
            while source.quiet(0.005):
                clock.advance(0.25)
            assert source.some() == expected
            assert clock.now() >= before + 0.5


@pytest.mark.parametrize(("fault", "before"), [("close_during@amount=4", 4), ("close_before", 0)])
def test_a_connection_that_closes_at_a_reply(
    bench: Bench, source: Any, attach: Attach, fault: str, before: int
) -> None:
    reply = source.ask(ASK)
    bench.inject(f"bias_source:{fault}")
    source.send(b"*ESE 3;*IDN?\n")
    assert source.take(100) == reply[:before]
    again = attach(bench.source_tcp.port)
    assert again.ask(b"*ESE?\n") == b"3\n"  # the message had been carried out
    assert again.ask(ASK) == reply


def test_a_lost_message_is_not_carried_out(bench: Bench, source: Any) -> None:
    bench.inject("bias_source:lose@when=ESE 3")
    source.send(b"*ESE 1\n*ESE 3\n")
    assert source.ask(b"*ESE?\n") == b"1\n"


@pytest.mark.parametrize("where", ["bias_source", "probe", "camera", "camera_data"])
def test_connections_that_all_close(bench: Bench, attach: Attach, where: str) -> None:
    port = {
        "bias_source": bench.source_tcp.port,
        "probe": bench.probe_tcp.port,
        "camera": bench.camera_control.port,
        "camera_data": bench.camera_data.port,
    }[where]
    first, second = attach(port), attach(port)
    while len(bench.taps[where][0].wires()) < 2:
        assert first.quiet(0.001) or first.some()
    bench.inject(f"{where}:close")
    for client in (first, second):
        while client.some():
            pass
    bench.inject(f"{where}:refuse")
    with pytest.raises(ConnectionRefusedError):
        attach(port)
    bench.clear_faults()
    attach(port)
    assert [event.event for event in bench.fault_log] == ["struck", "struck", "over"]


def test_refused_for_a_while(bench: Bench, source: Any, attach: Attach) -> None:
    assert source.ask(b"*OPC?\n") == DONE
    bench.inject("bias_source:refuse@seconds=2")
    with pytest.raises(ConnectionRefusedError):
        attach(bench.source_tcp.port)
    assert source.ask(b"*OPC?\n") == DONE  # who is attached stays
    bench.clock.wait_until(bench.clock.now() + 2.0)
    while bench.faults:
        assert source.ask(b"*OPC?\n") == DONE
    assert attach(bench.source_tcp.port).ask(b"*OPC?\n") == DONE


def test_silence_is_deaf_too(bench: Bench, source: Any, attach: Attach) -> None:
    assert source.ask(b"*ESE 1;*ESE?\n") == b"1\n"
    bench.inject("bias_source:silence@exchange=2")
    assert source.ask(b"*ESE?\n") == b"1\n"
    source.send(b"*ESE 7;*ESE?\n")
    later = attach(bench.source_tcp.port)
    later.send(ASK)
    assert later.quiet()
    assert source.quiet()
    bench.clear_faults()
    assert source.ask(b"*ESE?\n") == b"1\n"


@pytest.mark.parametrize("where", ["bias_source", "camera", "camera_data"])
def test_garbage_at_connect(bench: Bench, attach: Attach, where: str) -> None:
    port = {
        "bias_source": bench.source_tcp.port,
        "camera": bench.camera_control.port,
        "camera_data": bench.camera_data.port,
    }[where]
    bench.inject(f"{where}:garbage_at_connect@amount=9,exchange=2")
    first = attach(port)
    while not bench.taps[where][0].wires():
        assert first.quiet(0.001)
    second = attach(port)
    assert len(second.take(9)) == 9
    assert first.quiet(0.001)
    assert attach(port).quiet(0.001)
