"""Protocols on the bench: what is recorded of each step, and what is refused before it moves."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.dose.ledger import Ledger
from stmtem_control.errors import ApproachError, InterlockError, LimitError
from stmtem_control.plans import (
    deposit_until,
    diffraction_snapshot,
    follow_protocol,
    strip_until,
    survey,
)
from stmtem_control.plans.timetable import whole_frames
from stmtem_control.protocol import parse_protocol
from stmtem_control.recording.frame_files import FrameFiles
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

from .test_biasing_plans import all_safe, check_agreement, documents, rows

HEAD = "protocol: trial\ncamera: {rate: 10 Hz, exposure: 80 ms}\npre_roll: 0.5 s\nsteps:\n"
Ask = Callable[[str], str]
# A command takes some wall time, more where other tests run: at five times life that is long.
pytestmark = pytest.mark.bench(speed=2.0)


@pytest.fixture
def contact(session: Session, bench: Bench) -> Session:
    """Provide a session with the probe in contact already."""
    bench.specimen.step(2, 41.0)
    return session


def at_the_column(bench: Bench) -> Ask:
    """Return a person who turns the bench's column as the question says."""

    def ask(question: Any) -> str:
        if question.mode == "diffraction":
            bench.turn("diffraction", question.camera_length_m or None)
        elif question.mode:
            bench.turn(question.mode)
        return f"turned to {question.mode}" if question.mode else "in focus"

    return ask


def follow(session: Session, *steps: str, head: str = HEAD, **more: Any) -> Outcome:
    text = head + "".join(f"  - {step}\n" for step in steps)
    plan = follow_protocol(session.bias, session.camera, session.beam, session.probe, text, **more)
    return session.run(plan)


def events(outcome: Outcome, state: str = "end") -> list[dict[str, Any]]:
    """Return the events of the stream "step", their keys without its name."""
    assert outcome.folder is not None, outcome.reason
    data = [doc["data"] for name, doc in documents(outcome.folder) if name == "event"]
    found = [
        {key.removeprefix("step_"): value for key, value in one.items()}
        for one in data
        if "step_number" in one
    ]
    return [one for one in found if one["state"] == state]


def test_steps_leave_their_record_and_exactly_their_frames(contact: Session, bench: Bench) -> None:
    outcome = follow(
        contact,
        "comment: Begin.",
        "cycles: {repeat: 2, deposit: {bias: -5 V, duration: 0.6 s}, "
        "strip: {bias: 5 V, duration: 0.8 s}, rest: 0.2 s}",
        "comment: Between.",
        "hold: {levels: [-1 V, -2 V], each: 0.3 s}",
        "blank: {duration: 1 s, bias: -5 V, snapshots: {every: 0.5 s, frames: 3}}",
        "retract: {steps: 2}",
        md={"operator": "A. Name"},
    )
    assert outcome.error is None
    assert all_safe(bench)
    planned = whole_frames(0.5 + 2 * 1.6 + 0.6, 10.0)
    assert outcome.frames + outcome.dropped == planned + 2 * 3
    check_agreement(outcome.folder)  # type: ignore[arg-type]
    begun, ended = events(outcome, "begin"), events(outcome)
    assert [(one["number"], one["kind"]) for one in begun] == [
        (1, "comment"),
        *[(2, kind) for kind in ("deposit", "strip", "rest") * 2],
        (3, "comment"),
        (4, "hold"),
        (5, "blank"),
        (6, "retract"),
    ]
    assert [one["cycle"] for one in begun if one["number"] == 2] == [1, 1, 1, 2, 2, 2]
    assert {one["planned_frames"] for one in begun if one["number"] in (2, 4)} == {planned}
    assert begun[0]["text"] == "Begin."
    assert begun[1]["where"] == "protocol:6"
    assert all(one["reason"] for one in ended)
    assert begun[1]["of"] == 6
    table = rows(outcome.folder)  # type: ignore[arg-type]
    looks = [row for row in table if row["phase"] == "snapshot"]
    # Under the bias while it lasts; the last look is at what it came to.
    assert [float(row["bias_set_V"]) for row in looks] == [-5.0] * 3 + [0.0] * 3
    assert {float(row["bias_set_V"]) for row in table if row["phase"] == "hold"} >= {-1.0, -2.0}
    start = documents(outcome.folder)[0][1]  # type: ignore[arg-type]
    assert (start["plan_name"], start["protocol"]) == ("follow_protocol", "trial")
    assert start["operator"] == "A. Name"
    assert start["plan_args"]["protocol"]["name"] == "trial"
    assert bench.specimen.gap_nm > 10.0


