"""Deposition and stripping on the bench: what is recorded, and that it all agrees."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tifffile
from event_model import DocumentNames, schema_validators

from stmtem_control.errors import LimitError
from stmtem_control.plans import deposit, deposition_stripping_cycles, strip
from stmtem_control.run_folder import summarise
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

Documents = list[tuple[str, dict[str, Any]]]


def documents(folder: Path) -> Documents:
    text = (folder / "documents.jsonl").read_text("utf-8")
    return [tuple(json.loads(line)) for line in text.splitlines()]


def pages(folder: Path) -> int:
    count = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            count += len(file.pages)
    return count


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "frames.csv").read_text("utf-8").splitlines()))


def indices(docs: Documents) -> int:
    """Return how many frames the documents declare, making sure that they are in order."""
    stop = 0
    for name, doc in docs:
        if name == "stream_datum":
            assert doc["indices"]["start"] == stop
            stop = doc["indices"]["stop"]
    return stop


def check_agreement(folder: Path) -> int:
    """Pages on disk = rows in the table = indices in the documents = rows in the documents."""
    docs = documents(folder)
    for name, doc in docs:
        schema_validators[DocumentNames[name]].validate(doc)
    count = indices(docs)
    table = rows(folder)
    frames = {doc["uid"] for name, doc in docs if name == "descriptor" and doc["name"] == "frames"}
    paged = [d for n, d in docs if n == "event_page" and d["descriptor"] in frames]
    assert pages(folder) == len(table) == count == sum(len(d["time"]) for d in paged)
    assert [int(row["frame"]) for row in table] == list(range(count))
    declared = [n for page in paged for n in page["seq_num"]]
    assert declared == list(range(1, count + 1))
    biases = [v for page in paged for v in page["data"]["camera_bias_set_V"]]
    assert biases == [float(row["bias_set_V"]) for row in table]
    return count


@pytest.fixture
def contact(session: Session, bench: Bench) -> Session:
    """Provide a session with the probe in contact already: the approach has its own tests."""
    bench.specimen.step(2, 41.0)
    return session


def all_safe(bench: Bench) -> bool:
    return all(bench.safe().values())


def run_cycles(session: Session, **options: Any) -> Outcome:
    settings: dict[str, Any] = {
        "cycles": 1,
        "frame_rate_Hz": 5.0,
        "exposure_s": 0.15,
        "strip_s": 2.0,
        "rest_s": 0.5,
        **options,
    }
    plan = deposition_stripping_cycles(
        session.bias, session.camera, session.beam, probe=session.probe, **settings
    )
    return session.run(plan)


def test_a_run_is_complete_and_agrees_with_itself(session: Session, bench: Bench) -> None:
    outcome = run_cycles(session, cycles=2)
    assert outcome.error is None
    assert outcome.folder is not None
    assert outcome.exit_code == 0
    folder = outcome.folder
    count = check_agreement(folder)
    assert count == outcome.frames > 15
    assert outcome.dropped == 0
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "documents.jsonl",
        "frames_0000.tif",
        "frames.csv",
        "frames.csv-metadata.json",
        "bias.csv",
        "bias.csv-metadata.json",
        "timeline.jsonl",
        "station.toml",
        "outcome.json",
    }

    table = rows(folder)
    phases = list(dict.fromkeys((row["phase"], row["cycle"]) for row in table))
    assert phases[0] == ("pre-roll", "0")
    body = [(p, c) for p in ("deposit", "strip", "rest") for c in "12"]
    assert [p for p in phases if p in body] == sorted(body, key=lambda pair: pair[1])
    for row in table:
        # The frame in which an edge falls belongs to the side that holds its middle.
        if row["phase"] == "deposit":
            assert float(row["bias_set_V"]) in (-5.0, 0.0, 5.0)
    held = [float(r["bias_set_V"]) for r in table if r["phase"] == "deposit"]
    assert Counter(held).most_common(1)[0][0] == -5.0
    totals = [float(row["total_dose_e_per_A2"]) for row in table]
    assert totals == sorted(totals)
    assert totals[-1] > 20.0

    readings = list(csv.DictReader((folder / "bias.csv").read_text().splitlines()))
    deposited = [r for r in readings if r["phase"] == "deposit" and float(r["bias_set_V"]) < 0]
    currents = sorted(float(r["current_A"]) for r in deposited)
    # 20 GOhm of oxide at -5 V: about -0.25 nA; the first reading after the edge has the cable's.
    assert -2.7e-10 < currents[len(currents) // 2] < -2.2e-10
    assert all_safe(bench)
    assert bench.specimen.gap_nm > 50.0
    assert summarise(folder).status == "success"


def test_lithium_is_deposited_and_stripped(contact: Session, bench: Bench) -> None:
    seen: list[tuple[str, int]] = []
    model = bench.specimen.model

    def look(name: str, _doc: dict[str, Any]) -> None:
        if name == "event":
            seen.append((contact.camera.phase.get(), len(model.particles)))

    contact.RE.subscribe(look)
    assert run_cycles(contact, approach=False).exit_code == 0
    most = max(count for phase, count in seen if phase == "deposit")
    assert most > 20
    assert len(model.particles) == 0
    kinds = Counter(model.events["kind"].tolist())
    assert len(kinds) >= 3  # born, merged, gone


def test_the_table_can_be_read_while_the_run_goes_on(contact: Session) -> None:
    counts: list[tuple[int, int]] = []

    def look(name: str, _doc: dict[str, Any]) -> None:
        folder = contact.run_folder.folder
        if name == "stream_datum" and folder is not None:
            counts.append((indices(documents(folder)), pages(folder)))

    contact.RE.subscribe(look)
    assert run_cycles(contact, approach=False).exit_code == 0
    assert len(counts) >= 2
    assert all(on_disk >= declared for declared, on_disk in counts)


def test_two_runs_in_one_session(contact: Session) -> None:
    first, second = (run_cycles(contact, approach=False, retract_steps=0) for _ in range(2))
    assert first.folder is not None
    assert second.folder is not None
    assert first.folder != second.folder
    for outcome in (first, second):
        assert outcome.exit_code == 0
        check_agreement(outcome.folder)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cycles": 0}, "cycles is 0"),
        ({"cycles": 10**9}, "10000"),
        ({"cycles": 1.5}, "whole number"),
        ({"deposit_V": "-5"}, "deposit_V is '-5'"),
        ({"strip_V": True}, "strip_V is True"),
        ({"deposit_V": 5.0}, "below zero"),
        ({"strip_V": -5.0}, "above zero"),
        ({"deposit_V": -50.0}, "50"),
        ({"strip_V": float("nan")}, "strip_V is nan"),
        ({"deposit_s": 0.0}, "positive time"),
        ({"deposit_s": float("inf")}, "finite"),
        ({"pre_roll_s": -1.0}, "pre_roll_s"),
        ({"frame_rate_Hz": 0.0}, "frame_rate_Hz"),
        ({"exposure_s": 10.0}, "exposure"),
        ({"retract_steps": -1}, "retract_steps"),
        ({"retract_steps": 500}, "-500"),
    ],
)
def test_a_bad_parameter_moves_nothing(
    session: Session, bench: Bench, options: dict[str, Any], words: str
) -> None:
    before = bench.specimen.probe_nm
    outcome = run_cycles(session, **options)
    assert outcome.folder is None
    refusal = outcome.refusal()
    assert isinstance(refusal, LimitError)
    assert words in str(refusal)
    assert "\n" not in str(refusal)
    assert bench.specimen.probe_nm == before
    assert not bench.source.output_on
    assert list(session.root.iterdir()) == []


def test_swapped_devices_are_told_apart(session: Session) -> None:
    outcome = session.run(deposit(session.camera, session.bias, session.beam))
    assert "bias is 'camera', which is none" in str(outcome.refusal())


def test_a_run_does_not_carry_the_readings_of_the_one_before(
    session: Session, bench: Bench
) -> None:
    bench.specimen.step(2, 41.0)
    timing: dict[str, Any] = {"frame_rate_Hz": 5.0, "exposure_s": 0.15}
    for plan in (deposit, strip):
        outcome = session.run(plan(session.bias, session.camera, session.beam, **timing))
        assert outcome.folder is not None
        before = [row for row in rows(outcome.folder) if row["phase"] == "pre-roll"]
        assert before
        # A reading in the second half of the last exposure belongs to it, and to this run.
        unread = [row for row in before if row["n_readings"] == "0"]
        assert unread
        assert {row["current_A"] for row in unread} <= {"", "nan"}


def test_metadata_cannot_lead_a_run_out_of_its_folder(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 41.0)
    outcome = session.run(
        deposit(session.bias, session.camera, session.beam, md={"plan_name": "../../x"})
    )
    assert outcome.folder is not None
    assert outcome.folder.parent == session.root


def test_deposit_and_strip_on_their_own(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 41.0)  # the probe is in contact already
    timing: dict[str, Any] = {"frame_rate_Hz": 5.0, "exposure_s": 0.15}
    grown = session.run(
        deposit(session.bias, session.camera, session.beam, duration_s=0.6, **timing)
    )
    assert grown.exit_code == 0
    assert len(bench.specimen.model.particles) > 10
    gone = session.run(strip(session.bias, session.camera, session.beam, duration_s=2.0, **timing))
    assert gone.exit_code == 0
    assert len(bench.specimen.model.particles) == 0
    assert grown.folder is not None
    assert gone.folder is not None
    assert check_agreement(grown.folder) > 3
    assert check_agreement(gone.folder) > 3
    assert all_safe(bench)
