"""Interlocks on the bench: runs that are right trip nothing, runs that go wrong end with why."""

import json
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from bluesky import plan_stubs as bps

from stmtem_control.config import Station
from stmtem_control.devices import Trip
from stmtem_control.errors import InterlockError
from stmtem_control.plans import approach_contact, deposit, deposition_stripping_cycles, retract
from stmtem_control.recording.journal import read_journal
from stmtem_control.session import Session
from stmtem_control.simulators import Bench, Fault

from .test_biasing_plans import check_agreement

W = 10.0
SAFE = "bias 0 V, output off, beam blanked, probe stopped"


def cycles(session: Session, **options: Any) -> Any:
    settings: dict[str, Any] = {"cycles": 1, "frame_rate_Hz": 5.0, "exposure_s": 0.15, **options}
    return session.run(
        deposition_stripping_cycles(
            session.bias, session.camera, session.beam, probe=session.probe, **settings
        )
    )


@pytest.fixture
def contact(session: Session, bench: Bench) -> Session:
    """Provide a session with the probe in contact already."""
    bench.specimen.step(2, 41.0)
    return session


def when(session: Session, holds: Callable[[], bool], act: Callable[[], None]) -> None:
    """Call `act` in the thread of the reading that finds `holds` true, once."""
    done: list[bool] = []

    def hear(channel: str, t: float, value: Any, sure: float) -> None:
        if channel == "current_A" and not done and holds():
            done.append(True)
            threading.Thread(target=act, name="sim-fault", daemon=True).start()

    session.timeline.listen(hear)


def depositing(session: Session) -> bool:
    return bool(session.bias.setpoint.get() == -5.0 and session.camera.frames_written.get() > 2)


def test_a_short_ends_the_run_and_what_was_taken_stays(contact: Session, bench: Bench) -> None:
    session = contact
    told: list[Trip] = []
    forward = session.interlocks.on_trip

    def hear(trip: Trip) -> None:
        told.append(trip)
        forward(trip)

    session.interlocks.on_trip = hear
    when(session, lambda: depositing(session), lambda: bench.inject(Fault("specimen", "short")))
    outcome = cycles(session, approach=False, deposit_s=60.0)
    assert all(bench.safe().values())
    assert outcome.exit_code == 1
    assert outcome.reason.startswith("interlock short: -1.0")
    assert outcome.safe.startswith(SAFE)
    assert check_agreement(outcome.folder) == outcome.frames > 2
    kept = json.loads((outcome.folder / "outcome.json").read_text("utf-8"))
    assert kept["reason"] == outcome.reason == told[0].text
    timeline, _, _ = read_journal(outcome.folder)
    times, texts, _ = timeline.entries("interlock")
    assert texts == [outcome.reason]
    assert times == [told[0].t]
    # Nothing is run until a person has cleared it, but the probe can be taken away.
    refused = cycles(session)
    assert refused.folder is None
    assert isinstance(refused.refusal(), InterlockError)
    assert "clear it with session.interlocks.clear()" in str(refused.refusal())
    gap = bench.specimen.gap_nm
    away = session.run(retract(session.probe, session.bias, session.beam, steps=10))
    assert away.error is None
    assert bench.specimen.gap_nm > gap + 100.0
    session.interlocks.clear()
    session.bias.set(0.5).wait(W)
    assert bench.source.output_on


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("specimen:contact_lost", "interlock contact lost: "),
        ("bias_source:overflow@count=0", "interlock wrong readings: "),
        ("bias_source:close", "bias"),
    ],
)
def test_what_goes_wrong_ends_the_run_with_its_reason(
    contact: Session, bench: Bench, fault: str, reason: str
) -> None:
    when(contact, lambda: depositing(contact), lambda: bench.inject(fault))
    outcome = cycles(contact, approach=False, deposit_s=120.0)
    assert all(bench.safe().values())
    assert outcome.exit_code == 1
    assert reason in outcome.reason
    assert outcome.frames > 2
    assert outcome.safe.startswith(SAFE)


