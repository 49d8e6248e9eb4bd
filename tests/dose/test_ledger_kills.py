"""Whatever dies, and when: the ledger never says less than the beam has given."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.meter import LEASE_S

from .killed_booking import RATE

PROGRAM = Path(__file__).with_name("killed_booking.py")
KILLS = int(os.environ.get("DOSE_KILLS", "40"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


def test_a_kill_at_any_instant_never_loses_dose(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    seed = 5
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(path), str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50.0 + KILLS,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == KILLS
    assert all(one["given"] > 0.0 for one in found[::2])  # they were under way
    for one in found:
        over = one["booked"] - one["given"]
        # Two leases while one takes the place of the other; a rounding of sums.
        assert -1e-6 <= over <= 2.0 * LEASE_S * RATE + 1e-6, (seed, one)
    with Ledger(path, readonly=True) as ledger:
        assert all(total.dose_e_per_A2 >= 0.0 for total in ledger.totals())
