"""Children that open and blank a beam, and are killed at any instant; what the ledger then says.

Prints one JSON object a child: what its beam gave, and what is booked.
"""

import json
import mmap
import os
import random
import select
import signal
import struct
import sys
from pathlib import Path

from stmtem_control.clock import StationClock
from stmtem_control.dose.calibration import DoseCalibration
from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.meter import RENEW_S, DoseMeter
from stmtem_control.exchanges import Exchange

RATE = 20.0
SLOTS = 4000


class HandClock(StationClock):
    """Tells what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.t = 0.0

    def now(self) -> float:
        """Return what the child says."""
        return self.t


def expose(path: Path, site: str, seed: int, said: mmap.mmap, told: int) -> None:
    """Open and blank for ever; each interval is said in a slot of its own, as it grows."""
    rng = random.Random(seed)
    clock = HandClock()
    calibration = DoseCalibration("low", RATE, 0.05, 0.0)
    meter = DoseMeter(Ledger(path), clock, calibration, specimen="s", site=site)
    for slot in range(SLOTS):
        meter.opening()
        begun = clock.t
        meter.opened(Exchange(begun, begun))
        for _ in range(rng.randrange(1, 12)):
            if meter.ahead_s() < RENEW_S:  # as the guard does
                meter.renew()
            clock.t += rng.uniform(0.0, 0.9)
            struct.pack_into("d", said, 8 * slot, clock.t - begun)
            if rng.random() < 0.1:
                meter.settle()
        if slot == 1:
            os.write(told, b".")
        meter.blanked(Exchange(clock.t, clock.t))
        clock.t += rng.uniform(0.0, 5.0)
        if rng.random() < 0.5:
            meter.settle()


def main(path: Path, children: int, seed: int) -> None:
    """Kill so many children, each at an instant of its own."""
    rng = random.Random(seed)
    for number in range(children):
        said = mmap.mmap(-1, 8 * SLOTS)
        site = f"site {number}"
        ready, told = os.pipe()
        child = os.fork()
        if not child:
            # Half of them are killed from their beginning on, the others when they are under way.
            if number % 2:
                os.write(told, b".")
            expose(path, site, number + 1000 * seed, said, told)
            os._exit(1)
        os.read(ready, 1)
        select.select([], [], [], rng.uniform(0.0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)
        given = RATE * sum(struct.unpack(f"{SLOTS}d", said[:]))
        with Ledger(path) as ledger:
            booked = ledger.dose("s", site)
            openings = len(ledger.exposures("s", site))
        print(json.dumps({"given": given, "booked": booked, "leases": openings}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
