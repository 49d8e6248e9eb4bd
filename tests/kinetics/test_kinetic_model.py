"""The Python face of the kinetic model, and what the paper saw."""

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

KINDS = KineticModel.EVENT_KINDS


def imbalance(model: KineticModel) -> float:
    """Relative difference of lithium on the fibre and charge that went there."""
    volume = model.lithium_volume_nm3
    booked = model.faradaic_charge / model.charge_per_nm3
    return abs(volume - booked) / volume if volume else abs(booked) * 1e-7


def same_state(one: KineticModel, other: KineticModel) -> bool:
    """Tell whether two models agree to the last bit."""
    return (
        one.particles.tobytes() == other.particles.tobytes()
        and one.events.tobytes() == other.events.tobytes()
        and (one.ticks, one.overpotential, one.charge)
        == (other.ticks, other.overpotential, other.charge)
    )


def test_charge_balance_on_each_tick_over_two_cycles() -> None:
    model = KineticModel(seed=8)
    worst = 0.0
    for bias in (-5.0, 5.0, -5.0, 5.0):
        for _ in range(1000):
            model.advance(1e-3, bias)
            worst = max(worst, imbalance(model))
    assert worst <= 1e-12
    assert model.ticks == 4000
    assert len(model.particles) == 0
    assert abs(model.faradaic_charge) <= 1e-12 * model.deposited_charge
    assert model.deposited_charge == pytest.approx(model.stripped_charge, rel=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 0.05), min_size=1, max_size=20), st.floats(-6.0, 6.0))
def test_chopping_the_same_waveform_changes_no_bit(pieces: list[float], bias: float) -> None:
    chopped, whole = KineticModel(seed=2), KineticModel(seed=2)
    for model in (chopped, whole):
        model.advance(0.3, -5.0)
    for piece in pieces:
        chopped.advance(piece, bias)
    # The whole time in picoseconds, as the core counts it.
    whole.advance(sum(round(piece * 1e12) for piece in pieces) / 1e12, bias)
    assert same_state(chopped, whole)


def test_seed_names_the_run() -> None:
    one, same, other = KineticModel(seed=4), KineticModel(seed=4), KineticModel(seed=5)
    for model in (one, same, other):
        model.advance(0.5, -5.0)
    assert same_state(one, same)
    assert not same_state(one, other)


def test_remainder_is_carried() -> None:
    model = KineticModel()
    for _ in range(10):
        model.advance(0.0003, -5.0)
    assert model.ticks == 3
    assert model.time == 0.003


def test_zero_bias_and_open_circuit_start_nothing() -> None:
    for bias in (0.0, None):
        model = KineticModel()
        model.advance(1.0, bias)
        assert len(model.particles) == 0
        assert model.current == 0.0
        assert model.charge == 0.0
        assert model.overpotential == 0.0


def test_meter_reads_the_loop() -> None:
    model = KineticModel(site_count=0)
    model.advance(0.001, -5.0)
    spike = model.current
    assert spike == pytest.approx(-20e-12 * 5.0 / 1e-3, rel=0.02)  # stray capacitance
    model.advance(0.2, -5.0)
    steady = -(5.0 / 20.66e9 + 5.0 / 1e12)
    assert model.current == pytest.approx(steady, rel=1e-6)
    assert model.overpotential == pytest.approx(5.0 * 0.66 / 20.66, rel=1e-6)
    before = model.charge
    model.advance(0.1, -5.0)
    assert (model.charge - before) / 0.1 == pytest.approx(steady, rel=1e-6)
    model.advance(0.1, -5.0, series_GOhm=20.0)
    assert model.current == pytest.approx(-(5.0 / 40.66e9 + 5.0 / 1e12), rel=1e-3)
    model.advance(0.1, -5.0, series_GOhm=math.inf)
    assert model.current == pytest.approx(-5.0 / 1e12, rel=1e-6)
    model.advance(0.1, None)
    assert model.current == 0.0


def test_ramp_charges_the_cable() -> None:
    model = KineticModel(site_count=0, double_layer_pF=1e-3)
    model.advance(0.5, 0.0, bias_end=-1.0)
    loop = -(1.0 / 20.66e9 + 1.0 / 1e12)
    assert model.current == pytest.approx(loop - 20e-12 * 2.0, rel=0.01)


def test_kirchhoff_residual_stays_small() -> None:
    model = KineticModel(seed=3)
    residuals = []
    for bias in (-5.0, 5.0):
        for _ in range(900):
            model.advance(0.001, bias)
            residuals.append(abs(model.kirchhoff_residual))
    assert max(residuals) < 1e-3
    assert max(residuals) > 0.0