def test_what_a_queue_gives_is_the_same_protocol(contact: Session) -> None:
    given = parse_protocol(HEAD + "  - rest: {duration: 0.5 s}\n").to_json_dict()
    outcome = contact.run(
        follow_protocol(
            contact.bias,
            contact.camera,
            contact.beam,
            contact.probe,
            json.loads(json.dumps(given)),
        )
    )
    assert outcome.error is None
    assert outcome.frames + outcome.dropped == 10


def test_what_was_deposited_is_stripped_until_the_charge_is_back(
    contact: Session, bench: Bench
) -> None:
    most: list[int] = []
    model = bench.specimen.model
    contact.RE.subscribe(lambda *_: most.append(len(model.particles)))
    outcome = follow(
        contact,
        "deposit: {bias: -5 V, duration: 1.5 s}",
        "strip: {bias: 5 V, until: {charge: 0 C}, timeout: 20 s}",
        "rest: {duration: 0.3 s}",
    )
    assert outcome.error is None
    deposited, stripped, rested = events(outcome)
    assert deposited["charge_C"] == pytest.approx(-1.5 * 2.5e-10, rel=0.3)
    assert stripped["reason"].startswith("charge 0 C: ")
    assert -1e-11 <= stripped["charge_C"] < 2e-10  # a reading further at most
    assert rested["reason"] == "its time was over"
    assert max(most) > 10
    assert len(model.particles) <= 0.2 * max(most)
    edges = [float(row["bias_set_V"]) for row in rows(outcome.folder)]  # type: ignore[arg-type]
    assert edges[-1] == 0.0


def test_a_time_out_ends_the_step_and_says_so(contact: Session) -> None:
    outcome = follow(contact, "deposit: {bias: -5 V, until: {charge: -1 C}, timeout: 0.5 s}")
    assert outcome.error is None
    assert [one["reason"] for one in events(outcome)] == ["time-out after 0.5 s"]


def test_a_ramp_goes_in_steps_and_is_part_of_the_duration(contact: Session) -> None:
    outcome = follow(contact, "deposit: {bias: -4 V, ramp: 4 V/s, duration: 1.5 s}")
    assert outcome.error is None
    assert outcome.frames + outcome.dropped == 20
    table = [row for row in rows(outcome.folder) if row["phase"] == "deposit"]  # type: ignore[arg-type]
    levels = [float(row["bias_set_V"]) for row in table]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] < -3.0
    assert len(set(levels)) >= 4


class Burst:
    """Sees when so many readings have been taken."""

    def __init__(self, after: int) -> None:
        self.left = after

    def seen(self, look: Any) -> bool:
        self.left -= 1
        return self.left <= 0


def test_events_of_named_detectors_end_a_step(contact: Session) -> None:
    outcome = follow(
        contact,
        "deposit: {bias: -5 V, until: {event: burst}, timeout: 20 s}",
        detectors={"burst": Burst(3)},
    )
    assert outcome.error is None
    assert events(outcome)[0]["reason"].startswith("event burst: after ")


