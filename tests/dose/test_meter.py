"""The meter: the sum of the open intervals is what the ledger says, whatever happens between."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.dose.calibration import DoseCalibration
from stmtem_control.dose.ledger import Ledger
from stmtem_control.dose.meter import LEASE_S, DoseMeter
from stmtem_control.errors import RecordingError
from stmtem_control.exchanges import Exchange

from .hand_clock import HandClock

LOW = DoseCalibration("low", 20.0, 0.05, 0.0)
HIGH = DoseCalibration("high", 300.0, 0.05, 0.0)

STEP = st.tuples(
    st.sampled_from(["open", "blank", "settle", "renew", "site", "run", "rate", "reopen"]),
    st.floats(0.0, 3.0),  # s that pass before
    st.floats(0.0, 0.1),  # s that the exchange takes
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=25))
def test_the_ledger_holds_the_sum_of_the_intervals(steps: list[tuple[str, float, float]]) -> None:
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "l.sqlite3") as ledger:
        clock = HandClock()
        meter = DoseMeter(ledger, clock, LOW, specimen="s", site="0")
        least: dict[str, float] = {}  # surely given, and at most given, by site
        most: dict[str, float] = {}
        is_open = False

        def passes(seconds: float, sure: bool = True) -> None:
            if is_open or not sure:
                rate = meter.calibration.dose_rate_e_per_A2_s
                most[meter.site] = most.get(meter.site, 0.0) + rate * seconds
                least[meter.site] = least.get(meter.site, 0.0) + (rate * seconds if sure else 0.0)
            clock.t += seconds

        for n, (what, wait, takes) in enumerate(steps):
            if is_open and meter.ahead_s() < wait + takes:
                meter.renew()
            passes(wait)
            if what in ("open", "reopen") and (not is_open or what == "reopen"):
                meter.opening()
                sent = clock.t
                if is_open:
                    passes(takes)
                else:
                    passes(takes, sure=False)
                meter.opened(Exchange(sent, clock.t))
                is_open = True
            elif what == "blank":
                sent = clock.t
                passes(takes, sure=False) if is_open else passes(takes)
                meter.blanked(Exchange(sent, clock.t))
                is_open = False
            elif what == "settle":
                meter.settle()
            elif what == "renew":
                meter.renew()
            elif what == "site":
                meter.change(site=str(n))
            elif what == "run":
                meter.change(run=str(n))
            elif what == "rate":
                meter.change(calibration=HIGH if meter.calibration == LOW else LOW)
            assert meter.open == is_open
            now = ledger.dose("s", meter.site)
            assert now >= most.get(meter.site, 0.0) - 1e-6
            assert meter.dose() == pytest.approx(most.get(meter.site, 0.0), abs=1e-6)
        meter.blanked(Exchange(clock.t, clock.t))
        meter.settle()
        booked = {total.site: total for total in ledger.totals()}
        assert all(booked[site].dose_e_per_A2 == 0.0 for site in set(booked) - set(most))
        for site, dose in most.items():
            total = booked[site]
            assert total.dose_e_per_A2 == pytest.approx(dose, abs=1e-6)
            edges = sum(one.uncertainty_e_per_A2 for one in ledger.exposures("s", site))
            assert dose - edges <= least[site] + 1e-6
            assert total.unsettled_e_per_A2 == 0.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def meter(tmp_path: Path, clock: HandClock) -> DoseMeter:
    return DoseMeter(Ledger(tmp_path / "l.sqlite3"), clock, LOW, specimen="s", site="A")


def test_blanked_time_costs_nothing(meter: DoseMeter, clock: HandClock) -> None:
    for _ in range(3):
        meter.opening()
        meter.opened(Exchange(clock.t, clock.t))
        clock.t += 1.0
        meter.blanked(Exchange(clock.t, clock.t))
        clock.t += 1000.0
        assert meter.blanked_s() == 1000.0
    assert meter.dose() == 60.0
    meter.settle()
    (exposure,) = meter.ledger.exposures()
    assert (exposure.open_s, exposure.openings, exposure.dose_e_per_A2) == (3.0, 3, 60.0)
    assert exposure.last_unix_s - exposure.first_unix_s == pytest.approx(2003.0)


def test_an_opening_that_was_never_confirmed_counts(meter: DoseMeter, clock: HandClock) -> None:
    meter.opening()
    clock.t = 2.0
    meter.blanked(Exchange(1.9, 2.0))
    meter.settle()
    (exposure,) = meter.ledger.exposures()
    assert exposure.dose_e_per_A2 == exposure.uncertainty_e_per_A2 == 40.0


def test_an_opening_that_a_blanking_has_overtaken_counts(
    meter: DoseMeter, clock: HandClock
) -> None:
    meter.opening()
    clock.t = 1.0
    meter.blanked(Exchange(0.5, 1.0))
    clock.t = 1.5
    meter.opened(Exchange(1.2, 1.5))  # its command waited, and went out after all
    assert meter.open
    clock.t = 3.0
    assert meter.dose() == pytest.approx(20.0 * (1.0 + 1.8))
    meter.blanked(Exchange(3.0, 3.0))
    meter.opened(Exchange(2.0, 2.5))  # told late: it was blanked since
    assert not meter.open


def test_the_dose_of_other_sessions_counts(meter: DoseMeter, clock: HandClock) -> None:
    other = DoseMeter(meter.ledger, clock, LOW, specimen="s", site="B")
    meter.opening()
    clock.t = 1.0
    meter.blanked(Exchange(1.0, 1.0))
    meter.settle()
    assert other.dose() == 0.0
    other.change(site="A")
    assert other.dose() == 20.0


def test_the_lease_grows_with_the_speed_of_the_station(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite3") as ledger:
        fast = DoseMeter(ledger, HandClock(speed=50.0), LOW, specimen="s", site="A")
        fast.opening()
        assert fast.ahead_s() == pytest.approx(50.0 * LEASE_S)


def test_what_cannot_be_booked_does_not_begin(meter: DoseMeter) -> None:
    meter.ledger.close()
    with pytest.raises(RecordingError):
        meter.opening()
    assert not meter.open
    assert not meter.unsettled


def test_an_opening_that_is_asked_for_twice_counts_from_the_first(
    meter: DoseMeter, clock: HandClock
) -> None:
    meter.opening()  # was carried out, but its answer was lost
    clock.t = 5.0
    meter.opening()
    meter.opened(Exchange(5.0, 5.1))
    clock.t = 6.0
    meter.blanked(Exchange(6.0, 6.0))
    assert meter.dose() == 120.0
    meter.settle()
    (exposure,) = meter.ledger.exposures()
    assert exposure.uncertainty_e_per_A2 == pytest.approx(5.1 * 20.0)
