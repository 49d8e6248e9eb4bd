"""What the transports share, and TCP: deadlines that hold, ends that are noticed."""

import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from stmtem_control.errors import ProtocolError, TransportError, TransportTimeout
from stmtem_control.socket_wire import OWED_S, QUIET_S
from stmtem_control.tcp import TcpTransport
from stmtem_control.transport import LONGEST_REPLY, excerpt

W = 5.0  # wall seconds that a test waits at most


@pytest.fixture
def pair() -> Iterator[tuple[TcpTransport, socket.socket]]:
    """A transport, and the instrument's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = TcpTransport("127.0.0.1", server.getsockname()[1])
        peer, _ = server.accept()
        with peer:
            yield transport, peer
            transport.close()


def soon() -> float:
    """Return a deadline that no good exchange reaches."""
    return time.monotonic() + W


@pytest.fixture
def dripping(
    pair: tuple[TcpTransport, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> TcpTransport:
    """A transport to an instrument that sends a byte whenever the last one was taken."""
    transport, peer = pair
    receive = transport._receive

    def drip(seconds: float) -> bytes:
        peer.sendall(b"x")
        return receive(seconds)

    monkeypatch.setattr(transport, "_receive", drip)
    return transport


def test_lines_and_blocks_come_out_as_they_went_in(
    pair: tuple[TcpTransport, socket.socket],
) -> None:
    transport, peer = pair
    transport.write(b"*IDN?\n")
    assert peer.recv(100) == b"*IDN?\n"
    peer.sendall(b"one\r\ntwo\r\n\x00\x01\x02\x03")
    assert transport.read_until(b"\r\n", soon()) == b"one\r\n"
    assert transport.read_until(b"\r\n", soon()) == b"two\r\n"
    assert transport.read_exactly(4, soon()) == b"\x00\x01\x02\x03"


def test_a_terminator_that_comes_in_two_parts(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, peer = pair
    peer.sendall(b"one\r")
    with pytest.raises(TransportTimeout):
        transport.read_until(b"\r\n", time.monotonic() + 0.02)
    peer.sendall(b"\n")
    assert transport.read_until(b"\r\n", soon()) == b"one\r\n"


def test_a_deadline_holds_while_bytes_drip(dripping: TcpTransport) -> None:
    dripping.write(b":READ?\n")
    begun = time.monotonic()
    with pytest.raises(TransportTimeout, match=r"READ.*within 0\.\d+ s.*only 'xx"):
        dripping.read_until(b"\n", begun + 0.1)
    assert 0.1 <= time.monotonic() - begun < 1.0


def test_draining_an_instrument_that_never_stops_ends(dripping: TcpTransport) -> None:
    assert set(dripping.drain(0.05)) == {ord("x")}


def test_whoever_waits_long_is_told_even_while_bytes_drip(
    dripping: TcpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop must get out; what it raises ends the waiting."""
    monkeypatch.setattr("stmtem_control.transport.SLICE_S", 0.02)
    called: list[float] = []

    def look() -> None:
        called.append(time.monotonic())
        if len(called) == 3:
            raise InterruptedError

    dripping.on_wait = look
    begun = time.monotonic()
    dripping.write(b":READ?\n")
    with pytest.raises(InterruptedError):
        dripping.read_until(b"\n", soon())
    assert called[0] - begun >= 0.02
    assert called[2] - begun < 1.0


