"""A program for tests to kill: runs a plan on a bench, and tells when frames are declared.

Called with the bench's addresses as JSON, and the folder for the data.
"""

import json
import sys
from typing import Any

from stmtem_control.config import load_station
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.session import Session

SPEED = 5.0
SIZE = 256


def tell(name: str, doc: dict[str, Any]) -> None:
    """Print how many frames are declared."""
    if name == "stream_datum":
        print(doc["indices"]["stop"], flush=True)


def main() -> int:
    """Run, and return the exit code of the outcome."""
    addresses, root = json.loads(sys.argv[1]), sys.argv[2]
    station = load_station("sim").with_bench(speed=SPEED, size=SIZE).with_data(root)
    with Session(station, addresses=addresses) as session:
        session.RE.subscribe(tell)
        outcome = session.run(
            deposition_stripping_cycles(
                session.bias,
                session.camera,
                session.beam,
                cycles=15,
                frame_rate_Hz=20.0,
                exposure_s=0.04,
                deposit_s=6.0,
                strip_s=6.0,
            )
        )
    print(outcome.reason, file=sys.stderr)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
