"""VISA, through pyvisa-py: sockets and serial ports, as drivers see them."""

import os
import pty
import socket
import time
import tty
from collections.abc import Iterator

import pytest

from stmtem_control.errors import TransportError, TransportTimeout
from stmtem_control.socket_wire import SocketWire
from stmtem_control.visa import VisaTransport

W = 5.0  # wall seconds that a test waits at most


def soon() -> float:
    """Return a deadline that no good exchange reaches."""
    return time.monotonic() + W


@pytest.fixture
def pair() -> Iterator[tuple[VisaTransport, socket.socket]]:
    """A transport, and the instrument's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = VisaTransport(f"TCPIP::127.0.0.1::{server.getsockname()[1]}::SOCKET")
        peer, _ = server.accept()
        with peer:
            yield transport, peer
            transport.close()


def test_a_query_over_a_socket(pair: tuple[VisaTransport, socket.socket]) -> None:
    transport, peer = pair
    transport.write(b"*IDN?\n")
    assert peer.recv(100) == b"*IDN?\n"
    peer.sendall(b"KEITHLEY\n")
    assert transport.read_until(b"\n", soon()) == b"KEITHLEY\n"


def test_two_writes_do_not_wait_for_each_other(pair: tuple[VisaTransport, socket.socket]) -> None:
    """Nagle's algorithm would hold the second one back for 40 ms."""
    transport, _ = pair
    assert isinstance(transport._wire, SocketWire)
    assert transport._wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_closed_port_is_noticed_when_it_is_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        resource = f"TCPIP::127.0.0.1::{server.getsockname()[1]}::SOCKET"
    with pytest.raises(TransportError, match=r"cannot connect.*Connection refused"):
        VisaTransport(resource)


def test_a_peer_that_hangs_up_is_no_silence(pair: tuple[VisaTransport, socket.socket]) -> None:
    transport, peer = pair
    peer.close()
    begun = time.monotonic()
    with pytest.raises(TransportError, match="closed the connection"):
        transport.read_until(b"\n", soon())
    assert time.monotonic() - begun < 1.0


def test_a_deadline_holds_while_bytes_drip(
    pair: tuple[VisaTransport, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instrument sends a byte whenever the last one was taken."""
    transport, peer = pair
    receive = transport._receive

    def drip(seconds: float) -> bytes:
        peer.sendall(b"x")
        return receive(seconds)

    monkeypatch.setattr(transport, "_receive", drip)
    begun = time.monotonic()
    with pytest.raises(TransportTimeout, match="only 'xx"):
        transport.read_until(b"\n", begun + 0.1)
    assert time.monotonic() - begun < 1.0


def test_closing_one_leaves_the_other_open(pair: tuple[VisaTransport, socket.socket]) -> None:
    """Library and manager are shared by all resources of a process."""
    transport, peer = pair
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = VisaTransport(f"TCPIP::127.0.0.1::{server.getsockname()[1]}::SOCKET")
        server.accept()[0].close()
        other.close()
        other.close()
    peer.sendall(b"here\n")
    assert transport.read_until(b"\n", soon()) == b"here\n"


@pytest.mark.parametrize("resource", ["TCPIP::nonsense", "GPIB9::99::INSTR", ""])
def test_a_bad_resource_string_is_one_line(resource: str) -> None:
    with pytest.raises(TransportError) as caught:
        VisaTransport(resource)
    assert "\n" not in str(caught.value)


def test_a_library_that_is_not_there() -> None:
    with pytest.raises(TransportError, match="cannot load the VISA library"):
        VisaTransport("GPIB0::24::INSTR", library="/nowhere/libvisa.so")


def test_a_serial_port() -> None:
    instrument, port = pty.openpty()
    try:
        tty.setraw(port)
        transport = VisaTransport(f"ASRL{os.ttyname(port)}::INSTR", baud_rate=9600)
        transport.write(b"*IDN?\n")
        assert os.read(instrument, 100) == b"*IDN?\n"
        os.write(instrument, b"KEITHLEY\r\nmore")
        assert transport.read_until(b"\n", soon()) == b"KEITHLEY\r\n"
        assert transport.read_exactly(4, soon()) == b"more"
        with pytest.raises(TransportTimeout):
            transport.read_until(b"\n", time.monotonic() + 0.05)
        transport.close()
    finally:
        os.close(instrument)
        os.close(port)
