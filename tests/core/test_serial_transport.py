"""Serial ports: pseudo-terminals, and URLs."""

import os
import pty
import socket
import threading
import time
import tty
from collections.abc import Iterator

import pytest

from stmtem_control.errors import TransportError, TransportTimeout
from stmtem_control.serial_port import SerialTransport

W = 5.0  # wall seconds that a test waits at most


def soon() -> float:
    """Return a deadline that no good exchange reaches."""
    return time.monotonic() + W


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The instrument's end of a pseudo-terminal, and the name of the other."""
    instrument, port = pty.openpty()
    tty.setraw(port)
    yield instrument, os.ttyname(port)
    for descriptor in (instrument, port):
        try:
            os.close(descriptor)
        except OSError:
            continue  # the test closed it


def test_lines_come_out_as_they_went_in(terminal: tuple[int, str]) -> None:
    instrument, name = terminal
    transport = SerialTransport(name)
    transport.write(b"ver\r\n")
    assert os.read(instrument, 100) == b"ver\r\n"
    os.write(instrument, b"one\r\nOK\r\n")
    assert transport.read_until(b"\r\n", soon()) == b"one\r\n"
    assert transport.read_until(b"\r\n", soon()) == b"OK\r\n"
    with pytest.raises(TransportTimeout, match=r"ver.*nothing"):
        transport.read_until(b"\r\n", time.monotonic() + 0.05)
    transport.close()


def test_a_port_belongs_to_one_program(terminal: tuple[int, str]) -> None:
    _, name = terminal
    transport = SerialTransport(name)
    with pytest.raises(TransportError, match="cannot open the port; is it free"):
        SerialTransport(name)
    transport.close()


def test_a_port_that_is_not_there() -> None:
    with pytest.raises(TransportError, match=r"serial port /dev/nowhere.*No such file"):
        SerialTransport("/dev/nowhere")


def test_an_adapter_that_is_pulled_out(terminal: tuple[int, str]) -> None:
    instrument, name = terminal
    transport = SerialTransport(name)
    os.close(instrument)
    with pytest.raises(TransportError) as caught:
        transport.read_until(b"\n", soon())
    assert not isinstance(caught.value, TransportTimeout)
    transport.close()


def test_a_network_port_by_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = SerialTransport(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        with peer:
            transport.write(b"ver\r\n")
            assert peer.recv(100) == b"ver\r\n"
            peer.sendall(b"one\r\n")
            assert transport.read_until(b"\n", soon()) == b"one\r\n"
            assert transport.drain(0.01) == b""
            peer.shutdown(socket.SHUT_RDWR)
            with pytest.raises(TransportError) as caught:
                transport.read_until(b"\n", soon())
            assert not isinstance(caught.value, TransportTimeout)
        transport.close()


def test_a_greeting_that_comes_at_once_is_not_lost() -> None:
    """A console sends it with the connection; who throws it away waits for it in vain."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()

        def greet() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"password: ")

        for _ in range(5):
            greeter = threading.Thread(target=greet)
            greeter.start()
            transport = SerialTransport(f"socket://{host}:{port}")
            assert transport.read_exactly(10, soon()) == b"password: "
            begun = time.monotonic()
            transport.close()
            assert time.monotonic() - begun < 0.25
            greeter.join(W)


@pytest.mark.parametrize("url", ["socket://127.0.0.1", "socket://127.0.0.1:much", "socket://"])
def test_a_url_without_a_port_is_one_line(url: str) -> None:
    with pytest.raises(TransportError, match=f"^serial port {url}: "):
        SerialTransport(url)


def test_use_after_close_is_an_error(terminal: tuple[int, str]) -> None:
    transport = SerialTransport(terminal[1])
    transport.close()
    transport.close()
    with pytest.raises(TransportError):
        transport.write(b"ver\r\n")
    with pytest.raises(TransportError):
        transport.read_exactly(1, soon())
