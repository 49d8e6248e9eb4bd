"""An estimate of a run on the bench, and the run: time within 2 %, frames exactly."""

import csv
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from stmtem_control.config import Station
from stmtem_control.estimate import Estimate, check_protocol, estimate_plan
from stmtem_control.plans import beam_blocked_control, deposit, follow_protocol
from stmtem_control.protocol import parse_protocol
from stmtem_control.session import Session

SHARE = 0.02
#: Wall seconds that a machine may lose on which others work, too: the bench's clock goes on then.
#: What a quiet one takes is shown by ``python -m benchmarks estimate``.
BUSY_S = 4.0
PROTOCOL = """\
protocol: a ramp, cycles, and a look
camera: {rate: 20 Hz, exposure: 40 ms}
pre_roll: 0.4 s
steps:
  - deposit: {bias: -5 V, ramp: 5 V/s, duration: 3 s}
  - cycles:
      repeat: 2
      deposit: {bias: -5 V, duration: 1 s}
      strip: {bias: 5 V, duration: 1 s}
      rest: 0.25 s
  - blank: {duration: 2 s, bias: 1 V, snapshots: {every: 1 s, frames: 3}}
"""


def cases() -> dict[str, Callable[[Any], Any]]:
    protocol: Any = parse_protocol(PROTOCOL)
    return {
        "a hold": lambda s: deposit(s.bias, s.camera, s.beam, duration_s=8.0),
        "a control of one's own": lambda s: beam_blocked_control(
            s.bias, s.camera, s.beam, conditions=("blanked",), snapshots_s=(0.5,)
        ),
        "a protocol": lambda s: follow_protocol(s.bias, s.camera, s.beam, s.probe, protocol),
    }


def _last_edge_s(outcome: Any) -> float:
    """Return the station seconds from the first level that is not 0 to the last change of it."""
    with open(outcome.folder / "frames.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    biased = [row for row in rows if float(row["bias_set_V"] or 0.0) != 0.0]
    return float(biased[-1]["run_time_s"]) - float(biased[0]["run_time_s"])


def _planned_s(found: Estimate) -> float:
    """Return the same of an estimate, as far as frames show it."""
    lit = [
        (max(point.t_s, one.begun_s), min(after.t_s, one.ended_s))
        for point, after in pairwise(found.timeline)
        for one in found.acquisitions
        if point.bias_V and point.t_s < one.ended_s and after.t_s > one.begun_s
    ]
    return lit[-1][1] - lit[0][0]


@pytest.mark.parametrize("name", cases())
def test_a_run_takes_what_was_estimated(name: str, session: Session, station: Station) -> None:
    make = cases()[name]
    found = estimate_plan(make, station)
    assert found.ok, found.refusals
    assert found.frames_exact
    begun = time.perf_counter()
    outcome = session.run(make(session))
    took_s = time.perf_counter() - begun
    assert outcome.status == "success", outcome.reason
    assert outcome.frames + outcome.dropped == found.frames
    assert (1.0 - SHARE) * found.wall_s - 0.1 < took_s < (1.0 + SHARE) * found.wall_s + BUSY_S
    # What the plan waits for is on a timetable, which no machine can make longer.
    assert _last_edge_s(outcome) == pytest.approx(_planned_s(found), rel=SHARE, abs=0.3)
    assert outcome.total_dose_e_per_A2 == pytest.approx(found.dose_e_per_A2, rel=0.1)


def test_a_protocol_is_estimated_by_its_own_plan(station: Station) -> None:
    protocol: Any = parse_protocol(PROTOCOL)
    by_plan = estimate_plan(
        lambda s: follow_protocol(s.bias, s.camera, s.beam, s.probe, protocol), station
    )
    by_file = check_protocol(protocol, station)
    assert by_file.wall_s == pytest.approx(by_plan.wall_s)
    assert by_file.acquisitions == by_plan.acquisitions
    assert by_file.name == "a ramp, cycles, and a look"