class Deposition:
    """Seven depositions at -5 V, looked at each 0.1 s, each then stripped at +5 V."""

    def __init__(self) -> None:
        self.counts = np.zeros((7, 13))
        self.diameters: list[list[NDArray[np.float64]]] = [[] for _ in range(13)]
        self.births_late, self.merges, self.gone_after_s = [], [], []
        for seed in range(7):
            model = KineticModel(seed=seed + 1)
            for tenth in range(1, 13):
                model.advance(0.1, -5.0)
                particles = model.particles
                self.counts[seed, tenth] = len(particles)
                self.diameters[tenth].append(particles["diameter_nm"])
                if tenth == 10:
                    self.gone_after_s.append(time_to_strip(seed + 1))
            events = model.events
            births = events[events["kind"] == KINDS["birth"]]
            self.births_late.append(int((births["time_s"] > 0.2).sum()))
            self.merges.append(int((events["kind"] == KINDS["merge"]).sum()))

    def ratio(self, tenth: int) -> float:
        """Mean of N(t) / N(0.8 s)."""
        return float((self.counts[:, tenth] / self.counts[:, 8]).mean())

    def sizes(self, tenth: int) -> NDArray[np.float64]:
        """Base diameters of all runs."""
        return np.concatenate(self.diameters[tenth])


def time_to_strip(seed: int) -> float:
    """Seconds at +5 V until all that 1 s at -5 V gave is gone; at most 1 s."""
    model = KineticModel(seed=seed)
    model.advance(1.0, -5.0)
    for step in range(50):
        model.advance(0.02, 5.0)
        if len(model.particles) == 0:
            return 0.02 * (step + 1)
    return math.inf


@pytest.fixture(scope="module")
def deposition() -> Deposition:
    """One set of runs for all observations of Fig. 2."""
    return Deposition()


def test_nuclei_burst_and_count_is_stable(deposition: Deposition) -> None:
    assert 0.4 <= deposition.ratio(2) <= 0.9
    assert 0.9 <= deposition.ratio(6) <= 1.05
    assert 0.9 <= deposition.ratio(10) <= 1.05


def test_new_nuclei_come_while_others_merge(deposition: Deposition) -> None:
    assert min(deposition.births_late) > 10
    assert min(deposition.merges) > 5


def test_sizes_scatter_and_grow(deposition: Deposition) -> None:
    means = [float(deposition.sizes(tenth).mean()) for tenth in (1, 2, 4, 8)]
    assert means == sorted(means)
    early, late = deposition.sizes(1), deposition.sizes(4)
    assert early.std() / early.mean() < 0.4 < late.std() / late.mean()


def test_droplets_stay_small_and_strip_within_a_second(deposition: Deposition) -> None:
    assert np.percentile(deposition.sizes(10), 95) < 100.0
    assert max(deposition.gone_after_s) < 1.0


def test_cycles_repeat() -> None:
    model = KineticModel(seed=1)
    counts = []
    for _ in range(4):
        model.advance(0.8, -5.0)
        counts.append(len(model.particles))
        model.advance(1.0, 5.0)
        assert len(model.particles) == 0
    assert np.std(counts) / np.mean(counts) < 0.15
    assert model.cycle == 3


def test_slow_feeding_gives_local_facets_that_vanish_on_stripping() -> None:
    model = KineticModel("fig3b", seed=1)
    assert model.fibres == 3
    model.advance(2.0, -5.0)
    assert model.particles["diameter_nm"].max() < 80.0
    model.advance(15.2, -5.0)
    particles = model.particles
    assert set(particles["fibre"]) == {0, 1, 2}
    large = particles[particles["diameter_nm"] > 100.0]
    assert (large["phi"] >= 0.1).mean() >= 0.9
    model.advance(2.6, 5.0)
    assert (model.particles["phi"] < 0.1).mean() > 0.9
    model.advance(3.4, 5.0)
    assert len(model.particles) == 0


def test_large_crystal_switches_to_facets_and_back() -> None:
    model = KineticModel("fig3c", seed=1)
    model.advance(1.0, -5.0)
    area: list[tuple[float, float]] = []
    while model.particles["phi"].max(initial=0.0) < 0.9 and model.time < 10.0:
        model.advance(0.05, -5.0)
        crystal = model.particles[0]
        if crystal["diameter_nm"] > 100.0 and crystal["phi"] < 0.4:
            area.append((model.time, float(crystal["side_area_nm2"])))
    crystal = model.particles[0]
    assert 200.0 < crystal["diameter_nm"] < 450.0
    assert 3500.0 < (area[-1][1] - area[0][1]) / (area[-1][0] - area[0][0]) < 6500.0
    assert model.time - area[-1][0] < 1.6  # abrupt
    kinds = model.events["kind"]
    assert KINDS["facet_on"] in kinds
    model.advance(0.5, -5.0)
    start = model.particles[0]
    while model.particles[0]["phi"] > 0.5:
        model.advance(0.02, 5.0)
    rounded = model.particles[0]
    assert rounded["volume_nm3"] / start["volume_nm3"] > 0.8  # edges go first
    assert math.degrees(rounded["contact_angle_rad"]) > 50.0
    while KINDS["depin"] not in model.events["kind"]:
        model.advance(0.01, 5.0)
    assert math.degrees(model.particles["contact_angle_rad"].min()) == pytest.approx(30.0)
    assert {KINDS["facet_off"], KINDS["depin"]} <= set(model.events["kind"])


