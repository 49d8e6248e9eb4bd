"""An estimate of a run on the bench, and the run: frames exactly, time as planned."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import Station, load_station
from stmtem_control.estimate import check_protocol, estimate_plan
from stmtem_control.plans import beam_blocked_control, deposit, follow_protocol
from stmtem_control.protocol import parse_protocol
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

SPEED = 2.0
SHARE = 0.02
#: Wall seconds that a machine may lose on which other tests work: the bench's clock goes on then.
#: How close a quiet one comes is shown by ``python -m benchmarks estimate``.
BUSY_S = 4.0
PROTOCOL = """\
protocol: a ramp, cycles, and a look
camera: {rate: 10 Hz, exposure: 40 ms}
pre_roll: 0.4 s
steps:
  - deposit: {bias: -5 V, ramp: 10 V/s, duration: 1.2 s}
  - cycles:
      repeat: 2
      deposit: {bias: -5 V, duration: 0.3 s}
      strip: {bias: 5 V, duration: 0.3 s}
      rest: 0.2 s
  - blank: {duration: 1 s, bias: 1 V, snapshots: {every: 0.5 s, frames: 2}}
"""


def cases() -> dict[str, tuple[Callable[[Any], Any], int]]:
    """Return what makes a plan, and the frames that can be counted by hand."""
    protocol: Any = parse_protocol(PROTOCOL)
    slow: dict[str, Any] = {"frame_rate_Hz": 10.0, "exposure_s": 0.04}
    return {
        "a hold": (
            lambda s: deposit(s.bias, s.camera, s.beam, duration_s=3.0, pre_roll_s=0.5, **slow),
            35,
        ),
        "a control": (
            lambda s: beam_blocked_control(
                s.bias, s.camera, s.beam, conditions=("blanked",), snapshots_s=(0.5,), **slow
            ),
            4 * 3,
        ),
        "a protocol": (
            lambda s: follow_protocol(s.bias, s.camera, s.beam, s.probe, protocol),
            # 0.4 + 1.2 + 2 x 0.8 s at 10 Hz, and two looks.
            32 + 2 * 2,
        ),
    }


@pytest.fixture
def slow_station(tmp_path: Path) -> Station:
    found = load_station("sim").with_bench(speed=SPEED, size=256).with_data(tmp_path / "runs")
    return found.with_safe(guard=False)


@pytest.fixture
def slow_session(slow_station: Station) -> Iterator[Session]:
    with (
        Bench(speed=SPEED, size=256) as bench,
        Session(slow_station, addresses=bench.addresses.as_dict()) as session,
    ):
        yield session


@pytest.mark.parametrize("name", cases())
def test_a_run_takes_what_was_estimated(
    name: str, slow_session: Session, slow_station: Station
) -> None:
    make, frames = cases()[name]
    found = estimate_plan(make, slow_station)
    assert found.ok, found.refusals
    assert (found.frames, found.frames_exact) == (frames, True)
    begun = time.perf_counter()
    outcome = slow_session.run(make(slow_session))
    took_s = time.perf_counter() - begun
    assert outcome.status == "success", outcome.reason
    assert outcome.frames + outcome.dropped == frames
    wakes_s = 0.3  # what the recorder may need less than is counted for it
    assert (1.0 - SHARE) * found.wall_s - wakes_s < took_s < (1.0 + SHARE) * found.wall_s + BUSY_S
    assert outcome.total_dose_e_per_A2 > 0.9 * found.dose_e_per_A2


def test_a_protocol_is_estimated_by_its_own_plan(slow_station: Station) -> None:
    protocol: Any = parse_protocol(PROTOCOL)
    by_plan = estimate_plan(
        lambda s: follow_protocol(s.bias, s.camera, s.beam, s.probe, protocol), slow_station
    )
    by_file = check_protocol(protocol, slow_station)
    assert by_file.wall_s == pytest.approx(by_plan.wall_s)
    assert by_file.acquisitions == by_plan.acquisitions
    assert by_file.name == "a ramp, cycles, and a look"
