"""One cycle of deposition and stripping on the simulated bench, ten times faster than life.

Run it with a folder for the data:  python examples/one_cycle.py runs
"""

import sys

from stmtem_control.config import load_station
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.session import Session

if len(sys.argv) != 2:
    sys.exit(__doc__)
station = load_station("sim").with_bench(speed=10.0, size=256).with_data(sys.argv[1])
with Session(station) as s:
    plan = deposition_stripping_cycles(
        s.bias, s.camera, s.beam, probe=s.probe, cycles=1, frame_rate_Hz=5.0, exposure_s=0.18
    )
    outcome = s.run(plan)
print(f"{outcome.status}: {outcome.frames} frames in {outcome.folder}")
sys.exit(outcome.exit_code)