def test_contact_angle_stays_between_receding_and_advancing() -> None:
    model = KineticModel(seed=2)
    seen = []
    for bias in (-5.0, 5.0, -5.0):
        for _ in range(40):
            model.advance(0.01, bias)
            seen.append(model.particles["contact_angle_rad"])
    angles = np.degrees(np.concatenate(seen))
    assert angles.min() >= 30.0 - 1e-9
    assert angles.max() <= 60.0 + 1e-9
    assert angles.min() < 31.0


def test_beam_without_coupling_changes_no_bit() -> None:
    dark, lit = KineticModel(seed=6), KineticModel(seed=6)
    dark.advance(0.6, -5.0)
    lit.advance(0.6, -5.0, beam_e_per_A2_s=100.0)
    assert same_state(dark, lit)
    eroded = KineticModel(seed=6, beam_erosion_nm3=1e-4)
    eroded.advance(0.6, -5.0, beam_e_per_A2_s=100.0)
    assert eroded.eroded_volume_nm3 > 0.0
    left = eroded.lithium_volume_nm3 + eroded.eroded_volume_nm3
    assert left == pytest.approx(eroded.faradaic_charge / eroded.charge_per_nm3, rel=1e-12)


@pytest.mark.parametrize("preset", ["na", "k"])
def test_other_metals_grow_and_balance(preset: str) -> None:
    model = KineticModel(preset)
    model.advance(0.8, -5.0)
    assert len(model.particles) > 5
    assert imbalance(model) <= 1e-12


def test_events_are_counted_and_ordered() -> None:
    model = KineticModel(seed=1)
    model.advance(0.5, -5.0)
    seen = model.event_count
    model.advance(0.5, -5.0)
    events, late = model.events, model.events_from(seen)
    assert len(events) == model.event_count
    assert late.tobytes() == events[seen:].tobytes()
    assert (np.diff(events["time_s"]) >= -1e-3).all()  # births lie within their tick
    born = (events["kind"] == KINDS["birth"]).sum()
    ended = np.isin(events["kind"], [KINDS["merge"], KINDS["gone"]]).sum()
    assert born - ended == len(model.particles)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "fig2b"}, "did you mean 'fig2'"),
        ({"preset": "gold"}, "unknown preset 'gold'; known: fig2"),
        ({"site_coun": 3}, "did you mean 'site_count'"),
        ({"site_count": -1}, "site_count must lie in 0"),
        ({"site_count": 1.5}, "whole number"),
        ({"temperature_K": math.nan}, "temperature_K must lie in 50 ... 1500, not nan"),
        ({"temperature_K": "warm"}, "must be a number"),
        ({"receding_angle_deg": 80.0}, "must not exceed"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": 1.0}, "seed must be a whole number"),
    ],
)
def test_bad_parameters_raise(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("?", r"\?")) as error:
        KineticModel(**arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("seconds", "bias", "options"),
    [
        (-1.0, 0.0, {}),
        (math.nan, 0.0, {}),
        (1e9, 0.0, {}),
        (1.0, math.nan, {}),
        (1.0, 5e3, {}),
        (1.0, None, {"bias_end": 1.0}),
        (1.0, 1.0, {"bias_end": math.inf}),
        (1.0, 1.0, {"series_GOhm": -1.0}),
        (1.0, 1.0, {"beam_e_per_A2_s": math.inf}),
    ],
)
def test_bad_advance_raises(seconds: float, bias: float | None, options: dict[str, float]) -> None:
    model = KineticModel()
    with pytest.raises(ValueError, match=r"must lie in|open circuit"):
        model.advance(seconds, bias, **options)
    assert model.ticks == 0


def test_parameters_are_read_only() -> None:
    model = KineticModel("fig3b", seed=12, site_count=7)
    assert (model.preset, model.seed) == ("fig3b", 12)
    assert model.parameters["site_count"] == 7.0
    assert model.parameters["fibre_count"] == 3.0
    with pytest.raises(TypeError):
        model.parameters["site_count"] = 8.0  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    assert "fig3b" in repr(model)


def test_other_threads_run_while_the_core_computes() -> None:
    model = KineticModel(seed=1)
    done = threading.Event()
    turns_during = 0

    def compute() -> None:
        model.advance(20.0, -5.0)
        done.set()

    worker = threading.Thread(target=compute)
    worker.start()
    while not done.is_set():
        turns_during += 1
        # Waits for the lock of the model, so a turn is a state between two blocks of ticks.
        assert 0 <= model.ticks <= 20000
    worker.join()
    assert turns_during > 1
    assert model.ticks == 20000


def test_two_threads_may_advance_one_model() -> None:
    shared, alone = KineticModel(seed=9), KineticModel(seed=9)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait()
        for _ in range(200):
            shared.advance(0.001, -5.0)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone.advance(0.4, -5.0)
    assert same_state(shared, alone)
