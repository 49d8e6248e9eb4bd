"""Orders to a bench that runs in a process of its own, line by line on its standard input.

Standard input is also the bench's lifeline: it ends when that closes.  So an order never waits for
anything, an answer that nobody reads is thrown away, and what is no order changes nothing.

Orders: ``turn MODE [VALUE]``, ``inject FAULT``, ``clear``, ``safe``, ``log [FROM]``,
``transitions [FROM]``.  The answer is one line of JSON on standard output, with the number of the
order (the first is 1), and "error" if it was refused.
"""

import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from .bench import Bench

_LONGEST = 1000
# A pipe that can be written to at all takes so much without blocking (PIPE_BUF of POSIX is 512 at
# the least, and 4096 on Linux).
_AT_ONCE = 4096
_ENTRIES = 10  # of the log in one answer, so that it stays below that

Answer = dict[str, Any]


class BenchOrders:
    """Takes the bytes of standard input and carries out the orders in them.

    Parameters
    ----------
    bench : Bench
        Whom they are for.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._buffer = b""
        self._skipping = False
        self._taken = 0
        self._orders: dict[str, Callable[[str], Answer]] = {
            "turn": self._turn,
            "inject": self._inject,
            "clear": self._clear,
            "safe": self._safe,
            "log": self._log,
            "transitions": self._transitions,
        }

    def take(self, data: bytes) -> None:
        """Take bytes, cut anywhere."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False  # the end of an order that was too long
            elif line.strip():
                self._carry_out(line)
        if len(self._buffer) > _LONGEST:
            self._carry_out(self._buffer)
            self._buffer, self._skipping = b"", True

    def _carry_out(self, line: bytes) -> None:
        self._taken += 1
        if len(line) > _LONGEST:
            answer: Answer = {"error": f"an order is longer than {_LONGEST} bytes; it is not read"}
        else:
            answer = self.answer(line.decode("utf-8", "replace").strip())
        _say({"order": self._taken, **answer})

    def answer(self, line: str) -> Answer:
        """Carry out an order and return the answer."""
        name, _, rest = line.partition(" ")
        if name not in self._orders:
            return {"error": f"no order {name[:40]!r}; there are {', '.join(self._orders)}"}
        try:
            return self._orders[name](rest.strip())
        except ValueError as error:
            return {"error": str(error)}

    def _inject(self, text: str) -> Answer:
        self._bench.inject(text)
        return {"t_s": self._bench.clock.now()}

    def _turn(self, text: str) -> Answer:
        """Turn the column to ``imaging``, ``survey [FIELD_NM]``, or ``diffraction [LENGTH_M]``."""
        mode, _, value = text.partition(" ")
        self._bench.turn(mode, float(value) if value.strip() else None)
        optics = self._bench.specimen.optics
        return {"t_s": self._bench.clock.now(), "mode": optics.mode, "value": optics.value}

    def _clear(self, text: str) -> Answer:
        self._bench.clear_faults()
        return {"t_s": self._bench.clock.now()}

    def _safe(self, text: str) -> Answer:
        return {
            "t_s": self._bench.clock.now(),
            "safe": self._bench.safe(),
            "since_s": self._bench.black_box.safe_since(),
            "unsafe_s": self._bench.black_box.unsafe_s(),
        }

    def _log(self, text: str) -> Answer:
        entries = [{**asdict(event), "fault": str(event.fault)} for event in self._bench.fault_log]
        return _part(entries, text)

    def _transitions(self, text: str) -> Answer:
        return _part([asdict(change) for change in self._bench.black_box.transitions], text)


def _part(entries: Sequence[Answer], first: str) -> Answer:
    """Return some entries from number `first` on, and which is the next one."""
    start = int(first) if first.isdecimal() else 0
    shown = entries[start : start + _ENTRIES]
    return {"entries": list(shown), "next": start + len(shown), "of": len(entries)}


def _say(answer: Answer) -> None:
    line = (json.dumps(answer) + "\n").encode()
    if len(line) > _AT_ONCE:
        short = {"order": answer.get("order"), "error": "the answer is too long"}
        line = (json.dumps(short) + "\n").encode()
    out = sys.stdout.fileno()
    if select.select([], [out], [], 0.0)[1]:
        os.write(out, line)