def test_drain_drops_what_was_read_ahead(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, peer = pair
    peer.sendall(b"one\nlate\n")
    transport.read_until(b"\n", soon())
    assert transport.drain() == b"late\n"
    assert transport.drain() == b""


@pytest.mark.parametrize("says", [b"", b"half an ans"])
def test_who_said_nothing_at_all_is_not_waited_for_as_long_again(
    pair: tuple[TcpTransport, socket.socket], monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    """Until the first byte: a frozen instrument must not cost a deadline with each question."""
    monkeypatch.setattr("stmtem_control.transport.SILENT_S", (0.02,))
    transport, peer = pair
    transport.write(b":READ?\n")
    peer.sendall(says)
    with pytest.raises(TransportTimeout):
        transport.read_until(b"\n", time.monotonic() + 0.05)
    transport.give_up_early()
    transport.drain()
    begun = time.monotonic()
    transport.write(b"*IDN?\n")
    with pytest.raises(TransportTimeout):
        transport.read_until(b"\n", begun + 0.5)
    waited = time.monotonic() - begun
    assert waited >= 0.5 if says else waited < 0.5
    peer.sendall(b"here\n")
    transport.write(b"*IDN?\n")
    assert transport.read_until(b"\n", soon()) == b"here\n"


def test_nothing_is_asked_while_bytes_are_there_that_nobody_asked_for(
    pair: tuple[TcpTransport, socket.socket],
) -> None:
    transport, peer = pair
    peer.sendall(b"welcome\n")
    assert transport.wait_readable(W)
    assert transport.unasked() == b""  # a greeting
    transport.drain()
    transport.ask(b"*IDN?\n")
    assert peer.recv(100) == b"*IDN?\n"
    peer.sendall(b"KEITHLEY\n\n \r\n")  # empty lines are no answers
    assert transport.read_until(b"\n", soon()) == b"KEITHLEY\n"
    transport.ask(b":OUTP?\n")
    assert peer.recv(100) == b":OUTP?\n"
    peer.sendall(b"0\n0\n")
    assert transport.read_until(b"\n", soon()) == b"0\n"
    with pytest.raises(ProtocolError, match=r"'0\\n' came unasked, ':READ\?\\n' was not sent"):
        transport.ask(b":READ?\n")
    assert transport.unasked() == b"0\n"
    transport.drain()
    transport.ask(b":READ?\n")
    assert peer.recv(100) == b":READ?\n"


def test_a_peer_that_hangs_up_is_no_silence(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, peer = pair
    peer.close()
    begun = time.monotonic()
    with pytest.raises(TransportError, match="closed the connection") as caught:
        transport.read_until(b"\n", soon())
    assert not isinstance(caught.value, TransportTimeout)
    assert time.monotonic() - begun < 1.0


def test_an_endless_line_is_noise(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, peer = pair
    sender = threading.Thread(target=peer.sendall, args=(b"x" * (LONGEST_REPLY + 70_000),))
    sender.start()
    with pytest.raises(ProtocolError, match="without"):
        transport.read_until(b"\n", soon())
    transport.drain(0.05)
    sender.join(W)


def test_a_closed_port_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TransportError) as caught:
        TcpTransport("127.0.0.1", port)
    assert str(caught.value) == (
        f"127.0.0.1:{port}: cannot connect; is the instrument on?: Connection refused"
    )


def test_the_system_watches_the_peer() -> None:
    """Where it has the means; see pulled_cable.py for what comes of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = TcpTransport("127.0.0.1", server.getsockname()[1])
        taken = transport._socket.getsockopt
        assert taken(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert taken(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1e3 * OWED_S
            assert taken(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == QUIET_S
        transport.close()


def test_use_after_close_is_an_error(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, _ = pair
    transport.close()
    transport.close()
    for use in (
        lambda: transport.write(b"x"),
        lambda: transport.read_exactly(1, soon()),
        lambda: transport.wait_readable(1.0),
    ):
        with pytest.raises(TransportError):
            use()


def test_reading_into_memory_takes_what_was_read_ahead_first(
    pair: tuple[TcpTransport, socket.socket],
) -> None:
    transport, peer = pair
    peer.sendall(b"head" + bytes(range(10)))
    assert transport.read_exactly(4, soon()) == b"head"
    target = bytearray(10)
    transport.read_into(memoryview(target), soon())
    assert target == bytes(range(10))


@pytest.fixture
def stream() -> Iterator[tuple[TcpTransport, socket.socket]]:
    """A transport for a stream of data, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = TcpTransport(*server.getsockname(), receive_buffer=1 << 16)
        peer, _ = server.accept()
    with peer:
        yield transport, peer
        transport.close()


def test_what_was_read_too_early_is_read_next(stream: tuple[TcpTransport, socket.socket]) -> None:
    transport, peer = stream
    head, rest = bytearray(100), bytearray(6)
    peer.sendall(b"early")
    assert transport.wait_readable(W)
    assert transport.read_some(memoryview(head), soon()) == 5
    transport.give_back(head[:5])
    peer.sendall(b"!")
    assert transport.wait_readable(0.0)
    transport.read_into(memoryview(rest), soon())
    assert rest == b"early!"


def test_a_stream_that_stops_in_the_middle_is_told(
    stream: tuple[TcpTransport, socket.socket],
) -> None:
    transport, peer = stream
    peer.sendall(b"half")
    with pytest.raises(TransportTimeout, match="4 of 8 bytes did not come"):
        transport.read_into(memoryview(bytearray(8)), time.monotonic() + 0.02)
    peer.sendall(b"half")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(TransportError, match="closed"):
        transport.read_into(memoryview(bytearray(8)), soon())
    with pytest.raises(TransportError, match="closed"):
        transport.read_some(memoryview(bytearray(8)), soon())


def test_another_thread_can_interrupt_a_stream(stream: tuple[TcpTransport, socket.socket]) -> None:
    transport, _ = stream
    timer = threading.Timer(0.02, transport.interrupt)
    timer.start()
    with pytest.raises(TransportError):
        transport.read_into(memoryview(bytearray(8)), soon())
    timer.join(W)


def test_another_thread_can_interrupt_a_read(pair: tuple[TcpTransport, socket.socket]) -> None:
    transport, _ = pair
    timer = threading.Timer(0.02, transport.interrupt)
    timer.start()
    with pytest.raises(TransportError):
        transport.read_exactly(1, soon())
    timer.join(W)


def test_exchanges_are_logged_with_their_times(
    pair: tuple[TcpTransport, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    transport, peer = pair
    peer.sendall(b"ok\n")
    with caplog.at_level(logging.DEBUG, "stmtem_control.wire"):
        transport.write(b"ver\n")
        transport.read_until(b"\n", soon())
    sent, received = (record.getMessage() for record in caplog.records)
    assert sent.endswith("<- 'ver\\n'")
    assert "-> 'ok\\n' after" in received
    assert received.endswith("ms")


def test_an_excerpt_is_short_and_printable() -> None:
    assert excerpt(b"\xff\n") == "'\\xff\\n'"
    assert excerpt(bytes(1000), 2) == "'\\x00\\x00'... (1000 bytes)"
