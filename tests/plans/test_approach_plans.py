"""The probe comes to contact and no further, or says why not."""

import json
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.errors import ApproachError, LimitError
from stmtem_control.plans import approach_contact, retract
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


def approach(session: Session, **options: Any) -> Any:
    return session.run(approach_contact(session.probe, session.bias, session.beam, **options))


def readings(folder: Path) -> list[float]:
    docs = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    return [doc["data"]["bias_current"] for name, doc in docs if name == "event"]


def test_contact_is_found_without_pressing_in(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, -200.0)  # so that coarse steps are needed too
    outcome = approach(session)
    assert outcome.exit_code == 0, outcome.reason
    assert -30.0 < bench.specimen.gap_nm < 1.0
    assert bench.specimen.deepest_nm < 30.0
    assert not bench.specimen.pierced
    assert all(bench.safe().values())
    currents = readings(outcome.folder)
    assert abs(currents[0]) < 5e-12  # the leak
    assert currents[-1] > 1e-11
    # At the positive bias of the approach no lithium is made.
    assert len(bench.specimen.model.particles) == 0


def test_retract_leaves_a_gap(session: Session, bench: Bench) -> None:
    assert approach(session).exit_code == 0
    outcome = session.run(retract(session.probe, session.bias, session.beam))
    assert outcome.exit_code == 0
    assert bench.specimen.gap_nm > 100.0
    assert all(bench.safe().values())


def test_no_contact_is_given_up_with_a_reason(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, -5000.0)
    outcome = approach(session, max_coarse_steps=4, coarse_step=2, fine_range_V=2.0)
    assert outcome.exit_code == 1
    assert isinstance(outcome.error, ApproachError)
    assert "no contact after 4 coarse steps" in outcome.reason
    assert bench.specimen.deepest_nm == 0.0
    assert all(bench.safe().values())


def test_a_short_is_backed_off_from(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 240.0)  # somebody slammed the probe through the oxide
    bench.specimen.step(2, -280.0)
    assert bench.specimen.pierced
    outcome = approach(session)
    assert outcome.exit_code == 1
    assert "short" in outcome.reason
    assert bench.specimen.gap_nm > 50.0
    assert all(bench.safe().values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold_A": 0.0}, "threshold_A"),
        ({"threshold_A": 1e-8}, "threshold_A"),
        ({"fine_step_V": 0.0}, "fine_step_V"),
        ({"coarse_step": 0}, "coarse_step"),
        ({"approach_V": 99.0}, "99"),
        ({"max_coarse_steps": -1}, "max_coarse_steps"),
    ],
)
def test_a_bad_parameter_moves_nothing(
    session: Session, bench: Bench, options: dict[str, Any], words: str
) -> None:
    before = bench.specimen.probe_nm
    outcome = approach(session, **options)
    assert isinstance(outcome.error, LimitError)
    assert words in outcome.reason
    assert bench.specimen.probe_nm == before
    assert not bench.source.output_on


def test_a_retraction_of_no_steps_is_refused(session: Session) -> None:
    for steps in (0, 500):
        outcome = session.run(retract(session.probe, session.bias, session.beam, steps=steps))
        assert outcome.folder is None
        assert isinstance(outcome.refusal(), LimitError)
