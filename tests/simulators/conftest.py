"""Raw clients of the bench: plain sockets and serial lines, none of our drivers."""

import os
import select
import socket
import tty
from collections.abc import Callable, Iterator

import pytest

PATIENCE_S = 10.0  # how long a busy machine may keep a reply back


class Client:
    """A plain TCP client."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def some(self) -> bytes:
        """Return the next bytes, as many as come at once; b"" at the end."""
        try:
            return self.socket.recv(1 << 20)
        except ConnectionResetError:
            return b""

    def take(self, count: int) -> bytes:
        got = b""
        while len(got) < count and (more := self.socket.recv(count - len(got))):
            got += more
        return got

    def until(self, end: bytes) -> bytes:
        got = b""
        while not got.endswith(end) and (more := self.socket.recv(1)):
            got += more
        return got

    def ask(self, message: bytes, end: bytes = b"\n") -> bytes:
        self.send(message)
        return self.until(end)

    def quiet(self, seconds: float = 0.02) -> bool:
        return not select.select([self.socket], [], [], seconds)[0]

    def close(self) -> None:
        self.socket.close()


class SerialClient(Client):
    """A plain client of a pseudo-terminal."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.file)

    def send(self, data: bytes) -> None:
        os.write(self.file, data)

    def some(self) -> bytes:
        assert select.select([self.file], [], [], PATIENCE_S)[0], "nothing came"
        return os.read(self.file, 1 << 16)

    def take(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            assert select.select([self.file], [], [], PATIENCE_S)[0], f"only {got!r} came"
            got += os.read(self.file, count - len(got))
        return got

    def until(self, end: bytes) -> bytes:
        got = b""
        while not got.endswith(end):
            got += self.take(1)
        return got

    def quiet(self, seconds: float = 0.02) -> bool:
        return not select.select([self.file], [], [], seconds)[0]

    def close(self) -> None:
        os.close(self.file)


@pytest.fixture
def attach() -> Iterator[Callable[[int | str], Client]]:
    """Open a raw client of a port, or of a serial line; closed after the test."""
    opened: list[Client] = []

    def make(where: int | str) -> Client:
        client = Client(where) if isinstance(where, int) else SerialClient(where)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()
