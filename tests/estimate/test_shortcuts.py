"""What a walk leaves out changes nothing: readings of a hold, and readings in a row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import Station, load_station
from stmtem_control.estimate import Estimate, estimate_plan
from stmtem_control.estimate.walked_legs import ReadingPace
from stmtem_control.plans import approach_contact, follow_protocol, leakage_baseline
from stmtem_control.protocol import read_protocol

PROTOCOLS = Path(__file__).resolve().parents[2] / "protocols"
MESSAGES_S = 1e-3  # host time of some messages more or less at the end of a hold


@pytest.fixture
def bench(tmp_path: Path) -> Station:
    return load_station("sim").with_data(tmp_path / "runs")


def following(name: str, *, pace: float | None) -> Callable[[Any], Any]:
    """Return what makes a plan that follows a protocol without its approaches."""
    whole = read_protocol(PROTOCOLS / f"{name}.yaml")
    steps = tuple(step for step in whole.steps if step.kind not in ("approach", "retract"))
    protocol: Any = whole.model_copy(update={"steps": steps})

    def plan(s: Any) -> Any:
        if pace is not None:
            s.clock.pace = pace
        return follow_protocol(s.bias, s.camera, s.beam, s.probe, protocol, ask=lambda q: "yes")

    return plan


def compare(short: Estimate, whole: Estimate) -> None:
    """See that two walks came to the same."""
    assert short.ok, short.refusals
    assert short.station_s == pytest.approx(whole.station_s, abs=MESSAGES_S)
    assert short.frames == whole.frames
    assert short.bias_edges == whole.bias_edges
    assert short.dose_e_per_A2 == pytest.approx(whole.dose_e_per_A2, rel=1e-3)
    assert short.charge_limit_C == pytest.approx(whole.charge_limit_C, rel=1e-3)
    for one, other in zip(short.acquisitions, whole.acquisitions, strict=True):
        assert one.frames == other.frames
        assert one.begun_s == pytest.approx(other.begun_s, abs=MESSAGES_S)


@pytest.mark.parametrize("name", ["irradiation", "several_cycles", "beam_blocked"])
def test_the_pace_changes_neither_time_nor_frames(name: str, bench: Station) -> None:
    short = estimate_plan(following(name, pace=None), bench)
    whole = estimate_plan(following(name, pace=1.0), bench)
    assert short.messages < 0.7 * whole.messages
    compare(short, whole)
    assert short.readings == pytest.approx(whole.readings, rel=0.05)  # a share of a hold each


PLANS: dict[str, Callable[[Any], Any]] = {
    "approach": lambda s: approach_contact(s.probe, s.bias, s.beam),
    "leak": lambda s: leakage_baseline(s.bias, s.beam, probe=s.probe),
}


@pytest.mark.parametrize("name", PLANS)
def test_readings_at_once_are_those_one_by_one(
    name: str, bench: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = estimate_plan(PLANS[name], bench)
    monkeypatch.setattr(ReadingPace, "begin", lambda pace, settings: None)
    whole = estimate_plan(PLANS[name], bench)
    assert short.messages < 0.7 * whole.messages
    compare(short, whole)
    assert short.readings == whole.readings
    assert [point.bias_V for point in short.timeline] == [point.bias_V for point in whole.timeline]
