"""The table of wire bytes that drives the drivers drives the simulated instruments too."""

import re
import socket
from itertools import groupby
from typing import IO

import pytest

from stmtem_control.simulators import Bench

from .manual_bytes import MANUAL, Exchange

QUIET_S = 0.2  # wall time in which an instrument that answers nothing says nothing
BY_INSTRUMENT = {
    name: list(group)
    for name, group in groupby(
        sorted(MANUAL, key=lambda exchange: exchange.instrument), key=lambda e: e.instrument
    )
}


def connect(bench: Bench, instrument: str) -> socket.socket:
    port = {"keithley": bench.source_tcp.port, "merlin": bench.camera_control.port}[instrument]
    return socket.create_connection(("127.0.0.1", port), 5.0)


def answer(wire: socket.socket, exchange: Exchange) -> bytes:
    """Send a request, and return what comes back until it matches, or nothing more comes."""
    wire.sendall(exchange.request)
    wire.settimeout(3.0 if exchange.pattern else QUIET_S)
    got = b""
    while not (exchange.pattern and re.fullmatch(exchange.pattern, got)):
        try:
            chunk = wire.recv(4096)
        except TimeoutError:
            break
        got += chunk
        if not chunk or not exchange.pattern:
            break
    return got


@pytest.mark.parametrize("instrument", ["keithley", "merlin"])
@pytest.mark.bench(model="2400", gap_nm=420.0)
@pytest.mark.usefixtures("hand_clock")
def test_simulators_answer_as_the_manual_says(bench: Bench, instrument: str) -> None:
    entries = BY_INSTRUMENT[instrument]
    assert len(entries) > 5
    with connect(bench, instrument) as wire:
        for exchange in entries:
            got = answer(wire, exchange)
            if exchange.pattern:
                assert re.fullmatch(exchange.pattern, got), (exchange, got)
            else:
                assert got == b"", exchange


def test_the_probe_answers_as_the_manual_says(bench: Bench) -> None:
    entries = BY_INSTRUMENT["anc300"]
    assert len(entries) > 5
    with open(bench.probe_pty.path, "r+b", buffering=0) as wire:
        # After power-on the console echoes; the table is of one that does not any more.
        wire.write(b"echo off\r\n")
        read_match(wire, rb"(?s).*OK\r\n")
        for exchange in entries:
            wire.write(exchange.request)
            read_match(wire, exchange.pattern)


def read_match(wire: IO[bytes], pattern: bytes) -> None:
    """Read until the pattern matches; a final line that does not is an error."""
    got = b""
    while not re.fullmatch(pattern, got):
        chunk = wire.read(4096)
        assert chunk
        got += chunk
        ended = re.search(rb"(^|\n)(OK|ERROR)\r\n$", got)
        assert not ended or re.fullmatch(pattern, got), (pattern, got)
