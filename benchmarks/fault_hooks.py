"""What the hooks for faults cost while there are none: a query with them and without.

Without: the same instrument behind an endpoint of its own, with no tap between the two.  Plain
sockets over the loopback address, in one process with the bench.
"""

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final

from stmtem_control.simulators import Bench
from stmtem_control.simulators.server import TcpEndpoint

from .side_by_side import Report, Target, interleave, markdown, ratios

__all__ = ["run"]

_QUERIES: Final = 250  # in a round: short, so that the two are close in time
_ROUNDS: Final = 20  # of those asked for, for each is short
_WANTED: Final = 1.02
_GET: Final = b"MPX,0000000023,GET,NUMFRAMESTOACQUIRE"


def run(rounds: int = 7) -> Report:
    """Compare, in `rounds` times twenty rounds of 250 queries each."""
    with contextlib.ExitStack() as made:
        bench = made.enter_context(Bench(size=256))
        talkers = {"source": bench.source, "camera": bench.camera.control}
        tapped = {"source": bench.source_tcp, "camera": bench.camera_control}
        rows, targets = [], []
        result: dict[str, object] = {"what": "wall time in s of 250 queries"}
        for name, message in (("source", b":OUTP?\n"), ("camera", _GET)):
            bare = TcpEndpoint(talkers[name])
            made.callback(bare.close)
            cases = {
                "without": _asker(made, bare.port, message),
                "with": _asker(made, tapped[name].port, message),
            }
            times = interleave(cases, _ROUNDS * rounds, clock="wall")
            ratio = ratios(times, "without")["with"]
            each = [1e6 * min(times[case]) / _QUERIES for case in cases]
            rows.append([f"{name}, {message.decode().strip()}", *each, ratio])
            targets.append(
                Target(
                    f"query of the {name} with the hooks, of one without",
                    f"<= {_WANTED}",
                    ratio.median,
                    ratio.median <= _WANTED,
                )
            )
            result[name] = times
    headings = ["query", "without us", "with us", "with / without"]
    return Report("fault_hooks", markdown(headings, rows), targets, result)


def _asker(made: contextlib.ExitStack, port: int, message: bytes) -> Callable[[], float]:
    wire = made.enter_context(socket.create_connection(("127.0.0.1", port), 10.0))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask() -> float:
        start = time.perf_counter()
        for _ in range(_QUERIES):
            wire.sendall(message)
            wire.recv(4096)
        return time.perf_counter() - start

    return ask
