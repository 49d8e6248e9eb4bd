"""What plans would come to: time, frames, dose, refusals; from their own messages."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import Station, load_station
from stmtem_control.dose.bookings import Account, Exposure
from stmtem_control.dose.ledger import Ledger
from stmtem_control.estimate import Estimate, estimate_plan
from stmtem_control.plans import (
    approach_contact,
    beam_blocked_control,
    beam_irradiation_control,
    deposit,
    deposition_stripping_cycles,
    dose_calibration,
    leakage_baseline,
    retract,
    triggered_cycles,
)

Make = Callable[[Any], Any]
RATE = 20.0  # of the simulated beam, as sim.toml says


@pytest.fixture
def bench(tmp_path: Path) -> Station:
    return load_station("sim").with_data(tmp_path / "runs")


@pytest.fixture
def lab(tmp_path: Path) -> Station:
    """The example of a real station, freshly calibrated by leave."""
    found = load_station("example_lab").with_data(tmp_path / "runs")
    return found.model_copy(
        update={"dose": found.dose.model_copy(update={"allow_stale_dose": True})}
    )


def test_a_hold_takes_what_it_says_and_a_little_more(bench: Station) -> None:
    found = estimate_plan(
        lambda s: deposit(s.bias, s.camera, s.beam, duration_s=34.0, pre_roll_s=0.5), bench
    )
    assert found.ok
    assert 34.5 < found.station_s < 35.6
    assert found.wall_s == found.station_s
    assert (found.frames, found.frames_exact) == (862, True)  # 34.5 s at 25 Hz
    assert found.open_s == pytest.approx(34.5, abs=0.05)
    (site,) = found.sites
    assert site.dose_e_per_A2 == pytest.approx(RATE * site.open_s)
    assert site.left_e_per_A2 == pytest.approx(5000.0 - site.dose_e_per_A2)
    assert (found.highest_bias_V, found.bias_edges) == (5.0, 2)
    assert found.charge_limit_C == pytest.approx(1e-8 * 34.0, rel=0.01)
    # 5 V over the 20 GOhm of the skin.
    assert found.typical_charge_C == pytest.approx(5.0 / 20e9 * 34.0, rel=0.01)
    # 35 ms at 20 e/A^2/s in a pixel of 2 nm.
    assert found.electrons_per_pixel == pytest.approx(0.035 * RATE * 400.0)


def test_a_fast_bench_needs_less_wall_time_for_the_same_station_time(bench: Station) -> None:
    def plan(s: Any) -> Any:
        return deposit(s.bias, s.camera, s.beam, duration_s=20.0)

    slow = estimate_plan(plan, bench)
    fast = estimate_plan(plan, bench.with_bench(speed=10.0))
    assert fast.wall_s == pytest.approx(fast.station_s / 10.0)
    assert fast.wall_s < 0.15 * slow.wall_s
    assert fast.frames == slow.frames
    # What answers take on the wall is ten times as much of the station's time.
    assert fast.station_s - 20.5 == pytest.approx(10.0 * (slow.station_s - 20.5), rel=0.2)


CASES: dict[str, tuple[Make, int, int]] = {  # plan, frames, runs
    "cycles": (
        lambda s: deposition_stripping_cycles(s.bias, s.camera, s.beam, approach=False),
        125,
        1,
    ),
    "cycles with probe": (
        lambda s: deposition_stripping_cycles(s.bias, s.camera, s.beam, probe=s.probe, cycles=1),
        68,
        1,
    ),
    "approach": (lambda s: approach_contact(s.probe, s.bias, s.beam), 0, 1),
    "leak": (lambda s: leakage_baseline(s.bias, s.beam, probe=s.probe), 0, 1),
    "retract": (lambda s: retract(s.probe, s.bias, s.beam), 0, 1),
    "triggered": (lambda s: triggered_cycles(s.bias, s.camera, s.beam), 124, 1),
    "beam blocked": (lambda s: beam_blocked_control(s.bias, s.camera, s.beam), 74, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_every_plan_can_be_walked(name: str, bench: Station) -> None:
    plan, frames, runs = CASES[name]
    found = estimate_plan(plan, bench)
    assert found.ok, found.refusals
    assert (found.frames, found.frames_exact, found.runs) == (frames, True, runs)
    assert found.timeline[-1].bias_V == 0.0
    assert not found.timeline[-1].beam_open
    assert found.timeline[-1].frames == frames
    assert found.timeline[-1].t_s == pytest.approx(found.station_s)
    assert [p.t_s for p in found.timeline] == sorted(p.t_s for p in found.timeline)
    json.dumps(found.as_dict(), allow_nan=False)


def test_what_runs_free_says_that_its_frames_are_not_exact(bench: Station) -> None:
    found = estimate_plan(
        lambda s: beam_irradiation_control(s.bias, s.camera, s.beam, doses_e_per_A2=(20.0, 60.0)),
        bench,
    )
    assert not found.frames_exact
    assert found.frames == pytest.approx(3.0 * 25.0, abs=2)
    assert found.dose_e_per_A2 == pytest.approx(60.0, abs=1.0)
    assert found.bias_edges == 0
    assert found.charge_limit_C == 0.0


def test_the_walk_is_the_same_each_time(bench: Station) -> None:
    def plan(s: Any) -> Any:
        return approach_contact(s.probe, s.bias, s.beam)

    one, two = (replace(estimate_plan(plan, bench), bytes_free=0) for _ in range(2))
    assert one == two


def test_all_that_is_refused_is_told_at_once(bench: Station) -> None:
    found = estimate_plan(
        lambda s: deposit(
            s.bias, s.camera, s.beam, bias_V=-12.0, exposure_s=0.05, duration_s=400.0
        ),
        bench,
    )
    assert not found.ok
    assert [one.key for one in found.refusals] == ["bias", "camera", "beam"]
    told = " ".join(one.message for one in found.refusals)
    assert "-12.0 V is outside -10 to 10 V ([bias_source] max_bias_V" in told
    assert "0.05 s does not fit 25 frames a second" in told
    assert "8010 e/A^2" in told
    assert found.frames > 0  # it is walked through all the same


def test_what_a_plan_refuses_itself_is_told(bench: Station) -> None:
    found = estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam, bias_V=5.0), bench)
    (refusal,) = found.refusals
    assert "deposits lithium" in refusal.one_line()
    assert found.messages == 0


def test_a_probe_that_does_not_reach_the_fibre_is_told(bench: Station) -> None:
    found = estimate_plan(
        lambda s: approach_contact(s.probe, s.bias, s.beam, max_coarse_steps=2), bench
    )
    (refusal,) = found.refusals
    assert "no contact after 2 coarse steps" in refusal.message


def test_a_site_has_less_left_by_what_it_had(lab: Station, tmp_path: Path) -> None:
    def plan(s: Any) -> Any:
        return deposit(
            s.bias, s.camera, s.beam, duration_s=20.0, md={"sample": "CNF-12", "site": "fibre 1"}
        )

    found = estimate_plan(plan, lab)
    assert found.ok, found.refusals
    path = tmp_path / "ledger.sqlite3"
    account = Account("a", "CNF-12", "fibre 1", "", "survey", 5.0, 0.2)
    with Ledger(path) as ledger:
        ledger.settle(Exposure(account, 700.0, 0.0, 140.0, 1, 0.0, 1.0))
        refused = estimate_plan(plan, lab, ledger=ledger)
        elsewhere = estimate_plan(
            lambda s: deposit(s.bias, s.camera, s.beam, duration_s=20.0), lab, ledger=ledger
        )
    (site,) = refused.sites
    assert (site.specimen, site.site, site.had_e_per_A2) == ("CNF-12", "fibre 1", 700.0)
    (refusal,) = refused.refusals
    assert "site 'fibre 1' of 'CNF-12' has 50 of 750 left for Li2CO3" in refusal.message
    assert elsewhere.ok


def test_the_ledger_of_the_station_is_only_read(lab: Station) -> None:
    root = Path(lab.station.data)
    root.mkdir()
    path = root / "dose_ledger.sqlite3"
    with Ledger(path) as ledger:
        account = Account("a", "unnamed specimen", "site 1", "", "survey", 5.0, 0.2)
        ledger.settle(Exposure(account, 100.0, 0.0, 20.0, 1, 0.0, 1.0))
    before = path.read_bytes()
    found = estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam, duration_s=2.0), lab)
    assert found.sites[0].had_e_per_A2 == 100.0
    assert path.read_bytes() == before


def test_an_old_calibration_is_refused_as_the_beam_refuses_it(lab: Station) -> None:
    from datetime import date

    old = lab.model_copy(
        update={
            "beam": lab.beam.model_copy(update={"calibrated": date(2020, 1, 1)}),
            "dose": lab.dose.model_copy(update={"allow_stale_dose": False}),
        }
    )
    found = estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam), old)
    (refusal,) = found.refusals
    assert "calibrate with the plan dose_calibration" in refusal.message
    measured = estimate_plan(lambda s: dose_calibration(s.bias, s.camera, s.beam), old)
    assert measured.ok
    assert measured.sites[0].specimen == "vacuum"


def test_what_frames_cannot_show_is_said(bench: Station) -> None:
    def warned(**timing: Any) -> tuple[str, ...]:
        return estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam, **timing), bench).warnings

    assert warned(frame_rate_Hz=10.0, exposure_s=0.09) == ()
    (burst,) = warned(frame_rate_Hz=5.0, exposure_s=0.09)
    assert "do not resolve the burst of nuclei within 0.2 s; take 10 or more" in burst
    assert len(warned(frame_rate_Hz=1.0, exposure_s=0.09)) == 2
    (dim,) = warned(frame_rate_Hz=300.0, exposure_s=0.0001)
    assert "show nothing smaller than" in dim


def test_a_disk_that_is_too_small_is_refused(
    bench: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2, 1, 10**7))
    found = estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam), bench)
    (refusal,) = found.refusals
    assert refusal.key == "disk"
    assert "0.01 GB are free" in refusal.message


def test_devices_that_nobody_knows_take_no_time(bench: Station) -> None:
    import bluesky.plan_stubs as bps
    from ophyd.sim import SynAxis

    stage = SynAxis(name="stage")

    def plan(s: Any) -> Any:
        yield from bps.mv(stage, 3.0)
        yield from bps.mv(s.beam, "open")
        yield from s.clock.sleep(2.0)
        yield from bps.mv(s.beam, "blanked")

    found = estimate_plan(plan, bench)
    assert found.open_s == pytest.approx(2.0, abs=0.01)
    assert stage.position == 0.0  # nothing was sent
    assert "stage: nothing is known of it; it takes no time" in found.assumptions


def test_plans_of_bluesky_can_be_walked(bench: Station) -> None:
    import bluesky.plans as bp

    off = estimate_plan(lambda s: bp.count([s.bias], num=3), bench)
    assert off.ok, off.refusals
    assert (off.runs, off.readings, off.bias_edges) == (1, 0, 0)
    scan = estimate_plan(lambda s: bp.scan([s.bias], s.bias, -1.0, 1.0, 5), bench)
    assert scan.ok, scan.refusals
    assert (scan.readings, scan.bias_edges, scan.highest_bias_V) == (5, 6, 1.0)
    assert 5 * 0.041 < scan.station_s < 1.0
    assert scan.sites[0].dose_e_per_A2 == 0.0


def test_time_that_is_left(bench: Station) -> None:
    found: Estimate = estimate_plan(lambda s: deposit(s.bias, s.camera, s.beam), bench)
    assert found.left_s(0.0) == pytest.approx(found.wall_s)
    assert found.left_s(0.5 * found.station_s) == pytest.approx(0.5 * found.wall_s)
    assert found.left_s(2.0 * found.station_s) == 0.0
