"""A TCP socket as transports use it: a look does not give up the interpreter."""

import contextlib
import os
import socket
import struct
import sys
import threading
from collections.abc import Iterator

import pytest

from stmtem_control.socket_wire import LOOK, SocketWire

W = 5.0
pytestmark = pytest.mark.skipif(os.name != "posix", reason="Python's own calls are used elsewhere")


@pytest.fixture
def ends() -> Iterator[tuple[SocketWire, socket.socket]]:
    """A wire, and the socket of its peer."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        wire = SocketWire(socket.create_connection(listener.getsockname()))
        opened.callback(wire.close)
        peer = opened.enter_context(listener.accept()[0])
        peer.settimeout(W)
        yield wire, peer


def arrives(wire: SocketWire) -> None:
    assert wire.readable(W)


def test_a_thread_that_computes_gets_no_turn_for_a_look(
    ends: tuple[SocketWire, socket.socket],
) -> None:
    """It would keep the interpreter for its whole interval, each time."""
    wire, _ = ends
    begun, over, turns = threading.Event(), False, 0

    def compute() -> None:
        nonlocal turns
        while not over:
            turns += 1
            begun.set()

    busy, interval = threading.Thread(target=compute), sys.getswitchinterval()
    busy.start()
    try:
        assert begun.wait(W)
        sys.setswitchinterval(100.0)  # only who gives it up loses it
        before = turns
        for _ in range(50):
            assert wire.receive(0.0) == b""
        after = turns
    finally:
        over = True
        sys.setswitchinterval(interval)
        busy.join(W)
    assert after == before


def test_a_look_takes_what_is_there(ends: tuple[SocketWire, socket.socket]) -> None:
    wire, peer = ends
    assert wire.receive(0.0) == b""
    peer.sendall(b"\x00" + b"7" * LOOK)
    found = b""
    while len(found) <= LOOK:
        arrives(wire)
        found += wire.receive(0.0)
    assert found == b"\x00" + b"7" * LOOK
    assert wire.receive(0.0) == b""


def test_all_of_a_long_message_is_sent(
    ends: tuple[SocketWire, socket.socket],
) -> None:
    wire, peer = ends
    data = bytes(range(256)) * 40_000  # more than the buffers of both ends
    found = bytearray()

    def read() -> None:
        while len(found) < len(data):
            found.extend(peer.recv(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()
    wire.send(data)
    reader.join(W)
    assert found == data


def test_an_end_is_told_after_what_came_before_it(ends: tuple[SocketWire, socket.socket]) -> None:
    wire, peer = ends
    peer.sendall(b"last")
    peer.shutdown(socket.SHUT_WR)
    arrives(wire)
    assert wire.receive(0.0) == b"last"
    arrives(wire)
    with pytest.raises(EOFError):
        wire.receive(0.0)


def test_a_reset_is_an_error(ends: tuple[SocketWire, socket.socket]) -> None:
    wire, peer = ends
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    arrives(wire)
    with pytest.raises(ConnectionResetError):
        wire.receive(0.0)
    with pytest.raises(BrokenPipeError):
        wire.send(b"?\n")


def test_a_closed_wire_is_an_error(ends: tuple[SocketWire, socket.socket]) -> None:
    wire, _ = ends
    wire.close()
    for call in (lambda: wire.send(b"?\n"), lambda: wire.receive(0.0)):
        with pytest.raises(OSError, match=r"closed|Bad file descriptor"):
            call()
