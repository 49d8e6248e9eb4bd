"""Wires made of text: what is sent must be what was written down, and so are the answers."""

import runpy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.link import Link
from stmtem_control.transport import BufferedTransport

Step = tuple[bytes, bytes]  # what is sent, what is answered


class Transcript(BufferedTransport):
    """A transport that follows a script; what departs from it fails the exchange."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__("transcript")
        self.left = list(steps)
        self.arrived = bytearray()

    def _send(self, data: bytes) -> None:
        # Several messages may go out at once: a command, and the question for its errors.
        while data:
            assert self.left, f"sent {data!r} after the end of the script"
            expected, answer = self.left.pop(0)
            assert data[: len(expected)] == expected
            self.arrived += answer
            data = data[len(expected) :]

    def _receive(self, seconds: float) -> bytes:
        data = bytes(self.arrived)
        self.arrived.clear()
        return data

    def _close(self) -> None:
        pass


class ManualTransport(Transcript):
    """A transport that answers as the table of the manuals says, whatever the order."""

    def __init__(self, entries: Sequence[Any]) -> None:
        super().__init__([])
        self.answers = {entry.request: entry.reply for entry in entries}
        self.sent: list[bytes] = []

    def _send(self, data: bytes) -> None:
        for message in [data] if data in self.answers else data.splitlines(keepends=True):
            self.sent.append(message)
            self.arrived += self._reply(message)
            header, _, value = message.partition(b" ")
            # It reads back what was set; a range is named by what it must hold.
            if value and b":RANG" not in header and header + b"?\n" in self.answers:
                self.answers[header + b"?\n"] = value

    def _reply(self, message: bytes) -> bytes:
        # Questions that each are in the table may be asked in one message.
        if message in self.answers:
            return bytes(self.answers[message])
        replies = []
        for part in message[:-1].split(b";"):
            assert part + b"\n" in self.answers, f"{part!r} of {message!r} is not in the table"
            replies.append(self.answers[part + b"\n"][:-1])
        return b";".join(replies) + b"\n"


@pytest.fixture(scope="session")
def manual() -> Callable[[str], list[Any]]:
    """The table of wire bytes: a function from an instrument's name to its entries."""
    table = runpy.run_path(str(Path(__file__).with_name("manual_bytes.py")))
    return table["exchanges"]  # type: ignore[no-any-return]


@pytest.fixture
def link_to() -> Iterator[Callable[[Any], Link]]:
    """A function that makes a link to a transport; all are closed at the end."""
    links: list[Link] = []

    def make(transport: Any) -> Link:
        links.append(Link(lambda: transport, name="device"))
        return links[-1]

    yield make
    for link in links:
        link.close()


@pytest.fixture
def scripted(link_to: Callable[[Any], Link]) -> Iterator[Callable[[Sequence[Step]], Link]]:
    """A function that makes a link to a script; all of every script must be used."""
    scripts: list[Transcript] = []

    def make(steps: Sequence[Step]) -> Link:
        scripts.append(Transcript(steps))
        return link_to(scripts[-1])

    yield make
    for script in scripts:
        assert script.left == [], "the driver did not send all of the script"


@pytest.fixture
def by_the_manual(
    link_to: Callable[[Any], Link], manual: Callable[[str], list[Any]]
) -> Callable[[str], tuple[Link, list[bytes]]]:
    """A function that makes a link to an instrument of the table, and a list of what is sent."""

    def make(instrument: str) -> tuple[Link, list[bytes]]:
        transport = ManualTransport(manual(instrument))
        return link_to(transport), transport.sent

    return make