@pytest.mark.parametrize(
    "fault", ["bias_source:spike", "bias_source:range_glitch", "bias_source:overflow"]
)
def test_one_wrong_reading_trips_nothing(contact: Session, bench: Bench, fault: str) -> None:
    when(contact, lambda: depositing(contact), lambda: bench.inject(fault))
    outcome = cycles(contact, approach=False, deposit_s=3.0)
    assert outcome.error is None
    assert contact.interlocks.trip is None
    assert bench.fault_log


def test_a_hold_without_any_plan_is_protected(session: Session, bench: Bench) -> None:
    """Nobody reads but the guard."""
    session.bias.set(-5.0).wait(W)
    come = threading.Event()
    session.interlocks.on_trip = lambda trip: come.set()
    bench.specimen.step(2, 400.0)
    assert come.wait(W)
    assert not bench.source.output_on
    assert session.interlocks.trip is not None
    assert session.interlocks.trip.kind == "short"


def test_a_source_that_lets_go_ends_a_plan_that_reads_nothing(
    session: Session, bench: Bench
) -> None:
    def waits() -> Generator[Any, Any, None]:
        yield from bps.mv(session.bias, -5.0)
        session.bias.alive = lambda: False
        yield from bps.sleep(3600.0)

    outcome = session.run(waits())
    assert outcome.status == "aborted"
    assert outcome.reason.startswith("bias: the ")  # one that is late says so, too
    assert outcome.reason.endswith("the session does not say that it is alive")
    assert session.interlocks.trip is None  # nothing to clear: the next plan may bias again
    assert all(bench.safe().values())


def test_an_idle_session_is_told_of_a_trip_too(session: Session, bench: Bench) -> None:
    session.interlocks.trip_now("disk nearly full", "no room")
    assert session.interlocks.wait(W)
    outcome = session.run(approach_contact(session.probe, session.bias, session.beam))
    assert outcome.folder is None
    assert "disk nearly full" in outcome.reason
    assert bench.specimen.deepest_nm == 0.0


def test_the_approach_settles_a_short_by_itself(session: Session, bench: Bench) -> None:
    bench.specimen.step(2, 240.0)
    bench.specimen.step(2, -280.0)
    outcome = session.run(approach_contact(session.probe, session.bias, session.beam))
    assert "the probe was taken back" in outcome.reason
    assert session.interlocks.trip is None


def test_what_is_off_does_not_trip(station: Station, bench: Bench, tmp_path: Path) -> None:
    off = dict.fromkeys(("short_A", "short_A_per_s", "compliance_s", "approach_hold_s"), "off")
    table = station.interlocks.model_validate(off)
    lab = station.model_copy(update={"interlocks": table}).with_data(tmp_path)
    with Session(lab, addresses=bench.addresses.as_dict()) as session:
        bench.specimen.step(2, 400.0)
        outcome = session.run(
            deposit(session.bias, session.camera, session.beam, duration_s=4.0, frame_rate_Hz=5.0)
        )
        assert outcome.error is None
        assert session.interlocks.trip is None


RIGHT = [
    pytest.param(speed, marks=pytest.mark.bench(preset=preset, speed=speed, seed=3), id=preset)
    for preset, speed in (("fig2", 1.0), ("fig2", 10.0), ("fig3b", 10.0), ("na", 10.0))
]


@pytest.mark.parametrize("speed", RIGHT)
def test_runs_that_are_right_trip_nothing(station: Station, bench: Bench, speed: float) -> None:
    # At ten times life, ten seconds are one for a computer that runs other tests as well.
    patient = station.bias_source.model_copy(update={"dead_man_s": 60.0})
    lab = station.model_copy(update={"bias_source": patient})
    with Session(lab, addresses=bench.addresses.as_dict()) as session:
        # In real time without the approach, which is the same at any speed.
        at_once = speed == 1.0
        if at_once:
            bench.specimen.step(2, 41.0)
        short = {"deposit_s": 0.3, "strip_s": 0.3, "rest_s": 0.1, "pre_roll_s": 0.2}
        outcome = cycles(session, cycles=2, **(short | {"approach": False} if at_once else {}))
        assert outcome.error is None, outcome.reason
        assert session.interlocks.trip is None
