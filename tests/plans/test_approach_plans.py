"""The probe comes to contact and no further, or says why not."""

import json
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.errors import ApproachError, LimitError
from stmtem_control.plans import approach_contact, leakage_baseline, retract
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


def approach(session: Session, **options: Any) -> Any:
    return session.run(approach_contact(session.probe, session.bias, session.beam, **options))


def documents(folder: Path, kind: str) -> list[dict[str, Any]]:
    docs = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    return [doc for name, doc in docs if name == kind]


def readings(folder: Path) -> list[float]:
    return [
        doc["data"]["bias_current"]
        for doc in documents(folder, "event")
        if "bias_current" in doc["data"]
    ]


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
    # What was judged stands in the run, and with the probe.
    judged = documents(outcome.folder, "event")[-1]["data"]
    assert judged["contact_kind"] == bench.specimen.contact_kind() == "oxide"
    assert judged["contact_resistance_ohm"] == pytest.approx(20.66e9, rel=0.05)
    assert judged["contact_fine_V"] == judged["probe_z_fine"]
    assert session.probe.contact.get() == "oxide"
    assert session.probe.step_size.up_count.get() == 1
    streams = {doc["name"]: doc for doc in documents(outcome.folder, "descriptor")}
    assert set(streams) == {"approach", "contact"}
    keys = streams["approach"]["data_keys"]
    assert keys["approach_excess_A"]["units"] == "A"
    assert keys["approach_stage"]["dtype"] == "string"


def test_the_leak_goes_into_later_runs(session: Session, bench: Bench) -> None:
    outcome = session.run(leakage_baseline(session.bias, session.beam, probe=session.probe))
    assert outcome.exit_code == 0, outcome.reason
    assert outcome.folder is not None
    streams = {doc["name"] for doc in documents(outcome.folder, "descriptor")}
    assert streams == {"leakage", "leak"}
    found = documents(outcome.folder, "event")[-1]["data"]
    assert found["leakage_leak_S"] == pytest.approx(1e-12, rel=0.1)
    assert session.bias.leak.get() == found["leakage_leak_S"]
    assert all(bench.safe().values())
    assert bench.specimen.deepest_nm == 0.0
    later = session.run(retract(session.probe, session.bias, session.beam, steps=1))
    assert later.folder is not None
    config = documents(later.folder, "descriptor")[0]["configuration"]
    assert config["probe"]["data"]["probe_step_size_up_count"] == 0
    outcome = approach(session, max_coarse_steps=0, fine_range_V=1.0)
    assert outcome.folder is not None
    start = documents(outcome.folder, "start")[0]
    assert start["leakage_baseline"]["leak_S"] == found["leakage_leak_S"]
    assert 0.0 <= start["leakage_baseline"]["age_s"] < 60.0
    assert start["plan_args"]["max_coarse_steps"] == 0
    config = documents(outcome.folder, "descriptor")[0]["configuration"]
    assert config["bias"]["data"]["bias_leak"] == found["leakage_leak_S"]
    assert config["bias"]["data"]["bias_baseline_noise"] > 0.0


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
        ({"least_step_V": 2.0}, "least_step_V"),
        ({"sigmas": 0.0}, "sigmas"),
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
