"""A bench in a process of its own, so that it takes nothing from the program that is measured."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Final

__all__ = ["END", "bench_apart"]

END: Final = "end"  # what ends it
_W: Final = 20.0


@contextlib.contextmanager
def bench_apart(serve: Callable[[Connection], None]) -> Iterator[tuple[Any, Connection]]:
    """Run `serve` in a fresh process; give what it sends first, and the pipe to it.

    It has to return when it receives :data:`END`.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv(), here
    finally:
        here.send(END)
        process.join(_W)
        here.close()
        there.close()
