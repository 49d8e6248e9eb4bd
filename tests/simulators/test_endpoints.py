"""Endpoints carry bytes: ports, pseudo-terminals, many clients, and a clean end."""

import os
import socket
import threading
import tty

import pytest

from stmtem_control.simulators.server import Channel, PtyEndpoint, TcpEndpoint


class Echo:
    """Answers every byte with itself, and remembers who came and went."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self.gone = threading.Semaphore(0)
        self.channels: list[Channel] = []

    def opened(self, channel: Channel) -> None:
        self.channels.append(channel)
        self.came.release()

    def received(self, channel: Channel, data: bytes) -> None:
        channel.send(data)

    def closed(self, channel: Channel) -> None:
        self.gone.release()


def read(wire: socket.socket, count: int) -> bytes:
    wire.settimeout(5.0)
    got = b""
    while len(got) < count:
        chunk = wire.recv(count - len(got))
        if not chunk:
            break
        got += chunk
    return got


def test_clients_get_their_own_bytes() -> None:
    talker = Echo()
    endpoint = TcpEndpoint(talker)
    wires = [socket.create_connection((endpoint.host, endpoint.port), 5.0) for _ in range(4)]
    for number, wire in enumerate(wires):
        wire.sendall(bytes([number]) * 1000)
    for number, wire in enumerate(wires):
        assert read(wire, 1000) == bytes([number]) * 1000
    for wire in wires:
        wire.close()
        assert talker.gone.acquire(timeout=5.0)
    endpoint.close()


def test_only_this_machine_can_attach() -> None:
    endpoint = TcpEndpoint(Echo())
    assert endpoint.host == "127.0.0.1"
    assert endpoint._listener.getsockname()[0] == "127.0.0.1"
    endpoint.close()


def test_dropped_clients_can_come_back() -> None:
    talker = Echo()
    endpoint = TcpEndpoint(talker)
    with socket.create_connection((endpoint.host, endpoint.port), 5.0) as wire:
        assert talker.came.acquire(timeout=5.0)
        endpoint.drop_clients()
        assert read(wire, 1) == b""
    with socket.create_connection((endpoint.host, endpoint.port), 5.0) as wire:
        wire.sendall(b"again")
        assert read(wire, 5) == b"again"
    endpoint.close()


def test_sending_to_a_client_that_is_gone_is_no_error() -> None:
    talker = Echo()
    endpoint = TcpEndpoint(talker)
    socket.create_connection((endpoint.host, endpoint.port), 5.0).close()
    assert talker.gone.acquire(timeout=5.0)
    talker.channels[0].send(b"x" * 100_000)
    endpoint.close()


def test_a_terminal_is_raw_and_survives_its_clients() -> None:
    endpoint = PtyEndpoint(Echo())
    everything = bytes(range(256))
    for _ in range(2):
        port = os.open(endpoint.path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(port)
        os.write(port, everything)
        got = b""
        while len(got) < 256:
            got += os.read(port, 256)
        assert got == everything
        os.close(port)
    endpoint.close()
    assert not os.path.exists(endpoint.path)


def test_a_terminal_that_nobody_reads_does_not_hold_up_the_instrument() -> None:
    talker = Echo()
    endpoint = PtyEndpoint(talker)
    assert talker.came.acquire(timeout=5.0)
    talker.channels[0].send(b"x" * 100_000)
    endpoint.close()


def test_a_taken_port_is_named() -> None:
    endpoint = TcpEndpoint(Echo())
    with pytest.raises(OSError, match=str(endpoint.port)):
        TcpEndpoint(Echo(), endpoint.port)
    endpoint.close()