def test_a_person_is_asked_and_the_answer_kept(contact: Session, bench: Bench) -> None:
    safe: list[bool] = []
    ask = at_the_column(bench)

    def look(question: str) -> str:
        safe.append(all_safe(bench))
        return ask(question)

    outcome = follow(
        contact,
        "prompt: Focus.",
        "deposit: {bias: -5 V, duration: 1 s}",
        "survey: {frames: 2}",
        "diffraction: {frames: 3, camera_length: 0.4 m}",
        "rest: {duration: 0.3 s}",
        ask=look,
    )
    assert outcome.error is None
    assert safe == [True] * 5  # whenever a person is at work
    by_kind = {one["kind"]: one for one in events(outcome)}
    assert by_kind["prompt"]["answer"] == "in focus"
    assert by_kind["diffraction"]["answer"] == "turned to diffraction; turned to imaging"
    assert by_kind["diffraction"]["camera_length_m"] == 0.4
    assert by_kind["diffraction"]["beam_energy_keV"] == 200.0
    table = rows(outcome.folder)  # type: ignore[arg-type]
    patterns = [row for row in table if row["mode"] == "diffraction"]
    assert len(patterns) == 3
    assert {row["camera_length_m"] for row in patterns} == {"0.4"}
    assert {row["phase"] for row in patterns} == {"diffraction"}
    assert all(float(row["dose_e_per_A2"]) > 1.0 for row in patterns)
    assert sum(row["mode"] == "survey" for row in table) == 2
    assert table[-1]["mode"] == "imaging"
    # The patterns are patterns: bright around the beam stop, and fainter by far at the rim.
    shown = FrameFiles(outcome.folder)[int(patterns[0]["frame"])]  # type: ignore[arg-type]
    middle = slice(shown.shape[0] // 2 - 32, shown.shape[0] // 2 + 32)
    assert shown[middle, middle].mean() > 5.0 * shown[:16].mean()


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["deposit: {bias: -50 V, duration: 1 s}"], "protocol:5: bias: -50.0 V is outside"),
        (["strip: {levels: [1 V, 20 V], each: 1 s}"], "20"),
        (["prompt: Focus."], "nobody can be; give the plan ask="),
        (
            ["rest: {duration: 1 s}", "diffraction: {frames: 2}"],
            "protocol:6: diffraction: a person",
        ),
        (["retract: {steps: 500}"], "-500"),
        (["approach: {fine_range: 140 V, bias: 40 V}"], "40"),
        (
            ["deposit: {bias: -5 V, until: {event: facet}, timeout: 1 s}"],
            "no detector of this name",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_moves(
    contact: Session, bench: Bench, steps: list[str], words: str
) -> None:
    outcome = follow(contact, *steps)
    assert outcome.folder is None
    assert isinstance(outcome.error, LimitError)
    assert words in outcome.reason
    assert bench.specimen.charge() == 0.0
    assert list(contact.root.glob("*_follow*")) == []


@pytest.mark.parametrize(
    ("beam", "kind", "words"),
    [
        ("{dose_rate: 30 e/A^2/s}", LimitError, "dose_rate is 30 e/A^2/s in the protocol, and 20"),
        ("{budget: 20 e/A^2}", InterlockError, "would give a site 30 e/A^2, its own budget is 20"),
    ],
)
def test_what_the_protocol_says_of_the_beam_holds(
    contact: Session, beam: str, kind: type[Exception], words: str
) -> None:
    outcome = follow(
        contact, "rest: {duration: 1 s}", head=HEAD.replace("steps:", f"beam: {beam}\nsteps:")
    )
    assert isinstance(outcome.error, kind)
    assert words in outcome.reason
    assert outcome.folder is None


def test_several_sites_in_one_run(contact: Session) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(str(question))
        return ""

    outcome = follow(
        contact,
        "rest: {duration: 0.5 s}",
        "site: fibre 2",
        "rest: {duration: 1 s}",
        head=HEAD.replace("steps:", "site: fibre 1\nmetadata: {sample: CNF-12}\nsteps:"),
        ask=ask,
    )
    assert outcome.error is None
    assert asked == ["Move the stage to 'fibre 2', and focus; the beam is blanked when you answer"]
    table = rows(outcome.folder)  # type: ignore[arg-type]
    by_site = [
        sum(float(row["dose_e_per_A2"]) for row in table if row["site"] == site)
        for site in ("fibre 1", "fibre 2")
    ]
    assert all(dose > 5.0 for dose in by_site)
    assert [one["site"] for one in events(outcome)] == ["fibre 1", "fibre 2", "fibre 2"]
    contact.close()
    booked = {(a.specimen, a.site): a for a in Ledger(contact.dose.ledger.path).totals()}
    assert booked["CNF-12", "fibre 1"].dose_e_per_A2 >= by_site[0]
    assert booked["CNF-12", "fibre 2"].dose_e_per_A2 > booked["CNF-12", "fibre 1"].dose_e_per_A2


def test_an_answer_of_no_ends_the_run_safely(contact: Session, bench: Bench) -> None:
    outcome = follow(
        contact, "deposit: {bias: -5 V, duration: 0.5 s}", "prompt: Go on?", ask=lambda _: "no"
    )
    assert "ended by a person, who answered 'no' to 'Go on?'" in outcome.reason
    assert outcome.folder is not None
    assert outcome.frames + outcome.dropped == 10
    assert all_safe(bench)


def test_an_approach_that_fails_ends_the_protocol(session: Session, bench: Bench) -> None:
    bench.inject("probe:stuck_steps")
    outcome = follow(
        session, "approach: {max_coarse_steps: 1, fine_range: 2 V, fine_step: 1 V}",
        "deposit: {bias: -5 V, duration: 1 s}",
    )  # fmt: skip
    assert isinstance(outcome.error, ApproachError)
    assert all_safe(bench)
    assert outcome.frames == 0


def test_plans_of_one_step(contact: Session, bench: Bench) -> None:
    devices = (contact.bias, contact.camera, contact.beam)
    timing: dict[str, Any] = {"frame_rate_Hz": 10.0, "exposure_s": 0.08}
    ask = at_the_column(bench)
    plans = {
        "deposit_until": deposit_until(*devices, {"charge": "-0.2 nC"}, **timing),
        "strip_until": strip_until(*devices, {"elapsed": "0.5 s"}, timeout_s=5.0, **timing),
        "survey": survey(*devices, frames=2, ask=ask, **timing),
        "diffraction_snapshot": diffraction_snapshot(*devices, frames=2, ask=ask, **timing),
    }
    reasons = []
    for name, plan in plans.items():
        outcome = contact.run(plan)
        assert outcome.error is None
        assert documents(outcome.folder)[0][1]["plan_name"] == name  # type: ignore[arg-type]
        reasons.append(events(outcome)[-1]["reason"])
    assert reasons[0].startswith("charge -200 pC: -")
    assert reasons[1].startswith("elapsed 0.5 s: ")
    assert reasons[2:] == ["done", "done"]


@pytest.mark.parametrize(
    ("plan", "until", "words"),
    [
        (deposit_until, {"charges": "0 C"}, "charge"),
        (strip_until, {"charge": "0"}, "unit"),
        (deposit_until, {}, "until"),
        (deposit_until, {"charge": "1 nC"}, "deposit: until charge 1 nC ends this step at once: "),
        (strip_until, {"charge": "0 C"}, "strip: until charge 0 C ends this step at once: no c"),
    ],
)
def test_a_condition_that_is_none_is_told(
    contact: Session, plan: Any, until: dict[str, str], words: str
) -> None:
    outcome = contact.run(plan(contact.bias, contact.camera, contact.beam, until))
    assert isinstance(outcome.error, LimitError)
    assert words in outcome.reason
    assert "\n" not in outcome.reason
