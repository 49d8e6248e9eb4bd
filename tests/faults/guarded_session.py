"""A program for tests to kill and to stop: a session that acts on the sample.

Called with the bench's addresses as JSON, the folder for the data, what it does, and the station's
[safe] table as JSON.  It prints its guard's process id when all is on, and ends with its input.
"""

import json
import multiprocessing
import sys
import threading
from typing import Any

import bluesky.plan_stubs as bps

from stmtem_control.config import load_station
from stmtem_control.session import Session

SPEED = 5.0
W = 10.0


def block_the_interpreter(seconds: int) -> None:
    """Compute in native code that keeps the interpreter lock, as some libraries do."""
    import ctypes

    ctypes.PyDLL(None).sleep(seconds)


def main() -> int:
    """Do what is asked for until the input ends, and return an exit code."""
    addresses, root, what = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    station = load_station("sim").with_bench(speed=SPEED, size=256).with_data(root)
    session = Session(station.with_safe(**json.loads(sys.argv[4])), addresses=addresses)
    guard = session.watch.guard
    assert guard is not None

    def on() -> None:
        session.bias.set(2.0).wait(W)
        session.beam.set("open").wait(W)

    def tell(*_: Any) -> None:
        # Who is told may stop this process before the next heartbeat.
        guard.beat(session.safe_state.hazard, session.safe_state.moving)
        print(guard.pid, flush=True)

    if what == "idle":
        tell()
        block_the_interpreter(1)
    elif what == "forked":
        on()
        child = multiprocessing.get_context("fork").Process(target=sys.stdin.readline, daemon=True)
        child.start()
        tell()
    elif what == "moving":
        session.probe.z.frequency_Hz.set(1).wait(W)
        session.probe.z.coarse.set(-190)
        # Answered after it: the steps are on their way.
        session.probe.controller.getf(3).result(W)
        on()
        tell()
    elif what == "subscriber":
        forever = threading.Event()

        def block(*_: Any) -> None:
            tell()
            while not session.safe_state.at_rest:
                forever.wait(0.02)

        session.RE.subscribe(block, "start")

        def plan() -> Any:
            yield from bps.mv(session.bias, 2.0, session.beam, "open")
            yield from bps.open_run()
            yield from bps.sleep(W)
            yield from bps.close_run()

        outcome = session.run(plan())
        print(outcome.reason, flush=True)
    elif what == "lock":
        on()
        tell()
        block_the_interpreter(5)
    else:
        on()
        tell()
    sys.stdin.readline()
    session.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
