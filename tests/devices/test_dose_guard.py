"""The guard of the dose: what it refuses, when it blanks, and that no failure opens the beam."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ophyd.status import Status

from stmtem_control.clock import StationClock
from stmtem_control.devices import BeamBlanker, DoseGuard
from stmtem_control.dose.budgets import make_budget
from stmtem_control.dose.calibration import FRESH_S, REFUSED_S, DoseCalibration
from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.meter import LEASE_S, RENEW_S
from stmtem_control.errors import InterlockError, RecordingError

from .conftest import FakeSource, HandClock, W

RATE = 20.0
HARD = 100.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite3") as made:
        yield made


@pytest.fixture
def told() -> list[str]:
    return []


def make_guard(
    ledger: Ledger, clock: StationClock, told: list[str], *, age_s: float = 0.0
) -> DoseGuard:
    now = clock.wall_time(clock.now())
    made = DoseGuard(
        ledger=ledger,
        clock=clock,
        calibration=DoseCalibration("low", RATE, 0.05, now - age_s),
        budget=make_budget(["Li2O"], {"Li2O": 40.0}, {"Li2O": HARD}),
        specimen="fibre",
        site="A",
    )
    made.on_limit = told.append
    return made


@pytest.fixture
def guard(beam: BeamBlanker, ledger: Ledger, clock: HandClock, told: list[str]) -> DoseGuard:
    """A guard without a thread: the test calls its check."""
    made = make_guard(ledger, clock, told)
    made.watch(beam, thread=False)
    beam.guard = made
    return made


def blanked(smu: FakeSource) -> bool:
    return bool(int(smu.state[":SOUR2:TTL"]) & 2)


def test_open_seconds_cost_and_blanked_ones_do_not(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, ledger: Ledger
) -> None:
    for _ in range(2):
        beam.set("open").wait(W)
        clock.t += 1.0
        beam.set("blanked").wait(W)
        clock.t += 50.0
    assert guard.dose_e_per_A2() == pytest.approx(40.0)
    assert guard.left_e_per_A2() == pytest.approx(60.0)
    assert ledger.dose("fibre", "A") > 40.0  # booked ahead
    assert guard.check() is None
    assert ledger.dose("fibre", "A") == pytest.approx(40.0)
    assert guard.check() is None


def test_it_books_ahead_while_the_beam_is_open(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, ledger: Ledger
) -> None:
    beam.set("open").wait(W)
    assert ledger.dose("fibre", "A") == pytest.approx(LEASE_S * RATE)
    waits = guard.check()
    assert waits == pytest.approx(LEASE_S - RENEW_S)
    clock.t += 1.5
    guard.check()
    assert ledger.dose("fibre", "A") == pytest.approx((1.5 + LEASE_S) * RATE)
    beam.stop()


def test_the_beam_is_blanked_at_the_hard_limit(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, smu: FakeSource, told: list[str]
) -> None:
    beam.set("open").wait(W)
    clock.t = 4.5
    assert guard.check() == pytest.approx(0.5)  # until the limit
    assert not blanked(smu)
    clock.t = 5.0
    guard.check()
    assert blanked(smu)
    assert beam.blanked.get()
    (reason,) = told
    assert reason.startswith("beam blanked: site 'A' of 'fibre' has had 100 of 100 e/A^2")
    assert "Li2O" in reason
    assert "session.dose.site" in reason
    assert "\n" not in reason
    assert guard.tripped == reason
    with pytest.raises(InterlockError, match="beam stays blanked: site 'A'"):
        beam.set("open")
    assert blanked(smu)
    guard.change(site="B")
    beam.set("open").wait(W)
    assert not blanked(smu)
    beam.stop()


def test_the_source_keeps_its_bias_at_the_limit(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, smu: FakeSource
) -> None:
    smu.state[":SOUR:VOLT"], smu.output = -5.0, True
    beam.set("open").wait(W)
    clock.t = 6.0
    guard.check()
    assert blanked(smu)
    assert (smu.state[":SOUR:VOLT"], smu.output) == (-5.0, True)


def test_a_blanking_that_fails_is_tried_again_and_told_once(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, smu: FakeSource, told: list[str]
) -> None:
    beam.set("open").wait(W)
    clock.t = 5.0
    smu.unplugged = True
    assert guard.check() is not None
    assert guard.check() is not None
    (reason,) = told
    assert reason.startswith("blanking not confirmed")
    assert guard.meter.open  # it goes on counting
    clock.t = 7.0
    assert guard.dose_e_per_A2() == pytest.approx(140.0)
    smu.unplugged = False
    guard.check()
    assert blanked(smu)
    assert not guard.meter.open
    assert len(told) == 1


def test_a_soft_limit_is_told_once(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        beam.set("open").wait(W)
        clock.t = 1.0
        guard.check()
        assert not caplog.records
        for clock.t in (2.5, 3.0):
            guard.check()
    (record,) = caplog.records
    assert "over the soft limit of 40 for Li2O" in record.getMessage()
    beam.stop()


def test_a_dose_that_cannot_be_booked_keeps_the_beam_blanked(
    beam: BeamBlanker, guard: DoseGuard, smu: FakeSource, ledger: Ledger
) -> None:
    ledger.close()
    with pytest.raises(RecordingError, match="closed"):
        beam.set("open")
    assert blanked(smu)


def test_a_ledger_that_fails_in_the_middle_blanks_the_beam(
    beam: BeamBlanker,
    guard: DoseGuard,
    clock: HandClock,
    smu: FakeSource,
    ledger: Ledger,
    told: list[str],
) -> None:
    beam.set("open").wait(W)
    ledger.close()
    clock.t = 1.5
    guard.check()
    assert blanked(smu)
    assert "cannot be booked" in told[0]


def test_a_guard_that_fails_does_not_fail_open(
    beam: BeamBlanker,
    guard: DoseGuard,
    clock: HandClock,
    smu: FakeSource,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> float:
        raise RuntimeError("no arithmetic")

    beam.set("open").wait(W)
    monkeypatch.setattr(guard.meter, "dose", broken)
    assert guard.check() is not None
    assert blanked(smu)
    assert told == ["beam blanked: its dose cannot be watched: RuntimeError('no arithmetic')"]


def test_who_cannot_be_warned_does_not_end_the_watch(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, smu: FakeSource, told: list[str]
) -> None:
    def deaf(text: str) -> None:
        raise OSError("the terminal is closed")

    guard.on_warning = deaf
    beam.set("open").wait(W)
    clock.t += 0.5 * HARD / RATE
    assert guard.check() is not None
    assert not blanked(smu)
    clock.t += 0.5 * HARD / RATE
    assert guard.check() is not None
    assert blanked(smu)
    assert "the most for Li2O" in told[0]


def test_what_a_plan_wants_is_held_against_what_is_left(
    beam: BeamBlanker, guard: DoseGuard, ledger: Ledger, clock: HandClock
) -> None:
    assert beam.check_exposure(5.0) == 100.0
    with pytest.raises(InterlockError) as caught:
        beam.check_exposure(5.1)
    message = str(caught.value)
    assert "would give 102 e/A^2 (5.1 s of beam at 20 e/A^2/s)" in message
    assert "has 100 of 100 left for Li2O" in message
    assert "\n" not in message
    beam.set("open").wait(W)
    clock.t = 2.0
    beam.set("blanked").wait(W)
    with pytest.raises(InterlockError, match="has 60 of 100 left"):
        beam.check_exposure(3.1)
    assert beam.check_exposure(5.0, {"site": "B"}) == 100.0
    assert beam.check_exposure(1e6, {"sample": "vacuum"}) == 2e7
    assert beam.check_exposure(0.0) == 0.0


def test_vacuum_cannot_be_hurt(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, ledger: Ledger
) -> None:
    guard.change(specimen="vacuum", site="low")
    beam.set("open").wait(W)
    clock.t = 1000.0
    guard.check()
    assert not beam.blanked.get()
    beam.stop()
    guard.check()
    clock.t += 1.0
    guard.check()
    assert ledger.dose("vacuum", "low") == pytest.approx(20_000.0)
    assert ledger.dose("fibre", "A") == 0.0


@pytest.mark.parametrize(("age_s", "warnings"), [(0.5 * FRESH_S, 0), (1.5 * FRESH_S, 1)])
def test_an_old_calibration_is_told_once(
    beam: BeamBlanker,
    ledger: Ledger,
    clock: HandClock,
    caplog: pytest.LogCaptureFixture,
    age_s: float,
    warnings: int,
) -> None:
    beam.guard = make_guard(ledger, clock, [], age_s=age_s)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            beam.set("open").wait(W)
            beam.set("blanked").wait(W)
        beam.check_exposure(1.0)
    assert len(caplog.records) == warnings
    assert all("dose_calibration" in record.getMessage() for record in caplog.records)


def test_a_calibration_of_last_week_keeps_the_beam_blanked(
    beam: BeamBlanker, ledger: Ledger, clock: HandClock, smu: FakeSource
) -> None:
    guard = beam.guard = make_guard(ledger, clock, [], age_s=REFUSED_S + 60.0)
    for refused in (lambda: beam.set("open"), lambda: beam.check_exposure(1.0)):
        with pytest.raises(InterlockError, match="7 days are the most"):
            refused()
    assert blanked(smu)
    beam.calibrating = True
    beam.set("open").wait(W)
    beam.set("blanked").wait(W)
    beam.calibrating = False
    guard.allow_stale = True
    beam.set("open").wait(W)
    beam.stop()


def test_an_opening_that_was_dropped_ends_with_the_blanking(
    beam: BeamBlanker, guard: DoseGuard, smu: FakeSource, clock: HandClock
) -> None:
    smu.gate = threading.Event()
    status: Status = beam.set("open")
    waiting = beam.set("open")  # never sent: the stop drops it
    assert smu.held.wait(W)
    threading.Thread(target=beam.stop).start()
    clock.t = 0.5
    smu.gate.set()
    for one in (status, waiting):
        one.wait(W)
    deadline = time.monotonic() + W
    while guard.meter.open and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert not guard.meter.open
    assert blanked(smu)
    assert guard.dose_e_per_A2() == pytest.approx(10.0)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + W
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)


def test_the_thread_blanks_at_the_limit_and_settles(
    beam: BeamBlanker, ledger: Ledger, smu: FakeSource, told: list[str]
) -> None:
    """On the wall's clock: nobody calls it, and nothing but time passes."""
    clock = StationClock(speed=100.0)
    beam.clock = beam.source.clock = clock  # type: ignore[attr-defined]
    guard = make_guard(ledger, clock, told)
    beam.guard = guard
    guard.watch(beam)
    began = time.monotonic()
    try:
        guard.opening()  # the driver of these tests has another clock
        wait_until(lambda: bool(told))
        assert time.monotonic() - began < 0.5
        assert blanked(smu)
    finally:
        beam.guard = None
        guard.close()
    assert ledger.dose("fibre", "A") >= HARD


def test_closing_leaves_an_unconfirmed_opening_booked_ahead(
    beam: BeamBlanker, guard: DoseGuard, clock: HandClock, ledger: Ledger, smu: FakeSource
) -> None:
    beam.set("open").wait(W)
    smu.unplugged = True
    clock.t = 2.0
    guard.close()
    (exposure,) = ledger.exposures()
    assert not exposure.settled
    assert exposure.dose_e_per_A2 == pytest.approx((2.0 + LEASE_S) * RATE)
