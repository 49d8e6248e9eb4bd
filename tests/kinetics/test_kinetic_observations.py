"""What the paper saw (Wang et al., ACS Energy Lett. 2023, 8, 1929), in bands for a few seeds."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

KINDS = KineticModel.EVENT_KINDS


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
